//! The report of an applied plan.

use std::{collections::BTreeMap, time::Duration};

use sessionwatch_core::timestamp::UtcTimestamp;

use super::RowPreview;

/// Skipped rows that are listed.
pub(super) const MAX_LISTED_SKIPS: usize = 100;

/// Why a row was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It was changed or extended since.
    Changed,
    /// It is not there any more.
    Gone,
    /// It was ended in place, and has neither an ID nor a token to find it by.
    Unidentified,
    /// Somebody holds a lock on it.
    Busy,
    /// A trigger keeps it as it is.
    Vetoed,
    /// Rows of other tables that go with it are changed all the time, or kept by a trigger.
    DependentsKept,
    /// Its id is in the table.
    IdTaken,
    /// Its token is in the table, or was put back with another row.
    TokenTaken,
    /// Its user does not exist any more.
    UserGone,
    /// The write role does not see every user, and does not see this one.
    UserHidden,
    /// A constraint, a rule or a trigger of the table refuses it.
    Refused,
    /// It is no longer in the archive.
    Purged,
}

impl SkipReason {
    /// The reason for a person.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Changed => "changed or extended since the plan",
            Self::Gone => "not there any more",
            Self::Unidentified => "no ID and no token tells its row from others",
            Self::Busy => "held by somebody else",
            Self::DependentsKept => {
                "rows of other tables that go with it were changed meanwhile, or a trigger keeps them"
            }
            Self::Vetoed => "kept by a trigger of the table that runs before each row",
            Self::IdTaken => "its id is in the table",
            Self::TokenTaken => "its token is in the table",
            Self::UserGone => "its user does not exist any more",
            Self::UserHidden => "its user cannot be seen: row-level security hides users from the write role",
            Self::Refused => "refused by a constraint, a rule or a trigger of the table",
            Self::Purged => "no longer in the archive",
        }
    }
}

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct ApplyReport {
    /// Rows that were removed or changed now.
    pub done: u64,
    /// Rows that an earlier run had dealt with.
    pub done_earlier: u64,
    /// Rows that were left as they are.
    pub skipped: u64,
    /// Rows of other tables that went, or came back, with those that were removed or restored; by table.
    pub dependents: BTreeMap<String, DependentCounts>,
    /// Some of them, and why.
    pub skipped_rows: Vec<(RowPreview, SkipReason)>,
    /// Rows that were not reached, since the run was stopped.
    pub remaining: u64,
    /// Rows that fit what was asked for, by a fresh look afterwards; nothing if that look failed.
    pub still_matching: Option<u64>,
    /// Until when it can be undone.
    pub purge_at: Option<UtcTimestamp>,
    /// How long it took.
    pub duration: Duration,
    /// The longest time for which a batch held its locks.
    pub longest_lock: Duration,
}

impl ApplyReport {
    /// What became of rows of other tables, a sentence each.
    #[must_use]
    pub fn describe_dependents(&self, restores: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (table, rows) in &self.dependents {
            let were = |count| match count {
                1 => format!("1 row of {table} was"),
                count => format!("{count} rows of {table} were"),
            };
            lines.push(match restores {
                true => format!("{} restored with them.", were(rows.done)),
                false => format!("{} deleted with them, and archived.", were(rows.done)),
            });
            if rows.refused > 0 {
                let refused = were(rows.refused);
                lines.push(format!(
                    "{refused} not restored: the table has such rows already, or refuses them."
                ));
            }
        }
        lines
    }

    /// Whether every row of other tables that should have come back did.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.dependents.values().all(|rows| rows.refused == 0)
    }
}

/// Rows of one other table that go with sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DependentCounts {
    /// Those that went into the archive, or came back from it.
    pub done: u64,
    /// Those that did not come back, since their table does not take them.
    pub refused: u64,
}
