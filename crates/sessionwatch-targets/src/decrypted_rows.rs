//! Decrypted rows: values read back from the archive, to be restored into their table.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::mapping::{RevokeMethod, TableName};

/// The decrypted bytes do not have the format of archived rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archived rows are corrupt")]
pub struct DamagedRows;

/// Readable versions of the format. Version 2 added dependent rows.
const SUPPORTED_VERSIONS: [u32; 2] = [1, 2];
/// Line that ends the rows of each table, as in the output of `COPY`. No row has this form, neither from
/// `COPY` nor as JSON.
pub(super) const END_OF_TABLE: &[u8] = b"\\.";

/// A column and its declared type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDecl {
    /// Name of the column.
    pub name: String,
    /// Declared type.
    pub kind: String,
}

/// A table whose rows are archived with their sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependentTable {
    /// Name of the table.
    pub table: TableName,
    /// Columns, in order.
    pub columns: Vec<ColumnDecl>,
    /// Positions of earlier dependent tables that this one refers to.
    pub parents: Vec<usize>,
}

/// Unsealed rows of a [`DependentTable`].
pub struct UnsealedDependents {
    /// Table of the rows.
    pub table: DependentTable,
    /// Position of the session of each row.
    sessions: Vec<usize>,
    rows: Vec<Vec<ArchivedValue>>,
}

/// First line of a batch, which applies to all rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BatchHeader {
    /// Version of the format.
    pub version: u32,
    /// Database product.
    pub dialect: String,
    /// Session table, for people who read the archive by hand.
    pub table: String,
    /// Columns, in order.
    pub columns: Vec<ColumnDecl>,
    /// Method by which the sessions were ended.
    pub change: RevokeMethod,
    /// Inheriting tables, by the number in the locators of their rows. Rows are restored into the table that
    /// they came from.
    #[serde(default)]
    pub heaps: BTreeMap<u64, TableName>,
    /// Tables with rows after those of the sessions, parents first.
    #[serde(default)]
    pub dependents: Vec<DependentTable>,
}

/// A value of an archived row.
#[derive(Clone, PartialEq)]
pub enum ArchivedValue {
    /// NULL.
    Null,
    /// Text, the form of every PostgreSQL value.
    Text(Zeroizing<String>),
    /// Text from SQLite that is not valid UTF-8.
    RawText(Zeroizing<Vec<u8>>),
    /// Integer from SQLite.
    Integer(i64),
    /// Floating-point number from SQLite.
    Real(f64),
    /// Bytes from SQLite.
    Blob(Zeroizing<Vec<u8>>),
}

/// Unsealed rows. They can only be restored.
pub struct DecryptedRows {
    /// Facts that apply to all rows.
    pub header: BatchHeader,
    rows: Vec<Vec<ArchivedValue>>,
    /// Dependent rows, by table.
    pub dependents: Vec<UnsealedDependents>,
}

impl DecryptedRows {
    /// Parses decrypted bytes.
    ///
    /// # Errors
    ///
    /// If the bytes do not have the format of archived rows.
    pub fn parse(bytes: &[u8]) -> Result<Self, DamagedRows> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(DamagedRows)?;
        let (first, rest) = bytes.split_at(end);
        let header: BatchHeader = serde_json::from_slice(first).map_err(|_| DamagedRows)?;
        // An archive of a newer version may hold data that this one would drop.
        if !SUPPORTED_VERSIONS.contains(&header.version) {
            return Err(DamagedRows);
        }
        let lines = rest.get(1..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        let mut lines = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
        let cells = |line: &[u8], width: usize| {
            let row = match header.dialect.as_str() {
                "postgres" => parse_copy_line(line),
                // Only PostgreSQL has `COPY`. Rows of every other database are archived as JSON.
                _ => parse_json_line(line),
            };
            // A row of another width would shift values into the wrong columns.
            row.filter(|row| row.len() == width).ok_or(DamagedRows)
        };
        let part = lines.by_ref().take_while(|line| *line != END_OF_TABLE);
        let rows = part.map(|line| cells(line, header.columns.len())).collect::<Result<Vec<_>, _>>()?;
        let mut dependents = Vec::with_capacity(header.dependents.len());
        for table in &header.dependents {
            let mut dependent = UnsealedDependents { table: table.clone(), sessions: vec![], rows: vec![] };
            for line in lines.by_ref().take_while(|line| *line != END_OF_TABLE) {
                let (session, row) =
                    split_session_position(line).filter(|(at, _)| *at < rows.len()).ok_or(DamagedRows)?;
                dependent.sessions.push(session);
                dependent.rows.push(cells(row, table.columns.len())?);
            }
            dependents.push(dependent);
        }
        // Rows of a table that the header does not announce.
        if lines.next().is_some() {
            return Err(DamagedRows);
        }
        Ok(Self { rows, dependents, header })
    }

    /// Returns the values of a row, or an empty slice beyond the last row.
    pub(crate) fn row(&self, at: usize) -> &[ArchivedValue] {
        self.rows.get(at).map_or(&[], Vec::as_slice)
    }

