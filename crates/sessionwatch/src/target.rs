//! Targets: the databases that are looked at, read-only, by scan or by aggregates inside them.
//!
//! Nothing here writes to a database, and no token leaves one.

pub mod address;
pub mod audit;
pub mod error;
pub mod observe;
pub mod postgres;
pub mod session;
pub mod sql;
pub mod sqlite;
