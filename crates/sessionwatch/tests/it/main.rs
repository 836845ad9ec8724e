//! Stories about the whole program, on a real PostgreSQL (directly and through PgBouncer) and on real SQLite files.

#![expect(clippy::unwrap_used, reason = "a failed step of a story ends the story")]

mod agreement;
mod checks;
mod commands;
mod faults;
mod guide;
mod harness;
mod holes;
mod profiles;
mod secrecy;
mod sqlite;
mod tls;
mod watch;
