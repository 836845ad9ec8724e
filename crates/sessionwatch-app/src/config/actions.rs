//! `[actions]`: safety limits of plans, and the archive of removed rows.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_archive::Recipient;
use sessionwatch_core::safety_limit::{DEFAULT_MAX_TABLE_SHARE, SafetyLimit};

use super::section_reader::SectionReader;
use crate::config_file::{BoundedSeconds, WithSpan};

/// Safety limits of plans, and the archive of removed rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ActionsSection {
    /// Safety limit: share of active sessions above which a plan must be confirmed with the target name.
    #[schemars(range(min = 0.0, max = 1.0))]
    max_active_share: f64,
    /// Safety limit: number of rows above which a plan must be confirmed with the target name.
    #[schemars(range(max = 1_000_000_000_000_u64))]
    max_rows: u64,
    /// Require approval by another dashboard account for plans above the safety limit.
    require_approval: bool,
    /// Time after which a plan expires and can no longer be applied.
    plan_ttl: BoundedSeconds<60, 86_400>,
    /// Public key (age format) that encrypts the archive of removed rows.
    #[schemars(
        extend("x-otherwise" = "derived from archive_identity"),
        example = &"age148uhe3yk5nth88agcmm9acyc3f7ruwds2qa7e63v2yrmhzuusdzsy2cs8l",
    )]
    archive_recipient: Option<WithSpan<String>>,
    /// File with the private key (age identity) that decrypts archives; created if there is neither a file nor a
    /// recipient.
    #[schemars(
        extend("x-otherwise" = "sessionwatch-archive.key next to the state store"),
        example = &"/secure/sessionwatch-archive.key",
    )]
    archive_identity: Option<String>,
    /// Time for which removed rows can be restored, before the archive deletes them permanently.
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

/// Safety limits of plans, and the archive of removed rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionsConfig {
    /// Share of active sessions, from 0 to 1, above which a plan must be confirmed.
    pub max_active_share: f64,
    /// Number of rows above which a plan must be confirmed.
    pub max_rows: u64,
    /// Requires approval by another account for plans above the safety limit.
    pub requires_approval: bool,
    /// Time after which a plan expires.
    pub plan_ttl: SignedDuration,
    /// Time for which removed rows can be restored.
    pub archive_retention: SignedDuration,
    /// Public key (age format) that encrypts archives.
    pub archive_recipient: Option<String>,
    /// File with the private key that decrypts archives.
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
    /// Returns the safety limit above which a plan must be confirmed.
    #[must_use]
    pub fn safety_limit(&self) -> SafetyLimit {
        SafetyLimit {
            max_active_share: self.max_active_share,
            max_rows: self.max_rows,
            // Not configurable for manual plans; `[target.cleanup]` has its own limit.
            max_table_share: DEFAULT_MAX_TABLE_SHARE,
        }
    }
}

impl ActionsSection {
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
