//! The memory of the watch: one SQLite file that only its owner may read, or a schema on a PostgreSQL server where several
//! watch together.
//!
//! What a look changes is written in one transaction, notices included, before anything is sent. There is deliberately no
//! token in it; fingerprints of the last look are, under a key of this store.

pub mod accounts;
pub mod alerts;
pub mod api_tokens;
pub mod archive_batches;
pub mod attestations;
pub mod audit;
pub mod confirmed_time;
pub mod events;
pub mod incidents;
pub mod latest_reports;
pub mod layouts;
pub mod leases;
pub mod log_events;
pub mod log_sources;
pub mod outbox;
pub mod plans;
pub mod row;
#[cfg(test)]
mod row_tests;
pub mod samples;
pub mod silences;
pub mod snapshots;
pub mod transaction;

mod backup;
mod database_copy;
#[cfg(test)]
mod decoding_tests;
mod error;
mod file_creation;
mod file_identity;
mod health;
mod migrations;
#[cfg(test)]
mod migrations_tests;
mod postgres;
mod read_only;
mod read_pool;
mod sqlite;
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
