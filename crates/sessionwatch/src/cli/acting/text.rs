//! Plans and what came of them, as people and programs read them.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sessionwatch_app::{
    api_types,
    app::error::StoreError,
    config::Config,
    remediation::{ActError, Applied, Line, Plan, Selection, Why, applying},
    sanitize::printable,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{instant::Instant, plural::counted};

/// Minutes in a plan's life, for a person.
fn minutes(config: &Config) -> i64 {
    config.actions.stale_after.as_mins()
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A plan for a person.
pub(super) fn plan(config: &Config, plan: &Plan) -> String {
    let (kept, summary) = (&plan.kept, &plan.summary);
    let mut text = format!("{}: {} ", kept.target, plan.selection.name());
    let restores = matches!(plan.selection, Selection::Restore { .. });
    let (rows, active) = (kept.rows, kept.active);
    // Writing to a String cannot fail, here and below.
    let _ = if restores {
        let all = rows + summary.left;
        writeln!(text, "would put back {rows} of {}, {active} of them active.", counted(all, "row", "rows"))
    } else {
        writeln!(
            text,
            "would touch {rows} of {} ({:.1} %), {active} of {} ({:.1} %).",
            counted(summary.all_rows, "row", "rows"),
            share(rows, summary.all_rows),
            counted(summary.all_active, "active session", "active sessions"),
            share(active, summary.all_active),
        )
    };
    if let Some(place) = plan.place() {
        let _ = writeln!(text, "Table: {}.", printable(&place));
    }
    let _ = writeln!(text, "Users: {}.", summary.users);
    if !summary.sample.is_empty() {
        let _ = writeln!(text, "\nSome of the rows:");
    }
    for line in &summary.sample {
        let _ = writeln!(text, "  {}", row(line));
    }
    let _ = writeln!(text, "\nTo know:");
    for note in &summary.notes {
        let _ = writeln!(text, "  - {}", printable(note));
    }
    let braked = plan.braked(config.actions.brake());
    if let Some(braked) = &braked {
        let _ = writeln!(text, "  - the plan {braked}: carrying it out needs the name of the target");
    }
    if rows > 0 {
        let name = quoted(plan.name_to_confirm());
        let confirm = if braked.is_some() { format!(" --confirm {name}") } else { String::new() };
        let _ = writeln!(
            text,
            "\nNothing was done. The plan is {}; for {} minutes, this carries out exactly it:\n  the same command with --apply {}{confirm}",
            kept.id,
            minutes(config),
            kept.id
        );
    }
    text
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@".contains(letter);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// A row for a person.
pub(super) fn row(line: &Line) -> String {
    let mut parts = Vec::new();
    parts.extend(line.prefix.as_ref().map(|prefix| format!("token {}…", printable(prefix))));
    parts.extend(line.user.as_ref().map(|user| format!("user {}", printable(user))));
    parts.extend(line.id.as_ref().map(|id| format!("id {}", printable(id))));
    if line.prefix.is_some() {
        parts.push(match line.expires.and_then(Instant::from_micros) {
            Some(at) => format!("ends {}", clock::readable(at)),
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
pub(super) fn plan_json(config: &Config, plan: &Plan) -> Result<Value, StoreError> {
    Ok(json!({ "schema": 1, "plan": api_types::Plan::of(config, plan)? }))
}

/// What came of a plan, for a person.
pub(super) fn applied(plan: &Plan, applied: &Applied) -> String {
    let seconds = applied.took.as_secs_f64();
    let restores = matches!(plan.selection, Selection::Restore { .. });
    let done = if restores { "put back" } else { applying::verb(&plan.summary.revoke) };
    let place = plan.place().map(|place| format!(" in {}", printable(&place))).unwrap_or_default();
    let mut text = format!(
        "{}: {} {done}{place}, in {seconds:.1} s.\n",
        plan.kept.target,
        counted(applied.done, "row", "rows")
    );
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    applied.besides(restores).into_iter().for_each(|line| say(printable(&line)));
    if applied.earlier > 0 {
        say(format!(
            "{} been dealt with by an earlier run.",
            counted(applied.earlier, "row had", "rows had")
        ));
    }
    if applied.skipped > 0 {
        let left = counted(applied.skipped, "row was left as it is", "rows were left as they are");
        say(format!("{left}:"));
    }
    for (line, why) in &applied.lines {
        say(format!("  {}: {}", row(line), why.text()));
    }
    if applied.skipped > applied.lines.len() as u64 {
        say("  …".into());
    }
    if applied.remaining > 0 {
        say(format!(
            "Stopped: {}. The same command goes on where this one ended, for as long as a fresh plan could be carried out.",
            counted(applied.remaining, "row remains", "rows remain")
        ));
    }
    match (applied.left, restores) {
        (_, true) => {}
        (Some(0), _) => say("Verified by a fresh look: no such row is left.".into()),
        (Some(left), _) => {
            say(format!("By a fresh look, {} there now.", counted(left, "such row is", "such rows are")))
        }
        (None, _) => {
            say("The fresh look that should verify it failed: look with `sessionwatch check`.".into())
        }
    }
    if applied.done + applied.earlier > 0 && !plan.summary.not_ended.is_empty() {
        say("Not ended by this, where it applies:".into());
        plan.summary.not_ended.iter().for_each(|line| say(format!("  - {}", printable(line))));
    }
    if let (Some(at), false) = (applied.purge_at, restores) {
        say(format!(
            "Until {}, this can be undone:\n  sessionwatch archive restore {}",
            clock::readable(at),
            plan.kept.id
        ));
    }
    text
}

/// What came of a plan, as JSON.
///
/// # Errors
///
/// If it cannot be written as JSON.
pub(super) fn applied_json(plan: &Plan, applied: &Applied) -> Result<Value, StoreError> {
    let left = |(line, why): &(Line, Why)| {
        let mut row = api_types::json(api_types::Row::of(line))?;
        row["why"] = json!(why.text());
        Ok::<_, StoreError>(row)
    };
    let rows = applied.lines.iter().map(left).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "schema": 1,
        "applied": {
            "plan": plan.kept.id,
            "target": plan.kept.target,
            "action": plan.selection.name(),
            "table": plan.summary.table,
            "framework": plan.summary.framework,
            "not_ended": plan.summary.not_ended,
            "done": applied.done,
            "earlier": applied.earlier,
            "skipped": applied.skipped,
            "remaining": applied.remaining,
            "left": applied.left,
            "took_ms": applied.took.as_secs_f64() * 1000.0,
            "longest_hold_ms": applied.longest_hold.as_secs_f64() * 1000.0,
            "dependents": applied.dependents.iter().map(|(table, rows)| {
                json!({ "table": table, "done": rows.done, "refused": rows.refused })
            }).collect::<Vec<_>>(),
            "undo_until": applied.purge_at.map(clock::rfc3339),
            "rows": rows,
        },
    }))
}

/// Rows that a person may choose among, below an error.
pub(in crate::cli) fn choices(error: &ActError) -> String {
    error.choices().iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "  {}", row(line));
        text
    })
}
