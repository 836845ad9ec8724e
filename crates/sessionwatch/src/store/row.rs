//! Parameters and rows of the store, whichever database it is in.

use rusqlite::types::{ToSqlOutput, ValueRef};

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
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub(super) Vec<Cell>);

impl Row {
    /// A number that may be missing.
    #[must_use]
    pub fn maybe_int(&self, at: usize) -> Option<i64> {
        if let Some(Cell::Int(number)) = self.0.get(at) { Some(*number) } else { None }
    }

    /// A number; zero where there is none.
    #[must_use]
    pub fn int(&self, at: usize) -> i64 {
        self.maybe_int(at).unwrap_or(0)
    }

    /// A count; zero where there is none.
    #[must_use]
    pub fn count(&self, at: usize) -> u64 {
        u64::try_from(self.int(at)).unwrap_or(0)
    }

    /// An instant; nothing where there is none.
    #[must_use]
    pub fn instant(&self, at: usize) -> Option<sessionwatch_rules::instant::Instant> {
        self.maybe_int(at).and_then(sessionwatch_rules::instant::Instant::from_micros)
    }

    /// Text that may be missing.
    #[must_use]
    pub fn maybe_text(&self, at: usize) -> Option<String> {
        if let Some(Cell::Text(text)) = self.0.get(at) { Some(text.clone()) } else { None }
    }

    /// Text; empty where there is none.
    #[must_use]
    pub fn text(&self, at: usize) -> String {
        self.maybe_text(at).unwrap_or_default()
    }

    /// Bytes; none where there are none.
    #[must_use]
    pub fn bytes(&self, at: usize) -> &[u8] {
        if let Some(Cell::Bytes(bytes)) = self.0.get(at) { bytes } else { &[] }
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

impl From<sessionwatch_rules::instant::Instant> for Value<'_> {
    fn from(at: sessionwatch_rules::instant::Instant) -> Self {
        Self::Int(Some(at.micros()))
    }
}

impl From<Option<sessionwatch_rules::instant::Instant>> for Value<'_> {
    fn from(at: Option<sessionwatch_rules::instant::Instant>) -> Self {
        Self::Int(at.map(sessionwatch_rules::instant::Instant::micros))
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
