//! Reads of a target for a command, over a new connection and within the full time limit of the target. Dashboard
//! pages use the same query functions over pooled connections.

use std::time::Instant as Monotonic;

use sessionwatch_core::{plural::ListTotal, timestamp::UtcTimestamp};
use sessionwatch_targets::{
    connect::ConnectedTarget,
    error::TargetError,
    evidence::EvidenceRow,
    side_effects::RowEvent,
    sql::{
        SessionListQuery,
        grants::{self, GrantObjects},
    },
};

use super::{
    layouts::DetectedLayout,
    printed_queries::{self, QuerySelection},
    sessions::{self, SessionList, SessionQuery, SessionRow},
    users::{self, ListedUser, UserSearch},
};
use crate::{
    config::{Config, Target},
    doctor::{self, Diagnostic},
};

pub use sessionwatch_targets::{listing::UserRankKey as UserRank, sql::grants::GrantRoles};

/// Maximum number of sessions to correlate with log events.
const MAX_CORRELATED_ROWS: usize = 100_000;

/// Reads of a target.
#[derive(Clone, Copy, Debug)]
pub struct TargetReader<'a> {
    config: &'a Config,
    target: &'a Target,
}

/// Users by number of sessions, in descending order.
#[derive(Clone, Debug)]
pub struct UserRanking {
    /// Users, up to the limit.
    pub users: Vec<RankedUser>,
    /// Number of all users that have such sessions, or that match the search.
    pub total: ListTotal,
    /// Names of the users table's display columns.
    pub display: Vec<String>,
}

/// User with the number of sessions.
#[derive(Clone, Debug)]
pub struct RankedUser {
    /// User ID; `None` for sessions without a user.
    pub id: Option<String>,
    /// Number of sessions.
    pub sessions: u64,
    /// Values of the display columns.
    pub display: Vec<Option<String>>,
}

impl<'a> TargetReader<'a> {
    /// Creates a reader. Does not connect yet.
    #[must_use]
    pub const fn new(config: &'a Config, target: &'a Target) -> Self {
        Self { config, target }
    }

    /// Lists and counts sessions.
    ///
    /// # Errors
    ///
    /// If the connection or the query fails or times out.
    pub async fn list_sessions(self, query: &SessionQuery) -> Result<SessionList, TargetError> {
        self.with_connection(async |opened| {
            let mut listed = sessions::query_sessions(opened, self.config, query).await?;
            listed.total = Some(if listed.has_more {
                sessions::count_sessions(opened, self.config, query).await?
            } else {
                ListTotal::Exactly(listed.rows.len() as u64)
            });
            Ok(listed)
        })
        .await
    }

    /// Lists sessions created since `since`. The inner error is the reason why the table does not support this query.
    ///
    /// # Errors
    ///
    /// The same as [`Self::list_sessions`].
    pub async fn list_sessions_created_since(
        self,
        since: UtcTimestamp,
    ) -> Result<Result<Vec<SessionRow>, String>, TargetError> {
        self.with_connection(async |opened| {
            // Not an error of the command: the report can still show the log events, with this reason.
            if opened.layout.candidate.mapping.created.is_none() {
                return Ok(Err("the table has no creation column".to_owned()));
            }
            let scope = opened.query_scope(false, &self.config.checks.thresholds);
            let list =
                SessionListQuery { created_since: Some(since), ..SessionListQuery::all(MAX_CORRELATED_ROWS) };
            Ok(Ok(opened.session.list_sessions(&scope, list).await?))
        })
        .await
    }

    /// Ranks users by number of sessions.
    ///
    /// # Errors
    ///
    /// The same as [`Self::list_sessions`], or if the table lacks a column for the ranking.
    pub async fn rank_users(self, rank: UserRank, limit: usize) -> Result<UserRanking, TargetError> {
        self.with_connection(async |opened| {
            let mapping = &opened.layout.candidate.mapping;
            if mapping.user.is_none() {
                let why = "cannot rank users: the table has no user column";
                return Err(TargetError::Mapping(why.into()));
            }
            // Rejected before the query: the database would only report an unknown column.
            if rank == UserRank::Recent && mapping.created.is_none() {
                let why = "cannot rank users by recent sessions: the table has no creation column";
                return Err(TargetError::Mapping(why.into()));
            }
            let scope = opened.query_scope(false, &self.config.checks.thresholds);
            let ranked = opened.session.rank_users(&scope, rank, limit).await?;
            let user =
                |held: EvidenceRow| RankedUser { id: held.user, sessions: held.rows, display: held.display };
            let users = ranked.users.into_iter().map(user).collect();
            Ok(UserRanking {
                users,
                total: ListTotal::Exactly(ranked.total),
                display: sessions::display_columns(opened),
            })
        })
        .await
    }

