//! Lists of sessions and of users, as people read them.

use sessionwatch_core::{
    instant::Instant,
    snapshot::{EVIDENCE_LIMIT, UserTotal},
};

use super::{
    cells::TextRow,
    engine::{count, instant},
    error::TargetError,
    evidence::Evidence,
    read_session::ReadSession,
    scope::Scope,
    sql::List,
};

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first characters of the token.
    pub token_prefix: Option<String>,
    /// The row's id.
    pub id: Option<String>,
    /// The user's id.
    pub user: Option<String>,
    /// The end of the session.
    pub expires_at: Option<Instant>,
    /// Its creation.
    pub created_at: Option<Instant>,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's user agent.
    pub agent: Option<String>,
    /// What helps a person to recognise the user.
    pub display: Vec<Option<String>>,
}

/// By what users are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Active sessions.
    Active,
    /// Rows of any status.
    Rows,
    /// Sessions created in the last hour.
    Recent,
}

impl Line {
    /// Reads a line of [`super::sql::Sql::list`].
    fn read(row: &TextRow) -> Self {
        let text = |at: usize| row.get(at).cloned().flatten();
        Self {
            token_prefix: text(0),
            id: text(1),
            user: text(2),
            expires_at: instant(row, 3),
            created_at: instant(row, 4),
            ip: text(5),
            agent: text(6),
            display: row.get(7..).unwrap_or_default().to_vec(),
        }
    }
}

impl ReadSession {
    /// The sessions of a list.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn list(&self, scope: &Scope<'_>, list: List<'_>) -> Result<Vec<Line>, TargetError> {
        let rows = self.fetch(&scope.queries().list(list)).await?;
        Ok(rows.iter().map(Line::read).collect())
    }

    /// The users with the most active sessions, where an engine may have left out those who do not stand out by themselves.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn most_active(&self, scope: &Scope<'_>) -> Result<Vec<UserTotal>, TargetError> {
        self.top_users(scope, Rank::Active, EVIDENCE_LIMIT).await
    }

    /// The users with the most sessions, and what helps to recognize them.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn ranking(
        &self,
        scope: &Scope<'_>,
        rank: Rank,
        limit: usize,
    ) -> Result<Vec<Evidence>, TargetError> {
        let holders = self.top_users(scope, rank, limit).await?;
        self.name_users(scope, &holders).await
    }

    async fn top_users(
        &self,
        scope: &Scope<'_>,
        rank: Rank,
        limit: usize,
    ) -> Result<Vec<UserTotal>, TargetError> {
        let tally = match rank {
            Rank::Active => 'a',
            Rank::Rows => 'n',
            Rank::Recent => 'r',
        };
        let rows = self.fetch(&scope.queries().top_users(tally, 0, limit)).await?;
        let holder = |row: &TextRow| {
            let user = row.first().cloned().flatten().unwrap_or_default();
            Ok(UserTotal { user, sessions: count(row, 1)? })
        };
        rows.iter().map(holder).collect()
    }

    /// Holders, with what helps to recognize them.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn name_users(
        &self,
        scope: &Scope<'_>,
        holders: &[UserTotal],
    ) -> Result<Vec<Evidence>, TargetError> {
        let ids: Vec<&str> = holders.iter().map(|holder| holder.user.as_str()).collect();
        let named = match scope.queries().users_named(&ids) {
            Some(query) => self.fetch(&query).await?,
            None => vec![],
        };
        let display = |id: &str| {
            let row = named.iter().find(|row| row.first().is_some_and(|user| user.as_deref() == Some(id)));
            row.and_then(|row| row.get(1..)).unwrap_or_default().to_vec()
        };
        let evidence = |holder: &UserTotal| Evidence {
            token_prefix: None,
            id: None,
            user: Some(holder.user.clone()),
            expires_at: None,
            rows: holder.sessions,
            display: display(&holder.user),
        };
        Ok(holders.iter().map(evidence).collect())
    }
}
