//! Acting: plan, then carry out exactly that plan. A plan is made with the credentials of the watch and touches nothing;
//! carrying it out needs credentials of its own, seals each row into the archive before it goes, and checks afterwards.

pub mod apply;
pub mod archive_keys;
pub mod authorization;
pub mod error;
pub mod executor;
pub mod investigation;
pub mod job_control;
pub mod plan_notes;
pub mod planner;
pub mod planning_session;
pub mod restore;

mod apply_report;
mod recovery;
mod restore_preview;
mod run;
mod side_effects;

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
    investigation::{LeakedRows, check_readiness, count_reappeared, find_leaked_rows},
    job_control::JobControl,
    planner::create_plan,
    recovery::recover_interrupted,
};

/// What an action is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Rows that ended longer ago than that.
    Expired {
        /// Since their end.
        #[serde(rename = "grace_us", with = "as_micros")]
        grace: SignedDuration,
    },
    /// Rows whose user does not exist.
    Orphaned,
    /// Rows on tokens that occur more than once: all of them where several users share the token, else all but the newest.
    Duplicates,
    /// Active sessions of users with more than so many, beyond that number.
    Excess {
        /// So many of each user's are kept: those that end last.
        keep: u64,
    },
    /// Every row of a user.
    User(String),
    /// Every row of some users.
    Users(Vec<String>),
    /// The row of that id, or on a token that begins so.
    Session(String),
    /// Every row.
    All,
    /// Rows that fit.
    Where(SelectionFilter),
    /// Rows of the archive, to be put back.
    Restore {
        /// The plan that removed them.
        archive: String,
        /// Only those of this user.
        user: Option<String>,
    },
}

/// With what an action is carried out.
#[derive(Clone, Copy, Debug)]
pub struct ActionContext<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The target.
    pub target: &'a Target,
    /// Where plans and archives are.
    pub store: &'a Store,
    /// The time.
    pub clock: &'a Clock,
    /// Who acts.
    pub actor: &'a str,
}

/// A plan as people see it; its rows are in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionPlan {
    /// What is kept of it.
    pub record: plans::PlanRecord,
    /// What was asked for.
    pub selection: Selection,
    /// The rest.
    pub summary: PlanSummary,
    /// What other plans of the target ended within the last hour.
    pub recently_ended: RecentImpact,
}

/// What is known of a plan besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSummary {
    /// How the rows are ended.
    pub revoke: RevokeMethod,
    /// Users whose sessions it touches.
    pub users: u64,
    /// Active sessions in the whole table.
    pub all_active: u64,
    /// Rows in the whole table.
    pub all_rows: u64,
    /// The instant to which conditions refer.
    #[serde(with = "timestamp::as_micros")]
    pub now: UtcTimestamp,
    /// What the locators of its rows are.
    pub addressing: RowKeyKind,
    /// Some of the rows.
    pub sample: Vec<RowPreview>,
    /// What a person should know before it is carried out.
    pub notes: Vec<String>,
    /// Archived rows that a restore leaves in the archive, since something is in the way of them.
    pub left: u64,
    /// Tokens that a restore makes valid again, and that several users had shared.
    pub shared: u64,
    /// What happens besides to other tables, or by triggers and rules.
    pub side_effects: Vec<SideEffect>,
    /// The configuration has it applied, without a person.
    pub by_policy: bool,
    /// Rows that it ended or put back; nothing until it is done.
    pub done: Option<u64>,
    /// The table of sessions, with its schema; empty in plans of older programs.
    pub table: String,
    /// How that table was read: the title of the profile.
    pub framework: String,
    /// What may go on working though its row is gone.
    pub not_ended: Vec<String>,
}

/// A row for a person to recognise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPreview {
    /// The first characters of the token.
    pub prefix: Option<String>,
    /// The row's id.
    pub id: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The end in microseconds.
    pub expires: Option<i64>,
    /// Name, handle or email address of the user, where the table of users has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub display: Vec<String>,
}

/// What a person gave along with the wish to carry out a plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confirmation<'a> {
    /// The name of the target, typed.
    pub typed_name: Option<&'a str>,
    /// The configuration says that it is done, without a person.
    pub by_policy: bool,
}

