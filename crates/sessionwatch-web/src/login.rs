//! Logging in and out.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState,
    accounts::MAX_ACCOUNT_NAME_LENGTH,
    login_sessions::{self, Credentials},
};

use super::{
    auth::{LoggedIn, client_info, format_expired_session_cookie, format_session_cookie},
    components::{Callout, Icon, Tone, render_icon},
    csrf::{CsrfForm, FormFields},
    format::percent_encode,
    params::PageQuery,
    shell::{render_public_head, render_public_page},
    web_error::{PageResult, WebError},
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

    /// Returns the login form that leads to the path, filled with a name.
    fn form<'a>(&'a self, name: &'a str) -> LoginForm<'a> {
        LoginForm { notice: html! {}, name, is_rejected: false, next: self.safe_path() }
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
    PageQuery(return_to): PageQuery<ReturnTo>,
) -> PageResult {
    let page = if login_sessions::is_setup_needed(&app).await? {
        render_login_page(&app, &LoginForm { notice: render_no_accounts_notice(), ..return_to.form("") })
    } else {
        render_login_page(&app, &return_to.form(""))
    };
    Ok(page)
}

fn render_no_accounts_notice() -> Markup {
    let text = html! {
        "Open the setup link that " code { "sessionwatch serve" } " printed at startup, or run "
        code { "sessionwatch accounts add NAME" } "."
    };
    Callout { tone: Tone::Info, title: "No accounts yet", text, action: html! {} }.render()
}

/// Renders the same message for an unknown name and a wrong password, which does not reveal which accounts exist.
fn render_rejection() -> Markup {
    html! {
        div.callout.callout-bad role="alert" {
            (render_icon(Icon::OctagonAlert))
            div { b { "Wrong username or password" } p { "After 10 failed attempts, wait for 15 minutes." } }
        }
    }
}

/// The login form and what it is filled with.
#[derive(Clone, Debug)]
struct LoginForm<'a> {
    /// Message above the form; may be empty.
    notice: Markup,
    /// Name that was entered before.
    name: &'a str,
    /// `true` if the name or the password was wrong.
    is_rejected: bool,
    /// Path to return to.
    next: &'a str,
}

fn render_login_page(app: &AppState, form: &LoginForm<'_>) -> Markup {
    let invalid = form.is_rejected.then_some("true");
    let has_name = !form.name.is_empty();
    let body = html! {
        (render_public_head("Log in to sessionwatch", ""))
        (form.notice)
        form.card method="post" action="/login" {
            @if let Some(openid) = &app.config().oidc {
                a.btn.btn-block.btn-l href={ "/oidc/login?next=" (percent_encode(form.next)) } {
                    (render_icon(Icon::KeyRound)) "Log in with " (openid.label)
                }
                div.or { "or" }
            }
            input type="hidden" name="next" value=(form.next);
            div.field {
                label for="name" { "Username" }
                input.input id="name" name="name" value=(form.name) autocomplete="username" required
                    autofocus[!has_name] aria-invalid=[invalid];
            }
            div.field {
                label for="password" { "Password" }
                input.input id="password" type="password" name="password" autocomplete="current-password" required
                    autofocus[has_name] aria-invalid=[invalid];
            }
            button.btn.btn-primary.btn-block.btn-l { "Log in" }
        }
        p.foot.muted.login-foot {
            "No account, or forgot your password? Ask an admin, or run "
            code.inline-code { "sessionwatch accounts add NAME" }
            " on the server: it creates the account, or sets a new password for an existing one."
        }
    };
    render_public_page("Log in", &body)
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
        let name = fields.capped_text("name", MAX_ACCOUNT_NAME_LENGTH);
        let form = LoginForm { notice: render_rejection(), is_rejected: true, ..return_to.form(&name) };
        return Ok((StatusCode::UNAUTHORIZED, render_login_page(&app, &form)).into_response());
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
