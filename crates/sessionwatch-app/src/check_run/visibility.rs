//! Reasons why the stats of a target may not describe every session: rows that the role cannot see, and an empty table
//! that may not be the one in use.

use sessionwatch_core::session_stats::SessionStats;
use sessionwatch_targets::{connect::ConnectedTarget, error::TargetError, layout::detect};

use super::CheckRunRequest;
use crate::target_history::TargetHistory;

/// Returns the reason why the stats of this target may not describe every session; passing results are unknown then.
///
/// An empty table passes only in an application without users: no row is duplicated, orphaned or expired, and a new
/// application has none yet. It is unknown where something says that sessions exist elsewhere, or existed before. A
/// single check and `serve` decide alike, except that only `serve` knows the previous runs.
pub(super) async fn find_visibility_caveat(
    request: CheckRunRequest<'_>,
    opened: &ConnectedTarget,
    stats: &SessionStats,
) -> Result<Option<String>, TargetError> {
    if let Some(reason) = hidden_sessions_reason(opened) {
        return Ok(Some(reason));
    }
    if stats.sessions > 0 {
        return Ok(None);
    }
    let mapping = &opened.layout.candidate.mapping;
    if let Some(accounts) = &mapping.accounts
        && opened.session.has_rows(accounts).await?
    {
        let reason = "the session table is empty, but accounts are in use: the application probably uses JWT \
                      sessions, which no table shows";
        return Ok(Some(reason.into()));
    }
    if let Some(users) = &mapping.users
        && opened.session.has_rows(&users.table).await?
    {
        let reason = "the session table is empty, but there are users: either nobody is logged in, or sessions are \
                      stored elsewhere, for example as JWTs";
        return Ok(Some(reason.into()));
    }
    let profile = request.catalogue.iter().find(|profile| profile.name == mapping.profile);
    if let Some(reason) = detect::unreadable_users_reason(&opened.layout.schema, mapping, profile) {
        return Ok(Some(format!(
            "the session table is empty, and {reason}: sessions of existing users may be stored elsewhere"
        )));
    }
    let had_sessions = request.history.is_some_and(|(history, _)| TargetHistory::had_sessions(history));
    Ok(had_sessions.then(|| {
        "the session table is empty, and had sessions before: they may be stored elsewhere now".into()
    }))
}

/// Returns the reason why the role may not see every session; `None` if nothing hides any.
#[must_use]
pub fn hidden_sessions_reason(opened: &ConnectedTarget) -> Option<String> {
    let sessions = &opened.layout.candidate.mapping.sessions;
    if opened.layout.schema.table(sessions).is_some_and(|table| table.has_hidden_rows) {
        return Some(
            "row-level security hides rows from this role: grant it BYPASSRLS or a policy \
             that shows all rows"
                .into(),
        );
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
