//! What one run gave.

/// One run.
#[derive(Clone, Copy)]
pub(crate) struct RunCost {
    /// From its start to its end.
    pub(crate) duration_ms: f64,
    /// The most memory that the process held; for a client of a database, the client's alone.
    pub(crate) peak_bytes: u64,
}
