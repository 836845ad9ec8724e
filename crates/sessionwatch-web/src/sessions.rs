//! Session lists, exports and user pages. Tokens are shown by their prefix only.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use sessionwatch_app::{
    api_types,
    app::{
        AppError, AppState,
        accounts::AccountRole,
        logs::describe_log_event,
        sessions::{
            self, SessionList, SessionPageCursor, SessionQuery, SessionSort, SessionStatus, sort_key,
        },
    },
    report,
};
use sessionwatch_clock as clock;

use super::{
    PageResult, WebError,
    layout::{self, PageHead},
    shell::Shell,
};

/// Most sessions on a page.
const SESSION_PAGE_SIZE: usize = 100;
/// Most sessions in an export, which is built in memory.
const MAX_EXPORTED_SESSIONS: usize = 100_000;
/// Response header of exports: `true` if sessions are missing from the end.
const TRUNCATED_HEADER: HeaderName = HeaderName::from_static("sessionwatch-truncated");
/// Sort orders, with their names in URLs and on the page.
const SORT_OPTIONS: [(SessionSort, &str, &str); 4] = [
    (SessionSort::Expires, "expires", "expiry"),
    (SessionSort::Created, "created", "creation"),
    (SessionSort::User, "user", "user"),
    (SessionSort::Id, "id", "row ID"),
];

/// The filter in the query string.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct SessionFilter {
    #[serde(default)]
    status: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    order: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    id: String,
}

impl SessionFilter {
    fn parse_status(&self) -> Result<SessionStatus, AppError> {
        Ok(match self.status.as_str() {
            "" | "all" => SessionStatus::All,
            "active" => SessionStatus::Active,
            "expired" => SessionStatus::Expired,
            other => {
                return Err(AppError::Invalid(format!(
                    "Unknown status “{other}”. Use active, expired or all."
                )));
            }
        })
    }

    fn parse_sort(&self) -> Result<Option<SessionSort>, AppError> {
        let wanted = SORT_OPTIONS.iter().find(|(_, name, _)| *name == self.sort).map(|(sort, ..)| *sort);
        if wanted.is_none() && !self.sort.is_empty() {
            let said = format!("Unknown sort order “{}”. Use expires, created, user or id.", self.sort);
            return Err(AppError::Invalid(said));
        }
        Ok(wanted)
    }

    /// Returns the query for at most `limit` sessions.
    fn to_session_query(&self, limit: usize) -> Result<SessionQuery, AppError> {
        let some = |text: &'_ String| Some(text.clone()).filter(|text| !text.is_empty());
        let after = self.after.parse().ok().map(|key| SessionPageCursor { key, id: self.id.clone() });
        let (status, sort) = (self.parse_status()?, self.parse_sort()?);
        let (user, token) = (some(&self.user), some(&self.token));
        let ascending = self.order == "up";
        Ok(SessionQuery {
            status,
            sort,
            paged: true,
            ascending,
            user,
            user_like: None,
            row_id_or_prefix: token,
            after,
            limit,
        })
    }

    /// Returns the filter as a query string.
    fn to_query_string(&self) -> String {
        let pairs = [
            ("status", &self.status),
            ("sort", &self.sort),
            ("order", &self.order),
            ("user", &self.user),
            ("token", &self.token),
        ];
        let set = pairs.iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| format!("{name}={}", layout::percent_encode(value)))
            .collect::<Vec<_>>()
            .join("&")
    }
}

