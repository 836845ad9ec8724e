//! The HTTP endpoints of the daemon: metrics, liveness, readiness, wake-up calls for databases that autosuspend, and
//! the dashboard.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use sessionwatch_core::plural::format_count;

use super::{DaemonState, host_validation, metrics};
use crate::blocking;

/// Builds the router of the daemon's endpoints and the dashboard.
pub(super) fn build_router(state: Arc<DaemonState>, dashboard: Router) -> Router {
    Router::new()
        .route("/metrics", get(metrics_handler))
        .route("/healthz", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(readiness_handler))
        .route("/targets/{target}/wake", post(wake_handler))
        .merge(super::ingest::build_router())
        .with_state(Arc::clone(&state))
        .merge(dashboard)
        // Outermost, so that no route, the dashboard's included, can forget the check.
        .layer(middleware::from_fn_with_state(state, host_validation::require_allowed_host))
}

async fn metrics_handler(State(state): State<Arc<DaemonState>>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = metrics::ExpositionFormat::from_accept_header(accept.unwrap_or_default());
    let kind = [(header::CONTENT_TYPE, format.content_type())];
    // Rendering reads the store and may block. Scrapers that pile up wait here instead of taking all blocking threads.
    let permit = Arc::clone(&state.scrape_permits).acquire_owned().await;
    let write = move || {
        let _permit = permit;
        metrics::render_metrics(&state, format)
    };
    match blocking::run_catching(write).await {
        Some(Ok(text)) => (StatusCode::OK, kind, text),
        Some(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, kind, format!("# {error}\n")),
        None => (StatusCode::INTERNAL_SERVER_ERROR, kind, "# cannot render the metrics\n".into()),
    }
}

/// Reports ready while every target that this daemon leads has a recent successful check run.
async fn readiness_handler(State(state): State<Arc<DaemonState>>) -> impl IntoResponse {
    if !state.app.store.is_healthy() {
        let why = "cannot read the store, or its file was deleted or replaced; see the log\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    }
    if !state.app.lease_manager.is_leader_known() {
        return (StatusCode::SERVICE_UNAVAILABLE, "cannot renew the leases in the store\n".to_owned());
    }
    let (config, now) = (state.app.config(), state.app.clock.now());
    // Targets led by another daemon are that one's concern: counting them would make standbys unready.
    let led = config.targets.iter().filter(|target| state.app.leads_target(&target.name));
    let (mut current, mut of) = (0, 0);
    for target in led {
        of += 1;
        current += u64::from(state.metrics.has_recent_success(&target.name, now));
    }
    // Names no target, since the endpoint needs no login.
    let status = if current == of { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let targets = format_count(of, "target", "targets");
    (status, format!("{current} of {targets} checked successfully within the last 3 intervals\n"))
}

/// Requests a check run of a database that autosuspends: an application calls this when it has woken the database
/// anyway.
async fn wake_handler(
    State(state): State<Arc<DaemonState>>,
    Path(target): Path<String>,
) -> impl IntoResponse {
    // No login: a wake-up only requests a run, and the scheduler limits how often runs start.
    if state.app.wake_target(&target) {
        (StatusCode::ACCEPTED, "check scheduled\n")
    } else {
        (StatusCode::NOT_FOUND, "unknown target\n")
    }
}
