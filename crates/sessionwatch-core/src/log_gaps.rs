//! Log gaps: places where lines may be missing because they could not be read.

use crate::timestamp::{UtcTimestamp, as_micros};
use serde::{Deserialize, Serialize};

/// Maximum number of gaps stored per source.
const MAX_STORED_GAPS: usize = 20;

/// Reason why lines may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapCause {
    /// The file read last is gone, and no rotated file holds the rest of it.
    FileGone,
    /// The file was truncated, and no rotated file holds the rest of it.
    Truncated,
    /// A rotated file ends in the middle of a line.
    CutLine,
    /// A rotated file cannot be read or decompressed.
    Unreadable,
    /// The text is neither UTF-8 nor UTF-16.
    NotText,
}

impl GapCause {
    /// Returns a description for people.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::FileGone => "the file read last is gone, and no rotated file holds the rest of its lines",
            Self::Truncated => "the file was truncated, and no rotated file holds the rest of its lines",
            Self::CutLine => "a rotated file ends in the middle of a line",
            Self::Unreadable => "a rotated file cannot be read or decompressed",
            Self::NotText => "the text is neither UTF-8 nor UTF-16",
        }
    }
}

/// Place where lines may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// Cause.
    pub cause: GapCause,
    /// Path of the file.
    pub file: String,
    /// Number of bytes not read; `None` if unknown.
    pub bytes: Option<u64>,
}

/// Stored gap of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredLogGap {
    /// Time of detection.
    #[serde(rename = "at_us", with = "as_micros")]
    pub at: UtcTimestamp,
    /// Cause.
    pub cause: GapCause,
    /// Number of bytes not read; `None` if unknown.
    pub bytes: Option<u64>,
}

impl StoredLogGap {
    /// Returns whether the gap was detected after an instant.
    #[must_use]
    pub fn is_after(&self, timestamp: UtcTimestamp) -> bool {
        self.at > timestamp
    }
}

/// Appends gaps detected now to the stored ones of a source, and keeps only the latest.
pub fn append_gaps(stored: &mut Vec<StoredLogGap>, gaps: &[LogGap], now: UtcTimestamp) {
    stored.extend(gaps.iter().map(|gap| StoredLogGap { at: now, cause: gap.cause, bytes: gap.bytes }));
    stored.drain(..stored.len().saturating_sub(MAX_STORED_GAPS));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [GapCause; 5] =
        [GapCause::FileGone, GapCause::Truncated, GapCause::CutLine, GapCause::Unreadable, GapCause::NotText];

    fn at(micros: i64) -> UtcTimestamp {
        UtcTimestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn only_the_latest_gaps_are_kept() {
        let mut stored = vec![];
        for number in 0..30 {
            let gap = LogGap { cause: GapCause::Truncated, file: "app.log".into(), bytes: Some(number) };
            append_gaps(&mut stored, &[gap.clone(), gap], at(i64::try_from(number).unwrap()));
        }
        assert_eq!(stored.len(), MAX_STORED_GAPS);
        assert_eq!((stored[0].at, stored[MAX_STORED_GAPS - 1].at), (at(20), at(29)));
        let before = stored.clone();
        append_gaps(&mut stored, &[], at(99));
        assert_eq!(stored, before);
    }

    #[test]
    fn a_gap_is_after_earlier_instants_only() {
        let gap = StoredLogGap { at: at(7), cause: GapCause::CutLine, bytes: None };
        assert!(gap.is_after(at(6)) && !gap.is_after(at(7)) && !gap.is_after(at(8)));
    }

    #[test]
    fn every_cause_round_trips_and_has_its_own_description() {
        let mut words = vec![];
        for cause in CAUSES {
            let gap = StoredLogGap { at: at(1), cause, bytes: Some(2) };
            let stored = serde_json::to_string(&gap).unwrap();
            assert_eq!(serde_json::from_str::<StoredLogGap>(&stored).unwrap(), gap, "{stored}");
            assert!(!words.contains(&cause.description()), "{}", cause.description());
            words.push(cause.description());
        }
    }

    #[test]
    fn malformed_gaps_are_rejected() {
        for stored in [
            r#"{"at_us":1,"cause":"stolen","bytes":2}"#,
            r#"{"at_us":1,"cause":"cut-line","bytes":-2}"#,
            r#"{"at_us":1,"cause":"cut-line","bytes":2,"more":3}"#,
            r#"{"cause":"cut-line","bytes":2}"#,
        ] {
            assert!(serde_json::from_str::<StoredLogGap>(stored).is_err(), "{stored}");
        }
    }
}
