//! What a plan does besides its rows: figures, warnings and the way back.

use maud::{Markup, html};
use sessionwatch_app::app::plans::{
    ActionPlan, PlanState, RevokeMethod, Selection, SideEffect, SideEffectKind, list_further_notes,
};
use sessionwatch_clock as clock;
use sessionwatch_core::plural::{format_count, format_number};

use super::{
    phase::PlanPhase,
    plan_view::{Approval, PlanView},
    wording::{format_share, format_time_left},
};
use crate::{
    components::{Callout, Card, StatProblem, StatTile, Tone, render_stat_tiles},
    format::{capitalize_first, render_sentence, sanitize_text},
};

/// Renders the impact in figures.
pub(super) fn render_impact(plan: &ActionPlan) -> Markup {
    let (rows, active, summary) = (plan.record.row_count, plan.record.active_sessions, &plan.summary);
    let is_restore = matches!(plan.selection, Selection::Restore { .. });
    let is_done = plan.record.state == PlanState::Done;
    let verb = match (&summary.revoke, is_restore) {
        (_, true) => ["Rows to restore", "Rows restored"],
        (RevokeMethod::Delete, false) => ["Rows to delete", "Rows deleted"],
        (RevokeMethod::Expire | RevokeMethod::Flag { .. }, false) => ["Rows to change", "Rows changed"],
    }[usize::from(is_done)];
    let rows = summary.done.filter(|_| is_done).unwrap_or(rows);
    let share = |part, all, noun: &str| {
        if all == 0 {
            String::new()
        } else {
            format!("{} of {} {noun}", format_share(part, all), format_number(all))
        }
    };
    let tile = |label, value: u64, note: String| StatTile {
        label,
        value: format_number(value),
        note,
        ..StatTile::default()
    };
    let active_note = match (active, is_restore) {
        (0, true) => "Nobody is logged in again".to_owned(),
        (0, false) => "Nobody is logged out".to_owned(),
        (_, true) => "Active again after the restore".to_owned(),
        (_, false) => share(active, summary.all_active, "active"),
    };
    let users_note = match (active, is_restore) {
        (_, true) => "Own these sessions".to_owned(),
        (0, _) if plan.selection != Selection::Orphaned => "Own these sessions".to_owned(),
        _ if matches!(plan.selection, Selection::Excess { .. }) => "Keep other sessions".to_owned(),
        _ if plan.selection == Selection::Orphaned => "No longer exist".to_owned(),
        _ => "Must log in again".to_owned(),
    };
    let table_note = if is_restore { String::new() } else { share(rows, summary.all_rows, "rows") };
    let tiles = [
        tile(verb, rows, table_note),
        StatTile {
            problem: (active > 0 && !is_restore).then_some(StatProblem::Warn),
            ..tile("Active sessions", active, active_note)
        },
        tile("Users", summary.users, users_note),
        dependents_tile(&summary.side_effects),
    ];
    render_stat_tiles("Impact", &tiles)
}

/// Returns the tile of the rows of other tables that are deleted or changed.
fn dependents_tile(effects: &[SideEffect]) -> StatTile<'static> {
    let dependent = |effect: &&SideEffect| {
        matches!(effect.kind, SideEffectKind::Cascade | SideEffectKind::SetNull | SideEffectKind::SetDefault)
    };
    let dependents: Vec<&SideEffect> = effects.iter().filter(dependent).collect();
    let rows: Option<u64> = dependents.iter().map(|effect| effect.rows).sum();
    let tables: Vec<&str> = dependents.iter().map(|effect| effect.table.as_str()).collect();
    let note = match tables.as_slice() {
        [] => "No other table is affected".to_owned(),
        [table] => format!("Of {}", sanitize_text(table)),
        tables => format!("Of {}", format_count(tables.len() as u64, "table", "tables")),
    };
    let value = rows.map_or_else(|| "–".to_owned(), format_number);
    StatTile { label: "Rows of other tables", value, note, ..StatTile::default() }
}

/// Renders what to know before the plan is applied.
pub(super) fn render_warnings(view: &PlanView<'_>) -> Markup {
    let is_open = view.phase.is_applicable();
    let callout = |tone, title: &str, text: Markup| Callout { tone, title, text, action: html! {} }.render();
    html! {
        @if is_open && let Some(limit_text) = view.limit_text {
            (callout(Tone::Warn, &format!("This plan {limit_text}"), html! { (approval_sentence(view)) }))
        }
        @if is_open && let Some(why) = view.missing_evidence {
            (callout(Tone::Warn, "The incident’s evidence is incomplete", html! { (sanitize_text(why)) }))
        }
        @for effect in &view.plan.summary.side_effects { (render_side_effect(effect)) }
        // Once the plan is applied, its result says so.
        @if is_open && !view.plan.summary.not_ended.is_empty() {
            @let text = html! {
                @for line in &view.plan.summary.not_ended {
                    (render_sentence(&capitalize_first(&sanitize_text(line)))) ". "
                }
            };
            (callout(Tone::Warn, "Some logins may stay valid", text))
        }
    }
}

