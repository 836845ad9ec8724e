//! The steps of an incident, one after another.

use std::{collections::BTreeSet, fmt::Write as _, process::ExitCode};

use serde_json::json;
use sessionwatch_rules::incident::{self as rules, Grade, Step};

use super::{Case, Failure, Whose, acting::Acting};
use crate::{
    actions, clock,
    incident::{self, findings},
    report::printable,
    store::incidents::{self, Incident, State, recorded},
};

/// What a person says of the step that is next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said<'a> {
    /// Nothing yet.
    Nothing,
    /// It is done, with a note.
    Done(&'a str),
    /// It is passed over, for a reason.
    Skip(&'a str),
}

pub(super) fn open(whose: &Whose, (grade, summary): (Grade, &str)) -> Result<ExitCode, Failure> {
    let acting = Acting::with(&whose.target, whose.act_url.as_deref(), &whose.owner)?;
    if let Some(open) = acting.store.read(|db| incidents::current(db, &acting.target.name))? {
        return Err(Failure::Usage(format!(
            "`{}` of that target is still {}: go on with `sessionwatch incident next`, or close it first",
            open.id,
            open.state.name()
        )));
    }
    let (incident, report) =
        crate::cli::block_on(async { Ok(incident::open(acting.context(), grade, summary).await?) })?;
    let mut text = format!(
        "Opened {} ({}) for {}. Sessions are to be ended by {}.\n",
        incident.id,
        grade.name(),
        printable(&incident.target),
        clock::readable(incident.opened_at.plus(grade.contained_within()))
    );
    for found in findings(&report) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  - {}", printable(&found));
    }
    for note in report.notes.iter().chain(&incident::force_out(acting.context(), &report)) {
        let _ = writeln!(text, "  - {}", printable(note));
    }
    text.push_str("\nGo on with:\n  sessionwatch incident next\n");
    crate::cli::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Goes on until a person is needed.
pub(super) fn next(mut case: Case, mut said: Said<'_>) -> Result<ExitCode, Failure> {
    loop {
        let Some(step) = rules::next(case.incident.grade, &recorded(&case.timeline)) else {
            crate::cli::print(
                "Every step was gone through. Close it with:\n  sessionwatch incident close\n",
            )?;
            return Ok(ExitCode::SUCCESS);
        };
        match std::mem::replace(&mut said, Said::Nothing) {
            Said::Skip(reason) => {
                case.add(("skipped", step.id), reason, &json!({}))?;
                crate::cli::print(&format!("{}: passed over.\n", step.title))?;
                continue;
            }
            Said::Done(note) if !step.found_out || step.id == "confirm" => {
                case.add(("done", step.id), note, &json!({}))?;
                crate::cli::print(&format!("{}: done.\n", step.title))?;
                continue;
            }
            Said::Done(_) => {
                return Err(Failure::Usage(format!(
                    "whether `{}` is done is found out, not said: pass over it with --skip --reason TEXT if that is meant",
                    step.id
                )));
            }
            Said::Nothing => {}
        }
        if !step.found_out {
            let known = if step.id == "affected" { affected(&case)? } else { String::new() };
            show(&case, step, &known)?;
            return Ok(ExitCode::from(1));
        }
        let outcome = crate::cli::block_on(async {
            let context = case.acting.context();
            Ok(incident::find_out(context, (&case.incident, &case.timeline), step).await?)
        })?;
        if !outcome.holds {
            show(&case, step, &outcome.said)?;
            return Ok(ExitCode::from(1));
        }
        case.add(("done", step.id), &outcome.said, &outcome.detail)?;
        crate::cli::print(&format!("{}: done. {}\n", step.title, printable(&outcome.said)))?;
    }
}

/// Who is affected, as far as the table shows it.
fn affected(case: &Case) -> Result<String, Failure> {
    /// Rows that are asked for, and users that are named.
    const ROWS: usize = 1_000;
    const NAMED: usize = 20;
    let rows = crate::cli::block_on(async { Ok(actions::affected(case.acting.context(), ROWS).await?) })?;
    let users: BTreeSet<&str> = rows.iter().filter_map(|row| row.user.as_deref()).collect();
    let named: Vec<&str> = users.iter().copied().take(NAMED).collect();
    let more = if users.len() > NAMED { ", …" } else { "" };
    Ok(if users.is_empty() {
        "no token is shared, and no user is missing".into()
    } else {
        format!("{} users share tokens, or do not exist: {}{more}", users.len(), named.join(", "))
    })
}

fn show(case: &Case, step: &Step, said: &str) -> Result<(), Failure> {
    let mut text = format!("\nNext: {}\n  {}\n", step.title, step.todo);
    if !said.is_empty() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  So far: {}.", printable(said));
    }
    text.push_str(&time(&case.incident, case.acting.clock.now()));
    let go_on = if step.found_out && step.id != "confirm" {
        "sessionwatch incident next"
    } else {
        "sessionwatch incident next --done --note TEXT"
    };
    let _ = writeln!(
        text,
        "\nThen, or to pass over it:\n  {go_on}\n  sessionwatch incident next --skip --reason TEXT"
    );
    crate::cli::print(&text)
}

