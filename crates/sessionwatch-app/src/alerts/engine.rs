//! What becomes of an alert: pure, from what was observed to what is to be kept and told.

use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    alert::{Alert, AlertPolicy, CheckState, Notification, State},
    instant::Instant,
    severity::Severity,
};
use sessionwatch_store::{alerts::Kept, events::Event, silences::Silence};

use crate::{
    config::Serve,
    notify::{
        Message,
        queue::{QueuedMessage, queue},
    },
};

/// How long a message to people waits for others that can be told with it; a critical one does not.
const GROUP_WAIT: SignedDuration = SignedDuration::from_secs(10);

/// What was observed of one check on a target.
#[derive(Clone, Debug)]
pub(crate) struct CheckObservation<'a> {
    pub(crate) target: &'a str,
    pub(crate) check: &'a str,
    pub(crate) severity: Severity,
    pub(crate) sign: CheckState,
    pub(crate) policy: AlertPolicy,
    pub(crate) summary: String,
    /// The verdict by name.
    pub(crate) verdict: &'static str,
    /// What made it, as JSON.
    pub(crate) finding: Value,
    /// Whom it is about, if it is about nobody else: users, and prefixes of tokens, one of which is enough for each.
    pub(crate) about: Vec<Vec<&'a str>>,
}

/// What alerts are advanced under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlertContext<'a> {
    pub(crate) serve: &'a Serve,
    pub(crate) silences: &'a [Silence],
    /// A channel that is not told, since it is the one that fails.
    pub(crate) except: Option<&'a str>,
    pub(crate) now: Instant,
}

/// What comes of an observation.
#[derive(Clone, Debug)]
pub(crate) struct Transition {
    /// The alert from now on.
    pub(crate) alert: Kept,
    /// What happened, in this order.
    pub(crate) events: Vec<Event>,
    /// What is to be delivered.
    pub(crate) messages: Vec<QueuedMessage>,
}

/// What an observation makes of an alert, or of none.
pub(crate) fn advance(
    before: Option<Kept>,
    observation: &CheckObservation<'_>,
    context: AlertContext<'_>,
) -> Transition {
    let now = context.now;
    let silenced = context.serve.in_maintenance(observation.target, observation.check, now)
        || is_silenced(observation, context.silences);
    let before = before.map(|kept| raised(kept, observation));
    let alert = before.as_ref().map_or_else(Alert::default, |kept| kept.alert);
    let (alert, notice) = alert.advance(observation.sign, now, silenced, observation.policy);
    let known = before.as_ref().and_then(|kept| kept.verdict.as_deref());
    let mut events = vec![];
    if known != Some(observation.verdict) {
        events.push(verdict_event(observation, known, now));
    }
    let alert = next_record(before, observation, alert, now);
    let mut transition = Transition { alert, events, messages: vec![] };
    if let Some(notice) = notice {
        notify(&mut transition, notice, observation.severity, &observation.finding, context);
    }
    transition
}

/// Ends an alert for a reason other than an observation. Who heard of it hears of that.
pub(crate) fn resolve(kept: &Kept, why: &str, severity: Severity, context: AlertContext<'_>) -> Transition {
    let told = matches!(kept.alert.state, State::Firing { told: Some(_), .. });
    let alert = Kept {
        alert: Alert::default(),
        summary: why.to_owned(),
        acknowledged_by: None,
        note: None,
        updated_at: context.now,
        ..kept.clone()
    };
    let mut transition = Transition { alert, events: vec![], messages: vec![] };
    if told {
        notify(&mut transition, Notification::Resolved, severity, &Value::Null, context);
    }
    transition
}

/// An alert that becomes more severe is told anew, also to whoever looks after it.
fn raised(mut kept: Kept, observation: &CheckObservation<'_>) -> Kept {
    let before = kept.severity.parse::<Severity>().ok();
    let is_raised = before.is_some_and(|before| observation.severity > before);
    if let State::Firing { told, .. } = &mut kept.alert.state
        && observation.sign == CheckState::Failing
        && is_raised
    {
        *told = None;
        kept.alert.acknowledged = false;
        kept.acknowledged_by = None;
        kept.note = None;
    }
    kept
}

