//! Logging in by a provider of identities (OpenID Connect): there and back. What has to be known on the way back is in a
//! cookie of the browser that asked.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, header},
    response::{AppendHeaders, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState,
    oidc_login::{self, Callback, LOGIN_STATE_TTL_SECONDS},
};

use super::{
    WebError,
    auth::{client, cookie, is_secure, session_cookie, set_cookie},
    login::ReturnTo,
};

fn cookie_name(app: &AppState) -> &'static str {
    if is_secure(app) { "__Host-sessionwatch-openid" } else { "sessionwatch-openid" }
}

pub(super) async fn login(
    State(app): State<Arc<AppState>>,
    Query(return_to): Query<ReturnTo>,
) -> Result<Response, WebError> {
    let started = oidc_login::start_oidc_login(&app, return_to.path()).await?;
    let cookie = set_cookie(&app, cookie_name(&app), started.state.expose(), LOGIN_STATE_TTL_SECONDS);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&started.location)).into_response())
}

/// What the provider sends people back with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CallbackParams {
    code: String,
    state: String,
    error: String,
    iss: Option<String>,
}

pub(super) async fn callback(
    State(app): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(params): Query<CallbackParams>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let kept = cookie(&headers, cookie_name(&app)).map(Into::into);
    let CallbackParams { code, state, error, iss: issuer } = params;
    let callback = Callback { code, state, error, issuer, kept };
    let completed = oidc_login::complete_oidc_login(&app, callback, &client(&app, &headers, peer)).await?;
    let gone = set_cookie(&app, cookie_name(&app), "", 0);
    let cookies = AppendHeaders([
        (header::SET_COOKIE, session_cookie(&app, &completed.login)),
        (header::SET_COOKIE, gone),
    ]);
    Ok((cookies, Redirect::to(ReturnTo::new(completed.next).path())).into_response())
}
