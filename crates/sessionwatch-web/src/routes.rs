//! The page routes, each declared once: the router, the access check and the table in the documentation derive from
//! this list.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{self, MethodRouter},
};
use sessionwatch_app::app::{AppState, accounts::AccountRole};

use super::{
    alerts, assets, audit, check_page, checklist, cleanup, component_sheet, doctor_page, incidents, login,
    logs, oidc, overview,
    route_table::{Access, RouteSpec, RouteTable},
    search, sessions, settings, setup, sse, target, users,
};

/// A route and its handler.
pub(super) struct PageRoute {
    pub(super) route: RouteSpec,
    pub(super) handler: MethodRouter<Arc<AppState>>,
}

const PUBLIC_ACCESS: Access = Access::Anyone;
const VIEWER_ACCESS: Access = Access::LoggedIn(AccountRole::Viewer);
const RESPONDER_ACCESS: Access = Access::LoggedIn(AccountRole::Responder);
const ADMIN_ACCESS: Access = Access::LoggedIn(AccountRole::Admin);

fn get_route<T: 'static>(path: &str, access: Access, handler: impl Handler<T, Arc<AppState>>) -> PageRoute {
    audited_get_route(path, access, "", handler)
}

/// Declares a GET route that changes state: the OpenID Connect callback, which another site redirects to.
fn audited_get_route<T: 'static>(
    path: &str,
    access: Access,
    audit_action: &'static str,
    handler: impl Handler<T, Arc<AppState>>,
) -> PageRoute {
    page_route(Method::GET, path, access, audit_action, routing::get(handler))
}

fn post_route<T: 'static>(
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
    PageRoute { route: RouteSpec { method, path: path.to_owned(), access, audit_action }, handler }
}

/// Audit actions of advancing an incident.
const STEP_ACTIONS: &str = "incident.step_done, incident.step_skipped, incident.step_detected";
/// Audit action of exporting evidence.
const EVIDENCE_EXPORTED: &str = "incident.evidence_exported";

