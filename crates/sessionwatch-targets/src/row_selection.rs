//! Selection of the rows of a plan, counted and listed without their tokens.

use sessionwatch_core::{
    local_time::NewestTimes,
    row_ref::{self, RowRef},
    timestamp::UtcTimestamp,
};

pub use super::{backend::RowKeySupport, sql::SelectionQuery};
use super::{
    backend::{BufferedRows, ReadBackend as _},
    cells::{self, TextRow},
    error::TargetError,
    layout::Layout,
    mapping::RevokeMethod,
    scope::QueryScope,
    side_effects::{ReachedSideEffect, SideEffectCatalog},
    sql::LocateBy,
    supported_databases::{ReadSession, each},
};

/// Counts over the whole session table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableTotals {
    /// Number of active sessions.
    pub active: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of rows whose expiry is undecodable or implausibly old.
    pub implausible_expiries: u64,
    /// Number of rows whose expiry is text without a time zone.
    pub naive_expiries: u64,
    /// Latest creation time, and latest expiry time in the past.
    pub newest: NewestTimes,
}

/// A user found by part of an id, name or handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMatch {
    /// User id.
    pub id: Option<String>,
    /// Columns that help people recognize the user.
    pub display: Vec<Option<String>>,
}

/// A row that is evidence of a leak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakRow {
    /// Fingerprint of the token.
    pub fingerprint: Option<String>,
    /// Token prefix.
    pub token_prefix: Option<String>,
    /// Row id.
    pub id: Option<String>,
    /// User id.
    pub user: Option<String>,
    /// Expiry time in microseconds since the epoch.
    pub expires_us: Option<i64>,
    /// `true` if the user does not exist.
    pub is_orphaned: bool,
}

/// A planned row that is still in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentRow {
    /// Current row hash.
    pub row_hash: i64,
    /// Row id, if the table has one.
    pub id: Option<String>,
}

impl PresentRow {
    /// Reads a row of [`super::sql::QueryBuilder::present_rows_query`].
    pub(super) fn from_row(row: &TextRow) -> Result<Self, TargetError> {
        Ok(Self {
            row_hash: cells::parse_required_number(row, 0, "a row hash")?,
            id: row.get(1).cloned().flatten(),
        })
    }
}

/// A cursor over selected rows, some thousands per page.
#[derive(Debug)]
pub struct SelectedRowPages<'a> {
    session: &'a ReadSession,
    pages: BufferedRows,
}

impl SelectedRowPages<'_> {
    /// Returns the next rows, or `None` at the end.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn next_page(&mut self) -> Result<Option<Vec<RowRef>>, TargetError> {
        let page = self.session.next_page(&mut self.pages).await?;
        page.map(|page| page.iter().map(|row| parse_planned_row(row)).collect()).transpose()
    }
}

