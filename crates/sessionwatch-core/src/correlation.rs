//! Which sessions of the table a line of a log is about, by the first characters of a token and by users.

/// Sessions that share a prefix by chance, above which one that contradicts the log may be one of those.
const MAX_EXPECTED_COLLISIONS: f64 = 0.01;

/// How a signal fits the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum MatchKind {
    /// The session is there, and its user is one whom the log names.
    Exact,
    /// Several sessions could be meant.
    Ambiguous,
    /// The session is there, but the table names another user.
    Contradicting,
    /// No session begins like that: it has ended.
    Gone,
}

impl MatchKind {
    /// The name used in output.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What a signal was joined to.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// How it fits.
    pub match_kind: MatchKind,
    /// The places of the sessions that may be meant.
    pub rows: Vec<usize>,
    /// How many other sessions of the table begin like that by chance.
    pub expected_collisions: f64,
}

/// Joins a signal to the sessions whose tokens begin with its prefix, of which only the users matter. `shared` says that
/// the log itself tells of several sessions on one token.
#[must_use]
pub fn correlate_sessions(
    prefix: &str,
    logged_users: &[&str],
    session_users: &[Option<&str>],
    session_count: u64,
    is_shared_token: bool,
) -> Correlation {
    let by_chance = expected_collisions(prefix, session_count);
    let meant = |user: &Option<&str>| user.is_some_and(|user| logged_users.contains(&user));
    let all: Vec<usize> = (0..session_users.len()).collect();
    let matching: Vec<usize> = all.iter().copied().filter(|at| meant(&session_users[*at])).collect();
    let (fit, rows) = match (session_users.len(), logged_users.is_empty(), matching.len()) {
        (0, ..) => (MatchKind::Gone, vec![]),
        (1, true, _) => (MatchKind::Exact, all),
        (_, true, _) => (MatchKind::Ambiguous, all),
        // Without a user in the table there is nothing to contradict.
        (..) if session_users.iter().all(Option::is_none) => (MatchKind::Ambiguous, all),
        (_, false, 0) if by_chance < MAX_EXPECTED_COLLISIONS => (MatchKind::Contradicting, all),
        (_, false, 0) => (MatchKind::Ambiguous, all),
        (_, false, 1) => (MatchKind::Exact, matching),
        (..) if is_shared_token => (MatchKind::Exact, matching),
        (..) => (MatchKind::Ambiguous, matching),
    };
    Correlation { match_kind: fit, rows, expected_collisions: by_chance }
}

/// How many of so many sessions begin like one other by chance. Each character is taken for one of as many as its kind
/// has: 16 where all of them are hexadecimal digits, else 62.
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
    fn every_way_to_fit() {
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
        // Among so many, one that merely begins alike is likely.
        assert_eq!(fit(&["7"], &["9"], 100_000_000, false), (MatchKind::Ambiguous, vec![0]));
        assert_eq!(
            correlate_sessions("0a1b2c3d", &["7"], &[None], 9, false).match_kind,
            MatchKind::Ambiguous
        );
    }

    #[test]
    fn chance_is_that_of_the_guide_for_hexadecimal_prefixes() {
        // Of 100 000 sessions about one pair is ambiguous: half of 100 000 times this.
        let one = expected_collisions("0a1b2c3d", 100_000);
        assert!((one * 100_000.0 / 2.0 - 1.16).abs() < 0.01, "{one}");
        assert!(expected_collisions("0a1b2c3Z", 100_000) < one / 1_000.0);
    }
}
