//! A round: what a look changes, in one transaction. Alerts live on, what happened is noted, and what is to be told goes
//! into the outbox.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sessionwatch_core::{
    alert::{Alert, AlertPolicy, CheckState, Notification, State},
    checks::Verdict,
    instant::{Instant, SECOND},
    severity::Severity,
};

use super::metrics;
use crate::{
    checks::{self, CHANNEL_FAILING, Rules, TARGET_UNREACHABLE},
    clock,
    config::{Config, Serve},
    logs::judge::Judged,
    logs::kept_json,
    look::{Outcome, Report},
    notify::{Channel, Kind},
    notify::{Message, distinct},
    report,
    store::{
        Store, StoreError,
        alerts::{self, Kept},
        censuses::{self, Point, Retention},
        db::Db,
        events::{self, Event},
        outbox::{self, Letter},
        reports,
        silences::{self, Silence},
    },
    target::observe::EVIDENCE_LIMIT,
};

/// Looks in a row that see nothing before that is told.
const BLIND_LOOKS: u32 = 3;
/// How long a message to people waits for others that can be told with it, in microseconds; a critical one does not.
const GATHER: i64 = 10 * SECOND;
/// The longest key of a message, which is a header too.
const LONGEST_KEY: usize = 500;

/// When a look is kept.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The present instant.
    pub now: Instant,
    /// One that has certainly passed, by which what is too old is removed.
    pub passed: Instant,
}

/// What is to be said of one check on a target.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    target: &'a str,
    check: &'a str,
    severity: Severity,
    sign: CheckState,
    policy: AlertPolicy,
    summary: String,
    /// The verdict by name.
    verdict: &'static str,
    /// What made it, as JSON.
    finding: Value,
    /// Whom it is about, if it is about nobody else: users, and prefixes of tokens, one of which is enough for each.
    about: Vec<Vec<&'a str>>,
}

/// What alerts are advanced under.
#[derive(Clone, Copy, Debug)]
struct Circumstances<'a> {
    serve: &'a Serve,
    silences: &'a [Silence],
    /// A channel that is not told, since it is the one that fails.
    except: Option<&'a str>,
    now: Instant,
}

/// What a look measured; blind if it saw nothing.
#[must_use]
pub fn point(report: &Report, now: Instant) -> Point {
    Point::of(now, metrics::gauges(report).as_deref())
}

/// Keeps what a look changes: how many messages are to be delivered. `distances` says how far apart the looks are at which
/// each check is made.
///
/// # Errors
///
/// If it cannot be written; then nothing of it is to be kept.
pub fn keep(
    db: Db<'_>,
    report: &Report,
    (serve, rules, distances): (&Serve, &Rules, &BTreeMap<String, i64>),
    (point, Moment { now, passed }): (&Point, Moment),
) -> Result<u32, StoreError> {
    censuses::put(db, &report.target, point, Retention { keep_us: serve.keep_us, passed })?;
    reports::put(db, &report.target, &report.json().to_string(), now)?;
    events::forget(db, passed.plus(-serve.keep_us))?;
    outbox::forget(db, passed.plus(-serve.keep_us))?;
    let silences = silences::list(db, now)?;
    let circumstances = Circumstances { serve, silences: &silences, except: None, now };
    let mut before = alerts_by_check(db, &report.target)?;
    let (mut told, mut after) = (0, vec![]);
    for mut subject in subjects(report) {
        let distance = distances.get(subject.check).copied().unwrap_or(0);
        subject.policy = policy(rules, &subject, distance);
        let advanced = advance(db, before.remove(subject.check), &subject, circumstances)?;
        told += advanced.told;
        after.push(advanced.kept);
    }
    alerts::put_all(db, &after)?;
    Ok(told)
}

/// The alerts of a target, by check.
fn alerts_by_check(db: Db<'_>, target: &str) -> Result<BTreeMap<String, Kept>, StoreError> {
    let all = alerts::of_target(db, target)?;
    Ok(all.into_iter().map(|kept| (kept.check.clone(), kept)).collect())
}