    /// Finds users, with the number of their sessions.
    ///
    /// # Errors
    ///
    /// The same as [`Self::list_sessions`].
    pub async fn search_users(self, search: &UserSearch) -> Result<UserRanking, TargetError> {
        self.with_connection(async |opened| {
            let found = users::query_users(opened, self.config, search).await?;
            let user = |user: ListedUser| RankedUser {
                id: Some(user.id),
                sessions: user.sessions.unwrap_or_default(),
                display: user.display,
            };
            let users: Vec<RankedUser> = found.users.into_iter().map(user).collect();
            let count = users.len() as u64;
            // Counting all matches would read the whole users table.
            let total = if found.has_more { ListTotal::MoreThan(count) } else { ListTotal::Exactly(count) };
            Ok(UserRanking { users, total, display: found.display })
        })
        .await
    }

    /// Detects the layout of the target.
    ///
    /// # Errors
    ///
    /// If the connection fails or times out, or no session table is detected.
    pub async fn detect_layout(self) -> Result<DetectedLayout, TargetError> {
        self.with_connection(async |opened| Ok(DetectedLayout::from_layout(&opened.layout))).await
    }

    /// Renders queries to paste into the database's client, as one script. `user` is the user of query 6 of the
    /// operator guide.
    ///
    /// # Errors
    ///
    /// The same as [`Self::detect_layout`].
    pub async fn render_queries(self, selection: QuerySelection, user: &str) -> Result<String, TargetError> {
        self.with_connection(async |opened| {
            Ok(printed_queries::render_script(opened, self.config, selection, user))
        })
        .await
    }

    /// Renders SQL statements that create least-privilege roles.
    ///
    /// # Errors
    ///
    /// The same as [`Self::list_sessions`].
    pub async fn render_grants(self, roles: GrantRoles<'_>) -> Result<String, TargetError> {
        self.with_connection(async |opened| {
            let mapping = &opened.layout.candidate.mapping;
            // Triggers and cascades run with the role's own privileges, so the grants must cover them.
            let catalog = opened.session.read_side_effects().await?;
            let sessions = opened.layout.catalog_name();
            let event = RowEvent::from_revoke(&mapping.revoke);
            let side_effects = &catalog.list_side_effects(&sessions, event);
            let dependents =
                // An expiry or a flag leaves child rows alone, so their tables need no privileges.
                &if event == RowEvent::Delete { catalog.archivable_dependents(&sessions) } else { vec![] };
            let schema = &opened.layout.schema;
            Ok(grants::grant_statements(GrantObjects { schema, mapping, side_effects, dependents }, roles))
        })
        .await
    }

    /// Runs the diagnostics of `sessionwatch doctor`.
    ///
    /// # Errors
    ///
    /// The same as [`Self::list_sessions`].
    pub async fn run_doctor(self) -> Result<Vec<Diagnostic>, TargetError> {
        let visit = self.with_connection(async |opened| doctor::examine_target(self.target, opened).await);
        let mut findings = visit.await?;
        // Files, not the database: found even if the target is fine.
        findings.extend(doctor::diagnose_drill_files(self.config));
        Ok(findings)
    }

    /// Connects, does the work within the target's time limit, and closes the connection.
    async fn with_connection<T>(
        self,
        work: impl AsyncFnOnce(&ConnectedTarget) -> Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        // One limit for connecting and working, so that the user waits no longer than configured.
        let (started, limit) = (Monotonic::now(), self.target.limits.timeout);
        let opened =
            ConnectedTarget::open_with_timeout(self.target.connect_options(&self.config.catalogue)).await?;
        match tokio::time::timeout(limit.saturating_sub(started.elapsed()), work(&opened)).await {
            Ok(outcome) => {
                opened.session.close().await;
                outcome
            }
            Err(_) => {
                // Cancel the statement, or the server would continue it.
                opened.session.cancel_and_close().await;
                Err(TargetError::TimedOut(limit.as_secs()))
            }
        }
    }
}
