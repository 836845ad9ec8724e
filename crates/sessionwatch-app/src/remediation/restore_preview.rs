//! Preview of a restore: archived rows with and without conflicts, and tokens that several users had shared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use sessionwatch_core::{plural::format_count, row_ref::RowRef};
use sessionwatch_store::{
    StoreError,
    archive_batches::{self, ArchivedRowState},
};
use sessionwatch_targets::{
    mapping::RevokeMethod,
    read_session::ReadSession,
    scope::QueryScope,
    sql::{LocateBy, RestoreObstacle},
};

use super::{ActionContext, ActionError, ActionPlan};

/// Ids or users per query.
const VALUES_PER_QUERY: usize = 5_000;
/// Maximum number of rows, users or tokens named by a note.
const MAX_LISTED_NAMES: usize = 20;

/// Ids, tokens and users of archived rows that exist in the target now.
#[derive(Debug, Default)]
pub(super) struct PresentValues {
    /// The sessions were deleted, not revoked in place.
    removed: bool,
    ids: HashSet<String>,
    tokens: HashSet<i64>,
    /// Existing users; `None` if they cannot be queried.
    users: Option<HashSet<String>>,
}

impl PresentValues {
    /// Queries the ids, tokens and users of these rows.
    pub(super) async fn load<'a>(
        session: &ReadSession,
        scope: &QueryScope<'_>,
        revoke: &RevokeMethod,
        rows: impl Iterator<Item = &'a RowRef> + Clone,
    ) -> Result<Self, ActionError> {
        let mut there = Self { removed: *revoke == RevokeMethod::Delete, ..Self::default() };
        let has_ids = scope.layout.candidate.mapping.id.is_some();
        let identified: Vec<&RowRef> = rows.clone().filter(|row| row.id.is_some() && has_ids).collect();
        for rows in identified.chunks(VALUES_PER_QUERY) {
            let found = session.find_present_rows(scope, LocateBy::Id, rows).await?;
            there.ids.extend(found.into_iter().filter_map(|row| row.id));
        }
        // No index contains fingerprints, so one query reads the table for all tokens.
        let tokens: Vec<i64> = rows.clone().filter_map(|row| row.token_fingerprint).collect();
        if !tokens.is_empty() {
            there.tokens.extend(session.find_present_tokens(scope, &tokens).await?);
        }
        let users: BTreeSet<&str> = rows.filter_map(|row| row.user.as_deref()).collect();
        let users: Vec<&str> = users.into_iter().collect();
        for users in users.chunks(VALUES_PER_QUERY) {
            let Some(found) = session.find_present_users(scope, users).await? else { break };
            there.users.get_or_insert_default().extend(found);
        }
        Ok(there)
    }

    /// Returns what prevents the restore of a row; `None` if nothing does.
    pub(super) fn find_obstacle(&self, row: &RowRef) -> Option<RestoreObstacle> {
        let id = row.id.as_ref().is_some_and(|id| self.ids.contains(id));
        let token = row.token_fingerprint.is_some_and(|token| self.tokens.contains(&token));
        if !self.removed {
            // Rows archived before fingerprints were stored still have a token prefix.
            if row.id.is_none() && row.token_fingerprint.is_none() && row.token_prefix.is_none() {
                return Some(RestoreObstacle::Unidentified);
            }
            // A session revoked in place is restored only if its row still exists with the same token.
            let is_there = (id || row.id.is_none()) && (token || row.token_fingerprint.is_none());
            return (!is_there).then_some(RestoreObstacle::Gone);
        }
        let exists = |user: &String| self.users.as_ref().is_none_or(|users| users.contains(user));
        match (id, token) {
            (true, _) => Some(RestoreObstacle::Id),
            (_, true) => Some(RestoreObstacle::Token),
            _ if row.user.as_ref().is_some_and(|user| !exists(user)) => Some(RestoreObstacle::User),
            _ => None,
        }
    }
}

/// Rows that stay in the archive for the same reason.
#[derive(Debug, Default)]
pub(super) struct BlockedRows {
    pub(super) rows: u64,
    /// Some of their ids, users or token prefixes.
    names: BTreeSet<String>,
}

/// Facts about an archive, and about the rows examined so far.
#[derive(Debug)]
pub(super) struct RestorePreview {
    /// Fingerprints of tokens that several users had.
    shared: HashSet<i64>,
    /// Fingerprints of restored tokens.
    tokens: HashSet<i64>,
    /// Rows archived before fingerprints were stored.
    unfingerprinted_rows: u64,
    /// Rows left in the archive, by reason.
    pub(super) blocked: BTreeMap<RestoreObstacle, BlockedRows>,
    /// Users of the restored rows.
    pub(super) users: BTreeSet<String>,
    /// Restored shared tokens: prefix, and the users that a holder is logged in as.
    pub(super) shared_tokens: BTreeMap<i64, (String, BTreeSet<String>)>,
    /// Reason why the watch role may not see every user.
    pub(super) users_doubt: Option<String>,
}

