//! Log sources: read position, last line, activity, counters and gaps of each.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sessionwatch_core::{log_gaps::StoredLogGap, source_activity::ActivityProfile, timestamp::UtcTimestamp};

use crate::{StoreError, row::StoreRow, transaction::Tx};

/// The stored state of a log source. `P` is the serialized read position of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredLogSource<P> {
    /// Name of the source.
    pub name: String,
    /// Name of the target that the lines belong to.
    pub target: String,
    /// The read position; `None` if the source is not a file, or was not read yet.
    pub position: Option<P>,
    /// Time when the last line was read.
    pub last_line_at: Option<UtcTimestamp>,
    /// Activity by time of the week, by which an idle source is recognized.
    pub activity: ActivityProfile,
    /// Counters of lines read, and of lines dropped by reason.
    pub counters: Map<String, Value>,
    /// The latest gaps, newest last.
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
            counters: row.decode_text(5, parse_counters)?,
            gaps: row.decode_text(6, |text| serde_json::from_str(text).ok())?,
        })
    }
}

/// Parses the counters of a source: a damaged one must not start again at zero.
fn parse_counters(text: &str) -> Option<Map<String, Value>> {
    let counters: Map<String, Value> = serde_json::from_str(text).ok()?;
    counters.values().all(Value::is_u64).then_some(counters)
}

impl<P> StoredLogSource<P> {
    /// Adds to a counter, creating it if necessary.
    pub fn increment_counter(&mut self, what: &str, more: u64) {
        if more > 0 {
            // Zero is not recorded, so that only counters with something to report are stored and shown.
            let before = self.counters.get(what).and_then(Value::as_u64).unwrap_or(0);
            self.counters.insert(what.to_owned(), (before + more).into());
        }
    }
}

/// Returns the state of a source, or `None` for a new one.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_log_source<P: DeserializeOwned>(
    db: Tx<'_>,
    name: &str,
) -> Result<Option<StoredLogSource<P>>, StoreError> {
    let query = format!("SELECT {LOG_SOURCE_COLUMNS} FROM log_sources WHERE name = $1");
    db.query_row(&query, &[name.into()])?.as_ref().map(StoredLogSource::from_row).transpose()
}

/// Stores the state of a source.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_log_source<P: Serialize>(db: Tx<'_>, source: &StoredLogSource<P>) -> Result<(), StoreError> {
    let (activity, counters) =
        (source.activity.to_text(), Value::Object(source.counters.clone()).to_string());
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
            (&activity).into(),
            (&counters).into(),
            (&gaps).into(),
        ],
    )?;
    Ok(())
}

/// Returns the state of every known source, ordered by name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_log_sources<P: DeserializeOwned>(db: Tx<'_>) -> Result<Vec<StoredLogSource<P>>, StoreError> {
    let query = format!("SELECT {LOG_SOURCE_COLUMNS} FROM log_sources ORDER BY name");
    db.query_rows(&query, &[])?.iter().map(StoredLogSource::from_row).collect()
}
