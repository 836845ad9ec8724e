//! Evidence: the rows behind a result, fetched by the addresses that an engine recorded.

use sessionwatch_core::{snapshot::EvidenceSelector, timestamp::UtcTimestamp};

pub use sessionwatch_core::snapshot::MAX_EVIDENCE_ROWS;

use super::{
    engine::{ADDRESSES_PER_QUERY, EngineObservation, parse_count, parse_timestamp},
    error::TargetError,
    read_session::ReadSession,
    scope::QueryScope,
    sql::{EvidenceQuery, EvidenceRowKind, RowSubset},
};

/// One row behind a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceRow {
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
    /// Number of rows that this one stands for.
    pub rows: u64,
    /// Columns that help people recognize the user.
    pub display: Vec<Option<String>>,
}

/// The kind of evidence to fetch.
#[derive(Clone, Copy, Debug)]
pub enum EvidenceRequest<'a> {
    /// Rows whose token occurs more than once.
    Duplicates,
    /// Rows with tokens of these fingerprints.
    Fingerprints(&'a [u64]),
    /// Rows whose user does not exist.
    Orphans,
    /// Expired rows, oldest first.
    OldestExpired,
    /// Rows that expire later than allowed, or never.
    BeyondPolicy,
}

impl ReadSession {
    /// Fetches rows of evidence: by address if an engine has just recorded them, otherwise by a search.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn fetch_evidence(
        &self,
        scope: &QueryScope<'_>,
        request: EvidenceRequest<'_>,
        observation: &EngineObservation,
    ) -> Result<Vec<EvidenceRow>, TargetError> {
        let sql = &scope.query_builder();
        let (traces, snapshot) = (&observation.evidence_traces, observation.snapshot.as_ref());
        let noted =
            |notable| snapshot.and_then(|snapshot| snapshot.evidence_addresses(notable)).unwrap_or_default();
        let (kind, addresses) = match request {
            EvidenceRequest::Duplicates => (EvidenceRowKind::Duplicates, traces.addresses.clone()),
            EvidenceRequest::Fingerprints(some) => {
                (EvidenceRowKind::Any, noted(EvidenceSelector::Fingerprints(some)))
            }
            EvidenceRequest::Orphans => (EvidenceRowKind::Orphans, noted(EvidenceSelector::Orphans)),
            EvidenceRequest::OldestExpired => {
                (EvidenceRowKind::OldestExpired, noted(EvidenceSelector::OldestExpired))
            }
            EvidenceRequest::BeyondPolicy => {
                (EvidenceRowKind::BeyondPolicy, noted(EvidenceSelector::BeyondPolicy))
            }
        };
        // Fetching by address avoids another pass over the table.
        if (1..=ADDRESSES_PER_QUERY).contains(&addresses.len()) {
            let subset = match request {
                EvidenceRequest::Fingerprints(some) => RowSubset::Suspects(some, &addresses),
                EvidenceRequest::Duplicates => RowSubset::Suspects(&traces.fingerprints, &addresses),
                _ => RowSubset::Addresses(&addresses),
            };
            let rows = EvidenceQuery { kind, subset };
            let found = self.fetch_evidence_rows(scope, rows).await?;
            // Some table storage reports row addresses that do not lead back to the rows.
            if found.len() >= addresses.len().min(MAX_EVIDENCE_ROWS) {
                return Ok(found);
            }
        }
        let subset = match request {
            EvidenceRequest::Fingerprints(some) => RowSubset::Fingerprints(some),
            EvidenceRequest::Duplicates if !traces.fingerprints.is_empty() => {
                RowSubset::Fingerprints(&traces.fingerprints)
            }
            EvidenceRequest::Orphans if !traces.orphans.is_empty() && sql.can_match_users_by_value() => {
                RowSubset::Users(&traces.orphans)
            }
            _ => RowSubset::All,
        };
        let mut found = self.fetch_evidence_rows(scope, EvidenceQuery { kind, subset }).await?;
        // User columns of some types do not match their own text form, so a search by value may miss rows.
        if let RowSubset::Users(users) = subset
            && found.len() < users.len().min(MAX_EVIDENCE_ROWS)
        {
            found = self.fetch_evidence_rows(scope, EvidenceQuery::all_of_kind(kind)).await?;
        }
        Ok(found)
    }

    /// Fetches the first rows of a kind of evidence, within a subset of the rows.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn fetch_evidence_rows(
        &self,
        scope: &QueryScope<'_>,
        rows: EvidenceQuery<'_>,
    ) -> Result<Vec<EvidenceRow>, TargetError> {
        let found = self.fetch_rows(&scope.query_builder().evidence_query(rows, MAX_EVIDENCE_ROWS)).await?;
        found.iter().map(|row| parse_evidence_row(row)).collect()
    }
}

fn parse_evidence_row(row: &[Option<String>]) -> Result<EvidenceRow, TargetError> {
    let text = |at: usize| row.get(at).cloned().flatten();
    Ok(EvidenceRow {
        token_prefix: text(0),
        id: text(1),
        user: text(2),
        expires_at: parse_timestamp(row, 3)?,
        rows: parse_count(row, 4)?,
        created_at: parse_timestamp(row, 5)?,
        ip: text(6),
        agent: text(7),
        display: row.get(8..).unwrap_or_default().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undecodable_cell_is_an_error() {
        let row = |cells: [&str; 3]| {
            let [expires, rows, created] = cells.map(|cell| Some(cell.to_owned()));
            [None, None, None, expires, rows, created].to_vec()
        };
        assert_eq!(parse_evidence_row(&row(["5", "2", "3"])).unwrap().rows, 2);
        for cells in [["soon", "2", "3"], ["5", "two", "3"], ["5", "2", "then"]] {
            let parsed = parse_evidence_row(&row(cells));
            assert!(matches!(parsed, Err(TargetError::Undecodable(_))), "{cells:?}");
        }
    }
}
