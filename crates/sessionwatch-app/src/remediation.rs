//! Remediation: create a plan, then apply exactly that plan. Planning uses the watch role and changes nothing.
//! Applying uses the write role, encrypts each row into the archive before deleting it, and verifies the result.

pub mod apply;
pub mod archive_keys;
pub mod authorization;
pub mod error;
pub mod executor;
pub mod job_control;
pub mod leak_queries;
pub mod plan_notes;
pub mod planner;
pub mod restore;
pub mod write_credentials;

mod action_target;
mod apply_report;
mod planning_session;
mod readiness;
mod recovery;
mod restore_preview;
mod run;
mod side_effects;
mod still_matching_rows;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sessionwatch_clock::Clock;
use sessionwatch_core::{
    duration::as_micros,
    safety_limit::{self, LimitExceeded, PlanImpact, RecentImpact, SafetyLimit},
    timestamp::{self, UtcTimestamp},
};
use sessionwatch_store::{Store, StoreError, audit, plans, transaction::Tx};
use sessionwatch_targets::{
    mapping::RevokeMethod,
    side_effects::SideEffect,
    sql::{RowKeyKind, RowSelection, SelectionFilter},
};

use crate::config::{Config, Target};

pub use self::{
    apply_report::{ApplyReport, DependentCounts, SkipReason},
    authorization::{ApplyCircumstances, authorize_apply},
    error::{ActionError, ConfirmationReasons},
    executor::{ArchiveKeys, PlanExecutor},
    job_control::JobControl,
    leak_queries::{LeakedRows, count_reappeared, find_leaked_rows},
    planner::create_plan,
    readiness::check_readiness,
    recovery::recover_interrupted,
    write_credentials::require_write_credentials,
};

/// Rows that an action selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Rows that expired more than `grace` ago.
    Expired {
        /// Time since the expiry.
        #[serde(rename = "grace_us", with = "as_micros")]
        grace: SignedDuration,
    },
    /// Rows whose user does not exist.
    Orphaned,
    /// Rows whose token occurs more than once: all of them if several users share the token, else all but the newest.
    Duplicates,
    /// Active sessions beyond `keep` per user.
    Excess {
        /// Sessions kept for each user: those that expire last.
        keep: u64,
    },
    /// Every row of a user.
    User(String),
    /// Every row of several users.
    Users(Vec<String>),
    /// The row with this id, or the rows whose token starts with this prefix.
    Session(String),
    /// The rows with these ids, each of which must exist.
    Sessions(Vec<String>),
    /// Every row.
    All,
    /// Rows that match a filter.
    Where(SelectionFilter),
    /// Archived rows to restore.
    Restore {
        /// Id of the plan that archived them.
        archive: String,
        /// Restricts the restore to one user.
        user: Option<String>,
    },
}

/// Context of planning and applying.
#[derive(Clone, Copy, Debug)]
pub struct ActionContext<'a> {
    /// Configuration.
    pub config: &'a Config,
    /// Target.
    pub target: &'a Target,
    /// Store of plans and archives.
    pub store: &'a Store,
    /// Clock.
    pub clock: &'a Clock,
    /// Name for the audit log.
    pub actor: &'a str,
}

/// Plan without its rows, which stay in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionPlan {
    /// Stored record.
    pub record: plans::PlanRecord,
    /// Selected rows.
    pub selection: Selection,
    /// Further facts.
    pub summary: PlanSummary,
    /// Impact of the target's other plans of the last hour.
    pub recently_ended: RecentImpact,
}

