//! Selecting: the rows that a plan is about, counted and listed without their tokens.

use sessionwatch_core::{
    instant::Instant,
    local_time::Newest,
    row_ref::{self, RowRef},
};

pub use super::{backend::RowNames, sql::Selected};
use super::{
    backend::{Pages, ReadBackend as _},
    cells::{self, TextRow},
    databases::{ReadSession, each},
    error::TargetError,
    layout::Layout,
    mapping::Revoke,
    scope::Scope,
    side_effects::{Catalog, Reached},
    sql::Named,
};

/// What is counted of the whole table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Active sessions.
    pub active: u64,
    /// All rows.
    pub rows: u64,
    /// Rows whose end cannot be read, or is long ago.
    pub implausible: u64,
    /// Rows whose end is text that names no time zone.
    pub naive: u64,
    /// The latest creation, and the latest end that has passed.
    pub newest: Newest,
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
    pub prefix: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// Its end in microseconds.
    pub expires: Option<i64>,
    /// Its user does not exist.
    pub orphaned: bool,
}

/// A planned row that is in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentRow {
    /// Its row hash, as it is now.
    pub mark: i64,
    /// Its id, where rows have one.
    pub id: Option<String>,
}

impl PresentRow {
    /// Reads a line of `Sql::present`.
    pub(super) fn read(row: &TextRow) -> Result<Self, TargetError> {
        Ok(Self { mark: cells::required(row, 0, "a mark")?, id: row.get(1).cloned().flatten() })
    }
}

/// The rows of a selection, some thousands at a time.
#[derive(Debug)]
pub struct SelectedRows<'a> {
    session: &'a ReadSession,
    pages: Pages,
}

impl SelectedRows<'_> {
    /// The next rows; nothing at the end.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn next(&mut self) -> Result<Option<Vec<RowRef>>, TargetError> {
        let page = self.session.next_page(&mut self.pages).await?;
        page.map(|page| page.iter().map(|row| planned_row(row)).collect()).transpose()
    }
}

