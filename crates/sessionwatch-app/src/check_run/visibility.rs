//! Reasons why the stats of a target may not describe every session: rows that the role cannot see, and an empty table
//! that may not be the one in use.

use sessionwatch_core::stats::SessionStats;
use sessionwatch_targets::{connect::ConnectedTarget, error::TargetError};

use crate::target_history::TargetHistory;

/// A reason why the stats may not describe every session.
pub(super) struct VisibilityCaveat {
    /// The reason, for the notes and the results.
    pub(super) reason: String,
    /// Passing results become unknown. Otherwise the reason is only a note.
    pub(super) makes_unknown: bool,
}

/// Finds out why the stats of this target may not describe every session.
///
/// An empty table passes on a first run: no row is duplicated, orphaned or expired, and a new application has none
/// yet. It is unknown where something says that sessions exist elsewhere, or existed before.
pub(super) async fn find_visibility_caveat(
    opened: &ConnectedTarget,
    stats: &SessionStats,
    history: Option<&TargetHistory>,
) -> Result<Option<VisibilityCaveat>, TargetError> {
    let caveat =
        |reason: &str, makes_unknown| Ok(Some(VisibilityCaveat { reason: reason.into(), makes_unknown }));
    let mapping = &opened.layout.candidate.mapping;
    if let Some(reason) = hidden_sessions_reason(opened) {
        return caveat(&reason, true);
    }
    if stats.sessions > 0 {
        return Ok(None);
    }
    if let Some(accounts) = &mapping.accounts
        && opened.session.has_rows(accounts).await?
    {
        return caveat(
            "the session table is empty beside accounts in use: the application probably uses JWT sessions, \
             which no table shows",
            true,
        );
    }
    if let Some(users) = &mapping.users
        && opened.session.has_rows(&users.table).await?
    {
        return caveat(
            "the session table is empty, but there are users: either nobody is logged in, or sessions are stored \
             elsewhere, for example as JWTs",
            // `serve` compares runs, and a table that loses all sessions must not pass from the second run on.
            history.is_some(),
        );
    }
    if history.is_some_and(TargetHistory::had_sessions) {
        return caveat("the session table is empty, and had sessions at the last check", true);
    }
    Ok(None)
}

/// Returns the reason why the role may not see every session; `None` if nothing hides any.
#[must_use]
pub fn hidden_sessions_reason(opened: &ConnectedTarget) -> Option<String> {
    let sessions = &opened.layout.candidate.mapping.sessions;
    if opened.layout.schema.table(sessions).is_some_and(|table| table.has_hidden_rows) {
        return Some("row-level security hides rows from this role: grant it BYPASSRLS or a policy that shows all rows".into());
    }
    partial_view_reason(opened)
}

fn partial_view_reason(opened: &ConnectedTarget) -> Option<String> {
    let table = opened.layout.schema.table(&opened.layout.candidate.mapping.sessions)?;
    let condition = || {
        let behind = table.base_tables.join("`, `");
        format!("`{}` is a view with a condition, which may hide rows of `{behind}`", table.name)
    };
    // A view that the configuration names defines what a session is, its condition included.
    let filtered = table.is_filtered && !opened.layout.candidate.is_named_in_config;
    let why = table.visibility_caveat.clone().or_else(|| filtered.then(condition))?;
    Some(format!("{why}: name a table under [target.mapping]"))
}
