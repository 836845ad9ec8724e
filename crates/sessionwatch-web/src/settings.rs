//! Settings: one's own account and log-ins, accounts, channels, and the configuration as it is used.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppError, AppState,
    accounts::{self as app_accounts, AccountRecord, AccountRole, PasswordChange},
    channels as app_channels,
    login_sessions::{self, CurrentUser, LoginSession},
    tokens as app_tokens,
};

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::CsrfForm,
    layout::{self, PageHead},
    setup, tokens,
};

pub(super) async fn show_settings(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let logins = login_sessions::list_login_sessions(&app, &person.name).await?;
    let all = app_accounts::list_accounts(&app).await?;
    let programs = app_tokens::list_tokens(&app, Some(&person.name)).await?;
    let now = app.clock.now();
    let body = html! {
        (render_account_section(&person, &logins, now))
        (tokens::render_tokens_section(&person, &programs, now))
        @if person.role == AccountRole::Admin { (render_accounts_section(&person, &all, now)) (render_channels_section(&app, &person)) }
        (render_config_section(&app))
    };
    Ok(layout::render_page(&person, PageHead { title: "Settings", path: "/settings", live: false }, &body))
}

fn render_account_section(
    person: &CurrentUser,
    logins: &[LoginSession],
    now: sessionwatch_core::timestamp::UtcTimestamp,
) -> Markup {
    html! {
        section aria-labelledby="own" {
            h2 id="own" { "Your log-ins" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "from" } th scope="col" { "with" } th scope="col" { "began" } th scope="col" { "used last" } th scope="col" { "" } } }
                tbody { @for login in logins { tr {
                    td { (layout::sanitize_text(&login.client_address)) } td { (layout::sanitize_text(&login.user_agent)) }
                    td { (layout::render_relative_time(login.created_at, now)) } td { (layout::render_relative_time(login.last_used_at, now)) }
                    td { @if login.token_hash == person.login_hash { "this one" } @else {
                        form.inline method="post" action="/settings/login-sessions/revoke" { (layout::render_csrf_field(person)) input type="hidden" name="login" value=(login.token_hash); button.quiet { "End it" } }
                    } }
                } } }
            } }
            form.filter method="post" action="/settings/password" {
                (layout::render_csrf_field(person))
                // By this a browser knows whose password it is.
                input type="text" name="name" value=(person.name) autocomplete="username" hidden;
                label { "Present password" input type="password" name="password" autocomplete="current-password" required; }
                label { "New password" input type="password" name="new" autocomplete="new-password" required minlength="15"; }
                button { "Change it" }
            }
            p.dim { "A changed password ends every other log-in." }
        }
    }
}

fn render_accounts_section(
    person: &CurrentUser,
    all: &[AccountRecord],
    now: sessionwatch_core::timestamp::UtcTimestamp,
) -> Markup {
    html! {
        section aria-labelledby="accounts" {
            h2 id="accounts" { "Accounts" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "name" } th scope="col" { "role" } th scope="col" { "since" } th scope="col" { "" } } }
                tbody { @for account in all { tr {
                    td { (account.name) } td { (account.role.name()) } td { (layout::render_relative_time(account.created_at, now)) }
                    td { @if account.name != person.name {
                        form.inline method="post" action="/settings/accounts/delete" { (layout::render_csrf_field(person)) input type="hidden" name="name" value=(account.name); button.quiet { "Remove" } }
                    } }
                } } }
            } }
            form.filter method="post" action="/settings/accounts" {
                (layout::render_csrf_field(person))
                label { "Name" input name="name" required pattern="[A-Za-z0-9._@+\\-]{1,64}" autocomplete="off"; }
                label { "Role" select name="role" { option value="viewer" { "viewer: looks" } option value="responder" { "responder: also acts" } option value="admin" { "admin: also decides who may" } } }
                label { "Password" input type="password" name="password" autocomplete="new-password" required minlength="15"; }
                button { "Add" }
            }
        }
    }
}

fn render_channels_section(app: &AppState, person: &CurrentUser) -> Markup {
    let config = app.config();
    html! {
        section aria-labelledby="channels" {
            h2 id="channels" { "Channels" }
            @if config.serve.channels.is_empty() { p.empty { "Nobody is told of anything yet: " code { "[[channel]]" } " in the configuration names ways to tell people." } }
            @else { ul.list { @for channel in &config.serve.channels { li {
                (channel.name)
                form.inline method="post" action="/settings/channels/test" { (layout::render_csrf_field(person)) input type="hidden" name="channel" value=(channel.name); button.quiet { "Send a test message" } }
            } } } }
        }
    }
}

/// What holds, without anything secret.
fn render_config_section(app: &AppState) -> Markup {
    let config = app.config();
    html! {
        section aria-labelledby="configuration" {
            h2 id="configuration" { "Configuration in use" }
            dl.facts {
                dt { "File" } dd { (config.file.as_ref().map_or("the defaults".to_owned(), |file| file.display().to_string())) }
                @for target in &config.targets { dt { "Target " (target.name) } dd { code { (target.address.to_string()) } } }
                dt { "History" } dd { (config.serve.history_retention.as_hours() / 24) " days" }
                dt { "Checks that run" } dd { (config.checks.check_ids().filter(|id| config.checks.is_enabled(id)).collect::<Vec<_>>().join(", ")) }
                dt { "Sources of logs" } dd { (config.logs.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ")) }
            }
        }
    }
}

pub(super) async fn change_password(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let change = PasswordChange {
        account: person.name,
        login_hash: person.login_hash,
        current_password: form.password("password"),
        new_password: form.password("new"),
    };
    app_accounts::change_password(&app, change).await?;
    Ok(Redirect::to("/settings"))
}

pub(super) async fn revoke_login_session(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    login_sessions::revoke_login_session(&app, &person.actor(), form.text("login").to_owned()).await?;
    Ok(Redirect::to("/settings"))
}

pub(super) async fn create_account(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let role = form.text("role").parse().map_err(|_| AppError::Invalid("There is no such role.".into()))?;
    let new = setup::parse_new_account(&app, &form, role).await?;
    app_accounts::create_account(&app, &person.actor(), new).await?;
    Ok(Redirect::to("/settings"))
}

pub(super) async fn delete_account(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    app_accounts::delete_account(&app, &person.actor(), form.text("name").to_owned()).await?;
    Ok(Redirect::to("/settings"))
}

pub(super) async fn test_channel(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Response, WebError> {
    let name = form.text("channel");
    let problems = app_channels::send_test_message(&app, &person.actor(), name).await?;
    let body = html! {
        @if problems.is_empty() { p.verdict.passing { (layout::render_status_badge("passing")) " " (name) " accepted a test message." } }
        @else { p.problem role="alert" { (name) " did not accept a test message: " (problems.join("; ")) } }
        p { a href="/settings" { "Back" } }
    };
    Ok(layout::render_page(
        &person,
        PageHead { title: "A test message", path: "/settings", live: false },
        &body,
    )
    .into_response())
}

#[cfg(test)]
mod tests;