    /// Returns those of the columns, by position, that are NULL in a row.
    pub(crate) fn null_columns(&self, at: usize, columns: &[usize]) -> Vec<usize> {
        let row = self.row(at);
        columns.iter().copied().filter(|column| row.get(*column) == Some(&ArchivedValue::Null)).collect()
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns `true` if there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl UnsealedDependents {
    /// Returns the positions of the rows that belong to these sessions.
    pub fn rows_of_sessions(&self, sessions: &BTreeSet<usize>) -> Vec<usize> {
        let owners = self.sessions.iter().enumerate();
        owners.filter(|(_, session)| sessions.contains(session)).map(|(at, _)| at).collect()
    }

    /// Returns the sessions that these rows belong to.
    pub fn sessions_of(&self, rows: &[usize]) -> BTreeSet<usize> {
        rows.iter().filter_map(|at| self.sessions.get(*at).copied()).collect()
    }

    /// Returns the values of a row, or an empty slice beyond the last row.
    pub(crate) fn row(&self, at: usize) -> &[ArchivedValue] {
        self.rows.get(at).map_or(&[], Vec::as_slice)
    }
}

impl std::fmt::Debug for UnsealedDependents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnsealedDependents({} of {})", self.rows.len(), self.table.table)
    }
}

impl std::fmt::Debug for DecryptedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecryptedRows({} of {})", self.rows.len(), self.header.table)
    }
}

impl ArchivedValue {
    /// Returns the text of a PostgreSQL value.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// Splits the line of a dependent row into the position of its session and the row.
fn split_session_position(line: &[u8]) -> Option<(usize, &[u8])> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (position, rest) = line.split_at(tab);
    Some((std::str::from_utf8(position).ok()?.parse().ok()?, rest.get(1..)?))
}

/// Parses a line in the text format of `COPY`: <https://www.postgresql.org/docs/current/sql-copy.html>.
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
                    // As in COPY: any other escaped byte stands for itself.
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

/// Parses a line of JSON, the format for rows of SQLite.
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
                // Floats are stored as their bits, since JSON numbers may lose precision.
                "real" => value.as_u64().map(|bits| ArchivedValue::Real(f64::from_bits(bits))),
                "text" => bytes(value).map(ArchivedValue::RawText),
                "blob" => bytes(value).map(ArchivedValue::Blob),
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

    const ABOUT: &str = concat!(
        r#"{"version":1,"dialect":"postgres","table":"s","#,
        r#""columns":[{"name":"a","kind":"text"},{"name":"b","kind":"text"}],"change":"delete"}"#,
    );

    fn text(text: &str) -> Option<Vec<ArchivedValue>> {
        Some(vec![ArchivedValue::Text(Zeroizing::new(text.to_owned()))])
    }

    #[test]
    fn copy_lines_are_unescaped() {
        assert!(parse_copy_line(b"a\\tb\\\\c\\n\\x") == text("a\tb\\c\nx"));
        assert!(parse_copy_line(b"") == text(""));
        assert!(
            parse_copy_line(b"\\N\t")
                == Some(vec![ArchivedValue::Null, ArchivedValue::Text(Zeroizing::new(String::new()))])
        );
        assert!(parse_copy_line(b"a\\").is_none() && parse_copy_line(b"\xff").is_none());
    }

    #[test]
    fn rows_are_parsed_and_corrupt_input_is_rejected() {
        let rows = DecryptedRows::parse(format!("{ABOUT}\none\t\\N\ntwo\tx\n").as_bytes()).unwrap();
        assert_eq!((rows.len(), rows.row(1)[0].as_text(), rows.row(2).len()), (2, Some("two"), 0));
        assert_eq!(format!("{rows:?}"), "DecryptedRows(2 of s)");
        let sqlite = ABOUT.replace("postgres", "sqlite");
        let rows = DecryptedRows::parse(format!("{sqlite}\n[1,{{\"blob\":[0,255]}}]\n").as_bytes()).unwrap();
        assert!(rows.row(0)[1] == ArchivedValue::Blob(Zeroizing::new(vec![0, 255])));
        for wrong in [
            String::new(),
            "{}\n".into(),
            format!("{ABOUT}\none\n"),
            format!("{}\na\tb\n", ABOUT.replace("\"version\":1", "\"version\":3")),
            format!("{sqlite}\n[1,{{\"blob\":[256]}}]\n"),
            format!("{sqlite}\n[1.5,true]\n"),
        ] {
            assert!(matches!(DecryptedRows::parse(wrong.as_bytes()), Err(DamagedRows)), "{wrong}");
        }
    }

    #[test]
    fn dependent_rows_are_parsed_after_the_sessions() {
        let about = ABOUT.replace(
            "\"change\"",
            "\"dependents\":[{\"table\":{\"schema\":\"public\",\"name\":\"carts\"},\"columns\":[{\"name\":\"n\",\"kind\":\"integer\"}],\"parents\":[]}],\"change\"",
        );
        let about = about.replace("\"version\":1", "\"version\":2");
        let read = |lines: &str| DecryptedRows::parse(format!("{about}\n{lines}").as_bytes());
        let rows = read("one\tx\ntwo\tx\n\\.\n1\t7\n0\t8\n1\t9\n\\.\n").unwrap();
        let carts = &rows.dependents[0];
        assert_eq!((rows.len(), carts.rows_of_sessions(&BTreeSet::from([1]))), (2, vec![0, 2]));
        assert_eq!((carts.row(2)[0].as_text(), carts.row(3).len()), (Some("9"), 0));
        assert_eq!(format!("{carts:?}"), "UnsealedDependents(3 of public.carts)");
        // Without a session, without a column, without a table.
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