fn approval_sentence(view: &PlanView<'_>) -> &'static str {
    match view.approval {
        Approval::Complete => "Review the rows below. To apply the plan, you type the name of the target.",
        Approval::Missing => "A second person must approve it before it can be applied. Nobody has yet.",
        Approval::OwnOnly => {
            "A second person must approve it. You approved it, so somebody else must apply it."
        }
    }
}

fn render_side_effect(effect: &SideEffect) -> Markup {
    let table = sanitize_text(&effect.table);
    let by = capitalize_first(&sanitize_text(&effect.describe()));
    let rows = effect.rows.map_or_else(|| "Rows".to_owned(), |rows| format_count(rows, "row", "rows"));
    let is_one = effect.rows == Some(1);
    let [is_deleted, is_changed] =
        if is_one { ["is deleted", "is changed"] } else { ["are deleted", "are changed"] };
    let (tone, title, text) = match effect.kind {
        SideEffectKind::Cascade if effect.archived => (
            Tone::Info,
            format!("{rows} of {table} {is_deleted} with them"),
            format!("{by}. Archived and restored together with the sessions."),
        ),
        SideEffectKind::Cascade => (
            Tone::Warn,
            format!("{rows} of {table} {is_deleted} with them, and cannot be restored"),
            format!("{by}. They are not archived."),
        ),
        SideEffectKind::SetNull | SideEffectKind::SetDefault => (
            Tone::Warn,
            format!("{rows} of {table} {is_changed}, and cannot be restored"),
            format!("{by}. The old values are not archived."),
        ),
        SideEffectKind::Restrict => (
            Tone::Warn,
            format!(
                "{rows} of {table} {} to these sessions",
                if effect.rows == Some(1) { "refers" } else { "refer" }
            ),
            format!("{by}. The database will refuse to delete such sessions."),
        ),
        SideEffectKind::TriggerBefore => (
            Tone::Warn,
            format!("A trigger on {table} runs first"),
            format!("{by}. It can keep rows as they are, or change others. A restore does not undo that."),
        ),
        SideEffectKind::Trigger | SideEffectKind::Rule | SideEffectKind::RuleInstead => (
            Tone::Warn,
            format!("A trigger or rule on {table} runs"),
            format!("{by}. It can change other rows. A restore does not undo that."),
        ),
    };
    Callout { tone, title: &title, text: html! { (render_sentence(&text)) }, action: html! {} }.render()
}

/// Renders how the plan can be undone, and until when.
pub(super) fn render_undo(view: &PlanView<'_>) -> Markup {
    let callout =
        |title: &str, text: Markup| Callout { tone: Tone::Neutral, title, text, action: html! {} }.render();
    if matches!(view.plan.selection, Selection::Restore { .. }) {
        return html! {};
    }
    let method = match &view.plan.summary.revoke {
        RevokeMethod::Delete => String::new(),
        RevokeMethod::Expire => " The rows stay in the table, with their expiry set to now.".to_owned(),
        RevokeMethod::Flag { column, value } => {
            format!(
                " The rows stay in the table, with {} set to {}.",
                sanitize_text(column),
                sanitize_text(value)
            )
        }
    };
    match (view.phase, view.archive) {
        (PlanPhase::Applied | PlanPhase::Interrupted(_), Some(archive)) if archive.is_restored() => {
            let text = html! {
                (format_count(archive.restored_rows, "row was", "rows were")) " restored from the archive. "
                "No row is left to restore."
            };
            callout("All rows are restored", text)
        }
        (PlanPhase::Applied | PlanPhase::Interrupted(_), Some(archive)) if archive.can_be_restored() => {
            let left = format_time_left(archive.purge_at, view.shell.now);
            let text = html! {
                (format_count(archive.restorable_rows, "row is", "rows are")) " in the archive"
                @if archive.restored_rows > 0 { ", " (format_number(archive.restored_rows)) " restored" }
                ". " (left) " left, until " (clock::format_utc(archive.purge_at)) "."
            };
            callout(&format!("Can be undone until {}", clock::format_day(archive.purge_at)), text)
        }
        (PlanPhase::Ready(_) | PlanPhase::Interrupted(_), _) => {
            let text = html! {
                "The rows are encrypted into the archive first." (method)
                " Rows that change before you apply the plan are skipped."
            };
            callout(&format!("Can be undone for {}", view.retention), text)
        }
        (PlanPhase::Empty | PlanPhase::Expired | PlanPhase::Applying | PlanPhase::Applied, _) => html! {},
    }
}

/// Renders what else the target says about the plan.
pub(super) fn render_notes(plan: &ActionPlan) -> Markup {
    let notes = list_further_notes(plan);
    let body = html! {
        ul.notes { @for note in &notes { li { (render_sentence(&capitalize_first(&sanitize_text(note)))) } } }
    };
    html! {
        @if !notes.is_empty() {
            (Card { id: "notes", title: "Notes", note: "", end: html! {}, body }.render_padded())
        }
    }
}
