//! The settings page: the user's own account, login sessions and tokens; for admins also accounts and channels; and how
//! this instance is configured.

mod about;
mod account;
mod accounts;
mod channels;
mod monitoring;
pub(super) mod tokens;

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppError, AppState,
    accounts::{self as app_accounts, AccountRecord, AccountRole, PasswordChange},
    channels as app_channels,
    login_sessions::{self, LoginSession},
    store_info, tokens as app_tokens,
};
use sessionwatch_core::plural::format_count;

use super::{
    auth::LoggedIn,
    components::{Callout, PageHeader, Tone},
    csrf::CsrfForm,
    params::PageQuery,
    setup,
    shell::{NavSection, PageHead, Shell},
    web_error::{PageResult, WebError},
};

/// Parameters of the page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SettingsQuery {
    /// Name of the change that led to this page.
    done: String,
}

/// A change that the page confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum SettingsChange {
    PasswordChanged,
    LoginSessionEnded,
    TokenRevoked,
    AccountCreated,
    AccountDeleted,
}

impl SettingsChange {
    /// Redirects to the section of the page that shows the change.
    fn redirect(self) -> Redirect {
        let section = match self {
            Self::PasswordChanged => "password",
            Self::LoginSessionEnded => "login-sessions",
            Self::TokenRevoked => "tokens",
            Self::AccountCreated | Self::AccountDeleted => "accounts",
        };
        let name: &str = self.into();
        Redirect::to(&format!("/settings?done={name}#{section}"))
    }

    fn render(self) -> Markup {
        let [title, text] = match self {
            Self::PasswordChanged => ["Password changed", "All your other login sessions have ended."],
            Self::LoginSessionEnded => ["Login session ended", "That browser has to log in again."],
            Self::TokenRevoked => ["API token revoked", "Requests with it are refused from now on."],
            Self::AccountCreated => {
                ["Account created", "Its owner can log in with the password that you chose."]
            }
            Self::AccountDeleted => ["Account deleted", "Its login sessions and API tokens have ended."],
        };
        Callout { tone: Tone::Ok, title, text: html! { (text) }, action: html! {} }.render()
    }
}

pub(super) async fn show_settings(
    State(app): State<Arc<AppState>>,
    PageQuery(query): PageQuery<SettingsQuery>,
    shell: Shell,
) -> PageResult {
    let logins = login_sessions::list_login_sessions(&app, &shell.user.name).await?;
    let all = app_accounts::list_accounts(&app).await?;
    let tokens = app_tokens::list_tokens(&app, Some(&shell.user.name)).await?;
    let is_admin = shell.user.role == AccountRole::Admin;
    let channels = if is_admin { app_channels::list_channels(&app).await? } else { vec![] };
    let store = if is_admin { Some(store_info::load_store_info(&app).await?) } else { None };
    let config = app.config();
    let own = all.iter().find(|account| account.name == shell.user.name);
    let body = html! {
        (render_headline(&shell, own, &logins))
        @if let Ok(change) = query.done.parse::<SettingsChange>() { (change.render()) }
        div.settings {
            (render_contents(is_admin))
            div.stack {
                (account::render_login_sessions(&shell, &logins))
                (account::render_password(&shell, own))
                (tokens::render_tokens(&shell, &tokens))
                @if is_admin {
                    (accounts::render_accounts(&shell, &all))
                    (channels::render_channels(&shell, &channels))
                }
                (monitoring::render_checks(&config))
                (monitoring::render_targets(&app, &shell))
                (about::render_about(&config, store.as_ref()))
            }
        }
    };
    Ok(render_settings_page(&shell, "Settings", &body))
}

/// Renders a page of the settings.
fn render_settings_page(shell: &Shell, title: &str, body: &Markup) -> Markup {
    shell.render_page(PageHead { title, section: NavSection::Settings, target: None, live: false }, body)
}

fn render_headline(shell: &Shell, own: Option<&AccountRecord>, logins: &[LoginSession]) -> Markup {
    let headline = format!("You are logged in as {}", shell.user.name);
    let devices = format_count(logins.len() as u64, "login session", "login sessions");
    let lead = html! {
        (describe_role(shell.user.role)) ". You have " (devices) "."
        @if own.is_some_and(|account| !account.oidc_subject.is_empty()) {
            " Your role comes from the identity provider."
        }
    };
    PageHeader { headline: &headline, lead, ..PageHeader::default() }.render()
}

/// Returns what a role permits.
fn describe_role(role: AccountRole) -> &'static str {
    match role {
        AccountRole::Viewer => "Viewer: read-only",
        AccountRole::Responder => "Responder: can act on alerts, plans and incidents",
        AccountRole::Admin => {
            "Admin: can act on alerts, plans and incidents, and manages accounts and channels"
        }
    }
}

/// Renders the links to the sections of the page.
fn render_contents(is_admin: bool) -> Markup {
    let group = |title: &str, links: &[(&str, &str)]| {
        html! {
            p.label.muted { (title) }
            ul { @for (id, text) in links { li { a href={ "#" (id) } { (text) } } } }
        }
    };
    html! {
        nav.contents aria-label="Sections" {
            (group("You", &[("login-sessions", "Login sessions"), ("password", "Password"), ("tokens", "API tokens")]))
            @if is_admin { (group("Administration", &[("accounts", "Accounts"), ("channels", "Channels")])) }
            (group("Monitoring", &[("checks", "Checks"), ("settings-targets", "Targets")]))
            (group("Instance", &[("about", "About")]))
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
    Ok(SettingsChange::PasswordChanged.redirect())
}

pub(super) async fn revoke_login_session(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    login_sessions::revoke_login_session(&app, &person.actor(), form.text("login").to_owned()).await?;
    Ok(SettingsChange::LoginSessionEnded.redirect())
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
    Ok(SettingsChange::AccountCreated.redirect())
}

pub(super) async fn delete_account(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    app_accounts::delete_account(&app, &person.actor(), form.text("name").to_owned()).await?;
    Ok(SettingsChange::AccountDeleted.redirect())
}

pub(super) async fn test_channel(
    State(app): State<Arc<AppState>>,
    shell: Shell,
    form: CsrfForm,
) -> PageResult {
    let name = form.text("channel");
    // Answers with a page instead of a redirect, to show what the channel replied.
    let problems = app_channels::send_test_message(&app, &shell.user.actor(), name).await?;
    let body = channels::render_test_result(&shell, name, &problems);
    Ok(render_settings_page(&shell, "Test message", &body))
}

#[cfg(test)]
mod tests;
