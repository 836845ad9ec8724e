//! What is decided about sessions: decoders, ledger, census, checks.
//!
//! Everything here is a pure function of its inputs, `now` included. There is deliberately no I/O, no async, no clock
//! and no token: a session arrives as a fingerprint.

pub mod addresses;
pub mod alert;
pub mod census;
pub mod checklist;
pub mod checks;
pub mod decoder;
pub mod history;
pub mod incident;
pub mod instant;
pub mod joining;
pub mod known_users;
pub mod ledger;
pub mod local_time;
pub mod pace;
pub mod planned;
pub mod plausibility;
pub mod plural;
pub mod retention;
pub mod safety_limit;
pub mod severity;
pub mod silence;
pub mod suggest;
pub mod token;
pub mod zone;

mod arena;
mod bytes;
mod holdings;
mod shelves;
