//! Queries of `doctor` beyond the schema.

use sessionwatch_core::timestamp::UtcTimestamp;

pub use super::backend::{NamedDatabase, RowIdSequence};
use super::{
    backend::ReadBackend as _,
    cells::{self, TextRow},
    error::TargetError,
    scope::QueryScope,
    supported_databases::{ReadSession, each},
};

/// Sessions in which an impersonator acts for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpersonatorSummary {
    /// ID of the impersonator.
    pub impersonator: String,
    /// Number of active sessions.
    pub sessions: u64,
    /// Earliest creation time among them; `None` if the creation time is not stored.
    pub since: Option<UtcTimestamp>,
}

impl ReadSession {
    /// Returns the length in characters of the shortest token among up to `sample` rows, or `None` if there
    /// is no session.
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

    /// Counts expiry times in a different unit than the rest: seconds among milliseconds, or the reverse.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_expiries_in_other_unit(&self, scope: &QueryScope<'_>) -> Result<u64, TargetError> {
        match scope.query_builder().expiries_in_other_unit_query() {
            Some(query) => cells::parse_only_number(&self.fetch_rows(&query).await?, "a count"),
            None => Ok(0),
        }
    }

    /// Returns the common prefix of up to `sample` tokens, cut to the shown length, or `None` if they differ
    /// or are too few.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_common_token_prefix(
        &self,
        scope: &QueryScope<'_>,
        sample: usize,
    ) -> Result<Option<String>, TargetError> {
        /// Minimum sample: fewer tokens may share a prefix by chance.
        const MIN_TOKENS: u64 = 5;
        let rows = self.fetch_rows(&scope.query_builder().token_prefix_range_query(sample)).await?;
        let row = cells::only_row(&rows, "a token prefix")?;
        let enough = cells::parse_required_number::<u64>(row, 2, "a count")? >= MIN_TOKENS;
        let [first, last, _] = row.as_slice() else { return Err(TargetError::Undecodable("a token prefix")) };
        // The smallest and the largest prefix are equal only if all prefixes are.
        Ok(first.clone().filter(|first| enough && !first.is_empty() && Some(first) == last.as_ref()))
    }

    /// Lists the impersonators in active sessions older than an hour, those with the most sessions first.
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
            let impersonator = row.first().cloned().flatten();
            Ok(impersonator.map(|impersonator| ImpersonatorSummary { impersonator, sessions, since }))
        };
        self.fetch_rows(&query).await?.iter().map(one).filter_map(Result::transpose).collect()
    }

    /// Returns the state of the row id sequence, or `None` if row ids are not small integers from a sequence.
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

    /// Returns the databases on the server whose names start with the prefix; none for a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn list_databases(&self, prefix: &str) -> Result<Vec<NamedDatabase>, TargetError> {
        each!(self, ReadSession, session => session.list_databases(prefix).await)
    }
}
