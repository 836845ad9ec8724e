//! The setup link, a one-time link that creates the first account, and the link of `demo`, which logs in at once.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::html;
use sessionwatch_app::app::{
    AppError, AppState, MIN_PASSWORD_LENGTH,
    accounts::{self, AccountName, AccountRole, NewAccount, PasswordHash, setup_link_expired},
    demo_login,
    login_sessions::{self, StartedLogin},
};

use super::{
    auth::{client_info, format_session_cookie},
    csrf::FormFields,
    params::PagePath,
    shell::{render_public_head, render_public_page},
    web_error::WebError,
};

pub(super) async fn show_setup(
    State(app): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PagePath(token): PagePath<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let client = client_info(&app, &headers, peer);
    if let Some(login) = demo_login::log_in_by_demo_link(&app, &token, &client).await? {
        return Ok(redirect_logged_in(&app, &login));
    }
    if !accounts::is_valid_setup_link(&app, &token).await? {
        return Err(setup_link_expired().into());
    }
    let body = html! {
        (render_public_head("Create the first account", "It has the admin role. This link works once."))
        form.card method="post" action={ "/setup/" (token) } {
            div.field {
                label for="name" { "Username" }
                input.input id="name" name="name" autocomplete="username" required autofocus
                    pattern="[A-Za-z0-9._@+\\-]{1,64}" aria-describedby="name-hint";
                p.hint id="name-hint" { "Letters, digits and . _ @ + -" }
            }
            div.field {
                label for="password" { "Password" }
                input.input id="password" type="password" name="password" autocomplete="new-password" required
                    minlength=(MIN_PASSWORD_LENGTH) aria-describedby="password-hint";
                p.hint id="password-hint" { "At least " (MIN_PASSWORD_LENGTH) " characters. A sentence works well." }
            }
            button.btn.btn-primary.btn-block.btn-l { "Create account" }
        }
        p.foot.muted.login-foot { "Further accounts are created in Settings." }
    };
    Ok(render_public_page("Set up", &body).into_response())
}

pub(super) async fn create_first_account(
    State(app): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PagePath(token): PagePath<String>,
    request: Request,
) -> Result<Response, WebError> {
    if !accounts::is_valid_setup_link(&app, &token).await? {
        return Err(setup_link_expired().into());
    }
    let client = client_info(&app, request.headers(), peer);
    // Only after the link was checked: hashing a password is expensive.
    let new = parse_new_account(&app, &FormFields::read(request).await?, AccountRole::Admin).await?;
    let name = accounts::create_first_account(&app, &token, new).await?;
    let login = login_sessions::start_login_session(&app, name, &client).await?;
    Ok(redirect_logged_in(&app, &login))
}

fn redirect_logged_in(app: &AppState, login: &StartedLogin) -> Response {
    ([(header::SET_COOKIE, format_session_cookie(app, login))], Redirect::to("/")).into_response()
}

/// Parses the fields of a new account.
pub(super) async fn parse_new_account(
    app: &AppState,
    fields: &FormFields,
    role: AccountRole,
) -> Result<NewAccount, AppError> {
    let name = AccountName::parse(fields.text("name"))?;
    let password = PasswordHash::from_password_queued(app, fields.password("password")).await?;
    Ok(NewAccount { name, password, role })
}
