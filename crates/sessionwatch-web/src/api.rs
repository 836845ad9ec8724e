//! The interface for programs: JSON under `/api/v1` for what the pages show and do.
//!
//! [`routes`] says of every address what a token must be for. The OpenAPI document is made of the handlers themselves.

mod account;
mod alerts;
mod etag;
mod extractors;
mod idempotency;
mod incidents;
mod logs;
mod openapi;
mod plans;
mod problem;
pub(super) mod routes;
mod sessions;
mod targets;

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
use super::{AccessGuard, access::Access, add_security_headers};

/// Which program asks.
#[derive(Clone, Debug)]
struct ApiCaller {
    /// Its token.
    token: ApiToken,
    /// What the account may do that it acts for.
    role: AccountRole,
}

impl ApiCaller {
    /// Its name in the audit trail.
    fn actor(&self) -> Actor {
        Actor::from_token(&self.token.account, &self.token.label)
    }

    /// Whether it may do what a scope is for.
    fn has_scope(&self, scope: TokenScope) -> bool {
        self.token.scopes.contains(&scope) && self.role >= scope.required_role()
    }
}

impl<S: Sync> FromRequestParts<S> for ApiCaller {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemDetails> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ProblemDetails::new(StatusCode::UNAUTHORIZED, "a token is needed"))
    }
}

/// What a handler gives.
type ApiResult<T> = Result<Json<T>, ProblemDetails>;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "sessionwatch",
        description = "What the watch knows of log-in sessions, and what people do about them. Lists come in pages: give `next` of a page as `cursor` of the following one. What was read before comes again only if it has changed (`ETag`, `If-None-Match`). A request that changes something and carries an `Idempotency-Key` is done once, and answered the same for a day."
    ),
    components(schemas(ProblemDetails))
)]
struct OpenApiDoc;

/// The interface.
pub(super) fn build_api_router(app: &Arc<AppState>) -> Router<Arc<AppState>> {
    let (router, _) = routes::openapi_router().split_for_parts();
    let router = router.route(routes::OPENAPI_PATH, routing::get(openapi::get_openapi_document));
    let guard = AccessGuard { app: Arc::clone(app), routes: routes::api_route_table() };
    router
        .layer(middleware::from_fn(etag::etag_middleware))
        .layer(middleware::from_fn_with_state(Arc::clone(app), idempotency::idempotency_middleware))
        .route_layer(middleware::from_fn_with_state(guard, require_access))
        .route("/api/{*rest}", routing::any(not_found))
}

async fn not_found(State(app): State<Arc<AppState>>) -> Response {
    let problem =
        ProblemDetails::not_found(format!("there is no such address: {} names all", routes::OPENAPI_PATH));
    add_security_headers(&app, problem.into_response())
}

/// Lets through whose token is for that.
async fn require_access(State(guard): State<AccessGuard>, mut request: Request, next: Next) -> Response {
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
        let why = format!("{path} takes {allowed}");
        return Err(problem_with_header(
            ProblemDetails::new(StatusCode::METHOD_NOT_ALLOWED, why),
            header::ALLOW,
            &allowed,
        ));
    };
    let Access::Token(scope) = route.access else { return Ok(()) };
    let caller =
        authenticate_token(&guard.app, request.headers()).await.map_err(IntoResponse::into_response)?;
    let Some(caller) = caller else {
        let why = "a token is needed that holds: `Authorization: Bearer swt_…`; `sessionwatch tokens add` and Settings make one";
        let problem = ProblemDetails::new(StatusCode::UNAUTHORIZED, why);
        let challenge = "Bearer realm=\"sessionwatch\", error=\"invalid_token\"";
        return Err(problem_with_header(problem, header::WWW_AUTHENTICATE, challenge));
    };
    if !caller.has_scope(scope) {
        let why = format!("the token, or the role of its account, is not for `{}`", scope.name());
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
    request.extensions_mut().insert(caller);
    Ok(())
}

/// A problem with a header.
fn problem_with_header(problem: ProblemDetails, name: header::HeaderName, value: &str) -> Response {
    let mut response = problem.into_response();
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Which program sends a request, if its token holds.
async fn authenticate_token(
    app: &Arc<AppState>,
    headers: &HeaderMap,
) -> Result<Option<ApiCaller>, ProblemDetails> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = given else { return Ok(None) };
    let found = app_tokens::authenticate_token(app, token.trim()).await?;
    Ok(found.map(|found| ApiCaller { token: found.token, role: found.role }))
}
