//! What log lines say about sessions.
//!
//! A block of bytes goes through a pre-filter for literals; only lines that hit are unwrapped from what carried them
//! ([`envelope`]), classified ([`matchers`]), and read into a [`log_event::LogEvent`]. There is deliberately no I/O, no async and
//! no clock here, and nothing panics whatever the bytes are.

pub mod checks;
pub mod envelope;
pub mod explain;
pub mod log_event;
pub mod matchers;
pub mod pattern;
pub mod reader;
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
