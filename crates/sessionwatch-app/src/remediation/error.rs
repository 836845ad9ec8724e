//! Errors of plans, incidents and drills, with a hint for each.

use sessionwatch_archive::SealError;
use sessionwatch_core::{local_time::TimeZoneDoubts, plural::format_count, safety_limit::LimitExceeded};
use sessionwatch_store::StoreError;
use sessionwatch_targets::{
    drill_database::ScratchError,
    error::TargetError,
    layout::{self, uncertainty::LayoutUncertainty},
};

use super::RowPreview;

/// Reason why no session is known to be orphaned while users are hidden.
pub(super) const ORPHANS_UNCERTAIN_REASON: &str =
    "a hidden user may exist, so no session is known to be orphaned";

/// Error of planning, applying or restoring, of an incident, or of a drill.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The target failed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Encrypting or decrypting failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The recognized table may be the wrong one.
    #[error("cannot plan or apply changes: the session table is not certain: {0}")]
    Uncertain(Box<LayoutUncertainty>),
    /// The plan was created for another table.
    #[error("the plan was created for table `{plan}`, but the sessions are now in `{now}`")]
    OtherTable {
        /// Table of the plan.
        plan: String,
        /// Table recognized now.
        now: String,
    },
    /// The sessions are not in an ordinary table.
    #[error("`{table}` is a {kind}: sessions can only be revoked in an ordinary table")]
    NotATable {
        /// Name.
        table: String,
        /// Kind, such as `view`.
        kind: &'static str,
    },
    /// No row can be identified.
    #[error(
        "cannot identify rows of `{0}`: the role may not read `ctid`, and no unique column \
         other than the token is known"
    )]
    NoRowIdentifier(String),
    /// Too many expiry times make no sense.
    #[error(
        "{odd} of {} are unreadable or more than 20 years in the past: the expiry column may be \
         misread, so no plan is made",
        format_count(*.rows, "stored expiry time", "stored expiry times")
    )]
    ImplausibleExpiry {
        /// Number that make no sense.
        odd: u64,
        /// Number of rows.
        rows: u64,
    },
    /// The plan depends on a time that is not trusted.
    #[error("cannot select rows by an untrusted time: {reason}")]
    UntrustedTimestamp {
        /// Column and reason.
        reason: String,
        /// All untrusted times.
        doubts: TimeZoneDoubts,
    },
    /// The plan depends on a time closer to now than local time can differ from UTC.
    #[error(
        "{given} is less than 14 hours from now: `{column}` has no time zone and is read as `{decoder}`, \
         so in local time, sessions that seem expired may be active"
    )]
    TooCloseToNow {
        /// Option or setting.
        given: &'static str,
        /// Column.
        column: String,
        /// Decoder of the column.
        decoder: &'static str,
    },
    /// A condition needs a column or table that is not known.
    #[error("`{condition}` needs {about}, and none is known for this target")]
    NoColumn {
        /// Command or option.
        condition: &'static str,
        /// Missing column or table.
        about: &'static str,
    },
    /// No such user, with similar ones.
    #[error("user `{0}` not found, neither in the users table nor in a session")]
    NoUser(String, Vec<RowPreview>),
    /// No such session.
    #[error("no session has that row ID or token prefix")]
    NoSession,
    /// Some of the selected sessions do not exist, or no longer.
    #[error("cannot find {missing} of {}", format_count(*.wanted, "selected session", "selected sessions"))]
    SessionsMissing {
        /// Number that are not in the table.
        missing: u64,
        /// Number that were selected.
        wanted: u64,
    },
    /// Several sessions match.
    #[error("`{0}` matches several sessions")]
    Ambiguous(String, Vec<RowPreview>),
    /// No such plan.
    #[error("plan `{0}` not found")]
    NoPlan(String),
    /// The plan belongs to another target.
    #[error(
        "the plan was created for target `{plan}`, or for another database of that name, not for `{named}`"
    )]
    OtherTarget {
        /// Target of the plan.
        plan: String,
        /// Target that was named.
        named: String,
    },
    /// The plan was applied.
    #[error("plan `{0}` has already been applied")]
    Done(String),
    /// The plan is too old.
    #[error(
        "plan `{id}` has expired: plans are valid for {}, since rows may change",
        format_count(.minutes.unsigned_abs(), "minute", "minutes")
    )]
    Stale {
        /// Id of the plan.
        id: String,
        /// Validity of plans, in minutes.
        minutes: i64,
    },
    /// The plan must be confirmed; the second field is the name to confirm with.
    #[error("the plan {}: it {}", .0.consequence(), .0)]
    LimitExceeded(ConfirmationReasons, String),
    /// A second person has not approved the plan.
    #[error("a second person must approve the plan first: it {0}")]
    NotApproved(ConfirmationReasons),
    /// The typed name differs from that of the target.
    #[error("`{0}` is not the name of the target: nothing was changed")]
    NotConfirmed(String),
    /// No credentials of the write role are configured.
    #[error("no write credentials for target `{0}`")]
    NoCredentials(String),
    /// The configured credentials of the write role are not available on this machine.
    #[error("cannot change target `{target}` from this machine: {problem}")]
    CredentialsMissing {
        /// Name of the target.
        target: String,
        /// Missing variable or file.
        problem: String,
    },
    /// The write role lacks privileges.
    #[error("the write role lacks {}", .0.join(", "))]
    MissingPrivileges(Vec<String>),
    /// A trigger function or a rule lacks a privilege.
    #[error(
        "a trigger or rule of the table needs a privilege that the write role \
         lacks: the batch was rolled back"
    )]
    TriggerLacksPrivilege,
    /// The server does not count the rows that a transaction deletes.
    #[error(
        "rows of {0} are deleted with these sessions, and the server does not count deleted rows \
         (track_counts = off): some could be deleted without being archived"
    )]
    NotCounted(String),
    /// A change would affect rows outside the plan.
    #[error(
        "a trigger, rule or foreign key of `{0}` would change rows that are not in the \
         plan: the batch was rolled back"
    )]
    ChangesOtherRows(String),
    /// A rule hides which rows changed since the plan.
    #[error(
        "rows changed since the plan, and a rule of `{0}` keeps PostgreSQL from reporting \
         which: the batch was rolled back"
    )]
    HiddenByRule(String),
    /// An inheriting table has columns that would not be archived.
    #[error(
        "`{child}` inherits from `{table}` and has additional columns, which would be \
         deleted without being archived"
    )]
    MoreColumns {
        /// Session table.
        table: String,
        /// Inheriting table.
        child: String,
    },
    /// The users table may be incomplete.
    #[error("the users table may be incomplete: {doubt}: {consequence}")]
    UsersUncertain {
        /// Reason.
        doubt: String,
        /// Consequence.
        consequence: &'static str,
    },
    /// Number of sessions whose user id is written differently from the users table.
    #[error(
        "{} the user ID differently from the users table, such as with leading zeros or capitals: the \
         application may find these users, so no session is known to be orphaned",
        format_count(*.0, "session writes", "sessions write")
    )]
    UsersInOtherForm(u64),
    /// A rule of the table replaces the statement.
    #[error(
        "{table} has the rule `{rule}` (DO INSTEAD): the database runs that rule instead of revoking sessions"
    )]
    ReplacedByRule {
        /// Session table.
        table: String,
        /// Rule.
        rule: String,
    },
    /// The schema gained side effects that the plan does not list.
    #[error("the schema has changed since the plan was created and has new side effects: {}", .0.join(", "))]
    UnannouncedSideEffects(Vec<String>),
    /// Row-level security hides rows that the plan depends on.
    #[error("row-level security hides rows of {table} from the {role} role: {consequence}")]
    Hidden {
        /// Table.
        table: String,
        /// `watch` or `write`.
        role: &'static str,
        /// Consequence.
        consequence: &'static str,
    },
    /// Another process is working on the target.
    #[error("another sessionwatch is working on this target, or its transaction has not ended yet")]
    TransactionRunning,
    /// The store is kept in memory only.
    #[error("cannot archive rows: the disk that holds the store is full")]
    DiskFull,
    /// The archive has no rows of the plan.
    #[error("the archive holds no rows of `{0}`")]
    NoArchive(String),
    /// The private key of the archive is missing; the field is the recipient.
    #[error("restoring needs the archive key: rows were encrypted to {0}")]
    NoIdentity(String),
    /// The role may not create a scratch database.
    #[error("cannot create a database for the drill: the role may not CREATE DATABASE on that server")]
    NoDrill,
    /// A drill failed and left something behind. The second field says how to remove it.
    #[error("{0}; cannot remove the leftovers of the drill: {1}")]
    DrillLeft(String, String),
    /// A file cannot be created.
    #[error("cannot write {0}")]
    Unwritable(std::path::PathBuf),
    /// The step cannot be marked by a person.
    #[error("`{0}` is detected automatically and cannot be marked as done")]
    CheckedAutomatically(&'static str),
    /// The step requires a note.
    #[error("`{0}` requires a note: {1}")]
    NoteRequired(&'static str, &'static str),
    /// The step is not finished.
    #[error("cannot reopen `{0}`: the step is neither done nor skipped")]
    StepNotDone(String),
    /// Somebody else finished the step first.
    #[error("someone else has already finished `{0}`")]
    StepAlreadyDone(&'static str),
    /// The target already has an unfinished incident.
    #[error("incident `{0}` of this target is still {1}")]
    StillOpen(String, &'static str),
    /// The incident is closed.
    #[error("incident `{0}` is closed")]
    Closed(String),
    /// The incident has open points.
    #[error("cannot close {id} yet: {}", points.join("; "))]
    NotClosable {
        /// Id of the incident.
        id: String,
        /// Steps that are not done, and steps that were skipped.
        points: Vec<String>,
    },
    /// Sessions may not be revoked while the evidence is incomplete.
    #[error("{id}: complete evidence is required before sessions are revoked: {why}")]
    EvidenceRequired {
        /// Id of the incident.
        id: String,
        /// State of the evidence.
        why: String,
    },
    /// Parts of the evidence could not be read.
    #[error("the evidence is incomplete: {0}")]
    EvidenceIncomplete(String),
    /// A state that should be impossible.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// Reasons why a plan must be confirmed; at least one. Displayed as the predicate of a sentence about the plan.
#[derive(Clone, Debug)]
pub struct ConfirmationReasons(pub Vec<LimitExceeded>);

impl ConfirmationReasons {
    /// Returns what the reasons mean for the plan: the safety limit is about its size only.
    fn consequence(&self) -> &'static str {
        let is_size = |reason: &LimitExceeded| {
            !matches!(reason, LimitExceeded::SideEffects(_) | LimitExceeded::SharedTokens(_))
        };
        if self.0.iter().any(is_size) { "exceeds the safety limit" } else { "must be confirmed" }
    }
}

impl std::fmt::Display for ConfirmationReasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reasons: Vec<String> = self.0.iter().map(|exceeded| describe_limit(*exceeded)).collect();
        f.write_str(&reasons.join(" and "))
    }
}

