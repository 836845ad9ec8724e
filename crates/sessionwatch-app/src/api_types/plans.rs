//! Plans and what they removed, as programs read them.

use serde::Serialize;
use serde_json::Value;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{StoreError, archived::Holding, plans};
use sessionwatch_targets::side_effects::SideEffect;
use utoipa::ToSchema;

use super::{At, json};
use crate::{config::Config, remediation};

/// A row that a plan names.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Row {
    /// The token prefix: at most 8 characters, and a third of the token.
    token_prefix: Option<String>,
    id: Option<String>,
    user: Option<String>,
    expires_at: Option<At>,
}

impl Row {
    /// The document.
    #[must_use]
    pub fn of(line: &remediation::Line) -> Self {
        Self {
            token_prefix: line.prefix.clone(),
            id: line.id.clone(),
            user: line.user.clone(),
            expires_at: line.expires.and_then(Instant::from_micros).map(At),
        }
    }
}

/// What an action would touch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Plan {
    id: String,
    target: String,
    /// The command that asks for the same.
    action: &'static str,
    /// What was asked for.
    about: Value,
    /// The table of sessions, with its schema.
    table: String,
    /// The title of the profile by which that table is read.
    framework: String,
    /// How sessions are ended: `delete`, `expire`, or the column that is set.
    revoke: Value,
    made_at: At,
    made_by: String,
    /// From then on it cannot be carried out.
    stale_at: At,
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
    sample: Vec<Row>,
    notes: Vec<String>,
    /// What happens besides: to other tables, or by triggers and rules.
    side_effects: Vec<SideEffect>,
    /// What may go on working though its row is gone.
    not_ended: Vec<String>,
}

impl Plan {
    /// The document.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON.
    pub fn of(config: &Config, plan: &remediation::Plan) -> Result<Self, StoreError> {
        let (kept, summary) = (&plan.kept, &plan.summary);
        Ok(Self {
            id: kept.id.clone(),
            target: kept.target.clone(),
            action: plan.selection.name(),
            about: json(&plan.selection)?,
            table: summary.table.clone(),
            framework: summary.framework.clone(),
            revoke: json(&summary.revoke)?,
            made_at: At(kept.made_at),
            made_by: kept.made_by.clone(),
            stale_at: At(kept.touched_at + config.actions.stale_after),
            rows: kept.rows,
            all_rows: summary.all_rows,
            active: kept.active,
            all_active: summary.all_active,
            users: summary.users,
            needs_confirmation: plan.braked(config.actions.brake()).map(|braked| braked.to_string()),
            sample: summary.sample.iter().map(Row::of).collect(),
            notes: summary.notes.clone(),
            side_effects: summary.side_effects.clone(),
            not_ended: summary.not_ended.clone(),
        })
    }
}

/// What a plan removed and the archive holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Archive {
    plan: String,
    target: String,
    /// The command that removed it.
    action: &'static str,
    /// Rows that can be put back.
    rows: u64,
    /// Rows that were.
    restored: u64,
    at: At,
    /// When it is removed for good.
    purge_at: At,
    /// To whom it is sealed.
    recipient: String,
}

impl Archive {
    /// The document.
    ///
    /// # Errors
    ///
    /// If the plan cannot be read.
    pub fn of(holding: &Holding, made: &[plans::Plan]) -> Result<Self, StoreError> {
        let plan = made.iter().find(|plan| plan.id == holding.plan).cloned();
        let plan = plan.map(remediation::Plan::read).transpose()?.flatten();
        let action = plan.map_or("", |plan| plan.selection.name());
        Ok(Self {
            plan: holding.plan.clone(),
            target: holding.target.clone(),
            action,
            rows: holding.rows,
            restored: holding.restored,
            at: At(holding.at),
            purge_at: At(holding.purge_at),
            recipient: holding.recipient.clone(),
        })
    }

    /// The command that removed it.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}
