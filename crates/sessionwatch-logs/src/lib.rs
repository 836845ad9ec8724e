//! Log events about sessions, parsed from log lines.
//!
//! Blocks of bytes pass a pre-filter for literals. Only lines with a match are removed from their envelopes
//! ([`line_envelope`]), classified ([`matchers`]) and parsed into a [`log_event::LogEvent`]. By design there is no I/O,
//! no async and no clock, and no input causes a panic.

pub mod checks;
pub mod explain;
pub mod line_envelope;
pub mod line_reader;
pub mod log_event;
pub mod matchers;
pub mod pattern;
pub mod reason;
pub mod redact;
pub mod timestamps;

mod byte_range;
mod classify;
mod fields;
mod key_values;
mod preamble;
mod prefilter;
mod server_log;
mod sql_statement;
mod unkeyed_token;