impl ReadSession {
    /// What is unique to a row of the sessions.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn row_names(&self, layout: &Layout) -> Result<RowNames, TargetError> {
        let sessions = &layout.candidate.mapping.sessions;
        let found = layout.schema.table(sessions);
        each!(self, ReadSession, session => session.row_names(sessions, found).await)
    }

    /// Counts the table. Rows that ended before `long_ago` count as implausible.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn totals(&self, scope: &Scope<'_>, long_ago: Instant) -> Result<Totals, TargetError> {
        let rows = self.fetch(&scope.queries().totals(long_ago)).await?;
        let row = rows.first().ok_or(TargetError::Lost)?;
        let count = |at: usize| cells::required(row, at, "a count");
        let instant = |at: usize| cells::instant(row, at, "an instant");
        Ok(Totals {
            active: count(0)?,
            rows: count(1)?,
            implausible: count(2)?,
            naive: count(3)?,
            newest: Newest { created: instant(4)?, ended: instant(5)? },
        })
    }

    /// Begins to list the selected rows.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn select(
        &self,
        scope: &Scope<'_>,
        selected: Selected<'_>,
    ) -> Result<SelectedRows<'_>, TargetError> {
        let Selected { chosen, revoke, addressing } = selected;
        let pages = self.pages(&scope.queries().planned(chosen, revoke, addressing)).await?;
        Ok(SelectedRows { session: self, pages })
    }

    /// How many rows are selected now.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn count_selected(
        &self,
        scope: &Scope<'_>,
        selected: Selected<'_>,
    ) -> Result<u64, TargetError> {
        let Selected { chosen, revoke, addressing } = selected;
        let rows = self.fetch(&scope.queries().counted(chosen, revoke, addressing)).await?;
        cells::only(&rows, "a count")
    }

    /// Whether there is a user of that id; `false` where no users are known.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn user_exists(&self, scope: &Scope<'_>, id: &str) -> Result<bool, TargetError> {
        match scope.queries().user_known(id) {
            Some(query) => Ok(!self.fetch(&query).await?.is_empty()),
            None => Ok(false),
        }
    }

    /// Users whose id, name or handle contains a text; none where no users are known.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn users(
        &self,
        scope: &Scope<'_>,
        part: &str,
        limit: usize,
    ) -> Result<Vec<UserMatch>, TargetError> {
        let Some(query) = scope.queries().users_like(part, limit) else { return Ok(vec![]) };
        let found = |row: TextRow| {
            let mut cells = row.into_iter();
            UserMatch { id: cells.next().flatten(), display: cells.collect() }
        };
        Ok(self.fetch(&query).await?.into_iter().map(found).collect())
    }

    /// Counts the sessions whose user is written in a form that no key of a user has.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn users_in_other_form(&self, scope: &Scope<'_>) -> Result<u64, TargetError> {
        match scope.queries().users_in_other_form() {
            Some(query) => self.attempt(&query).await?.ok_or(TargetError::Lost),
            None => Ok(0),
        }
    }

    /// The rows on tokens that occur more than once, and the rows whose user does not exist, at most `limit`.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn leak_rows(&self, scope: &Scope<'_>, limit: usize) -> Result<Vec<LeakRow>, TargetError> {
        let row = |row: TextRow| {
            let expires = cells::number(&row, 4, "an expiry")?;
            let mut cells = row.into_iter();
            let mut text = || cells.next().flatten();
            let (fingerprint, prefix, id, user, _) = (text(), text(), text(), text(), text());
            Ok(LeakRow { fingerprint, prefix, id, user, expires, orphaned: text().as_deref() == Some("1") })
        };
        self.fetch(&scope.queries().affected(limit)).await?.into_iter().map(row).collect()
    }

    /// Which of these rows are in the table.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn present_rows(
        &self,
        scope: &Scope<'_>,
        named: Named,
        rows: &[&RowRef],
    ) -> Result<Vec<PresentRow>, TargetError> {
        self.fetch(&scope.queries().present(named, rows)).await?.iter().map(PresentRow::read).collect()
    }

    /// Which of these rows are in the table, and were not ended in place.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn rows_not_ended(
        &self,
        scope: &Scope<'_>,
        named: Named,
        rows: &[&RowRef],
        revoke: &Revoke,
    ) -> Result<Vec<PresentRow>, TargetError> {
        let query = scope.queries().unchanged(named, rows, revoke);
        self.fetch(&query).await?.iter().map(PresentRow::read).collect()
    }

    /// Which of these fingerprints are those of tokens in the table.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn present_tokens(
        &self,
        scope: &Scope<'_>,
        fingerprints: &[i64],
    ) -> Result<Vec<i64>, TargetError> {
        let found = self.fetch(&scope.queries().tokens_there(fingerprints)).await?;
        found.iter().map(|row| cells::required(row, 0, "a fingerprint")).collect()
    }

    /// Which of these users exist; `None` where no users are known, or some may be missing from what is read.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn present_users(
        &self,
        scope: &Scope<'_>,
        ids: &[&str],
    ) -> Result<Option<Vec<String>>, TargetError> {
        let Some(query) = scope.queries().users_there(ids) else { return Ok(None) };
        let found = self.fetch(&query).await?;
        Ok(Some(found.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()))
    }

    /// What ending sessions does besides, by the catalog.
    ///
    /// # Errors
    ///
    /// If the catalog cannot be read.
    pub async fn side_effects(&self) -> Result<Catalog, TargetError> {
        each!(self, ReadSession, session => session.side_effects().await)
    }

    /// How many rows refer to the selected sessions; `None` where that cannot be counted.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub async fn count_referring(
        &self,
        scope: &Scope<'_>,
        reached: &Reached,
        selected: Selected<'_>,
    ) -> Result<Option<u64>, TargetError> {
        self.attempt(&scope.queries().referring(&reached.path, selected)).await
    }
}

fn planned_row(row: &[Option<String>]) -> Result<RowRef, TargetError> {
    let text = |at: usize| row.get(at).cloned().flatten();
    let place =
        text(0).map(|place| row_ref::place(&place).ok_or(TargetError::Undecodable("the place of a row")));
    Ok(RowRef {
        place: place.transpose()?.unwrap_or(0),
        version: cells::required(row, 1, "the version of a row")?,
        id: text(2),
        mark: cells::required(row, 3, "a mark")?,
        token: cells::number(row, 8, "a fingerprint")?,
        prefix: text(4),
        user: text(5),
        expires: cells::number(row, 6, "an expiry")?,
        active: text(7).as_deref() == Some("1"),
    })
}
