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
use sessionwatch_core::instant::{DAY, Instant};
use sessionwatch_core::plural::counted;

use super::{PageResult, WebError, auth::LoggedIn, layout};
use crate::{
    actions::{Plan, Selection},
    app::{AppError, AppState, with_pooled_connection},
    clock,
    config::Target,
    documents, logs, report,
    store::{
        StoreError,
        db::Db,
        events, plans,
        signals::{self, Kept, Search},
    },
    target::{
        observe::{self, Line},
        sql::{After, List, Sort, Status},
    },
};

/// Sessions on a page, and in an export.
const SHOWN: usize = 100;
const EXPORTED: usize = 100_000;
/// Orders, as they are called in addresses and by people.
const SORTS: [(Sort, &str, &str); 4] = [
    (Sort::Expires, "expires", "end"),
    (Sort::Created, "created", "creation"),
    (Sort::User, "user", "user"),
    (Sort::Id, "id", "row id"),
];
/// How far back it is looked for what happened to a user.
const REMEMBERED: i64 = 90 * DAY;

/// What is looked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Filter {
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

impl Filter {
    fn status(&self) -> Result<Status, AppError> {
        Ok(match self.status.as_str() {
            "" | "all" => Status::All,
            "active" => Status::Active,
            "expired" => Status::Expired,
            other => {
                return Err(AppError::Invalid(format!("“{other}” is no status: active, expired or all.")));
            }
        })
    }

    fn sort(&self) -> Result<Option<Sort>, AppError> {
        let wanted = SORTS.iter().find(|(_, name, _)| *name == self.sort).map(|(sort, ..)| *sort);
        if wanted.is_none() && !self.sort.is_empty() {
            let said = format!("“{}” is no order: expires, created, user or id.", self.sort);
            return Err(AppError::Invalid(said));
        }
        Ok(wanted)
    }

    /// The same, as it is asked of the database.
    fn wanted(&self, limit: usize) -> Result<Wanted, AppError> {
        let some = |text: &'_ String| Some(text.clone()).filter(|text| !text.is_empty());
        let after = self.after.parse().ok().map(|key| (key, self.id.clone()));
        let (status, sort) = (self.status()?, self.sort()?);
        let (user, token) = (some(&self.user), some(&self.token));
        Ok(Wanted { status, sort, ascending: self.order == "up", user, token, after, limit })
    }

    /// The same, as part of an address.
    fn query(&self) -> String {
        let pairs = [
            ("status", &self.status),
            ("sort", &self.sort),
            ("order", &self.order),
            ("user", &self.user),
            ("token", &self.token),
        ];
        let set = pairs.iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| format!("{name}={}", layout::part(value))).collect::<Vec<_>>().join("&")
    }
}

/// What is asked of the database.
pub(super) struct Wanted {
    pub(super) status: Status,
    /// In which order; in the usual one, if nothing is said.
    pub(super) sort: Option<Sort>,
    /// Smallest first.
    pub(super) ascending: bool,
    pub(super) user: Option<String>,
    pub(super) token: Option<String>,
    /// The place and the row id of the last one on the page before.
    pub(super) after: Option<(i64, String)>,
    pub(super) limit: usize,
}

impl Wanted {
    /// The sessions of a user.
    pub(super) fn of_user(user: &str) -> Self {
        let user = Some(user.to_owned());
        let (status, sort) = (Status::All, Some(Sort::Expires));
        Self { status, sort, ascending: false, user, token: None, after: None, limit: SHOWN }
    }
}

/// By what a session has its place in that order, in microseconds; the largest where there is nothing.
pub(super) fn place(line: &Line, sort: Sort) -> i64 {
    let at = if sort == Sort::Created { line.created_at } else { line.expires_at };
    at.map_or(i64::MAX, Instant::micros)
}

/// What the database gave.
pub(super) struct Found {
    pub(super) lines: Vec<Line>,
    /// The order that they are in.
    pub(super) sort: Sort,
    pub(super) display: Vec<String>,
    /// By the database's clock.
    pub(super) now: Instant,
}

