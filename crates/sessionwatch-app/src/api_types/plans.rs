//! Plans and what they removed, as programs read them.

use serde::Serialize;
use serde_json::Value;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{StoreError, archive_batches::ArchiveSummary, plans};
use sessionwatch_targets::side_effects::SideEffect;
use utoipa::ToSchema;

use super::{Rfc3339, to_json_value};
use crate::{config::Config, remediation};

/// A row that a plan names.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanRowDto {
    /// The token prefix: at most 8 characters, and a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<Rfc3339>,
}

impl PlanRowDto {
    /// The document.
    #[must_use]
    pub fn from_preview(preview: &remediation::RowPreview) -> Self {
        Self {
            token_prefix: preview.prefix.clone(),
            id: preview.id.clone(),
            user: preview.user.clone(),
            expires_at: preview.expires.and_then(UtcTimestamp::from_micros).map(Rfc3339),
        }
    }
}

/// What an action would touch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanDto {
    id: String,
    target: String,
    /// The command that asks for the same.
    action: &'static str,
    /// What was asked for.
    selection: Value,
    /// The table of sessions, with its schema.
    table: String,
    /// The title of the profile by which that table is read.
    framework: String,
    /// How sessions are ended: `delete`, `expire`, or the column that is set.
    revoke: Value,
    created_at: Rfc3339,
    created_by: String,
    /// From then on it cannot be carried out.
    expires_at: Rfc3339,
    rows: u64,
    /// Rows of the whole table.
    all_rows: u64,
    /// Active sessions among the rows.
    active: u64,
    /// Active sessions of the whole table.
    all_active: u64,
    users: u64,
    /// Why it has to be confirmed with the name of the target, if it has to be.
    needs_confirmation: Option<String>,
    /// Some of the rows.
    sample: Vec<PlanRowDto>,
    notes: Vec<String>,
    /// What happens besides: to other tables, or by triggers and rules.
    side_effects: Vec<SideEffect>,
    /// What may go on working though its row is gone.
    not_revoked: Vec<String>,
}

impl PlanDto {
    /// The document.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON.
    pub fn from_plan(config: &Config, plan: &remediation::ActionPlan) -> Result<Self, StoreError> {
        let (kept, summary) = (&plan.record, &plan.summary);
        Ok(Self {
            id: kept.id.clone(),
            target: kept.target.clone(),
            action: plan.selection.command_name(),
            selection: to_json_value(&plan.selection)?,
            table: summary.table.clone(),
            framework: summary.framework.clone(),
            revoke: to_json_value(&summary.revoke)?,
            created_at: Rfc3339(kept.created_at),
            created_by: kept.created_by.clone(),
            expires_at: Rfc3339(kept.updated_at + config.actions.plan_ttl),
            rows: kept.row_count,
            all_rows: summary.all_rows,
            active: kept.active_sessions,
            all_active: summary.all_active,
            users: summary.users,
            needs_confirmation: plan
                .exceeded_limits(config.actions.safety_limit())
                .map(|braked| braked.to_string()),
            sample: summary.sample.iter().map(PlanRowDto::from_preview).collect(),
            notes: summary.notes.clone(),
            side_effects: summary.side_effects.clone(),
            not_revoked: summary.not_ended.clone(),
        })
    }
}

/// What a plan removed and the archive holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ArchiveDto {
    plan: String,
    target: String,
    /// The command that removed it.
    action: &'static str,
    /// Rows that can be put back.
    rows: u64,
    /// Rows that were.
    restored: u64,
    at: Rfc3339,
    /// When it is removed for good.
    purge_at: Rfc3339,
    /// To whom it is sealed.
    recipient: String,
}

impl ArchiveDto {
    /// The document.
    ///
    /// # Errors
    ///
    /// If the plan cannot be read.
    pub fn from_summary(summary: &ArchiveSummary, plans: &[plans::PlanRecord]) -> Result<Self, StoreError> {
        let plan = plans.iter().find(|plan| plan.id == summary.plan).cloned();
        let plan = plan.map(remediation::ActionPlan::from_record).transpose()?.flatten();
        let action = plan.map_or("", |plan| plan.selection.command_name());
        Ok(Self {
            plan: summary.plan.clone(),
            target: summary.target.clone(),
            action,
            rows: summary.restorable_rows,
            restored: summary.restored_rows,
            at: Rfc3339(summary.first_sealed_at),
            purge_at: Rfc3339(summary.purge_at),
            recipient: summary.recipient.clone(),
        })
    }

    /// The command that removed it.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}
