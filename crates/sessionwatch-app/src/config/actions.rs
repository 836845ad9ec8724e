//! `[actions]` as used.

use std::path::{Path, PathBuf};

use sessionwatch_core::{
    instant::{DAY, SECOND},
    safety_limit::{MOST, SafetyLimit},
};

use super::reader::{Node, Reader};
use crate::archive::sealing::Recipient;

/// How far actions may reach, and what is kept of what they remove.
#[derive(Clone, Debug, PartialEq)]
pub struct Actions {
    /// The share of the active sessions, from 0 to 1, that a plan may end without being confirmed.
    pub brake_share: f64,
    /// The rows that a plan may name without being confirmed.
    pub brake_rows: u64,
    /// Whether somebody else has to agree to a plan beyond that.
    pub second_person: bool,
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
            second_person: false,
            stale_after_us: 900 * SECOND,
            retention_us: 7 * DAY,
            recipient: None,
            identity: None,
        }
    }
}

impl Actions {
    /// How far a plan may reach without being confirmed.
    #[must_use]
    pub fn brake(&self) -> SafetyLimit {
        SafetyLimit { share: self.brake_share, rows: self.brake_rows, most: MOST }
    }
}

/// What is written, or else the defaults.
pub(super) fn read(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Actions {
    let default = Actions::default();
    let Some(node) = root.below("actions").first() else { return default };
    let micros = |key, otherwise| {
        let seconds = node.whole(key).map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX / SECOND));
        seconds.map_or(otherwise, |seconds| seconds * SECOND)
    };
    let recipient = node.text("archive_recipient").map(str::to_owned);
    if let Some(Err(error)) = recipient.as_deref().map(Recipient::parse) {
        reader.problem(node.at("archive_recipient"), "actions.archive_recipient", error.to_string());
    }
    Actions {
        brake_share: node.decimal("brake_share").unwrap_or(default.brake_share),
        brake_rows: node.whole("brake_rows").unwrap_or(default.brake_rows),
        second_person: node.flag("second_person").unwrap_or(false),
        stale_after_us: micros("stale_after", default.stale_after_us),
        retention_us: micros("archive_retention", default.retention_us),
        recipient,
        identity: node.text("archive_identity").map(|path| folder.join(path)),
    }
}
