//! What was sealed, read again: the values of each row, on their way back into the table.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::mapping::{RevokeMethod, TableName};

/// What was unsealed is not what this program seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archived rows are damaged")]
pub struct DamagedRows;

/// The versions of the format that are read; since the second one, rows of other tables can follow.
const SUPPORTED_VERSIONS: [u32; 2] = [1, 2];
/// The line behind the rows of each table, as `COPY` ends its data: no row is written so, by `COPY` or as JSON.
pub(super) const END_OF_TABLE: &[u8] = b"\\.";

/// A column as the database declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDecl {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
}

/// A table whose rows are archived with the sessions that they went with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependentTable {
    /// Its name.
    pub table: TableName,
    /// The columns, in order.
    pub columns: Vec<ColumnDecl>,
    /// The tables that its rows go with besides the sessions, by their position before this one.
    pub parents: Vec<usize>,
}

/// UnsealedRows of a [`DependentTable`].
pub struct UnsealedDependents {
    /// Their table.
    pub table: DependentTable,
    /// The session that each of them went with, by its position.
    sessions: Vec<usize>,
    rows: Vec<Vec<ArchivedValue>>,
}

/// What the first line says of all rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BatchHeader {
    /// The version of the format.
    pub version: u32,
    /// The database product.
    pub dialect: String,
    /// The table, for a person who reads the archive by hand.
    pub table: String,
    /// The columns, in order.
    pub columns: Vec<ColumnDecl>,
    /// How the rows were ended.
    pub change: RevokeMethod,
    /// Tables that inherit from that one, by the number that their rows are kept with: such rows go back there.
    #[serde(default)]
    pub heaps: BTreeMap<u64, TableName>,
    /// Tables whose rows follow behind those of the sessions: parents before what refers to them.
    #[serde(default)]
    pub dependents: Vec<DependentTable>,
}

/// A value of a row.
#[derive(Clone, PartialEq)]
pub enum ArchivedValue {
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

/// UnsealedRows that were unsealed: they can only be put back.
pub struct UnsealedRows {
    /// What holds for all of them.
    pub header: BatchHeader,
    rows: Vec<Vec<ArchivedValue>>,
    /// What went with them, by table.
    pub dependents: Vec<UnsealedDependents>,
}

impl UnsealedRows {
    /// Reads what was sealed.
    ///
    /// # Errors
    ///
    /// If it is not what this program seals.
    pub fn parse(bytes: &[u8]) -> Result<Self, DamagedRows> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(DamagedRows)?;
        let (first, rest) = bytes.split_at(end);
        let about: BatchHeader = serde_json::from_slice(first).map_err(|_| DamagedRows)?;
        if !SUPPORTED_VERSIONS.contains(&about.version) {
            return Err(DamagedRows);
        }
        let lines = rest.get(1..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        let mut lines = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
        let cells = |line: &[u8], width: usize| {
            let row = match about.dialect.as_str() {
                "postgres" => parse_copy_line(line),
                // Only PostgreSQL has `COPY`. Every other database's rows are kept as JSON.
                _ => parse_json_line(line),
            };
            row.filter(|row| row.len() == width).ok_or(DamagedRows)
        };
        let part = lines.by_ref().take_while(|line| *line != END_OF_TABLE);
        let rows = part.map(|line| cells(line, about.columns.len())).collect::<Result<Vec<_>, _>>()?;
        let mut dependents = Vec::with_capacity(about.dependents.len());
        for table in &about.dependents {
            let mut dependent = UnsealedDependents { table: table.clone(), sessions: vec![], rows: vec![] };
            for line in lines.by_ref().take_while(|line| *line != END_OF_TABLE) {
                let (session, row) =
                    split_session_position(line).filter(|(at, _)| *at < rows.len()).ok_or(DamagedRows)?;
                dependent.sessions.push(session);
                dependent.rows.push(cells(row, table.columns.len())?);
            }
            dependents.push(dependent);
        }
        if lines.next().is_some() {
            return Err(DamagedRows);
        }
        Ok(Self { rows, dependents, header: about })
    }

    /// The values of a row; none behind the last.
    pub(crate) fn row(&self, at: usize) -> &[ArchivedValue] {
        self.rows.get(at).map_or(&[], Vec::as_slice)
    }

    /// Which of these columns, by their position, are NULL in a row.
    pub(crate) fn null_columns(&self, at: usize, columns: &[usize]) -> Vec<usize> {
        let row = self.row(at);
        columns.iter().copied().filter(|column| row.get(*column) == Some(&ArchivedValue::Null)).collect()
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

impl UnsealedDependents {
    /// The positions of the rows that went with one of these sessions.
    pub fn rows_of_sessions(&self, sessions: &BTreeSet<usize>) -> Vec<usize> {
        let owners = self.sessions.iter().enumerate();
        owners.filter(|(_, session)| sessions.contains(session)).map(|(at, _)| at).collect()
    }

    /// The sessions that these rows went with.
    pub fn sessions_of(&self, rows: &[usize]) -> BTreeSet<usize> {
        rows.iter().filter_map(|at| self.sessions.get(*at).copied()).collect()
    }

    /// The values of a row; none behind the last.
    pub(crate) fn row(&self, at: usize) -> &[ArchivedValue] {
        self.rows.get(at).map_or(&[], Vec::as_slice)
    }
}

impl std::fmt::Debug for UnsealedDependents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnsealedDependents({} of {})", self.rows.len(), self.table.table)
    }
}

impl std::fmt::Debug for UnsealedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnsealedRows({} of {})", self.rows.len(), self.header.table)
    }
}