impl RestorePreview {
    /// Reads the archive of a plan once to find the shared tokens.
    pub(super) fn new(context: ActionContext<'_>, archive: &str) -> Result<Self, StoreError> {
        let hasher = RandomState::new();
        let mut holders = HashMap::new();
        let (mut shared, mut behind) = (HashSet::new(), 0);
        while let Some(batch) =
            context.store.read(|db| archive_batches::find_next_batch(db, archive, behind))?
        {
            behind = batch.id;
            let ended = batch
                .rows
                .iter()
                .zip(&batch.row_states)
                .filter(|(_, state)| **state != ArchivedRowState::NotRemoved);
            for (row, _) in ended {
                let Some(token) = row.token_fingerprint else { continue };
                let user = hasher.hash_one(&row.user);
                if *holders.entry(token).or_insert(user) != user {
                    shared.insert(token);
                }
            }
        }
        Ok(Self {
            shared,
            tokens: HashSet::new(),
            unfingerprinted_rows: 0,
            blocked: BTreeMap::new(),
            users: BTreeSet::new(),
            shared_tokens: BTreeMap::new(),
            users_doubt: None,
        })
    }

    /// Adds a row and its obstacle. Returns `true` if the row is restored. Rows that are inserted again need a token of
    /// their own; rows revoked in place do not.
    pub(super) fn add_row(&mut self, row: &RowRef, obstacle: Option<RestoreObstacle>, inserts: bool) -> bool {
        let taken = |token: i64| inserts && !self.tokens.insert(token);
        // Of several rows with the same token, only the first is restored.
        let obstacle =
            obstacle.or_else(|| row.token_fingerprint.is_some_and(taken).then_some(RestoreObstacle::Token));
        if let Some(obstacle) = obstacle {
            let left = self.blocked.entry(obstacle).or_default();
            left.rows += 1;
            let name = match obstacle {
                RestoreObstacle::Token => row.token_prefix.as_ref(),
                RestoreObstacle::User => row.user.as_ref(),
                _ => row.id.as_ref(),
            };
            left.names.extend(name.filter(|_| left.names.len() <= MAX_LISTED_NAMES).cloned());
            return false;
        }
        self.users.extend(row.user.clone());
        self.unfingerprinted_rows += u64::from(row.token_fingerprint.is_none() && row.token_prefix.is_some());
        if let Some(token) = row.token_fingerprint.filter(|token| self.shared.contains(token)) {
            let shared_token = self.shared_tokens.entry(token).or_default();
            shared_token.0 = row.token_prefix.clone().unwrap_or_default();
            shared_token.1.extend(row.user.clone());
        }
        true
    }

    /// Returns the notes of a restore plan.
    pub(super) fn build_notes(&self, plan: &ActionPlan) -> Vec<String> {
        let mut notes = vec![self.login_note(plan)];
        notes.extend(self.shared_token_note());
        let left = self.blocked.iter().map(|(obstacle, left)| {
            let what = match obstacle {
                RestoreObstacle::Id => "ID is in the table again",
                RestoreObstacle::Token => "token is in the table again, or is restored with another row",
                RestoreObstacle::User => "user no longer exists",
                RestoreObstacle::Gone => "row is no longer in the table",
                RestoreObstacle::Unidentified => "neither an ID nor a token to find the row by",
                RestoreObstacle::Refused => "rejected by the table",
            };
            format!(
                "{} in the archive ({what}): {}",
                format_count(left.rows, "row stays", "rows stay"),
                join_names(&left.names)
            )
        });
        notes.extend(left);
        if let Some(doubt) = &self.users_doubt {
            notes.push(format!(
                "some users may no longer exist, which is only known when the plan is applied: {doubt}"
            ));
        }
        if self.unfingerprinted_rows > 0 {
            notes.push(format!(
                "{} archived without a token fingerprint, so their tokens may have been \
                 shared, or be in the table again",
                format_count(self.unfingerprinted_rows, "row was", "rows were")
            ));
        }
        notes
    }

    fn login_note(&self, plan: &ActionPlan) -> String {
        match (plan.record.row_count, plan.record.active_sessions) {
            (0, _) => "no row can be restored".into(),
            (_, 0) => "no user is logged in again: none of these sessions would be active".into(),
            (_, active) => format!(
                "{} active again, which logs in {} wherever a browser still has the token (user IDs: {})",
                format_count(active, "session becomes", "sessions become"),
                format_count(self.users.len() as u64, "user", "users"),
                join_names(&self.users)
            ),
        }
    }

    fn shared_token_note(&self) -> Option<String> {
        if self.shared_tokens.is_empty() {
            return None;
        }
        let tokens: BTreeSet<String> = self
            .shared_tokens
            .values()
            .map(|(prefix, users)| format!("token {prefix}… as user {}", join_names(users)))
            .collect();
        Some(format!(
            "{} shared by several users, and every browser that holds one will be logged in: {}",
            format_count(self.shared_tokens.len() as u64, "restored token was", "restored tokens were"),
            join_names(&tokens)
        ))
    }
}

/// Joins the first [`MAX_LISTED_NAMES`] names, and marks a cut list with `…`.
fn join_names(names: &BTreeSet<String>) -> String {
    let mut shown: Vec<&str> = names.iter().take(MAX_LISTED_NAMES).map(String::as_str).collect();
    if names.len() > MAX_LISTED_NAMES {
        shown.push("…");
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests;
