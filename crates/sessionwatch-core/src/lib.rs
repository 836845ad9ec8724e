//! Session decoders, snapshots, statistics, checks and alerts as pure functions.
//!
//! Every function depends only on its inputs, `now` included. By design there is no I/O, no async, no clock and no
//! token: a session arrives as a fingerprint.

pub mod alert;
pub mod batch_size;
pub mod checklist;
pub mod checks;
pub mod correlation;
pub mod decoder_plausibility;
pub mod duration;
pub mod incident;
pub mod known_users;
pub mod local_time;
pub mod log_gaps;
pub mod period;
pub mod plural;
pub mod retention_clock;
pub mod row_addresses;
pub mod row_ref;
pub mod safety_limit;
pub mod session_history;
pub mod session_stats;
pub mod severity;
pub mod snapshot;
pub mod source_activity;
pub mod suggest;
pub mod text;
pub mod time_zone;
pub mod timestamp;
pub mod timestamp_decoder;
pub mod token_prefix;

mod arena;
mod radix_buckets;
mod user_totals;
