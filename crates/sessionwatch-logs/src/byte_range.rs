//! Where something stands in a source.

/// Bytes of a source, counted from where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    /// The first one.
    pub(crate) from: u64,
    /// The one after the last.
    pub(crate) to: u64,
}
