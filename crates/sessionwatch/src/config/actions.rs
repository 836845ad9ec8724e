//! `[actions]` as used.

use std::path::PathBuf;

use sessionwatch_rules::instant::{DAY, SECOND};

/// How far actions may reach, and what is kept of what they remove.
#[derive(Clone, Debug, PartialEq)]
pub struct Actions {
    /// The share of the active sessions, from 0 to 1, that a plan may end without being confirmed.
    pub brake_share: f64,
    /// The rows that a plan may name without being confirmed.
    pub brake_rows: u64,
    /// How old a plan may be, in microseconds.
    pub stale_after_us: i64,
    /// How long removed rows can be put back, in microseconds.
    pub retention_us: i64,
    /// To whom archives are sealed: a public key of the age format.
    pub recipient: Option<String>,
    /// The file with the identity that opens them.
    pub identity: Option<PathBuf>,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            brake_share: 0.2,
            brake_rows: 10_000,
            stale_after_us: 900 * SECOND,
            retention_us: 7 * DAY,
            recipient: None,
            identity: None,
        }
    }
}
