//! Renders plans and their outcomes, as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sessionwatch_app::{
    api_types,
    app::{error::StoreError, plans::PlanState},
    config::Config,
    remediation::{ActionError, ActionPlan, ApplyReport, RowPreview, Selection, SkipReason, apply},
    sanitize::{quote_for_shell, sanitize_text},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    plural::{ListTotal, format_count, format_number},
    timestamp::UtcTimestamp,
};

#[expect(clippy::cast_precision_loss, reason = "a percentage with one digit")]
fn percentage_of(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Renders a plan for a person. `arguments` are what `sessionwatch apply PLAN` needs besides the plan.
pub(in crate::cli) fn render_plan(
    config: &Config,
    plan: &ActionPlan,
    now: UtcTimestamp,
    arguments: &str,
) -> String {
    let (record, summary) = (&plan.record, &plan.summary);
    let mut text = format!("Plan for {}: ", sanitize_text(&record.target));
    let (rows, active) = (record.row_count, record.active_sessions);
    // Writing to a String cannot fail, here and below.
    let _ = if matches!(plan.selection, Selection::Restore { .. }) {
        let all = format_count(rows + summary.left, "row", "rows");
        writeln!(text, "restore {rows} of {all} ({active} active).")
    } else {
        writeln!(
            text,
            "{} {rows} of {} ({:.1}%), {active} of {} ({:.1}%).",
            apply::revoke_verb(&summary.revoke),
            format_count(summary.all_rows, "row", "rows"),
            percentage_of(rows, summary.all_rows),
            format_count(summary.all_active, "active session", "active sessions"),
            percentage_of(active, summary.all_active),
        )
    };
    let _ = writeln!(text, "Action: {}.", plan.selection.command_name());
    if let Some(place) = plan.describe_table() {
        let _ = writeln!(text, "Table: {}.", sanitize_text(&place));
    }
    let _ = writeln!(text, "Users: {}.", summary.users);
    if !summary.sample.is_empty() {
        let cut = ListTotal::Exactly(rows).describe_cut(summary.sample.len() as u64);
        let count = cut.unwrap_or_else(|| format_number(rows));
        let _ = writeln!(text, "\nRows ({count}):");
    }
    for line in &summary.sample {
        let _ = writeln!(text, "  {}", render_row(line));
    }
    let limit = plan.confirmation_reasons(config.actions.safety_limit());
    if limit.is_some() || !summary.notes.is_empty() {
        text.push_str("\nNotes:\n");
    }
    for note in &summary.notes {
        let _ = writeln!(text, "  - {}", sanitize_text(note));
    }
    if let Some(reasons) = &limit {
        let _ = writeln!(text, "  - this plan {reasons}: applying it needs --confirm with the target name");
    }
    // The notes come first: an application with JWT sessions has no rows, and its logins go on.
    if rows == 0 {
        text.push_str("\nNothing to do: no row matches.\n");
        return text;
    }
    let _ = writeln!(text, "\n{}", describe_next_step(config, plan, now, arguments));
    text
}

/// Returns what became of a plan, or how to apply it and until when.
fn describe_next_step(config: &Config, plan: &ActionPlan, now: UtcTimestamp, arguments: &str) -> String {
    let (record, plan_ttl) = (&plan.record, config.actions.plan_ttl);
    let lead = match record.state {
        PlanState::Done => return "This plan has been applied.".to_owned(),
        _ if plan.is_stale(plan_ttl, now) => return "This plan has expired. Create a new plan.".to_owned(),
        PlanState::Begun => "Applying this plan was interrupted. To continue",
        PlanState::Making | PlanState::Planned => "Dry run: nothing was changed. To apply",
    };
    let until = clock::format_utc(record.updated_at + plan_ttl);
    format!("{lead}, before {until}:\n  sessionwatch apply {}{arguments}", record.id)
}

/// Renders a row for a person.
pub(super) fn render_row(line: &RowPreview) -> String {
    let mut parts = Vec::new();
    parts.extend(line.prefix.as_ref().map(|prefix| format!("token {}…", sanitize_text(prefix))));
    parts.extend(line.user.as_ref().map(|user| {
        let names: Vec<&str> =
            line.display.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        sanitize_text(&format!("user {user}{names}"))
    }));
    parts.extend(line.id.as_ref().map(|id| format!("id {}", sanitize_text(id))));
    if line.prefix.is_some() {
        parts.push(match line.expires.and_then(UtcTimestamp::from_micros) {
            Some(at) => format!("expires {}", clock::format_utc(at)),
            None => "no readable expiry".into(),
        });
    }
    parts.join("  ")
}

/// Renders a plan as JSON.
///
/// # Errors
///
/// Returns an error if it cannot be serialized.
pub(in crate::cli) fn plan_to_json(config: &Config, plan: &ActionPlan) -> Result<Value, StoreError> {
    Ok(json!({ "schema": 2, "plan": api_types::PlanDto::from_plan(config, plan)? }))
}

/// Renders the outcome of a plan for a person.
pub(super) fn render_outcome(plan: &ActionPlan, applied: &ApplyReport) -> String {
    let seconds = applied.duration.as_secs_f64();
    let restores = matches!(plan.selection, Selection::Restore { .. });
    let done = if restores { "restored" } else { apply::past_participle(&plan.summary.revoke) };
    let place =
        plan.describe_table().map(|place| format!(" in {}", sanitize_text(&place))).unwrap_or_default();
    let mut text = format!(
        "{}: {} {done}{place}, in {seconds:.1} s.\n",
        plan.record.target,
        format_count(applied.done, "row", "rows")
    );
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    applied.describe_dependents(restores).into_iter().for_each(|line| say(sanitize_text(&line)));
    if applied.done_earlier > 0 {
        say(format!(
            "{} handled by an earlier run of this plan.",
            format_count(applied.done_earlier, "row was", "rows were")
        ));
    }
    if applied.skipped > 0 {
        let cut = ListTotal::Exactly(applied.skipped).describe_cut(applied.skipped_rows.len() as u64);
        let cut = cut.map(|cut| format!(" ({cut})")).unwrap_or_default();
        say(format!("Skipped {}{cut}:", format_count(applied.skipped, "row", "rows")));
    }
    for (line, why) in &applied.skipped_rows {
        say(format!("  {}: {}", render_row(line), why.describe()));
    }
    if applied.remaining > 0 {
        say(format!(
            "Stopped: {}. Resume with `sessionwatch apply {}`, while a new plan would be valid.",
            format_count(applied.remaining, "row remains", "rows remain"),
            plan.record.id
        ));
    }
    match (applied.still_matching, restores) {
        (_, true) => {}
        (Some(0), _) => say("Verified: no matching row is left.".into()),
        (Some(left), _) => {
            say(format!("Verified: {} left.", format_count(left, "matching row is", "matching rows are")))
        }
        (None, _) => say("Not verified: the check after applying failed. Run `sessionwatch check`.".into()),
    }
    if applied.done + applied.done_earlier > 0 && !plan.summary.not_ended.is_empty() {
        say("Some logins may stay valid:".into());
        plan.summary.not_ended.iter().for_each(|line| say(format!("  - {}", sanitize_text(line))));
    }
    if let (Some(at), false) = (applied.purge_at, restores) {
        say(format!("To undo (until {}):\n  {}", clock::format_utc(at), restore_command(plan)));
    }
    text
}

/// Returns the command that undoes a plan. A target that no configuration names has its address as name; a password is
/// not repeated.
fn restore_command(plan: &ActionPlan) -> String {
    let target = match plan.record.target.split_once(':') {
        Some(("sqlite", _)) => format!(" {}", quote_for_shell(&plan.record.target)),
        Some(_) => " URL".to_owned(),
        None => String::new(),
    };
    format!("sessionwatch archive restore {}{target}", plan.record.id)
}

/// Renders the outcome of a plan as JSON.
///
/// # Errors
///
/// Returns an error if it cannot be serialized.
pub(super) fn outcome_to_json(plan: &ActionPlan, applied: &ApplyReport) -> Result<Value, StoreError> {
    let left = |(line, why): &(RowPreview, SkipReason)| {
        let mut row = api_types::to_json_value(api_types::PlanRowDto::from_preview(line))?;
        row["why"] = json!(why.describe());
        Ok::<_, StoreError>(row)
    };
    let rows = applied.skipped_rows.iter().map(left).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "schema": 2,
        "applied": {
            "plan": plan.record.id,
            "target": plan.record.target,
            "action": plan.selection.command_name(),
            "table": plan.summary.table,
            "framework": plan.summary.framework,
            "not_revoked": plan.summary.not_ended,
            "done": applied.done,
            "earlier": applied.done_earlier,
            "skipped": applied.skipped,
            "remaining": applied.remaining,
            "still_matching": applied.still_matching,
            "took_ms": applied.duration.as_secs_f64() * 1000.0,
            "longest_hold_ms": applied.longest_lock.as_secs_f64() * 1000.0,
            "dependents": applied.dependents.iter().map(|(table, rows)| {
                json!({ "table": table, "done": rows.done, "refused": rows.refused })
            }).collect::<Vec<_>>(),
            "undo_until": applied.purge_at.map(clock::format_rfc3339),
            "rows": rows,
        },
    }))
}

/// Renders the rows to choose from, below an error.
pub(in crate::cli) fn render_choices(error: &ActionError) -> String {
    error.similar_rows().iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "  {}", render_row(line));
        text
    })
}
