//! Full rows, on their way from the database into the archive: the one place where tokens are. What is in them can only
//! be sealed, or be put back where it came from.

use std::ops::Range;

use sessionwatch_core::row_ref;
use zeroize::Zeroizing;

use super::unsealed_rows::END_OF_TABLE;

/// Rows with every column, as lines: place, version, mark, and the columns, divided by tabs.
#[derive(Default)]
pub struct FullRows(Zeroizing<Vec<u8>>);

/// What is before the columns of a row, and where those are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowHeader {
    /// Where the row stands, or in which heap.
    pub locator: u64,
    /// Which version of it this is.
    pub version: i64,
    /// Its mark.
    pub row_hash: i64,
    /// Its columns.
    columns: Range<usize>,
}

impl FullRows {
    /// Takes in what comes next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// What is known of each row; nothing if a line is not one.
    #[must_use]
    pub fn parse_headers(&self) -> Option<Vec<RowHeader>> {
        let mut headers = Vec::new();
        let mut start = 0;
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            let mut parts = line.splitn(4, |byte| *byte == b'\t');
            let mut text = || std::str::from_utf8(parts.next()?).ok();
            let locator = row_ref::parse_locator(text()?)?;
            let (version, row_hash) = (text()?.parse().ok()?, text()?.parse().ok()?);
            let end = start + line.len();
            let columns = end - parts.next()?.len()..end;
            headers.push(RowHeader { locator, version, row_hash, columns });
            start = end;
        }
        Some(headers)
    }

    /// How many bytes all lines have.
    fn len(&self) -> usize {
        self.0.len()
    }

    /// The columns of a row, with the end of its line.
    fn row_columns(&self, header: &RowHeader) -> &[u8] {
        self.0.get(header.columns.clone()).unwrap_or_default()
    }
}

/// Rows of another table, each with the position of the session that it goes with.
#[derive(Debug, Default)]
pub struct DependentRows {
    full_rows: FullRows,
    headers: Vec<RowHeader>,
    sessions: Vec<usize>,
}

impl DependentRows {
    /// Takes rows, and finds the session of each by its place and version; nothing if a line is not one, or of no such session.
    #[must_use]
    pub fn new(full_rows: FullRows, position: impl Fn(&RowHeader) -> Option<usize>) -> Option<Self> {
        let headers = full_rows.parse_headers()?;
        let sessions = headers.iter().map(position).collect::<Option<Vec<usize>>>()?;
        Some(Self { full_rows, headers, sessions })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// The hash of each row.
    #[must_use]
    pub fn row_hashes(&self) -> Vec<i64> {
        self.headers.iter().map(|header| header.row_hash).collect()
    }

    /// The columns of each row, with the end of its line, and the position of its session.
    fn rows_with_sessions(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.headers
            .iter()
            .zip(&self.sessions)
            .map(|(header, session)| (self.full_rows.row_columns(header), *session))
    }

    /// No fewer bytes than these rows take when they are sealed.
    fn max_plaintext_bytes(&self) -> usize {
        /// A position, a tab, and the line behind a table.
        const MAX_ROW_OVERHEAD_BYTES: usize = 24;
        self.full_rows.len() + (self.headers.len() + 1) * MAX_ROW_OVERHEAD_BYTES
    }
}

/// Rows of one batch, as they go into the archive.
#[derive(Clone, Copy, Debug)]
pub struct BatchPlaintext<'a> {
    /// What holds for all of them: the first line.
    pub header: &'a str,
    /// The rows that were read, with every column.
    pub full_rows: &'a FullRows,
    /// Which of them go into the archive.
    pub sessions: &'a [RowHeader],
    /// Rows of other tables that go with them, parents first.
    pub dependents: &'a [DependentRows],
}

impl BatchPlaintext<'_> {
    /// Hands over the bytes to be sealed: the header, a line for each session, and behind them the rows of other tables,
    /// table by table. They are wiped afterwards.
    pub fn with_plaintext<T>(&self, seal: impl FnOnce(&[u8]) -> T) -> T {
        let dependents: usize = self.dependents.iter().map(DependentRows::max_plaintext_bytes).sum();
        // It never grows, since what it grew out of would stay in memory.
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
    fn lines_are_read_and_what_is_no_line_is_not() {
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
