//! The steps of an incident, one after another.

use std::{fmt::Write as _, process::ExitCode};

use sessionwatch_core::incident::{self as rules, IncidentSeverity, Step};

use super::{Case, Failure, Whose, opening::Opening};
use crate::{
    clock,
    incident::{
        self, findings,
        work::{self, Passed, Said},
    },
    sanitize::printable,
    store::incidents::{Incident, recorded},
};

pub(super) fn open(whose: &Whose, grade: IncidentSeverity, summary: &str) -> Result<ExitCode, Failure> {
    let acting = whose.acting(Opening::OrCreated)?;
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
pub(super) fn next(mut case: Case, said: Said<'_>) -> Result<ExitCode, Failure> {
    let context = case.acting.context();
    let progress = crate::cli::block_on(async { Ok(case.work.go_on(context, said).await?) })?;
    for (step, passed) in &progress.passed {
        crate::cli::print(&match passed {
            Passed::Skipped => format!("{}: passed over.\n", step.title),
            Passed::Said => format!("{}: done.\n", step.title),
            Passed::Found(said) => format!("{}: done. {}\n", step.title, printable(said)),
        })?;
    }
    let Some((step, said)) = progress.waits else {
        crate::cli::print("Every step was gone through. Close it with:\n  sessionwatch incident close\n")?;
        return Ok(ExitCode::SUCCESS);
    };
    show(&case, step, &said)?;
    Ok(ExitCode::from(1))
}

fn show(case: &Case, step: &Step, said: &str) -> Result<(), Failure> {
    let mut text = format!("\nNext: {}\n  {}\n", step.title, step.todo);
    if !said.is_empty() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  So far: {}.", printable(said));
    }
    text.push_str(&time(&case.work.incident, case.acting.clock.now()));
    let go_on = if work::can_be_said(step) && step.needs_note() {
        "sessionwatch incident next --done --note TEXT"
    } else if work::can_be_said(step) {
        "sessionwatch incident next --done"
    } else {
        "sessionwatch incident next"
    };
    let _ = writeln!(
        text,
        "\nThen, or to pass over it:\n  {go_on}\n  sessionwatch incident next --skip --reason TEXT"
    );
    crate::cli::print(&text)
}

/// How much time there is, until sessions are ended.
fn time(incident: &Incident, now: sessionwatch_core::instant::Instant) -> String {
    incident::time_used(incident, now).map(|used| format!("  {used}\n")).unwrap_or_default()
}

pub(super) fn status(case: &Case) -> Result<ExitCode, Failure> {
    let incident = &case.work.incident;
    let recorded = recorded(&case.work.timeline);
    let summary = incident.field("summary").unwrap_or_default();
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
        let _ = writeln!(text, "  {mark:12} {:11} {}", step.id, step.title);
    }
    text.push_str("\nTimeline:\n");
    for entry in &case.work.timeline {
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

pub(super) fn close(case: &Case, overridden: Option<&str>) -> Result<ExitCode, Failure> {
    case.work.close(case.acting.context(), overridden)?;
    crate::cli::print(&format!("Closed {}.\n", case.work.incident.id))?;
    Ok(ExitCode::SUCCESS)
}
