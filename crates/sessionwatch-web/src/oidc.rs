//! Login with an identity provider (OpenID Connect). The state of a started login is kept in a cookie of the browser.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, State},
    http::{HeaderMap, header},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState,
    oidc_login::{self, LOGIN_STATE_TTL_SECONDS, OidcCallback},
};

use super::{
    auth::{client_info, find_cookie, format_session_cookie, format_set_cookie, is_secure},
    login::ReturnTo,
    params::PageQuery,
    web_error::WebError,
};

fn state_cookie_name(app: &AppState) -> &'static str {
    if is_secure(app) { "__Host-sessionwatch-openid" } else { "sessionwatch-openid" }
}

pub(super) async fn start_login(
    State(app): State<Arc<AppState>>,
    PageQuery(return_to): PageQuery<ReturnTo>,
) -> Result<Response, WebError> {
    let started = oidc_login::start_oidc_login(&app, return_to.safe_path()).await?;
    let cookie = format_set_cookie(
        &app,
        state_cookie_name(&app),
        started.state_cookie.expose(),
        LOGIN_STATE_TTL_SECONDS,
    );
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&started.redirect_to)).into_response())
}

/// Query parameters of the provider's redirect to the callback.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CallbackParams {
    code: String,
    state: String,
    error: String,
    iss: Option<String>,
}

pub(super) async fn complete_login(
    State(app): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PageQuery(params): PageQuery<CallbackParams>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    // A callback without the cookie of its login is rejected: somebody else may have started that login.
    let state_cookie = find_cookie(&headers, state_cookie_name(&app)).map(Into::into);
    let CallbackParams { code, state, error, iss: issuer } = params;
    let callback = OidcCallback { code, state, error, issuer, state_cookie };
    let completed =
        oidc_login::complete_oidc_login(&app, callback, &client_info(&app, &headers, peer)).await?;
    // The state is good for one login only.
    let gone = format_set_cookie(&app, state_cookie_name(&app), "", 0);
    let cookies = AppendHeaders([
        (header::SET_COOKIE, format_session_cookie(&app, &completed.login)),
        (header::SET_COOKIE, gone),
    ]);
    Ok((cookies, Redirect::to(ReturnTo::new(completed.next_path).safe_path())).into_response())
}
