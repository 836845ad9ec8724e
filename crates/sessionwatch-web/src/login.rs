//! Logging in and out.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState,
    login_sessions::{self, Credentials},
};

use super::{
    PageResult, WebError,
    auth::{LoggedIn, client_info, format_expired_session_cookie, format_session_cookie},
    csrf::{CsrfForm, FormFields},
    layout,
};

/// The page to return to after login.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReturnTo {
    #[serde(default)]
    next: String,
}

impl ReturnTo {
    pub(super) fn new(next: String) -> Self {
        Self { next }
    }

    /// Returns the path if it stays on this host, otherwise `/`.
    pub(super) fn safe_path(&self) -> &str {
        if is_local_path(&self.next) { &self.next } else { "/" }
    }
}

/// Returns `true` if a redirect to `text` stays on this host.
pub(super) fn is_local_path(text: &str) -> bool {
    // Browsers drop tabs and line breaks from an address and read a backslash as a slash, so that `/\evil.example` or
    // `/<tab>/evil.example` would leave this host.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(is_plain)
}

pub(super) async fn show_login(
    State(app): State<Arc<AppState>>,
    Query(return_to): Query<ReturnTo>,
) -> PageResult {
    let notice = login_sessions::is_setup_needed(&app).await?.then(render_no_accounts_notice);
    Ok(render_login_page(&app, notice, return_to.safe_path()))
}

fn render_no_accounts_notice() -> Markup {
    html! {
        p.empty {
            "No accounts yet. Open the setup link that " code { "sessionwatch serve" }
            " printed at startup, or run " code { "sessionwatch accounts add NAME" } "."
        }
    }
}

fn render_login_page(app: &AppState, notice: Option<Markup>, next: &str) -> Markup {
    let body = html! {
        @if let Some(notice) = notice { (notice) }
        form.stack method="post" action="/login" {
            input type="hidden" name="next" value=(next);
            label { "Name" input name="name" autocomplete="username" required autofocus; }
            label {
                "Password"
                input type="password" name="password" autocomplete="current-password" required;
            }
            button { "Log in" }
        }
        @if let Some(openid) = &app.config().oidc {
            p.links { a href={ "/oidc/login?next=" (layout::percent_encode(next)) } { "Log in with " (openid.label) } }
        }
    };
    layout::render_public_page("Log in", &body)
}

pub(super) async fn log_in(
    State(app): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, WebError> {
    let client = client_info(&app, request.headers(), peer);
    let fields = FormFields::read(request).await?;
    let credentials =
        Credentials { name: fields.text("name").to_owned(), password: fields.password("password") };
    let return_to = ReturnTo::new(fields.text("next").to_owned());
    let Some(login) = login_sessions::log_in(&app, credentials, &client).await? else {
        let problem = html! { p.problem role="alert" { "Incorrect name or password." } };
        let page = render_login_page(&app, Some(problem), return_to.safe_path());
        // The same message for an unknown name and a wrong password does not reveal which accounts exist.
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let cookie = format_session_cookie(&app, &login);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(return_to.safe_path())).into_response())
}

pub(super) async fn log_out(
    State(app): State<Arc<AppState>>,
    LoggedIn(user): LoggedIn,
    _form: CsrfForm,
) -> Result<Response, WebError> {
    login_sessions::log_out(&app, user).await?;
    let gone = format_expired_session_cookie(&app);
    Ok(([(header::SET_COOKIE, gone)], Redirect::to("/login")).into_response())
}

#[cfg(test)]
mod tests;
