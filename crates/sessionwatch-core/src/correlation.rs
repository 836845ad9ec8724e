//! Correlation of log events with sessions of the table, by token prefix and user.

/// Expected number of prefix collisions above which a session of another user may be a collision rather than a
/// conflict.
const MAX_EXPECTED_COLLISIONS: f64 = 0.01;

/// Relation between a log event and the sessions of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum MatchKind {
    /// The session exists and belongs to a user named in the log.
    Exact,
    /// Several sessions match.
    Ambiguous,
    /// The session exists, but belongs to another user.
    Contradicting,
    /// No session has this token prefix: it has ended.
    Gone,
}

impl MatchKind {
    /// Returns the name used in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Result of correlating a log event.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// Kind of match.
    pub match_kind: MatchKind,
    /// Indices of the matching sessions.
    pub rows: Vec<usize>,
    /// Expected number of other sessions with the same token prefix by chance.
    pub expected_collisions: f64,
}

/// Correlates a log event with the sessions whose tokens begin with its prefix. `session_users` holds the users of
/// those sessions and `session_count` is the size of the table. `is_shared_token` says that the event itself reports
/// several sessions with one token.
#[must_use]
pub fn correlate_sessions(
    prefix: &str,
    logged_users: &[&str],
    session_users: &[Option<&str>],
    session_count: u64,
    is_shared_token: bool,
) -> Correlation {
    let collisions = expected_collisions(prefix, session_count);
    let meant = |user: &Option<&str>| user.is_some_and(|user| logged_users.contains(&user));
    let all: Vec<usize> = (0..session_users.len()).collect();
    let matching: Vec<usize> = all.iter().copied().filter(|at| meant(&session_users[*at])).collect();
    let (match_kind, rows) = match (session_users.len(), logged_users.is_empty(), matching.len()) {
        (0, ..) => (MatchKind::Gone, vec![]),
        (1, true, _) => (MatchKind::Exact, all),
        (_, true, _) => (MatchKind::Ambiguous, all),
        // Without a user in the table there is nothing to contradict.
        (..) if session_users.iter().all(Option::is_none) => (MatchKind::Ambiguous, all),
        (_, false, 0) if collisions < MAX_EXPECTED_COLLISIONS => (MatchKind::Contradicting, all),
        (_, false, 0) => (MatchKind::Ambiguous, all),
        (_, false, 1) => (MatchKind::Exact, matching),
        (..) if is_shared_token => (MatchKind::Exact, matching),
        (..) => (MatchKind::Ambiguous, matching),
    };
    Correlation { match_kind, rows, expected_collisions: collisions }
}

/// Returns the expected number of sessions that share a token prefix by chance. Characters are assumed to be random:
/// one of 16 if all are hexadecimal digits, else one of 62.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a likelihood")]
pub fn expected_collisions(prefix: &str, sessions: u64) -> f64 {
    let hex = prefix.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, 'a'..='f' | '-'));
    let kinds: f64 = if hex { 16.0 } else { 62.0 };
    let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
    sessions as f64 / kinds.powi(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlates_by_user_and_number_of_sessions() {
        let fit = |named: &[&str], users: &[&str], sessions, shared| {
            let users: Vec<Option<&str>> = users.iter().map(|user| Some(*user)).collect();
            let joined = correlate_sessions("0a1b2c3d", named, &users, sessions, shared);
            (joined.match_kind, joined.rows)
        };
        assert_eq!(fit(&["7"], &[], 9, false), (MatchKind::Gone, vec![]));
        assert_eq!(fit(&["7"], &["7"], 9, false), (MatchKind::Exact, vec![0]));
        assert_eq!(fit(&["7"], &["9"], 9, false), (MatchKind::Contradicting, vec![0]));
        assert_eq!(fit(&["7", "9"], &["9"], 9, false), (MatchKind::Exact, vec![0]));
        assert_eq!(fit(&["7"], &["9", "7"], 9, false), (MatchKind::Exact, vec![1]));
        assert_eq!(fit(&["7"], &["7", "7"], 9, false), (MatchKind::Ambiguous, vec![0, 1]));
        assert_eq!(fit(&["7", "9"], &["7", "9"], 9, true), (MatchKind::Exact, vec![0, 1]));
        assert_eq!(fit(&[], &["7"], 9, false), (MatchKind::Exact, vec![0]));
        assert_eq!(fit(&[], &["7", "9"], 9, false), (MatchKind::Ambiguous, vec![0, 1]));
        // In such a large table a prefix collision is likely.
        assert_eq!(fit(&["7"], &["9"], 100_000_000, false), (MatchKind::Ambiguous, vec![0]));
        assert_eq!(
            correlate_sessions("0a1b2c3d", &["7"], &[None], 9, false).match_kind,
            MatchKind::Ambiguous
        );
    }

    #[test]
    fn collisions_of_hexadecimal_prefixes_match_the_operator_guide() {
        // The operator guide expects about one ambiguous pair among 100,000 sessions: half of 100,000 times this.
        let one = expected_collisions("0a1b2c3d", 100_000);
        assert!((one * 100_000.0 / 2.0 - 1.16).abs() < 0.01, "{one}");
        assert!(expected_collisions("0a1b2c3Z", 100_000) < one / 1_000.0);
    }
}
