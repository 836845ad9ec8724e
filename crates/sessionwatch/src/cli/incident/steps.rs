//! The steps of an incident, one after another.

use std::{fmt::Write as _, process::ExitCode, sync::Arc};

use sessionwatch_app::{
    app::{
        incidents::{
            self, Advanced, CaseOps, Incident, NewIncident, OpenedIncident, Passed, StepResponse, StepUpdate,
            recorded,
        },
        state_store::StoreNeed,
    },
    sanitize::printable,
};
use sessionwatch_clock as clock;
use sessionwatch_core::incident::{self as rules, IncidentSeverity};

use super::{Failure, Whose};

pub(super) fn open(whose: &Whose, severity: IncidentSeverity, summary: &str) -> Result<ExitCode, Failure> {
    let ops = whose.target_ops(StoreNeed::OrCreated)?;
    let new = NewIncident { severity, summary: summary.to_owned() };
    let opened = crate::cli::block_on(async { Ok(incidents::open_incident(ops, new).await?) })?;
    let OpenedIncident { incident, findings, notes } = opened;
    let mut text = format!(
        "Opened {} ({}) for {}. Sessions are to be ended by {}.\n",
        incident.id,
        severity.name(),
        printable(&incident.target),
        clock::readable(incident.opened_at + severity.contained_within())
    );
    for line in findings.iter().chain(&notes) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  - {}", printable(line));
    }
    text.push_str("\nGo on with:\n  sessionwatch incident next\n");
    crate::cli::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Reopens a step, and goes on from there.
pub(super) fn reopen(work: CaseOps, step: &str, reason: &str) -> Result<ExitCode, Failure> {
    let ops = work.ops.clone();
    let reopened = incidents::reopen_step(work, step.to_owned(), reason.to_owned());
    let case = crate::cli::block_on(async { Ok(reopened.await?) })?;
    next(CaseOps { case, ops }, StepResponse::FindOut)
}

/// Goes on until a person is needed.
pub(super) fn next(work: CaseOps, response: StepResponse) -> Result<ExitCode, Failure> {
    let app = Arc::clone(&work.ops.app);
    let update = StepUpdate { step: None, response };
    let Advanced { case, progress } =
        crate::cli::block_on(async { Ok(incidents::advance(work, update).await?) })?;
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
    let mut text = format!("\nNext: {}\n  {}\n", step.title, step.todo);
    if !said.is_empty() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  So far: {}.", printable(&said));
    }
    text.push_str(&time(&case.incident, app.clock.now()));
    let go_on = if incidents::can_be_said(step) && step.needs_note() {
        "sessionwatch incident next --done --note TEXT"
    } else if incidents::can_be_said(step) {
        "sessionwatch incident next --done"
    } else {
        "sessionwatch incident next"
    };
    let _ = writeln!(
        text,
        "\nThen, or to pass over it:\n  {go_on}\n  sessionwatch incident next --skip --reason TEXT"
    );
    crate::cli::print(&text)?;
    Ok(ExitCode::from(1))
}

/// How much time there is, until sessions are ended.
fn time(incident: &Incident, now: sessionwatch_core::instant::Instant) -> String {
    incidents::time_used(incident, now).map(|used| format!("  {used}\n")).unwrap_or_default()
}

pub(super) fn status(work: &CaseOps) -> Result<ExitCode, Failure> {
    let CaseOps { case, ops } = work;
    let incident = &case.incident;
    let recorded = recorded(&case.timeline);
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
    text.push_str(&time(incident, ops.app.clock.now()));
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

pub(super) fn close(work: CaseOps, overridden: Option<String>) -> Result<ExitCode, Failure> {
    let id = work.case.incident.id.clone();
    crate::cli::block_on(async { Ok(incidents::close_incident(work, overridden).await?) })?;
    crate::cli::print(&format!("Closed {id}.\n"))?;
    Ok(ExitCode::SUCCESS)
}
