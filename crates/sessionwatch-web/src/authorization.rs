//! Authorization of page requests: who may open what.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use sessionwatch_app::app::{AppError, AppState};

use super::{
    auth::{self, LoggedIn},
    csrf,
    error_pages::show_to_logged_in,
    route_table::{Access, RouteTable},
    security_headers::add_security_headers,
    web_error::WebError,
};

/// State of the access check.
#[derive(Clone)]
pub(super) struct AccessGuard {
    pub(super) app: Arc<AppState>,
    pub(super) routes: RouteTable,
}

/// Authorizes a request, and adds security headers to the response.
pub(super) async fn require_access(
    State(guard): State<AccessGuard>,
    mut request: Request,
    next: Next,
) -> Response {
    let response = match authorize(&guard, &mut request).await {
        Ok(()) if request.extensions().get::<LoggedIn>().is_some() => {
            show_to_logged_in(next.run(request).await)
        }
        Ok(()) => next.run(request).await,
        Err(response) => response,
    };
    add_security_headers(&guard.app, response)
}

/// Authorizes a request, or returns the response that refuses it.
async fn authorize(guard: &AccessGuard, request: &mut Request) -> Result<(), Response> {
    let refusal = |error: AppError| WebError::from(error).into_response();
    let matched = request.extensions().get::<MatchedPath>();
    // Deny by default: an unlisted route is refused.
    let route = matched.and_then(|path| guard.routes.find(request.method(), path.as_str()));
    let Some(route) = route else { return Err(refusal(AppError::Forbidden)) };
    let is_read = route.method == Method::GET;
    if !is_read && !csrf::is_same_origin(&guard.app, request) {
        let why = "Cross-site request refused: submit the form from this dashboard.";
        return Err(refusal(AppError::Invalid(why.to_owned())));
    }
    let Access::LoggedIn(least) = route.access else { return Ok(()) };
    let person = auth::current_user(&guard.app, request.headers()).await;
    match person.map_err(refusal)? {
        None if is_read && route.path != "/events" => Err(auth::redirect_to_login(request.uri())),
        None => Err(refusal(AppError::NotLoggedIn)),
        Some(person) if person.role < least => Err(refusal(AppError::Forbidden)),
        Some(person) => {
            request.extensions_mut().insert(LoggedIn(person));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_app::app::accounts::AccountRole;

    use super::*;
    use crate::{route_table::RouteSpec, routes};

    fn every_page() -> Vec<RouteSpec> {
        routes::page_router().1.iter().cloned().collect()
    }

    #[test]
    fn every_route_is_listed_in_the_documentation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
        let page = std::fs::read_to_string(path).unwrap();
        for route in routes::route_table().iter() {
            let who = match route.access {
                Access::Anyone => "anyone".to_owned(),
                Access::LoggedIn(role) => role.name().to_owned(),
                Access::Token(scope) => {
                    format!("{}, with a token for `{}`", scope.required_role().name(), scope.name())
                }
            };
            let recorded = if route.audit_action.is_empty() { "–" } else { route.audit_action };
            let line = format!("| `{} {}` | {who} | {recorded} |", route.method, route.path);
            assert!(page.contains(&line), "docs/security.md lacks: {line}");
        }
    }

    #[test]
    fn viewers_can_change_only_their_own_account() {
        let own = [
            "/logout",
            "/settings/password",
            "/settings/login-sessions/revoke",
            "/settings/tokens",
            "/settings/tokens/revoke",
            "/login",
            "/setup/{token}",
        ];
        for route in
            every_page().iter().filter(|route| route.method == "POST" && !own.contains(&&*route.path))
        {
            assert!(
                matches!(route.access, Access::LoggedIn(role) if role >= AccountRole::Responder),
                "{}",
                route.path
            );
            assert!(!route.audit_action.is_empty(), "{}", route.path);
        }
    }
}
