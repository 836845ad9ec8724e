//! Everything that speaks to a monitored database: a target is read in one read-only snapshot, or changed through a
//! connection of its own.
//!
//! Reading order: [`databases`] lists the databases that there are, and [`backend`] says what each has to do; [`layout`]
//! recognizes how a framework stores its sessions there; [`sql`] holds the statements about them; [`connect`] opens a target.
//! Checks write nothing, and no token leaves a database.

pub mod address;
pub(crate) mod backend;
pub mod capabilities;
pub(crate) mod cells;
pub mod connect;
pub mod databases;
pub mod doctor_fixes;
pub mod doctor_queries;
pub mod engine;
pub mod error;
pub mod evidence;
pub mod full_rows;
pub mod layout;
pub mod limits;
pub mod listing;
pub mod mapping;
mod postgres;
pub mod printed_queries;
mod quoting;
pub mod read_session;
pub mod row_selection;
pub mod scan_progress;
pub mod scope;
pub mod scratch_database;
pub mod server_info;
pub mod side_effects;
pub mod sql;
mod sqlite;
pub mod unsealed_rows;
pub mod write_session;
