//! What `doctor` asks of a target besides its schema.

use sessionwatch_core::instant::Instant;

pub use super::backend::{NamedDatabase, RowIdSequence};
use super::{
    backend::ReadBackend as _,
    cells::{self, TextRow},
    databases::{ReadSession, each},
    error::TargetError,
    scope::Scope,
};

/// Sessions in which somebody acts for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impersonations {
    /// Who acts.
    pub who: String,
    /// In how many active sessions.
    pub sessions: u64,
    /// The earliest creation among them; nothing where that is not stored.
    pub since: Option<Instant>,
}

impl ReadSession {
    /// Characters of the shortest of so many tokens; `None` if there is no session.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn shortest_token(&self, scope: &Scope<'_>, sample: usize) -> Result<Option<u64>, TargetError> {
        let lengths = self.fetch(&scope.queries().token_lengths(sample)).await?;
        let lengths = lengths.iter().map(|row| cells::number(row, 0, "the length of a token"));
        Ok(lengths.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min())
    }

    /// How many ends are numbers of another unit than the others, seconds among milliseconds or the reverse.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn ends_in_other_unit(&self, scope: &Scope<'_>) -> Result<u64, TargetError> {
        match scope.queries().ends_in_other_unit() {
            Some(query) => self.attempt(&query).await?.ok_or(TargetError::Lost),
            None => Ok(0),
        }
    }

    /// What every one of so many tokens begins with, as far as it is shown; `None` if they differ, or are few.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn common_token_prefix(
        &self,
        scope: &Scope<'_>,
        sample: usize,
    ) -> Result<Option<String>, TargetError> {
        /// Of fewer tokens, it may be chance.
        const MIN_TOKENS: u64 = 5;
        let rows = self.fetch(&scope.queries().prefixes(sample)).await?;
        let row = rows.into_iter().next().ok_or(TargetError::Lost)?;
        let enough = cells::required::<u64>(&row, 2, "a count")? >= MIN_TOKENS;
        let [first, last, _] = <[Option<String>; 3]>::try_from(row).map_err(|_| TargetError::Lost)?;
        Ok(first.filter(|first| enough && !first.is_empty() && Some(first) == last.as_ref()))
    }

    /// Who acts for users in active sessions that began more than an hour ago, most first.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn impersonations(
        &self,
        scope: &Scope<'_>,
        limit: usize,
    ) -> Result<Vec<Impersonations>, TargetError> {
        let Some(query) = scope.queries().impersonations(limit) else { return Ok(vec![]) };
        let one = |row: &TextRow| {
            let sessions = cells::required(row, 1, "a count")?;
            let since = cells::instant(row, 2, "an instant")?;
            let who = row.first().cloned().flatten();
            Ok(who.map(|who| Impersonations { who, sessions, since }))
        };
        self.fetch(&query).await?.iter().map(one).filter_map(Result::transpose).collect()
    }

    /// Where the row ids stand; nothing where they are no small numbers of a sequence.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn row_id_sequence(&self, scope: &Scope<'_>) -> Result<Option<RowIdSequence>, TargetError> {
        each!(self, ReadSession, session => session.row_id_sequence(&scope.queries()).await)
    }

    /// The databases on the server whose names begin so; none of a file.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn databases(&self, prefix: &str) -> Result<Vec<NamedDatabase>, TargetError> {
        each!(self, ReadSession, session => session.databases(prefix).await)
    }
}
