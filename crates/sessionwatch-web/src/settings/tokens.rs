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

use super::{SettingsChange, render_settings_page};
use crate::{
    auth::LoggedIn,
    components::{
        Card, Column, Crumb, DataTable, Dialog, EmptyState, Icon, PageHeader, PillTone, render_code_block,
        render_icon, render_pill,
    },
    csrf::CsrfForm,
    format::{render_relative_time, sanitize_text},
    shell::{Shell, render_csrf_field},
    web_error::{PageResult, WebError},
};

/// Path below which the API is.
const API_PATH: &str = "/api/v1";

const TOKEN_COLUMNS: [Column<'_>; 5] = [
    Column::text("Token"),
    Column { title: "Scopes", class: "scopes" },
    Column::number("Last used"),
    Column::number("Expires"),
    Column::text(""),
];

/// Renders the user's own tokens.
pub(super) fn render_tokens(shell: &Shell, all: &[ApiToken]) -> Markup {
    let content = if all.is_empty() {
        let text = html! {
            "With a token, a program uses " code { (API_PATH) } " on your behalf, with at most your permissions."
        };
        EmptyState { icon: Icon::Lock, title: "No API tokens yet", text, action: html! {} }.render()
    } else {
        let rows =
            html! { @for (index, token) in all.iter().enumerate() { (render_token(shell, token, index)) } };
        DataTable { label: "Your API tokens", class: "table-cards", columns: &TOKEN_COLUMNS, rows }.render()
    };
    let end = html! {
        a href="/api/v1/openapi.json" { "API description" }
        button.btn.btn-s type="button" popovertarget="new-token" { (render_icon(Icon::Plus)) "Create token" }
    };
    let body = html! { (content) (render_new_token(shell)) };
    Card { id: "tokens", title: "Your API tokens", note: "For programs that act on your behalf", end, body }
        .render()
}

fn render_token(shell: &Shell, token: &ApiToken, index: usize) -> Markup {
    let dialog = format!("revoke-token-{index}");
    let body = html! {
        (render_csrf_field(&shell.user))
        input type="hidden" name="token" value=(token.id);
        p {
            "Programs using “" (sanitize_text(&token.label)) "” lose access immediately. "
            "This cannot be undone."
        }
    };
    let revocation = Dialog {
        id: &dialog,
        title: "Revoke this token?",
        action: "/settings/tokens/revoke",
        body,
        submit: "Revoke token",
        is_dangerous: true,
    };
    html! {
        tr {
            td.first.strong { (sanitize_text(&token.label)) }
            td.scopes.span { @for scope in &token.scopes { span.tag { (scope.name()) } " " } }
            td.num data-l="Last used" {
                @match token.last_used_at {
                    Some(at) => (render_relative_time(at, shell.now)),
                    None => span.muted { "never" },
                }
            }
            td.num data-l="Expires" {
                @if token.expires_at <= shell.now { (render_pill(PillTone::Stale, Icon::Clock, "Expired")) }
                @else { (render_relative_time(token.expires_at, shell.now)) }
            }
            td.end.span {
                button.btn.btn-s type="button" popovertarget=(dialog) { "Revoke…" }
                (revocation.render())
            }
        }
    }
}

/// Renders the form for a new token. It offers only scopes that the user's role permits.
fn render_new_token(shell: &Shell) -> Markup {
    let permitted = TokenScope::ALL.iter().copied().filter(|scope| scope.required_role() <= shell.user.role);
    let body = html! {
        (render_csrf_field(&shell.user))
        div.field {
            label for="token-label" { "Name" }
            input.input id="token-label" name="label" required maxlength="64" autocomplete="off"
                placeholder="nightly export";
        }
        fieldset.field {
            legend.label { "Scopes" }
            div.opts {
                @for scope in permitted {
                    label.opt {
                        input type="checkbox" name=(scope.name()) value="yes" checked[scope == TokenScope::Read];
                        (scope.name()) span.muted { (describe_scope(scope)) }
                    }
                }
            }
        }
        div.field {
            label for="token-days" { "Days until expiry" }
            input.input id="token-days" name="days" type="number" min="1" max=(MAX_TOKEN_DAYS)
                value=(DEFAULT_TOKEN_DAYS);
        }
    };
    Dialog {
        id: "new-token",
        title: "Create API token",
        action: "/settings/tokens",
        body,
        submit: "Create token",
        is_dangerous: false,
    }
    .render()
}

fn describe_scope(scope: TokenScope) -> &'static str {
    match scope {
        TokenScope::Read => "Read everything",
        TokenScope::Alerts => "Acknowledge, resolve and silence alerts; attest checklist items",
        TokenScope::Actions => "Create and apply plans; restore archived rows",
        TokenScope::Incidents => "Work on incidents",
        TokenScope::Account => "Manage your login sessions and tokens",
        TokenScope::Admin => "Manage accounts and channels",
    }
}

pub(crate) async fn create_token(
    State(app): State<Arc<AppState>>,
    shell: Shell,
    form: CsrfForm,
) -> PageResult {
    let new = parse_new_token(&shell.user, &form)?;
    let created = tokens::create_token(&app, &shell.user.actor(), new).await.map_err(AppError::from)?;
    Ok(render_settings_page(&shell, "New API token", &render_created_token(&shell, &created)))
}

/// Renders the only page that shows a token.
fn render_created_token(shell: &Shell, created: &CreatedToken) -> Markup {
    let CreatedToken { token, secret } = created;
    let crumbs = vec![
        Crumb { href: "/settings".into(), text: "Settings".into() },
        Crumb { href: "/settings#tokens".into(), text: "API tokens".into() },
    ];
    let headline = format!("Copy the token “{}” now", sanitize_text(&token.label));
    let lead = html! {
        "It is not stored, and not shown again. It expires " (render_relative_time(token.expires_at, shell.now)) "."
    };
    let example = format!("Authorization: Bearer {API_TOKEN_PREFIX}…");
    let body = html! {
        div.stack-s {
            (render_code_block("API token", secret.expose()))
            p.muted {
                "Send it with each request below " code { (API_PATH) } " as " code.inline-code { (example) }
                ". Scopes: " (token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ")) "."
            }
        }
    };
    html! {
        (PageHeader { crumbs, headline: &headline, lead, ..PageHeader::default() }.render())
        (Card { id: "token", title: "API token", note: "", end: html! {}, body }.render_padded())
        div.actions { a.btn href="/settings#tokens" { "Back to API tokens" } }
    }
}

/// Parses the new token from a form.
fn parse_new_token(person: &CurrentUser, form: &CsrfForm) -> Result<NewToken, AppError> {
    let label = form.text("label").to_owned();
    if !is_valid_label(&label) {
        return Err(AppError::Invalid("Enter a token name of 1 to 64 characters.".into()));
    }
    let valid_days =
        form.text("days").parse().ok().filter(|valid_days| (1..=MAX_TOKEN_DAYS).contains(valid_days));
    let valid_days = valid_days
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
    Ok(NewToken { account: person.name.clone(), label, scopes, valid_days })
}

pub(crate) async fn delete_token(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let owner = TokenOwner::Account(person.name.clone());
    tokens::delete_token(&app, &person.actor(), form.text("token").to_owned(), owner).await?;
    Ok(SettingsChange::TokenRevoked.redirect())
}
