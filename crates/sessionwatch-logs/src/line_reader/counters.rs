//! Counters of a log reader, and excerpts of the log.

/// Place and text of a log event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExcerpt<'a> {
    /// Offset of the first byte in the source.
    pub from: u64,
    /// Offset after the last byte.
    pub to: u64,
    /// Message without its envelopes.
    pub text: &'a [u8],
}

/// Numbers of lines read and of problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounters {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Lines that passed the pre-filter.
    pub hits: u64,
    /// Hits without a known event.
    pub unrecognized: u64,
    /// Entries without an end.
    pub truncated: u64,
    /// Hits that are not valid UTF-8; they are read anyway.
    pub not_utf8: u64,
    /// Lines that exceeded the maximum length; the rest of them is ignored.
    pub overlong: u64,
}

impl ReadCounters {
    /// Returns the difference to earlier counters.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            lines: self.lines - before.lines,
            bytes: self.bytes - before.bytes,
            hits: self.hits - before.hits,
            unrecognized: self.unrecognized - before.unrecognized,
            truncated: self.truncated - before.truncated,
            not_utf8: self.not_utf8 - before.not_utf8,
            overlong: self.overlong - before.overlong,
        }
    }

    /// Adds other counters.
    pub fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.hits += other.hits;
        self.unrecognized += other.unrecognized;
        self.truncated += other.truncated;
        self.not_utf8 += other.not_utf8;
        self.overlong += other.overlong;
    }
}