/// Facts about a plan apart from its rows. Stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSummary {
    /// How the sessions are revoked.
    pub revoke: RevokeMethod,
    /// Number of affected users.
    pub users: u64,
    /// Active sessions in the whole table.
    pub all_active: u64,
    /// Rows in the whole table.
    pub all_rows: u64,
    /// Instant that time conditions refer to.
    #[serde(with = "timestamp::as_micros")]
    pub now: UtcTimestamp,
    /// Kind of locator that identifies a row.
    pub addressing: RowKeyKind,
    /// Sample of the rows.
    pub sample: Vec<RowPreview>,
    /// Notes to read before applying the plan.
    pub notes: Vec<String>,
    /// Archived rows that a restore leaves in the archive because they conflict with the table.
    pub left: u64,
    /// Restored tokens that several users had shared.
    pub shared: u64,
    /// Side effects on other tables, and triggers and rules that run.
    pub side_effects: Vec<SideEffect>,
    /// The plan is applied automatically, by configuration.
    pub by_policy: bool,
    /// Rows deleted, changed or restored; `None` until the plan is finished.
    pub done: Option<u64>,
    /// Session table with its schema; empty in plans of older versions.
    pub table: String,
    /// Title of the profile.
    pub framework: String,
    /// Logins that may stay valid although their rows are gone.
    pub not_ended: Vec<String>,
}

/// Row as shown to people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPreview {
    /// Token prefix.
    pub prefix: Option<String>,
    /// Row id.
    pub id: Option<String>,
    /// User id.
    pub user: Option<String>,
    /// Expiry, in microseconds since 1970.
    pub expires: Option<i64>,
    /// Name, handle or email address of the user, where the table of users has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub display: Vec<String>,
}

/// Confirmation given with the request to apply a plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confirmation<'a> {
    /// Name of the target, as typed by a person.
    pub typed_name: Option<&'a str>,
    /// The configuration applies the plan, without a person.
    pub by_policy: bool,
}

impl Selection {
    /// Returns the command for this selection.
    #[must_use]
    pub fn command_name(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "cleanup expired",
            Self::Orphaned => "cleanup orphaned",
            Self::Duplicates => "cleanup duplicates",
            Self::Excess { .. } => "cleanup excess",
            Self::User(_) => "revoke user",
            Self::Users(_) => "revoke users",
            Self::Session(_) => "revoke session",
            Self::Sessions(_) => "revoke sessions",
            Self::All => "revoke all",
            Self::Where(_) => "revoke where",
            Self::Restore { .. } => "archive restore",
        }
    }

    /// Returns how these rows are revoked, given the target's usual method. Expired and orphaned rows are always
    /// deleted, since nobody can use them.
    #[must_use]
    pub fn effective_revoke(&self, usual: &RevokeMethod) -> RevokeMethod {
        match self {
            Self::Expired { .. } | Self::Orphaned => RevokeMethod::Delete,
            _ => usual.clone(),
        }
    }

    /// Returns the rows to select at `now`; `None` for a restore, which reads the archive instead.
    #[must_use]
    pub fn row_selection(&self, now: UtcTimestamp) -> Option<RowSelection<'_>> {
        Some(match self {
            Self::Expired { grace } => RowSelection::Expired(now - *grace),
            Self::Orphaned => RowSelection::Orphaned,
            Self::Duplicates => RowSelection::Duplicates,
            Self::Excess { keep } => RowSelection::Excess(*keep),
            Self::User(id) => RowSelection::User(id),
            Self::Users(ids) => RowSelection::Users(ids),
            Self::Session(name) => RowSelection::IdOrPrefix(name),
            Self::Sessions(ids) => RowSelection::Ids(ids),
            Self::All => RowSelection::All,
            Self::Where(filter) => RowSelection::Matching(filter),
            Self::Restore { .. } => return None,
        })
    }
}

/// Returns the account behind a name in the audit log: an API token `ada (deploys)` belongs to `ada`.
#[must_use]
pub fn actor_account(actor: &str) -> &str {
    actor.split_once(" (").map_or(actor, |(account, _)| account)
}

/// Approves a plan as the second person. Returns `false` if the plan can no longer be applied.
///
/// # Errors
///
/// Fails if the store cannot be written.
pub fn approve_plan(db: Tx<'_>, id: &str, actor: &str, now: UtcTimestamp) -> Result<bool, StoreError> {
    // An interrupted plan may be resumed, so it can still be approved.
    let open =
        |plan: &plans::PlanRecord| matches!(plan.state, plans::PlanState::Planned | plans::PlanState::Begun);
    let Some(mut plan) = plans::find_plan(db, id)?.filter(open) else { return Ok(false) };
    let detail = serde_json::json!({ "plan": id, "target": plan.target, "rows": plan.row_count }).to_string();
    plan.approved_by = Some(actor_account(actor).to_owned());
    plans::upsert_plan(db, &plan)?;
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry { actor, action: "plan.approved", detail: &detail },
        now,
    )?;
    Ok(true)
}