fn verdict_event(observation: &CheckObservation<'_>, before: Option<&str>, now: Instant) -> Event {
    let detail =
        json!({ "before": before, "after": observation.verdict, "finding": observation.finding }).to_string();
    Event {
        id: 0,
        at: now,
        target: observation.target.to_owned(),
        check: observation.check.to_owned(),
        kind: "verdict".into(),
        // What is not known says so itself.
        summary: if observation.sign == CheckState::Unknown {
            observation.summary.clone()
        } else {
            format!("{}: {}", observation.verdict, observation.summary)
        },
        detail,
    }
}

/// Adds what happened to an alert, and a message for everybody whom it concerns.
fn notify(
    transition: &mut Transition,
    notice: Notification,
    severity: Severity,
    finding: &Value,
    context: AlertContext<'_>,
) {
    let AlertContext { serve, except, now, .. } = context;
    let kept = &transition.alert;
    transition.events.push(Event {
        id: 0,
        at: now,
        target: kept.target.clone(),
        check: kept.check.clone(),
        kind: notice.name().to_owned(),
        summary: kept.summary.clone(),
        detail: json!({ "severity": kept.severity, "finding": finding }).to_string(),
    });
    let message = message(kept, notice, finding, now);
    let about = format!("{}/{}", kept.target, kept.check);
    let meant = serve.told(&kept.target, &kept.check, severity);
    for channel in meant.into_iter().filter(|channel| Some(channel.name.as_str()) != except) {
        let is_urgent = severity == Severity::Critical || channel.kind.is_for_programs();
        let at = if is_urgent { now } else { now + GROUP_WAIT };
        transition.messages.extend(queue(channel, &message, &about, now, at));
    }
}

fn message(kept: &Kept, notice: Notification, finding: &Value, now: Instant) -> Message {
    let since =
        if let State::Firing { since, .. } = kept.alert.state { Some(clock::rfc3339(since)) } else { None };
    Message {
        schema: 1,
        key: String::new(),
        notice: notice.name().into(),
        target: kept.target.clone(),
        check: kept.check.clone(),
        severity: kept.severity.clone(),
        summary: kept.summary.clone(),
        since,
        at: clock::rfc3339(now),
        finding: Some(finding.clone())
            .filter(|finding| notice != Notification::Resolved && !finding.is_null()),
        again: false,
        text: None,
    }
}

/// Whether nothing is to be told because of silences: of the whole check, or of everybody whom it is about.
fn is_silenced(observation: &CheckObservation<'_>, silences: &[Silence]) -> bool {
    let mut here = silences.iter().filter(|silence| silence.covers(observation.target, observation.check));
    let names: Vec<&str> = here.clone().filter_map(|silence| silence.subject.as_deref()).collect();
    let whole = here.any(|silence| silence.subject.is_none());
    let all = || observation.about.iter().all(|one| one.iter().any(|name| names.contains(name)));
    whole || !observation.about.is_empty() && all()
}

