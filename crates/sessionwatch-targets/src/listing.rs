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
    sql::SessionListQuery,
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
    fn from_row(row: &TextRow) -> Result<Self, TargetError> {
        let text = |at: usize| row.get(at).cloned().flatten();
        Ok(Self {
            token_prefix: text(0),
            id: text(1),
            user: text(2),
            expires_at: parse_timestamp(row, 3)?,
            created_at: parse_timestamp(row, 4)?,
            ip: text(5),
            agent: text(6),
            display: row.get(7..).unwrap_or_default().to_vec(),
        })
    }
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
        rows.iter().map(ListedSession::from_row).collect()
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
        self.fetch_top_users(scope, UserRankKey::Active, MAX_EVIDENCE_ROWS).await
    }

    /// Returns the users with the highest counts, with columns that help people recognize them.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn rank_users(
        &self,
        scope: &QueryScope<'_>,
        rank: UserRankKey,
        limit: usize,
    ) -> Result<Vec<EvidenceRow>, TargetError> {
        let users = self.fetch_top_users(scope, rank, limit).await?;
        self.describe_users(scope, &users).await
    }

    async fn fetch_top_users(
        &self,
        scope: &QueryScope<'_>,
        rank: UserRankKey,
        limit: usize,
    ) -> Result<Vec<UserTotal>, TargetError> {
        let tally = match rank {
            // Column names of the per-user query.
            UserRankKey::Active => 'a',
            UserRankKey::Rows => 'n',
            UserRankKey::Recent => 'r',
        };
        let rows = self.fetch_rows(&scope.query_builder().top_users_query(tally, 0, limit)).await?;
        let parse_user_total = |row: &TextRow| {
            let user = cells::required_text(row, 0, "a user ID")?.to_owned();
            Ok(UserTotal { user, sessions: parse_count(row, 1)? })
        };
        rows.iter().map(parse_user_total).collect()
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
            token_prefix: None,
            id: None,
            user: Some(holder.user.clone()),
            expires_at: None,
            rows: holder.sessions,
            display: display(&holder.user),
        };
        Ok(users.iter().map(evidence).collect())
    }
}
