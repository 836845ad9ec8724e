//! The interface for programs: JSON under `/api/v1` for what the pages show and do.
//!
//! [`ROUTES`] says of every address what a token must be for. The OpenAPI document is made of the handlers themselves.

mod account;
mod alerts;
mod answers;
mod given;
mod incidents;
mod logs;
mod plans;
mod problem;
mod targets;

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sessionwatch_core::instant::SECOND;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::problem::Problem;
use super::{Route, Who, add_security_headers, route};
use crate::{
    app::{Actor, AppState, secrets::sha256_hex},
    store::{
        accounts::Role,
        tokens::{self, Scope, Token},
    },
};

/// How often it is noted that a token is used, in microseconds.
const NOTED: i64 = 60 * SECOND;
/// The address of the document.
const DOCUMENT: &str = "/api/v1/openapi.json";

const READ: Who = Who::Token(Scope::Read);
const ALERTS: Who = Who::Token(Scope::Alerts);
const ACTIONS: Who = Who::Token(Scope::Actions);
const INCIDENTS: Who = Who::Token(Scope::Incidents);
const ACCOUNT: Who = Who::Token(Scope::Account);
const ADMIN: Who = Who::Token(Scope::Admin);

/// Every address of the interface.
pub const ROUTES: [Route; 52] = [
    route("GET", DOCUMENT, Who::Anyone, ""),
    route("GET", "/api/v1/me", READ, ""),
    route("GET", "/api/v1/targets", READ, ""),
    route("GET", "/api/v1/targets/{target}", READ, ""),
    route("GET", "/api/v1/targets/{target}/census", READ, ""),
    route("GET", "/api/v1/targets/{target}/checks/{check}", READ, ""),
    route("GET", "/api/v1/targets/{target}/checks/{check}/query", READ, ""),
    route("GET", "/api/v1/targets/{target}/doctor", READ, ""),
    route("GET", "/api/v1/targets/{target}/sessions", READ, ""),
    route("GET", "/api/v1/targets/{target}/users", READ, ""),
    route("GET", "/api/v1/targets/{target}/users/{user}", READ, ""),
    route("GET", "/api/v1/targets/{target}/checklist", READ, ""),
    route("POST", "/api/v1/targets/{target}/attestations", ALERTS, "attest"),
    route("POST", "/api/v1/targets/{target}/plans", ACTIONS, "plan-made"),
    route("POST", "/api/v1/targets/{target}/checks/{check}/acknowledge", ALERTS, "acknowledge"),
    route("POST", "/api/v1/targets/{target}/checks/{check}/resolve", ALERTS, "resolve"),
    route("POST", "/api/v1/targets/{target}/checks/{check}/comments", ALERTS, "comment"),
    route("GET", "/api/v1/alerts", READ, ""),
    route("GET", "/api/v1/silences", READ, ""),
    route("POST", "/api/v1/silences", ALERTS, "silence"),
    route("DELETE", "/api/v1/silences/{id}", ALERTS, "unsilence"),
    route("GET", "/api/v1/events", READ, ""),
    route("GET", "/api/v1/signals", READ, ""),
    route("GET", "/api/v1/sources", READ, ""),
    route("GET", "/api/v1/incidents", READ, ""),
    route("POST", "/api/v1/incidents", INCIDENTS, "incident-opened"),
    route("GET", "/api/v1/incidents/{id}", READ, ""),
    route("GET", "/api/v1/incidents/{id}/report", READ, ""),
    route(
        "POST",
        "/api/v1/incidents/{id}/next",
        INCIDENTS,
        "incident-done, incident-skipped, incident-found",
    ),
    route("POST", "/api/v1/incidents/{id}/contain", INCIDENTS, "plan-made"),
    route("POST", "/api/v1/incidents/{id}/evidence", INCIDENTS, "incident-evidence"),
    route("POST", "/api/v1/incidents/{id}/set", INCIDENTS, "incident-set"),
    route("POST", "/api/v1/incidents/{id}/notes", INCIDENTS, "incident-note"),
    route("POST", "/api/v1/incidents/{id}/close", INCIDENTS, "incident-closed"),
    route("GET", "/api/v1/plans", READ, ""),
    route("GET", "/api/v1/plans/{id}", READ, ""),
    route("POST", "/api/v1/plans/{id}/approve", ACTIONS, "plan-approved"),
    route("POST", "/api/v1/plans/{id}/apply", ACTIONS, "plan-begun"),
    route("GET", "/api/v1/archive", READ, ""),
    route("POST", "/api/v1/archive/{plan}/restore", ACTIONS, "plan-made"),
    route("GET", "/api/v1/audit", READ, ""),
    route("GET", "/api/v1/configuration", READ, ""),
    route("GET", "/api/v1/logins", ACCOUNT, ""),
    route("DELETE", "/api/v1/logins/{id}", ACCOUNT, "login-ended"),
    route("GET", "/api/v1/tokens", ACCOUNT, ""),
    route("POST", "/api/v1/tokens", ACCOUNT, "token-added"),
    route("DELETE", "/api/v1/tokens/{id}", ACCOUNT, "token-removed"),
    route("GET", "/api/v1/accounts", ADMIN, ""),
    route("POST", "/api/v1/accounts", ADMIN, "account-added"),
    route("DELETE", "/api/v1/accounts/{name}", ADMIN, "account-removed"),
    route("GET", "/api/v1/channels", READ, ""),
    route("POST", "/api/v1/channels/{name}/test", ADMIN, "channel-tested"),
];

