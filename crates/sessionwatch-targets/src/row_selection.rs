//! Selecting: the rows that a plan is about, counted and listed without their tokens.

use sessionwatch_core::{
    local_time::NewestTimes,
    row_ref::{self, RowRef},
    timestamp::UtcTimestamp,
};

pub use super::{backend::RowKeySupport, sql::SelectionQuery};
use super::{
    backend::{BufferedRows, ReadBackend as _},
    cells::{self, TextRow},
    databases::{ReadSession, each},
    error::TargetError,
    layout::Layout,
    mapping::RevokeMethod,
    scope::QueryScope,
    side_effects::{ReachedSideEffect, SideEffectCatalog},
    sql::LocateBy,
};

/// What is counted of the whole table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableTotals {
    /// Active sessions.
    pub active: u64,
    /// All rows.
    pub rows: u64,
    /// Rows whose end cannot be read, or is long ago.
    pub implausible_expiries: u64,
    /// Rows whose end is text that names no time zone.
    pub naive_expiries: u64,
    /// The latest creation, and the latest end that has passed.
    pub newest: NewestTimes,
}

/// A user who was found by a part of the id, name or handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMatch {
    /// The user's id.
    pub id: Option<String>,
    /// What helps a person to recognize the user.
    pub display: Vec<Option<String>>,
}

/// A row that shows a leak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakRow {
    /// The keyed hash of its token.
    pub fingerprint: Option<String>,
    /// The first characters of its token.
    pub token_prefix: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// Its end in microseconds.
    pub expires_us: Option<i64>,
    /// Its user does not exist.
    pub is_orphaned: bool,
}

/// A planned row that is in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentRow {
    /// Its row hash, as it is now.
    pub row_hash: i64,
    /// Its id, where rows have one.
    pub id: Option<String>,
}

impl PresentRow {
    /// Reads a line of `Sql::present`.
    pub(super) fn from_row(row: &TextRow) -> Result<Self, TargetError> {
        Ok(Self {
            row_hash: cells::parse_required_number(row, 0, "a mark")?,
            id: row.get(1).cloned().flatten(),
        })
    }
}

/// The rows of a selection, some thousands at a time.
#[derive(Debug)]
pub struct SelectedRowPages<'a> {
    session: &'a ReadSession,
    pages: BufferedRows,
}

impl SelectedRowPages<'_> {
    /// The next rows; nothing at the end.
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
    /// What is unique to a row of the sessions.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn find_row_key(&self, layout: &Layout) -> Result<RowKeySupport, TargetError> {
        let sessions = &layout.candidate.mapping.sessions;
        let found = layout.schema.table(sessions);
        each!(self, ReadSession, session => session.find_row_key(sessions, found).await)
    }

    /// Counts the table. Rows that ended before `long_ago` count as implausible.
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
        let row = rows.first().ok_or(TargetError::ConnectionLost)?;
        let count = |at: usize| cells::parse_required_number(row, at, "a count");
        let instant = |at: usize| cells::parse_timestamp(row, at, "an instant");
        Ok(TableTotals {
            active: count(0)?,
            rows: count(1)?,
            implausible_expiries: count(2)?,
            naive_expiries: count(3)?,
            newest: NewestTimes { created: instant(4)?, ended: instant(5)? },
        })
    }

    /// Begins to list the selected rows.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn select_rows(
        &self,
        scope: &QueryScope<'_>,
        selection: SelectionQuery<'_>,
    ) -> Result<SelectedRowPages<'_>, TargetError> {
        let SelectionQuery { selection: chosen, revoke, row_key: addressing } = selection;
        let pages =
            self.open_cursor(&scope.query_builder().planned_rows_query(chosen, revoke, addressing)).await?;
        Ok(SelectedRowPages { session: self, pages })
    }

    /// How many rows are selected now.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_selected(
        &self,
        scope: &QueryScope<'_>,
        selection: SelectionQuery<'_>,
    ) -> Result<u64, TargetError> {
        let SelectionQuery { selection: chosen, revoke, row_key: addressing } = selection;
        let rows =
            self.fetch_rows(&scope.query_builder().count_rows_query(chosen, revoke, addressing)).await?;
        cells::parse_only_number(&rows, "a count")
    }

    /// Whether there is a user of that id; `false` where no users are known.
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

    /// Users whose id, name or handle contains a text; none where no users are known.
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

    /// Counts the sessions whose user is written in a form that no key of a user has.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_users_in_other_form(&self, scope: &QueryScope<'_>) -> Result<u64, TargetError> {
        match scope.query_builder().users_in_other_form_query() {
            Some(query) => self.try_fetch_number(&query).await?.ok_or(TargetError::ConnectionLost),
            None => Ok(0),
        }
    }

    /// The rows on tokens that occur more than once, and the rows whose user does not exist, at most `limit`.
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
            let expires = cells::parse_number(&row, 4, "an expiry")?;
            let mut cells = row.into_iter();
            let mut text = || cells.next().flatten();
            let (fingerprint, prefix, id, user, _) = (text(), text(), text(), text(), text());
            Ok(LeakRow {
                fingerprint,
                token_prefix: prefix,
                id,
                user,
                expires_us: expires,
                is_orphaned: text().as_deref() == Some("1"),
            })
        };
        self.fetch_rows(&scope.query_builder().leak_rows_query(limit)).await?.into_iter().map(row).collect()
    }

    /// Which of these rows are in the table.
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

    /// Which of these rows are in the table, and were not ended in place.
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

    /// Which of these fingerprints are those of tokens in the table.
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

    /// Which of these users exist; `None` where no users are known, or some may be missing from what is read.
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

    /// What ending sessions does besides, by the catalog.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn read_side_effects(&self) -> Result<SideEffectCatalog, TargetError> {
        each!(self, ReadSession, session => session.read_side_effects().await)
    }

    /// How many rows refer to the selected sessions; `None` where that cannot be counted.
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
    let locator = text(0)
        .map(|place| row_ref::parse_locator(&place).ok_or(TargetError::Undecodable("the place of a row")));
    Ok(RowRef {
        locator: locator.transpose()?.unwrap_or(0),
        version: cells::parse_required_number(row, 1, "the version of a row")?,
        id: text(2),
        row_hash: cells::parse_required_number(row, 3, "a mark")?,
        token_fingerprint: cells::parse_number(row, 8, "a fingerprint")?,
        token_prefix: text(4),
        user: text(5),
        expires_us: cells::parse_number(row, 6, "an expiry")?,
        active: text(7).as_deref() == Some("1"),
    })
}
