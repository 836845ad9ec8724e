//! An emergency: what was found, what was done about it, by whom, and whether it held. Decisions are those of
//! `sessionwatch_core::incident`; every step is on the timeline and in the audit trail.

pub mod drill;
pub mod evidence;
pub mod message;
pub mod report;
pub mod work;

use serde_json::{Value, json};
use sessionwatch_core::{
    checklist::CriticalSignals,
    checks::Verdict,
    incident::{self, IncidentSeverity, Step},
    instant::{DAY, HOUR, Instant},
    plural::counted,
    severity::Severity,
    source_activity::SourceStatus,
};

use crate::{
    actions::{self, ActError, Context},
    clock,
    incident::evidence::Frozen,
    logs,
    logs::judge::Judged,
    look::{self, Outcome as Checked, Report, Request},
    store::{
        StoreError, alerts,
        db::Db,
        incidents::{self, Entry, Incident, State},
        signals::{self, Kept, Search},
    },
    target::engine::Engine,
    target_layouts,
};

/// The ratio of active sessions to users that is in order after an emergency.
const RATIO: std::ops::RangeInclusive<f64> = 1.0..=3.0;

/// Signals of the last day that are on the timeline from the start.
const SIGNALS: u32 = 50;
/// The check that finds ended sessions which are back.
const REVIVED: &str = "revived-sessions";

/// What a step that is found out by the program turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// It is done.
    pub holds: bool,
    /// In words.
    pub said: String,
    /// The rest, as JSON.
    pub detail: Value,
}

/// Something for the timeline.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// What kind of thing it is.
    pub kind: &'a str,
    /// The step that it belongs to; empty for none.
    pub step: &'a str,
    /// What was said or found.
    pub said: &'a str,
    /// The rest, as JSON.
    pub detail: Option<&'a Value>,
}

impl NewEntry<'_> {
    /// The entry, by whom and when.
    #[must_use]
    pub fn into_entry(self, context: Context<'_>) -> Entry {
        Entry {
            at: context.clock.now(),
            actor: context.actor.to_owned(),
            kind: self.kind.to_owned(),
            step: self.step.to_owned(),
            said: self.said.to_owned(),
            detail: self.detail.map_or_else(|| "{}".to_owned(), Value::to_string),
        }
    }
}

/// Opens an incident, with a look at the target as it is now.
///
/// # Errors
///
/// If one of that target is open, or it cannot be kept.
pub async fn open(
    context: Context<'_>,
    grade: IncidentSeverity,
    summary: &str,
) -> Result<(Incident, Report), ActError> {
    let target = &context.target.name;
    let still = |open: Incident| ActError::StillOpen(open.id, open.state.name());
    if let Some(open) = context.store.read(|db| incidents::current(db, target))? {
        return Err(still(open));
    }
    let report = look(context).await;
    let now = context.clock.now();
    let day: String = clock::rfc3339(now).chars().take(10).filter(|letter| *letter != '-').collect();
    let severity = json!({ "severity": grade.name() });
    let opened =
        NewEntry { kind: "opened", step: "", said: summary, detail: Some(&severity) }.into_entry(context);
    let (found, document) = (findings(&report).join("; "), report.json());
    let looked =
        NewEntry { kind: "look", step: "", said: &found, detail: Some(&document) }.into_entry(context);
    let kept = context.store.write(|db| {
        // Somebody else may have opened one during the look.
        if let Some(open) = incidents::current(db, target)? {
            return Ok(Err(open));
        }
        let taken = incidents::list(db)?.iter().filter(|other| other.id.contains(&day)).count();
        let incident = Incident {
            id: incident::id(&day, taken),
            target: context.target.name.clone(),
            grade,
            state: State::Open,
            opened_at: now,
            opened_by: context.actor.to_owned(),
            contained_at: None,
            closed_at: None,
            fields: json!({ "summary": summary }).to_string(),
        };
        incidents::put(db, &incident)?;
        incidents::add(db, &incident.id, &opened)?;
        incidents::add(db, &incident.id, &looked)?;
        let search = Search { bad: true, limit: SIGNALS, ..Search::default() };
        // What seems to come later was seen before the clock was set back.
        let lately = (now.plus(-DAY), Instant::MAX);
        for signal in signals::search(db, &context.target.name, lately, &search)?.iter().rev() {
            incidents::add(db, &incident.id, &of_signal(signal, now)?)?;
        }
        Ok(Ok(incident))
    })?;
    Ok((kept.map_err(still)?, report))
}