pub(super) async fn show_sessions(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(mut filter): Query<SessionFilter>,
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let target = app.target(&name)?;
    let found = sessions::list_sessions(&app, &target, filter.to_session_query(SESSION_PAGE_SIZE)?).await?;
    let base = format!("/targets/{}", layout::percent_encode(&name));
    let (sort, chosen) = (found.sort, filter.parse_sort()?);
    filter.sort =
        SORT_OPTIONS.iter().find(|(one, ..)| *one == sort).map_or("", |(_, name, _)| name).to_owned();
    let next = found.rows.last().filter(|_| found.has_more && sort != SessionSort::User);
    let query = filter.to_query_string();
    let body = html! {
        (render_filter_form(&filter, &base))
        @match chosen {
            None if sort == SessionSort::Id => p {
                "Sorted by row ID: without an index on the expiry, sorting by expiry would read the whole table. The "
                a href={ (base) "/doctor" } { "doctor" } " shows which index to create."
            },
            Some(SessionSort::Created) if sort != SessionSort::Created => p { "Sorted by expiry: the table does not store when sessions were created." },
            Some(SessionSort::Id) if sort != SessionSort::Id => p { "Sorted by expiry: the table has no unique row ID." },
            _ => {}
        }
        @if found.rows.is_empty() { p.empty { "No matching sessions." } }
        @else { (render_session_table(&found, &base)) }
        p.links {
            @if let Some(last) = next {
                a rel="next" href={ (base) "/sessions?" (query) "&after=" (sort_key(last, sort)) "&id=" (layout::percent_encode(last.id.as_deref().unwrap_or_default())) } { "Next page" }
            }
            a href={ (base) "/sessions.csv?" (query) } { "CSV" } a href={ (base) "/sessions.json?" (query) } { "JSON" }
        }
        @if found.has_more { p.dim { "Exports contain the first 100,000 sessions in this order." } }
        @if person.role >= AccountRole::Responder {
            p.links { a href={ "/cleanup?target=" (layout::percent_encode(&name)) } { "Revoke sessions" } }
        }
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: &format!("Sessions of {name}"), path: "/targets", live: false },
        &body,
    ))
}

fn render_filter_form(filter: &SessionFilter, base: &str) -> Markup {
    let choice = |name: &str, value: &str, all: &[(&str, &str)]| {
        html! {
            select name=(name) {
                @for (option, label) in all { option value=(option) selected[*option == value] { (label) } }
            }
        }
    };
    html! {
        form.filter method="get" action={ (base) "/sessions" } {
            label { "Status" (choice("status", &filter.status, &[("all", "all"), ("active", "active"), ("expired", "expired")])) }
            label { "Sort by" (choice("sort", &filter.sort, &SORT_OPTIONS.map(|(_, name, said)| (name, said)))) }
            label { "Order" (choice("order", &filter.order, &[("down", "descending"), ("up", "ascending")])) }
            label { "User" input name="user" value=(filter.user) maxlength="200"; }
            label { "Row ID or token prefix" input name="token" value=(filter.token) maxlength="200"; }
            button { "Show sessions" }
        }
    }
}

fn render_session_table(found: &SessionList, base: &str) -> Markup {
    let cell = |text: &Option<String>| layout::sanitize_text(text.as_deref().unwrap_or_default());
    html! {
        div.wide tabindex="0" role="group" aria-label="Table" { table {
            thead { tr {
                th scope="col" { "Token" } th scope="col" { "Row ID" } th scope="col" { "User ID" } th scope="col" { "Expires" }
                th scope="col" { "Status" } th scope="col" { "Hours left" }
                @for name in &found.display { th scope="col" { (layout::sanitize_text(name)) } }
            } }
            tbody { @for line in &found.rows { tr {
                td { code { (cell(&line.token_prefix)) "…" } }
                td { (cell(&line.id)) }
                td { @if let Some(user) = &line.user { a href={ (base) "/users/" (layout::percent_encode(user)) } { (layout::sanitize_text(user)) } } }
                td { (line.expires_at.map(clock::format_utc).unwrap_or_default()) }
                td { (report::session_status(line.expires_at, found.now)) }
                td.number { (report::hours_left(line.expires_at, found.now).map(|hours| format!("{hours:.1}")).unwrap_or_default()) }
                @for text in &line.display { td { (cell(text)) } }
            } } }
        } }
    }
}

