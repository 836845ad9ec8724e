//! Computes alert transitions: from an observation to the next alert, its history events and its notifications. Pure,
//! without I/O.

use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    alert::{Alert, AlertPolicy, AlertState, CheckState, NotificationKind},
    severity::Severity,
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{alerts::AlertRecord, history_events::EventRecord, silences::SilenceRecord};

use crate::{
    config::ServeConfig,
    notify::{
        NotificationMessage,
        enqueue::{QueuedMessage, messages_for_channel},
    },
    report::without_client,
};

/// Delay before a notification to people is sent, so that several alerts share one message. Critical alerts are sent at
/// once.
const NOTIFICATION_GROUP_WAIT: SignedDuration = SignedDuration::from_secs(10);

/// The outcome of one check on a target.
#[derive(Clone, Debug)]
pub(crate) struct CheckObservation<'a> {
    pub(crate) target: &'a str,
    pub(crate) check: &'a str,
    pub(crate) severity: Severity,
    pub(crate) state: CheckState,
    pub(crate) policy: AlertPolicy,
    pub(crate) summary: String,
    /// The name of the result.
    pub(crate) verdict: &'static str,
    /// Why the result is unknown; `None` if it is known, or if the check only describes the run.
    pub(crate) unknown_reason: Option<&'a str>,
    /// Value, threshold, action and evidence, as JSON.
    pub(crate) finding: Value,
    /// One entry for each affected user or session: the names that identify it (user ID, token prefix). Empty if the
    /// finding concerns more than is listed.
    pub(crate) subjects: Vec<Vec<&'a str>>,
}

/// Configuration, active silences and time that a transition depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlertContext<'a> {
    pub(crate) serve: &'a ServeConfig,
    pub(crate) silences: &'a [SilenceRecord],
    /// The failing channel itself, which is not notified of its own failure.
    pub(crate) skip_channel: Option<&'a str>,
    pub(crate) now: UtcTimestamp,
}

/// The effects of an observation on an alert.
#[derive(Clone, Debug)]
pub(crate) struct AlertTransition {
    /// The alert after the transition.
    pub(crate) alert: AlertRecord,
    /// History events, in chronological order.
    pub(crate) events: Vec<EventRecord>,
    /// Notifications to queue.
    pub(crate) messages: Vec<QueuedMessage>,
}

/// Returns the transition that an observation causes; `before` is `None` if the check has no alert yet.
pub(crate) fn advance_alert(
    before: Option<AlertRecord>,
    observation: &CheckObservation<'_>,
    context: AlertContext<'_>,
) -> AlertTransition {
    let now = context.now;
    let silenced = context.serve.is_in_maintenance(observation.target, observation.check, now)
        || is_silenced(observation, context.silences);
    let before = before.map(|record| reopen_if_escalated(record, observation));
    let alert = before.as_ref().map_or_else(Alert::default, |record| record.alert);
    let (alert, notice) = alert.advance(observation.state, now, silenced, observation.policy);
    let verdict_before = before.as_ref().and_then(|record| record.verdict.as_deref());
    // History and notifications have other readers than the alert, and live longer.
    let finding = without_client(observation.finding.clone());
    let mut events = vec![];
    // The history records changes only: a check that fails all day is one event.
    if verdict_before != Some(observation.verdict) {
        events.push(build_verdict_event(observation, &finding, verdict_before, now));
    }
    let alert = build_next_record(before, observation, alert, now);
    let mut transition = AlertTransition { alert, events, messages: vec![] };
    if let Some(notice) = notice {
        add_notifications(&mut transition, notice, observation.severity, &finding, context);
    }
    transition
}

/// Resolves an alert for a reason other than an observation. Notifies only if the alert was notified before.
pub(crate) fn resolve_alert(
    alert: &AlertRecord,
    reason: &str,
    severity: Severity,
    context: AlertContext<'_>,
) -> AlertTransition {
    let was_notified = matches!(alert.alert.state, AlertState::Firing { notified_at: Some(_), .. });
    let alert = AlertRecord {
        alert: Alert::default(),
        summary: reason.to_owned(),
        acknowledged_by: None,
        note: None,
        finding: alert.finding.as_deref().map(forget_client),
        updated_at: context.now,
        ..alert.clone()
    };
    let mut transition = AlertTransition { alert, events: vec![], messages: vec![] };
    if was_notified {
        add_notifications(&mut transition, NotificationKind::Resolved, severity, &Value::Null, context);
    }
    transition
}

