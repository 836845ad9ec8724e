//! The state store: a SQLite file (mode 0600), or a PostgreSQL schema shared by several daemons.
//!
//! One transaction records everything that a check run changes, including notifications, before anything is sent. The
//! store never holds a session token, only fingerprints from the last run, hashed with a key of this store.

pub mod accounts;
pub mod alerts;
pub mod api_tokens;
pub mod archive_batches;
pub mod attestations;
pub mod audit;
pub mod channel_deliveries;
pub mod confirmed_time;
pub mod fingerprint_key;
pub mod history_events;
pub mod incidents;
pub mod keyed_requests;
pub mod latest_reports;
pub mod layouts;
#[cfg(test)]
mod layouts_tests;
pub mod leases;
pub mod log_events;
#[cfg(test)]
mod log_events_tests;
pub mod log_sources;
#[cfg(test)]
mod log_sources_tests;
pub mod outbox;
pub mod plans;
pub mod restores;
pub mod row;
#[cfg(test)]
mod row_tests;
pub mod samples;
pub mod session_history;
pub mod silences;
pub mod transaction;

mod backup;
#[cfg(test)]
mod backup_tests;
mod database_copy;
#[cfg(test)]
mod decoding_tests;
mod delivery_backoff;
mod error;
mod file_creation;
mod file_identity;
mod health;
#[cfg(test)]
mod hostile_text_tests;
mod migrations;
#[cfg(test)]
mod migrations_tests;
#[cfg(test)]
mod permission_tests;
mod postgres_store;
mod read_only;
#[cfg(test)]
mod read_only_tests;
mod read_pool;
mod sqlite_connection;
mod sqlite_store;
#[cfg(test)]
mod statements_tests;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    error::StoreError,
    store::{Store, StoreLocation},
};
