//! Sources of log lines: when they were heard, and how far they were read.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sessionwatch_core::{log_gaps::StoredLogGap, source_activity::ActivityProfile, timestamp::UtcTimestamp};

use crate::{StoreError, row::StoreRow, transaction::Tx};

/// What is known of a source; `P` is how far a file was read, as whoever reads files writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLogSource<P> {
    /// Its name.
    pub name: String,
    /// The target that its lines are about.
    pub target: String,
    /// How far a file was read; `None` if the source is no file, or was not read yet.
    pub position: Option<P>,
    /// When a line was read last.
    pub last_line_at: Option<UtcTimestamp>,
    /// When it speaks.
    pub activity: ActivityProfile,
    /// What was read, and what was dropped and why.
    pub counters: Map<String, Value>,
    /// The latest gaps, the newest last.
    pub gaps: Vec<StoredLogGap>,
}

const LOG_SOURCE_COLUMNS: &str = "name, target, place, heard_at, rhythm, counters, gaps";

impl<P: DeserializeOwned> StoredLogSource<P> {
    fn from_row(row: &StoreRow) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.read_text(0)?,
            target: row.read_text(1)?,
            position: row
                .read_optional_text(2)?
                .map(|text| serde_json::from_str(&text).map_err(|_| row.undecodable_column(2)))
                .transpose()?,
            last_line_at: row.read_optional_timestamp(3)?,
            activity: row.decode_text(4, ActivityProfile::from_text)?,
            counters: row.decode_text(5, |text| serde_json::from_str(text).ok())?,
            gaps: row.decode_text(6, |text| serde_json::from_str(text).ok())?,
        })
    }
}

impl<P> StoredLogSource<P> {
    /// Counts something more.
    pub fn increment_counter(&mut self, what: &str, more: u64) {
        if more > 0 {
            let before = self.counters.get(what).and_then(Value::as_u64).unwrap_or(0);
            self.counters.insert(what.to_owned(), (before + more).into());
        }
    }
}

/// What is known of a source; nothing yet of a new one.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_log_source<P: DeserializeOwned>(
    db: Tx<'_>,
    name: &str,
) -> Result<Option<StoredLogSource<P>>, StoreError> {
    let query = format!("SELECT {LOG_SOURCE_COLUMNS} FROM log_sources WHERE name = $1");
    db.query_row(&query, &[name.into()])?.as_ref().map(StoredLogSource::from_row).transpose()
}

/// Keeps what is known of a source.
///
/// # Errors
///
/// If it cannot be written.
pub fn upsert_log_source<P: Serialize>(db: Tx<'_>, source: &StoredLogSource<P>) -> Result<(), StoreError> {
    let (rhythm, counters) = (source.activity.to_text(), Value::Object(source.counters.clone()).to_string());
    let place = source.position.as_ref().map(|place| serde_json::json!(place).to_string());
    let gaps = serde_json::json!(source.gaps).to_string();
    db.execute(
        "INSERT INTO log_sources (name, target, place, heard_at, rhythm, counters, gaps)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (name) DO UPDATE SET target = excluded.target, place = excluded.place,
           heard_at = excluded.heard_at, rhythm = excluded.rhythm, counters = excluded.counters,
           gaps = excluded.gaps",
        &[
            (&source.name).into(),
            (&source.target).into(),
            (&place).into(),
            source.last_line_at.into(),
            (&rhythm).into(),
            (&counters).into(),
            (&gaps).into(),
        ],
    )?;
    Ok(())
}

/// Every source of which something is known, by name.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_log_sources<P: DeserializeOwned>(db: Tx<'_>) -> Result<Vec<StoredLogSource<P>>, StoreError> {
    let query = format!("SELECT {LOG_SOURCE_COLUMNS} FROM log_sources ORDER BY name");
    db.query_rows(&query, &[])?.iter().map(StoredLogSource::from_row).collect()
}