impl Selection {
    /// The command that asks for it.
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
            Self::All => "revoke all",
            Self::Where(_) => "revoke where",
            Self::Restore { .. } => "archive restore",
        }
    }

    /// How these rows are ended, where sessions are ended so: what nobody can use any more is always removed.
    #[must_use]
    pub fn effective_revoke(&self, usual: &RevokeMethod) -> RevokeMethod {
        match self {
            Self::Expired { .. } | Self::Orphaned => RevokeMethod::Delete,
            _ => usual.clone(),
        }
    }

    /// The rows that are meant.
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
            Self::All => RowSelection::All,
            Self::Where(filter) => RowSelection::Matching(filter),
            Self::Restore { .. } => return None,
        })
    }
}

/// The account behind a name in the audit trail, where that is of a program: `ada (deploys)` acts for `ada`.
#[must_use]
pub fn actor_account(actor: &str) -> &str {
    actor.split_once(" (").map_or(actor, |(account, _)| account)
}

/// Agrees to a plan as the second person: whether it can still be carried out.
///
/// # Errors
///
/// If it cannot be written.
pub fn approve_plan(db: Tx<'_>, id: &str, actor: &str, now: UtcTimestamp) -> Result<bool, StoreError> {
    let open =
        |plan: &plans::PlanRecord| matches!(plan.state, plans::PlanState::Planned | plans::PlanState::Begun);
    let Some(mut plan) = plans::find_plan(db, id)?.filter(open) else { return Ok(false) };
    let detail = serde_json::json!({ "plan": id, "target": plan.target, "rows": plan.row_count }).to_string();
    plan.approved_by = Some(actor_account(actor).to_owned());
    plans::upsert_plan(db, &plan)?;
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry { actor, action: "plan-approved", detail: &detail },
        now,
    )?;
    Ok(true)
}

impl ActionContext<'_> {
    /// Who would have to agree to a plan besides whoever carries it out, and has not: why it reaches far.
    #[must_use]
    pub fn missing_approval(&self, plan: &ActionPlan) -> Option<ConfirmationReasons> {
        let agreed =
            plan.record.approved_by.as_deref().is_some_and(|second| second != actor_account(self.actor));
        plan.exceeded_limits(self.safety_limit()).filter(|_| self.config.actions.requires_approval && !agreed)
    }

    /// How far a plan may reach without being confirmed.
    #[must_use]
    pub fn safety_limit(&self) -> SafetyLimit {
        self.config.actions.safety_limit()
    }

    /// A plan that was made before.
    ///
    /// # Errors
    ///
    /// If there is none of that id, or it is of another target.
    pub fn load_plan(&self, id: &str) -> Result<ActionPlan, ActionError> {
        let now = self.clock.now();
        let plan = self.store.read(|db| ActionPlan::load(db, id, now))?;
        let plan = plan.ok_or_else(|| ActionError::NoPlan(id.to_owned()))?;
        let here = (&self.target.name, self.target.address.to_string());
        if (&plan.record.target, &plan.record.address) != (here.0, &here.1) {
            let (plan, named) = (plan.record.target, here.0.clone());
            return Err(ActionError::OtherTarget { plan, named });
        }
        Ok(plan)
    }
}

impl ActionPlan {
    /// Reads a plan as it is kept. Returns `None` while its rows are being listed.
    ///
    /// # Errors
    ///
    /// If it was written by another version, or is damaged.
    pub fn from_record(kept: plans::PlanRecord) -> Result<Option<Self>, StoreError> {
        if kept.state == plans::PlanState::Making {
            return Ok(None);
        }
        let unreadable =
            |column: &str| StoreError::Undecodable { table: "plans".into(), column: column.into() };
        let selection = serde_json::from_str(&kept.request).map_err(|_| unreadable("about"))?;
        let summary = serde_json::from_str(&kept.summary).map_err(|_| unreadable("summary"))?;
        Ok(Some(Self { record: kept, selection, summary, recently_ended: RecentImpact::default() }))
    }

