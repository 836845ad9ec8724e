//! How far a scan has come, for whoever wants to show it.

use std::{fmt, sync::Arc};

/// Rows between two reports.
const ROWS_PER_REPORT: u64 = 4_096;

/// Takes the number of rows that were read so far; dropped when the scan is over.
pub type RowCountCallback = Box<dyn FnMut(u64) + Send>;

/// Wants to know how far scans have come: called when one begins, with the number of rows that are expected, zero if that is
/// not known.
#[derive(Clone)]
pub struct ScanProgress(Arc<dyn Fn(u64) -> RowCountCallback + Send + Sync>);

impl ScanProgress {
    /// Calls this at the beginning of each scan.
    pub fn new(begin: impl Fn(u64) -> RowCountCallback + Send + Sync + 'static) -> Self {
        Self(Arc::new(begin))
    }
}

impl fmt::Debug for ScanProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanProgress")
    }
}

/// Counts the rows of one scan.
pub(super) struct RowCounter {
    rows: u64,
    report: Option<RowCountCallback>,
}

impl RowCounter {
    pub(super) fn new(progress: Option<&ScanProgress>, expected: u64) -> Self {
        Self { rows: 0, report: progress.map(|progress| (progress.0)(expected)) }
    }

    /// One row more.
    #[inline]
    pub(super) fn count_row(&mut self) {
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_PER_REPORT)
            && let Some(report) = &mut self.report
        {
            report(self.rows);
        }
    }
}

impl fmt::Debug for RowCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowCount({})", self.rows)
    }
}
