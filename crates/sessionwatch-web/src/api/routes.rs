//! The routes of the API. The handler declares method, path and summary; access level and audit actions are declared
//! here.

use std::sync::Arc;

use axum::http::Method;
use sessionwatch_app::app::{AppState, tokens::TokenScope};
use utoipa::OpenApi as _;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use super::{
    super::route_table::{Access, RouteSpec, RouteTable},
    OpenApiDoc, account, alerts, incidents, logs, markers, plans, sessions, targets,
};

/// Path of the OpenAPI document.
pub(super) const OPENAPI_PATH: &str = "/api/v1/openapi.json";

const READ_ACCESS: Access = Access::Token(TokenScope::Read);
const ALERTS_ACCESS: Access = Access::Token(TokenScope::Alerts);
const ACTIONS_ACCESS: Access = Access::Token(TokenScope::Actions);
const INCIDENTS_ACCESS: Access = Access::Token(TokenScope::Incidents);
const ACCOUNT_ACCESS: Access = Access::Token(TokenScope::Account);
const ADMIN_ACCESS: Access = Access::Token(TokenScope::Admin);

/// A handler with its access level and audit actions.
struct ApiRoute {
    access: Access,
    audit_action: &'static str,
    handler: UtoipaMethodRouter<Arc<AppState>>,
}

fn api_route(
    access: Access,
    audit_action: &'static str,
    handler: UtoipaMethodRouter<Arc<AppState>>,
) -> ApiRoute {
    ApiRoute { access, audit_action, handler }
}

impl ApiRoute {
    /// Returns the routes that the handler declares.
    fn to_route_specs(&self) -> Vec<RouteSpec> {
        // From the handler's own annotation, so that path and method exist only once.
        let (_, paths, _) = &self.handler;
        let mut routes = vec![];
        for (path, item) in &paths.paths {
            let methods = [
                (Method::GET, item.get.is_some()),
                (Method::POST, item.post.is_some()),
                (Method::DELETE, item.delete.is_some()),
            ];
            let (access, audit_action) = (self.access, self.audit_action);
            let described = methods.into_iter().filter(|(_, is_described)| *is_described);
            routes.extend(described.map(|(method, _)| RouteSpec {
                method,
                path: path.clone(),
                access,
                audit_action,
            }));
        }
        routes
    }
}