fn describe_limit(exceeded: LimitExceeded) -> String {
    let others = |plans| format_count(plans, "other plan", "other plans");
    match exceeded {
        LimitExceeded::ActiveShare(share) => format!("ends {:.0}% of the active sessions", share * 100.0),
        LimitExceeded::Rows(rows) => format!("affects {}", format_count(rows, "row", "rows")),
        LimitExceeded::NoneActive(rows) => {
            format!(
                "affects {} of a table in which no session seems active",
                format_count(rows, "row", "rows")
            )
        }
        LimitExceeded::TableShare(share) => {
            format!("affects {:.0}% of the rows in the table", share * 100.0)
        }
        LimitExceeded::CombinedActiveShare { share, plans } => format!(
            "ends {:.0}% of the active sessions, counted together with {} of the last hour",
            share * 100.0,
            others(plans)
        ),
        LimitExceeded::CombinedRows { rows, plans } => {
            format!(
                "affects {}, counted together with {} of the last hour",
                format_count(rows, "row", "rows"),
                others(plans)
            )
        }
        LimitExceeded::SideEffects(effects) => {
            format!(
                "has {} beyond the selected sessions",
                format_count(effects, "side effect", "side effects")
            )
        }
        LimitExceeded::SharedTokens(tokens) => {
            format!("restores {} that several users had shared", format_count(tokens, "token", "tokens"))
        }
    }
}

