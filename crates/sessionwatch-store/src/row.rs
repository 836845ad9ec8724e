//! Query parameters and result rows, independent of the database.

use std::sync::Arc;

use jiff::SignedDuration;
use rusqlite::types::{ToSqlOutput, ValueRef};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::StoreError;

/// A query parameter.
#[derive(Clone, Copy, Debug)]
pub enum Param<'a> {
    /// A number, or NULL.
    Int(Option<i64>),
    /// Text, or NULL.
    Text(Option<&'a str>),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StoreValue {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// A type that no column of the store has.
    Other,
}

/// A result row. Values are decoded strictly: one that is missing, of another type or out of range is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreRow {
    pub(super) values: Vec<StoreValue>,
    origin: Arc<QueryOrigin>,
}

/// The query behind a row, to name table and column in errors.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueryOrigin {
    sql: String,
    columns: Vec<String>,
}

impl QueryOrigin {
    pub(super) fn new(sql: &str, columns: Vec<String>) -> Arc<Self> {
        Arc::new(Self { sql: sql.to_owned(), columns })
    }

    /// Returns the first table in the query, or `?`.
    fn first_table_name(&self) -> String {
        let mut words = self.sql.split_whitespace();
        let named = |word: &str| ["FROM", "INTO", "UPDATE"].contains(&word);
        // Upper case only: the keywords of all queries are written so.
        while let Some(word) = words.next() {
            // Skips a subquery: its own FROM follows.
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

impl StoreRow {
    pub(super) fn new(values: Vec<StoreValue>, query: &Arc<QueryOrigin>) -> Self {
        Self { values, origin: Arc::clone(query) }
    }

    /// Returns the error for a column whose value cannot be decoded.
    #[must_use]
    pub fn undecodable_column(&self, at: usize) -> StoreError {
        let column = self.origin.columns.get(at).cloned().unwrap_or_default();
        StoreError::Undecodable { table: self.origin.first_table_name(), column }
    }

    /// Returns the number in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_optional_i64(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self.values.get(at) {
            Some(StoreValue::Int(number)) => Ok(Some(*number)),
            Some(StoreValue::Null) => Ok(None),
            _ => Err(self.undecodable_column(at)),
        }
    }

    /// Returns the number in a column.
    ///
    /// # Errors
    ///
    /// If the column is NULL or holds another type.
    pub fn read_i64(&self, at: usize) -> Result<i64, StoreError> {
        self.read_optional_i64(at)?.ok_or_else(|| self.undecodable_column(at))
    }

    /// Returns the count in a column.
    ///
    /// # Errors
    ///
    /// If the column holds no number, or a negative one.
    pub fn read_u64(&self, at: usize) -> Result<u64, StoreError> {
        u64::try_from(self.read_i64(at)?).map_err(|_| self.undecodable_column(at))
    }

    /// Returns the count in a column as a `u32`.
    ///
    /// # Errors
    ///
    /// If the column holds no number, or the number is out of range.
    pub fn read_u32(&self, at: usize) -> Result<u32, StoreError> {
        u32::try_from(self.read_i64(at)?).map_err(|_| self.undecodable_column(at))
    }

    /// Returns the flag in a column, stored as 1 or 0.
    ///
    /// # Errors
    ///
    /// If the column holds anything else.
    pub fn read_bool(&self, at: usize) -> Result<bool, StoreError> {
        // No other number is a flag, so a damaged one must not become `true`.
        match self.read_i64(at)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.undecodable_column(at)),
        }
    }

    /// Returns the instant in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If the column holds another type, or the instant is out of range.
    pub fn read_optional_timestamp(&self, at: usize) -> Result<Option<UtcTimestamp>, StoreError> {
        let instant = |micros| UtcTimestamp::from_micros(micros).ok_or_else(|| self.undecodable_column(at));
        self.read_optional_i64(at)?.map(instant).transpose()
    }

    /// Returns the instant in a column.
    ///
    /// # Errors
    ///
    /// If the column is NULL or holds another type.
    pub fn read_timestamp(&self, at: usize) -> Result<UtcTimestamp, StoreError> {
        self.read_optional_timestamp(at)?.ok_or_else(|| self.undecodable_column(at))
    }

    /// Returns the text in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_optional_text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self.values.get(at) {
            Some(StoreValue::Text(text)) => Ok(Some(text.clone())),
            Some(StoreValue::Null) => Ok(None),
            _ => Err(self.undecodable_column(at)),
        }
    }

    /// Returns the text in a column.
    ///
    /// # Errors
    ///
    /// If the column is NULL or holds another type.
    pub fn read_text(&self, at: usize) -> Result<String, StoreError> {
        self.read_optional_text(at)?.ok_or_else(|| self.undecodable_column(at))
    }

    /// Returns the duration in a column, stored in microseconds.
    ///
    /// # Errors
    ///
    /// If the column holds no number.
    pub fn read_duration(&self, at: usize) -> Result<SignedDuration, StoreError> {
        self.read_i64(at).map(SignedDuration::from_micros)
    }

    /// Returns the text in a column, decoded by `decode`.
    ///
    /// # Errors
    ///
    /// If the column holds no text, or `decode` returns `None`.
    pub fn decode_text<T>(&self, at: usize, decode: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        decode(&self.read_text(at)?).ok_or_else(|| self.undecodable_column(at))
    }

    /// Returns the text in a column, parsed as `T`.
    ///
    /// # Errors
    ///
    /// If the column holds no text, or the text cannot be parsed.
    pub fn parse_text<T: std::str::FromStr>(&self, at: usize) -> Result<T, StoreError> {
        self.decode_text(at, |text| text.parse().ok())
    }

    /// Returns the text in a column if `is_known` accepts it, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_optional_known_text(
        &self,
        at: usize,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, StoreError> {
        match self.read_optional_text(at)? {
            Some(name) if !is_known(&name) => Err(self.undecodable_column(at)),
            name => Ok(name),
        }
    }

    /// Returns the text in a column if `is_known` accepts it.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_known_text(&self, at: usize, is_known: impl Fn(&str) -> bool) -> Result<String, StoreError> {
        self.read_optional_known_text(at, is_known)?.ok_or_else(|| self.undecodable_column(at))
    }

    /// Returns the JSON text in a column, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_optional_json_text(&self, at: usize) -> Result<Option<String>, StoreError> {
        // Checked without building the value, which the caller may not need.
        self.read_optional_known_text(at, |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
    }

    /// Returns the JSON in a column, parsed, or `None` for NULL.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_optional_json(&self, at: usize) -> Result<Option<serde_json::Value>, StoreError> {
        let decoded = |text: String| serde_json::from_str(&text).map_err(|_| self.undecodable_column(at));
        self.read_optional_text(at)?.map(decoded).transpose()
    }

    /// Returns the JSON text in a column.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_json_text(&self, at: usize) -> Result<String, StoreError> {
        self.read_optional_json_text(at)?.ok_or_else(|| self.undecodable_column(at))
    }

    /// Returns the text of the JSON object in a column.
    ///
    /// # Errors
    ///
    /// If the column holds another type.
    pub fn read_json_object_text(&self, at: usize) -> Result<String, StoreError> {
        type JsonObject = serde_json::Map<String, serde_json::Value>;
        self.read_known_text(at, |text| serde_json::from_str::<JsonObject>(text).is_ok())
    }

    /// Returns the value in a column as a parameter, to copy it unchanged to another store.
    pub(super) fn read_as_param(&self, at: usize) -> Result<Param<'_>, StoreError> {
        match self.values.get(at) {
            Some(&StoreValue::Int(number)) => Ok(Param::Int(Some(number))),
            Some(StoreValue::Text(text)) => Ok(Param::Text(Some(text))),
            Some(StoreValue::Bytes(bytes)) => Ok(Param::Bytes(bytes)),
            // The column's type does not matter for NULL: both databases accept a NULL text for any column.
            Some(StoreValue::Null) => Ok(Param::Text(None)),
            Some(StoreValue::Other) | None => Err(self.undecodable_column(at)),
        }
    }

    pub(super) fn column_count(&self) -> usize {
        self.values.len()
    }

    /// Returns the bytes in a column.
    ///
    /// # Errors
    ///
    /// If the column holds no bytes.
    pub fn read_bytes(&self, at: usize) -> Result<&[u8], StoreError> {
        if let Some(StoreValue::Bytes(bytes)) = self.values.get(at) {
            Ok(bytes)
        } else {
            Err(self.undecodable_column(at))
        }
    }
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(number)) => ValueRef::Integer(*number),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            // SQLite has no typed parameters, so both kinds of NULL are the same.
            Self::Int(None) | Self::Text(None) => ValueRef::Null,
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<i64> for Param<'_> {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Param<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Param<'_> {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<bool> for Param<'_> {
    fn from(flag: bool) -> Self {
        Self::Int(Some(flag.into()))
    }
}

impl From<sessionwatch_core::timestamp::UtcTimestamp> for Param<'_> {
    fn from(at: sessionwatch_core::timestamp::UtcTimestamp) -> Self {
        Self::Int(Some(at.micros()))
    }
}

impl From<Option<sessionwatch_core::timestamp::UtcTimestamp>> for Param<'_> {
    fn from(at: Option<sessionwatch_core::timestamp::UtcTimestamp>) -> Self {
        Self::Int(at.map(sessionwatch_core::timestamp::UtcTimestamp::micros))
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a Option<String>> for Param<'a> {
    fn from(text: &'a Option<String>) -> Self {
        Self::Text(text.as_deref())
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}
