//! Evidence: the rows that make a verdict, fetched from where an engine has seen them.

use sessionwatch_core::{instant::Instant, snapshot::Notable};

pub use sessionwatch_core::snapshot::EVIDENCE_LIMIT;

use super::{
    engine::{ADDRESSES_PER_QUERY, Observation, count, instant},
    error::TargetError,
    read_session::ReadSession,
    scope::Scope,
    sql::{Among, RowKind, Rows},
};

/// One row that made a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The first characters of the token.
    pub token_prefix: Option<String>,
    /// The row's id.
    pub id: Option<String>,
    /// The user's id.
    pub user: Option<String>,
    /// The end of the session.
    pub expires_at: Option<Instant>,
    /// How many rows it stands for.
    pub rows: u64,
    /// What helps a person to recognise the user.
    pub display: Vec<Option<String>>,
}

/// Rows of evidence.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Rows whose tokens occur more than once.
    Duplicates,
    /// Rows on tokens of these fingerprints.
    Fingerprints(&'a [u64]),
    /// Rows whose users do not exist.
    Orphans,
    /// The expired rows, oldest first.
    OldestExpired,
    /// Rows that end too late or never.
    BeyondPolicy,
}

impl ReadSession {
    /// Rows of evidence: fetched from where they stand if an engine has just seen them, else looked for.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn evidence(
        &self,
        scope: &Scope<'_>,
        wanted: Wanted<'_>,
        observation: &Observation,
    ) -> Result<Vec<Evidence>, TargetError> {
        let sql = &scope.queries();
        let (traces, snapshot) = (&observation.traces, observation.snapshot.as_ref());
        let noted = |notable| snapshot.and_then(|snapshot| snapshot.addresses(notable)).unwrap_or_default();
        let (kind, addresses) = match wanted {
            Wanted::Duplicates => (RowKind::Duplicates, traces.addresses.clone()),
            Wanted::Fingerprints(some) => (RowKind::Any, noted(Notable::Fingerprints(some))),
            Wanted::Orphans => (RowKind::Orphans, noted(Notable::Orphans)),
            Wanted::OldestExpired => (RowKind::OldestExpired, noted(Notable::OldestExpired)),
            Wanted::BeyondPolicy => (RowKind::BeyondPolicy, noted(Notable::BeyondPolicy)),
        };
        if (1..=ADDRESSES_PER_QUERY).contains(&addresses.len()) {
            let among = match wanted {
                Wanted::Fingerprints(some) => Among::Suspects(some, &addresses),
                Wanted::Duplicates => Among::Suspects(&traces.fingerprints, &addresses),
                _ => Among::Addresses(&addresses),
            };
            let rows = Rows { kind, among };
            let found = self.evidence_rows(scope, rows).await?;
            // Some storage says where rows stand, but does not find them there.
            if found.len() >= addresses.len().min(EVIDENCE_LIMIT) {
                return Ok(found);
            }
        }
        let among = match wanted {
            Wanted::Fingerprints(some) => Among::Fingerprints(some),
            Wanted::Duplicates if !traces.fingerprints.is_empty() => {
                Among::Fingerprints(&traces.fingerprints)
            }
            Wanted::Orphans if !traces.orphans.is_empty() && sql.finds_users_by_value() => {
                Among::Users(&traces.orphans)
            }
            _ => Among::All,
        };
        let mut found = self.evidence_rows(scope, Rows { kind, among }).await?;
        // Some users are no text.
        if let Among::Users(users) = among
            && found.len() < users.len().min(EVIDENCE_LIMIT)
        {
            found = self.evidence_rows(scope, Rows::all(kind)).await?;
        }
        Ok(found)
    }

    /// The first rows of a kind of evidence, among some rows or all.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn evidence_rows(
        &self,
        scope: &Scope<'_>,
        rows: Rows<'_>,
    ) -> Result<Vec<Evidence>, TargetError> {
        let found = self.fetch(&scope.queries().rows(rows, EVIDENCE_LIMIT)).await?;
        Ok(found.iter().map(|row| evidence(row)).collect())
    }
}

/// Reads a line of [`Sql::rows`].
fn evidence(row: &[Option<String>]) -> Evidence {
    let text = |at: usize| row.get(at).cloned().flatten();
    Evidence {
        token_prefix: text(0),
        id: text(1),
        user: text(2),
        expires_at: instant(row, 3),
        rows: count(row, 4).unwrap_or(1),
        display: row.get(5..).unwrap_or_default().to_vec(),
    }
}
