//! Progress of scans.

use std::{fmt, sync::Arc};

/// Number of rows between two reports.
const ROWS_PER_REPORT: u64 = 4_096;

/// Receives the number of rows read so far. Dropped at the end of the scan.
pub type RowCountCallback = Box<dyn FnMut(u64) + Send>;

/// Observer of scans, called at the start of each with the expected number of rows, or 0 if unknown.
#[derive(Clone)]
pub struct ScanProgress(Arc<dyn Fn(u64) -> RowCountCallback + Send + Sync>);

impl ScanProgress {
    /// Creates an observer from a function that is called at the start of each scan.
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