/// Keeps what the checks of logs say of a target: how many messages are to be delivered.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn keep_logs(
    db: Db<'_>,
    target: &str,
    judged: &[Judged],
    (config, now): (&Config, Instant),
) -> Result<u32, StoreError> {
    let silences = silences::list(db, now)?;
    let circumstances = Circumstances { serve: &config.serve, silences: &silences, except: None, now };
    let mut before = alerts_by_check(db, target)?;
    let (mut told, mut after) = (0, vec![]);
    for Judged { outcome, signals } in judged {
        let mut subject = subject(target, outcome);
        subject.finding["signals"] = signals.iter().map(kept_json).collect();
        let usual = config.rules.policy(subject.severity);
        // A silence has lasted long enough; a line is not written again.
        subject.policy = AlertPolicy { pending_looks: 1, clear_looks: 1, ..usual };
        let advanced = advance(db, before.remove(subject.check), &subject, circumstances)?;
        told += advanced.told;
        after.push(advanced.kept);
    }
    alerts::put_all(db, &after)?;
    Ok(told)
}

/// How the alert of a check behaves that is made at such a distance.
fn policy(rules: &Rules, subject: &Subject<'_>, distance: i64) -> AlertPolicy {
    let policy = rules.policy(subject.severity);
    if subject.check == TARGET_UNREACHABLE {
        return AlertPolicy { pending_looks: BLIND_LOOKS, clear_looks: 1, ..policy };
    }
    let policy = policy.between_looks(distance);
    let momentary = checks::TABLE_CHECKS.iter().any(|check| check.id == subject.check && check.momentary);
    if momentary { AlertPolicy { pending_looks: 1, ..policy } } else { policy }
}

/// Keeps whether a channel takes messages: how many messages are to be delivered by others.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn delivered(
    db: Db<'_>,
    config: &Config,
    (channel, failure): (&str, Option<&str>),
    now: Instant,
) -> Result<u32, StoreError> {
    let before = alerts::get(db, channel, CHANNEL_FAILING)?;
    if failure.is_none() && before.is_none() {
        return Ok(0);
    }
    let sign = if failure.is_some() { CheckState::Failing } else { CheckState::Healthy };
    let summary = match failure {
        Some(why) => format!("channel {channel} takes no messages: {why}"),
        None => format!("channel {channel} takes messages again"),
    };
    let silences = silences::list(db, now)?;
    let subject = Subject {
        target: channel,
        check: CHANNEL_FAILING,
        severity: Severity::High,
        sign,
        policy: AlertPolicy { pending_looks: 1, clear_looks: 1, ..config.rules.policy(Severity::High) },
        summary,
        verdict: if failure.is_some() { "failing" } else { "healthy" },
        finding: json!({ "action": format!("sessionwatch notify test {channel}") }),
        about: vec![],
    };
    let circumstances =
        Circumstances { serve: &config.serve, silences: &silences, except: Some(channel), now };
    let advanced = advance(db, before, &subject, circumstances)?;
    alerts::put(db, &advanced.kept)?;
    Ok(advanced.told)
}

/// Ends the alerts of targets and checks that are not configured any more, and gives up on the messages of channels that
/// are not.
///
/// # Errors
///
/// If it cannot be written.
pub fn retire(store: &Store, config: &Config, now: Instant) -> Result<(), StoreError> {
    store.write(|db| {
        for kept in alerts::list(db, true)? {
            let target = config.targets.iter().find(|target| target.name == kept.target);
            let known = match kept.check.as_str() {
                CHANNEL_FAILING => config.serve.channels.iter().any(|channel| channel.name == kept.target),
                TARGET_UNREACHABLE => target.is_some(),
                check => target.is_some_and(|target| config.makes(target, check)),
            };
            if !known {
                resolve(db, &config.serve, (&kept, "it is not watched any more"), now)?;
                alerts::remove(db, &kept.target, &kept.check)?;
            }
        }
        for channel in outbox::channels(db)? {
            if config.serve.channels.iter().all(|known| known.name != channel) {
                outbox::abandon(db, &channel, "there is no channel of that name any more")?;
            }
        }
        Ok(())
    })
}

/// Ends an alert for a reason other than a look, and tells those who heard of it: how many messages are to be delivered.
///
/// # Errors
///
/// If it cannot be written.
pub fn resolve(
    db: Db<'_>,
    serve: &Serve,
    (kept, why): (&Kept, &str),
    now: Instant,
) -> Result<u32, StoreError> {
    let told = matches!(kept.alert.state, State::Firing { told: Some(_), .. });
    let over = Kept {
        alert: Alert::default(),
        summary: why.to_owned(),
        acknowledged_by: None,
        note: None,
        updated_at: now,
        ..kept.clone()
    };
    alerts::put(db, &over)?;
    if !told {
        return Ok(0);
    }
    let unreadable = || StoreError::Undecodable { table: "alerts".into(), column: "severity".into() };
    let severity = Severity::parse(&kept.severity).ok_or_else(unreadable)?;
    let circumstances = Circumstances { serve, silences: &[], except: None, now };
    tell(db, &over, (Notification::Resolved, severity, &Value::Null), circumstances)
}

