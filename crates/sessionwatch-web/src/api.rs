//! The API: JSON under `/api/v1` for everything that the pages show and do.
//!
//! [`routes`] declares the token scope of every route. The OpenAPI document is generated from the handlers.

mod account;
mod alerts;
mod etag;
mod extractors;
mod idempotency;
mod incidents;
mod logs;
mod markers;
mod openapi;
mod plans;
mod problem;
pub(super) mod routes;
mod sessions;
mod targets;
#[cfg(test)]
mod test_client;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing,
};
use sessionwatch_app::app::{
    Actor, AppState,
    accounts::AccountRole,
    tokens as app_tokens,
    tokens::{ApiToken, TokenScope},
};

use self::problem::ProblemDetails;
use super::{authorization::AccessGuard, route_table::Access, security_headers::add_security_headers};

/// The authenticated caller of a request.
#[derive(Clone, Debug)]
struct ApiCaller {
    /// The API token.
    token: ApiToken,
    /// The role of the token's account.
    role: AccountRole,
}

impl ApiCaller {
    /// Returns the caller's name for the audit log.
    fn actor(&self) -> Actor {
        Actor::from_token(&self.token.account, &self.token.label)
    }

    /// Returns `true` if both the token and the role of its account allow a scope.
    fn has_scope(&self, scope: TokenScope) -> bool {
        // The current role: a token keeps its scopes, but not its effect, when the account is demoted.
        self.token.scopes.contains(&scope) && self.role >= scope.required_role()
    }
}

impl<S: Sync> FromRequestParts<S> for ApiCaller {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemDetails> {
        let caller = parts.extensions.get::<Self>().cloned();
        // Fails closed: a route without the access layer has no caller.
        caller.ok_or_else(|| ProblemDetails::new(StatusCode::UNAUTHORIZED, "a valid API token is required"))
    }
}

/// The result of a handler.
type ApiResult<T> = Result<Json<T>, ProblemDetails>;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "sessionwatch",
        description = "Monitoring, alerts, plans and incidents for login sessions. Lists are paginated: \
                       pass `next` of a page as the `cursor` of the following one. Unchanged responses are \
                       not sent again (`ETag`, `If-None-Match`). A write request with an `Idempotency-Key` \
                       runs once; retries within a day get the same response."
    ),
    components(schemas(ProblemDetails))
)]
struct OpenApiDoc;

/// Builds the router of the API.
pub(super) fn build_api_router(app: &Arc<AppState>) -> Router<Arc<AppState>> {
    let (router, _) = routes::openapi_router().split_for_parts();
    let router = router.route(routes::OPENAPI_PATH, routing::get(openapi::get_openapi_document));
    let guard = AccessGuard { app: Arc::clone(app), routes: routes::api_route_table() };
    router
        // Layers run from last to first: access check, idempotency, ETag.
        .layer(middleware::from_fn(etag::etag_middleware))
        .layer(middleware::from_fn_with_state(Arc::clone(app), idempotency::idempotency_middleware))
        .route_layer(middleware::from_fn_with_state(guard, require_access))
        // Outside the access layer: an unknown path must not ask for a token first.
        .route("/api/{*rest}", routing::any(not_found))
}

async fn not_found(State(app): State<Arc<AppState>>) -> Response {
    let problem =
        ProblemDetails::not_found(format!("no such route: {} lists all routes", routes::OPENAPI_PATH));
    add_security_headers(&app, problem.into_response())
}

/// Authorizes a request by its token, and adds security headers to the response.
async fn require_access(State(guard): State<AccessGuard>, mut request: Request, next: Next) -> Response {
    // The pattern of the route, not the path of the request, which contains ids.
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = match authorize(&guard, &mut request, &path.unwrap_or_default()).await {
        Ok(()) => next.run(request).await,
        Err(response) => response,
    };
    add_security_headers(&guard.app, response)
}

async fn authorize(guard: &AccessGuard, request: &mut Request, path: &str) -> Result<(), Response> {
    let Some(route) = guard.routes.find(request.method(), path) else {
        let allowed = guard.routes.allowed_methods(path);
        let why = format!("{path} allows only {allowed}");
        return Err(problem_with_header(
            ProblemDetails::new(StatusCode::METHOD_NOT_ALLOWED, why),
            header::ALLOW,
            &allowed,
        ));
    };
    // Public routes, such as the API document, need no token.
    let Access::Token(scope) = route.access else { return Ok(()) };
    let caller =
        authenticate_token(&guard.app, request.headers()).await.map_err(IntoResponse::into_response)?;
    let Some(caller) = caller else {
        let why = "a valid API token is required (`Authorization: Bearer swt_…`): create one in Settings or \
                   with `sessionwatch tokens add`";
        let problem = ProblemDetails::new(StatusCode::UNAUTHORIZED, why);
        // RFC 6750 asks for the challenge, from which clients learn how to authenticate.
        let challenge = "Bearer realm=\"sessionwatch\", error=\"invalid_token\"";
        return Err(problem_with_header(problem, header::WWW_AUTHENTICATE, challenge));
    };
    // RFC 6750: a valid token without the scope gets 403 `insufficient_scope`, not 401.
    if !caller.has_scope(scope) {
        let why = format!("the token or the role of its account lacks the scope `{}`", scope.name());
        let challenge = format!(
            "Bearer realm=\"sessionwatch\", error=\"insufficient_scope\", scope=\"{}\"",
            scope.name()
        );
        return Err(problem_with_header(
            ProblemDetails::new(StatusCode::FORBIDDEN, why),
            header::WWW_AUTHENTICATE,
            &challenge,
        ));
    }
    // Handlers get the caller only from here, so none can forget the check.
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Renders a problem with an additional header.
fn problem_with_header(problem: ProblemDetails, name: header::HeaderName, value: &str) -> Response {
    let mut response = problem.into_response();
    // A name with invalid characters only costs the header, not the response.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Returns the caller of a request, or `None` without a valid token.
async fn authenticate_token(
    app: &Arc<AppState>,
    headers: &HeaderMap,
) -> Result<Option<ApiCaller>, ProblemDetails> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    // Authentication schemes are case-insensitive (RFC 9110, section 11.1).
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = given else { return Ok(None) };
    let found = app_tokens::authenticate_token(app, token.trim()).await?;
    Ok(found.map(|found| ApiCaller { token: found.token, role: found.role }))
}

#[cfg(test)]
mod tests;