/// Clears the notification and acknowledgement of a firing alert whose severity rises, so that it is notified again.
fn reopen_if_escalated(mut record: AlertRecord, observation: &CheckObservation<'_>) -> AlertRecord {
    let before = record.severity.parse::<Severity>().ok();
    let is_raised = before.is_some_and(|before| observation.severity > before);
    if let AlertState::Firing { notified_at, .. } = &mut record.alert.state
        && observation.state == CheckState::Failing
        && is_raised
    {
        *notified_at = None;
        record.alert.is_acknowledged = false;
        record.acknowledged_by = None;
        record.note = None;
    }
    record
}

fn build_verdict_event(
    observation: &CheckObservation<'_>,
    finding: &Value,
    before: Option<&str>,
    now: UtcTimestamp,
) -> EventRecord {
    let detail = json!({ "before": before, "after": observation.verdict, "finding": finding }).to_string();
    EventRecord {
        id: 0,
        at: now,
        target: observation.target.to_owned(),
        check: observation.check.to_owned(),
        kind: "result".into(),
        // The summary of an unknown result already starts with "unknown".
        summary: if observation.state == CheckState::Unknown {
            observation.summary.clone()
        } else {
            format!("{}: {}", observation.verdict, observation.summary)
        },
        detail,
    }
}

/// Adds a history event and one message for each channel whose routes match the alert.
fn add_notifications(
    transition: &mut AlertTransition,
    notification: NotificationKind,
    severity: Severity,
    finding: &Value,
    context: AlertContext<'_>,
) {
    let AlertContext { serve, skip_channel, now, .. } = context;
    let alert = &transition.alert;
    transition.events.push(EventRecord {
        id: 0,
        at: now,
        target: alert.target.clone(),
        check: alert.check.clone(),
        kind: notification.name().to_owned(),
        summary: alert.summary.clone(),
        detail: json!({ "severity": alert.severity, "finding": finding }).to_string(),
    });
    let message = build_message(alert, notification, finding, now);
    let alert_key = format!("{}/{}", alert.target, alert.check);
    let channels = serve.channels_for(&alert.target, &alert.check, severity);
    for channel in channels.into_iter().filter(|channel| Some(channel.name.as_str()) != skip_channel) {
        // Programs group alerts themselves, so a delay would only cost time.
        let is_urgent = severity == Severity::Critical || channel.kind.is_for_programs();
        let at = if is_urgent { now } else { now + NOTIFICATION_GROUP_WAIT };
        transition.messages.extend(messages_for_channel(channel, &message, &alert_key, now, at));
    }
}

fn build_message(
    alert: &AlertRecord,
    notification: NotificationKind,
    finding: &Value,
    now: UtcTimestamp,
) -> NotificationMessage {
    let since = if let AlertState::Firing { since, .. } = alert.alert.state {
        Some(clock::format_rfc3339(since))
    } else {
        None
    };
    NotificationMessage {
        schema: 2,
        key: String::new(),
        notice: notification.name().into(),
        target: alert.target.clone(),
        check: alert.check.clone(),
        severity: alert.severity.clone(),
        summary: alert.summary.clone(),
        since,
        at: clock::format_rfc3339(now),
        finding: Some(finding.clone())
            .filter(|finding| notification != NotificationKind::Resolved && !finding.is_null()),
        possible_duplicate: false,
        text: None,
    }
}

