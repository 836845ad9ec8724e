//! API tokens of the user: created, shown once, and revoked.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppError, AppState,
    login_sessions::CurrentUser,
    tokens::{
        self, API_TOKEN_PREFIX, ApiToken, CreatedToken, DEFAULT_TOKEN_DAYS, MAX_TOKEN_DAYS, NewToken,
        TokenOwner, TokenScope, is_valid_label,
    },
};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    PageResult, WebError,
    auth::LoggedIn,
    csrf::CsrfForm,
    layout::{self, PageHead},
    shell::Shell,
};

/// Renders the user's own tokens.
pub(super) fn render_tokens_section(person: &CurrentUser, all: &[ApiToken], now: UtcTimestamp) -> Markup {
    let scopes =
        |token: &ApiToken| token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
    html! {
        section aria-labelledby="tokens" {
            h2 id="tokens" { "Your API tokens" }
            @if all.is_empty() { p.empty { "No API tokens yet. With a token, a program uses " code { "/api/v1" } " in your name, with at most your permissions." } }
            @else {
                div.wide tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th scope="col" { "Name" } th scope="col" { "Scopes" } th scope="col" { "Last used" } th scope="col" { "Expires" } th scope="col" { "" } } }
                    tbody { @for token in all { tr {
                        td { (layout::sanitize_text(&token.label)) } td { (scopes(token)) }
                        td { @if let Some(at) = token.last_used_at { (layout::render_relative_time(at, now)) } @else { "never" } }
                        td { @if token.expires_at <= now { "expired" } @else { (sessionwatch_clock::format_utc(token.expires_at)) } }
                        td { form.inline method="post" action="/settings/tokens/revoke" { (layout::render_csrf_field(person)) input type="hidden" name="token" value=(token.id); button.quiet { "Revoke token" } } }
                    } } }
                } }
            }
            form.filter method="post" action="/settings/tokens" {
                (layout::render_csrf_field(person))
                label { "Name" input name="label" required maxlength="64" autocomplete="off"; }
                fieldset {
                    legend { "Scopes" }
                    @for scope in TokenScope::ALL.iter().copied().filter(|scope| scope.required_role() <= person.role) {
                        label.check { input type="checkbox" name=(scope.name()) value="yes" checked[scope == TokenScope::Read]; " " (scope.name()) }
                    }
                }
                label { "Days until expiry" input name="days" type="number" min="1" max=(MAX_TOKEN_DAYS) value=(DEFAULT_TOKEN_DAYS); }
                button { "Create token" }
            }
            p.dim { "API reference: " a href="/api/v1/openapi.json" { "/api/v1/openapi.json" } }
        }
    }
}

pub(super) async fn create_token(
    State(app): State<Arc<AppState>>,
    shell: Shell,
    form: CsrfForm,
) -> PageResult {
    let person = shell.user.clone();
    let new = parse_new_token(&person, &form)?;
    let CreatedToken { token, secret } =
        tokens::create_token(&app, &person.actor(), new).await.map_err(AppError::from)?;
    let body = html! {
        p { "Token “" (layout::sanitize_text(&token.label)) "” created. Copy it now, because it is not shown again:" }
        pre.draft tabindex="0" { (secret.expose()) }
        p { "Send it as " code { "Authorization: Bearer " (API_TOKEN_PREFIX) "…" } ". It expires at " (sessionwatch_clock::format_utc(token.expires_at)) "." }
        p { a href="/settings" { "Back to settings" } }
    };
    Ok(layout::render_page(
        &shell,
        PageHead { title: "New API token", path: "/settings", live: false },
        &body,
    ))
}

/// Parses the new token from a form.
fn parse_new_token(person: &CurrentUser, form: &CsrfForm) -> Result<NewToken, AppError> {
    let label = form.text("label").to_owned();
    if !is_valid_label(&label) {
        return Err(AppError::Invalid("Enter a token name of 1 to 64 characters.".into()));
    }
    let days = form.text("days").parse().ok().filter(|days| (1..=MAX_TOKEN_DAYS).contains(days));
    let days = days
        .ok_or_else(|| AppError::Invalid(format!("A token can be valid for 1 to {MAX_TOKEN_DAYS} days.")))?;
    let scopes: Vec<TokenScope> =
        TokenScope::ALL.iter().copied().filter(|scope| !form.text(scope.name()).is_empty()).collect();
    if scopes.is_empty() {
        return Err(AppError::Invalid("Choose at least one scope.".into()));
    }
    // The form offers only scopes of the role, but anybody can send others.
    if scopes.iter().any(|scope| scope.required_role() > person.role) {
        return Err(AppError::Forbidden);
    }
    Ok(NewToken { account: person.name.clone(), label, scopes, valid_days: days })
}

pub(super) async fn delete_token(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let owner = TokenOwner::Account(person.name.clone());
    tokens::delete_token(&app, &person.actor(), form.text("token").to_owned(), owner).await?;
    Ok(Redirect::to("/settings"))
}