/// A look at the target, without trust in indexes.
pub async fn look(context: Context<'_>) -> Report {
    let (mut target, config) = (context.target.clone(), context.config);
    let located = target_layouts::locate(context.store, &mut target);
    let request = Request {
        target: &target,
        catalogue: &config.catalogue,
        rules: &config.rules,
        deep: true,
        only: &[],
        watched: None,
    };
    match located {
        Ok(()) => look::look(request, &mut Engine::new(request.target.engine)).await,
        Err(error) => look::failed(request, error),
    }
}

/// What a look found that is critical or high, in words; or why nothing is known.
#[must_use]
pub fn findings(report: &Report) -> Vec<String> {
    if let Err(error) = &report.seen {
        return vec![format!("the target could not be looked at: {error}")];
    }
    let bad = report.outcomes.iter().filter(|outcome| outcome.severity >= Severity::High);
    bad.filter(|outcome| outcome.finding.verdict == Verdict::Failing)
        .map(|outcome| format!("{}: {}", outcome.id, outcome.finding.summary))
        .collect()
}

/// What has to be done besides, where ending rows does not end every log-in.
#[must_use]
pub fn force_out(context: Context<'_>, report: &Report) -> Vec<String> {
    let Ok(seen) = &report.seen else { return vec![] };
    // What the tables say is among the notes of the report.
    let name = &seen.candidate.mapping.profile;
    let profile = context.config.catalogue.iter().find(|profile| profile.name == *name);
    profile.map(crate::profile::catalogue::Profile::advice).unwrap_or_default()
}

/// Finds out whether a step is done.
///
/// # Errors
///
/// If the target or the store fails.
pub async fn find_out(
    context: Context<'_>,
    incident: &Incident,
    timeline: &[Entry],
    step: &Step,
) -> Result<Outcome, ActError> {
    let outcome = |holds, said: String| Outcome { holds, said, detail: json!({}) };
    Ok(match step.id {
        "confirm" => {
            let report = look(context).await;
            let found = findings(&report);
            let said = if found.is_empty() {
                "the look found nothing critical or high".into()
            } else {
                found.join("; ")
            };
            Outcome { holds: report.seen.is_ok() && !found.is_empty(), said, detail: report.json() }
        }
        "evidence" => match evidence::frozen(timeline)? {
            Frozen::Complete(said) => outcome(true, said),
            Frozen::Incomplete(said) => outcome(false, said),
            Frozen::No => outcome(false, "no evidence was written yet".into()),
        },
        "way-back" => match actions::ready(context).await {
            Ok(said) => outcome(true, said),
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                outcome(false, format!("{error}{hint}"))
            }
        },
        "contain" => match containments(since_reopened(timeline)) {
            Some(said) => outcome(true, said),
            None => outcome(false, "no sessions were ended yet".into()),
        },
        "verify" => verify(context, timeline).await?,
        "watch" => {
            let now = context.clock.now();
            match incident.contained_at {
                Some(at) if !incident::is_watched(Some(at), now) => {
                    outcome(true, "24 hours have passed, and nothing came back".into())
                }
                Some(at) => {
                    let left = (DAY - now.since(at)) / 3_600_000_000;
                    outcome(false, format!("{} hours are left", left + 1))
                }
                None => outcome(false, "no sessions were ended yet".into()),
            }
        }
        "root-cause" => match incident.field("root-cause") {
            Some(cause) => outcome(true, cause),
            None => outcome(false, "it is not known yet".into()),
        },
        _ => outcome(false, "a person says when it is done".into()),
    })
}