/// Returns `true` if a silence covers the whole check, or silences together cover every affected user and session.
fn is_silenced(observation: &CheckObservation<'_>, silences: &[SilenceRecord]) -> bool {
    let mut covering =
        silences.iter().filter(|silence| silence.covers(observation.target, observation.check));
    let subjects: Vec<&str> = covering.clone().filter_map(|silence| silence.subject.as_deref()).collect();
    let is_check_silenced = covering.any(|silence| silence.subject.is_none());
    let are_subjects_silenced =
        || observation.subjects.iter().all(|one| one.iter().any(|name| subjects.contains(name)));
    is_check_silenced || !observation.subjects.is_empty() && are_subjects_silenced()
}

/// Builds the record to store. An unknown result keeps the summary of the last known one, since it says more than
/// "unknown"; a resolved alert loses its acknowledgement and note.
fn build_next_record(
    before: Option<AlertRecord>,
    observation: &CheckObservation<'_>,
    alert: Alert,
    now: UtcTimestamp,
) -> AlertRecord {
    let over = alert.state == AlertState::Resolved;
    let has_ended = over && before.as_ref().is_some_and(|record| record.alert.state != AlertState::Resolved);
    let (summary, owner, note, finding) = before.map_or((None, None, None, None), |record| {
        (Some(record.summary), record.acknowledged_by, record.note, record.finding)
    });
    let summary = if observation.state == CheckState::Unknown { summary } else { None };
    let failing = (observation.state == CheckState::Failing).then(|| observation.finding.to_string());
    // The evidence stays, but who used which network does not have to be known any more.
    let finding = if has_ended { finding.as_deref().map(forget_client) } else { finding };
    AlertRecord {
        target: observation.target.to_owned(),
        check: observation.check.to_owned(),
        alert,
        severity: observation.severity.name().to_owned(),
        summary: summary.unwrap_or_else(|| observation.summary.clone()),
        acknowledged_by: owner.filter(|_| !over),
        note: note.filter(|_| !over),
        verdict: Some(observation.verdict.to_owned()),
        unknown_reason: observation.unknown_reason.map(str::to_owned),
        finding: failing.or(finding),
        updated_at: now,
    }
}

