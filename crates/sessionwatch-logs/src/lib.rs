//! What log lines say about sessions.
//!
//! A block of bytes goes through a pre-filter for literals; only lines that hit are unwrapped from what carried them
//! ([`envelope`]), classified ([`matchers`]), and read into a [`signal::Signal`]. There is deliberately no I/O, no async and
//! no clock here, and nothing panics whatever the bytes are.

pub mod checks;
pub mod envelope;
pub mod explain;
pub mod matchers;
pub mod pattern;
pub mod reader;
pub mod reason;
pub mod redact;
pub mod signal;
pub mod time;

mod beginning;
mod byte_range;
mod call;
mod classify;
mod fields;
mod key_values;
mod prefilter;
mod server_log;
mod statement;
