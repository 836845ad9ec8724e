//! What `doctor` asks of a target besides its schema.

use sessionwatch_core::timestamp::UtcTimestamp;

pub use super::backend::{NamedDatabase, RowIdSequence};
use super::{
    backend::ReadBackend as _,
    cells::{self, TextRow},
    databases::{ReadSession, each},
    error::TargetError,
    scope::QueryScope,
};

/// Sessions in which somebody acts for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpersonatorSummary {
    /// Who acts.
    pub impersonator: String,
    /// In how many active sessions.
    pub sessions: u64,
    /// The earliest creation among them; nothing where that is not stored.
    pub since: Option<UtcTimestamp>,
}

impl ReadSession {
    /// Characters of the shortest of so many tokens; `None` if there is no session.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn min_token_length(
        &self,
        scope: &QueryScope<'_>,
        sample: usize,
    ) -> Result<Option<u64>, TargetError> {
        let lengths = self.fetch_rows(&scope.query_builder().token_lengths_query(sample)).await?;
        let lengths = lengths.iter().map(|row| cells::parse_number(row, 0, "the length of a token"));
        Ok(lengths.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min())
    }

    /// How many ends are numbers of another unit than the others, seconds among milliseconds or the reverse.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_expiries_in_other_unit(&self, scope: &QueryScope<'_>) -> Result<u64, TargetError> {
        match scope.query_builder().expiries_in_other_unit_query() {
            Some(query) => self.try_fetch_number(&query).await?.ok_or(TargetError::ConnectionLost),
            None => Ok(0),
        }
    }

    /// What every one of so many tokens begins with, as far as it is shown; `None` if they differ, or are few.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_common_token_prefix(
        &self,
        scope: &QueryScope<'_>,
        sample: usize,
    ) -> Result<Option<String>, TargetError> {
        /// Of fewer tokens, it may be chance.
        const MIN_TOKENS: u64 = 5;
        let rows = self.fetch_rows(&scope.query_builder().token_prefix_range_query(sample)).await?;
        let row = rows.into_iter().next().ok_or(TargetError::ConnectionLost)?;
        let enough = cells::parse_required_number::<u64>(&row, 2, "a count")? >= MIN_TOKENS;
        let [first, last, _] =
            <[Option<String>; 3]>::try_from(row).map_err(|_| TargetError::ConnectionLost)?;
        Ok(first.filter(|first| enough && !first.is_empty() && Some(first) == last.as_ref()))
    }

    /// Who acts for users in active sessions that began more than an hour ago, most first.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn list_impersonators(
        &self,
        scope: &QueryScope<'_>,
        limit: usize,
    ) -> Result<Vec<ImpersonatorSummary>, TargetError> {
        let Some(query) = scope.query_builder().impersonators_query(limit) else { return Ok(vec![]) };
        let one = |row: &TextRow| {
            let sessions = cells::parse_required_number(row, 1, "a count")?;
            let since = cells::parse_timestamp(row, 2, "an instant")?;
            let who = row.first().cloned().flatten();
            Ok(who.map(|who| ImpersonatorSummary { impersonator: who, sessions, since }))
        };
        self.fetch_rows(&query).await?.iter().map(one).filter_map(Result::transpose).collect()
    }

    /// Where the row ids stand; nothing where they are no small numbers of a sequence.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_row_id_sequence(
        &self,
        scope: &QueryScope<'_>,
    ) -> Result<Option<RowIdSequence>, TargetError> {
        each!(self, ReadSession, session => session.find_row_id_sequence(&scope.query_builder()).await)
    }

    /// The databases on the server whose names begin so; none of a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn list_databases(&self, prefix: &str) -> Result<Vec<NamedDatabase>, TargetError> {
        each!(self, ReadSession, session => session.list_databases(prefix).await)
    }
}