/// Removes the addresses and user agents of clients from a stored finding.
fn forget_client(finding: &str) -> String {
    // A finding that cannot be decoded stays as it is: reading it is an error.
    serde_json::from_str(finding)
        .map_or_else(|_| finding.to_owned(), |value| without_client(value).to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn at(seconds: i64) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn serve() -> ServeConfig {
        let text = "[[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"http://127.0.0.1:1\"\n\
                    [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1\"\n";
        Config::parse(Path::new("sessionwatch.toml"), text).unwrap().serve
    }

    fn observation(state: CheckState, severity: Severity) -> CheckObservation<'static> {
        let verdict = match state {
            CheckState::Failing => "failing",
            CheckState::Passing => "passing",
            CheckState::Unknown => "unknown",
        };
        CheckObservation {
            target: "app",
            check: "duplicate-tokens",
            severity,
            state,
            policy: AlertPolicy {
                failure_threshold: 1,
                success_threshold: 1,
                ..AlertPolicy::for_severity(severity)
            },
            summary: format!("now {verdict}"),
            verdict,
            unknown_reason: None,
            finding: json!({ "value": 2 }),
            subjects: vec![vec!["u1"]],
        }
    }

    fn kinds(transition: &AlertTransition) -> Vec<&str> {
        transition.events.iter().map(|event| event.kind.as_str()).collect()
    }

    fn channels(transition: &AlertTransition) -> Vec<(&str, UtcTimestamp)> {
        transition.messages.iter().map(|message| (message.channel.as_str(), message.send_at)).collect()
    }

    #[test]
    fn only_the_alert_itself_keeps_the_address_and_user_agent_of_a_client() {
        let serve = serve();
        let evidence = json!([{ "user": "u1", "ip": "203.0.113.7", "user_agent": "curl/8" }]);
        let seen = CheckObservation {
            finding: json!({ "value": 1, "evidence": evidence }),
            ..observation(CheckState::Failing, Severity::Critical)
        };
        let context = AlertContext { serve: &serve, silences: &[], skip_channel: None, now: at(1) };
        let transition = advance_alert(None, &seen, context);
        let firing = transition.alert.clone();
        assert!(firing.finding.as_deref().is_some_and(|text| text.contains("203.0.113.7")));
        assert_eq!((transition.events.len(), transition.messages.len()), (2, 2));
        let details = transition.events.iter().map(|event| event.detail.clone());
        let messages = transition.messages.iter().map(|message| format!("{:?}", message.message));
        for text in details.chain(messages) {
            assert!(text.contains("u1") && !text.contains("203.0.113.7") && !text.contains("curl"), "{text}");
        }
        // It forgets them when it ends, by itself or by a person; an unknown result does not end it.
        let observe = |state| {
            advance_alert(Some(firing.clone()), &observation(state, Severity::Critical), context)
                .alert
                .finding
        };
        let by_person = resolve_alert(&firing, "resolved", Severity::Critical, context).alert.finding;
        for (finding, is_kept) in
            [(observe(CheckState::Unknown), true), (observe(CheckState::Passing), false), (by_person, false)]
        {
            let finding = finding.unwrap();
            assert!(finding.contains("u1") && finding.contains("203.0.113.7") == is_kept, "{finding}");
        }
    }

    #[test]
    fn an_alert_notifies_once_when_it_fires_and_once_when_it_resolves() {
        let serve = serve();
        let context = |now| AlertContext { serve: &serve, silences: &[], skip_channel: None, now: at(now) };
        let fired = advance_alert(None, &observation(CheckState::Failing, Severity::High), context(0));
        assert_eq!(kinds(&fired), ["result", "firing"]);
        assert_eq!(channels(&fired), [("chat", at(10)), ("hook", at(0))]);
        let again = advance_alert(
            Some(fired.alert.clone()),
            &observation(CheckState::Failing, Severity::High),
            context(60),
        );
        assert!(again.events.is_empty() && again.messages.is_empty(), "{again:?}");
        let unknown =
            advance_alert(Some(again.alert), &observation(CheckState::Unknown, Severity::High), context(90));
        assert_eq!((kinds(&unknown), unknown.alert.summary.as_str()), (vec!["result"], "now failing"));
        let over = advance_alert(
            Some(unknown.alert),
            &observation(CheckState::Passing, Severity::High),
            context(120),
        );
        assert_eq!(kinds(&over), ["result", "resolved"]);
        assert_eq!(channels(&over).len(), 2);
        let resolved = resolve_alert(&fired.alert, "no longer configured", Severity::High, context(120));
        assert_eq!(
            (kinds(&resolved), resolved.alert.summary.as_str()),
            (vec!["resolved"], "no longer configured")
        );
    }

    #[test]
    fn an_escalated_alert_notifies_again_and_needs_a_new_acknowledgement() {
        let serve = serve();
        let context = AlertContext { serve: &serve, silences: &[], skip_channel: Some("hook"), now: at(0) };
        let mut record =
            advance_alert(None, &observation(CheckState::Failing, Severity::High), context).alert;
        record.alert.is_acknowledged = true;
        record.acknowledged_by = Some("ada".into());
        let raised =
            advance_alert(Some(record), &observation(CheckState::Failing, Severity::Critical), context);
        assert_eq!(
            channels(&raised),
            [("chat", at(0))],
            "critical alerts are sent at once, and `hook` is skipped"
        );
        assert_eq!(raised.alert.acknowledged_by, None);
    }

    #[test]
    fn a_silence_for_one_user_covers_alerts_about_that_user_only() {
        let serve = serve();
        let silence = |subject: Option<&str>| SilenceRecord {
            id: 1,
            target: None,
            check: None,
            subject: subject.map(str::to_owned),
            ends_at: at(1_000),
            created_by: "ada".into(),
            note: String::new(),
        };
        for (subject, notified) in [(None, 0), (Some("u1"), 0), (Some("u2"), 2)] {
            let silences = [silence(subject)];
            let context = AlertContext { serve: &serve, silences: &silences, skip_channel: None, now: at(0) };
            let transition = advance_alert(None, &observation(CheckState::Failing, Severity::High), context);
            assert_eq!(transition.messages.len(), notified, "{subject:?}");
        }
    }
}
