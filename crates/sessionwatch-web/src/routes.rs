//! Routes, each declared once: the router, the access check, the OpenAPI document and the table of the documentation are
//! made of the same list.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{self, MethodRouter},
};
use sessionwatch_app::app::{AppState, accounts::Role};

use super::{
    access::{Access, Route, RouteTable},
    alerts, audit, checklist, cleanup, incidents, layout, live, login, logs, openid, overview, sessions,
    settings, setup, target, tokens,
};

/// A route, and what answers it.
pub(super) struct PageRoute {
    pub(super) route: Route,
    pub(super) handler: MethodRouter<Arc<AppState>>,
}

const ANYONE: Access = Access::Anyone;
const VIEWER: Access = Access::LoggedIn(Role::Viewer);
const RESPONDER: Access = Access::LoggedIn(Role::Responder);
const ADMIN: Access = Access::LoggedIn(Role::Admin);

fn get<T: 'static>(path: &str, access: Access, handler: impl Handler<T, Arc<AppState>>) -> PageRoute {
    get_recorded(path, access, "", handler)
}

/// What is read, and changes something all the same: the way back from another site.
fn get_recorded<T: 'static>(
    path: &str,
    access: Access,
    audit_action: &'static str,
    handler: impl Handler<T, Arc<AppState>>,
) -> PageRoute {
    page_route(Method::GET, path, access, audit_action, routing::get(handler))
}

fn post<T: 'static>(
    path: &str,
    access: Access,
    audit_action: &'static str,
    handler: impl Handler<T, Arc<AppState>>,
) -> PageRoute {
    page_route(Method::POST, path, access, audit_action, routing::post(handler))
}

fn page_route(
    method: Method,
    path: &str,
    access: Access,
    audit_action: &'static str,
    handler: MethodRouter<Arc<AppState>>,
) -> PageRoute {
    PageRoute { route: Route { method, path: path.to_owned(), access, audit_action }, handler }
}

/// Every page of the dashboard.
#[rustfmt::skip]
pub(super) fn pages() -> Vec<PageRoute> {
    vec![
        get("/assets/{file}", ANYONE, layout::asset),
        get("/login", ANYONE, login::form),
        post("/login", ANYONE, "login", login::login),
        get("/openid/login", ANYONE, openid::login),
        get_recorded("/openid/callback", ANYONE, "login", openid::callback),
        get("/setup/{token}", ANYONE, setup::form),
        post("/setup/{token}", ANYONE, "account-added", setup::create),
        post("/logout", VIEWER, "logout", login::logout),
        get("/", VIEWER, overview::page),
        get("/live", VIEWER, live::stream),
        get("/targets/{target}", VIEWER, target::page),
        get("/targets/{target}/checks/{check}", VIEWER, target::check),
        get("/targets/{target}/checks/{check}/query", VIEWER, target::query),
        get("/targets/{target}/doctor", VIEWER, target::doctor_page),
        get("/targets/{target}/sessions", VIEWER, sessions::page),
        get("/targets/{target}/sessions.csv", VIEWER, sessions::csv),
        get("/targets/{target}/sessions.json", VIEWER, sessions::json),
        get("/targets/{target}/users/{user}", VIEWER, sessions::user),
        get("/alerts", VIEWER, alerts::page),
        post("/alerts/acknowledge", RESPONDER, "acknowledge", alerts::acknowledge),
        post("/alerts/resolve", RESPONDER, "resolve", alerts::resolve),
        post("/alerts/comment", RESPONDER, "comment", alerts::comment),
        post("/alerts/silence", RESPONDER, "silence", alerts::silence),
        post("/alerts/unsilence", RESPONDER, "unsilence", alerts::unsilence),
        get("/logs", VIEWER, logs::page),
        get("/incidents", VIEWER, incidents::list),
        post("/incidents", RESPONDER, "incident-opened", incidents::open),
        get("/incidents/{id}", VIEWER, incidents::page),
        post("/incidents/{id}/next", RESPONDER, "incident-done, incident-skipped, incident-found", incidents::next),
        post("/incidents/{id}/contain", RESPONDER, "plan-made", incidents::contain),
        post("/incidents/{id}/evidence", RESPONDER, "incident-evidence", incidents::evidence),
        post("/incidents/{id}/set", RESPONDER, "incident-set", incidents::set),
        post("/incidents/{id}/close", RESPONDER, "incident-closed", incidents::close),
        post("/incidents/{id}/note", RESPONDER, "incident-note", incidents::note),
        get("/incidents/{id}/report", VIEWER, incidents::report),
        get("/checklist/{target}", VIEWER, checklist::page),
        post("/checklist/{target}", RESPONDER, "attest", checklist::attest),
        get("/cleanup/{target}", VIEWER, cleanup::page),
        post("/cleanup/{target}", RESPONDER, "plan-made", cleanup::make),
        get("/plans/{id}", VIEWER, cleanup::plan),
        post("/plans/{id}/approve", RESPONDER, "plan-approved", cleanup::approve),
        post("/plans/{id}/apply", RESPONDER, "plan-begun", cleanup::apply),
        post("/archive/{id}/restore", RESPONDER, "plan-made", cleanup::restore),
        get("/audit", VIEWER, audit::page),
        get("/settings", VIEWER, settings::page),
        post("/settings/password", VIEWER, "password", settings::password),
        post("/settings/logins/end", VIEWER, "login-ended", settings::end_login),
        post("/settings/tokens", VIEWER, "token-added", tokens::create),
        post("/settings/tokens/remove", VIEWER, "token-removed", tokens::delete),
        post("/settings/accounts", ADMIN, "account-added", settings::add_account),
        post("/settings/accounts/remove", ADMIN, "account-removed", settings::remove_account),
        post("/settings/channels/test", ADMIN, "channel-tested", settings::test_channel),
    ]
}

/// Every route of the dashboard and of the interface for programs.
#[must_use]
pub fn table() -> RouteTable {
    let programs = super::api::routes::table();
    RouteTable::new(page_router().1.iter().chain(programs.iter()).cloned())
}

/// The router of the pages, and what is in it.
pub(super) fn page_router() -> (Router<Arc<AppState>>, RouteTable) {
    let (mut router, mut routes) = (Router::new(), vec![]);
    for PageRoute { route, handler } in pages() {
        router = router.route(&route.path, handler);
        routes.push(route);
    }
    (router, RouteTable::new(routes))
}
