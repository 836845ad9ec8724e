//! What was read, and where.

/// Where a signal was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogExcerpt<'a> {
    /// The first byte, from where the source begins.
    pub from: u64,
    /// The byte after the last one.
    pub to: u64,
    /// What was logged, without what carried it.
    pub text: &'a [u8],
}

/// What was read, and what was not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounters {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Lines with a literal that is looked for.
    pub hits: u64,
    /// Hits that say nothing that is known.
    pub unrecognized: u64,
    /// Entries whose end is missing.
    pub truncated: u64,
    /// Hits that are not UTF-8; they are read all the same.
    pub not_utf8: u64,
    /// Lines longer than a line may be; what comes after that is not looked at.
    pub overlong: u64,
}

impl ReadCounters {
    /// What came after others.
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

    /// Adds others to these.
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