impl From<ScratchError> for ActionError {
    fn from(error: ScratchError) -> Self {
        match error {
            ScratchError::Unwritable(path) => Self::Unwritable(path),
            ScratchError::Refused => Self::NoDrill,
            ScratchError::Target(error) => Self::Target(error),
        }
    }
}

impl ActionError {
    /// Returns advice on what to do; `None` if there is none.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Target(error) => error.hint(),
            Self::Uncertain(doubt) => doubt.hint(),
            Self::UntrustedTimestamp { doubts, .. } => {
                return layout::clock_fix_hint(doubts, sessionwatch_clock::now());
            }
            Self::LimitExceeded(_, name) => {
                format!("review the plan, then confirm it with --confirm '{name}'")
            }
            Self::MissingPrivileges(lacking) => {
                format!("as the owner of the tables, GRANT {} TO the write role", lacking.join("; GRANT "))
            }
            Self::MoreColumns { child, .. } => {
                format!("configure `{child}` as a separate target in [target.mapping]")
            }
            _ => {
                let hints = [Self::plan_hint, Self::setup_hint, Self::incident_hint];
                return hints.into_iter().find_map(|hint| hint(self)).map(str::to_owned);
            }
        })
    }

    /// Returns advice on errors that another command or confirmation solves; `None` for other errors.
    fn plan_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoUser(_, similar) if similar.is_empty() => {
                "`sessionwatch users find TEXT` finds users by a part of their ID, name or email"
            }
            Self::NoUser(..) => "use the ID of a user in the list",
            Self::NoSession => "`sessionwatch sessions list` shows row IDs and token prefixes",
            Self::SessionsMissing { .. } => "reload the list of sessions and select them again",
            Self::Ambiguous(..) => "use the row ID of one of them",
            Self::NoPlan(_)
            | Self::Stale { .. }
            | Self::Done(_)
            | Self::OtherTable { .. }
            | Self::HiddenByRule(_)
            | Self::UnannouncedSideEffects(_) => {
                "create a new plan with the same command; `sessionwatch plans list` shows existing ones"
            }
            Self::OtherTarget { .. } => "name the target that the plan was created for",
            Self::NotApproved(_) => {
                "another account approves it on the page of the plan, or with its own API token"
            }
            Self::NotConfirmed(_) => "type the name that is shown with the plan",
            Self::TransactionRunning => "wait a minute, then try again",
            Self::DiskFull => "free some space, then try again",
            Self::NoArchive(_) => "`sessionwatch archive list` shows what can be restored",
            Self::NoIdentity(_) => "pass the file of the private key with --identity FILE",
            Self::Unwritable(_) => "name a new file in a writable directory",
            _ => return None,
        })
    }

    /// Returns advice on errors of the mapping, the roles and the tables; `None` for other errors.
    fn setup_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotATable { .. } => "name the underlying table in [target.mapping]",
            Self::NoRowIdentifier(_) => {
                "grant SELECT (ctid, xmin, tableoid) on the table to the watch role; \
                 `sessionwatch grants` prints the SQL"
            }
            Self::ImplausibleExpiry { .. } => {
                "check the expiry column and its decoder; `sessionwatch doctor` shows how they are read"
            }
            Self::TooCloseToNow { .. } => {
                "use 14h or more, or set `decoder = \"timestamp-local:ZONE\"` in [target.mapping], with \
                 the time zone of the application (UTC is allowed)"
            }
            Self::NoColumn { .. } => "name the column or table in [target.mapping], or use another condition",
            Self::CredentialsMissing { .. } => {
                "set the variable or create the file on this machine, or pass the URL with --write-url"
            }
            Self::NoCredentials(_) => {
                "set `write_url` or `write_url_file` for the target, or pass --write-url; `sessionwatch \
                 grants` prints SQL for the role"
            }
            Self::TriggerLacksPrivilege => {
                "grant the privilege, or make the trigger function SECURITY DEFINER"
            }
            Self::NotCounted(_) => {
                "as a superuser, run ALTER ROLE … SET track_counts = on for the write role"
            }
            Self::ChangesOtherRows(_) => {
                "revoke these sessions in the application, or set `revoke` in \
                 [target.mapping] to the way it does"
            }
            Self::UsersUncertain { .. } => "set `users` in [target.mapping] to a table that holds every user",
            Self::UsersInOtherForm(_) => "store these user IDs as the users table has them",
            Self::ReplacedByRule { .. } => {
                "revoke sessions as the application does, with `revoke = \"expire\"` or `revoke = \
                 \"flag\"` in [target.mapping], or drop the rule"
            }
            Self::Hidden { .. } => {
                "as the owner of the table, run the CREATE POLICY statements that \
                 `sessionwatch grants` prints"
            }
            _ => return None,
        })
    }

    /// Returns advice on errors of incidents and drills; `None` for other errors.
    fn incident_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoDrill => "pass an address whose role may CREATE DATABASE with --write-url, or use --demo",
            Self::CheckedAutomatically(_) => {
                "to continue without it, run `sessionwatch incident step skip --reason TEXT`"
            }
            Self::NoteRequired(..) => "add --note TEXT",
            Self::StepNotDone(_) => "`sessionwatch incident status` shows which steps are done",
            Self::StepAlreadyDone(_) => "`sessionwatch incident status` shows the current state",
            Self::StillOpen(..) => {
                "continue with `sessionwatch incident step check`, or close that incident first"
            }
            Self::Closed(_) => "`sessionwatch incident open` opens a new one",
            Self::EvidenceIncomplete(_) => {
                "try again once the missing parts can be read, or request the rest with `incomplete=true`"
            }
            Self::EvidenceRequired { .. } => {
                "run `sessionwatch incident evidence`, or revoke without it: --without-evidence REASON"
            }
            Self::NotClosable { .. } => {
                "finish these steps, or close the incident anyway with --override REASON"
            }
            _ => return None,
        })
    }

    /// Returns the error for a rejected statement, given the privileges that the role lacks. If the role lacks none, a
    /// trigger function or a rule does.
    #[must_use]
    pub fn from_missing_privileges(lacking: Vec<String>) -> Self {
        if lacking.is_empty() { Self::TriggerLacksPrivilege } else { Self::MissingPrivileges(lacking) }
    }

    /// Returns whether the arguments caused the error, rather than the target or the store.
    #[must_use]
    pub fn is_usage_error(&self) -> bool {
        if let Self::Target(error) = self {
            return error.is_usage_error();
        }
        matches!(
            self,
            Self::Uncertain(_)
                | Self::OtherTable { .. }
                | Self::NotATable { .. }
                | Self::NoColumn { .. }
                | Self::UntrustedTimestamp { .. }
                | Self::TooCloseToNow { .. }
                | Self::NoUser(..)
                | Self::NoSession
                | Self::SessionsMissing { .. }
                | Self::Ambiguous(..)
                | Self::NoPlan(_)
                | Self::OtherTarget { .. }
                | Self::Done(_)
                | Self::Stale { .. }
                | Self::LimitExceeded(..)
                | Self::NotApproved(_)
                | Self::NotConfirmed(_)
                | Self::NoCredentials(_)
                | Self::CredentialsMissing { .. }
                | Self::NoArchive(_)
                | Self::NoIdentity(_)
                | Self::Seal(_)
                | Self::Unwritable(_)
                | Self::CheckedAutomatically(_)
                | Self::NoteRequired(..)
                | Self::StepNotDone(_)
                | Self::StepAlreadyDone(_)
                | Self::StillOpen(..)
                | Self::Closed(_)
                | Self::NotClosable { .. }
        )
    }

    /// Returns similar rows to choose from.
    #[must_use]
    pub fn similar_rows(&self) -> &[RowPreview] {
        match self {
            Self::NoUser(_, lines) | Self::Ambiguous(_, lines) => lines,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests;