    /// The plan of that id, once its rows are listed, with what others of its target ended lately.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn load(db: Tx<'_>, id: &str, now: UtcTimestamp) -> Result<Option<Self>, StoreError> {
        let plan = plans::find_plan(db, id)?.map(Self::from_record).transpose()?.flatten();
        plan.map(|plan| plan.with_recent_totals(db, now)).transpose()
    }

    /// The same plan, with what others of its target ended within the last hour.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn with_recent_totals(mut self, db: Tx<'_>, now: UtcTimestamp) -> Result<Self, StoreError> {
        let others = plans::list_plans_applied_since(db, &self.record, now - safety_limit::LIMIT_WINDOW)?;
        let applied: Result<Vec<safety_limit::RecentPlan>, StoreError> =
            others.into_iter().map(Self::applied_totals).filter_map(Result::transpose).collect();
        self.recently_ended = RecentImpact::from_plans(now, self.record.created_at, &applied?);
        Ok(self)
    }

    /// What a plan counts as for others; `None` for one that ends nothing, or that the configuration limits.
    fn applied_totals(kept: plans::PlanRecord) -> Result<Option<safety_limit::RecentPlan>, StoreError> {
        let Some(Self { record: kept, selection, summary, .. }) = Self::from_record(kept)? else {
            return Ok(None);
        };
        if matches!(selection, Selection::Restore { .. }) || summary.by_policy {
            return Ok(None);
        }
        let done = kept.state == plans::PlanState::Done;
        let rows = summary.done.filter(|_| done).unwrap_or(kept.row_count);
        Ok(Some(safety_limit::RecentPlan {
            at: kept.updated_at,
            is_finished: done,
            rows,
            active: kept.active_sessions.min(rows),
        }))
    }

    /// The table and the framework that it is about, in words; `None` for a plan of an older program.
    #[must_use]
    pub fn describe_table(&self) -> Option<String> {
        let PlanSummary { table, framework, .. } = &self.summary;
        (!table.is_empty()).then(|| format!("{table} ({framework})"))
    }

    /// Refuses to go on with a plan whose table is not the one that is recognised now.
    ///
    /// # Errors
    ///
    /// If it is another one.
    fn require_table(&self, table: &sessionwatch_targets::mapping::TableName) -> Result<(), ActionError> {
        let (plan, now) = (self.summary.table.clone(), table.to_string());
        if plan.is_empty() || plan == now { Ok(()) } else { Err(ActionError::OtherTable { plan, now }) }
    }

    /// How far it reaches.
    #[must_use]
    pub fn impact(&self) -> PlanImpact {
        let PlanSummary { all_active, all_rows, .. } = self.summary;
        PlanImpact {
            rows: self.record.row_count,
            active: self.record.active_sessions,
            total_active: all_active,
            total_rows: all_rows,
        }
    }

    /// What a person types to confirm it: the name of the target. Of a server that only an address names, it is that of the
    /// database, since no option takes an address that may hold a password.
    #[must_use]
    pub fn confirmation_name(&self) -> &str {
        let name = &self.record.target;
        let Some((_, address)) = name.split_once("://") else { return name };
        let database = address.split_once('/').map_or("", |(_, database)| database);
        let database = database.split('?').next().unwrap_or_default();
        if database.is_empty() { "target" } else { database }
    }

    /// Why it has to be confirmed, if it has to be.
    #[must_use]
    pub fn exceeded_limits(&self, limit: SafetyLimit) -> Option<ConfirmationReasons> {
        let reach = match self.selection {
            // Putting back logs in whoever had been logged in, and takes nothing from anybody.
            Selection::Restore { .. } => None,
            _ => limit.check(self.impact(), self.recently_ended),
        };
        let shared = (self.summary.shared > 0).then_some(LimitExceeded::SharedTokens(self.summary.shared));
        let further = self.summary.side_effects.iter().filter(|effect| effect.changes_other_rows()).count();
        let further = (further > 0).then_some(LimitExceeded::SideEffects(further as u64));
        let reasons: Vec<LimitExceeded> = reach.into_iter().chain(shared).chain(further).collect();
        (!reasons.is_empty()).then_some(ConfirmationReasons(reasons))
    }

    /// Whether it is too old to be carried out.
    #[must_use]
    pub fn is_stale(&self, stale_after: SignedDuration, now: UtcTimestamp) -> bool {
        let age = now.duration_since(self.record.updated_at);
        age > stale_after || age < -stale_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_that_no_version_wrote_are_an_error() {
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
