//! The dashboard: HTML pages and the JSON API.
//!
//! [`routes`] declares the access level of every page; a route that is not listed is refused. Pages work without
//! JavaScript; one small script refreshes them.

pub mod api;
pub mod route_table;

mod alert_parts;
mod alerts;
mod assets;
mod audit;
mod auth;
mod authorization;
mod chart;
mod chart_range;
mod check_page;
mod checklist;
mod cleanup;
mod component_sheet;
mod components;
mod csrf;
mod device;
mod doctor_page;
mod error_pages;
mod filter_fields;
mod firing_alerts;
mod format;
mod incidents;
mod login;
mod logs;
mod markdown;
mod oidc;
mod overview;
mod params;
pub mod routes;
mod search;
mod security_headers;
mod sessions;
mod settings;
mod setup;
mod shell;
mod sse;
mod target;
#[cfg(test)]
mod test_dashboard;
#[cfg(test)]
mod test_database;
mod unknown_callout;
mod user_identity;
mod users;
mod web_error;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use sessionwatch_app::app::AppState;

use self::{
    authorization::{AccessGuard, require_access},
    error_pages::not_found,
};

/// Size limit of a request body.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;

/// Builds the router of the dashboard and the API.
pub fn build_router(app: &Arc<AppState>) -> Router {
    build_page_router(app)
        .merge(api::build_api_router(app))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .fallback(not_found)
        .with_state(Arc::clone(app))
}

fn build_page_router(app: &Arc<AppState>) -> Router<Arc<AppState>> {
    let (router, routes) = routes::page_router();
    let guard = AccessGuard { app: Arc::clone(app), routes };
    router.route_layer(middleware::from_fn_with_state(guard, require_access))
}
