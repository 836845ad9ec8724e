//! Users of a target: those with the most sessions, the search, and the page of one user.

mod logins_per_day;
mod timeline;
mod user;

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState,
    session_totals::{SessionTotals, load_session_totals},
    users::{self, UserList, UserSearch},
};
use sessionwatch_core::plural::{format_count, format_number};

pub(super) use self::user::show_user;

use super::{
    components::{Callout, Column, DataTable, EmptyState, Icon, PageHeader, Tone, render_icon},
    format::{percent_encode, sanitize_text},
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell},
    user_identity::{UserIdentity, user_path},
    web_error::{WebError, status_code},
};

/// Most users on the page.
const USER_PAGE_SIZE: usize = 25;

/// The search in the query string.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UserQuery {
    find: String,
}

pub(super) async fn show_users(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    PageQuery(query): PageQuery<UserQuery>,
    shell: Shell,
) -> Result<Response, WebError> {
    let target = app.target(&name)?;
    let totals = load_session_totals(&app, &name).await?;
    let find = query.find.trim();
    let found = if find.is_empty() {
        users::list_most_active_users(&app, &target, USER_PAGE_SIZE).await
    } else {
        let search = UserSearch { part: find.to_owned(), limit: USER_PAGE_SIZE, counts_sessions: true };
        users::search_users(&app, &target, search).await
    };
    let head = PageHead { title: "Users", section: NavSection::Users, target: Some(&name), live: false };
    let (status, list) = match &found {
        Ok(list) => (axum::http::StatusCode::OK, render_list(&name, find, list)),
        Err(error) => {
            let callout = Callout {
                tone: Tone::Bad,
                title: "The users cannot be listed now",
                text: html! { (error.to_string()) " " (error.hint()) },
                action: html! { a.btn href={ "/targets/" (percent_encode(&name)) "/doctor" } { "Run doctor" } },
            };
            (status_code(error), callout.render())
        }
    };
    let headline = match &found {
        Ok(list) if !find.is_empty() => search_headline(find, list),
        _ => online_headline(&totals),
    };
    let lead = html! {
        @if find.is_empty() {
            "The users with the most active sessions come first. "
            "The search also finds users without a session."
        } @else { "Users whose ID, name, handle or email address contains the text." }
    };
    let body = html! {
        (PageHeader { headline: &headline, lead, ..PageHeader::default() }.render())
        (render_search(&name, find))
        (list)
    };
    Ok((status, shell.render_page(head, &body)).into_response())
}

fn online_headline(totals: &SessionTotals) -> String {
    match totals.active_users {
        Some(users) => format_count(users, "user has an active session", "users have an active session"),
        None => "Users".into(),
    }
}

fn search_headline(find: &str, list: &UserList) -> String {
    let (find, count) = (sanitize_text(find), list.users.len() as u64);
    match count {
        0 => format!("No user matches “{find}”"),
        _ if list.has_more => format!("More than {count} users match “{find}”"),
        _ => format!("{} “{find}”", format_count(count, "user matches", "users match")),
    }
}

fn render_search(target: &str, find: &str) -> Markup {
    let path = format!("/targets/{}/users", percent_encode(target));
    html! {
        form.find role="search" method="get" action=(path) {
            label.sr for="find" { "Name, email, handle or ID" }
            input.input.input-s id="find" type="search" name="find" value=(find) maxlength="200"
                placeholder="Name, email, handle or ID";
            button.btn { (render_icon(Icon::Search)) "Find user" }
            @if !find.is_empty() { a href=(path) { "Clear search" } }
        }
    }
}

fn render_list(target: &str, find: &str, list: &UserList) -> Markup {
    html! {
        @if !list.gap.is_empty() {
            @let text = html! { "The search finds a user by ID." };
            (Callout { tone: Tone::Info, title: list.gap, text, action: html! {} }.render())
        }
        @if !list.users.is_empty() { (render_table(target, find, list)) }
        @else if list.gap.is_empty() || !find.is_empty() { section.card { (render_empty(find)) } }
    }
}

fn render_empty(find: &str) -> Markup {
    let state = if find.is_empty() {
        EmptyState {
            icon: Icon::Users,
            title: "Nobody is logged in",
            text: html! { "Users appear here with their first session." },
            action: html! {},
        }
    } else {
        EmptyState {
            icon: Icon::Search,
            title: "No user found",
            text: html! { "Check the spelling, or search for a shorter part of the name or email address." },
            action: html! {},
        }
    };
    state.render()
}

fn render_table(target: &str, find: &str, list: &UserList) -> Markup {
    let columns = [
        Column::fill("User"),
        Column::text("ID"),
        Column::number(if find.is_empty() { "Active sessions" } else { "Sessions" }),
    ];
    let rows = html! {
        @for user in &list.users {
            @let identity = UserIdentity::new(&user.id, &user.display);
            @let path = user_path(target, &user.id);
            tr {
                td.fill { (identity.render(Some(&path))) }
                td.mono.muted.hide-s { (identity.id) }
                td.num.up { (user.sessions.map_or_else(|| "–".to_owned(), format_number)) }
            }
        }
    };
    let table = DataTable { label: "Users", class: "table-cards", columns: &columns, rows }.render();
    html! {
        section.card aria-label="Users" {
            (table)
            div.card-foot {
                (format_number(list.users.len() as u64)) " shown"
                @if list.has_more && find.is_empty() { ". The search finds the others" }
                @if list.has_more && !find.is_empty() { "; more users match. Narrow the search" }
            }
        }
    }
}

#[cfg(test)]
mod tests;
