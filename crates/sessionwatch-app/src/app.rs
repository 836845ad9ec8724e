//! Use cases: everything that a user or a program can do, with one file per kind of object.
//!
//! A use case is a function `(&Arc<AppState>, &Actor, input) -> Result<T, AppError>`. The command line, the dashboard
//! and the API call the same functions; they only parse input and render results.

pub mod accounts;
pub mod actor;
pub mod alerts;
pub mod archives;
pub mod audit;
pub mod auth_state;
pub mod background;
pub mod channels;
pub mod check_history;
pub mod check_runs;
pub mod checklists;
pub mod cleanup;
pub mod demo_login;
pub mod drills;
pub mod error;
pub mod idempotency;
pub mod incident_views;
pub mod incidents;
pub mod initial_config;
pub mod layouts;
pub mod leadership;
pub mod login_sessions;
pub mod logs;
pub mod markers;
pub mod oidc_login;
pub mod plan_jobs;
pub mod plans;
pub mod printed_queries;
pub mod random_tokens;
pub mod request_client;
pub mod search;
pub mod session_totals;
pub mod sessions;
pub mod silences;
pub mod state;
pub mod state_store;
pub mod status_summary;
pub mod store_info;
pub mod target_ops;
pub mod target_reader;
pub mod targets;
pub mod tokens;
pub mod users;

pub(crate) mod failure_log;
pub(crate) mod network_concurrency;

mod connection_pool;
mod login_rate_limit;
mod passwords;
mod pooled_queries;

#[cfg(test)]
mod shop_tests;
#[cfg(test)]
mod test_app;

use self::pooled_queries::with_pooled_connection;
pub use self::{
    actor::Actor,
    error::AppError,
    passwords::{MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, hash_password},
    state::{AppState, LiveEvent},
    target_ops::TargetOps,
};
pub use sessionwatch_core::period::Period;

/// Cuts rows that were read with one more than `limit` to a page. Returns `true` if another page follows.
fn cut_page<T>(rows: &mut Vec<T>, limit: u32) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    has_more
}
