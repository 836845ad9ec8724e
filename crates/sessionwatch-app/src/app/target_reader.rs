//! What one command reads of a target: over a connection of its own, within the whole time limit of the target. What pages
//! read as well, they read by the same functions, over a connection that waits for the next question.

use std::time::Instant as Monotonic;

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_targets::{
    connect::ConnectedTarget,
    error::TargetError,
    evidence::EvidenceRow,
    side_effects::RowEvent,
    sql::{
        SessionListQuery,
        grants::{self, GrantSubject},
    },
};

use super::{
    layouts::DetectedLayout,
    queries::{self, QuerySelection},
    sessions::{self, SessionList, SessionQuery, SessionRow},
};
use crate::{
    config::{Config, Target},
    doctor::{self, Diagnostic},
};

pub use sessionwatch_targets::{listing::UserRankKey as UserRank, sql::grants::GrantRoles};

/// Rows that are compared with a log.
const MAX_CORRELATED_ROWS: usize = 100_000;

/// Reads of a target.
#[derive(Clone, Copy, Debug)]
pub struct TargetReader<'a> {
    config: &'a Config,
    target: &'a Target,
}

/// Users by how many sessions they have, the most first.
#[derive(Clone, Debug)]
pub struct UserRanking {
    /// The users, no more than the limit.
    pub users: Vec<RankedUser>,
    /// Whether there are more.
    pub has_more: bool,
    /// Names of what helps a person to recognize a user.
    pub display: Vec<String>,
}

/// A user, and how many sessions there are.
#[derive(Clone, Debug)]
pub struct RankedUser {
    /// The user's id.
    pub id: Option<String>,
    /// How many.
    pub sessions: u64,
    /// What helps a person to recognize the user.
    pub display: Vec<Option<String>>,
}

impl<'a> TargetReader<'a> {
    /// Of a target, under a configuration. Nothing is connected to yet.
    #[must_use]
    pub const fn new(config: &'a Config, target: &'a Target) -> Self {
        Self { config, target }
    }

    /// Sessions.
    ///
    /// # Errors
    ///
    /// If the target cannot be opened, does not answer in time, or the query fails.
    pub async fn list_sessions(self, query: &SessionQuery) -> Result<SessionList, TargetError> {
        self.with_connection(async |opened| sessions::query_sessions(opened, self.config, query).await).await
    }

    /// Sessions that were created since then; or why the table cannot say which those are.
    ///
    /// # Errors
    ///
    /// The same as of [`Self::list_sessions`].
    pub async fn list_sessions_created_since(
        self,
        since: UtcTimestamp,
    ) -> Result<Result<Vec<SessionRow>, String>, TargetError> {
        self.with_connection(async |opened| {
            if opened.layout.candidate.mapping.created.is_none() {
                return Ok(Err("the table does not say when rows were created".to_owned()));
            }
            let scope = opened.query_scope(false, &self.config.checks.thresholds);
            let list =
                SessionListQuery { created_since: Some(since), ..SessionListQuery::all(MAX_CORRELATED_ROWS) };
            Ok(Ok(opened.session.list_sessions(&scope, list).await?))
        })
        .await
    }

    /// Users by how many sessions they have.
    ///
    /// # Errors
    ///
    /// The same as of [`Self::list_sessions`], or if the table does not say what users are ranked by.
    pub async fn rank_users(self, rank: UserRank, limit: usize) -> Result<UserRanking, TargetError> {
        self.with_connection(async |opened| {
            let mapping = &opened.layout.candidate.mapping;
            if mapping.user.is_none() {
                let why = "no column of the user is known, so users cannot be ranked";
                return Err(TargetError::Mapping(why.into()));
            }
            if rank == UserRank::Recent && mapping.created.is_none() {
                let why = "creation is not stored, so recent sessions cannot be told";
                return Err(TargetError::Mapping(why.into()));
            }
            let scope = opened.query_scope(false, &self.config.checks.thresholds);
            // One more tells whether there are more.
            let ranked = opened.session.rank_users(&scope, rank, limit + 1).await?;
            let has_more = ranked.len() > limit;
            let user =
                |held: EvidenceRow| RankedUser { id: held.user, sessions: held.rows, display: held.display };
            let users = ranked.into_iter().take(limit).map(user).collect();
            Ok(UserRanking { users, has_more, display: sessions::display_columns(opened) })
        })
        .await
    }

    /// How it stores its sessions, as that is recognized now.
    ///
    /// # Errors
    ///
    /// If the target cannot be opened in time, or no session table is recognized.
    pub async fn detect_layout(self) -> Result<DetectedLayout, TargetError> {
        self.with_connection(async |opened| Ok(DetectedLayout::from_layout(&opened.layout))).await
    }

    /// Queries to paste into the client of its database, as one script; the sixth of the operator's guide is about `user`.
    ///
    /// # Errors
    ///
    /// The same as of [`Self::detect_layout`].
    pub async fn render_queries(self, selection: QuerySelection, user: &str) -> Result<String, TargetError> {
        self.with_connection(async |opened| Ok(queries::render_script(opened, self.config, selection, user)))
            .await
    }

    /// Statements that create roles with the least privileges.
    ///
    /// # Errors
    ///
    /// The same as of [`Self::list_sessions`].
    pub async fn render_grants(self, roles: GrantRoles<'_>) -> Result<String, TargetError> {
        self.with_connection(async |opened| {
            let mapping = &opened.layout.candidate.mapping;
            let catalog = opened.session.read_side_effects().await?;
            let sessions = opened.layout.catalog_name();
            let event = RowEvent::from_revoke(&mapping.revoke);
            let reached = &catalog.list_side_effects(&sessions, event);
            let dependents =
                &if event == RowEvent::Delete { catalog.archivable_dependents(&sessions) } else { vec![] };
            let schema = &opened.layout.schema;
            Ok(grants::grant_statements(
                GrantSubject { schema, mapping, side_effects: reached, dependents },
                roles,
            ))
        })
        .await
    }

    /// What the doctor finds about it.
    ///
    /// # Errors
    ///
    /// The same as of [`Self::list_sessions`].
    pub async fn run_doctor(self) -> Result<Vec<Diagnostic>, TargetError> {
        let visit = self.with_connection(async |opened| doctor::examine_target(self.target, opened).await);
        let mut findings = visit.await?;
        findings.extend(doctor::diagnose_drill_files(self.config));
        Ok(findings)
    }

    /// Opens the target, does the work within its time limit, and closes it.
    async fn with_connection<T>(
        self,
        work: impl AsyncFnOnce(&ConnectedTarget) -> Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        let (started, limit) = (Monotonic::now(), self.target.limits.timeout);
        let opened =
            ConnectedTarget::open_with_timeout(self.target.connect_options(&self.config.catalogue)).await?;
        match tokio::time::timeout(limit.saturating_sub(started.elapsed()), work(&opened)).await {
            Ok(outcome) => {
                opened.session.close().await;
                outcome
            }
            Err(_) => {
                opened.session.cancel_and_close().await;
                Err(TargetError::TimedOut(limit.as_secs()))
            }
        }
    }
}