/// Asks the database.
pub(super) async fn ask(app: &Arc<AppState>, target: &Target, wanted: Wanted) -> Result<Found, AppError> {
    let asked = with_pooled_connection(app, target, async move |opened, config| {
        let sql = opened.sql(false, &config.rules.thresholds);
        // Who looks for something finds few.
        let narrow = wanted.user.is_some() || wanted.token.is_some();
        let usual = || if narrow { Sort::Expires } else { sql.usual_sort() };
        let sort = wanted.sort.map_or_else(usual, |wanted| sql.paged_sort(wanted));
        let list = List {
            status: wanted.status,
            sort,
            ascending: wanted.ascending,
            user: wanted.user.as_deref(),
            named: wanted.token.as_deref(),
            after: wanted.after.as_ref().map(|(key, id)| After { key: *key, id }),
            paged: true,
            ..List::all(wanted.limit)
        };
        let lines = observe::list(&opened.session, &sql, list).await?;
        let users = opened.layout.candidate.mapping.users.as_ref();
        let display = users.map(|users| users.display.clone()).unwrap_or_default();
        Ok(Found { lines, sort, display, now: opened.now })
    });
    asked.await
}

pub(super) async fn page(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(mut filter): Query<Filter>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let target = app.target(&name)?;
    let found = ask(&app, &target, filter.wanted(SHOWN + 1)?).await?;
    let base = format!("/targets/{}", layout::part(&name));
    let shown = &found.lines[..found.lines.len().min(SHOWN)];
    let (sort, chosen) = (found.sort, filter.sort()?);
    filter.sort = SORTS.iter().find(|(one, ..)| *one == sort).map_or("", |(_, name, _)| name).to_owned();
    let next = (found.lines.len() > SHOWN && sort != Sort::User).then(|| shown.last()).flatten();
    let query = filter.query();
    let body = html! {
        (form(&filter, &base))
        @match chosen {
            None if sort == Sort::Id => p {
                "By row id, since no index has these sessions in the order of their ends: to sort them so, the database has to read them all. The "
                a href={ (base) "/doctor" } { "examination" } " says which index helps."
            },
            Some(Sort::Created) if sort != Sort::Created => p { "By end, since the table does not say when sessions were created." },
            Some(Sort::Id) if sort != Sort::Id => p { "By end, since rows of the table may have no id, or one that others have, too." },
            _ => {}
        }
        @if shown.is_empty() { p.empty { "No session is like that." } }
        @else { (table(&found, shown, &base)) }
        p.links {
            @if let Some(last) = next {
                a rel="next" href={ (base) "/sessions?" (query) "&after=" (place(last, sort)) "&id=" (layout::part(last.id.as_deref().unwrap_or_default())) } { "Next page" }
            }
            a href={ (base) "/sessions.csv?" (query) } { "CSV" } a href={ (base) "/sessions.json?" (query) } { "JSON" }
        }
        @if person.role >= crate::store::accounts::Role::Responder {
            p.links { a href={ "/cleanup/" (layout::part(&name)) } { "End sessions: make a plan" } }
        }
    };
    Ok(layout::page(&person, (&format!("Sessions of {name}"), "/targets"), false, &body))
}

fn form(filter: &Filter, base: &str) -> Markup {
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
            label { "Sorted by" (choice("sort", &filter.sort, &SORTS.map(|(_, name, said)| (name, said)))) }
            label { "Order" (choice("order", &filter.order, &[("down", "largest first"), ("up", "smallest first")])) }
            label { "User" input name="user" value=(filter.user) maxlength="200"; }
            label { "Row ID or token prefix" input name="token" value=(filter.token) maxlength="200"; }
            button { "Show" }
        }
    }
}

fn table(found: &Found, lines: &[Line], base: &str) -> Markup {
    let cell = |text: &Option<String>| layout::said(text.as_deref().unwrap_or_default());
    html! {
        div.wide tabindex="0" role="group" aria-label="Table" { table {
            thead { tr {
                th scope="col" { "token" } th scope="col" { "id" } th scope="col" { "user" } th scope="col" { "ends" }
                th scope="col" { "status" } th scope="col" { "hours left" }
                @for name in &found.display { th scope="col" { (layout::said(name)) } }
            } }
            tbody { @for line in lines { tr {
                td { code { (cell(&line.token_prefix)) "…" } }
                td { (cell(&line.id)) }
                td { @if let Some(user) = &line.user { a href={ (base) "/users/" (layout::part(user)) } { (layout::said(user)) } } }
                td { (line.expires_at.map(clock::readable).unwrap_or_default()) }
                td { (report::status(line.expires_at, found.now)) }
                td.number { (report::hours_left(line.expires_at, found.now).map(|hours| format!("{hours:.1}")).unwrap_or_default()) }
                @for text in &line.display { td { (cell(text)) } }
            } } }
        } }
    }
}