/// An alert after what is to be said of it.
struct Advanced {
    /// The alert, which is still to be kept.
    kept: Kept,
    /// How many messages are to be delivered.
    told: u32,
}

/// The alert after what is to be said of it; what people are to be told is written.
fn advance(
    db: Db<'_>,
    before: Option<Kept>,
    subject: &Subject<'_>,
    circumstances: Circumstances<'_>,
) -> Result<Advanced, StoreError> {
    let Circumstances { serve, silences, now, .. } = circumstances;
    let silenced = serve.in_maintenance(subject.target, subject.check, now) || is_silent(subject, silences);
    let mut before = before;
    if let Some(kept) = &mut before {
        raise(kept, subject);
    }
    let alert = before.as_ref().map_or_else(Alert::default, |kept| kept.alert);
    let (alert, notice) = alert.advance(subject.sign, (now, silenced), subject.policy);
    let known = before.as_ref().and_then(|kept| kept.verdict.as_deref());
    if known != Some(subject.verdict) {
        let detail = json!({ "before": known, "after": subject.verdict, "finding": subject.finding });
        note(db, subject, (subject.verdict, "verdict"), &detail, now)?;
    }
    let kept = next(before, subject, (alert, now));
    let told = match notice {
        Some(notice) => tell(db, &kept, (notice, subject.severity, &subject.finding), circumstances)?,
        None => 0,
    };
    Ok(Advanced { kept, told })
}

/// An alert that becomes more severe is told anew, also to whoever looks after it.
fn raise(kept: &mut Kept, subject: &Subject<'_>) {
    let before = Severity::parse(&kept.severity);
    let is_raised = before.is_some_and(|before| subject.severity > before);
    if let State::Firing { told, .. } = &mut kept.alert.state
        && subject.sign == CheckState::Failing
        && is_raised
    {
        *told = None;
        kept.alert.acknowledged = false;
        kept.acknowledged_by = None;
        kept.note = None;
    }
}

fn note(
    db: Db<'_>,
    subject: &Subject<'_>,
    (word, kind): (&str, &str),
    detail: &Value,
    now: Instant,
) -> Result<(), StoreError> {
    let event = Event {
        id: 0,
        at: now,
        target: subject.target.to_owned(),
        check: subject.check.to_owned(),
        kind: kind.to_owned(),
        // What is not known says so itself.
        summary: if subject.sign == CheckState::Unknown {
            subject.summary.clone()
        } else {
            format!("{word}: {}", subject.summary)
        },
        detail: detail.to_string(),
    };
    events::add(db, &event)
}

/// Notes what happened to an alert, and writes a message for everybody whom it concerns.
fn tell(
    db: Db<'_>,
    kept: &Kept,
    (notice, severity, finding): (Notification, Severity, &Value),
    Circumstances { serve, except, now, .. }: Circumstances<'_>,
) -> Result<u32, StoreError> {
    events::add(
        db,
        &Event {
            id: 0,
            at: now,
            target: kept.target.clone(),
            check: kept.check.clone(),
            kind: notice.name().to_owned(),
            summary: kept.summary.clone(),
            detail: json!({ "severity": kept.severity, "finding": finding }).to_string(),
        },
    )?;
    let mut told = 0;
    let meant = serve.told(&kept.target, &kept.check, severity);
    for channel in meant.into_iter().filter(|channel| Some(channel.name.as_str()) != except) {
        let at = if severity == Severity::Critical || channel.kind.is_for_programs() {
            now
        } else {
            now.plus(GATHER)
        };
        let message = message(kept, (notice, finding), now);
        told += post(db, channel, (&message, &[&kept.target, &kept.check]), (now, at))?;
    }
    Ok(told)
}

/// Puts a message for a channel into the outbox, one for each whom that tells by themselves. `subject` is what it is about;
/// empty if nothing follows on it.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn post(
    db: Db<'_>,
    channel: &Channel,
    (message, subject): (&Message, &[&str]),
    (now, at): (Instant, Instant),
) -> Result<u32, StoreError> {
    let recipients: Vec<Option<&str>> = match channel.kind {
        Kind::Email => channel.to.iter().map(|address| Some(address.as_str())).collect(),
        _ => vec![None],
    };
    let about = subject.join("/");
    for recipient in &recipients {
        let parts = [&message.target, &message.check, message.notice.as_str(), &channel.name];
        let key = key(parts.into_iter().chain(*recipient), now);
        let text = serde_json::to_string(&Message { key: key.clone(), ..message.clone() })
            .map_err(|_| StoreError::Unwritable("a message"))?;
        let letter = Letter {
            key: &key,
            channel: &channel.name,
            recipient: *recipient,
            subject: &about,
            message: &text,
            at,
        };
        outbox::put(db, letter, now)?;
    }
    Ok(u32::try_from(recipients.len()).unwrap_or(u32::MAX))
}

