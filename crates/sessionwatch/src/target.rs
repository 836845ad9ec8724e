//! Targets: the databases that are looked at, read-only, by scan or by aggregates inside them.
//!
//! Looks write nothing, and no token leaves a database; acting has a connection of its own.

pub mod acting;
pub mod address;
pub mod audit;
pub(crate) mod cells;
pub mod connect;
pub mod error;
pub mod full_rows;
pub mod layout;
pub mod observe;
pub mod postgres;
pub mod scan_progress;
pub mod session;
pub mod side_effects;
pub mod sql;
pub mod sqlite;
pub mod unsealed_rows;
