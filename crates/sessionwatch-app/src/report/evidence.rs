//! Evidence in words: the sessions and users that a check found, without anything that could steer a terminal.

use jiff::SignedDuration;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::{DAY, HOUR, MINUTE},
    plural::format_count,
    timestamp::UtcTimestamp,
};
use sessionwatch_targets::evidence::EvidenceRow;

use crate::sanitize::sanitize_text;

/// A row of evidence as the columns that people read, each of which may be empty.
pub(super) struct EvidenceWords {
    /// `token 1a2b3c4d…`, or the number of sessions of a user.
    pub(super) session: String,
    /// `user 42 (Ada, ada@example.org)`.
    pub(super) user: String,
    /// `expires in 3 h (2026-01-31 12:00:00 UTC)`.
    pub(super) expiry: String,
}

impl EvidenceWords {
    /// Describes a row at the time of the check.
    pub(super) fn new(evidence: &EvidenceRow, now: UtcTimestamp) -> Self {
        let names: Vec<String> = evidence.display.iter().flatten().map(|name| sanitize_text(name)).collect();
        let mut user =
            evidence.user.as_ref().map_or(String::new(), |user| format!("user {}", sanitize_text(user)));
        if !names.is_empty() {
            let gap = if user.is_empty() { "" } else { " " };
            user.push_str(&format!("{gap}({})", names.join(", ")));
        }
        match &evidence.token_prefix {
            Some(prefix) => Self {
                session: format!("token {}…", sanitize_text(prefix)),
                user,
                expiry: describe_expiry(evidence.expires_at, now),
            },
            // Evidence from logs counts no rows.
            None if evidence.rows == 0 => Self { session: String::new(), user, expiry: String::new() },
            // Without a token the row stands for all sessions of its user.
            None => Self {
                session: format_count(evidence.rows, "session", "sessions"),
                user,
                expiry: String::new(),
            },
        }
    }

    /// Returns the row as one line.
    pub(super) fn to_line(&self) -> String {
        let parts = [&self.session, &self.user, &self.expiry];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }
}

/// Describes when a session expires: relative to now, with the time in brackets.
fn describe_expiry(expires_at: Option<UtcTimestamp>, now: UtcTimestamp) -> String {
    let Some(at) = expires_at else { return "has no readable expiry".into() };
    let (left, time) = (at.duration_since(now), clock::format_utc(at));
    if left > SignedDuration::ZERO {
        format!("expires in {} ({time})", format_length(left))
    } else {
        format!("expired {} ago ({time})", format_length(left))
    }
}

/// Formats a length of time in its largest unit, rounded: `45 min`, `3 h`, `12 days`.
fn format_length(length: SignedDuration) -> String {
    let length = length.unsigned_abs();
    let rounded = |unit: SignedDuration| {
        let unit = unit.unsigned_abs();
        u64::try_from((length + unit / 2).as_millis() / unit.as_millis().max(1)).unwrap_or(u64::MAX)
    };
    if rounded(MINUTE) == 0 {
        "less than a minute".to_owned()
    } else if rounded(MINUTE) < 60 {
        format!("{} min", rounded(MINUTE))
    } else if rounded(HOUR) < 48 {
        format!("{} h", rounded(HOUR))
    } else {
        format_count(rounded(DAY), "day", "days")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_to_one_unit() {
        for (length, expected) in [
            (SignedDuration::from_secs(29), "less than a minute"),
            (SignedDuration::from_secs(-90), "2 min"),
            (MINUTE * 59, "59 min"),
            (HOUR - SignedDuration::from_secs(1), "1 h"),
            (HOUR * 47, "47 h"),
            (DAY * 5 - SignedDuration::from_secs(2), "5 days"),
            (-DAY * 1_500, "1,500 days"),
        ] {
            assert_eq!(format_length(length), expected);
        }
    }

    #[test]
    fn evidence_is_one_line_that_cannot_steer_a_terminal() {
        let now = UtcTimestamp::UNIX_EPOCH + DAY;
        let session = EvidenceRow {
            token_prefix: Some("ab\u{1b}c".into()),
            id: Some("7".into()),
            user: Some("a\nda".into()),
            expires_at: Some(now + HOUR / 2),
            rows: 1,
            display: vec![Some("Ada\u{202e}".into()), None, Some("ada@example.org".into())],
            ..EvidenceRow::default()
        };
        let line = |row: &EvidenceRow| EvidenceWords::new(row, now).to_line();
        assert_eq!(
            line(&session),
            "token ab\u{fffd}c…, user a\u{fffd}da (Ada\u{fffd}, ada@example.org), \
             expires in 30 min (1970-01-02 00:30:00 UTC)"
        );
        let expired = EvidenceRow { expires_at: Some(now - HOUR), display: vec![None], ..session.clone() };
        assert_eq!(
            line(&expired),
            "token ab\u{fffd}c…, user a\u{fffd}da, expired 1 h ago (1970-01-01 23:00:00 UTC)"
        );
        let unreadable = EvidenceRow { expires_at: None, user: None, display: vec![], ..session.clone() };
        assert_eq!(line(&unreadable), "token ab\u{fffd}c…, has no readable expiry");
        let user = EvidenceRow { token_prefix: None, rows: 2_100, display: vec![], ..session };
        assert_eq!(line(&user), "2,100 sessions, user a\u{fffd}da");
        assert_eq!(line(&EvidenceRow { rows: 0, ..user }), "user a\u{fffd}da");
    }
}
