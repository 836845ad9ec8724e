//! What keeps the numbers of a target from being the whole truth: rows that the role does not see, and a table that may not be
//! the one in use.

use sessionwatch_core::stats::SessionStats;
use sessionwatch_targets::{connect::ConnectedTarget, error::TargetError};

use crate::memory::Memory;

/// What keeps this target's numbers from being the whole truth.
pub(super) async fn caveat(
    opened: &ConnectedTarget,
    census: &SessionStats,
    watched: Option<&Memory>,
) -> Result<Option<String>, TargetError> {
    let mapping = &opened.layout.candidate.mapping;
    if let Some(why) = hidden_sessions(opened) {
        return Ok(Some(why));
    }
    if census.sessions > 0 {
        return Ok(None);
    }
    if let Some(accounts) = &mapping.accounts
        && opened.session.has_rows(accounts).await?
    {
        return Ok(Some("the session table is empty beside accounts in use: the application probably uses JWT sessions, which no table shows".into()));
    }
    if let Some(users) = &mapping.users
        && opened.session.has_rows(&users.table).await?
    {
        return Ok(Some("the session table is empty, and there are users: either nobody is logged in, or sessions are kept somewhere else, as with JWT sessions".into()));
    }
    // A new application has none yet; one that had some before has lost them.
    Ok(watched
        .is_some_and(Memory::had_sessions)
        .then(|| "the session table is empty, and had sessions at the last look".into()))
}

/// Why the role may not see every session; `None` if nothing hides any.
#[must_use]
pub fn hidden_sessions(opened: &ConnectedTarget) -> Option<String> {
    let sessions = &opened.layout.candidate.mapping.sessions;
    if opened.layout.schema.table(sessions).is_some_and(|table| table.rows_hidden) {
        return Some("row-level security hides rows from this role: grant it BYPASSRLS or a policy that shows all rows".into());
    }
    partial(opened)
}

/// Why a view need not show every session. A condition is part of what whoever names the view means by a session.
fn partial(opened: &ConnectedTarget) -> Option<String> {
    let table = opened.layout.schema.table(&opened.layout.candidate.mapping.sessions)?;
    let condition = || {
        let behind = table.bases.join("`, `");
        format!("`{}` is a view with a condition, which may leave out rows of `{behind}`", table.name)
    };
    let filtered = table.filtered && !opened.layout.candidate.named;
    let why = table.doubt.clone().or_else(|| filtered.then(condition))?;
    Some(format!("{why}: name a table under [target.mapping]"))
}