pub(super) async fn export_csv(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(filter): Query<SessionFilter>,
) -> Result<Response, WebError> {
    let target = app.target(&name)?;
    let found =
        sessions::list_sessions(&app, &target, filter.to_session_query(MAX_EXPORTED_SESSIONS)?).await?;
    let mut text = "token,id,user,expires,status\n".to_owned();
    for line in &found.rows {
        let field = |text: &Option<String>| layout::sanitize_text(text.as_deref().unwrap_or_default());
        let (token, id, user) = (field(&line.token_prefix), field(&line.id), field(&line.user));
        let expires = line.expires_at.map(clock::format_rfc3339).unwrap_or_default();
        text.push_str(&sessionwatch_app::output::csv::render_csv_line(&[
            &token,
            &id,
            &user,
            &expires,
            report::session_status(line.expires_at, found.now),
        ]));
    }
    // A browser does not show headers, so the file name says that the export is cut.
    let file_name = if found.has_more {
        format!("sessions-first-{MAX_EXPORTED_SESSIONS}.csv")
    } else {
        "sessions.csv".to_owned()
    };
    let disposition = format!("attachment; filename=\"{file_name}\"");
    let content_type = "text/csv; charset=utf-8".to_owned();
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, disposition)];
    Ok((export_headers(&found), headers, text).into_response())
}

pub(super) async fn export_json(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(filter): Query<SessionFilter>,
) -> Result<Response, WebError> {
    let target = app.target(&name)?;
    let found =
        sessions::list_sessions(&app, &target, filter.to_session_query(MAX_EXPORTED_SESSIONS)?).await?;
    let session = |line| api_types::SessionDto::from_row(line, &found.display, found.now);
    let sessions = found.rows.iter().map(session).collect::<Vec<_>>();
    let document = json!({ "schema": 2, "sessions": sessions, "truncated": found.has_more });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((export_headers(&found), headers, document.to_string()).into_response())
}

/// Returns the header that says whether an export holds only the first [`MAX_EXPORTED_SESSIONS`].
fn export_headers(found: &SessionList) -> [(HeaderName, &'static str); 1] {
    [(TRUNCATED_HEADER, if found.has_more { "true" } else { "false" })]
}

pub(super) async fn show_user(
    State(app): State<Arc<AppState>>,
    Path((name, user)): Path<(String, String)>,
    shell: Shell,
) -> PageResult {
    let person = shell.user.clone();
    let now = app.clock.now();
    let target = app.target(&name)?;
    let records = sessions::load_user_activity(&app, &name, &user).await?;
    let found = sessions::list_sessions(&app, &target, SessionQuery::for_user(&user)).await;
    let base = format!("/targets/{}", layout::percent_encode(&name));
    let body = html! {
        p { "on " a href=(base) { (name) } }
        h2 { "Sessions" }
        @match &found {
            Ok(found) if found.rows.is_empty() => { p.empty { "No sessions in the table." } }
            Ok(found) => { (render_session_table(found, &base)) }
            Err(AppError::Unavailable(why)) => { p.problem { (why) " Log events are listed below." } }
            Err(_) => { p.problem { "Cannot load the sessions of this user." } }
        }
        h2 { "History" }
        @if records.history.is_empty() { p.empty { "No findings or plans for this user in the last 90 days." } }
        @else { ul.list { @for event in &records.history { li { (layout::render_relative_time(event.at, now)) " " (layout::sanitize_text(&event.summary)) } } } }
        h2 { "Log events" }
        @if records.log_events.is_empty() { p.empty { "No log events for this user in the last 30 days." } }
        @else { ul.list { @for signal in &records.log_events { li { (layout::sanitize_text(&describe_log_event(signal))) br; code { (layout::sanitize_text(&signal.text)) } } } } }
        @if person.role >= AccountRole::Responder {
            form.inline method="post" action="/cleanup" {
                input type="hidden" name="target" value=(name);
                (layout::render_csrf_field(&person)) input type="hidden" name="kind" value="user"; input type="hidden" name="user" value=(user);
                button { "Plan: revoke this user’s sessions" }
            }
        }
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: &format!("User {}", layout::sanitize_text(&user)), path: "/targets", live: false },
        &body,
    ))
}

#[cfg(test)]
mod tests;