/// Which program asks.
#[derive(Clone, Debug)]
struct Caller {
    /// Its token.
    token: Token,
    /// What the account may do that it acts for.
    role: Role,
}

impl Caller {
    /// Its name in the audit trail.
    fn actor(&self) -> Actor {
        Actor::of_token(&self.token.account, &self.token.label)
    }

    /// Whether it may do what a scope is for.
    fn may(&self, scope: Scope) -> bool {
        self.token.scopes.contains(&scope) && self.role >= scope.role()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "a token is needed"))
    }
}

/// What a handler gives.
type Answer<T> = Result<Json<T>, Problem>;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "sessionwatch",
        description = "What the watch knows of log-in sessions, and what people do about them. Lists come in pages: give `next` of a page as `cursor` of the following one. What was read before comes again only if it has changed (`ETag`, `If-None-Match`). A request that changes something and carries an `Idempotency-Key` is done once, and answered the same for a day."
    ),
    components(schemas(Problem))
)]
struct Document;

/// The addresses below `/api/v1`, and their document.
fn described() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(account::me))
        .routes(routes!(account::logins))
        .routes(routes!(account::end_login))
        .routes(routes!(account::tokens, account::add_token))
        .routes(routes!(account::remove_token))
        .routes(routes!(account::accounts, account::add_account))
        .routes(routes!(account::remove_account))
        .routes(routes!(account::channels))
        .routes(routes!(account::test_channel))
        .routes(routes!(account::audit))
        .routes(routes!(account::configuration))
        .routes(routes!(targets::list))
        .routes(routes!(targets::target))
        .routes(routes!(targets::census))
        .routes(routes!(targets::check))
        .routes(routes!(targets::query))
        .routes(routes!(targets::doctor))
        .routes(routes!(targets::sessions))
        .routes(routes!(targets::users))
        .routes(routes!(targets::user))
        .routes(routes!(targets::checklist))
        .routes(routes!(targets::attest))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::resolve))
        .routes(routes!(alerts::comment))
        .routes(routes!(alerts::silences, alerts::silence))
        .routes(routes!(alerts::unsilence))
        .routes(routes!(alerts::events))
        .routes(routes!(logs::signals))
        .routes(routes!(logs::sources))
        .routes(routes!(incidents::list, incidents::open))
        .routes(routes!(incidents::incident))
        .routes(routes!(incidents::report))
        .routes(routes!(incidents::next))
        .routes(routes!(incidents::contain))
        .routes(routes!(incidents::evidence))
        .routes(routes!(incidents::set))
        .routes(routes!(incidents::note))
        .routes(routes!(incidents::close))
        .routes(routes!(plans::list))
        .routes(routes!(plans::plan))
        .routes(routes!(plans::make))
        .routes(routes!(plans::approve))
        .routes(routes!(plans::apply))
        .routes(routes!(plans::archive))
        .routes(routes!(plans::restore))
}

/// The interface.
pub(super) fn router(app: &Arc<AppState>) -> Router<Arc<AppState>> {
    let (router, _) = described().split_for_parts();
    router
        .route(DOCUMENT, axum::routing::get(document))
        .layer(middleware::from_fn(answers::tag))
        .layer(middleware::from_fn_with_state(Arc::clone(app), answers::once))
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), guard))
        .route("/api/{*rest}", axum::routing::any(nothing))
}

async fn nothing(State(app): State<Arc<AppState>>) -> Response {
    let problem = Problem::missing(format!("there is no such address: {DOCUMENT} names all"));
    add_security_headers(&app, problem.into_response())
}

/// Lets through whose token is for that.
async fn guard(State(app): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = match admit(&app, &mut request, &path.unwrap_or_default()).await {
        Ok(()) => next.run(request).await,
        Err(response) => response,
    };
    add_security_headers(&app, response)
}

