//! Lists of sessions and users for display.

use sessionwatch_core::{
    snapshot::{MAX_EVIDENCE_ROWS, UserTotal},
    timestamp::UtcTimestamp,
};

use super::{
    cells::{self, TextRow},
    engine::{parse_count, parse_timestamp},
    error::TargetError,
    evidence::EvidenceRow,
    read_session::ReadSession,
    scope::QueryScope,
    sql::{ProblemSearch, SessionListQuery, SessionProblem},
};

/// A session as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Token prefix.
    pub token_prefix: Option<String>,
    /// Row id.
    pub id: Option<String>,
    /// User id.
    pub user: Option<String>,
    /// Expiry time.
    pub expires_at: Option<UtcTimestamp>,
    /// Creation time.
    pub created_at: Option<UtcTimestamp>,
    /// IP address of the client.
    pub ip: Option<String>,
    /// User agent of the client.
    pub agent: Option<String>,
    /// What is wrong with the session; `None` also if the list did not look for it.
    pub problem: Option<SessionProblem>,
    /// Columns that help people recognize the user.
    pub display: Vec<Option<String>>,
}

/// The count by which users are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserRankKey {
    /// Active sessions.
    Active,
    /// Rows of any status.
    Rows,
    /// Sessions created in the last hour.
    Recent,
}

impl ListedSession {
    /// Reads a row of [`super::sql::QueryBuilder::session_list_query`].
    fn from_row(row: &TextRow, search: ProblemSearch) -> Result<Self, TargetError> {
        let text = |at: usize| row.get(at).cloned().flatten();
        let (problem, display) = match search {
            ProblemSearch::Skip => (None, 7),
            _ => (text(7).as_deref().and_then(SessionProblem::from_column_value), 8),
        };
        Ok(Self {
            token_prefix: text(0),
            id: text(1),
            user: text(2),
            expires_at: parse_timestamp(row, 3)?,
            created_at: parse_timestamp(row, 4)?,
            ip: text(5),
            agent: text(6),
            problem,
            display: row.get(display..).unwrap_or_default().to_vec(),
        })
    }
}

/// Users with the highest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedUsers {
    /// The users, those with the highest count first, up to a limit.
    pub users: Vec<EvidenceRow>,
    /// Number of users that have such a count.
    pub total: u64,
}

impl UserRankKey {
    /// Returns the column of the per-user query.
    const fn column(self) -> char {
        match self {
            Self::Active => 'a',
            Self::Rows => 'n',
            Self::Recent => 'r',
        }
    }
}

/// Reads a user and a count from a row of [`super::sql::QueryBuilder::top_users_query`].
fn parse_user_total(row: &TextRow) -> Result<UserTotal, TargetError> {
    let user = cells::required_text(row, 0, "a user ID")?.to_owned();
    Ok(UserTotal { user, sessions: parse_count(row, 1)? })
}

impl ReadSession {
    /// Lists sessions.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn list_sessions(
        &self,
        scope: &QueryScope<'_>,
        list: SessionListQuery<'_>,
    ) -> Result<Vec<ListedSession>, TargetError> {
        let rows = self.fetch_rows(&scope.query_builder().session_list_query(list)).await?;
        rows.iter().map(|row| ListedSession::from_row(row, list.problem_search)).collect()
    }

    /// Counts the sessions of a list, up to `most`. Returns `None` if the query fails; the transaction stays usable.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn count_listed(
        &self,
        scope: &QueryScope<'_>,
        list: SessionListQuery<'_>,
        most: usize,
    ) -> Result<Option<u64>, TargetError> {
        self.try_fetch_number(&scope.query_builder().count_listed_query(list, most)).await
    }

    /// Returns the users with the most active sessions, including those that an engine leaves out as
    /// unremarkable.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn list_most_active_users(
        &self,
        scope: &QueryScope<'_>,
    ) -> Result<Vec<UserTotal>, TargetError> {
        let query = scope.query_builder().top_users_query(UserRankKey::Active.column(), 0, MAX_EVIDENCE_ROWS);
        self.fetch_rows(&query).await?.iter().map(parse_user_total).collect()
    }

    /// Returns the users with the highest counts, with columns that help people recognize them, and the number of
    /// users that have such a count.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn rank_users(
        &self,
        scope: &QueryScope<'_>,
        rank: UserRankKey,
        limit: usize,
    ) -> Result<RankedUsers, TargetError> {
        let rows = self.fetch_rows(&scope.query_builder().ranked_users_query(rank.column(), limit)).await?;
        let total = rows.first().map_or(Ok(0), |row| parse_count(row, 2))?;
        let users = rows.iter().map(parse_user_total).collect::<Result<Vec<_>, _>>()?;
        Ok(RankedUsers { users: self.describe_users(scope, &users).await?, total })
    }

    /// Adds the columns that help people recognize users.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn describe_users(
        &self,
        scope: &QueryScope<'_>,
        users: &[UserTotal],
    ) -> Result<Vec<EvidenceRow>, TargetError> {
        let ids: Vec<&str> = users.iter().map(|holder| holder.user.as_str()).collect();
        let named = match scope.query_builder().user_display_query(&ids) {
            Some(query) => self.fetch_rows(&query).await?,
            None => vec![],
        };
        let display = |id: &str| {
            let row = named.iter().find(|row| row.first().is_some_and(|user| user.as_deref() == Some(id)));
            row.and_then(|row| row.get(1..)).unwrap_or_default().to_vec()
        };
        let evidence = |holder: &UserTotal| EvidenceRow {
            user: Some(holder.user.clone()),
            rows: holder.sessions,
            display: display(&holder.user),
            ..EvidenceRow::default()
        };
        Ok(users.iter().map(evidence).collect())
    }
}
