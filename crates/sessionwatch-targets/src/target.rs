//! Targets: the databases that are looked at, read-only, by scan or by aggregates inside them.
//!
//! Looks write nothing, and no token leaves a database; acting has a connection of its own.

pub mod address;
pub mod capabilities;
pub(crate) mod cells;
pub mod connect;
pub mod engine;
pub mod error;
pub mod evidence;
pub mod examination;
pub mod full_rows;
pub mod grants;
pub mod layout;
pub mod limits;
pub mod listing;
pub mod postgres;
pub mod printed;
pub mod read_session;
pub mod remedies;
pub mod scan_progress;
pub mod scope;
pub mod scratch_database;
pub mod selecting;
pub mod server_info;
pub mod side_effects;
pub mod sql;
pub mod sqlite;
pub mod unsealed_rows;
pub mod write_session;