/// Declares every route except that of the OpenAPI document.
#[rustfmt::skip]
fn declare_routes() -> Vec<ApiRoute> {
    vec![
        api_route(READ_ACCESS, "", routes!(account::get_caller)),
        api_route(READ_ACCESS, "", routes!(targets::list_targets)),
        api_route(READ_ACCESS, "", routes!(targets::get_target)),
        api_route(ALERTS_ACCESS, "", routes!(targets::request_runs)),
        api_route(READ_ACCESS, "", routes!(targets::get_session_stats)),
        api_route(READ_ACCESS, "", routes!(targets::get_check)),
        api_route(READ_ACCESS, "", routes!(targets::get_check_query)),
        api_route(READ_ACCESS, "", routes!(targets::run_doctor)),
        api_route(READ_ACCESS, "", routes!(sessions::list_sessions)),
        api_route(READ_ACCESS, "", routes!(sessions::search_users)),
        api_route(READ_ACCESS, "", routes!(sessions::get_user)),
        api_route(READ_ACCESS, "", routes!(targets::get_checklist)),
        api_route(ALERTS_ACCESS, "checklist.attested", routes!(targets::create_attestation)),
        api_route(ACTIONS_ACCESS, "plan.created", routes!(plans::create_plan)),
        api_route(ALERTS_ACCESS, "alert.acknowledged", routes!(alerts::acknowledge_alert)),
        api_route(ALERTS_ACCESS, "alert.resolved", routes!(alerts::resolve_alert)),
        api_route(ALERTS_ACCESS, "alert.commented", routes!(alerts::add_comment)),
        api_route(READ_ACCESS, "", routes!(alerts::list_alerts)),
        api_route(READ_ACCESS, "", routes!(alerts::list_silences)),
        api_route(ALERTS_ACCESS, "silence.created", routes!(alerts::create_silence)),
        api_route(ALERTS_ACCESS, "silence.expired", routes!(alerts::expire_silence)),
        api_route(READ_ACCESS, "", routes!(alerts::list_events)),
        api_route(ALERTS_ACCESS, "marker.created", routes!(markers::create_marker)),
        api_route(READ_ACCESS, "", routes!(logs::list_log_events)),
        api_route(READ_ACCESS, "", routes!(logs::list_log_sources)),
        api_route(READ_ACCESS, "", routes!(incidents::list_incidents)),
        api_route(INCIDENTS_ACCESS, "incident.opened", routes!(incidents::open_incident)),
        api_route(READ_ACCESS, "", routes!(incidents::get_incident)),
        api_route(READ_ACCESS, "", routes!(incidents::get_incident_report)),
        api_route(INCIDENTS_ACCESS, "incident.step_done, incident.step_skipped, \
                                     incident.step_detected", routes!(incidents::advance_incident)),
        api_route(INCIDENTS_ACCESS, "plan.created", routes!(incidents::plan_containment)),
        api_route(INCIDENTS_ACCESS, "incident.evidence_exported", routes!(incidents::export_evidence)),
        api_route(INCIDENTS_ACCESS, "incident.field_set", routes!(incidents::set_report_field)),
        api_route(INCIDENTS_ACCESS, "incident.note_added", routes!(incidents::add_note)),
        api_route(INCIDENTS_ACCESS, "incident.closed", routes!(incidents::close_incident)),
        api_route(READ_ACCESS, "", routes!(plans::list_plans)),
        api_route(READ_ACCESS, "", routes!(plans::get_plan)),
        api_route(ACTIONS_ACCESS, "plan.approved", routes!(plans::approve_plan)),
        api_route(ACTIONS_ACCESS, "plan.started", routes!(plans::apply_plan)),
        api_route(READ_ACCESS, "", routes!(plans::list_archives)),
        api_route(ACTIONS_ACCESS, "plan.created", routes!(plans::create_restore_plan)),
        api_route(READ_ACCESS, "", routes!(account::list_audit_entries)),
        api_route(READ_ACCESS, "", routes!(account::get_config)),
        api_route(ACCOUNT_ACCESS, "", routes!(account::list_login_sessions)),
        api_route(ACCOUNT_ACCESS, "login.revoked", routes!(account::revoke_login_session)),
        api_route(ACCOUNT_ACCESS, "", routes!(account::list_tokens)),
        api_route(ACCOUNT_ACCESS, "token.created", routes!(account::create_token)),
        api_route(ACCOUNT_ACCESS, "token.revoked", routes!(account::delete_token)),
        api_route(ADMIN_ACCESS, "", routes!(account::list_accounts)),
        api_route(ADMIN_ACCESS, "account.created", routes!(account::create_account)),
        api_route(ADMIN_ACCESS, "account.deleted", routes!(account::delete_account)),
        api_route(READ_ACCESS, "", routes!(account::list_channels)),
        api_route(ADMIN_ACCESS, "channel.tested", routes!(account::test_channel)),
    ]
}

fn openapi_route() -> RouteSpec {
    // The document itself needs no token: client generators and readers fetch it without one.
    RouteSpec { method: Method::GET, path: OPENAPI_PATH.to_owned(), access: Access::Anyone, audit_action: "" }
}

/// Returns every route of the API.
pub(crate) fn api_route_table() -> RouteTable {
    let described = declare_routes().into_iter().flat_map(|declared| declared.to_route_specs());
    RouteTable::new(std::iter::once(openapi_route()).chain(described))
}

/// Builds the router of every route except that of the OpenAPI document, with the handlers' descriptions.
pub(super) fn openapi_router() -> OpenApiRouter<Arc<AppState>> {
    let router = OpenApiRouter::with_openapi(OpenApiDoc::openapi());
    declare_routes().into_iter().fold(router, |router, declared| router.routes(declared.handler))
}