pub(super) async fn csv(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Response, WebError> {
    let target = app.target(&name)?;
    let found = ask(&app, &target, filter.wanted(EXPORTED)?).await?;
    let mut text = "token,id,user,expires,status\n".to_owned();
    for line in &found.lines {
        let field = |text: &Option<String>| layout::said(text.as_deref().unwrap_or_default());
        let (token, id, user) = (field(&line.token_prefix), field(&line.id), field(&line.user));
        let expires = line.expires_at.map(clock::rfc3339).unwrap_or_default();
        text.push_str(&crate::output::csv::line(&[
            &token,
            &id,
            &user,
            &expires,
            report::status(line.expires_at, found.now),
        ]));
    }
    let kept = "attachment; filename=\"sessions.csv\"";
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, kept)], text)
        .into_response())
}

pub(super) async fn json(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Response, WebError> {
    let target = app.target(&name)?;
    let found = ask(&app, &target, filter.wanted(EXPORTED)?).await?;
    let session = |line| documents::Session::of(line, &found.display, found.now);
    let document = json!({ "schema": 1, "sessions": found.lines.iter().map(session).collect::<Vec<_>>() });
    Ok(([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response())
}

/// What happened to sessions of a user in the last 90 days, the latest first: what the table shows no more, findings and
/// plans remember.
pub(super) fn history(
    db: Db<'_>,
    target: &str,
    user: &str,
    now: Instant,
) -> Result<Vec<(Instant, String)>, StoreError> {
    let from = now.plus(-REMEMBERED);
    let mut history: Vec<(Instant, String)> = events::about_user(db, (target, user), from, 100)?
        .into_iter()
        .map(|event| (event.at, format!("{} of {}: {}", event.kind, event.check, event.summary)))
        .collect();
    let begun = |plan: &plans::Plan| {
        matches!(plan.state, plans::State::Begun | plans::State::Done) && plan.target == target
    };
    let made = plans::list(db)?.into_iter().filter(begun).filter(|plan| plan.touched_at >= from);
    for plan in made.map(Plan::read) {
        let Some(plan) = plan? else { continue };
        let meant = match &plan.selection {
            Selection::User(id) => id == user,
            Selection::Users(ids) => ids.iter().any(|id| id == user),
            _ => plan.summary.sample.iter().any(|line| line.user.as_deref() == Some(user)),
        };
        if meant {
            let said = format!(
                "{} by {}: {} in all, {}",
                plan.selection.name(),
                plan.kept.made_by,
                counted(plan.kept.rows, "row", "rows"),
                plan.kept.state.name()
            );
            history.push((plan.kept.touched_at, said));
        }
    }
    history.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    Ok(history)
}

pub(super) async fn user(
    State(app): State<Arc<AppState>>,
    Path((name, user)): Path<(String, String)>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let now = app.clock.now();
    let target = app.target(&name)?;
    let (of, wanted) = (name.clone(), user.clone());
    let (signals, past): (Vec<Kept>, _) = app
        .read(move |db| {
            let search = Search { user: Some(&wanted), limit: 100, ..Search::default() };
            let signals = signals::search(db, &of, (now.plus(-30 * DAY), now.plus(1)), &search)?;
            Ok((signals, history(db, &of, &wanted, now)?))
        })
        .await?;
    let found = ask(&app, &target, Wanted::of_user(&user)).await;
    let base = format!("/targets/{}", layout::part(&name));
    let body = html! {
        p { "on " a href=(base) { (name) } }
        h2 { "Sessions" }
        @match &found {
            Ok(found) if found.lines.is_empty() => { p.empty { "The table holds no session of this user now." } }
            Ok(found) => { (table(found, &found.lines, &base)) }
            Err(AppError::Unavailable(why)) => { p.problem { (why) " What the logs say is below." } }
            Err(_) => { p.problem { "The sessions cannot be shown." } }
        }
        h2 { "What happened" }
        @if past.is_empty() { p.empty { "No finding and no plan of the last 90 days is known to be about this user." } }
        @else { ul.list { @for (at, said) in &past { li { (layout::when(*at, now)) " " (layout::said(said)) } } } }
        h2 { "In the logs" }
        @if signals.is_empty() { p.empty { "No line of the last 30 days names this user." } }
        @else { ul.list { @for signal in &signals { li { (layout::said(&logs::describe_kept(signal))) br; code { (layout::said(&signal.text)) } } } } }
        @if person.role >= crate::store::accounts::Role::Responder {
            form.inline method="post" action={ "/cleanup/" (layout::part(&name)) } {
                (layout::form_field(&person)) input type="hidden" name="kind" value="user"; input type="hidden" name="user" value=(user);
                button { "Plan to end these log-ins" }
            }
        }
    };
    Ok(layout::page(&person, (&format!("User {}", layout::said(&user)), "/targets"), false, &body))
}
