//! Sessions and users: the rows behind the numbers, prefix only, and what the logs say of them.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    http::header,
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
    auth::LoggedIn,
    layout::{self, PageHead},
};

/// Sessions on a page, and in an export.
const SESSION_PAGE_SIZE: usize = 100;
const MAX_EXPORTED_SESSIONS: usize = 100_000;
/// Orders, as they are called in addresses and by people.
const SORT_OPTIONS: [(SessionSort, &str, &str); 4] = [
    (SessionSort::Expires, "expires", "end"),
    (SessionSort::Created, "created", "creation"),
    (SessionSort::User, "user", "user"),
    (SessionSort::Id, "id", "row id"),
];

/// What is looked for.
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
                return Err(AppError::Invalid(format!("“{other}” is no status: active, expired or all.")));
            }
        })
    }

    fn parse_sort(&self) -> Result<Option<SessionSort>, AppError> {
        let wanted = SORT_OPTIONS.iter().find(|(_, name, _)| *name == self.sort).map(|(sort, ..)| *sort);
        if wanted.is_none() && !self.sort.is_empty() {
            let said = format!("“{}” is no order: expires, created, user or id.", self.sort);
            return Err(AppError::Invalid(said));
        }
        Ok(wanted)
    }

    /// The same, as it is asked of the database.
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

    /// The same, as part of an address.
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
    LoggedIn(person): LoggedIn,
) -> PageResult {
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
                "By row id, since no index has these sessions in the order of their ends: to sort them so, the database has to read them all. The "
                a href={ (base) "/doctor" } { "examination" } " says which index helps."
            },
            Some(SessionSort::Created) if sort != SessionSort::Created => p { "By end, since the table does not say when sessions were created." },
            Some(SessionSort::Id) if sort != SessionSort::Id => p { "By end, since rows of the table may have no id, or one that others have, too." },
            _ => {}
        }
        @if found.rows.is_empty() { p.empty { "No session is like that." } }
        @else { (render_session_table(&found, &base)) }
        p.links {
            @if let Some(last) = next {
                a rel="next" href={ (base) "/sessions?" (query) "&after=" (sort_key(last, sort)) "&id=" (layout::percent_encode(last.id.as_deref().unwrap_or_default())) } { "Next page" }
            }
            a href={ (base) "/sessions.csv?" (query) } { "CSV" } a href={ (base) "/sessions.json?" (query) } { "JSON" }
        }
        @if person.role >= AccountRole::Responder {
            p.links { a href={ "/cleanup/" (layout::percent_encode(&name)) } { "End sessions: make a plan" } }
        }
    };
    Ok(layout::render_page(
        &person,
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
            label { "Sorted by" (choice("sort", &filter.sort, &SORT_OPTIONS.map(|(_, name, said)| (name, said)))) }
            label { "Order" (choice("order", &filter.order, &[("down", "largest first"), ("up", "smallest first")])) }
            label { "User" input name="user" value=(filter.user) maxlength="200"; }
            label { "Row ID or token prefix" input name="token" value=(filter.token) maxlength="200"; }
            button { "Show" }
        }
    }
}

fn render_session_table(found: &SessionList, base: &str) -> Markup {
    let cell = |text: &Option<String>| layout::sanitize_text(text.as_deref().unwrap_or_default());
    html! {
        div.wide tabindex="0" role="group" aria-label="Table" { table {
            thead { tr {
                th scope="col" { "token" } th scope="col" { "id" } th scope="col" { "user" } th scope="col" { "ends" }
                th scope="col" { "status" } th scope="col" { "hours left" }
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
    let kept = "attachment; filename=\"sessions.csv\"";
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, kept)], text)
        .into_response())
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
    let document = json!({ "schema": 1, "sessions": found.rows.iter().map(session).collect::<Vec<_>>() });
    Ok(([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response())
}

pub(super) async fn show_user(
    State(app): State<Arc<AppState>>,
    Path((name, user)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let target = app.target(&name)?;
    let records = sessions::load_user_activity(&app, &name, &user).await?;
    let found = sessions::list_sessions(&app, &target, SessionQuery::for_user(&user)).await;
    let base = format!("/targets/{}", layout::percent_encode(&name));
    let body = html! {
        p { "on " a href=(base) { (name) } }
        h2 { "Sessions" }
        @match &found {
            Ok(found) if found.rows.is_empty() => { p.empty { "The table holds no session of this user now." } }
            Ok(found) => { (render_session_table(found, &base)) }
            Err(AppError::Unavailable(why)) => { p.problem { (why) " What the logs say is below." } }
            Err(_) => { p.problem { "The sessions cannot be shown." } }
        }
        h2 { "What happened" }
        @if records.history.is_empty() { p.empty { "No finding and no plan of the last 90 days is known to be about this user." } }
        @else { ul.list { @for event in &records.history { li { (layout::render_relative_time(event.at, now)) " " (layout::sanitize_text(&event.summary)) } } } }
        h2 { "In the logs" }
        @if records.log_events.is_empty() { p.empty { "No line of the last 30 days names this user." } }
        @else { ul.list { @for signal in &records.log_events { li { (layout::sanitize_text(&describe_log_event(signal))) br; code { (layout::sanitize_text(&signal.text)) } } } } }
        @if person.role >= AccountRole::Responder {
            form.inline method="post" action={ "/cleanup/" (layout::percent_encode(&name)) } {
                (layout::render_csrf_field(&person)) input type="hidden" name="kind" value="user"; input type="hidden" name="user" value=(user);
                button { "Plan to end these log-ins" }
            }
        }
    };
    Ok(layout::render_page(
        &person,
        PageHead { title: &format!("User {}", layout::sanitize_text(&user)), path: "/targets", live: false },
        &body,
    ))
}

#[cfg(test)]
mod tests;
