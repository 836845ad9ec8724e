//! Gaps: places of a log where lines may be missing, because they could not be read.

use crate::instant::{Instant, as_micros};
use serde::{Deserialize, Serialize};

/// Gaps of a source that are kept one by one.
const MAX_KEPT: usize = 20;

/// Why lines may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapCause {
    /// The file that was read last is not there any more, and no rotated file holds the rest of it.
    FileGone,
    /// The file was truncated, and no rotated file holds the rest of what was in it.
    Truncated,
    /// A rotated file ends in the middle of a line.
    CutLine,
    /// A rotated file cannot be read or unpacked.
    Unreadable,
    /// Text is in an encoding that is not understood.
    NotText,
}

impl GapCause {
    /// Returns the cause in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::FileGone => {
                "the file that was read last is gone, and no rotated file holds the rest of its lines"
            }
            Self::Truncated => "the file was truncated, and no rotated file holds the rest of its lines",
            Self::CutLine => "a rotated file ends in the middle of a line",
            Self::Unreadable => "a rotated file cannot be read or unpacked",
            Self::NotText => "text is neither UTF-8 nor UTF-16",
        }
    }
}

/// A place where lines may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub cause: GapCause,
    /// The file.
    pub file: String,
    /// Bytes that were not read, where that is known.
    pub bytes: Option<u64>,
}

/// A gap of a source, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptGap {
    /// When it was noticed.
    #[serde(rename = "at_us", with = "as_micros")]
    pub at: Instant,
    /// Why lines may be missing.
    pub cause: GapCause,
    /// Bytes that were not read, where that is known.
    pub bytes: Option<u64>,
}

impl KeptGap {
    /// Whether it was noticed after an instant.
    #[must_use]
    pub fn is_after(&self, instant: Instant) -> bool {
        self.at > instant
    }
}

/// Adds gaps that were noticed now to those of a source, of which the latest ones are kept.
pub fn add(kept: &mut Vec<KeptGap>, gaps: &[Gap], now: Instant) {
    kept.extend(gaps.iter().map(|gap| KeptGap { at: now, cause: gap.cause, bytes: gap.bytes }));
    kept.drain(..kept.len().saturating_sub(MAX_KEPT));
}
