//! Gaps: places of a log where lines may be missing, because they could not be read.

use crate::timestamp::{UtcTimestamp, as_micros};
use serde::{Deserialize, Serialize};

/// Gaps of a source that are kept one by one.
const MAX_STORED_GAPS: usize = 20;

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
    pub const fn description(self) -> &'static str {
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
pub struct LogGap {
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
pub struct StoredLogGap {
    /// When it was noticed.
    #[serde(rename = "at_us", with = "as_micros")]
    pub at: UtcTimestamp,
    /// Why lines may be missing.
    pub cause: GapCause,
    /// Bytes that were not read, where that is known.
    pub bytes: Option<u64>,
}

impl StoredLogGap {
    /// Whether it was noticed after an instant.
    #[must_use]
    pub fn is_after(&self, timestamp: UtcTimestamp) -> bool {
        self.at > timestamp
    }
}

/// Adds gaps that were noticed now to those of a source, of which the latest ones are kept.
pub fn append_gaps(kept: &mut Vec<StoredLogGap>, gaps: &[LogGap], now: UtcTimestamp) {
    kept.extend(gaps.iter().map(|gap| StoredLogGap { at: now, cause: gap.cause, bytes: gap.bytes }));
    kept.drain(..kept.len().saturating_sub(MAX_STORED_GAPS));
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
    fn the_latest_gaps_are_kept_and_the_oldest_forgotten() {
        let mut kept = vec![];
        for number in 0..30 {
            let gap = LogGap { cause: GapCause::Truncated, file: "app.log".into(), bytes: Some(number) };
            append_gaps(&mut kept, &[gap.clone(), gap], at(i64::try_from(number).unwrap()));
        }
        assert_eq!(kept.len(), MAX_STORED_GAPS);
        assert_eq!((kept[0].at, kept[MAX_STORED_GAPS - 1].at), (at(20), at(29)));
        let before = kept.clone();
        append_gaps(&mut kept, &[], at(99));
        assert_eq!(kept, before);
    }

    #[test]
    fn a_gap_is_after_every_earlier_instant_and_not_after_its_own() {
        let gap = StoredLogGap { at: at(7), cause: GapCause::CutLine, bytes: None };
        assert!(gap.is_after(at(6)) && !gap.is_after(at(7)) && !gap.is_after(at(8)));
    }

    #[test]
    fn every_cause_is_stored_by_a_name_of_its_own_and_says_something_else() {
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
    fn what_no_version_stored_is_refused() {
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
