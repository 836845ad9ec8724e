//! Common parts of applying a plan: detection of the layout, the connections to read and write, and the audit log
//! entries of start and end.

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
    action_target::ActionTarget,
    apply_report::ApplyReport,
    authorization::{ApplyCircumstances, require_confirmation},
    error::ORPHANS_UNCERTAIN_REASON,
    planner,
    write_credentials::write_address,
};

/// Keys of the archive.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArchiveKeys<'a> {
    /// Public key that archived rows are encrypted to.
    pub recipient: Option<&'a Recipient>,
    /// Private key that decrypts archived rows.
    pub identity: Option<&'a Identity>,
}

/// Applies plans.
#[derive(Clone, Copy, Debug)]
pub struct PlanExecutor<'a> {
    /// Target, store, clock and actor.
    pub context: ActionContext<'a>,
    /// Keys of the archive.
    pub keys: ArchiveKeys<'a>,
    /// Confirmation given with the request.
    pub confirmation: Confirmation<'a>,
    /// Stop and pause signals, and progress.
    pub control: &'a JobControl,
}

/// Target that is ready to be changed.
pub(super) struct PreparedTarget {
    pub(super) target: ActionTarget,
    /// Connection of the watch role, between two transactions.
    pub(super) idle_connection: Option<PooledConnection>,
    pub(super) write_session: WriteSession,
}

impl<'a> PlanExecutor<'a> {
    pub(super) fn recipient(&self) -> Result<&'a Recipient, ActionError> {
        self.keys.recipient.ok_or(ActionError::Unexpected("the recipient of the archive is missing"))
    }

    pub(super) fn identity(&self) -> Result<&'a Identity, ActionError> {
        self.keys.identity.ok_or(ActionError::Unexpected(
            "this is a restore plan, and the private key of the archive is missing",
        ))
    }

    /// Detects the layout, rejects a plan for another table, and connects as the write role.
    pub(super) async fn prepare(
        &self,
        plan: &ActionPlan,
        now: Option<UtcTimestamp>,
    ) -> Result<PreparedTarget, ActionError> {
        let address = write_address(self.context)?;
        let (target, idle_connection) = ActionTarget::load_with_connection(self.context, now).await?;
        plan.require_table(&target.mapping().sessions)?;
        let write_session = WriteSession::open(address, self.context.target.limits, target.key).await?;
        Ok(PreparedTarget { target, idle_connection, write_session })
    }

    /// Marks a plan as started, unless plans that started meanwhile make it exceed the safety limit.
    pub(super) fn record_start(&self, plan: &mut ActionPlan) -> Result<(), ActionError> {
        let circumstances = ApplyCircumstances::from_context(self.context, self.confirmation);
        let now = circumstances.now;
        plan.summary.by_policy = self.confirmation.by_policy;
        plan.record.summary = planner::encode_summary(&plan.summary)?;
        plan.record.state = plans::PlanState::Begun;
        plan.record.updated_at = now;
        let detail = serde_json::json!({
            "plan": plan.record.id, "target": plan.record.target, "rows": plan.record.row_count,
        });
        self.context.store.write(|db| {
            // Checked again in the transaction that records the start: two large plans must not both pass.
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

    /// Records the result of a run in the plan and the audit log.
    pub(super) fn record_end(&self, plan: &mut ActionPlan, applied: &ApplyReport) -> Result<(), ActionError> {
        let now = self.context.clock.now();
        plan.record.updated_at = now;
        if applied.remaining == 0 {
            // A stopped run stays in its state, so that it can be resumed.
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
            "still_matching": applied.still_matching,
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

/// Rejects a write role that does not see every row the change depends on.
pub(super) fn require_visible_rows(
    scope: &QueryScope<'_>,
    hidden: &HiddenRows,
    orphans: bool,
) -> Result<(), ActionError> {
    let mapping = &scope.layout.candidate.mapping;
    let hidden_rows = |table, consequence| Err(ActionError::Hidden { table, role: "write", consequence });
    let hides = |name, consequence| hidden_rows(scope.layout.quote_table(name), consequence);
    if let Some(table) = hidden.dependents.first() {
        return hidden_rows(table.clone(), "dependent rows could be deleted without being archived");
    }
    match &mapping.users {
        _ if hidden.sessions => {
            hides(&mapping.sessions, "rows could be missed when they are revoked or restored")
        }
        Some(users) if hidden.users && orphans => hides(&users.table, ORPHANS_UNCERTAIN_REASON),
        _ => Ok(()),
    }
}