/// How much time there is, until sessions are ended.
fn time(incident: &Incident, now: sessionwatch_rules::instant::Instant) -> String {
    if incident.contained_at.is_some() {
        return String::new();
    }
    let used = now.since(incident.opened_at) / 60_000_000;
    let given = incident.grade.contained_within() / 60_000_000;
    let late = if used > given { ": it is late" } else { "" };
    format!("  {used} of {given} minutes to end the sessions are used{late}.\n")
}

pub(super) fn status(case: &Case) -> Result<ExitCode, Failure> {
    let incident = &case.incident;
    let recorded = recorded(&case.timeline);
    let summary = incident::field(incident, "summary").unwrap_or_default();
    let mut text = format!(
        "{} ({}, {}) of {}: {}\nOpened {} by {}.\n",
        incident.id,
        incident.grade.name(),
        incident.state.name(),
        printable(&incident.target),
        printable(&summary),
        clock::readable(incident.opened_at),
        printable(&incident.opened_by),
    );
    text.push_str(&time(incident, case.acting.clock.now()));
    text.push('\n');
    for step in rules::STEPS.iter().filter(|step| step.is_needed(incident.grade)) {
        let mark = match recorded.iter().find(|done| done.step == step.id) {
            Some(done) if done.skipped => "passed over",
            Some(_) => "done",
            None => "",
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  {mark:12} {}", step.title);
    }
    text.push_str("\nTimeline:\n");
    for entry in &case.timeline {
        let about = if entry.step.is_empty() { String::new() } else { format!(" {}", entry.step) };
        let said = printable(&entry.said);
        let _ = writeln!(
            text,
            "  {}  {}  {}{about}  {said}",
            clock::readable(entry.at),
            printable(&entry.actor),
            entry.kind
        );
    }
    crate::cli::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn close(case: Case, overridden: Option<&str>) -> Result<ExitCode, Failure> {
    let points = rules::open_points(case.incident.grade, &recorded(&case.timeline));
    if !points.is_empty() && overridden.is_none_or(str::is_empty) {
        let points: String = points.iter().map(|point| format!("\n  - {point}")).collect();
        return Err(Failure::Usage(format!(
            "{} cannot be closed yet:{points}\nWith --override REASON it is closed all the same",
            case.incident.id
        )));
    }
    let detail = json!({ "open_points": points, "override": overridden });
    let entry =
        incident::entry(case.acting.context(), ("closed", ""), overridden.unwrap_or_default(), &detail);
    let closed = Incident { state: State::Closed, closed_at: Some(entry.at), ..case.incident };
    case.acting.store.write(|db| {
        incidents::put(db, &closed)?;
        incidents::add(db, &closed.id, &entry)
    })?;
    crate::cli::print(&format!("Closed {}.\n", closed.id))?;
    Ok(ExitCode::SUCCESS)
}