impl ActionContext<'_> {
    /// Returns the exceeded limits if a second person must still approve the plan; `None` otherwise.
    #[must_use]
    pub fn missing_approval(&self, plan: &ActionPlan) -> Option<ConfirmationReasons> {
        let agreed =
            plan.record.approved_by.as_deref().is_some_and(|second| second != actor_account(self.actor));
        plan.confirmation_reasons(self.safety_limit())
            .filter(|_| self.config.actions.requires_approval && !agreed)
    }

    /// Returns the safety limit above which plans must be confirmed.
    #[must_use]
    pub fn safety_limit(&self) -> SafetyLimit {
        self.config.actions.safety_limit()
    }

    /// Loads a plan.
    ///
    /// # Errors
    ///
    /// Fails if no plan has this id, or the plan belongs to another target.
    pub fn load_plan(&self, id: &str) -> Result<ActionPlan, ActionError> {
        let now = self.clock.now();
        let plan = self.store.read(|db| ActionPlan::load(db, id, now))?;
        let plan = plan.ok_or_else(|| ActionError::NoPlan(id.to_owned()))?;
        // The address is compared too: the name may belong to another database by now.
        let here = (&self.target.name, self.target.address.to_string());
        if (&plan.record.target, &plan.record.address) != (here.0, &here.1) {
            let (plan, named) = (plan.record.target, here.0.clone());
            return Err(ActionError::OtherTarget { plan, named });
        }
        Ok(plan)
    }
}

impl ActionPlan {
    /// Decodes a stored plan. Returns `None` while its rows are being listed.
    ///
    /// # Errors
    ///
    /// Fails if the record was written by another version, or is damaged.
    pub fn from_record(record: plans::PlanRecord) -> Result<Option<Self>, StoreError> {
        if record.state == plans::PlanState::Making {
            return Ok(None);
        }
        let unreadable =
            |column: &str| StoreError::Undecodable { table: "plans".into(), column: column.into() };
        let selection = serde_json::from_str(&record.request).map_err(|_| unreadable("about"))?;
        let summary = serde_json::from_str(&record.summary).map_err(|_| unreadable("summary"))?;
        Ok(Some(Self { record, selection, summary, recently_ended: RecentImpact::default() }))
    }

