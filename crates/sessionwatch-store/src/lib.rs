//! The memory of the watch: one SQLite file that only its owner may read, or a schema on a PostgreSQL server where several
//! watch together.
//!
//! What a look changes is written in one transaction, notices included, before anything is sent. There is deliberately no
//! token in it; fingerprints of the last look are, under a key of this store.

pub mod accounts;
pub mod alerts;
pub mod archived;
pub mod attestations;
pub mod audit;
pub mod censuses;
pub mod confirmed_time;
pub mod db;
pub mod events;
pub mod incidents;
pub mod layouts;
pub mod leases;
pub mod ledgers;
pub mod outbox;
pub mod plans;
pub mod reports;
pub mod row;
#[cfg(test)]
mod row_tests;
pub mod signals;
pub mod silences;
pub mod sources;
pub mod tokens;

mod backup;
mod copies;
mod creation;
#[cfg(test)]
mod decoding_tests;
mod error;
mod file_identity;
mod health;
mod migrations;
#[cfg(test)]
mod migrations_tests;
mod read_only;
mod readers;
mod remote;
mod sqlite;
mod sqlite_file;
#[cfg(test)]
mod statements_tests;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    error::StoreError,
    store::{Place, Store},
};