/// The alert as it is kept from now on. What nobody knows leaves the words of the last run; what is over needs nobody.
fn next_record(before: Option<Kept>, observation: &CheckObservation<'_>, alert: Alert, now: Instant) -> Kept {
    let over = alert.state == State::Ok;
    let (summary, owner, note, finding) = before.map_or((None, None, None, None), |kept| {
        (Some(kept.summary), kept.acknowledged_by, kept.note, kept.finding)
    });
    let summary = if observation.sign == CheckState::Unknown { summary } else { None };
    let failing = (observation.sign == CheckState::Failing).then(|| observation.finding.to_string());
    Kept {
        target: observation.target.to_owned(),
        check: observation.check.to_owned(),
        alert,
        severity: observation.severity.name().to_owned(),
        summary: summary.unwrap_or_else(|| observation.summary.clone()),
        acknowledged_by: owner.filter(|_| !over),
        note: note.filter(|_| !over),
        verdict: Some(observation.verdict.to_owned()),
        finding: failing.or(finding),
        updated_at: now,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn at(seconds: i64) -> Instant {
        Instant::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn serve() -> Serve {
        let text = "[[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"http://127.0.0.1:1\"\n\
                    [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1\"\n";
        Config::parse(Path::new("sessionwatch.toml"), text).unwrap().serve
    }

    fn observation(sign: CheckState, severity: Severity) -> CheckObservation<'static> {
        let verdict = match sign {
            CheckState::Failing => "failing",
            CheckState::Healthy => "healthy",
            CheckState::Unknown => "unknown",
        };
        CheckObservation {
            target: "app",
            check: "duplicate-tokens",
            severity,
            sign,
            policy: AlertPolicy { pending_looks: 1, clear_looks: 1, ..AlertPolicy::of(severity) },
            summary: format!("it is {verdict}"),
            verdict,
            finding: json!({ "value": 2 }),
            about: vec![vec!["u1"]],
        }
    }

    fn kinds(transition: &Transition) -> Vec<&str> {
        transition.events.iter().map(|event| event.kind.as_str()).collect()
    }

    fn channels(transition: &Transition) -> Vec<(&str, Instant)> {
        transition.messages.iter().map(|message| (message.channel.as_str(), message.at)).collect()
    }

    #[test]
    fn an_alert_is_told_once_and_its_end_too_and_people_wait_for_what_goes_with_it() {
        let serve = serve();
        let context = |now| AlertContext { serve: &serve, silences: &[], except: None, now: at(now) };
        let fired = advance(None, &observation(CheckState::Failing, Severity::High), context(0));
        assert_eq!(kinds(&fired), ["verdict", "firing"]);
        assert_eq!(channels(&fired), [("chat", at(10)), ("hook", at(0))]);
        let again = advance(
            Some(fired.alert.clone()),
            &observation(CheckState::Failing, Severity::High),
            context(60),
        );
        assert!(again.events.is_empty() && again.messages.is_empty(), "{again:?}");
        let unknown =
            advance(Some(again.alert), &observation(CheckState::Unknown, Severity::High), context(90));
        assert_eq!((kinds(&unknown), unknown.alert.summary.as_str()), (vec!["verdict"], "it is failing"));
        let over =
            advance(Some(unknown.alert), &observation(CheckState::Healthy, Severity::High), context(120));
        assert_eq!(kinds(&over), ["verdict", "resolved"]);
        assert_eq!(channels(&over).len(), 2);
        let resolved = resolve(&fired.alert, "it is not watched any more", Severity::High, context(120));
        assert_eq!(
            (kinds(&resolved), resolved.alert.summary.as_str()),
            (vec!["resolved"], "it is not watched any more")
        );
    }

    #[test]
    fn what_becomes_more_severe_is_told_anew_and_needs_a_new_acknowledgement() {
        let serve = serve();
        let context = AlertContext { serve: &serve, silences: &[], except: Some("hook"), now: at(0) };
        let mut kept = advance(None, &observation(CheckState::Failing, Severity::High), context).alert;
        kept.alert.acknowledged = true;
        kept.acknowledged_by = Some("ada".into());
        let raised = advance(Some(kept), &observation(CheckState::Failing, Severity::Critical), context);
        assert_eq!(
            channels(&raised),
            [("chat", at(0))],
            "critical ones wait for nothing, and `hook` is left out"
        );
        assert_eq!(raised.alert.acknowledged_by, None);
    }

    #[test]
    fn a_silence_holds_back_what_is_about_nobody_else() {
        let serve = serve();
        let silence = |subject: Option<&str>| Silence {
            id: 1,
            target: None,
            check: None,
            subject: subject.map(str::to_owned),
            until: at(1_000),
            owner: "ada".into(),
            note: String::new(),
        };
        for (subject, told) in [(None, 0), (Some("u1"), 0), (Some("u2"), 2)] {
            let silences = [silence(subject)];
            let context = AlertContext { serve: &serve, silences: &silences, except: None, now: at(0) };
            let transition = advance(None, &observation(CheckState::Failing, Severity::High), context);
            assert_eq!(transition.messages.len(), told, "{subject:?}");
        }
    }
}