impl ArchivedValue {
    /// As text, for PostgreSQL.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A line of a dependent row: the position of its session, and the rest.
fn split_session_position(line: &[u8]) -> Option<(usize, &[u8])> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (position, rest) = line.split_at(tab);
    Some((std::str::from_utf8(position).ok()?.parse().ok()?, rest.get(1..)?))
}

/// A line as `COPY` writes it: <https://www.postgresql.org/docs/current/sql-copy.html>, "Text Format".
fn parse_copy_line(line: &[u8]) -> Option<Vec<ArchivedValue>> {
    let cell = |field: &[u8]| {
        if field == b"\\N" {
            return Some(ArchivedValue::Null);
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
        Some(ArchivedValue::Text(Zeroizing::new(text.to_owned())))
    };
    line.split(|byte| *byte == b'\t').map(cell).collect()
}

/// A line of JSON, as rows of SQLite are kept.
fn parse_json_line(line: &[u8]) -> Option<Vec<ArchivedValue>> {
    let bytes = |value: &Json| {
        let bytes = value.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
        bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
    };
    let cell = |value: Json| match value {
        Json::Null => Some(ArchivedValue::Null),
        Json::Number(number) => number.as_i64().map(ArchivedValue::Integer),
        Json::String(text) => Some(ArchivedValue::Text(Zeroizing::new(text))),
        Json::Object(typed) => {
            let (kind, value) = typed.iter().next()?;
            match kind.as_str() {
                "real" => value.as_u64().map(|bits| ArchivedValue::Real(f64::from_bits(bits))),
                "text" | "blob" => bytes(value).map(ArchivedValue::Blob),
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

    fn text(text: &str) -> Option<Vec<ArchivedValue>> {
        Some(vec![ArchivedValue::Text(Zeroizing::new(text.to_owned()))])
    }

    #[test]
    fn lines_of_copy_are_read_as_they_are_written() {
        assert!(parse_copy_line(b"a\\tb\\\\c\\n\\x") == text("a\tb\\c\nx"));
        assert!(parse_copy_line(b"") == text(""));
        assert!(
            parse_copy_line(b"\\N\t")
                == Some(vec![ArchivedValue::Null, ArchivedValue::Text(Zeroizing::new(String::new()))])
        );
        assert!(parse_copy_line(b"a\\").is_none() && parse_copy_line(b"\xff").is_none());
    }

    #[test]
    fn rows_are_read_and_what_is_damaged_is_not() {
        let rows = UnsealedRows::parse(format!("{ABOUT}\none\t\\N\ntwo\tx\n").as_bytes()).unwrap();
        assert_eq!((rows.len(), rows.row(1)[0].as_text(), rows.row(2).len()), (2, Some("two"), 0));
        assert_eq!(format!("{rows:?}"), "UnsealedRows(2 of s)");
        let sqlite = ABOUT.replace("postgres", "sqlite");
        let rows = UnsealedRows::parse(format!("{sqlite}\n[1,{{\"blob\":[0,255]}}]\n").as_bytes()).unwrap();
        assert!(rows.row(0)[1] == ArchivedValue::Blob(Zeroizing::new(vec![0, 255])));
        for wrong in [
            String::new(),
            "{}\n".into(),
            format!("{ABOUT}\none\n"),
            format!("{}\na\tb\n", ABOUT.replace("\"version\":1", "\"version\":3")),
            format!("{sqlite}\n[1,{{\"blob\":[256]}}]\n"),
            format!("{sqlite}\n[1.5,true]\n"),
        ] {
            assert!(matches!(UnsealedRows::parse(wrong.as_bytes()), Err(DamagedRows)), "{wrong}");
        }
    }

    #[test]
    fn rows_that_went_with_sessions_are_read_behind_them() {
        let about = ABOUT.replace(
            "\"change\"",
            "\"dependents\":[{\"table\":{\"schema\":\"public\",\"name\":\"carts\"},\"columns\":[{\"name\":\"n\",\"kind\":\"integer\"}],\"parents\":[]}],\"change\"",
        );
        let about = about.replace("\"version\":1", "\"version\":2");
        let read = |lines: &str| UnsealedRows::parse(format!("{about}\n{lines}").as_bytes());
        let rows = read("one\tx\ntwo\tx\n\\.\n1\t7\n0\t8\n1\t9\n\\.\n").unwrap();
        let carts = &rows.dependents[0];
        assert_eq!((rows.len(), carts.rows_of_sessions(&BTreeSet::from([1]))), (2, vec![0, 2]));
        assert_eq!((carts.row(2)[0].as_text(), carts.row(3).len()), (Some("9"), 0));
        assert_eq!(format!("{carts:?}"), "UnsealedDependents(3 of public.carts)");
        // Of no session, of no column, of no table.
        for wrong in [
            "one\tx\n\\.\n1\t7\n\\.\n",
            "one\tx\n\\.\n7\n",
            "one\tx\n\\.\n0\t7\t7\n",
            "one\tx\n\\.\n\\.\n0\t7\n",
        ] {
            assert!(matches!(read(wrong), Err(DamagedRows)), "{wrong}");
        }
    }
}
