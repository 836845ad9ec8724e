//! The rows of a plan, and the command that applies it.

use maud::{Markup, html};
use sessionwatch_app::{
    app::plans::{RowPreview, Selection},
    sanitize::quote_for_shell,
};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{plan_view::PlanView, wording::format_shown};
use crate::{
    components::{Card, Column, DataTable, EmptyState, Icon, render_code_block, render_user},
    format::{percent_encode, render_moment, render_relative_time, sanitize_text},
};

/// Renders the first rows of a plan.
pub(super) fn render_rows(view: &PlanView<'_>) -> Markup {
    let (plan, sample) = (view.plan, &view.plan.summary.sample);
    if sample.is_empty() {
        let state = EmptyState {
            icon: Icon::CircleCheck,
            title: "No matching rows",
            text: html! { "There is nothing to apply." },
            action: html! {},
        };
        return html! { section.card { (state.render()) } };
    }
    let is_past = sample.iter().all(|row| find_expiry(row).is_some_and(|at| at <= view.shell.now));
    let expiry = if is_past { "Expired" } else { "Expires" };
    let columns = [
        Column::text("User"),
        Column::text("Row ID"),
        Column::text("Token prefix"),
        Column::number(expiry),
        Column::number(if is_past { "Age" } else { "" }),
    ];
    let columns = if is_past { &columns[..] } else { &columns[..4] };
    let rows = html! { @for row in sample { (render_row(view, row, is_past)) } };
    let all = plan.record.row_count;
    let note = format_shown(sample.len(), all, ["row", "rows"]);
    let body = DataTable { label: "Rows of the plan", class: "table-cards", columns, rows }.render();
    Card { id: "rows", title: "Rows", note: &note, end: render_session_link(view), body }.render()
}

fn find_expiry(row: &RowPreview) -> Option<UtcTimestamp> {
    row.expires.and_then(UtcTimestamp::from_micros)
}

fn render_row(view: &PlanView<'_>, row: &RowPreview, is_past: bool) -> Markup {
    let text = |text: &Option<String>| text.as_deref().map(sanitize_text).unwrap_or_default();
    let now = view.shell.now;
    html! {
        tr {
            td.first { (render_row_user(view, row)) }
            td.mono.muted.span { (text(&row.id)) }
            td.mono.muted.hide-s { @if row.prefix.is_some() { (text(&row.prefix)) "…" } }
            td.num.hide-s[is_past].up[!is_past] {
                @match find_expiry(row) { Some(at) => (render_moment(at, now)), None => span.muted { "never" } }
            }
            @if is_past { td.num.up { @if let Some(at) = find_expiry(row) { (render_relative_time(at, now)) } } }
        }
    }
}

/// Renders the user of a row: the name and the email address where the table of users has them, or else the id.
fn render_row_user(view: &PlanView<'_>, row: &RowPreview) -> Markup {
    let Some(user) = &row.user else { return html! { span.muted { "no user" } } };
    let link = format!("/targets/{}/users/{}", percent_encode(&view.target.name), percent_encode(user));
    match row.display.as_slice() {
        [] => render_user(user, None, Some(&link)),
        [name] => render_user(name, Some(user), Some(&link)),
        [name, detail, ..] => render_user(name, Some(detail), Some(&link)),
    }
}

/// Renders a link to the sessions of which the plan is a part.
fn render_session_link(view: &PlanView<'_>) -> Markup {
    let sessions = format!("/targets/{}/sessions", percent_encode(&view.target.name));
    match &view.plan.selection {
        Selection::Expired { .. } => {
            html! { a.btn.btn-s href={ (sessions) "?status=expired" } { "Show expired sessions" } }
        }
        Selection::User(user) => {
            let path =
                format!("/targets/{}/users/{}", percent_encode(&view.target.name), percent_encode(user));
            html! { a.btn.btn-s href=(path) { "Show user" } }
        }
        _ => html! {},
    }
}

/// Renders the command that applies the plan.
pub(super) fn render_command(view: &PlanView<'_>) -> Markup {
    let name = quote_for_shell(&view.shell.user.name);
    let mut command = format!("sessionwatch apply {} --as {name}", view.plan.record.id);
    if view.limit_text.is_some() {
        command.push_str(&format!(" --confirm {}", quote_for_shell(&view.target.name)));
    }
    let body = render_code_block("command", &command);
    Card { id: "command", title: "From the command line", note: "", end: html! {}, body }.render_padded()
}
