//! Stories about the whole program, on a real PostgreSQL (directly and through PgBouncer) and on real SQLite files.

#![expect(clippy::unwrap_used, reason = "a failed step of a story ends the story")]

mod actions;
mod agreement;
mod api;
mod backup;
mod channels;
mod checks;
mod commands;
mod config_check;
mod deliveries;
mod disk;
mod door;
mod equality;
mod failing_runs;
mod fastforward;
mod faults;
mod guide;
mod hangs;
mod harness;
mod holes;
mod incident;
mod integrations;
mod interleaving;
mod interruptions;
mod kills;
mod lifecycle;
mod logs;
mod mail;
mod named;
mod packaging;
mod paging;
mod profiles;
mod proofs;
mod replica;
mod secrecy;
mod shadows;
mod soak;
mod sqlite;
mod store_opening;
mod system;
mod tls;
mod versions;
mod views;
mod watch;
