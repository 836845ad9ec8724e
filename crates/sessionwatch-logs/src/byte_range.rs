//! Byte ranges in a log source.

/// Half-open range of bytes, counted from the beginning of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    /// First byte.
    pub(crate) from: u64,
    /// Byte after the last one.
    pub(crate) to: u64,
}
