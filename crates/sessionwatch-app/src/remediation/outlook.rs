//! What a restore can do: which archived rows nothing is in the way of now, and which tokens were shared before.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use sessionwatch_core::{plural::counted, row_ref::RowRef};
use sessionwatch_store::{
    StoreError,
    archived::{self, Fate},
};
use sessionwatch_targets::{
    mapping::Revoke,
    read_session::ReadSession,
    scope::Scope,
    sql::{Named, Obstacle},
};

use super::{ActError, Context, Plan};

/// Ids or users that are looked up by one statement.
const ASKED: usize = 5_000;
/// Rows, users or tokens that a note names.
const NAMED: usize = 20;

/// What the table holds of some archived rows.
#[derive(Debug, Default)]
pub(super) struct There {
    /// Whether the sessions were removed, rather than ended in place.
    removed: bool,
    ids: HashSet<String>,
    tokens: HashSet<i64>,
    /// Users that exist; `None` where that cannot be known.
    users: Option<HashSet<String>>,
}

impl There {
    /// Looks for the ids, the tokens and the users of these rows.
    pub(super) async fn of<'a>(
        session: &ReadSession,
        scope: &Scope<'_>,
        revoke: &Revoke,
        rows: impl Iterator<Item = &'a RowRef> + Clone,
    ) -> Result<Self, ActError> {
        let mut there = Self { removed: *revoke == Revoke::Delete, ..Self::default() };
        let has_ids = scope.layout.candidate.mapping.id.is_some();
        let identified: Vec<&RowRef> = rows.clone().filter(|row| row.id.is_some() && has_ids).collect();
        for rows in identified.chunks(ASKED) {
            let found = session.present_rows(scope, Named::Id, rows).await?;
            there.ids.extend(found.into_iter().filter_map(|row| row.id));
        }
        // The table is read once for all of them, since no index has fingerprints.
        let tokens: Vec<i64> = rows.clone().filter_map(|row| row.token).collect();
        if !tokens.is_empty() {
            there.tokens.extend(session.present_tokens(scope, &tokens).await?);
        }
        let users: BTreeSet<&str> = rows.filter_map(|row| row.user.as_deref()).collect();
        let users: Vec<&str> = users.into_iter().collect();
        for users in users.chunks(ASKED) {
            let Some(found) = session.present_users(scope, users).await? else { break };
            there.users.get_or_insert_default().extend(found);
        }
        Ok(there)
    }

    /// What is in the way of a row.
    pub(super) fn obstacle(&self, row: &RowRef) -> Option<Obstacle> {
        let id = row.id.as_ref().is_some_and(|id| self.ids.contains(id));
        let token = row.token.is_some_and(|token| self.tokens.contains(&token));
        if !self.removed {
            // Rows that were planned before fingerprints were kept have a prefix all the same.
            if row.id.is_none() && row.token.is_none() && row.prefix.is_none() {
                return Some(Obstacle::Unidentified);
            }
            // The row has to be there, with its token.
            let is_there = (id || row.id.is_none()) && (token || row.token.is_none());
            return (!is_there).then_some(Obstacle::Gone);
        }
        let exists = |user: &String| self.users.as_ref().is_none_or(|users| users.contains(user));
        match (id, token) {
            (true, _) => Some(Obstacle::Id),
            (_, true) => Some(Obstacle::Token),
            _ if row.user.as_ref().is_some_and(|user| !exists(user)) => Some(Obstacle::User),
            _ => None,
        }
    }
}

/// Rows that stay in the archive for one reason.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) rows: u64,
    /// Some of their ids, users or token prefixes.
    names: BTreeSet<String>,
}

/// What is known of an archive as a whole, and of the rows that were looked at so far.
#[derive(Debug)]
pub(super) struct Outlook {
    /// Fingerprints of tokens that rows of several users were on.
    shared: HashSet<i64>,
    /// Fingerprints of tokens that come back.
    tokens: HashSet<i64>,
    /// Rows planned before fingerprints were kept.
    unknown: u64,
    /// Rows that are left, by reason.
    pub(super) left: BTreeMap<Obstacle, Left>,
    /// The users of the rows that come back.
    pub(super) users: BTreeSet<String>,
    /// Shared tokens that come back, each with the users that whoever holds it becomes.
    pub(super) revived: BTreeMap<i64, (String, BTreeSet<String>)>,
    /// Why users may be missing from what the watch role reads.
    pub(super) users_doubt: Option<String>,
}