/// Every plan that ended sessions, in words; nothing if none did.
fn containments(timeline: &[Entry]) -> Option<String> {
    let said = timeline.iter().filter(|entry| entry.kind == "contained").map(|entry| entry.said.as_str());
    let said: Vec<&str> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// What happened since the incident was opened, or opened anew.
fn since_reopened(timeline: &[Entry]) -> &[Entry] {
    let at = timeline.iter().rposition(|entry| entry.kind == "reopened").unwrap_or(0);
    timeline.get(at..).unwrap_or_default()
}

/// Whether what was done holds.
async fn verify(context: Context<'_>, timeline: &[Entry]) -> Result<Outcome, ActError> {
    let report = look(context).await;
    let mut wrong = Vec::new();
    let mut right = Vec::new();
    match &report.seen {
        Err(error) => wrong.push(format!("the target could not be looked at: {error}")),
        Ok(seen) => {
            let census = &seen.census;
            let shared = census.duplicates.value().map(|found| found.tokens);
            count(shared, "shared tokens", &mut right, &mut wrong);
            match census.orphaned.value() {
                // Where there is no table of users there can be none; the look says so.
                None if seen.candidate.mapping.users.is_none() && !seen.has_unreadable_users => {
                    right.push("orphans: not known".into());
                }
                orphaned => count(orphaned, "orphans", &mut right, &mut wrong),
            }
            let ratio = census.sessions_per_user();
            if census.active == 0 {
                right.push("no active session".into());
            } else if RATIO.contains(&ratio) {
                right.push(format!("{ratio:.2} active sessions a user"));
            } else {
                wrong.push(format!("{ratio:.2} active sessions a user"));
            }
        }
    }
    let mut back = 0;
    for plan in contained(timeline)? {
        back += actions::returned(context, &plan).await?;
    }
    count(Some(back), "ended sessions that are back", &mut right, &mut wrong);
    let unheard = unheard(context)?;
    if !unheard.is_empty() {
        wrong.push(format!("critical log lines: not known, {}", unheard.join(", ")));
    }
    if context.config.logs.of(&context.target.name).next().is_some() {
        let lines = critical_lines(context, timeline)?;
        count(Some(lines.confirmed), "critical log lines of the last hour", &mut right, &mut wrong);
        // Visitors may have written those: they are said, and keep nobody from going on.
        if lines.unconfirmed > 0 {
            let unconfirmed =
                counted(lines.unconfirmed, "unconfirmed critical log line", "unconfirmed critical log lines");
            right.push(format!("{unconfirmed} of the last hour"));
        }
    }
    let said =
        if wrong.is_empty() { right.join(", ") } else { format!("not in order: {}", wrong.join(", ")) };
    Ok(Outcome { holds: wrong.is_empty(), said, detail: report.json() })
}

/// Critical lines of the last hour; before sessions were ended there may have been some.
fn critical_lines(context: Context<'_>, timeline: &[Entry]) -> Result<CriticalSignals, ActError> {
    let now = context.clock.now();
    let contained = timeline.iter().rev().find(|entry| entry.kind == "contained").map(|entry| entry.at);
    let from = now.plus(-HOUR).max(contained.unwrap_or(Instant::MIN));
    let target = &context.target.name;
    Ok(context
        .store
        .read(|db| logs::count_critical(db, signals::Window { target, from, to: Instant::MAX }))?)
}

/// The log sources of the target of which nobody knows what they say now, each in words: one that was never read, or that has
/// gone quiet.
///
/// # Errors
///
/// If what is known of them cannot be read.
pub fn unheard(context: Context<'_>) -> Result<Vec<String>, StoreError> {
    let now = context.clock.now();
    let mut unheard = Vec::new();
    for source in context.config.logs.of(&context.target.name) {
        let kept = context.store.read(|db| logs::find_source(db, &source.name))?.unwrap_or_default();
        match (kept.rhythm.voice(kept.heard_at, now, source.quiet_us), kept.heard_at) {
            (SourceStatus::Usual, _) => {}
            (SourceStatus::Quiet, Some(at)) => unheard.push(format!(
                "no line of `{}` was read since {}, which is unusual",
                source.name,
                clock::readable(at)
            )),
            (SourceStatus::Never | SourceStatus::Quiet, _) => {
                unheard.push(format!("no line of `{}` was read yet", source.name));
            }
        }
    }
    Ok(unheard)
}

fn count(found: Option<u64>, what: &str, right: &mut Vec<String>, wrong: &mut Vec<String>) {
    match found {
        Some(0) => right.push(format!("no {what}")),
        Some(count) => wrong.push(format!("{count} {what}")),
        None => wrong.push(format!("{what}: not known")),
    }
}

/// The plans that ended sessions.
///
/// # Errors
///
/// If an entry cannot be decoded.
pub fn contained(timeline: &[Entry]) -> Result<Vec<String>, StoreError> {
    let plan = |entry: &Entry| match &entry.document()?["plan"] {
        Value::Null => Ok(None),
        Value::String(plan) => Ok(Some(plan.clone())),
        _ => Err(Entry::undecodable("detail")),
    };
    let contained = timeline.iter().filter(|entry| entry.kind == "contained");
    contained.map(plan).filter_map(Result::transpose).collect()
}

/// What a person says under a name.
///
/// # Errors
///
/// If what was said before cannot be decoded: it is not written over.
pub fn with_field(incident: Incident, name: &str, text: &str) -> Result<Incident, StoreError> {
    let undecodable = |_| StoreError::Undecodable { table: "incidents".into(), column: "fields".into() };
    let mut fields: serde_json::Map<String, Value> =
        serde_json::from_str(&incident.fields).map_err(undecodable)?;
    fields.insert(name.to_owned(), json!(text));
    Ok(Incident { fields: Value::Object(fields).to_string(), ..incident })
}

/// How much of the time to end the sessions is used, in words; nothing once they were ended, or it is over.
#[must_use]
pub fn time_used(incident: &Incident, now: Instant) -> Option<String> {
    if incident.contained_at.is_some() || incident.state == State::Closed {
        return None;
    }
    let used = now.since(incident.opened_at) / 60_000_000;
    let given = incident.grade.contained_within() / 60_000_000;
    let late = if used > given { ": it is late" } else { "" };
    Some(format!("{used} of {given} minutes to end the sessions are used{late}."))
}

/// Notes that sessions were ended.
///
/// # Errors
///
/// If it cannot be kept.
pub fn has_contained(
    context: Context<'_>,
    incident: &Incident,
    said: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    let entry =
        NewEntry { kind: "contained", step: "contain", said, detail: Some(detail) }.into_entry(context);
    let contained =
        |incident| Ok(Incident { state: State::Contained, contained_at: Some(entry.at), ..incident });
    context.store.write(|db| incidents::change(db, &incident.id, &entry, contained))
}

/// Whether a target is looked at every minute, since sessions were ended there within the last day, also if the incident was
/// closed meanwhile.
///
/// # Errors
///
/// If it cannot be read.
pub fn is_watched(db: Db<'_>, target: &str, now: Instant) -> Result<bool, StoreError> {
    Ok(incident::is_watched(incidents::last_contained(db, target)?, now))
}

/// Something that reopens an incident whose sessions were ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Emergency {
    /// The check that fails.
    pub check: String,
    /// What it found, as a number.
    pub value: Option<f64>,
    /// In words.
    pub said: String,
}

