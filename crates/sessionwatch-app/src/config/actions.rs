//! `[actions]`: how far plans may reach, and the archive of what they remove.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_archive::Recipient;
use sessionwatch_core::safety_limit::{DEFAULT_MAX_TABLE_SHARE, SafetyLimit};

use super::section_reader::SectionReader;
use crate::config_file::{BoundedSeconds, WithSpan};

/// How far actions may reach, and the archive of what they remove.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ActionsSection {
    /// The share of the active sessions that a plan may end without the name of the target being given.
    #[schemars(range(min = 0.0, max = 1.0))]
    max_active_share: f64,
    /// The rows that a plan may name without that.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    max_rows: u64,
    /// Whether another account of the dashboard has to agree to a plan that needs to be confirmed.
    require_approval: bool,
    /// How old a plan may be that is carried out.
    plan_ttl: BoundedSeconds<60, 86_400>,
    /// To whom removed rows are sealed: a public key of the age format.
    #[schemars(
        extend("x-otherwise" = "that of the identity"),
        example = &"age148uhe3yk5nth88agcmm9acyc3f7ruwds2qa7e63v2yrmhzuusdzsy2cs8l",
    )]
    archive_recipient: Option<WithSpan<String>>,
    /// The file with the identity that opens archives; it is made where neither is there.
    #[schemars(
        extend("x-otherwise" = "sessionwatch-archive.key beside the store"),
        example = &"/secure/sessionwatch-archive.key",
    )]
    archive_identity: Option<String>,
    /// How long removed rows can be put back, before they are removed for good.
    archive_retention: BoundedSeconds<3_600, 315_360_000>,
}

impl Default for ActionsSection {
    fn default() -> Self {
        Self {
            max_active_share: 0.2,
            max_rows: 10_000,
            require_approval: false,
            plan_ttl: BoundedSeconds::new(900),
            archive_recipient: None,
            archive_identity: None,
            archive_retention: BoundedSeconds::new(7 * 86_400),
        }
    }
}

/// How far actions may reach, and what is kept of what they remove.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionsConfig {
    /// The share of the active sessions, from 0 to 1, that a plan may end without being confirmed.
    pub max_active_share: f64,
    /// The rows that a plan may name without being confirmed.
    pub max_rows: u64,
    /// Whether somebody else has to agree to a plan beyond that.
    pub requires_approval: bool,
    /// How old a plan may be.
    pub plan_ttl: SignedDuration,
    /// How long removed rows can be put back.
    pub archive_retention: SignedDuration,
    /// To whom archives are sealed: a public key of the age format.
    pub archive_recipient: Option<String>,
    /// The file with the identity that opens them.
    pub archive_identity: Option<PathBuf>,
}

impl Default for ActionsConfig {
    fn default() -> Self {
        let section = ActionsSection::default();
        Self {
            max_active_share: section.max_active_share,
            max_rows: section.max_rows,
            requires_approval: section.require_approval,
            plan_ttl: section.plan_ttl.to_duration(),
            archive_retention: section.archive_retention.to_duration(),
            archive_recipient: None,
            archive_identity: None,
        }
    }
}

impl ActionsConfig {
    /// How far a plan may reach without being confirmed.
    #[must_use]
    pub fn safety_limit(&self) -> SafetyLimit {
        SafetyLimit {
            max_active_share: self.max_active_share,
            max_rows: self.max_rows,
            max_table_share: DEFAULT_MAX_TABLE_SHARE,
        }
    }
}

impl ActionsSection {
    /// The section as used.
    pub(super) fn validate(&self, reader: &mut SectionReader<'_, '_>) -> ActionsConfig {
        if let Some(recipient) = &self.archive_recipient
            && let Err(error) = Recipient::parse(recipient)
        {
            reader.report_problem(recipient.span(), error.to_string());
        }
        ActionsConfig {
            max_active_share: self.max_active_share,
            max_rows: self.max_rows,
            requires_approval: self.require_approval,
            plan_ttl: self.plan_ttl.to_duration(),
            archive_retention: self.archive_retention.to_duration(),
            archive_recipient: self.archive_recipient.as_ref().map(|recipient| recipient.to_string()),
            archive_identity: self.archive_identity.as_ref().map(|path| reader.folder.join(path)),
        }
    }
}
