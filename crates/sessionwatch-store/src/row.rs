//! Parameters and rows of the store, whichever database it is in.

use std::sync::Arc;

use jiff::SignedDuration;
use rusqlite::types::{ToSqlOutput, ValueRef};
use sessionwatch_core::instant::Instant;

use crate::StoreError;

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A number, or none.
    Int(Option<i64>),
    /// Text, or none.
    Text(Option<&'a str>),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// What no column of the store holds.
    Other,
}

/// A row. What it holds is read strictly: a value that is missing, of another type or out of range is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub(super) cells: Vec<Cell>,
    query: Arc<Query>,
}

/// Where rows come from, for what is said of one that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    sql: String,
    columns: Vec<String>,
}

impl Query {
    pub(super) fn new(sql: &str, columns: Vec<String>) -> Arc<Self> {
        Arc::new(Self { sql: sql.to_owned(), columns })
    }

    /// The first table that the query names.
    fn table(&self) -> String {
        let mut words = self.sql.split_whitespace();
        let named = |word: &str| ["FROM", "INTO", "UPDATE"].contains(&word);
        while let Some(word) = words.next() {
            // A subquery names its table further on.
            let name = if named(word) { words.clone().next().unwrap_or_default() } else { continue };
            if !name.starts_with('(') {
                return name
                    .chars()
                    .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                    .collect();
            }
        }
        "?".to_owned()
    }
}

impl Row {
    pub(super) fn new(cells: Vec<Cell>, query: &Arc<Query>) -> Self {
        Self { cells, query: Arc::clone(query) }
    }

    /// The error of a value that cannot be read.
    #[must_use]
    pub fn unreadable(&self, at: usize) -> StoreError {
        let column = self.query.columns.get(at).cloned().unwrap_or_default();
        StoreError::Undecodable { table: self.query.table(), column }
    }

