//! Access to monitored databases: targets are read in one read-only snapshot, and changed over a separate
//! connection.
//!
//! Reading order: [`supported_databases`] lists the supported databases, and [`backend`] defines what each implements;
//! [`layout`] detects how a framework stores its sessions; [`sql`] builds the statements; [`connect`] opens a
//! target. Checks write nothing, and no token leaves a database.

pub mod address;
#[cfg(test)]
pub(crate) mod archive_round_trip_steps;
pub(crate) mod backend;
pub mod capabilities;
pub(crate) mod cells;
pub mod connect;
pub mod decrypted_rows;
pub mod doctor_fixes;
pub mod doctor_queries;
pub mod drill_database;
pub mod engine;
pub mod error;
pub mod evidence;
pub mod full_rows;
pub mod layout;
pub mod listing;
pub mod mapping;
mod postgres;
pub mod printed_queries;
mod quoting;
pub mod read_session;
pub mod row_selection;
pub mod scan_progress;
pub mod scope;
pub mod server_info;
pub mod side_effects;
pub mod sql;
mod sqlite;
pub mod supported_databases;
pub mod time_limits;
pub mod write_session;
