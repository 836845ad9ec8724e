//! Result of applying a plan.

use std::{collections::BTreeMap, time::Duration};

use sessionwatch_core::{plural::format_count, timestamp::UtcTimestamp};

use super::RowPreview;

/// Maximum number of listed skipped rows.
pub(super) const MAX_LISTED_SKIPS: usize = 100;

/// Reason for skipping a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The row was changed or extended since the plan.
    Changed,
    /// The row no longer exists.
    Gone,
    /// The row was changed, or no longer exists: without an ID nothing else finds it again.
    ChangedOrGone,
    /// The session was revoked in place, and has neither an ID nor a token to find its row by.
    Unidentified,
    /// Another transaction holds a lock on the row.
    Busy,
    /// A trigger suppresses the change.
    Vetoed,
    /// Dependent rows of other tables keep changing, or a trigger keeps them.
    DependentsKept,
    /// The id is in the table again.
    IdTaken,
    /// The token is in the table again, or was restored with another row.
    TokenTaken,
    /// The user no longer exists.
    UserGone,
    /// The user is not visible to the write role, from which row-level security hides users.
    UserHidden,
    /// A constraint, rule or trigger of the table rejects the row.
    Refused,
    /// The row is no longer in the archive.
    Purged,
}

impl SkipReason {
    /// Describes the reason.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Changed => "changed or extended since the plan was created",
            Self::Gone => "no longer in the table",
            Self::ChangedOrGone => {
                "changed or extended since the plan was created, or no longer in the table"
            }
            Self::Unidentified => "has neither an ID nor a token to find its row by",
            Self::Busy => "locked by another transaction",
            Self::DependentsKept => {
                "dependent rows of other tables were changed in the meantime, or a trigger keeps them"
            }
            Self::Vetoed => "kept by a BEFORE trigger on the table",
            Self::IdTaken => "its ID is in the table again",
            Self::TokenTaken => "its token is in the table again",
            Self::UserGone => "its user no longer exists",
            Self::UserHidden => "its user may be hidden: row-level security hides users from the write role",
            Self::Refused => "rejected by a constraint, rule or trigger on the table",
            Self::Purged => "no longer in the archive",
        }
    }
}

/// Result of applying a plan.
#[derive(Clone, Debug, Default)]
pub struct ApplyReport {
    /// Rows deleted, changed or restored by this run.
    pub done: u64,
    /// Rows that an earlier, interrupted run had finished.
    pub done_earlier: u64,
    /// Rows skipped.
    pub skipped: u64,
    /// Rows of other tables deleted or restored with the sessions, by table.
    pub dependents: BTreeMap<String, DependentCounts>,
    /// Some of the skipped rows, with the reason.
    pub skipped_rows: Vec<(RowPreview, SkipReason)>,
    /// Rows not processed because the run was stopped.
    pub remaining: u64,
    /// Rows that still match the selection, counted afterwards; `None` if counting failed.
    pub still_matching: Option<u64>,
    /// End of the archive retention, until which the plan can be undone.
    pub purge_at: Option<UtcTimestamp>,
    /// Duration of the run.
    pub duration: Duration,
    /// Longest time that a batch held its locks.
    pub longest_lock: Duration,
}

impl ApplyReport {
    /// Describes the changes of other tables, a sentence each.
    #[must_use]
    pub fn describe_dependents(&self, restores: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (table, rows) in &self.dependents {
            let were = |count| {
                format!(
                    "{} of {table} {}",
                    format_count(count, "row", "rows"),
                    if count == 1 { "was" } else { "were" }
                )
            };
            lines.push(match restores {
                true => format!("{} restored with them.", were(rows.done)),
                false => format!("{} archived and deleted with them.", were(rows.done)),
            });
            if rows.refused > 0 {
                let refused = were(rows.refused);
                lines.push(format!(
                    "{refused} not restored: the table already has these rows, or rejects them."
                ));
            }
        }
        lines
    }

    /// Returns whether every row of other tables was restored.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.dependents.values().all(|rows| rows.refused == 0)
    }
}

/// Rows of another table that were deleted or restored with sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DependentCounts {
    /// Rows archived, or restored.
    pub done: u64,
    /// Rows that their table rejected on restore.
    pub refused: u64,
}

#[cfg(test)]
mod tests;