/// What of a report reopens an incident: something critical, or an ended session that is back.
#[must_use]
pub fn emergencies(report: &Report) -> Vec<Emergency> {
    let failing = report.outcomes.iter().filter(|outcome| outcome.finding.verdict == Verdict::Failing);
    let bad = failing.filter(|outcome| outcome.severity == Severity::Critical || outcome.id == REVIVED);
    let emergency = |outcome: &Checked| Emergency {
        check: outcome.id.clone(),
        value: outcome.finding.value,
        said: format!("{}: {}", outcome.id, outcome.finding.summary),
    };
    bad.map(emergency).collect()
}

/// What of the checks of logs opens an incident anew: something critical.
#[must_use]
pub fn emergency_in_logs(judged: &[Judged]) -> Option<String> {
    let failing = judged.iter().map(|judged| &judged.outcome);
    let bad = failing.filter(|outcome| {
        outcome.finding.verdict == Verdict::Failing && outcome.severity == Severity::Critical
    });
    let said: Vec<String> =
        bad.map(|outcome| format!("{}: {}", outcome.id, outcome.finding.summary)).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// A signal for the timeline.
///
/// # Errors
///
/// If it cannot be written as JSON.
pub fn of_signal(signal: &Kept, now: Instant) -> Result<Entry, StoreError> {
    let [actor, kind] = ["the log", "signal"].map(str::to_owned);
    let said = format!("{}: {}", signal.source, logs::describe_kept(signal));
    let detail = logs::kept_json(signal)?.to_string();
    Ok(Entry { at: now, actor, kind, step: String::new(), said, detail })
}

/// Returns the incident of a target whose sessions were ended within the last day, and which is not open: the one that is not
/// closed, or else the one that was contained last.
fn reopenable(db: Db<'_>, target: &str, now: Instant) -> Result<Option<Incident>, StoreError> {
    let found = match incidents::current(db, target)? {
        Some(current) => Some(current),
        None => incidents::closed_after_containment(db, target)?,
    };
    let may_reopen = |incident: &Incident| {
        incident.state != State::Open && incident::is_watched(incident.contained_at, now)
    };
    Ok(found.filter(may_reopen))
}

/// Reopens an incident whose sessions were ended within the last day, whether or not it was closed since, because of what the
/// watch found. Returns whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn reopen(db: Db<'_>, target: &str, why: &str, now: Instant) -> Result<bool, StoreError> {
    let Some(incident) = reopenable(db, target, now)? else { return Ok(false) };
    let [actor, kind, detail] = ["the watch", "reopened", "{}"].map(str::to_owned);
    let entry = Entry { at: now, actor, kind, step: String::new(), said: why.to_owned(), detail };
    incidents::put(db, &Incident { state: State::Open, closed_at: None, ..incident.clone() })?;
    incidents::add(db, &incident.id, &entry)?;
    Ok(true)
}

