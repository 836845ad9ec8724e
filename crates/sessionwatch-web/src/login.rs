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
    auth::{LoggedIn, client, removed_session_cookie, session_cookie},
    csrf::{CsrfForm, FormFields},
    layout,
};

/// Where to go on to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ReturnTo {
    #[serde(default)]
    next: String,
}

impl ReturnTo {
    pub(super) fn new(next: String) -> Self {
        Self { next }
    }

    /// A page of ours.
    pub(super) fn path(&self) -> &str {
        if is_own_path(&self.next) { &self.next } else { "/" }
    }
}

/// Returns `true` if a browser that is sent to that text stays on this host. Browsers drop tabs and line breaks from an
/// address, and read a backslash as a slash; of other control characters no header can be made.
pub(super) fn is_own_path(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(is_plain)
}

pub(super) async fn form(State(app): State<Arc<AppState>>, Query(return_to): Query<ReturnTo>) -> PageResult {
    let notice = login_sessions::is_nobody_known(&app).await?.then(nobody_known);
    Ok(login_form(&app, notice, return_to.path()))
}

fn nobody_known() -> Markup {
    html! {
        p.empty {
            "Nobody has an account yet. " code { "sessionwatch serve" }
            " printed a link when it started, by which the first one is made; "
            code { "sessionwatch accounts add NAME" } " does it on the command line."
        }
    }
}

fn login_form(app: &AppState, notice: Option<Markup>, next: &str) -> Markup {
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
        @if let Some(openid) = &app.config().openid {
            p.links { a href={ "/openid/login?next=" (layout::part(next)) } { "Log in with " (openid.label) } }
        }
    };
    layout::bare("Log in", &body)
}

pub(super) async fn login(
    State(app): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, WebError> {
    let client = client(&app, request.headers(), peer);
    let fields = FormFields::read(request).await?;
    let credentials =
        Credentials { name: fields.text("name").to_owned(), password: fields.password("password") };
    let return_to = ReturnTo::new(fields.text("next").to_owned());
    let Some(login) = login_sessions::log_in(&app, credentials, &client).await? else {
        let problem = html! { p.problem role="alert" { "The name or the password is wrong." } };
        let page = login_form(&app, Some(problem), return_to.path());
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let cookie = session_cookie(&app, &login);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(return_to.path())).into_response())
}

pub(super) async fn logout(
    State(app): State<Arc<AppState>>,
    LoggedIn(user): LoggedIn,
    _form: CsrfForm,
) -> Result<Response, WebError> {
    login_sessions::log_out(&app, user).await?;
    let gone = removed_session_cookie(&app);
    Ok(([(header::SET_COOKIE, gone)], Redirect::to("/login")).into_response())
}

#[cfg(test)]
mod tests;
