//! A round: what a look changes, in one transaction. Alerts live on, and what is to be told goes into the outbox.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sessionwatch_rules::{
    alert::{Alert, Notice, Policy, Sign, State},
    instant::Instant,
    severity::Severity,
    verdict::Verdict,
};

use crate::{
    checks::BLIND,
    clock,
    config::Serve,
    look::{Outcome, Report},
    report,
    store::{
        Store, StoreError,
        alerts::{self, Kept},
        looks::{self, Look},
        outbox, silences,
    },
};

/// Looks in a row that see nothing before that is told.
const BLIND_LOOKS: u32 = 3;

/// What a look says of one check, and what would be told of it.
struct Subject<'a> {
    check: &'a str,
    severity: Severity,
    sign: Sign,
    policy: Policy,
    summary: String,
    outcome: Option<&'a Outcome>,
}

/// Keeps what a look changes: how many messages are to be delivered.
///
/// # Errors
///
/// If it cannot be written; then nothing of it is kept.
pub fn keep(store: &Store, report: &Report, serve: &Serve, now: Instant) -> Result<u32, StoreError> {
    let document = report.json().to_string();
    store.write(|transaction| {
        let duration_us = i64::try_from(report.duration.as_micros()).unwrap_or(i64::MAX);
        let verdict = if report.seen.is_ok() { report.verdict() } else { BLIND };
        let look = Look { target: &report.target, taken_at: now, duration_us, verdict, report: &document };
        looks::insert(transaction, look)?;
        looks::forget(transaction, &report.target, now.plus(-serve.keep_us))?;
        outbox::forget(transaction, now.plus(-serve.keep_us))?;
        let silences = silences::list(transaction, now)?;
        let mut told = 0;
        for subject in subjects(report) {
            let silenced = silences.iter().any(|silence| silence.covers(&report.target, subject.check));
            let before = alerts::get(transaction, &report.target, subject.check)?;
            let alert = before.as_ref().map_or_else(Alert::default, |kept| kept.alert);
            let (alert, notice) = alert.advance(subject.sign, (now, silenced), subject.policy);
            let kept = next(before, &report.target, &subject, (alert, now));
            alerts::put(transaction, &kept)?;
            let Some(notice) = notice else { continue };
            for channel in serve.told(&report.target, subject.check, subject.severity) {
                let key = key(&[&report.target, subject.check, notice.name(), &channel.name], now);
                let message = message(&kept, &subject, notice, &key);
                outbox::put(transaction, (&key, &channel.name), &message.to_string(), now)?;
                told += 1;
            }
        }
        Ok(told)
    })
}

/// Every check of the report, and whether anything could be seen at all.
fn subjects(report: &Report) -> impl Iterator<Item = Subject<'_>> {
    let blind = match &report.seen {
        Ok(_) => (Sign::Healthy, "the target can be looked at again".to_owned()),
        Err(error) => (Sign::Failing, format!("the target cannot be looked at: {error}")),
    };
    let policy = Policy { pending_looks: BLIND_LOOKS, clear_looks: 1, ..Policy::of(Severity::High) };
    let blind = Subject {
        check: BLIND,
        severity: Severity::High,
        sign: blind.0,
        policy,
        summary: blind.1,
        outcome: None,
    };
    let checks = report.outcomes.iter().map(|outcome| Subject {
        check: &outcome.id,
        severity: outcome.severity,
        sign: match outcome.finding.verdict {
            Verdict::Healthy => Sign::Healthy,
            Verdict::Failing => Sign::Failing,
            Verdict::Unknown(_) => Sign::Unknown,
        },
        policy: Policy::of(outcome.severity),
        summary: outcome.finding.summary.clone(),
        outcome: Some(outcome),
    });
    std::iter::once(blind).chain(checks)
}

/// The alert as it is kept from now on. What nobody knows leaves the words of the last look; what is over needs nobody.
fn next(before: Option<Kept>, target: &str, subject: &Subject<'_>, (alert, now): (Alert, Instant)) -> Kept {
    let over = alert.state == State::Ok;
    let (old_summary, owner, note) =
        before.map_or((None, None, None), |kept| (Some(kept.summary), kept.acknowledged_by, kept.note));
    let summary = if subject.sign == Sign::Unknown { old_summary } else { None };
    Kept {
        target: target.to_owned(),
        check: subject.check.to_owned(),
        alert,
        severity: subject.severity.name().to_owned(),
        summary: summary.unwrap_or_else(|| subject.summary.clone()),
        acknowledged_by: owner.filter(|_| !over),
        note: note.filter(|_| !over),
        updated_at: now,
    }
}

/// The same for every attempt at one message, and no other's; fit for a header, whatever people call things.
fn key(parts: &[&str], now: Instant) -> String {
    let plain = |part: &&str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
    let parts: Vec<String> = parts.iter().map(plain).collect();
    format!("{}/{}", parts.join("/"), now.micros())
}

fn message(kept: &Kept, subject: &Subject<'_>, notice: Notice, key: &str) -> Value {
    let since =
        if let State::Firing { since, .. } = kept.alert.state { Some(clock::rfc3339(since)) } else { None };
    let evidence = subject.outcome.filter(|_| notice != Notice::Resolved).map(|outcome| {
        let finding = &outcome.finding;
        json!({
            "value": finding.value, "threshold": finding.threshold, "action": outcome.action,
            "evidence": outcome.evidence.iter().map(report::evidence_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "schema": 1, "key": key, "notice": notice.name(), "target": kept.target, "check": kept.check,
        "severity": kept.severity, "summary": kept.summary, "since": since, "at": clock::rfc3339(kept.updated_at),
        "finding": evidence,
    })
}
