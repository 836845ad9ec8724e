//! Side effects of a plan on other tables, counted when the plan is created and compared when it is applied.

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::{
    layout::Layout,
    mapping::RevokeMethod,
    read_session::ReadSession,
    row_selection::SelectionQuery,
    scope::QueryScope,
    side_effects::{ForeignKeyEdge, ReachedSideEffect, RowEvent, SideEffect, SideEffectKind},
    write_session::WriteSession,
};

use super::{ActionError, planning_session::PlanningSession};

/// Possible side effects, according to the system catalog.
pub(super) struct ExpectedSideEffects {
    reached: Vec<ReachedSideEffect>,
    /// Foreign keys that delete sessions with other sessions, if the watch role may read their columns.
    pub(super) self_references: Vec<ForeignKeyEdge>,
}

impl ExpectedSideEffects {
    pub(super) async fn load(view: &PlanningSession, revoke: &RevokeMethod) -> Result<Self, ActionError> {
        let layout = &view.connected.layout;
        let catalog = view.connected.session.read_side_effects().await?;
        let sessions = layout.catalog_name();
        let reached = catalog.list_side_effects(&sessions, RowEvent::from_revoke(revoke));
        let self_references = reached.iter().filter(|reached| reached.is_countable());
        let self_references =
            self_references.filter_map(|reached| reached.self_reference(&sessions)).cloned().collect();
        Ok(Self { reached, self_references })
    }

    /// Returns the side effects of revoking the selected sessions, with the number of affected rows if the watch role
    /// can count them. `along` is the number of sessions included only because they refer to others.
    pub(super) async fn count_affected(
        &self,
        session: &ReadSession,
        scope: &QueryScope<'_>,
        selected: SelectionQuery<'_>,
        along: u64,
    ) -> Result<Vec<SideEffect>, ActionError> {
        let sessions = scope.layout.catalog_name();
        let mut effects = Vec::new();
        for reached in &self.reached {
            let mut effect = reached.effect.clone();
            if reached.is_countable() {
                effect.rows = match reached.self_reference(&sessions) {
                    // Referring sessions are rows of the plan already, so they are not counted again.
                    Some(_) => Some(along),
                    None => session.count_referencing_rows(scope, reached, selected).await?,
                };
            }
            // A RESTRICT key without referring rows blocks nothing.
            if effect.kind != SideEffectKind::Restrict || effect.rows != Some(0) {
                effects.push(effect);
            }
        }
        require_no_instead_rule(&effects, &sessions)?;
        Ok(effects)
    }
}

/// Rejects a session table with a DO INSTEAD rule.
fn require_no_instead_rule(effects: &[SideEffect], sessions: &str) -> Result<(), ActionError> {
    let instead =
        |effect: &&SideEffect| effect.kind == SideEffectKind::RuleInstead && effect.table == sessions;
    match effects.iter().find(instead) {
        Some(effect) => {
            Err(ActionError::ReplacedByRule { table: effect.table.clone(), rule: effect.name.clone() })
        }
        None => Ok(()),
    }
}

/// Rejects a plan with side effects that it does not list, because the schema has changed since.
pub(super) async fn require_announced(
    write_session: &mut WriteSession,
    layout: &Layout,
    announced: &[SideEffect],
    revoke: &RevokeMethod,
) -> Result<(), ActionError> {
    let (catalog, sessions) = (write_session.read_side_effects().await?, layout.catalog_name());
    let found = catalog.list_side_effects(&sessions, RowEvent::from_revoke(revoke));
    let found: Vec<SideEffect> = found.into_iter().map(|reached| reached.effect).collect();
    require_no_instead_rule(&found, &sessions)?;
    let is_new = |effect: &&SideEffect| {
        effect.changes_other_rows() && !announced.iter().any(|other| effect.is_announced_by(other))
    };
    let unannounced: Vec<String> = found.iter().filter(is_new).map(SideEffect::describe).collect();
    if unannounced.is_empty() { Ok(()) } else { Err(ActionError::UnannouncedSideEffects(unannounced)) }
}

/// Returns a note for each side effect.
pub(super) fn side_effect_notes(effects: &[SideEffect]) -> Vec<String> {
    effects.iter().map(describe_side_effect).collect()
}

fn describe_side_effect(effect: &SideEffect) -> String {
    let SideEffect { kind, table, rows, archived, .. } = effect;
    let rows = match rows {
        Some(rows) => format_count(*rows, "row", "rows"),
        None => "an unknown number of rows".to_owned(),
    };
    let by = effect.describe();
    match kind {
        SideEffectKind::Cascade if *archived => {
            format!("also deletes {rows} of {table}, by {by}: archived, and restored with their sessions")
        }
        SideEffectKind::Cascade => {
            format!("also deletes {rows} of {table}, by {by}: not archived, and cannot be restored")
        }
        SideEffectKind::SetNull | SideEffectKind::SetDefault => format!(
            "also changes {rows} of {table}, by {by}: the old values are not archived and cannot be restored"
        ),
        SideEffectKind::Restrict => {
            let refer = if effect.rows == Some(1) { "refers" } else { "refer" };
            format!(
                "{rows} of {table} {refer} to these sessions, by {by}: the database will refuse to delete such sessions"
            )
        }
        SideEffectKind::TriggerBefore => format!(
            "also runs {by}, which can keep rows from being revoked, or change other rows; a restore does not undo that"
        ),
        SideEffectKind::Trigger | SideEffectKind::Rule | SideEffectKind::RuleInstead => {
            format!("also runs {by}, which can change other rows; a restore does not undo that")
        }
    }
}

#[cfg(test)]
mod tests;
