//! Whole rows, on their way from the database into the archive: the one place where tokens are. What is in them can only
//! be sealed, or be put back where it came from.

use std::ops::Range;

use sessionwatch_core::planned;
use zeroize::Zeroizing;

/// Rows with every column, as lines: place, version, mark, and the columns, divided by tabs.
#[derive(Default)]
pub struct Whole(Zeroizing<Vec<u8>>);

/// What is before the columns of a row, and where those are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the row stands, or in which heap.
    pub place: u64,
    /// Which version of it this is.
    pub version: i64,
    /// Its mark.
    pub mark: i64,
    /// Its columns.
    columns: Range<usize>,
}

impl Whole {
    /// Takes in what comes next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// What is known of each row; nothing if a line is not one.
    #[must_use]
    pub fn heads(&self) -> Option<Vec<Head>> {
        let mut heads = Vec::new();
        let mut start = 0;
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            let mut parts = line.splitn(4, |byte| *byte == b'\t');
            let mut text = || std::str::from_utf8(parts.next()?).ok();
            let place = planned::place(text()?)?;
            let (version, mark) = (text()?.parse().ok()?, text()?.parse().ok()?);
            let end = start + line.len();
            let columns = end - parts.next()?.len()..end;
            heads.push(Head { place, version, mark, columns });
            start = end;
        }
        Some(heads)
    }

    /// How many bytes all lines have.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The columns of a row, with the end of its line.
    pub(super) fn columns(&self, head: &Head) -> &[u8] {
        self.0.get(head.columns.clone()).unwrap_or_default()
    }
}

/// Rows of another table, each with the position of the session that it goes with.
#[derive(Debug, Default)]
pub struct DependentRows {
    whole: Whole,
    heads: Vec<Head>,
    sessions: Vec<usize>,
}

impl DependentRows {
    /// Takes rows, and finds the session of each by its place and version; nothing if a line is not one, or of no such session.
    #[must_use]
    pub fn new(whole: Whole, position: impl Fn(&Head) -> Option<usize>) -> Option<Self> {
        let heads = whole.heads()?;
        let sessions = heads.iter().map(position).collect::<Option<Vec<usize>>>()?;
        Some(Self { whole, heads, sessions })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The hash of each row.
    #[must_use]
    pub fn hashes(&self) -> Vec<i64> {
        self.heads.iter().map(|head| head.mark).collect()
    }

    /// The columns of each row, with the end of its line, and the position of its session.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.heads.iter().zip(&self.sessions).map(|(head, session)| (self.whole.columns(head), *session))
    }

    /// No fewer bytes than these rows take when they are sealed.
    pub(super) fn sealed_len(&self) -> usize {
        /// A position, a tab, and the line behind a table.
        const MOST_PER_ROW: usize = 24;
        self.whole.len() + (self.heads.len() + 1) * MOST_PER_ROW
    }
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Whole({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_no_line_is_not() {
        let mut whole = Whole::default();
        whole.push(b"(1,2)\t700\t-5\tabc\t");
        whole.push(b"secret\n(0,3)\t701\t6\t\\N\tx\n");
        let heads = whole.heads().unwrap();
        assert_eq!(heads.len(), 2);
        assert_eq!((heads[0].place, heads[0].version, heads[0].mark), (1 << 16 | 2, 700, -5));
        assert_eq!(whole.columns(&heads[0]), b"abc\tsecret\n");
        assert_eq!(whole.columns(&heads[1]), b"\\N\tx\n");
        assert_eq!(format!("{whole:?}"), "Whole(41 bytes)");
        for wrong in [&b"x\t1\t1\ta\n"[..], b"(1,2)\t1\n", b"(1,2)\t1\t1", b"\n"] {
            let mut whole = Whole::default();
            whole.push(wrong);
            assert!(whole.heads().is_none());
        }
    }
}
