//! The settings page: the user's own account, login sessions and tokens; for admins also accounts and channels; and the
//! configuration in use.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppError, AppState, MIN_PASSWORD_LENGTH,
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
    setup,
    shell::Shell,
    tokens,
};

pub(super) async fn show_settings(State(app): State<Arc<AppState>>, shell: Shell) -> PageResult {
    let person = shell.user.clone();
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
    Ok(layout::render_page(&shell, PageHead { title: "Settings", path: "/settings", live: false }, &body))
}

fn render_account_section(
    person: &CurrentUser,
    logins: &[LoginSession],
    now: sessionwatch_core::timestamp::UtcTimestamp,
) -> Markup {
    html! {
        section aria-labelledby="own" {
            h2 id="own" { "Your login sessions" }
            div.wide tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { th scope="col" { "IP address" } th scope="col" { "User agent" } th scope="col" { "Logged in" } th scope="col" { "Last used" } th scope="col" { "" } } }
                tbody { @for login in logins { tr {
                    td { (layout::sanitize_text(&login.client_address)) } td { (layout::sanitize_text(&login.user_agent)) }
                    td { (layout::render_relative_time(login.created_at, now)) } td { (layout::render_relative_time(login.last_used_at, now)) }
                    td { @if login.token_hash == person.login_hash { "current session" } @else {
                        form.inline method="post" action="/settings/login-sessions/revoke" { (layout::render_csrf_field(person)) input type="hidden" name="login" value=(login.token_hash); button.quiet { "End session" } }
                    } }
                } } }
            } }
            form.filter method="post" action="/settings/password" {
                (layout::render_csrf_field(person))
                // Lets the browser's password manager know the account.
                input type="text" name="name" value=(person.name) autocomplete="username" hidden;
                label { "Current password" input type="password" name="password" autocomplete="current-password" required; }
                label { "New password" input type="password" name="new" autocomplete="new-password" required minlength=(MIN_PASSWORD_LENGTH); }
                button { "Change password" }
            }
            p.dim { "Changing the password ends all your other login sessions." }
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
                thead { tr { th scope="col" { "Name" } th scope="col" { "Role" } th scope="col" { "Created" } th scope="col" { "" } } }
                tbody { @for account in all { tr {
                    td { (account.name) } td { (account.role.name()) } td { (layout::render_relative_time(account.created_at, now)) }
                    td { @if account.name != person.name {
                        form.inline method="post" action="/settings/accounts/delete" { (layout::render_csrf_field(person)) input type="hidden" name="name" value=(account.name); button.quiet { "Delete account" } }
                    } }
                } } }
            } }
            form.filter method="post" action="/settings/accounts" {
                (layout::render_csrf_field(person))
                label { "Name" input name="name" required pattern="[A-Za-z0-9._@+\\-]{1,64}" autocomplete="off"; }
                label { "Role" select name="role" { option value="viewer" { "Viewer: read-only" } option value="responder" { "Responder: can act" } option value="admin" { "Admin: manages accounts" } } }
                label { "Password" input type="password" name="password" autocomplete="new-password" required minlength=(MIN_PASSWORD_LENGTH); }
                button { "Create account" }
            }
        }
    }
}

fn render_channels_section(app: &AppState, person: &CurrentUser) -> Markup {
    let config = app.config();
    html! {
        section aria-labelledby="channels" {
            h2 id="channels" { "Channels" }
            @if config.serve.channels.is_empty() { p.empty { "No notification channels configured. Add " code { "[[channel]]" } " to the configuration." } }
            @else { ul.list { @for channel in &config.serve.channels { li {
                (channel.name)
                form.inline method="post" action="/settings/channels/test" { (layout::render_csrf_field(person)) input type="hidden" name="channel" value=(channel.name); button.quiet { "Send test message" } }
            } } } }
        }
    }
}

/// Renders the configuration in use, without secrets.
fn render_config_section(app: &AppState) -> Markup {
    let config = app.config();
    html! {
        section aria-labelledby="configuration" {
            h2 id="configuration" { "Configuration in use" }
            dl.facts {
                dt { "File" } dd { (config.file.as_ref().map_or("built-in defaults".to_owned(), |file| file.display().to_string())) }
                @for target in &config.targets { dt { "Target " (target.name) } dd { code { (target.address.to_string()) } } }
                dt { "History" } dd { (config.serve.history_retention.as_hours() / 24) " days" }
                dt { "Enabled checks" } dd { (config.checks.check_ids().filter(|id| config.checks.is_enabled(id)).collect::<Vec<_>>().join(", ")) }
                dt { "Log sources" } dd { (config.logs.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ")) }
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
    let role = form
        .text("role")
        .parse()
        .map_err(|_| AppError::Invalid("Unknown role. Use viewer, responder or admin.".into()))?;
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
    shell: Shell,
    form: CsrfForm,
) -> Result<Response, WebError> {
    let person = shell.user.clone();
    let name = form.text("channel");
    // Answers with a page instead of a redirect, to show what the channel replied.
    let problems = app_channels::send_test_message(&app, &person.actor(), name).await?;
    let body = html! {
        @if problems.is_empty() { p.verdict.passing { (layout::render_status_badge("passing")) " " (name) " accepted the test message." } }
        @else { p.problem role="alert" { "Cannot send a test message to " (name) ": " (problems.join("; ")) } }
        p { a href="/settings" { "Back to settings" } }
    };
    Ok(layout::render_page(&shell, PageHead { title: "Test message", path: "/settings", live: false }, &body)
        .into_response())
}

#[cfg(test)]
mod tests;
