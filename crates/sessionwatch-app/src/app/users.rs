//! Users of a target: those with the most sessions, and a search by ID, name, handle or email address.

use std::sync::Arc;

use sessionwatch_core::snapshot::UserTotal;
use sessionwatch_targets::{
    connect::ConnectedTarget,
    error::TargetError,
    listing::UserRankKey,
    mapping::RevokeMethod,
    row_selection::SelectionQuery,
    scope::QueryScope,
    sql::{RowKeyKind, RowSelection},
};

use super::{AppError, AppState, sessions::display_columns, with_pooled_connection};
use crate::config::{Config, Target};

/// Most rows of a session table whose users are ranked while somebody waits.
const MAX_RANKED_ROWS: u64 = 2_000_000;

/// Users of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserList {
    /// Users, up to the limit.
    pub users: Vec<ListedUser>,
    /// `true` if there are more users.
    pub has_more: bool,
    /// Names of the users table's display columns.
    pub display: Vec<String>,
    /// Why no user is listed although there may be some; empty if the list is complete.
    pub gap: &'static str,
}

/// A user with the number of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    /// User ID.
    pub id: String,
    /// Values of the display columns.
    pub display: Vec<Option<String>>,
    /// Number of sessions: active ones in a ranking, all in a search. `None` if they were not counted.
    pub sessions: Option<u64>,
}

/// Search for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSearch {
    /// Part of the ID, name, handle or email address, in upper or lower case.
    pub part: String,
    /// Maximum number of users.
    pub limit: usize,
    /// Counts the sessions of each user found.
    pub counts_sessions: bool,
}

/// Lists the users with the most active sessions.
///
/// # Errors
///
/// If the database query fails.
pub async fn list_most_active_users(
    app: &Arc<AppState>,
    target: &Target,
    limit: usize,
) -> Result<UserList, AppError> {
    let listed = with_pooled_connection(app, target, async move |opened, config| {
        rank_users(opened, config, limit).await
    });
    listed.await
}

/// Finds users of a target.
///
/// # Errors
///
/// If the database query fails.
pub async fn search_users(
    app: &Arc<AppState>,
    target: &Target,
    search: UserSearch,
) -> Result<UserList, AppError> {
    let found = with_pooled_connection(app, target, async move |opened, config| {
        query_users(opened, config, &search).await
    });
    found.await
}

/// Returns the values of the display columns of a user; none if the user is unknown.
///
/// # Errors
///
/// If the database query fails.
pub async fn describe_user(app: &Arc<AppState>, target: &Target, id: &str) -> Result<UserList, AppError> {
    let user = UserTotal { user: id.to_owned(), sessions: 0 };
    let described = with_pooled_connection(app, target, async move |opened, config| {
        let scope = opened.query_scope(false, &config.checks.thresholds);
        let rows = opened.session.describe_users(&scope, &[user]).await?;
        let users = rows
            .into_iter()
            .filter_map(|row| Some(ListedUser { id: row.user?, display: row.display, sessions: None }));
        Ok(UserList { users: users.collect(), display: display_columns(opened), ..UserList::default() })
    });
    described.await
}

async fn rank_users(
    opened: &ConnectedTarget,
    config: &Config,
    limit: usize,
) -> Result<UserList, TargetError> {
    let mapping = &opened.layout.candidate.mapping;
    let display = display_columns(opened);
    let table = opened.layout.schema.table(&mapping.sessions);
    let rows = table.and_then(|table| table.estimated_rows).unwrap_or_default();
    let gap = match mapping.user {
        None => "The session table has no user column.",
        // Counting per user reads the whole table.
        Some(_) if rows > MAX_RANKED_ROWS => {
            "The session table is too large to count sessions per user here."
        }
        Some(_) => "",
    };
    if !gap.is_empty() {
        return Ok(UserList { display, gap, ..UserList::default() });
    }
    let scope = opened.query_scope(false, &config.checks.thresholds);
    let ranked = opened.session.rank_users(&scope, UserRankKey::Active, limit).await?;
    let has_more = ranked.total > limit as u64;
    let users = ranked
        .users
        .into_iter()
        .filter_map(|row| Some(ListedUser { id: row.user?, display: row.display, sessions: Some(row.rows) }));
    Ok(UserList { users: users.collect(), has_more, display, gap: "" })
}

/// Runs a search for users over a connection.
///
/// # Errors
///
/// If a query fails.
pub(super) async fn query_users(
    opened: &ConnectedTarget,
    config: &Config,
    search: &UserSearch,
) -> Result<UserList, TargetError> {
    let scope = opened.query_scope(false, &config.checks.thresholds);
    let display = display_columns(opened);
    if opened.layout.candidate.mapping.users.is_none() {
        return find_user_by_id(opened, &scope, search).await;
    }
    let mut found = opened.session.search_users(&scope, &search.part, search.limit + 1).await?;
    let has_more = found.len() > search.limit;
    found.truncate(search.limit);
    let mut users = vec![];
    for user in found {
        let Some(id) = user.id else { continue };
        let sessions = match search.counts_sessions {
            true => Some(count_sessions(opened, &scope, &id).await?),
            false => None,
        };
        users.push(ListedUser { id, display: user.display, sessions });
    }
    Ok(UserList { users, has_more, display, gap: "" })
}

/// Finds a user without a users table: by the exact ID, which is all that the sessions hold.
async fn find_user_by_id(
    opened: &ConnectedTarget,
    scope: &QueryScope<'_>,
    search: &UserSearch,
) -> Result<UserList, TargetError> {
    let gap = "No users table is known, so you can search only by exact user ID.";
    let sessions = match opened.layout.candidate.mapping.user {
        Some(_) => count_sessions(opened, scope, &search.part).await?,
        None => 0,
    };
    let user = || ListedUser { id: search.part.clone(), display: vec![], sessions: Some(sessions) };
    let users = (sessions > 0).then(user).into_iter().collect();
    Ok(UserList { users, has_more: false, display: vec![], gap })
}

async fn count_sessions(
    opened: &ConnectedTarget,
    scope: &QueryScope<'_>,
    id: &str,
) -> Result<u64, TargetError> {
    let selection = RowSelection::User(id);
    let query = SelectionQuery { selection, revoke: &RevokeMethod::Delete, row_key: RowKeyKind::Id };
    opened.session.count_selected(scope, query).await
}

#[cfg(test)]
mod tests;
