//! What a restore can do: which archived rows nothing is in the way of now, and which tokens were shared before.

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

/// Ids or users that are looked up by one statement.
const VALUES_PER_QUERY: usize = 5_000;
/// Rows, users or tokens that a note names.
const MAX_LISTED_NAMES: usize = 20;

/// What the table holds of some archived rows.
#[derive(Debug, Default)]
pub(super) struct PresentValues {
    /// Whether the sessions were removed, rather than ended in place.
    removed: bool,
    ids: HashSet<String>,
    tokens: HashSet<i64>,
    /// Users that exist; `None` where that cannot be known.
    users: Option<HashSet<String>>,
}

impl PresentValues {
    /// Looks for the ids, the tokens and the users of these rows.
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
        // The table is read once for all of them, since no index has fingerprints.
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

    /// What is in the way of a row.
    pub(super) fn find_obstacle(&self, row: &RowRef) -> Option<RestoreObstacle> {
        let id = row.id.as_ref().is_some_and(|id| self.ids.contains(id));
        let token = row.token_fingerprint.is_some_and(|token| self.tokens.contains(&token));
        if !self.removed {
            // Rows that were planned before fingerprints were kept have a prefix all the same.
            if row.id.is_none() && row.token_fingerprint.is_none() && row.token_prefix.is_none() {
                return Some(RestoreObstacle::Unidentified);
            }
            // The row has to be there, with its token.
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

/// Rows that stay in the archive for one reason.
#[derive(Debug, Default)]
pub(super) struct BlockedRows {
    pub(super) rows: u64,
    /// Some of their ids, users or token prefixes.
    names: BTreeSet<String>,
}

/// What is known of an archive as a whole, and of the rows that were looked at so far.
#[derive(Debug)]
pub(super) struct RestorePreview {
    /// Fingerprints of tokens that rows of several users were on.
    shared: HashSet<i64>,
    /// Fingerprints of tokens that come back.
    tokens: HashSet<i64>,
    /// Rows planned before fingerprints were kept.
    unfingerprinted_rows: u64,
    /// Rows that are left, by reason.
    pub(super) blocked: BTreeMap<RestoreObstacle, BlockedRows>,
    /// The users of the rows that come back.
    pub(super) users: BTreeSet<String>,
    /// Shared tokens that come back, each with the users that whoever holds it becomes.
    pub(super) shared_tokens: BTreeMap<i64, (String, BTreeSet<String>)>,
    /// Why users may be missing from what the watch role reads.
    pub(super) users_doubt: Option<String>,
}

impl RestorePreview {
    /// Reads the archive of a plan once, to learn which tokens were shared.
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
                .filter(|(_, fate)| **fate != ArchivedRowState::NotRemoved);
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

    /// Takes note of a row with what is in its way: whether it comes back. Rows that are inserted again need a token of their
    /// own; those that were ended in place do not.
    pub(super) fn add_row(&mut self, row: &RowRef, obstacle: Option<RestoreObstacle>, inserts: bool) -> bool {
        let taken = |token: i64| inserts && !self.tokens.insert(token);
        // Of rows that share a token, one comes back.
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
            let revived = self.shared_tokens.entry(token).or_default();
            revived.0 = row.token_prefix.clone().unwrap_or_default();
            revived.1.extend(row.user.clone());
        }
        true
    }

    /// What a person should know before the rows are put back.
    pub(super) fn build_notes(&self, plan: &ActionPlan) -> Vec<String> {
        let mut notes = vec![self.login_note(plan)];
        notes.extend(self.shared_token_note());
        let left = self.blocked.iter().map(|(obstacle, left)| {
            let what = match obstacle {
                RestoreObstacle::Id => "their id is in the table again",
                RestoreObstacle::Token => "their token is in the table again, or comes back with another row",
                RestoreObstacle::User => "their user does not exist any more",
                RestoreObstacle::Gone => "their row is not in the table any more",
                RestoreObstacle::Unidentified => "they have neither an ID nor a token to find their row by",
                RestoreObstacle::Refused => "the table refuses them",
            };
            format!(
                "{} of the archive stay there, because {what}: {}",
                format_count(left.rows, "row", "rows"),
                join_names(&left.names)
            )
        });
        notes.extend(left);
        if let Some(doubt) = &self.users_doubt {
            notes.push(format!(
                "whether every user still exists is only known when the plan is applied: {doubt}"
            ));
        }
        if self.unfingerprinted_rows > 0 {
            notes.push(format!(
                "{} were archived without a fingerprint of their token: whether those tokens were shared, or are in the table again, is not known",
                format_count(self.unfingerprinted_rows, "row", "rows")
            ));
        }
        notes
    }

    /// Who becomes logged in.
    fn login_note(&self, plan: &ActionPlan) -> String {
        match (plan.record.row_count, plan.record.active_sessions) {
            (0, _) => "no row can be put back".into(),
            (_, 0) => "nobody is logged in again: none of these sessions would be active".into(),
            (_, active) => format!(
                "{} active again: whoever holds one of their tokens is logged in, as one of {}: {}",
                format_count(active, "session becomes", "sessions become"),
                format_count(self.users.len() as u64, "user", "users"),
                join_names(&self.users)
            ),
        }
    }

    /// Which tokens several users had.
    fn shared_token_note(&self) -> Option<String> {
        if self.shared_tokens.is_empty() {
            return None;
        }
        let tokens: BTreeSet<String> = self
            .shared_tokens
            .values()
            .map(|(prefix, users)| format!("token {prefix}… as user {}", join_names(users)))
            .collect();
        let were = if self.shared_tokens.len() == 1 { "was" } else { "were" };
        Some(format!(
            "{} of these tokens {were} shared by several users: restoring logs in every browser that holds one: {}",
            self.shared_tokens.len(),
            join_names(&tokens)
        ))
    }
}

/// Names, of which the first ones are written.
fn join_names(names: &BTreeSet<String>) -> String {
    let mut shown: Vec<&str> = names.iter().take(MAX_LISTED_NAMES).map(String::as_str).collect();
    if names.len() > MAX_LISTED_NAMES {
        shown.push("…");
    }
    shown.join(", ")
}
