//! The table of sessions, with the selection of rows for a plan.

use maud::{Markup, html};
use sessionwatch_app::{
    app::sessions::{SessionProblem, SessionRow, SessionSort, sort_key},
    report,
};
use sessionwatch_core::{plural::format_number, timestamp::UtcTimestamp};

use super::{SessionPage, export::MAX_EXPORTED_SESSIONS, filter::SessionFilter, row_key};
use crate::{
    components::{EmptyState, Icon, PillTone, render_icon, render_pill, render_user},
    device::Device,
    format::{percent_encode, render_moment, render_relative_time, sanitize_text},
    shell::render_csrf_field,
    user_identity::UserIdentity,
};

/// An optional column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionColumn {
    Selection,
    Id,
    Device,
    Ip,
    Created,
}

/// The optional columns that some row of the page fills.
struct ShownColumns(Vec<SessionColumn>);

impl ShownColumns {
    fn of_page(page: &SessionPage<'_>) -> Self {
        let has = |test: fn(&SessionRow) -> bool| page.found.rows.iter().any(test);
        let id = has(|row| row.id.is_some());
        let shown = [
            (page.shell.can_respond() && id, SessionColumn::Selection),
            (id, SessionColumn::Id),
            (has(|row| row.agent.is_some()), SessionColumn::Device),
            (has(|row| row.ip.is_some()), SessionColumn::Ip),
            (has(|row| row.created_at.is_some()), SessionColumn::Created),
        ];
        Self(shown.into_iter().filter(|(is_shown, _)| *is_shown).map(|(_, column)| column).collect())
    }

    fn has(&self, column: SessionColumn) -> bool {
        self.0.contains(&column)
    }
}

pub(super) fn render_table(page: &SessionPage<'_>, chosen: Option<SessionSort>) -> Markup {
    let shown = &ShownColumns::of_page(page);
    let table = html! {
        div.table-wrap tabindex="0" role="group" aria-label="Sessions" {
            table.table.table-dense.table-cards.sessions {
                thead { (render_head(page, shown)) }
                tbody {
                    @for (number, row) in page.found.rows.iter().enumerate() { (render_row(page, shown, row, number)) }
                }
            }
        }
    };
    html! {
        section.card aria-label="Sessions" {
            @if page.found.rows.is_empty() { (render_empty(page)) }
            @else if shown.has(SessionColumn::Selection) {
                form method="post" action="/cleanup" data-selection {
                    (render_csrf_field(&page.shell.user))
                    input type="hidden" name="target" value=(page.target);
                    input type="hidden" name="kind" value="sessions";
                    (render_bulk_bar())
                    (table)
                }
            } @else { (table) }
            (render_foot(page, chosen))
        }
    }
}

/// Renders the bar with the action on the selected rows. The script hides it while nothing is selected.
fn render_bulk_bar() -> Markup {
    html! {
        div.bulk data-bulk {
            b data-selected-count data-one="{} selected" data-many="{} selected" { "Select sessions to revoke them" }
            div.end {
                button.btn.btn-s.btn-danger data-selected-count
                    data-one="Revoke {} session…" data-many="Revoke {} sessions…" { "Revoke selected sessions…" }
            }
        }
    }
}

fn render_head(page: &SessionPage<'_>, shown: &ShownColumns) -> Markup {
    html! {
        tr {
            @if shown.has(SessionColumn::Selection) {
                th.hide-s.select scope="col" {
                    input.check type="checkbox" data-select-all aria-label="Select all sessions of this page";
                }
            }
            (render_sort_heading(page, SessionSort::User, "User", "fill"))
            @if shown.has(SessionColumn::Device) { th scope="col" { "Device" } }
            @if shown.has(SessionColumn::Ip) { th.c-mid scope="col" { "IP address" } }
            @if shown.has(SessionColumn::Created) {
                (render_sort_heading(page, SessionSort::Created, "Created", "end"))
            }
            (render_sort_heading(page, SessionSort::Expires, "Expires", "end"))
            th scope="col" { "Status" }
            th scope="col" { "Token prefix" }
            @if shown.has(SessionColumn::Id) { (render_sort_heading(page, SessionSort::Id, "ID", "c-low")) }
        }
    }
}

fn render_sort_heading(page: &SessionPage<'_>, sort: SessionSort, label: &str, class: &str) -> Markup {
    let is_current = page.found.sort == sort;
    let is_ascending = page.filter.order == "up";
    // A second click on the heading turns the order around. Names begin with the first letter.
    let is_text = matches!(sort, SessionSort::User | SessionSort::Id);
    let next = if is_current { !is_ascending } else { is_text };
    let filter = SessionFilter {
        sort: SessionFilter::sort_name(sort).to_owned(),
        order: if next { "up".to_owned() } else { String::new() },
        ..page.filter.clone()
    };
    let order = if is_ascending { "ascending" } else { "descending" };
    html! {
        th scope="col" class=(class) aria-sort=[is_current.then_some(order)] {
            a href={ (page.base) "/sessions?" (filter.to_query_string()) } {
                (label) @if is_current { (render_icon(if is_ascending { Icon::ArrowUp } else { Icon::ArrowDown })) }
            }
        }
    }
}