    /// Returns the number in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn maybe_int(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self.cells.get(at) {
            Some(Cell::Int(number)) => Ok(Some(*number)),
            Some(Cell::Null) => Ok(None),
            _ => Err(self.unreadable(at)),
        }
    }

    /// Returns the number in a column.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn int(&self, at: usize) -> Result<i64, StoreError> {
        self.maybe_int(at)?.ok_or_else(|| self.unreadable(at))
    }

    /// Returns the count in a column.
    ///
    /// # Errors
    ///
    /// If there is none, or it is negative.
    pub fn count(&self, at: usize) -> Result<u64, StoreError> {
        u64::try_from(self.int(at)?).map_err(|_| self.unreadable(at))
    }

    /// Returns the count in a column, which is small.
    ///
    /// # Errors
    ///
    /// If there is none, or it is out of range.
    pub fn small(&self, at: usize) -> Result<u32, StoreError> {
        u32::try_from(self.int(at)?).map_err(|_| self.unreadable(at))
    }

    /// Returns whether a column says yes (1) or no (0).
    ///
    /// # Errors
    ///
    /// If it says neither.
    pub fn flag(&self, at: usize) -> Result<bool, StoreError> {
        match self.int(at)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.unreadable(at)),
        }
    }

    /// Returns the instant in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If something else is there, or it is out of range.
    pub fn maybe_instant(&self, at: usize) -> Result<Option<Instant>, StoreError> {
        let instant = |micros| Instant::from_micros(micros).ok_or_else(|| self.unreadable(at));
        self.maybe_int(at)?.map(instant).transpose()
    }

    /// Returns the instant in a column.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn instant(&self, at: usize) -> Result<Instant, StoreError> {
        self.maybe_instant(at)?.ok_or_else(|| self.unreadable(at))
    }

    /// Returns the text in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn maybe_text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self.cells.get(at) {
            Some(Cell::Text(text)) => Ok(Some(text.clone())),
            Some(Cell::Null) => Ok(None),
            _ => Err(self.unreadable(at)),
        }
    }

    /// Returns the text in a column.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn text(&self, at: usize) -> Result<String, StoreError> {
        self.maybe_text(at)?.ok_or_else(|| self.unreadable(at))
    }

    /// Returns the length of time of the microseconds in a column.
    ///
    /// # Errors
    ///
    /// If there is no number.
    pub fn duration(&self, at: usize) -> Result<SignedDuration, StoreError> {
        self.int(at).map(SignedDuration::from_micros)
    }

    /// Returns what the text in a column stands for.
    ///
    /// # Errors
    ///
    /// If there is none, or it stands for nothing that this version knows.
    pub fn decoded<T>(&self, at: usize, decode: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        decode(&self.text(at)?).ok_or_else(|| self.unreadable(at))
    }

    /// Returns what the text in a column stands for.
    ///
    /// # Errors
    ///
    /// If it stands for nothing that is known.
    pub fn parsed<T: std::str::FromStr>(&self, at: usize) -> Result<T, StoreError> {
        self.decoded(at, |text| text.parse().ok())
    }

    /// Returns the text in a column if that is one of the known names, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn maybe_name(
        &self,
        at: usize,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, StoreError> {
        match self.maybe_text(at)? {
            Some(name) if !is_known(&name) => Err(self.unreadable(at)),
            name => Ok(name),
        }
    }

    /// Returns the text in a column if that is one of the known names.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn name(&self, at: usize, is_known: impl Fn(&str) -> bool) -> Result<String, StoreError> {
        self.maybe_name(at, is_known)?.ok_or_else(|| self.unreadable(at))
    }

    /// Returns the JSON in a column, as text, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn maybe_json(&self, at: usize) -> Result<Option<String>, StoreError> {
        self.maybe_name(at, |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
    }

    /// Returns the JSON in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn maybe_document(&self, at: usize) -> Result<Option<serde_json::Value>, StoreError> {
        let decoded = |text: String| serde_json::from_str(&text).map_err(|_| self.unreadable(at));
        self.maybe_text(at)?.map(decoded).transpose()
    }

    /// Returns the JSON in a column, as text.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn json(&self, at: usize) -> Result<String, StoreError> {
        self.maybe_json(at)?.ok_or_else(|| self.unreadable(at))
    }

    /// Returns the JSON object in a column, as text.
    ///
    /// # Errors
    ///
    /// If something else is there.
    pub fn json_object(&self, at: usize) -> Result<String, StoreError> {
        type Object = serde_json::Map<String, serde_json::Value>;
        self.name(at, |text| serde_json::from_str::<Object>(text).is_ok())
    }

    /// Returns what is in a column, to be written elsewhere as it is.
    pub(super) fn value(&self, at: usize) -> Result<Value<'_>, StoreError> {
        match self.cells.get(at) {
            Some(&Cell::Int(number)) => Ok(Value::Int(Some(number))),
            Some(Cell::Text(text)) => Ok(Value::Text(Some(text))),
            Some(Cell::Bytes(bytes)) => Ok(Value::Bytes(bytes)),
            Some(Cell::Null) => Ok(Value::Text(None)),
            Some(Cell::Other) | None => Err(self.unreadable(at)),
        }
    }

    /// Returns how many columns there are.
    pub(super) fn width(&self) -> usize {
        self.cells.len()
    }

    /// Returns the bytes in a column.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn bytes(&self, at: usize) -> Result<&[u8], StoreError> {
        if let Some(Cell::Bytes(bytes)) = self.cells.get(at) { Ok(bytes) } else { Err(self.unreadable(at)) }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(number)) => ValueRef::Integer(*number),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Int(None) | Self::Text(None) => ValueRef::Null,
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Int(Some(flag.into()))
    }
}

impl From<sessionwatch_core::instant::Instant> for Value<'_> {
    fn from(at: sessionwatch_core::instant::Instant) -> Self {
        Self::Int(Some(at.micros()))
    }
}

impl From<Option<sessionwatch_core::instant::Instant>> for Value<'_> {
    fn from(at: Option<sessionwatch_core::instant::Instant>) -> Self {
        Self::Int(at.map(sessionwatch_core::instant::Instant::micros))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::Text(text.as_deref())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}
