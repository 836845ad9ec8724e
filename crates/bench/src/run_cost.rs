//! Time and memory of one run.

/// Time and memory of one run.
#[derive(Clone, Copy)]
pub(crate) struct RunCost {
    /// Wall-clock time.
    pub(crate) duration_ms: f64,
    /// Peak resident memory of the process. For a database client, the server's memory is not included.
    pub(crate) peak_bytes: u64,
}