/// The same for every attempt at one message, and no other's; fit for a header, whatever people call things.
fn key<'a>(parts: impl Iterator<Item = &'a str>, now: Instant) -> String {
    let plain = |part: &str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
    let parts: Vec<String> = parts.map(plain).collect();
    distinct(&format!("{}/{}", parts.join("/"), now.micros()), LONGEST_KEY)
}

fn message(kept: &Kept, (notice, finding): (Notification, &Value), now: Instant) -> Message {
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
fn is_silent(subject: &Subject<'_>, silences: &[Silence]) -> bool {
    let mut here = silences.iter().filter(|silence| silence.covers(subject.target, subject.check));
    let names: Vec<&str> = here.clone().filter_map(|silence| silence.subject.as_deref()).collect();
    let whole = here.any(|silence| silence.subject.is_none());
    let all = || subject.about.iter().all(|one| one.iter().any(|name| names.contains(name)));
    whole || !subject.about.is_empty() && all()
}

/// Every check of the report, and whether anything could be seen at all.
fn subjects(report: &Report) -> impl Iterator<Item = Subject<'_>> {
    let (sign, verdict, summary) = match &report.seen {
        Ok(_) => (CheckState::Healthy, "healthy", "the target can be looked at".to_owned()),
        Err(error) => (CheckState::Failing, "failing", format!("the target cannot be looked at: {error}")),
    };
    let hint = report.seen.as_ref().err().map(crate::target::error::TargetError::hint);
    let blind = Subject {
        target: &report.target,
        check: TARGET_UNREACHABLE,
        severity: Severity::High,
        sign,
        policy: AlertPolicy::of(Severity::High),
        summary,
        verdict,
        finding: json!({ "action": hint }),
        about: vec![],
    };
    std::iter::once(blind).chain(report.outcomes.iter().map(|outcome| subject(&report.target, outcome)))
}

fn subject<'a>(target: &'a str, outcome: &'a Outcome) -> Subject<'a> {
    let finding = &outcome.finding;
    let (sign, verdict) = match finding.verdict {
        Verdict::Healthy => (CheckState::Healthy, "healthy"),
        Verdict::Failing => (CheckState::Failing, "failing"),
        Verdict::Unknown(_) => (CheckState::Unknown, "unknown"),
    };
    // With more to show than is shown, nobody knows whom else it is about.
    let shown = Some(&outcome.evidence).filter(|evidence| evidence.len() < EVIDENCE_LIMIT);
    let about = shown.into_iter().flatten().map(|evidence| {
        [&evidence.user, &evidence.token_prefix].into_iter().filter_map(|name| name.as_deref()).collect()
    });
    Subject {
        target,
        check: &outcome.id,
        severity: outcome.severity,
        sign,
        policy: AlertPolicy::of(outcome.severity),
        summary: finding.summary.clone(),
        verdict,
        finding: json!({
            "value": finding.value, "threshold": finding.threshold, "action": outcome.action,
            "evidence": outcome.evidence.iter().map(report::evidence_json).collect::<Vec<_>>(),
        }),
        about: about.collect(),
    }
}

/// The alert as it is kept from now on. What nobody knows leaves the words of the last look; what is over needs nobody.
fn next(before: Option<Kept>, subject: &Subject<'_>, (alert, now): (Alert, Instant)) -> Kept {
    let over = alert.state == State::Ok;
    let (summary, owner, note, finding) = before.map_or((None, None, None, None), |kept| {
        (Some(kept.summary), kept.acknowledged_by, kept.note, kept.finding)
    });
    let summary = if subject.sign == CheckState::Unknown { summary } else { None };
    let failing = (subject.sign == CheckState::Failing).then(|| subject.finding.to_string());
    Kept {
        target: subject.target.to_owned(),
        check: subject.check.to_owned(),
        alert,
        severity: subject.severity.name().to_owned(),
        summary: summary.unwrap_or_else(|| subject.summary.clone()),
        acknowledged_by: owner.filter(|_| !over),
        note: note.filter(|_| !over),
        verdict: Some(subject.verdict.to_owned()),
        finding: failing.or(finding),
        updated_at: now,
    }
}
