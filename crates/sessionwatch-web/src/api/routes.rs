//! The routes of the interface for programs. Method, path and summary stand with the handler; who may use it, and what is
//! recorded of it, stand here.

use std::sync::Arc;

use axum::http::Method;
use sessionwatch_app::app::{AppState, tokens::Scope};
use utoipa::OpenApi as _;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use super::{
    super::access::{Access, Route, RouteTable},
    OpenApiDoc, account, alerts, incidents, logs, plans, sessions, targets,
};

/// The address of the document.
pub(super) const DOCUMENT: &str = "/api/v1/openapi.json";

const READ: Access = Access::Token(Scope::Read);
const ALERTS: Access = Access::Token(Scope::Alerts);
const ACTIONS: Access = Access::Token(Scope::Actions);
const INCIDENTS: Access = Access::Token(Scope::Incidents);
const ACCOUNT: Access = Access::Token(Scope::Account);
const ADMIN: Access = Access::Token(Scope::Admin);

/// A handler, with who may use it and what is recorded of it.
struct ApiRoute {
    access: Access,
    audit_action: &'static str,
    handler: UtoipaMethodRouter<Arc<AppState>>,
}

fn declared(
    access: Access,
    audit_action: &'static str,
    handler: UtoipaMethodRouter<Arc<AppState>>,
) -> ApiRoute {
    ApiRoute { access, audit_action, handler }
}

impl ApiRoute {
    /// The route, as its handler describes it.
    fn routes(&self) -> Vec<Route> {
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
            routes.extend(described.map(|(method, _)| Route {
                method,
                path: path.clone(),
                access,
                audit_action,
            }));
        }
        routes
    }
}

/// Every route but that of the document itself.
#[rustfmt::skip]
fn declarations() -> Vec<ApiRoute> {
    vec![
        declared(READ, "", routes!(account::me)),
        declared(READ, "", routes!(targets::list)),
        declared(READ, "", routes!(targets::target)),
        declared(READ, "", routes!(targets::census)),
        declared(READ, "", routes!(targets::check)),
        declared(READ, "", routes!(targets::query)),
        declared(READ, "", routes!(targets::doctor)),
        declared(READ, "", routes!(sessions::sessions)),
        declared(READ, "", routes!(sessions::users)),
        declared(READ, "", routes!(sessions::user)),
        declared(READ, "", routes!(targets::checklist)),
        declared(ALERTS, "attest", routes!(targets::attest)),
        declared(ACTIONS, "plan-made", routes!(plans::make)),
        declared(ALERTS, "acknowledge", routes!(alerts::acknowledge)),
        declared(ALERTS, "resolve", routes!(alerts::resolve)),
        declared(ALERTS, "comment", routes!(alerts::comment)),
        declared(READ, "", routes!(alerts::list)),
        declared(READ, "", routes!(alerts::silences)),
        declared(ALERTS, "silence", routes!(alerts::silence)),
        declared(ALERTS, "unsilence", routes!(alerts::unsilence)),
        declared(READ, "", routes!(alerts::events)),
        declared(READ, "", routes!(logs::signals)),
        declared(READ, "", routes!(logs::sources)),
        declared(READ, "", routes!(incidents::list)),
        declared(INCIDENTS, "incident-opened", routes!(incidents::open)),
        declared(READ, "", routes!(incidents::incident)),
        declared(READ, "", routes!(incidents::report)),
        declared(INCIDENTS, "incident-done, incident-skipped, incident-found", routes!(incidents::next)),
        declared(INCIDENTS, "plan-made", routes!(incidents::contain)),
        declared(INCIDENTS, "incident-evidence", routes!(incidents::evidence)),
        declared(INCIDENTS, "incident-set", routes!(incidents::set)),
        declared(INCIDENTS, "incident-note", routes!(incidents::note)),
        declared(INCIDENTS, "incident-closed", routes!(incidents::close)),
        declared(READ, "", routes!(plans::list)),
        declared(READ, "", routes!(plans::plan)),
        declared(ACTIONS, "plan-approved", routes!(plans::approve)),
        declared(ACTIONS, "plan-begun", routes!(plans::apply)),
        declared(READ, "", routes!(plans::archive)),
        declared(ACTIONS, "plan-made", routes!(plans::restore)),
        declared(READ, "", routes!(account::audit)),
        declared(READ, "", routes!(account::configuration)),
        declared(ACCOUNT, "", routes!(account::logins)),
        declared(ACCOUNT, "login-ended", routes!(account::end_login)),
        declared(ACCOUNT, "", routes!(account::tokens)),
        declared(ACCOUNT, "token-added", routes!(account::add_token)),
        declared(ACCOUNT, "token-removed", routes!(account::remove_token)),
        declared(ADMIN, "", routes!(account::accounts)),
        declared(ADMIN, "account-added", routes!(account::add_account)),
        declared(ADMIN, "account-removed", routes!(account::remove_account)),
        declared(READ, "", routes!(account::channels)),
        declared(ADMIN, "channel-tested", routes!(account::test_channel)),
    ]
}

fn document_route() -> Route {
    Route { method: Method::GET, path: DOCUMENT.to_owned(), access: Access::Anyone, audit_action: "" }
}

/// Every route.
pub(crate) fn table() -> RouteTable {
    let described = declarations().into_iter().flat_map(|declared| declared.routes());
    RouteTable::new(std::iter::once(document_route()).chain(described))
}

/// The router of every route but that of the document, and what its handlers say of themselves.
pub(super) fn api_router() -> OpenApiRouter<Arc<AppState>> {
    let router = OpenApiRouter::with_openapi(OpenApiDoc::openapi());
    declarations().into_iter().fold(router, |router, declared| router.routes(declared.handler))
}