    /// Loads a plan whose rows are listed, with the recent impact of its target's other plans.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn load(db: Tx<'_>, id: &str, now: UtcTimestamp) -> Result<Option<Self>, StoreError> {
        let plan = plans::find_plan(db, id)?.map(Self::from_record).transpose()?.flatten();
        plan.map(|plan| plan.with_recent_totals(db, now)).transpose()
    }

    /// Fills in the impact of the target's other plans of the last hour.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn with_recent_totals(mut self, db: Tx<'_>, now: UtcTimestamp) -> Result<Self, StoreError> {
        let others = plans::list_plans_applied_since(db, &self.record, now - safety_limit::LIMIT_WINDOW)?;
        let applied: Result<Vec<safety_limit::RecentPlan>, StoreError> =
            others.into_iter().map(Self::applied_totals).filter_map(Result::transpose).collect();
        self.recently_ended = RecentImpact::from_plans(now, self.record.created_at, &applied?);
        Ok(self)
    }

    /// Returns the impact that counts towards the limit of other plans; `None` for restores, which end nothing, and for
    /// scheduled cleanups, which have limits of their own.
    fn applied_totals(record: plans::PlanRecord) -> Result<Option<safety_limit::RecentPlan>, StoreError> {
        let Some(Self { record, selection, summary, .. }) = Self::from_record(record)? else {
            return Ok(None);
        };
        if matches!(selection, Selection::Restore { .. }) || summary.by_policy {
            return Ok(None);
        }
        // An unfinished plan may still end all of its rows.
        let is_finished = record.state == plans::PlanState::Done;
        let rows = summary.done.filter(|_| is_finished).unwrap_or(record.row_count);
        Ok(Some(safety_limit::RecentPlan {
            at: record.updated_at,
            is_finished,
            rows,
            active: record.active_sessions.min(rows),
        }))
    }

    /// Describes the table and framework; `None` for plans of older versions.
    #[must_use]
    pub fn describe_table(&self) -> Option<String> {
        let PlanSummary { table, framework, .. } = &self.summary;
        (!table.is_empty()).then(|| format!("{table} ({framework})"))
    }

    /// Rejects a plan whose table is no longer the recognized session table.
    ///
    /// # Errors
    ///
    /// Fails if the tables differ.
    fn require_table(&self, table: &sessionwatch_targets::mapping::TableName) -> Result<(), ActionError> {
        let (plan, now) = (self.summary.table.clone(), table.to_string());
        // Plans of older versions do not record their table.
        if plan.is_empty() || plan == now { Ok(()) } else { Err(ActionError::OtherTable { plan, now }) }
    }

    /// Returns the impact of the plan.
    #[must_use]
    pub fn impact(&self) -> PlanImpact {
        let PlanSummary { all_active: total_active, all_rows: total_rows, .. } = self.summary;
        PlanImpact {
            rows: self.record.row_count,
            active: self.record.active_sessions,
            total_active,
            total_rows,
        }
    }

    /// Returns the name to type as confirmation: the target's name, or the database name if only an address names the
    /// target, since no option takes an address that may contain a password.
    #[must_use]
    pub fn confirmation_name(&self) -> &str {
        let name = &self.record.target;
        let Some((_, address)) = name.split_once("://") else { return name };
        let database = address.split_once('/').map_or("", |(_, database)| database);
        let database = database.split('?').next().unwrap_or_default();
        if database.is_empty() { "target" } else { database }
    }

    /// Returns the exceeded limits; `None` if the plan needs no confirmation.
    #[must_use]
    pub fn confirmation_reasons(&self, limit: SafetyLimit) -> Option<ConfirmationReasons> {
        let reach = match self.selection {
            // A restore logs users in again, and revokes nothing.
            Selection::Restore { .. } => None,
            _ => limit.check(self.impact(), self.recently_ended),
        };
        let shared = (self.summary.shared > 0).then_some(LimitExceeded::SharedTokens(self.summary.shared));
        let further = self.summary.side_effects.iter().filter(|effect| effect.changes_other_rows()).count();
        let further = (further > 0).then_some(LimitExceeded::SideEffects(further as u64));
        let reasons: Vec<LimitExceeded> = reach.into_iter().chain(shared).chain(further).collect();
        (!reasons.is_empty()).then_some(ConfirmationReasons(reasons))
    }

    /// Returns whether the plan is older than `plan_ttl`.
    #[must_use]
    pub fn is_stale(&self, plan_ttl: SignedDuration, now: UtcTimestamp) -> bool {
        let age = now.duration_since(self.record.updated_at);
        // A plan from the future shows that the clock was set back: its true age is unknown.
        age > plan_ttl || age < -plan_ttl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_decoded_is_an_error() {
        let stored = |about: &str, summary: &str| plans::PlanRecord {
            id: "p".into(),
            target: "app".into(),
            address: "a".into(),
            request: about.into(),
            created_at: UtcTimestamp::MIN,
            created_by: "ada".into(),
            updated_at: UtcTimestamp::MIN,
            state: plans::PlanState::Planned,
            row_count: 0,
            active_sessions: 0,
            summary: summary.into(),
            approved_by: None,
        };
        let summary = serde_json::to_string(&PlanSummary::default()).unwrap();
        assert!(ActionPlan::from_record(stored("\"orphaned\"", &summary)).unwrap().is_some());
        for (about, written, column) in [
            ("", summary.as_str(), "about"),
            ("\"Everything\"", &summary, "about"),
            ("\"orphaned\"", "", "summary"),
        ] {
            let read = ActionPlan::from_record(stored(about, written));
            assert!(
                matches!(read, Err(StoreError::Undecodable { column: named, .. }) if named == column),
                "{about} {written}"
            );
        }
    }
}
