//! What log lines say about sessions.
//!
//! A block of bytes goes through a pre-filter for literals; only lines that hit are unwrapped from what carried them
//! ([`frame`]), recognised ([`grammar`]), and read into a [`signal::Signal`]. There is deliberately no I/O, no async and
//! no clock here, and nothing panics whatever the bytes are.

pub mod checks;
pub mod explain;
pub mod frame;
pub mod grammar;
pub mod pattern;
pub mod reader;
pub mod reason;
pub mod redact;
pub mod signal;
pub mod time;

mod beginning;
mod call;
mod needles;
mod pairs;
mod recognise;
mod server_log;
mod statement;
