//! Plans and what came of them, as people and programs read them.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sessionwatch_app::{
    api_types,
    app::error::StoreError,
    config::Config,
    remediation::{ActionError, ActionPlan, ApplyReport, RowPreview, Selection, SkipReason, apply},
    sanitize::sanitize_text,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{plural::format_count, timestamp::UtcTimestamp};

/// Minutes in a plan's life, for a person.
fn plan_ttl_minutes(config: &Config) -> i64 {
    config.actions.plan_ttl.as_mins()
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn percentage_of(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A plan for a person.
pub(super) fn render_plan(config: &Config, plan: &ActionPlan) -> String {
    let (kept, summary) = (&plan.record, &plan.summary);
    let mut text = format!("{}: {} ", kept.target, plan.selection.command_name());
    let restores = matches!(plan.selection, Selection::Restore { .. });
    let (rows, active) = (kept.row_count, kept.active_sessions);
    // Writing to a String cannot fail, here and below.
    let _ = if restores {
        let all = rows + summary.left;
        writeln!(
            text,
            "would put back {rows} of {}, {active} of them active.",
            format_count(all, "row", "rows")
        )
    } else {
        writeln!(
            text,
            "would touch {rows} of {} ({:.1} %), {active} of {} ({:.1} %).",
            format_count(summary.all_rows, "row", "rows"),
            percentage_of(rows, summary.all_rows),
            format_count(summary.all_active, "active session", "active sessions"),
            percentage_of(active, summary.all_active),
        )
    };
    if let Some(place) = plan.describe_table() {
        let _ = writeln!(text, "Table: {}.", sanitize_text(&place));
    }
    let _ = writeln!(text, "Users: {}.", summary.users);
    if !summary.sample.is_empty() {
        let _ = writeln!(text, "\nSome of the rows:");
    }
    for line in &summary.sample {
        let _ = writeln!(text, "  {}", render_row(line));
    }
    let _ = writeln!(text, "\nTo know:");
    for note in &summary.notes {
        let _ = writeln!(text, "  - {}", sanitize_text(note));
    }
    let braked = plan.exceeded_limits(config.actions.safety_limit());
    if let Some(braked) = &braked {
        let _ = writeln!(text, "  - the plan {braked}: carrying it out needs the name of the target");
    }
    if rows > 0 {
        let name = quote_for_shell(plan.confirmation_name());
        let confirm = if braked.is_some() { format!(" --confirm {name}") } else { String::new() };
        let _ = writeln!(
            text,
            "\nNothing was done. The plan is {}; for {} minutes, this carries out exactly it:\n  the same command with --apply {}{confirm}",
            kept.id,
            plan_ttl_minutes(config),
            kept.id
        );
    }
    text
}

/// A word for a shell.
fn quote_for_shell(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@".contains(letter);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A row for a person.
pub(super) fn render_row(line: &RowPreview) -> String {
    let mut parts = Vec::new();
    parts.extend(line.prefix.as_ref().map(|prefix| format!("token {}…", sanitize_text(prefix))));
    parts.extend(line.user.as_ref().map(|user| format!("user {}", sanitize_text(user))));
    parts.extend(line.id.as_ref().map(|id| format!("id {}", sanitize_text(id))));
    if line.prefix.is_some() {
        parts.push(match line.expires.and_then(UtcTimestamp::from_micros) {
            Some(at) => format!("ends {}", clock::format_utc(at)),
            None => "no readable end".into(),
        });
    }
    parts.join("  ")
}

/// A plan as JSON.
///
/// # Errors
///
/// If it cannot be written as JSON.
pub(super) fn plan_to_json(config: &Config, plan: &ActionPlan) -> Result<Value, StoreError> {
    Ok(json!({ "schema": 2, "plan": api_types::PlanDto::from_plan(config, plan)? }))
}

/// What came of a plan, for a person.
pub(super) fn render_outcome(plan: &ActionPlan, applied: &ApplyReport) -> String {
    let seconds = applied.duration.as_secs_f64();
    let restores = matches!(plan.selection, Selection::Restore { .. });
    let done = if restores { "put back" } else { apply::past_participle(&plan.summary.revoke) };
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
            "{} been dealt with by an earlier run.",
            format_count(applied.done_earlier, "row had", "rows had")
        ));
    }
    if applied.skipped > 0 {
        let left = format_count(applied.skipped, "row was left as it is", "rows were left as they are");
        say(format!("{left}:"));
    }
    for (line, why) in &applied.skipped_rows {
        say(format!("  {}: {}", render_row(line), why.describe()));
    }
    if applied.skipped > applied.skipped_rows.len() as u64 {
        say("  …".into());
    }
    if applied.remaining > 0 {
        say(format!(
            "Stopped: {}. The same command goes on where this one ended, for as long as a fresh plan could be carried out.",
            format_count(applied.remaining, "row remains", "rows remain")
        ));
    }
    match (applied.still_matching, restores) {
        (_, true) => {}
        (Some(0), _) => say("Verified by a fresh look: no such row is left.".into()),
        (Some(left), _) => {
            say(format!("By a fresh look, {} there now.", format_count(left, "such row is", "such rows are")))
        }
        (None, _) => {
            say("The fresh look that should verify it failed: look with `sessionwatch check`.".into())
        }
    }
    if applied.done + applied.done_earlier > 0 && !plan.summary.not_ended.is_empty() {
        say("Not ended by this, where it applies:".into());
        plan.summary.not_ended.iter().for_each(|line| say(format!("  - {}", sanitize_text(line))));
    }
    if let (Some(at), false) = (applied.purge_at, restores) {
        say(format!(
            "Until {}, this can be undone:\n  sessionwatch archive restore {}",
            clock::format_utc(at),
            plan.record.id
        ));
    }
    text
}

/// What came of a plan, as JSON.
///
/// # Errors
///
/// If it cannot be written as JSON.
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
            "left": applied.still_matching,
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

/// Rows that a person may choose among, below an error.
pub(in crate::cli) fn render_choices(error: &ActionError) -> String {
    error.similar_rows().iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "  {}", render_row(line));
        text
    })
}