impl ReadSession {
    /// Returns the unique key of the session rows.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn find_row_key(&self, layout: &Layout) -> Result<RowKeySupport, TargetError> {
        let sessions = &layout.candidate.mapping.sessions;
        let found = layout.schema.table(sessions);
        each!(self, ReadSession, session => session.find_row_key(sessions, found).await)
    }

    /// Counts the whole table. Rows that expired before `implausible_before` count as implausible.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_totals(
        &self,
        scope: &QueryScope<'_>,
        implausible_before: UtcTimestamp,
    ) -> Result<TableTotals, TargetError> {
        let rows = self.fetch_rows(&scope.query_builder().totals_query(implausible_before)).await?;
        let row = cells::only_row(&rows, "a count")?;
        let count = |at: usize| cells::parse_required_number(row, at, "a count");
        let instant = |at: usize| cells::parse_timestamp(row, at, "a timestamp");
        Ok(TableTotals {
            active: count(0)?,
            rows: count(1)?,
            implausible_expiries: count(2)?,
            naive_expiries: count(3)?,
            newest: NewestTimes { created: instant(4)?, ended: instant(5)? },
        })
    }

    /// Opens a cursor over the selected rows.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn select_rows(
        &self,
        scope: &QueryScope<'_>,
        query: SelectionQuery<'_>,
    ) -> Result<SelectedRowPages<'_>, TargetError> {
        let SelectionQuery { selection, revoke, row_key } = query;
        let pages =
            self.open_cursor(&scope.query_builder().planned_rows_query(selection, revoke, row_key)).await?;
        Ok(SelectedRowPages { session: self, pages })
    }

    /// Returns the number of rows selected now.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_selected(
        &self,
        scope: &QueryScope<'_>,
        query: SelectionQuery<'_>,
    ) -> Result<u64, TargetError> {
        let SelectionQuery { selection, revoke, row_key } = query;
        let rows =
            self.fetch_rows(&scope.query_builder().count_rows_query(selection, revoke, row_key)).await?;
        cells::parse_only_number(&rows, "a count")
    }

    /// Returns `true` if a user with this id exists; `false` if no user table is known.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn user_exists(&self, scope: &QueryScope<'_>, id: &str) -> Result<bool, TargetError> {
        match scope.query_builder().user_exists_query(id) {
            Some(query) => Ok(!self.fetch_rows(&query).await?.is_empty()),
            None => Ok(false),
        }
    }

    /// Returns users whose id, name or handle contains a text; none if no user table is known.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn search_users(
        &self,
        scope: &QueryScope<'_>,
        part: &str,
        limit: usize,
    ) -> Result<Vec<UserMatch>, TargetError> {
        let Some(query) = scope.query_builder().search_users_query(part, limit) else { return Ok(vec![]) };
        let found = |row: TextRow| {
            let mut cells = row.into_iter();
            UserMatch { id: cells.next().flatten(), display: cells.collect() }
        };
        Ok(self.fetch_rows(&query).await?.into_iter().map(found).collect())
    }

    /// Counts the sessions whose user id has a different format from all keys of users.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_users_in_other_form(&self, scope: &QueryScope<'_>) -> Result<u64, TargetError> {
        match scope.query_builder().users_in_other_form_query() {
            Some(query) => cells::parse_only_number(&self.fetch_rows(&query).await?, "a count"),
            None => Ok(0),
        }
    }

    /// Returns up to `limit` rows with repeated tokens or a nonexistent user.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn list_leak_rows(
        &self,
        scope: &QueryScope<'_>,
        limit: usize,
    ) -> Result<Vec<LeakRow>, TargetError> {
        let row = |row: TextRow| {
            let expires_us = cells::parse_number(&row, 4, "an expiry")?;
            let mut cells = row.into_iter();
            let mut text = || cells.next().flatten();
            let (fingerprint, token_prefix, id, user, _) = (text(), text(), text(), text(), text());
            Ok(LeakRow {
                fingerprint,
                token_prefix,
                id,
                user,
                expires_us,
                is_orphaned: text().as_deref() == Some("1"),
            })
        };
        self.fetch_rows(&scope.query_builder().leak_rows_query(limit)).await?.into_iter().map(row).collect()
    }

    /// Returns those of the rows that are in the table.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_present_rows(
        &self,
        scope: &QueryScope<'_>,
        locate_by: LocateBy,
        rows: &[&RowRef],
    ) -> Result<Vec<PresentRow>, TargetError> {
        self.fetch_rows(&scope.query_builder().present_rows_query(locate_by, rows))
            .await?
            .iter()
            .map(PresentRow::from_row)
            .collect()
    }

    /// Returns those of the rows that are in the table and were not ended in place.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_rows_not_ended(
        &self,
        scope: &QueryScope<'_>,
        locate_by: LocateBy,
        rows: &[&RowRef],
        revoke: &RevokeMethod,
    ) -> Result<Vec<PresentRow>, TargetError> {
        let query = scope.query_builder().rows_not_ended_query(locate_by, rows, revoke);
        self.fetch_rows(&query).await?.iter().map(PresentRow::from_row).collect()
    }

    /// Returns those of the fingerprints that belong to tokens in the table.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_present_tokens(
        &self,
        scope: &QueryScope<'_>,
        fingerprints: &[i64],
    ) -> Result<Vec<i64>, TargetError> {
        let found = self.fetch_rows(&scope.query_builder().present_tokens_query(fingerprints)).await?;
        found.iter().map(|row| cells::parse_required_number(row, 0, "a fingerprint")).collect()
    }

    /// Returns those of the users that exist, or `None` if no user table is known or the table may be
    /// incomplete.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_present_users(
        &self,
        scope: &QueryScope<'_>,
        ids: &[&str],
    ) -> Result<Option<Vec<String>>, TargetError> {
        let Some(query) = scope.query_builder().present_users_query(ids) else { return Ok(None) };
        let found = self.fetch_rows(&query).await?;
        Ok(Some(found.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()))
    }

    /// Reads from the catalog what else happens when sessions are ended.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn read_side_effects(&self) -> Result<SideEffectCatalog, TargetError> {
        each!(self, ReadSession, session => session.read_side_effects().await)
    }

    /// Counts the rows that refer to the selected sessions. Returns `None` if they cannot be counted.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn count_referencing_rows(
        &self,
        scope: &QueryScope<'_>,
        side_effect: &ReachedSideEffect,
        selection: SelectionQuery<'_>,
    ) -> Result<Option<u64>, TargetError> {
        self.try_fetch_number(
            &scope.query_builder().count_referencing_rows_query(&side_effect.path, selection),
        )
        .await
    }
}

fn parse_planned_row(row: &[Option<String>]) -> Result<RowRef, TargetError> {
    let text = |at: usize| row.get(at).cloned().flatten();
    let locator =
        text(0).map(|place| row_ref::parse_locator(&place).ok_or(TargetError::Undecodable("a row locator")));
    Ok(RowRef {
        locator: locator.transpose()?.unwrap_or(0),
        version: cells::parse_required_number(row, 1, "a row version")?,
        id: text(2),
        row_hash: cells::parse_required_number(row, 3, "a row hash")?,
        token_fingerprint: cells::parse_number(row, 8, "a fingerprint")?,
        token_prefix: text(4),
        user: text(5),
        expires_us: cells::parse_number(row, 6, "an expiry")?,
        active: text(7).as_deref() == Some("1"),
    })
}

#[cfg(test)]
mod tests;
