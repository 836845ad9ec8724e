//! The list of the sessions of a target, and its exports. Tokens are shown by their prefix only.

mod export;
mod filter;
mod header;
mod panel;
mod table;

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppError, AppState,
    plans::Selection,
    session_totals::{SessionTotals, load_session_totals},
    sessions::{self, SessionList, SessionQuery, SessionRow, SessionSort},
};

pub(super) use self::{
    export::{export_csv, export_json},
    panel::log_event_entry,
    table::{render_expiry, render_status},
};

use self::{filter::SessionFilter, header::render_header, panel::SessionPanel, table::render_table};
use super::{
    components::{Callout, Tone},
    csrf::FormFields,
    format::percent_encode,
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell},
    web_error::{WebError, status_code},
};

/// Most sessions on a page.
const SESSION_PAGE_SIZE: usize = 50;
/// Most sessions in a plan of selected sessions: those of one page.
const MAX_SELECTED_SESSIONS: usize = SESSION_PAGE_SIZE;

/// What the page shows.
struct SessionPage<'a> {
    shell: &'a Shell,
    target: &'a str,
    /// Path of the target.
    base: String,
    filter: &'a SessionFilter,
    totals: &'a SessionTotals,
    found: &'a SessionList,
}

pub(super) async fn show_sessions(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    PageQuery(mut filter): PageQuery<SessionFilter>,
    shell: Shell,
) -> Result<Response, WebError> {
    let target = app.target(&name)?;
    let totals = load_session_totals(&app, &name).await?;
    let query = SessionQuery {
        problem_search: filter.problem_search(&totals),
        ..filter.to_session_query(SESSION_PAGE_SIZE, shell.now)?
    };
    let base = format!("/targets/{}", percent_encode(&name));
    let head =
        PageHead { title: "Sessions", section: NavSection::Sessions, target: Some(&name), live: false };
    let chosen = filter.parse_sort()?;
    let found = match sessions::list_sessions(&app, &target, query).await {
        Ok(found) => found,
        Err(error) => {
            let body = render_unavailable(&filter, &base, &totals, &error);
            return Ok((status_code(&error), shell.render_page(head, &body)).into_response());
        }
    };
    if chosen.is_some() {
        SessionFilter::sort_name(found.sort).clone_into(&mut filter.sort);
    }
    let page =
        SessionPage { shell: &shell, target: &name, base, filter: &filter, totals: &totals, found: &found };
    let panel = match page.find_open_session(&app).await {
        Some(row) => Some(SessionPanel::load(&app, &page, row).await?),
        None => None,
    };
    let body = html! {
        (render_header(&page))
        div class=(if panel.is_some() { "split" } else { "split split-closed" }) {
            (render_table(&page, chosen))
            @if let Some(panel) = &panel { (panel.render(&page)) }
        }
    };
    Ok(shell.render_page(head, &body).into_response())
}

impl SessionPage<'_> {
    /// Returns the session in the side panel: of this page, or of another one after a link was shared. `None` if it
    /// has ended.
    async fn find_open_session(&self, app: &Arc<AppState>) -> Option<SessionRow> {
        let open = Some(self.filter.open.as_str()).filter(|open| !open.is_empty())?;
        if let Some(row) = self.found.rows.iter().find(|row| row_key(row) == Some(open)) {
            return Some(row.clone());
        }
        let query = SessionQuery {
            row_id_or_prefix: Some(open.to_owned()),
            problem_search: self.filter.problem_search(self.totals),
            ..SessionQuery::first(1)
        };
        let target = app.target(self.target).ok()?;
        sessions::list_sessions(app, &target, query).await.ok()?.rows.into_iter().next()
    }

    /// Returns the path of this page of the list, with a session in the side panel unless `open` is empty.
    fn path_with(&self, open: &str) -> String {
        let query = self.filter.page_query_string();
        let open = if open.is_empty() { String::new() } else { format!("open={}", percent_encode(open)) };
        let joined = [query, open].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
        format!("{}/sessions?{joined}", self.base)
    }

    /// Returns the number of sessions on this page and those before it; `None` if the link to this page lacks it.
    fn listed_so_far(&self) -> Option<u64> {
        self.filter.seen_before().map(|seen| seen.saturating_add(self.found.rows.len() as u64))
    }

    fn sort_note(&self, chosen: Option<SessionSort>) -> Markup {
        let sort = self.found.sort;
        html! {
            @match chosen {
                None if sort == SessionSort::Id => p.hint {
                    "Sorted by row ID: without an index on the expiry, sorting by expiry would read the \
                     whole table. The "
                    a href={ (self.base) "/doctor" } { "doctor" } " shows which index to create."
                },
                Some(SessionSort::Created) if sort != SessionSort::Created => p.hint { "Sorted by expiry: \
                    the table does not store when sessions were created." },
                Some(SessionSort::Id) if sort != SessionSort::Id => p.hint { "Sorted by expiry: \
                    the table has no unique row ID." },
                _ => {}
            }
        }
    }
}

/// Returns the name of a session in URLs: the row ID, or the token prefix without one.
fn row_key(row: &SessionRow) -> Option<&str> {
    row.id.as_deref().or(row.token_prefix.as_deref())
}

/// Renders the page of a database that cannot be read.
fn render_unavailable(
    filter: &SessionFilter,
    base: &str,
    totals: &SessionTotals,
    error: &AppError,
) -> Markup {
    let callout = Callout {
        tone: Tone::Bad,
        title: "The sessions cannot be listed now",
        text: html! { (error.to_string()) " " (error.hint()) },
        action: html! { a.btn href={ (base) "/doctor" } { "Run doctor" } },
    };
    html! {
        (header::render_unavailable_header(totals))
        (filter.render_chips(base))
        (callout.render())
    }
}

/// Parses the sessions that were selected in the list.
pub(super) fn parse_selected_sessions(fields: &FormFields) -> Result<Selection, AppError> {
    let ids: Vec<String> = fields.texts("id").map(str::to_owned).collect();
    if ids.is_empty() {
        return Err(AppError::Invalid("Select at least one session.".into()));
    }
    if ids.len() > MAX_SELECTED_SESSIONS || ids.iter().any(|id| id.len() > 400) {
        return Err(AppError::Invalid(format!("Select at most {MAX_SELECTED_SESSIONS} sessions.")));
    }
    Ok(Selection::Sessions(ids))
}

#[cfg(test)]
mod tests;
