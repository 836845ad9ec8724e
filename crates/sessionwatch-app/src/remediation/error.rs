//! What can keep a plan from being made or carried out, in words for a person.

use sessionwatch_archive::SealError;
use sessionwatch_core::{local_time::TimeZoneDoubts, plural::format_count, safety_limit::LimitExceeded};
use sessionwatch_store::StoreError;
use sessionwatch_targets::{
    error::TargetError,
    layout::{self, uncertainty::LayoutUncertainty},
    scratch_database::ScratchError,
};

use super::RowPreview;

/// Why no session can be told to be an orphan where users are hidden.
pub(super) const ORPHANS_UNCERTAIN_REASON: &str =
    "a user who is not seen may exist, so no session is known to be orphaned";

/// Why nothing was done, or no more than was said.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing, or opening what was sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The table that was recognised may be the wrong one.
    #[error("nothing can be planned while the session table is not certain: {0}")]
    Uncertain(Box<LayoutUncertainty>),
    /// The plan is about another table.
    #[error("the plan was made for the table `{plan}`, and the sessions are in `{now}` now")]
    OtherTable {
        /// The table of the plan.
        plan: String,
        /// The table that is recognised now.
        now: String,
    },
    /// It is not a table.
    #[error("`{table}` is a {kind}: sessions can be ended in an ordinary table only")]
    NotATable {
        /// Its name.
        table: String,
        /// What it is.
        kind: &'static str,
    },
    /// Nothing names a row.
    #[error(
        "nothing names a row of `{0}` for certain: the role may not read its `ctid`, and no unique column but the token is known"
    )]
    NoRowIdentifier(String),
    /// Too many expiries make no sense.
    #[error(
        "{odd} of {rows} stored expiries end more than 20 years ago or cannot be read: nothing is removed by a clock that may be read wrongly"
    )]
    ImplausibleExpiry {
        /// Those that make no sense.
        odd: u64,
        /// All.
        rows: u64,
    },
    /// An instant that it goes by is not believed.
    #[error("{reason}: nothing is decided by it")]
    UntrustedTimestamp {
        /// Which column, and what shows it.
        reason: String,
        /// Everything that is not believed.
        doubts: TimeZoneDoubts,
    },
    /// It goes by an instant closer to now than clocks can be apart.
    #[error(
        "{given} within 14 hours of now is not accepted: `{column}` names no time zone and is read as `{decoder}`, \
         and in local time sessions that seem to have ended may be active"
    )]
    TooCloseToNow {
        /// What was given.
        given: &'static str,
        /// The column.
        column: String,
        /// How it is read.
        decoder: &'static str,
    },
    /// A condition needs a column that is not known.
    #[error("`{condition}` cannot be decided: no column of {about} is known for this target")]
    NoColumn {
        /// The option.
        condition: &'static str,
        /// What the column would hold.
        about: &'static str,
    },
    /// No such user.
    #[error("no user `{0}` is known, and no session is of one")]
    NoUser(String, Vec<RowPreview>),
    /// No such session.
    #[error("no session has that row ID or token prefix")]
    NoSession,
    /// Several sessions fit.
    #[error("several sessions fit `{0}`")]
    Ambiguous(String, Vec<RowPreview>),
    /// No such plan.
    #[error("there is no plan `{0}`")]
    NoPlan(String),
    /// It is of another target.
    #[error(
        "the plan is for the target `{plan}`, or for another database of that name, and not for `{named}`"
    )]
    OtherTarget {
        /// The plan's.
        plan: String,
        /// The one that was named.
        named: String,
    },
    /// It was carried out.
    #[error("the plan `{0}` has been carried out already")]
    Done(String),
    /// It is too old.
    #[error("the plan `{id}` is older than {minutes} minutes: what it names may have changed")]
    Stale {
        /// Its id.
        id: String,
        /// How old a plan may be.
        minutes: i64,
    },
    /// It reaches far.
    #[error("the plan {0}: it is carried out only if the name of the target is given")]
    LimitExceeded(ConfirmationReasons, String),
    /// Nobody else has agreed.
    #[error("the plan {0}: somebody else has to agree to it first")]
    NotApproved(ConfirmationReasons),
    /// The name that was typed is another one.
    #[error("`{0}` is not the name of the target: nothing was done")]
    NotConfirmed(String),
    /// There are no credentials.
    #[error("no credentials for acting are known for the target `{0}`")]
    NoCredentials(String),
    /// The configured credentials for acting cannot be had on this machine.
    #[error("target `{target}` cannot be acted on here: {problem}")]
    CredentialsMissing {
        /// The target.
        target: String,
        /// What the configuration refers to and is missing.
        problem: String,
    },
    /// The role may not.
    #[error("the acting role lacks {}", .0.join(", "))]
    MissingPrivileges(Vec<String>),
    /// A function of a table may not do what it does.
    #[error(
        "a trigger or a rule needs a privilege that the acting role does not have: that batch was rolled back"
    )]
    TriggerLacksPrivilege,
    /// The server does not say how many rows a transaction deleted.
    #[error(
        "rows of {0} go with these sessions, and the server does not count what it deletes (track_counts = off), so that \
         some could be deleted without being archived"
    )]
    NotCounted(String),
    /// A change would reach further than its plan.
    #[error(
        "removing these rows would change other rows of `{0}` as well: a trigger, a rule or a foreign key of that table does it. That batch was rolled back"
    )]
    ChangesOtherRows(String),
    /// Rows changed since the plan cannot be told apart.
    #[error(
        "some of these rows changed since the plan, and a rule of `{0}` keeps PostgreSQL from saying which: that batch was rolled back; make a new plan"
    )]
    HiddenByRule(String),
    /// Columns that would not be archived.
    #[error(
        "`{child}`, which inherits from `{table}`, has columns that `{table}` does not have: they would be removed and not archived"
    )]
    MoreColumns {
        /// The table of the sessions.
        table: String,
        /// The table that inherits from it.
        child: String,
    },
    /// The table of users may lack rows.
    #[error("users may be missing: {doubt}: {consequence}")]
    UsersUncertain {
        /// Why.
        doubt: String,
        /// What could go wrong.
        consequence: &'static str,
    },
    /// That many sessions write their users in another form than the keys of users have.
    #[error(
        "{} the user in a form that no key of a user has, such as leading zeros or capitals: the application may find those users, so no session is known to be orphaned",
        format_count(*.0, "session writes", "sessions write")
    )]
    UsersInOtherForm(u64),
    /// A rule of the table runs instead.
    #[error(
        "{table} has the rule `{rule}` (DO INSTEAD): the database runs that rule instead of ending sessions"
    )]
    ReplacedByRule {
        /// The table of sessions.
        table: String,
        /// The rule.
        rule: String,
    },
    /// More would happen besides than the plan says.
    #[error("the schema has changed since the plan was made; it would also run {}", .0.join(", "))]
    UnannouncedSideEffects(Vec<String>),
    /// Row-level security hides rows that the action depends on.
    #[error("row-level security hides rows of {table} from the {role} role: {consequence}")]
    Hidden {
        /// The table.
        table: String,
        /// `watch` or `write`.
        role: &'static str,
        /// What could go wrong.
        consequence: &'static str,
    },
    /// Somebody else works on it.
    #[error("another sessionwatch is still at work on that target, or its transaction has not ended yet")]
    TransactionRunning,
    /// The store works in memory only.
    #[error("the disk that holds the store is full: what would be removed could not be archived")]
    DiskFull,
    /// There is no such archive.
    #[error("the archive holds nothing of `{0}`")]
    NoArchive(String),
    /// The identity is needed.
    #[error("to put rows back, the identity that opens the archive is needed: it was sealed to {0}")]
    NoIdentity(String),
    /// No database for a drill.
    #[error("the role may not make a database for the drill on that server")]
    NoDrill,
    /// What was made for a drill could not be removed.
    #[error("{0}; what was made for the drill could not be removed: {1}")]
    DrillLeft(String, String),
    /// A file cannot be made.
    #[error("cannot write {0}: name a new file in a folder that may be written")]
    Unwritable(std::path::PathBuf),
    /// It is found out.
    #[error("whether `{0}` is done is found out, not said")]
    CheckedAutomatically(&'static str),
    /// It was not said what the step asks for.
    #[error("`{0}` is not done without a note: {1}")]
    NoteRequired(&'static str, &'static str),
    /// It is not done.
    #[error("`{0}` is neither done nor passed over, so that it cannot be reopened")]
    StepNotDone(String),
    /// Somebody else was faster.
    #[error("somebody else has gone on from `{0}` meanwhile")]
    StepAlreadyDone(&'static str),
    /// An incident of that target is open.
    #[error("`{0}` of that target is still {1}")]
    StillOpen(String, &'static str),
    /// The incident is over.
    #[error("`{0}` is closed")]
    Closed(String),
    /// Something speaks against closing an incident.
    #[error("{id} cannot be closed yet: {}", points.join("; "))]
    NotClosable {
        /// The incident.
        id: String,
        /// What speaks against it.
        points: Vec<String>,
    },
    /// Sessions are not ended while the evidence is incomplete.
    #[error("{id}: sessions are not ended before the evidence is complete: {why}")]
    EvidenceRequired {
        /// The incident.
        id: String,
        /// What is known of the evidence.
        why: String,
    },
    /// Something of the evidence could not be read.
    #[error("the evidence is incomplete: {0}")]
    EvidenceIncomplete(String),
    /// Something that cannot be.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// Why a plan has to be confirmed: at least one reason.
#[derive(Clone, Debug)]
pub struct ConfirmationReasons(pub Vec<LimitExceeded>);

impl std::fmt::Display for ConfirmationReasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reasons: Vec<String> = self.0.iter().map(|braked| describe_limit(*braked)).collect();
        f.write_str(&reasons.join(", and "))
    }
}

fn describe_limit(braked: LimitExceeded) -> String {
    let others = |plans| format_count(plans, "other plan", "other plans");
    match braked {
        LimitExceeded::ActiveShare(share) => format!("ends {:.0} % of the active sessions", share * 100.0),
        LimitExceeded::Rows(rows) => format!("names {}", format_count(rows, "row", "rows")),
        LimitExceeded::NoneActive(rows) => {
            format!("names {} of a table in which no session seems active", format_count(rows, "row", "rows"))
        }
        LimitExceeded::TableShare(share) => format!("takes {:.0} % of the rows of the table", share * 100.0),
        LimitExceeded::CombinedActiveShare { share, plans } => format!(
            "ends, together with {} of the last hour, {:.0} % of the active sessions",
            others(plans),
            share * 100.0
        ),
        LimitExceeded::CombinedRows { rows, plans } => {
            format!(
                "ends, together with {} of the last hour, {}",
                others(plans),
                format_count(rows, "row", "rows")
            )
        }
        LimitExceeded::SideEffects(effects) => {
            format!("has {} beyond the sessions", format_count(effects, "side effect", "side effects"))
        }
        LimitExceeded::SharedTokens(tokens) => {
            format!(
                "makes {} valid again that several users had shared",
                format_count(tokens, "token", "tokens")
            )
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
    /// How to mend it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Target(error) => error.hint(),
            Self::Uncertain(doubt) => doubt.hint(),
            Self::NotATable { .. } => "name the table below it under [target.mapping]".into(),
            Self::NoRowIdentifier(_) => {
                "grant SELECT (ctid, xmin, tableoid) on the table to the watch role: `sessionwatch grants` prints the statement".into()
            }
            Self::ImplausibleExpiry { .. } => {
                "check the column of the expiry and its decoder: `sessionwatch doctor` shows how they are read".into()
            }
            Self::UntrustedTimestamp { doubts, .. } => return layout::clock_fix_hint(doubts, sessionwatch_clock::now()),
            Self::TooCloseToNow { .. } => {
                "take 14h or more; or write `decoder = \"timestamp-local:ZONE\"` with the time zone of the application, which may be UTC, under [target.mapping]".into()
            }
            Self::NoColumn { .. } => "name the column under [target.mapping], or use another condition".into(),
            Self::NoUser(_, similar) if similar.is_empty() => {
                "`sessionwatch sessions top` and `sessionwatch revoke where --user-like PART` find users".into()
            }
            Self::NoUser(..) => "name one of those by its id".into(),
            Self::NoSession => "`sessionwatch sessions list` shows row IDs and token prefixes".into(),
            Self::Ambiguous(..) => "name one of them by its id".into(),
            Self::NoPlan(_) | Self::Stale { .. } | Self::Done(_) | Self::OtherTable { .. } => {
                "create a new plan".into()
            }
            Self::OtherTarget { .. } => "name the target for which the plan was made".into(),
            Self::LimitExceeded(_, name) => format!("add --confirm '{name}' if that is meant"),
            Self::NotApproved(_) => "another account agrees on the page of the plan, or by a token of its own".into(),
            Self::NotConfirmed(_) => "the name is shown with the plan".into(),
            Self::CredentialsMissing { .. } => {
                "set the variable or write the file on this machine, or pass the URL with --write-url".into()
            }
            Self::NoCredentials(_) => {
                "write `act_url` or `act_url_file` for the target; `sessionwatch grants` prints a role for it".into()
            }
            Self::MissingPrivileges(lacking) => {
                format!("as the owner of the tables, GRANT {} TO the acting role", lacking.join("; GRANT "))
            }
            Self::TriggerLacksPrivilege => "grant it, or make the function of the trigger SECURITY DEFINER".into(),
            Self::NotCounted(_) => "as a superuser: ALTER ROLE … SET track_counts = on, for the acting role".into(),
            Self::ChangesOtherRows(_) => {
                "end these sessions through the application, or name what ends them under `revoke` in [target.mapping]".into()
            }
            Self::MoreColumns { child, .. } => format!("name `{child}` as a target of its own under [target.mapping]"),
            Self::UsersUncertain { .. } => {
                "name the table that holds every user as `users` under [target.mapping]".into()
            }
            Self::UsersInOtherForm(_) => "write those users as their keys are written".into(),
            Self::ReplacedByRule { .. } => {
                "end sessions as the application does: `revoke = \"expire\"` or `revoke = \"flag\"` under [target.mapping]; or drop the rule".into()
            }
            Self::UnannouncedSideEffects(_) => "create a new plan".into(),
            Self::Hidden { .. } => {
                "as the owner of the table, run the CREATE POLICY statements that `sessionwatch grants` prints".into()
            }
            Self::TransactionRunning => "wait until it is done, and try again".into(),
            Self::DiskFull => "make room, and try again".into(),
            Self::NoArchive(_) => "`sessionwatch archive list` shows what there is".into(),
            Self::NoIdentity(_) => "name its file with --identity".into(),
            _ => return self.incident_hint().map(str::to_owned),
        })
    }

    /// What to do about an incident that does not go on; nothing for other errors.
    fn incident_hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoDrill => {
                "name an address whose role may CREATE DATABASE with --write-url, or drill on a sample database with --demo"
            }
            Self::CheckedAutomatically(_) => "to skip it: `sessionwatch incident step skip --reason TEXT`",
            Self::NoteRequired(..) => "say it with --note TEXT",
            Self::StepNotDone(_) => "`sessionwatch incident status` shows which steps are done",
            Self::StepAlreadyDone(_) => "look at how it stands now, and go on from there",
            Self::StillOpen(..) => "continue with `sessionwatch incident step check`, or close it first",
            Self::Closed(_) => "`sessionwatch incident open` opens another one",
            Self::EvidenceIncomplete(_) => {
                "ask again once that can be read; with `incomplete=true` what could be read is given out"
            }
            Self::EvidenceRequired { .. } => {
                "write it with `sessionwatch incident evidence`, or say why sessions are ended without it: --without-evidence REASON"
            }
            Self::NotClosable { .. } => "with --override REASON it is closed all the same",
            _ => return None,
        })
    }

    /// The error of a role that lacks this, as it was asked after a statement was refused.
    #[must_use]
    pub fn from_missing_privileges(lacking: Vec<String>) -> Self {
        if lacking.is_empty() { Self::TriggerLacksPrivilege } else { Self::MissingPrivileges(lacking) }
    }

    /// Whether the arguments are at fault, rather than what they met.
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

    /// Rows that a person may choose among.
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
