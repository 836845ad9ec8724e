//! What a plan does besides: counted when it is made, and compared when it is applied.

use sessionwatch_core::plural::counted;
use sessionwatch_targets::{
    layout::Layout,
    mapping::Revoke,
    read_session::ReadSession,
    scope::Scope,
    selecting::Selected,
    side_effects::{Event, Kind, Reached, Reference, SideEffect},
    write_session::WriteSession,
};

use super::{ActError, view::View};

/// What may happen besides, by the catalog.
pub(super) struct Besides {
    reached: Vec<Reached>,
    /// Foreign keys by which sessions go with other sessions, and whose columns the watch role may read.
    pub(super) own: Vec<Reference>,
}

impl Besides {
    pub(super) async fn read(view: &View, revoke: &Revoke) -> Result<Self, ActError> {
        let layout = &view.opened.layout;
        let catalog = view.opened.session.side_effects().await?;
        let sessions = layout.catalog_name();
        let reached = catalog.reached(&sessions, Event::of(revoke));
        let own = reached.iter().filter(|reached| reached.is_countable());
        let own = own.filter_map(|reached| reached.own(&sessions)).cloned().collect();
        Ok(Self { reached, own })
    }

    /// What ending the selected sessions does besides, with the rows that it concerns where the watch role can count them.
    /// `along` says how many of the sessions go only because they refer to others.
    pub(super) async fn of(
        &self,
        session: &ReadSession,
        scope: &Scope<'_>,
        selected: Selected<'_>,
        along: u64,
    ) -> Result<Vec<SideEffect>, ActError> {
        let sessions = scope.layout.catalog_name();
        let mut effects = Vec::new();
        for reached in &self.reached {
            let mut effect = reached.effect.clone();
            if reached.is_countable() {
                effect.rows = match reached.own(&sessions) {
                    Some(_) => Some(along),
                    None => session.count_referring(scope, reached, selected).await?,
                };
            }
            // Nothing that nobody refers to is held back.
            if effect.kind != Kind::Restrict || effect.rows != Some(0) {
                effects.push(effect);
            }
        }
        possible(&effects, &sessions)?;
        Ok(effects)
    }
}

/// Refuses what a rule of the sessions would do instead.
fn possible(effects: &[SideEffect], sessions: &str) -> Result<(), ActError> {
    let instead = |effect: &&SideEffect| effect.kind == Kind::RuleInstead && effect.table == sessions;
    match effects.iter().find(instead) {
        Some(effect) => Err(ActError::Replaced { table: effect.table.clone(), rule: effect.name.clone() }),
        None => Ok(()),
    }
}

/// Refuses a plan that would do more besides than it says, since the schema has changed.
pub(super) async fn compare(
    writing: &mut WriteSession,
    layout: &Layout,
    announced: &[SideEffect],
    revoke: &Revoke,
) -> Result<(), ActError> {
    let (catalog, sessions) = (writing.side_effects().await?, layout.catalog_name());
    let found = catalog.reached(&sessions, Event::of(revoke));
    let found: Vec<SideEffect> = found.into_iter().map(|reached| reached.effect).collect();
    possible(&found, &sessions)?;
    let is_new = |effect: &&SideEffect| {
        effect.reaches_further() && !announced.iter().any(|other| effect.is_announced_by(other))
    };
    let unannounced: Vec<String> = found.iter().filter(is_new).map(SideEffect::text).collect();
    if unannounced.is_empty() { Ok(()) } else { Err(ActError::Unannounced(unannounced)) }
}

/// What a person should know of them before a plan is applied.
pub(super) fn notes(effects: &[SideEffect]) -> Vec<String> {
    effects.iter().map(note).collect()
}

fn note(effect: &SideEffect) -> String {
    let SideEffect { kind, table, rows, archived, .. } = effect;
    let rows = match rows {
        Some(rows) => counted(*rows, "row", "rows"),
        None => "an unknown number of rows".to_owned(),
    };
    let by = effect.text();
    match kind {
        Kind::Cascade if *archived => format!(
            "also deletes {rows} of {table}, by {by}: they are archived, and restored with their sessions"
        ),
        Kind::Cascade => format!(
            "also deletes {rows} of {table}, by {by}: those rows are not archived and cannot be restored"
        ),
        Kind::SetNull | Kind::SetDefault => format!(
            "also changes {rows} of {table}, by {by}: what stood there is not archived and cannot be restored"
        ),
        Kind::Restrict => {
            format!(
                "{rows} of {table} refer to these sessions, by {by}: the database refuses to delete those"
            )
        }
        Kind::TriggerBefore => format!(
            "also runs {by}: it can keep rows from being ended, or change others; sessionwatch cannot undo what it does"
        ),
        Kind::Trigger | Kind::Rule | Kind::RuleInstead => {
            format!("also runs {by}: it can change other rows; sessionwatch cannot undo what it does")
        }
    }
}