/// Declares every page of the dashboard.
#[rustfmt::skip]
pub(super) fn page_routes() -> Vec<PageRoute> {
    vec![
        get_route("/assets/{file}", PUBLIC_ACCESS, assets::serve_asset),
        get_route("/login", PUBLIC_ACCESS, login::show_login),
        post_route("/login", PUBLIC_ACCESS, "login.succeeded", login::log_in),
        get_route("/oidc/login", PUBLIC_ACCESS, oidc::start_login),
        audited_get_route("/oidc/callback", PUBLIC_ACCESS, "login.succeeded", oidc::complete_login),
        get_route("/setup/{token}", PUBLIC_ACCESS, setup::show_setup),
        post_route("/setup/{token}", PUBLIC_ACCESS, "account.created", setup::create_first_account),
        post_route("/logout", VIEWER_ACCESS, "login.ended", login::log_out),
        get_route("/", VIEWER_ACCESS, overview::show_overview),
        get_route("/events", VIEWER_ACCESS, sse::stream_events),
        get_route("/targets/{target}", VIEWER_ACCESS, target::show_target),
        get_route("/targets/{target}/checks/{check}", VIEWER_ACCESS, check_page::show_check),
        get_route("/targets/{target}/checks/{check}/query", VIEWER_ACCESS, check_page::show_check_query),
        get_route("/targets/{target}/doctor", VIEWER_ACCESS, doctor_page::show_doctor),
        get_route("/targets/{target}/sessions", VIEWER_ACCESS, sessions::show_sessions),
        get_route("/targets/{target}/sessions.csv", VIEWER_ACCESS, sessions::export_csv),
        get_route("/targets/{target}/sessions.json", VIEWER_ACCESS, sessions::export_json),
        get_route("/targets/{target}/users", VIEWER_ACCESS, users::show_users),
        get_route("/targets/{target}/users/{user}", VIEWER_ACCESS, users::show_user),
        get_route("/search", VIEWER_ACCESS, search::show_search),
        get_route("/alerts", VIEWER_ACCESS, alerts::show_alerts),
        post_route("/alerts/acknowledge", RESPONDER_ACCESS, "alert.acknowledged", alerts::acknowledge_alert),
        post_route("/alerts/resolve", RESPONDER_ACCESS, "alert.resolved", alerts::resolve_alert),
        post_route("/alerts/comment", RESPONDER_ACCESS, "alert.commented", alerts::add_comment),
        post_route("/silences", RESPONDER_ACCESS, "silence.created", alerts::create_silence),
        post_route("/silences/expire", RESPONDER_ACCESS, "silence.expired", alerts::expire_silence),
        get_route("/logs", VIEWER_ACCESS, logs::show_logs),
        get_route("/incidents", VIEWER_ACCESS, incidents::show_incidents),
        post_route("/incidents", RESPONDER_ACCESS, "incident.opened", incidents::open_incident),
        get_route("/incidents/{id}", VIEWER_ACCESS, incidents::show_incident),
        post_route("/incidents/{id}/steps", RESPONDER_ACCESS, STEP_ACTIONS, incidents::advance_incident),
        post_route("/incidents/{id}/contain", RESPONDER_ACCESS, "plan.created", incidents::plan_containment),
        post_route("/incidents/{id}/evidence", RESPONDER_ACCESS, EVIDENCE_EXPORTED, incidents::export_evidence),
        post_route("/incidents/{id}/fields", RESPONDER_ACCESS, "incident.field_set", incidents::set_report_field),
        post_route("/incidents/{id}/close", RESPONDER_ACCESS, "incident.closed", incidents::close_incident),
        post_route("/incidents/{id}/notes", RESPONDER_ACCESS, "incident.note_added", incidents::add_note),
        get_route("/incidents/{id}/report", VIEWER_ACCESS, incidents::show_report),
        get_route("/report", VIEWER_ACCESS, checklist::redirect_to_first_target),
        get_route("/targets/{target}/report", VIEWER_ACCESS, checklist::show_checklist),
        get_route("/targets/{target}/report.html", VIEWER_ACCESS, checklist::download_checklist),
        post_route("/targets/{target}/report", RESPONDER_ACCESS, "checklist.attested", checklist::create_attestation),
        get_route("/cleanup", VIEWER_ACCESS, cleanup::show_cleanup),
        post_route("/cleanup", RESPONDER_ACCESS, "plan.created", cleanup::create_plan),
        get_route("/plans/{id}", VIEWER_ACCESS, cleanup::show_plan),
        post_route("/plans/{id}/approve", RESPONDER_ACCESS, "plan.approved", cleanup::approve_plan),
        post_route("/plans/{id}/apply", RESPONDER_ACCESS, "plan.started", cleanup::apply_plan),
        post_route("/archive/{id}/restore", RESPONDER_ACCESS, "plan.created", cleanup::create_restore_plan),
        get_route("/audit", VIEWER_ACCESS, audit::show_audit_trail),
        get_route("/settings", VIEWER_ACCESS, settings::show_settings),
        get_route("/settings/components", ADMIN_ACCESS, component_sheet::show_components),
        post_route("/settings/password", VIEWER_ACCESS, "account.password_changed", settings::change_password),
        post_route("/settings/login-sessions/revoke", VIEWER_ACCESS, "login.revoked", settings::revoke_login_session),
        post_route("/settings/tokens", VIEWER_ACCESS, "token.created", settings::tokens::create_token),
        post_route("/settings/tokens/revoke", VIEWER_ACCESS, "token.revoked", settings::tokens::delete_token),
        post_route("/settings/accounts", ADMIN_ACCESS, "account.created", settings::create_account),
        post_route("/settings/accounts/delete", ADMIN_ACCESS, "account.deleted", settings::delete_account),
        post_route("/settings/channels/test", ADMIN_ACCESS, "channel.tested", settings::test_channel),
    ]
}

/// Returns every route of the dashboard and the API.
#[must_use]
pub fn route_table() -> RouteTable {
    let programs = super::api::routes::api_route_table();
    RouteTable::new(page_router().1.iter().chain(programs.iter()).cloned())
}

/// Builds the router of the pages, and the table of its routes.
pub(super) fn page_router() -> (Router<Arc<AppState>>, RouteTable) {
    let (mut router, mut routes) = (Router::new(), vec![]);
    for PageRoute { route, handler } in page_routes() {
        router = router.route(&route.path, handler);
        routes.push(route);
    }
    (router, RouteTable::new(routes))
}
