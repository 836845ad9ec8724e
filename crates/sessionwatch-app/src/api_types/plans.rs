//! JSON types of plans and archives.

use serde::Serialize;
use serde_json::Value;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{StoreError, archive_batches::ArchiveSummary, plans};
use sessionwatch_targets::side_effects::SideEffect;
use utoipa::ToSchema;

use super::{Rfc3339, to_json_value};
use crate::{config::Config, remediation};

/// Row of a plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanRowDto {
    /// Token prefix: at most 8 characters, and at most a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<Rfc3339>,
}

impl PlanRowDto {
    /// Creates the JSON type from a preview row.
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

/// Plan: the exact rows that an action would touch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanDto {
    id: String,
    target: String,
    /// Command that creates the same plan.
    action: &'static str,
    /// Selection of the rows.
    selection: Value,
    /// Session table, with its schema.
    table: String,
    /// Title of the table's profile.
    framework: String,
    /// Method of revoking sessions: `delete`, `expire`, or the flag column to set.
    revoke: Value,
    created_at: Rfc3339,
    created_by: String,
    /// Time from which the plan can no longer be applied.
    expires_at: Rfc3339,
    rows: u64,
    /// Number of rows in the table.
    all_rows: u64,
    /// Number of active sessions among the rows.
    active: u64,
    /// Number of active sessions in the table.
    all_active: u64,
    users: u64,
    /// Reason why the plan must be confirmed with the target name; null if no confirmation is needed.
    needs_confirmation: Option<String>,
    /// Some of the rows.
    sample: Vec<PlanRowDto>,
    notes: Vec<String>,
    /// Effects on other tables, and triggers and rules that will run.
    side_effects: Vec<SideEffect>,
    /// Logins that may stay valid although their session row is gone.
    not_revoked: Vec<String>,
}

impl PlanDto {
    /// Creates the JSON type from a plan.
    ///
    /// # Errors
    ///
    /// If the plan cannot be represented in JSON.
    pub fn from_plan(config: &Config, plan: &remediation::ActionPlan) -> Result<Self, StoreError> {
        let (record, summary) = (&plan.record, &plan.summary);
        Ok(Self {
            id: record.id.clone(),
            target: record.target.clone(),
            action: plan.selection.command_name(),
            selection: to_json_value(&plan.selection)?,
            table: summary.table.clone(),
            framework: summary.framework.clone(),
            revoke: to_json_value(&summary.revoke)?,
            created_at: Rfc3339(record.created_at),
            created_by: record.created_by.clone(),
            expires_at: Rfc3339(record.updated_at + config.actions.plan_ttl),
            rows: record.row_count,
            all_rows: summary.all_rows,
            active: record.active_sessions,
            all_active: summary.all_active,
            users: summary.users,
            needs_confirmation: plan
                .confirmation_reasons(config.actions.safety_limit())
                .map(|exceeded| exceeded.to_string()),
            sample: summary.sample.iter().map(PlanRowDto::from_preview).collect(),
            notes: summary.notes.clone(),
            side_effects: summary.side_effects.clone(),
            not_revoked: summary.not_ended.clone(),
        })
    }
}

/// Archive of the rows that a plan removed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ArchiveDto {
    plan: String,
    target: String,
    /// Command that removed the rows.
    action: &'static str,
    /// Number of rows that can be restored.
    rows: u64,
    /// Number of restored rows.
    restored: u64,
    at: Rfc3339,
    /// Time at which the archive is deleted permanently.
    purge_at: Rfc3339,
    /// Public key for which the archive is encrypted.
    recipient: String,
}

impl ArchiveDto {
    /// Creates the JSON type from a summary and the list of plans.
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

    /// Returns the command that removed the rows; empty if the plan is gone.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}