fn render_row(page: &SessionPage<'_>, shown: &ShownColumns, row: &SessionRow, number: usize) -> Markup {
    let text = |text: &Option<String>| sanitize_text(text.as_deref().unwrap_or_default());
    let user = UserIdentity::new(row.user.as_deref().unwrap_or("No user"), &row.display);
    let key = row_key(row);
    let is_open = key.is_some_and(|key| key == page.filter.open);
    let link = key.map(|key| format!("{}#row-{number}", page.path_with(key)));
    html! {
        tr id={ "row-" (number) } class=[is_open.then_some("open")] {
            @if shown.has(SessionColumn::Selection) {
                td.hide-s.select {
                    @if let Some(id) = &row.id {
                        @let label = format!("Select session of {}", user.name);
                        input.check type="checkbox" name="id" value=(id) aria-label=(label);
                    }
                }
            }
            td.fill { (render_user(&user.name, user.detail(), link.as_deref())) }
            @if shown.has(SessionColumn::Device) {
                td.muted.span { @if let Some(agent) = &row.agent { (Device::from_agent(agent).name) } }
            }
            @if shown.has(SessionColumn::Ip) { td.mono.hide-s.c-mid { (text(&row.ip)) } }
            @if shown.has(SessionColumn::Created) {
                td.end.hide-s { @if let Some(at) = row.created_at { (render_moment(at, page.found.now)) } }
            }
            td.end.muted.hide-s { (render_expiry(row.expires_at, page.found.now)) }
            td.up { (render_status(row, page.found.now)) }
            td.mono.muted.hide-s { (text(&row.token_prefix)) }
            @if shown.has(SessionColumn::Id) { td.mono.muted.hide-s.c-low.cut { (text(&row.id)) } }
        }
    }
}

/// Renders when a session ends or ended.
pub(crate) fn render_expiry(expires_at: Option<UtcTimestamp>, now: UtcTimestamp) -> Markup {
    html! {
        @match expires_at {
            Some(at) => (render_relative_time(at, now)),
            None => "never",
        }
    }
}

/// Renders the status of a session: what is wrong with it, otherwise whether it is active.
pub(crate) fn render_status(row: &SessionRow, now: UtcTimestamp) -> Markup {
    match row.problem {
        Some(SessionProblem::SharedToken) => {
            render_pill(PillTone::Failing, Icon::OctagonAlert, "Shared token")
        }
        Some(SessionProblem::Orphaned) => render_pill(PillTone::Medium, Icon::Diamond, "Orphaned"),
        None => render_lifetime(row.expires_at, now),
    }
}

/// Renders whether a session is active.
pub(super) fn render_lifetime(expires_at: Option<UtcTimestamp>, now: UtcTimestamp) -> Markup {
    match report::session_status(expires_at, now) {
        "active" => render_pill(PillTone::Passing, Icon::CircleCheck, "Active"),
        "expired" => render_pill(PillTone::Quiet, Icon::Minus, "Expired"),
        _ => render_pill(PillTone::Unknown, Icon::CircleQuestionMark, "No end"),
    }
}

fn render_empty(page: &SessionPage<'_>) -> Markup {
    let state = if page.filter.is_empty() {
        EmptyState {
            icon: Icon::MonitorSmartphone,
            title: "No sessions are stored",
            text: html! { "They appear here as soon as somebody logs in to the application." },
            action: html! {},
        }
    } else {
        EmptyState {
            icon: Icon::ListFilter,
            title: "No matching sessions",
            text: html! { "No session meets all conditions of the filter." },
            action: html! { a.btn href={ (page.base) "/sessions" } { "Show all sessions" } },
        }
    };
    state.render()
}

/// Renders the size of the list, and the links to its other pages.
fn render_foot(page: &SessionPage<'_>, chosen: Option<SessionSort>) -> Markup {
    let (found, filter) = (page.found, page.filter);
    let query = filter.to_query_string();
    // A table of fewer sessions fits into an export, whatever the filter.
    let most = MAX_EXPORTED_SESSIONS as u64;
    let is_export_cut = found.has_more && page.totals.sessions.is_none_or(|sessions| sessions > most);
    // Lists sorted by user have no further pages.
    let last = found.rows.last().filter(|_| found.has_more && found.sort != SessionSort::User);
    let seen = page.listed_so_far().map(|seen| format!("&seen={seen}")).unwrap_or_default();
    html! {
        div.card-foot {
            span {
                (format_number(found.rows.len() as u64)) " shown"
                @if found.has_more { ", more follow" }
                @if found.has_more && found.sort == SessionSort::User { ". Sort by another column to see them" }
            }
            (page.sort_note(chosen))
            @if is_export_cut { span.hint { "Exports contain the first 100,000 sessions in this order." } }
            span.grow {}
            span.pager {
                @if !filter.after.is_empty() { a.btn.btn-s href={ (page.base) "/sessions?" (query) } { "First page" } }
                @if let Some(last) = last {
                    a.btn.btn-s rel="next" href={
                        (page.base) "/sessions?" (query) "&after=" (sort_key(last, found.sort))
                        "&id=" (percent_encode(last.id.as_deref().unwrap_or_default())) (seen)
                    } { "Next page" }
                }
            }
        }
    }
}
