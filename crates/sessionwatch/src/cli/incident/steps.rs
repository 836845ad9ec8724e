//! The steps of an incident, and its status.

use std::{fmt::Write as _, process::ExitCode, sync::Arc};

use sessionwatch_app::{
    app::{
        incidents::{
            self, AdvancedIncident, IncidentOps, IncidentRecord, NewIncident, OpenedIncident, StepCompletion,
            StepResponse, StepUpdate, collect_step_records,
        },
        state_store::StoreRequirement,
    },
    sanitize::sanitize_text,
};
use sessionwatch_clock as clock;
use sessionwatch_core::incident::{self as rules, IncidentSeverity};

use super::{Failure, ResponderArgs};

pub(super) fn open_incident(
    args: &ResponderArgs,
    severity: IncidentSeverity,
    summary: &str,
) -> Result<ExitCode, Failure> {
    let ops = args.target_ops(StoreRequirement::CreateIfMissing)?;
    let new = NewIncident { severity, summary: summary.to_owned() };
    let opened = crate::cli::block_on(async { Ok(incidents::open_incident(ops, new).await?) })?;
    let OpenedIncident { incident, findings, notes } = opened;
    let mut text = format!(
        "Opened {} ({}) for {}. Contain it by {}.\n",
        incident.id,
        severity.name(),
        sanitize_text(&incident.target),
        clock::format_utc(incident.opened_at + severity.containment_deadline())
    );
    for line in findings.iter().chain(&notes) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  - {}", sanitize_text(line));
    }
    text.push_str("\nNext:\n  sessionwatch incident step check\n");
    crate::cli::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Reopens a step and continues from there.
pub(super) fn reopen_step(work: IncidentOps, step: &str, reason: &str) -> Result<ExitCode, Failure> {
    let ops = work.ops.clone();
    let reopened = incidents::reopen_step(work, step.to_owned(), reason.to_owned());
    let case = crate::cli::block_on(async { Ok(reopened.await?) })?;
    advance_incident(IncidentOps { case, ops }, StepResponse::Check)
}

/// Advances through the steps until one needs a person.
pub(super) fn advance_incident(work: IncidentOps, response: StepResponse) -> Result<ExitCode, Failure> {
    let app = Arc::clone(&work.ops.app);
    let update = StepUpdate { step: None, response };
    let AdvancedIncident { case, progress } =
        crate::cli::block_on(async { Ok(incidents::advance_incident(work, update).await?) })?;
    for (step, passed) in &progress.completed {
        crate::cli::print_text(&match passed {
            StepCompletion::Skipped => format!("– {} (skipped)\n", step.title),
            StepCompletion::Confirmed => format!("✓ {}\n", step.title),
            StepCompletion::Checked(result) => format!("✓ {}: {}\n", step.title, sanitize_text(result)),
        })?;
    }
    let Some((step, result)) = progress.waiting_step else {
        crate::cli::print_text("All steps are done. Close the incident:\n  sessionwatch incident close\n")?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut text = format!("\nNext: {}\n  {}\n", step.title, step.instructions);
    if !result.is_empty() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  So far: {}.", sanitize_text(&result));
    }
    text.push_str(&render_time_used(&case.incident, app.clock.now()));
    let next = if incidents::can_confirm_step(step) && step.needs_note() {
        "sessionwatch incident step done --note TEXT"
    } else if incidents::can_confirm_step(step) {
        "sessionwatch incident step done"
    } else {
        "sessionwatch incident step check"
    };
    let _ =
        writeln!(text, "\nWhen done:\n  {next}\n\nTo skip:\n  sessionwatch incident step skip --reason TEXT");
    crate::cli::print_text(&text)?;
    Ok(ExitCode::from(1))
}

/// Renders the time since the incident was opened, against the time in which it has to be contained.
fn render_time_used(incident: &IncidentRecord, now: sessionwatch_core::timestamp::UtcTimestamp) -> String {
    incidents::describe_time_left(incident, now).map(|used| format!("  {used}\n")).unwrap_or_default()
}

pub(super) fn print_status(work: &IncidentOps) -> Result<ExitCode, Failure> {
    let IncidentOps { case, ops } = work;
    let incident = &case.incident;
    let recorded = collect_step_records(&case.timeline);
    let summary = incident.report_field("summary").unwrap_or_default();
    let mut text = format!(
        "{} ({}, {}) of {}: {}\nOpened {} by {}.\n",
        incident.id,
        incident.severity.name(),
        incident.state.name(),
        sanitize_text(&incident.target),
        sanitize_text(&summary),
        clock::format_utc(incident.opened_at),
        sanitize_text(&incident.opened_by),
    );
    text.push_str(&render_time_used(incident, ops.app.clock.now()));
    text.push('\n');
    for step in rules::INCIDENT_STEPS.iter().filter(|step| step.is_required_for(incident.severity)) {
        let mark = match recorded.iter().find(|done| done.step == step.id) {
            Some(done) if done.skipped => "skipped",
            Some(_) => "done",
            None => "",
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  {mark:12} {:11} {}", step.id, step.title);
    }
    text.push_str("\nTimeline:\n");
    for entry in &case.timeline {
        let _ = writeln!(
            text,
            "  {}  {}  {}",
            clock::format_utc(entry.at),
            sanitize_text(&entry.actor),
            sanitize_text(&incidents::describe_entry(entry))
        );
    }
    crate::cli::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn close_incident(
    work: IncidentOps,
    override_reason: Option<String>,
) -> Result<ExitCode, Failure> {
    let id = work.case.incident.id.clone();
    crate::cli::block_on(async { Ok(incidents::close_incident(work, override_reason).await?) })?;
    crate::cli::print_text(&format!("Closed {id}.\n"))?;
    Ok(ExitCode::SUCCESS)
}
