//! Full rows between the database and the archive: the one place that handles tokens. Their content can only
//! be sealed, or restored into its table.

use std::ops::Range;

use sessionwatch_core::row_ref;
use zeroize::Zeroizing;

use super::decrypted_rows::END_OF_TABLE;

/// Rows with every column. Each line holds locator, version, row hash and the columns, separated by tabs.
#[derive(Default)]
pub struct FullRows(Zeroizing<Vec<u8>>);

/// The fields before the columns of a row, and the position of the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowHeader {
    /// Locator of the row, or number of its table.
    pub locator: u64,
    /// Version of the row.
    pub version: i64,
    /// Row hash.
    pub row_hash: i64,
    /// Byte range of the columns.
    columns: Range<usize>,
}

impl FullRows {
    /// Appends bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Parses the fields before the columns of each row. Returns `None` if a line is malformed.
    #[must_use]
    pub fn parse_headers(&self) -> Option<Vec<RowHeader>> {
        let mut headers = Vec::new();
        let mut start = 0;
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            let mut parts = line.splitn(4, |byte| *byte == b'\t');
            let mut text = || std::str::from_utf8(parts.next()?).ok();
            // The columns are the rest of the line and may contain further tabs, so only three are split off.
            let locator = row_ref::parse_locator(text()?)?;
            let (version, row_hash) = (text()?.parse().ok()?, text()?.parse().ok()?);
            let end = start + line.len();
            let columns = end - parts.next()?.len()..end;
            headers.push(RowHeader { locator, version, row_hash, columns });
            start = end;
        }
        Some(headers)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the columns of a row, including the line break.
    fn row_columns(&self, header: &RowHeader) -> &[u8] {
        self.0.get(header.columns.clone()).unwrap_or_default()
    }
}

/// What a deletion of dependent rows found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeletedDependents {
    /// Number of deleted rows.
    pub(crate) count: u64,
    /// `true` if there are other rows, which were added or changed since the rows were read.
    pub(crate) has_others: bool,
}

/// Rows of a dependent table, each with the position of its session.
#[derive(Debug, Default)]
pub struct DependentRows {
    full_rows: FullRows,
    headers: Vec<RowHeader>,
    sessions: Vec<usize>,
}

impl DependentRows {
    /// Parses rows and finds the session of each by locator and version. Returns `None` if a line is
    /// malformed or its session unknown.
    #[must_use]
    pub fn new(full_rows: FullRows, position: impl Fn(&RowHeader) -> Option<usize>) -> Option<Self> {
        let headers = full_rows.parse_headers()?;
        let sessions = headers.iter().map(position).collect::<Option<Vec<usize>>>()?;
        Some(Self { full_rows, headers, sessions })
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Returns `true` if there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Returns the hash of each row.
    #[must_use]
    pub fn row_hashes(&self) -> Vec<i64> {
        self.headers.iter().map(|header| header.row_hash).collect()
    }

    /// Yields the columns of each row, including the line break, and the position of its session.
    fn rows_with_sessions(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.headers
            .iter()
            .zip(&self.sessions)
            .map(|(header, session)| (self.full_rows.row_columns(header), *session))
    }

    /// Returns an upper bound of the plaintext size in bytes.
    fn max_plaintext_bytes(&self) -> usize {
        /// A position, a tab, and the line that ends a table.
        const MAX_ROW_OVERHEAD_BYTES: usize = 24;
        self.full_rows.len() + (self.headers.len() + 1) * MAX_ROW_OVERHEAD_BYTES
    }
}

/// Plaintext of one batch for the archive.
#[derive(Clone, Copy, Debug)]
pub struct BatchPlaintext<'a> {
    /// First line, which applies to all rows.
    pub header: &'a str,
    /// Rows with every column, as they were read.
    pub full_rows: &'a FullRows,
    /// Rows to archive.
    pub sessions: &'a [RowHeader],
    /// Rows of dependent tables, parents first.
    pub dependents: &'a [DependentRows],
}

impl BatchPlaintext<'_> {
    /// Passes the bytes to seal: the header, one line per session, then the dependent rows, table by table.
    /// Wipes the bytes afterwards.
    pub fn with_plaintext<T>(&self, seal: impl FnOnce(&[u8]) -> T) -> T {
        let dependents: usize = self.dependents.iter().map(DependentRows::max_plaintext_bytes).sum();
        // The exact bound prevents reallocation, which would leave an unwiped copy in memory.
        let length = self.full_rows.len() + dependents + self.header.len() + 1;
        let mut lines = Zeroizing::new(Vec::with_capacity(length));
        lines.extend_from_slice(self.header.as_bytes());
        lines.push(b'\n');
        self.sessions.iter().for_each(|row| lines.extend_from_slice(self.full_rows.row_columns(row)));
        for dependent in self.dependents {
            lines.extend_from_slice(END_OF_TABLE);
            lines.push(b'\n');
            for (row, session) in dependent.rows_with_sessions() {
                lines.extend_from_slice(format!("{session}\t").as_bytes());
                lines.extend_from_slice(row);
            }
        }
        seal(&lines)
    }
}

impl std::fmt::Debug for FullRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FullRows({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed_and_malformed_lines_are_rejected() {
        let mut full_rows = FullRows::default();
        full_rows.push(b"(1,2)\t700\t-5\tabc\t");
        full_rows.push(b"secret\n(0,3)\t701\t6\t\\N\tx\n");
        let headers = full_rows.parse_headers().unwrap();
        assert_eq!(headers.len(), 2);
        assert_eq!((headers[0].locator, headers[0].version, headers[0].row_hash), (1 << 16 | 2, 700, -5));
        assert_eq!(full_rows.row_columns(&headers[0]), b"abc\tsecret\n");
        assert_eq!(full_rows.row_columns(&headers[1]), b"\\N\tx\n");
        assert_eq!(format!("{full_rows:?}"), "FullRows(41 bytes)");
        for wrong in [&b"x\t1\t1\ta\n"[..], b"(1,2)\t1\n", b"(1,2)\t1\t1", b"\n"] {
            let mut full_rows = FullRows::default();
            full_rows.push(wrong);
            assert!(full_rows.parse_headers().is_none());
        }
    }
}
