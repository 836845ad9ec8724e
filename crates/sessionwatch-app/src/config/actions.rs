//! `[actions]`: how far plans may reach, and the archive of what they remove.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_archive::Recipient;
use sessionwatch_core::safety_limit::{MOST, SafetyLimit};

use super::reading::Reading;
use crate::config_file::{Seconds, Written};

/// How far actions may reach, and the archive of what they remove.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ActionsSection {
    /// The share of the active sessions that a plan may end without the name of the target being given.
    #[schemars(range(min = 0.0, max = 1.0))]
    brake_share: f64,
    /// The rows that a plan may name without that.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    brake_rows: u64,
    /// Whether another account of the dashboard has to agree to a plan that needs to be confirmed.
    second_person: bool,
    /// How old a plan may be that is carried out.
    stale_after: Seconds<60, 86_400>,
    /// To whom removed rows are sealed: a public key of the age format.
    #[schemars(
        extend("x-otherwise" = "that of the identity"),
        example = &"age148uhe3yk5nth88agcmm9acyc3f7ruwds2qa7e63v2yrmhzuusdzsy2cs8l",
    )]
    archive_recipient: Option<Written<String>>,
    /// The file with the identity that opens archives; it is made where neither is there.
    #[schemars(
        extend("x-otherwise" = "sessionwatch-archive.key beside the store"),
        example = &"/secure/sessionwatch-archive.key",
    )]
    archive_identity: Option<String>,
    /// How long removed rows can be put back, before they are removed for good.
    archive_retention: Seconds<3_600, 315_360_000>,
}

impl Default for ActionsSection {
    fn default() -> Self {
        Self {
            brake_share: 0.2,
            brake_rows: 10_000,
            second_person: false,
            stale_after: Seconds::new(900),
            archive_recipient: None,
            archive_identity: None,
            archive_retention: Seconds::new(7 * 86_400),
        }
    }
}

/// How far actions may reach, and what is kept of what they remove.
#[derive(Clone, Debug, PartialEq)]
pub struct Actions {
    /// The share of the active sessions, from 0 to 1, that a plan may end without being confirmed.
    pub brake_share: f64,
    /// The rows that a plan may name without being confirmed.
    pub brake_rows: u64,
    /// Whether somebody else has to agree to a plan beyond that.
    pub second_person: bool,
    /// How old a plan may be.
    pub stale_after: SignedDuration,
    /// How long removed rows can be put back.
    pub retention: SignedDuration,
    /// To whom archives are sealed: a public key of the age format.
    pub recipient: Option<String>,
    /// The file with the identity that opens them.
    pub identity: Option<PathBuf>,
}

impl Default for Actions {
    fn default() -> Self {
        let section = ActionsSection::default();
        Self {
            brake_share: section.brake_share,
            brake_rows: section.brake_rows,
            second_person: section.second_person,
            stale_after: section.stale_after.duration(),
            retention: section.archive_retention.duration(),
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

impl ActionsSection {
    /// The section as used.
    pub(super) fn validate(&self, reading: &mut Reading<'_, '_>) -> Actions {
        if let Some(recipient) = &self.archive_recipient
            && let Err(error) = Recipient::parse(recipient)
        {
            reading.report(recipient.span(), error.to_string());
        }
        Actions {
            brake_share: self.brake_share,
            brake_rows: self.brake_rows,
            second_person: self.second_person,
            stale_after: self.stale_after.duration(),
            retention: self.archive_retention.duration(),
            recipient: self.archive_recipient.as_ref().map(|recipient| recipient.to_string()),
            identity: self.archive_identity.as_ref().map(|path| reading.folder.join(path)),
        }
    }
}
