//! Sources of log lines: when they were heard, and how far they were read.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sessionwatch_core::{instant::Instant, log_gaps::KeptGap, source_activity::ActivityProfile};

use crate::{StoreError, db::Db, row::Row};

/// What is known of a source; `P` is how far a file was read, as whoever reads files writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source<P> {
    /// Its name.
    pub name: String,
    /// The target that its lines are about.
    pub target: String,
    /// How far a file was read; `None` if the source is no file, or was not read yet.
    pub place: Option<P>,
    /// When a line was read last.
    pub heard_at: Option<Instant>,
    /// When it speaks.
    pub rhythm: ActivityProfile,
    /// What was read, and what was dropped and why.
    pub counters: Map<String, Value>,
    /// The latest gaps, the newest last.
    pub gaps: Vec<KeptGap>,
}

const COLUMNS: &str = "name, target, place, heard_at, rhythm, counters, gaps";

impl<P: DeserializeOwned> Source<P> {
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.text(0)?,
            target: row.text(1)?,
            place: row
                .maybe_text(2)?
                .map(|text| serde_json::from_str(&text).map_err(|_| row.unreadable(2)))
                .transpose()?,
            heard_at: row.maybe_instant(3)?,
            rhythm: row.decoded(4, ActivityProfile::from_text)?,
            counters: row.decoded(5, |text| serde_json::from_str(text).ok())?,
            gaps: row.decoded(6, |text| serde_json::from_str(text).ok())?,
        })
    }
}

impl<P> Source<P> {
    /// Counts something more.
    pub fn count(&mut self, what: &str, more: u64) {
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
pub fn get<P: DeserializeOwned>(db: Db<'_>, name: &str) -> Result<Option<Source<P>>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM log_sources WHERE name = $1");
    db.row(&query, &[name.into()])?.as_ref().map(Source::of).transpose()
}

/// Keeps what is known of a source.
///
/// # Errors
///
/// If it cannot be written.
pub fn put<P: Serialize>(db: Db<'_>, source: &Source<P>) -> Result<(), StoreError> {
    let (rhythm, counters) = (source.rhythm.to_text(), Value::Object(source.counters.clone()).to_string());
    let place = source.place.as_ref().map(|place| serde_json::json!(place).to_string());
    let gaps = serde_json::json!(source.gaps).to_string();
    db.run(
        "INSERT INTO log_sources (name, target, place, heard_at, rhythm, counters, gaps)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (name) DO UPDATE SET target = excluded.target, place = excluded.place,
           heard_at = excluded.heard_at, rhythm = excluded.rhythm, counters = excluded.counters,
           gaps = excluded.gaps",
        &[
            (&source.name).into(),
            (&source.target).into(),
            (&place).into(),
            source.heard_at.into(),
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
pub fn list<P: DeserializeOwned>(db: Db<'_>) -> Result<Vec<Source<P>>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM log_sources ORDER BY name");
    db.rows(&query, &[])?.iter().map(Source::of).collect()
}
