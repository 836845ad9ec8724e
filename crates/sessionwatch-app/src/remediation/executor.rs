//! What carrying out a plan needs, whatever its kind: one detection of the layout, one connection to read and one to write,
//! and a record of the begin and the end.

use sessionwatch_archive::{Identity, Recipient};
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{audit, plans};
use sessionwatch_targets::{
    read_session::PooledConnection,
    scope::QueryScope,
    write_session::{HiddenRows, WriteSession},
};

use super::{
    ActionContext, ActionError, ActionPlan, Confirmation, JobControl,
    apply_report::ApplyReport,
    authorization::{ApplyCircumstances, require_confirmation},
    error::ORPHANS_UNCERTAIN_REASON,
    planner,
    planning_session::{ActionTarget, write_address},
};

/// What opens and seals the archive.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArchiveKeys<'a> {
    /// To whom removed rows are sealed.
    pub recipient: Option<&'a Recipient>,
    /// What opens sealed rows.
    pub identity: Option<&'a Identity>,
}

/// Carries plans out.
#[derive(Clone, Copy, Debug)]
pub struct PlanExecutor<'a> {
    /// Target, store, clock and actor.
    pub context: ActionContext<'a>,
    /// What opens and seals the archive.
    pub keys: ArchiveKeys<'a>,
    /// What a person gave along with the wish.
    pub confirmation: Confirmation<'a>,
    /// How the run is steered from outside.
    pub control: &'a JobControl,
}

/// A target on which a plan can be carried out.
pub(super) struct PreparedTarget {
    pub(super) target: ActionTarget,
    /// The connection with the credentials of the watch, between two transactions.
    pub(super) idle_connection: Option<PooledConnection>,
    pub(super) write_session: WriteSession,
}

impl<'a> PlanExecutor<'a> {
    /// To whom removed rows are sealed.
    pub(super) fn recipient(&self) -> Result<&'a Recipient, ActionError> {
        self.keys.recipient.ok_or(ActionError::Unexpected("no recipient of the archive was given"))
    }

    /// What opens sealed rows.
    pub(super) fn identity(&self) -> Result<&'a Identity, ActionError> {
        self.keys.identity.ok_or(ActionError::Unexpected(
            "that plan puts rows back: `sessionwatch archive restore` carries it out",
        ))
    }

    /// Detects the layout, makes sure that the plan is about it, and connects to write.
    pub(super) async fn prepare(
        &self,
        plan: &ActionPlan,
        now: Option<UtcTimestamp>,
    ) -> Result<PreparedTarget, ActionError> {
        let address = write_address(self.context)?;
        let (known, reading) = ActionTarget::load_with_connection(self.context, now).await?;
        plan.require_table(&known.mapping().sessions)?;
        let writing = WriteSession::open(address, self.context.target.limits, known.key).await?;
        Ok(PreparedTarget { target: known, idle_connection: reading, write_session: writing })
    }

    /// Marks a plan as begun, unless others that were begun meanwhile make it one that has to be confirmed.
    pub(super) fn record_start(&self, plan: &mut ActionPlan) -> Result<(), ActionError> {
        let circumstances = ApplyCircumstances::from_context(self.context, self.confirmation);
        let now = circumstances.now;
        plan.summary.by_policy = self.confirmation.by_policy;
        plan.record.summary = planner::encode_summary(&plan.summary)?;
        plan.record.state = plans::PlanState::Begun;
        plan.record.updated_at = now;
        let detail = serde_json::json!({ "plan": plan.record.id, "target": plan.record.target, "rows": plan.record.row_count });
        self.context.store.write(|db| {
            let plan = plan.clone().with_recent_totals(db, now)?;
            let confirmed = require_confirmation(&plan, &circumstances);
            if confirmed.is_ok() {
                plans::upsert_plan(db, &plan.record)?;
                audit::insert_audit_entry(
                    db,
                    audit::NewAuditEntry {
                        actor: self.context.actor,
                        action: "plan.started",
                        detail: &detail.to_string(),
                    },
                    now,
                )?;
            }
            Ok(confirmed)
        })?
    }

    /// Notes what came of a plan.
    pub(super) fn record_end(&self, plan: &mut ActionPlan, applied: &ApplyReport) -> Result<(), ActionError> {
        let now = self.context.clock.now();
        plan.record.updated_at = now;
        if applied.remaining == 0 {
            plan.record.state = plans::PlanState::Done;
            plan.summary.done = Some(applied.done + applied.done_earlier);
            plan.record.summary = planner::encode_summary(&plan.summary)?;
        }
        let detail = serde_json::json!({
            "plan": plan.record.id,
            "target": plan.record.target,
            "action": plan.selection.command_name(),
            "done": applied.done,
            "skipped": applied.skipped,
            "remaining": applied.remaining,
            "left": applied.still_matching,
            "dependents": applied.dependents,
        });
        self.context.store.write(|db| {
            plans::upsert_plan(db, &plan.record)?;
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry {
                    actor: self.context.actor,
                    action: "plan.applied",
                    detail: &detail.to_string(),
                },
                now,
            )
        })?;
        Ok(())
    }
}

/// Refuses to write by a role that does not see every row it has to decide about.
pub(super) fn require_visible_rows(
    scope: &QueryScope<'_>,
    hidden: &HiddenRows,
    orphans: bool,
) -> Result<(), ActionError> {
    let mapping = &scope.layout.candidate.mapping;
    let hidden_rows = |table, consequence| Err(ActionError::Hidden { table, role: "write", consequence });
    let hides = |name, consequence| hidden_rows(scope.layout.quote_table(name), consequence);
    if let Some(table) = hidden.dependents.first() {
        return hidden_rows(table.clone(), "rows that go with sessions could be lost");
    }
    match &mapping.users {
        _ if hidden.sessions => {
            hides(&mapping.sessions, "rows could neither be removed nor put back for certain")
        }
        Some(users) if hidden.users && orphans => hides(&users.table, ORPHANS_UNCERTAIN_REASON),
        _ => Ok(()),
    }
}
