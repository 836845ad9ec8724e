//! What was sealed, read again: the values of each row, on their way back into the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::sealing::SealError;
use crate::profile::mapping::{Revoke, TableName};

/// A column as the database declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
}

/// What the first line says of all rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct About {
    /// The version of the format.
    pub version: u32,
    /// The database product.
    pub dialect: String,
    /// The table, for a person who reads the archive by hand.
    pub table: String,
    /// The columns, in order.
    pub columns: Vec<Declared>,
    /// How the rows were ended.
    pub change: Revoke,
    /// Tables that inherit from that one, by the number that their rows are kept with: such rows go back there.
    #[serde(default)]
    pub heaps: BTreeMap<u64, TableName>,
}

/// A value of a row.
#[derive(Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// Text, as PostgreSQL and SQLite both give it.
    Text(Zeroizing<String>),
    /// A whole number of SQLite.
    Integer(i64),
    /// A number of SQLite.
    Real(f64),
    /// Bytes of SQLite.
    Blob(Zeroizing<Vec<u8>>),
}

/// Rows that were unsealed: they can only be put back.
pub struct Rows {
    /// What holds for all of them.
    pub about: About,
    rows: Vec<Vec<Cell>>,
}

impl Rows {
    /// Reads what was sealed.
    ///
    /// # Errors
    ///
    /// If it is not what this program seals.
    pub fn read(bytes: &[u8]) -> Result<Self, SealError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(SealError::Damaged)?;
        let (first, rest) = bytes.split_at(end);
        let about: About = serde_json::from_slice(first).map_err(|_| SealError::Damaged)?;
        if about.version != 1 {
            return Err(SealError::Damaged);
        }
        let lines = rest.get(1..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
        let cells = |line: &[u8]| match about.dialect.as_str() {
            "postgres" => copied(line),
            _ => noted(line),
        };
        let rows: Option<Vec<Vec<Cell>>> =
            lines.map(|line| cells(line).filter(|row| row.len() == about.columns.len())).collect();
        Ok(Self { rows: rows.ok_or(SealError::Damaged)?, about })
    }

    /// The values of a row; none behind the last.
    pub(crate) fn row(&self, at: usize) -> &[Cell] {
        self.rows.get(at).map_or(&[], Vec::as_slice)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({} of {})", self.rows.len(), self.about.table)
    }
}

impl Cell {
    /// As text, for PostgreSQL.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A line as `COPY` writes it: <https://www.postgresql.org/docs/current/sql-copy.html>, "Text Format".
fn copied(line: &[u8]) -> Option<Vec<Cell>> {
    let cell = |field: &[u8]| {
        if field == b"\\N" {
            return Some(Cell::Null);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(field.len()));
        let mut rest = field.iter().copied();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'\\' => match rest.next()? {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    other => other,
                },
                byte => byte,
            });
        }
        let text = std::str::from_utf8(&bytes).ok()?;
        Some(Cell::Text(Zeroizing::new(text.to_owned())))
    };
    line.split(|byte| *byte == b'\t').map(cell).collect()
}

/// A line of JSON, as rows of SQLite are kept.
fn noted(line: &[u8]) -> Option<Vec<Cell>> {
    let bytes = |value: &Json| {
        let bytes = value.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
        bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
    };
    let cell = |value: Json| match value {
        Json::Null => Some(Cell::Null),
        Json::Number(number) => number.as_i64().map(Cell::Integer),
        Json::String(text) => Some(Cell::Text(Zeroizing::new(text))),
        Json::Object(typed) => {
            let (kind, value) = typed.iter().next()?;
            match kind.as_str() {
                "real" => value.as_u64().map(|bits| Cell::Real(f64::from_bits(bits))),
                "text" | "blob" => bytes(value).map(Cell::Blob),
                _ => None,
            }
        }
        _ => None,
    };
    serde_json::from_slice::<Vec<Json>>(line).ok()?.into_iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = r#"{"version":1,"dialect":"postgres","table":"s","columns":[{"name":"a","kind":"text"},{"name":"b","kind":"text"}],"change":"delete"}"#;

    fn text(text: &str) -> Option<Vec<Cell>> {
        Some(vec![Cell::Text(Zeroizing::new(text.to_owned()))])
    }

    #[test]
    fn lines_of_copy_are_read_as_they_are_written() {
        assert!(copied(b"a\\tb\\\\c\\n\\x") == text("a\tb\\c\nx"));
        assert!(copied(b"") == text(""));
        assert!(copied(b"\\N\t") == Some(vec![Cell::Null, Cell::Text(Zeroizing::new(String::new()))]));
        assert!(copied(b"a\\").is_none() && copied(b"\xff").is_none());
    }

    #[test]
    fn rows_are_read_and_what_is_damaged_is_not() {
        let rows = Rows::read(format!("{ABOUT}\none\t\\N\ntwo\tx\n").as_bytes()).unwrap();
        assert_eq!((rows.len(), rows.row(1)[0].text(), rows.row(2).len()), (2, Some("two"), 0));
        assert_eq!(format!("{rows:?}"), "Rows(2 of s)");
        let sqlite = ABOUT.replace("postgres", "sqlite");
        let rows = Rows::read(format!("{sqlite}\n[1,{{\"blob\":[0,255]}}]\n").as_bytes()).unwrap();
        assert!(rows.row(0)[1] == Cell::Blob(Zeroizing::new(vec![0, 255])));
        for wrong in [
            String::new(),
            "{}\n".into(),
            format!("{ABOUT}\none\n"),
            format!("{}\na\tb\n", ABOUT.replace("\"version\":1", "\"version\":2")),
            format!("{sqlite}\n[1,{{\"blob\":[256]}}]\n"),
            format!("{sqlite}\n[1.5,true]\n"),
        ] {
            assert!(matches!(Rows::read(wrong.as_bytes()), Err(SealError::Damaged)), "{wrong}");
        }
    }
}