async fn admit(app: &Arc<AppState>, request: &mut Request, path: &str) -> Result<(), Response> {
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let here = || ROUTES.iter().filter(|route| route.path == path);
    let Some(route) = here().find(|route| route.method == method.as_str()) else {
        let allowed = here().map(|route| route.method).collect::<Vec<_>>().join(", ");
        let why = format!("{path} takes {allowed}");
        return Err(with(Problem::new(StatusCode::METHOD_NOT_ALLOWED, why), header::ALLOW, &allowed));
    };
    let Who::Token(scope) = route.who else { return Ok(()) };
    let caller = caller(app, request.headers()).await.map_err(IntoResponse::into_response)?;
    let Some(caller) = caller else {
        let why = "a token is needed that holds: `Authorization: Bearer swt_…`; `sessionwatch tokens add` and Settings make one";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, why);
        let challenge = "Bearer realm=\"sessionwatch\", error=\"invalid_token\"";
        return Err(with(problem, header::WWW_AUTHENTICATE, challenge));
    };
    if !caller.may(scope) {
        let why = format!("the token, or the role of its account, is not for `{}`", scope.name());
        let challenge = format!(
            "Bearer realm=\"sessionwatch\", error=\"insufficient_scope\", scope=\"{}\"",
            scope.name()
        );
        return Err(with(Problem::new(StatusCode::FORBIDDEN, why), header::WWW_AUTHENTICATE, &challenge));
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

/// A problem with a header.
fn with(problem: Problem, name: header::HeaderName, value: &str) -> Response {
    let mut response = problem.into_response();
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Which program sends a request, if its token holds.
async fn caller(app: &Arc<AppState>, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = given else { return Ok(None) };
    let (hash, now) = (sha256_hex(token.trim()), app.clock.now());
    let found = app.read(move |db| tokens::by_hash(db, &hash)).await?;
    let Some((token, account)) = found.filter(|(token, _)| now < token.expires_at) else { return Ok(None) };
    if token.seen_at.is_none_or(|seen| now.since(seen) >= NOTED) {
        let id = token.id.clone();
        app.write(move |db| tokens::seen(db, &id, now)).await?;
    }
    Ok(Some(Caller { token, role: account.role }))
}

async fn document() -> Json<&'static Value> {
    static MADE: OnceLock<Value> = OnceLock::new();
    Json(MADE.get_or_init(|| complete(described().into_openapi())))
}

/// Adds to the document what holds of every address.
fn complete(document: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "A token of `sessionwatch tokens add`, or of Settings." }
    });
    close(&mut document);
    for route in ROUTES {
        let operation = &mut document["paths"][route.path][route.method.to_lowercase()];
        if operation.is_null() {
            *operation = json!({ "summary": "This document", "responses": { "200": {
                "description": "OpenAPI 3.1", "content": { "application/json": { "schema": { "type": "object" } } }
            } } });
        }
        let problem =
            json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        operation["responses"]["default"] = json!({ "description": "A problem", "content": problem });
        if let Who::Token(scope) = route.who {
            operation["security"] = json!([{ "token": [scope.name()] }]);
        }
        let parameter = if route.method == "GET" {
            operation["responses"]["304"] = json!({ "description": "It is what was read before" });
            json!({
                "name": "If-None-Match", "in": "header", "required": false, "schema": { "type": "string" },
                "description": "The `ETag` of what is known already",
            })
        } else {
            json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
                "description": "A name for this request: sent again with it, the request is done once; with another request, the answer is 422",
            })
        };
        match operation["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(parameter),
            None => operation["parameters"] = json!([parameter]),
        }
    }
    document
}

/// Says of bodies that nothing else is taken: of the variants of one, the derived schemas do not.
fn close(document: &mut Value) {
    let operations = document["paths"].as_object().into_iter().flat_map(serde_json::Map::values);
    let bodies = operations.filter_map(Value::as_object).flat_map(serde_json::Map::values);
    let named = |operation: &Value| {
        let schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
        schema.and_then(|schema| schema.strip_prefix("#/components/schemas/")).map(str::to_owned)
    };
    let names: Vec<String> = bodies.filter_map(named).collect();
    for name in names {
        let variants = document.pointer_mut(&format!("/components/schemas/{name}/oneOf"));
        for variant in variants.and_then(Value::as_array_mut).into_iter().flatten() {
            variant["additionalProperties"] = json!(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_and_the_table_name_the_same_addresses() {
        let described = serde_json::to_value(described().into_openapi()).unwrap();
        let described: BTreeSet<(String, String)> = described["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let table = ROUTES.iter().filter(|route| route.path != DOCUMENT);
        let table = table.map(|route| (route.method.to_owned(), route.path.to_owned()));
        assert_eq!(described, table.collect());
    }

    #[test]
    fn what_the_document_refers_to_is_in_it() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = complete(described().into_openapi());
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn what_changes_something_is_not_for_who_only_reads_and_is_noted() {
        for route in ROUTES.iter().filter(|route| route.method != "GET") {
            assert!(matches!(route.who, Who::Token(scope) if scope != Scope::Read), "{}", route.path);
            assert!(!route.noted.is_empty(), "{}", route.path);
        }
    }
}