/// The same because of a check run, before its results are kept. An incident that a person closed is not reopened by what
/// was failing already after its sessions were ended, unless that has grown.
///
/// # Errors
///
/// If it cannot be read or written.
pub fn reopen_by_run(
    db: Db<'_>,
    target: &str,
    found: &[Emergency],
    now: Instant,
) -> Result<bool, StoreError> {
    let Some(incident) = reopenable(db, target, now)? else { return Ok(false) };
    let mut said = Vec::new();
    for emergency in found {
        if incident.state != State::Closed || !was_failing(db, &incident, emergency)? {
            said.push(emergency.said.as_str());
        }
    }
    if said.is_empty() { Ok(false) } else { reopen(db, target, &said.join("; "), now) }
}

/// Whether a check failed as badly already at its run before, and that was after the sessions were ended.
fn was_failing(db: Db<'_>, incident: &Incident, emergency: &Emergency) -> Result<bool, StoreError> {
    let Some(kept) = alerts::get(db, &incident.target, &emergency.check)? else { return Ok(false) };
    let after = incident.contained_at.is_some_and(|contained| kept.updated_at > contained);
    let before = kept.finding_document()?["value"].as_f64();
    let has_grown = emergency.value.zip(before).is_some_and(|(now, before)| now > before);
    Ok(after && kept.verdict.as_deref() == Some("failing") && !has_grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_that_ended_sessions_is_named() {
        let entry = |kind: &str, said: &str| Entry {
            at: Instant::MIN,
            actor: "ada".into(),
            kind: kind.into(),
            step: "contain".into(),
            said: said.into(),
            detail: "{}".into(),
        };
        assert_eq!(containments(&[entry("note", "on the call")]), None);
        let timeline =
            [entry("contained", "5 of duplicates"), entry("note", "x"), entry("contained", "15 of users")];
        assert_eq!(containments(&timeline).as_deref(), Some("5 of duplicates; 15 of users"));
    }
}