impl Outlook {
    /// Reads the archive of a plan once, to learn which tokens were shared.
    pub(super) fn new(context: Context<'_>, archive: &str) -> Result<Self, StoreError> {
        let hasher = RandomState::new();
        let mut holders = HashMap::new();
        let (mut shared, mut behind) = (HashSet::new(), 0);
        while let Some(batch) = context.store.read(|db| archived::next(db, archive, behind))? {
            behind = batch.id;
            let ended = batch.rows.iter().zip(&batch.fates).filter(|(_, fate)| **fate != Fate::Stayed);
            for (row, _) in ended {
                let Some(token) = row.token else { continue };
                let user = hasher.hash_one(&row.user);
                if *holders.entry(token).or_insert(user) != user {
                    shared.insert(token);
                }
            }
        }
        Ok(Self {
            shared,
            tokens: HashSet::new(),
            unknown: 0,
            left: BTreeMap::new(),
            users: BTreeSet::new(),
            revived: BTreeMap::new(),
            users_doubt: None,
        })
    }

    /// Takes note of a row with what is in its way: whether it comes back. Rows that are inserted again need a token of their
    /// own; those that were ended in place do not.
    pub(super) fn admits(&mut self, row: &RowRef, obstacle: Option<Obstacle>, inserts: bool) -> bool {
        let taken = |token: i64| inserts && !self.tokens.insert(token);
        // Of rows that share a token, one comes back.
        let obstacle = obstacle.or_else(|| row.token.is_some_and(taken).then_some(Obstacle::Token));
        if let Some(obstacle) = obstacle {
            let left = self.left.entry(obstacle).or_default();
            left.rows += 1;
            let name = match obstacle {
                Obstacle::Token => row.prefix.as_ref(),
                Obstacle::User => row.user.as_ref(),
                _ => row.id.as_ref(),
            };
            left.names.extend(name.filter(|_| left.names.len() <= NAMED).cloned());
            return false;
        }
        self.users.extend(row.user.clone());
        self.unknown += u64::from(row.token.is_none() && row.prefix.is_some());
        if let Some(token) = row.token.filter(|token| self.shared.contains(token)) {
            let revived = self.revived.entry(token).or_default();
            revived.0 = row.prefix.clone().unwrap_or_default();
            revived.1.extend(row.user.clone());
        }
        true
    }

    /// What a person should know before the rows are put back.
    pub(super) fn notes(&self, plan: &Plan) -> Vec<String> {
        let mut notes = vec![self.logged_in(plan)];
        notes.extend(self.shared_again());
        let left = self.left.iter().map(|(obstacle, left)| {
            let what = match obstacle {
                Obstacle::Id => "their id is in the table again",
                Obstacle::Token => "their token is in the table again, or comes back with another row",
                Obstacle::User => "their user does not exist any more",
                Obstacle::Gone => "their row is not in the table any more",
                Obstacle::Unidentified => "they have neither an ID nor a token to find their row by",
                Obstacle::Refused => "the table refuses them",
            };
            format!(
                "{} of the archive stay there, because {what}: {}",
                counted(left.rows, "row", "rows"),
                list(&left.names)
            )
        });
        notes.extend(left);
        if let Some(doubt) = &self.users_doubt {
            notes.push(format!(
                "whether every user still exists is only known when the plan is applied: {doubt}"
            ));
        }
        if self.unknown > 0 {
            notes.push(format!(
                "{} were archived without a fingerprint of their token: whether those tokens were shared, or are in the table again, is not known",
                counted(self.unknown, "row", "rows")
            ));
        }
        notes
    }

    /// Who becomes logged in.
    fn logged_in(&self, plan: &Plan) -> String {
        match (plan.kept.rows, plan.kept.active) {
            (0, _) => "no row can be put back".into(),
            (_, 0) => "nobody is logged in again: none of these sessions would be active".into(),
            (_, active) => format!(
                "{} active again: whoever holds one of their tokens is logged in, as one of {}: {}",
                counted(active, "session becomes", "sessions become"),
                counted(self.users.len() as u64, "user", "users"),
                list(&self.users)
            ),
        }
    }

    /// Which tokens several users had.
    fn shared_again(&self) -> Option<String> {
        if self.revived.is_empty() {
            return None;
        }
        let tokens: BTreeSet<String> = self
            .revived
            .values()
            .map(|(prefix, users)| format!("token {prefix}… as user {}", list(users)))
            .collect();
        let were = if self.revived.len() == 1 { "was" } else { "were" };
        Some(format!(
            "{} of these tokens {were} shared by several users: restoring logs in every browser that holds one: {}",
            self.revived.len(),
            list(&tokens)
        ))
    }
}

/// Names, of which the first ones are written.
fn list(names: &BTreeSet<String>) -> String {
    let mut shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    if names.len() > NAMED {
        shown.push("…");
    }
    shown.join(", ")
}
