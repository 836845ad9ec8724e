//! Verdicts: one pure function a check, from the census and the thresholds to what is wrong.

use crate::{
    census::{Census, Fact, outlier_limit, users_above},
    history::Compared,
    instant::DAY,
    settings::{Baseline, Settings},
    threshold::Threshold,
};

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing wrong.
    Healthy,
    /// Something wrong.
    Failing,
    /// Not to be known, and why. Never healthy.
    Unknown(String),
}

/// A verdict with what made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The outcome.
    pub verdict: Verdict,
    /// The value that was compared.
    pub value: Option<f64>,
    /// What it fails at.
    pub threshold: String,
    /// What is wrong, or right, in one sentence.
    pub summary: String,
    /// The constraint that proves it.
    pub proof: Option<String>,
    /// Where the check is about users: the number of sessions above which one is meant.
    pub bound: Option<u64>,
    /// It says something about this look rather than about the sessions, and does not decide what is said of the target.
    pub is_aside: bool,
}

/// What a verdict is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The census.
    pub census: &'a Census,
    /// The thresholds.
    pub settings: &'a Settings,
    /// How long the database took to read the sessions, in microseconds.
    pub duration_us: i64,
    /// What happened since the look before.
    pub compared: Compared<'a>,
}

/// Why a first look knows nothing of changes.
const FIRST: &str = "first look";

#[expect(clippy::cast_precision_loss, reason = "a value for people; counts stay below 2^53")]
fn finding(failing: bool, value: u64, threshold: String, summary: String) -> Finding {
    let verdict = if failing { Verdict::Failing } else { Verdict::Healthy };
    Finding {
        verdict,
        value: Some(value as f64),
        threshold,
        summary,
        proof: None,
        bound: None,
        is_aside: false,
    }
}

fn unknown(threshold: String, reason: &str) -> Finding {
    let verdict = Verdict::Unknown(reason.into());
    let summary = format!("not known: {reason}");
    Finding { verdict, value: None, threshold, summary, proof: None, bound: None, is_aside: false }
}

/// `duplicate-tokens`: any token on more than one row.
#[must_use]
pub fn duplicate_tokens(facts: Facts<'_>) -> Finding {
    let threshold = format!("> {}", facts.settings.duplicates_max);
    match &facts.census.duplicates {
        Fact::Unknown(reason) => unknown(threshold, reason),
        Fact::Proved(index) => {
            let summary = format!("no token is on more than one row, according to `{index}`");
            Finding { proof: Some(index.clone()), ..finding(false, 0, threshold, summary) }
        }
        Fact::Counted(found) if found.tokens == 0 => {
            finding(false, 0, threshold, "no token is on more than one row".into())
        }
        Fact::Counted(found) => {
            let whose = match found.across_users {
                0 => "each of one user: a fault in session creation".to_owned(),
                across => format!("{across} of them shared by several users: one person can act as another"),
            };
            let summary =
                format!("{} on more than one row, {whose}", counted(found.tokens, "token", "tokens"));
            finding(found.tokens > facts.settings.duplicates_max, found.tokens, threshold, summary)
        }
    }
}

/// `token-rebound`: a token whose user is another than at the look before.
#[must_use]
pub fn token_rebound(facts: Facts<'_>) -> Finding {
    let threshold = "> 0".to_owned();
    let changes = match facts.compared {
        Compared::Impossible(reason) => return unknown(threshold, reason),
        Compared::First => return unknown(threshold, FIRST),
        Compared::Since(changes) => changes,
    };
    let rebound = changes.rebound.len() as u64;
    let summary = match rebound {
        0 => "no token changed its user since the last look".to_owned(),
        count => format!("{} changed the user since the last look", counted(count, "token", "tokens")),
    };
    finding(rebound > 0, rebound, threshold, summary)
}

/// `revived-sessions`: a session that had ended and is there again.
#[must_use]
pub fn revived_sessions(facts: Facts<'_>) -> Finding {
    let threshold = format!("> {}", facts.settings.revived_max);
    let changes = match facts.compared {
        Compared::Impossible(reason) => return unknown(threshold, reason),
        Compared::First => return unknown(threshold, FIRST),
        Compared::Since(changes) => changes,
    };
    let revived = changes.revived.len() as u64;
    let summary = match revived {
        0 => "no session came back after it had ended".to_owned(),
        count => format!("{} came back after they had ended", counted(count, "session", "sessions")),
    };
    finding(revived > facts.settings.revived_max, revived, threshold, summary)
}

/// `creation-rate`: sessions created in an hour, outside the baseline. Too few are found only by the busiest hour of a day.
#[must_use]
pub fn creation_rate(facts: Facts<'_>) -> Finding {
    let usual = facts.settings.creation_rate;
    let threshold = match usual {
        Baseline { min: None, max: None } => "no baseline".to_owned(),
        usual => format!("not {usual} an hour"),
    };
    let (seen, busiest) = match facts.compared {
        Compared::Since(changes) => (Some(changes.created_last_hour), changes.busiest_hour),
        Compared::First | Compared::Impossible(_) => (None, None),
    };
    let rate = match (facts.census.created_last_hour, seen, facts.compared) {
        (Some(stored), ..) => stored,
        (None, Some(seen), _) => seen,
        (None, None, Compared::Impossible(reason)) => return unknown(threshold, reason),
        (None, None, _) => return unknown(threshold, FIRST),
    };
    let quiet = busiest.map(|most| most.max(rate)).filter(|most| usual.is_above(*most));
    let created = counted(rate, "session", "sessions");
    let busy = usual.is_below(rate);
    let summary = match quiet {
        Some(most) if !busy => format!(
            "no hour of the last day saw more than {} created, baseline: {usual}",
            counted(most, "session", "sessions")
        ),
        _ => format!("{created} created in the last hour, baseline: {usual}"),
    };
    finding(busy || quiet.is_some(), rate, threshold, summary)
}

/// `orphaned-sessions`: sessions whose user does not exist.
#[must_use]
pub fn orphaned_sessions(facts: Facts<'_>) -> Finding {
    let threshold = format!("> {}", facts.settings.orphaned_max);
    match &facts.census.orphaned {
        Fact::Unknown(reason) => unknown(threshold, reason),
        Fact::Proved(key) => {
            let summary = format!(
                "every session has an existing user, according to `{key}` (not compared; --deep does)"
            );
            Finding { proof: Some(key.clone()), ..finding(false, 0, threshold, summary) }
        }
        Fact::Counted(rows) => {
            let summary = format!("{} whose user does not exist", counted(*rows, "session", "sessions"));
            finding(*rows > facts.settings.orphaned_max, *rows, threshold, summary)
        }
    }
}

/// `sessions-per-user`: active sessions for each user that has one.
#[must_use]
pub fn sessions_per_user(facts: Facts<'_>) -> Finding {
    let (ratio, limit) = (facts.census.sessions_per_user(), facts.settings.ratio_max);
    let summary = format!(
        "{ratio:.2} active sessions a user, over {}",
        counted(facts.census.users_active(), "user", "users")
    );
    Finding { value: Some(ratio), ..finding(ratio > limit, 0, format!("> {limit:.1}"), summary) }
}

/// `user-session-excess`: one user with more active sessions than the limit, or than its peers by far.
#[must_use]
pub fn user_session_excess(facts: Facts<'_>) -> Finding {
    let held = &facts.census.active_per_user;
    let limit = facts.settings.user_max;
    let outlier = facts.settings.user_outliers.then(|| outlier_limit(held)).flatten();
    let bound = outlier.map_or(limit, |outlier| outlier.min(limit));
    let users = users_above(held, bound);
    let most = facts.census.max_per_user();
    let summary = if users == 0 {
        format!("no user stands out; the most that one holds is {most}")
    } else {
        format!(
            "{} with more than {bound} active sessions; the most is {most}",
            counted(users, "user", "users")
        )
    };
    let threshold = if bound < limit { format!("> {bound} (outlier)") } else { format!("> {bound}") };
    Finding { bound: Some(bound), ..finding(users > 0, most, threshold, summary) }
}

/// `rapid-creation`: a user who created many sessions in the last hour, as stored or as first seen.
#[must_use]
pub fn rapid_creation(facts: Facts<'_>) -> Finding {
    let limit = facts.settings.rapid_max_per_hour;
    let threshold = format!("> {limit} in an hour");
    let (histogram, seen) = match (&facts.census.created_per_user, facts.compared) {
        (Some(stored), _) => (stored, ""),
        (None, Compared::Since(changes)) => (&changes.created_per_user, ", as they were first seen"),
        (None, Compared::First) => return unknown(threshold, FIRST),
        (None, Compared::Impossible(_)) => {
            let reason = "the table does not store when a session was created: only `serve` sees new ones";
            return Finding { is_aside: true, ..unknown(threshold, reason) };
        }
    };
    let users = users_above(histogram, limit);
    let most = histogram.keys().next_back().copied().unwrap_or(0);
    let who = if users == 0 { "no user".to_owned() } else { counted(users, "user", "users") };
    let summary = format!("{who} created more than {limit} sessions in the last hour{seen}");
    Finding { bound: Some(limit), ..finding(users > 0, most, threshold, summary) }
}

/// `expired-backlog`: expired rows that nobody removed.
#[must_use]
pub fn expired_backlog(facts: Facts<'_>) -> Finding {
    let (census, settings) = (facts.census, facts.settings);
    let age = census.oldest_expired.map_or(0, |oldest| census.taken_at.since(oldest));
    let old = age > settings.expired_max_age_us;
    let mut summary =
        format!("{} still stored", counted(census.expired, "expired session", "expired sessions"));
    if census.expired > 0 {
        summary.push_str(&format!(
            ", the oldest ended {} ago",
            counted((age / DAY).unsigned_abs(), "day", "days")
        ));
    }
    let limit = settings.expired_limit(census.sessions);
    let threshold = format!("> {limit}, or older than {} days", settings.expired_max_age_us / DAY);
    finding(census.expired > limit || old, census.expired, threshold, summary)
}

/// `active-sessions`: active sessions outside the configured baseline.
#[must_use]
pub fn active_sessions(facts: Facts<'_>) -> Finding {
    let (active, usual) = (facts.census.active, facts.settings.active);
    let threshold = match usual {
        Baseline { min: None, max: None } => "no baseline".to_owned(),
        usual => format!("not {usual}"),
    };
    let summary = format!("{}, baseline: {usual}", counted(active, "active session", "active sessions"));
    finding(usual.is_above(active) || usual.is_below(active), active, threshold, summary)
}

/// `session-lifetime`: an expiry further ahead than the policy, missing, or unreadable.
#[must_use]
pub fn session_lifetime(facts: Facts<'_>) -> Finding {
    let census = facts.census;
    let Some(beyond) = census.beyond_policy else {
        return unknown("policy".into(), "no lifetime policy is configured");
    };
    let wrong = beyond + census.never_expiring + census.undecodable;
    let parts: Vec<String> = [
        (beyond, "session ends later than the policy allows", "sessions end later than the policy allows"),
        (census.never_expiring, "session never ends", "sessions never end"),
        (census.undecodable, "session has an unreadable end", "sessions have an unreadable end"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, one, many)| counted(count, one, many))
    .collect();
    let summary =
        if wrong == 0 { "no session ends later than the policy allows".into() } else { parts.join(", ") };
    finding(wrong > 0, wrong, "> 0".into(), summary)
}

/// `slow-observation`: the database took longer to read the sessions than the budget.
#[must_use]
pub fn slow_observation(facts: Facts<'_>) -> Finding {
    let rows = i64::try_from(facts.census.sessions).unwrap_or(i64::MAX);
    let least = facts.settings.look_budget_us;
    let budget = least.saturating_mul(rows / 10_000).max(least);
    let (took_ms, budget_ms) = ((facts.duration_us / 1_000).unsigned_abs(), budget / 1_000);
    let summary = format!(
        "the database took {took_ms} ms to read {}",
        counted(facts.census.sessions, "session", "sessions")
    );
    let found = finding(facts.duration_us > budget, took_ms, format!("> {budget_ms} ms"), summary);
    Finding { is_aside: true, ..found }
}

/// A check in the operator's own SQL, which gave `value`.
#[must_use]
pub fn custom(value: f64, threshold: Threshold) -> Finding {
    let failing = threshold.is_met_by(value);
    let verdict = if failing { Verdict::Failing } else { Verdict::Healthy };
    let summary = format!("the query gives {value}");
    Finding {
        verdict,
        value: Some(value),
        threshold: threshold.to_string(),
        summary,
        proof: None,
        bound: None,
        is_aside: false,
    }
}

/// A check that could not be made.
#[must_use]
pub fn not_made(reason: &str) -> Finding {
    unknown(String::new(), reason)
}

/// A number and its noun: `1 row`, `3 rows`.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        census::{Duplicates, Histogram},
        instant::Instant,
    };

    fn census() -> Census {
        Census {
            taken_at: Instant::from_micros(100 * DAY).unwrap(),
            sessions: 100,
            active: 100,
            expired: 0,
            never_expiring: 0,
            undecodable: 0,
            anonymous: 0,
            active_with_user: 100,
            oldest_expired: None,
            furthest_expiry: None,
            beyond_policy: Some(0),
            active_per_user: Histogram::from([(1, 100)]),
            rows_per_user: Histogram::from([(1, 100)]),
            created_per_user: None,
            created_last_hour: None,
            duplicates: Fact::Counted(Duplicates::default()),
            orphaned: Fact::Counted(0),
        }
    }

    fn fails(check: fn(Facts<'_>) -> Finding, census: &Census) -> bool {
        let facts = Facts {
            census,
            settings: &Settings::default(),
            duration_us: 0,
            compared: Compared::Impossible("looks are not compared"),
        };
        check(facts).verdict == Verdict::Failing
    }

    #[test]
    fn every_threshold_fails_just_above_and_not_at_it() {
        let at = |change: fn(&mut Census, u64), limit: u64, check: fn(Facts<'_>) -> Finding| {
            let (mut on, mut over) = (census(), census());
            change(&mut on, limit);
            change(&mut over, limit + 1);
            assert!(!fails(check, &on), "at {limit}");
            assert!(fails(check, &over), "above {limit}");
        };
        at(
            |census, n| census.duplicates = Fact::Counted(Duplicates { tokens: n, across_users: 0 }),
            0,
            duplicate_tokens,
        );
        at(|census, n| census.orphaned = Fact::Counted(n), 10, orphaned_sessions);
        at(
            |census, n| {
                (census.active_with_user, census.active_per_user) = (2 * n, Histogram::from([(3, 200)]))
            },
            300,
            sessions_per_user,
        );
        at(|census, n| census.active_per_user = Histogram::from([(n, 1)]), 20, user_session_excess);
        at(|census, n| census.created_per_user = Some(Histogram::from([(n, 1)])), 10, rapid_creation);
        at(|census, n| census.expired = n, 100, expired_backlog);
        at(|census, n| census.never_expiring = n, 0, session_lifetime);
    }

    #[test]
    fn a_large_table_may_keep_what_a_cleanup_once_a_day_leaves() {
        let fails = |expired: u64, sessions: u64, settings: &Settings| {
            let census = Census { expired, sessions, ..census() };
            let compared = Compared::Impossible("looks are not compared");
            let facts = Facts { census: &census, settings, duration_us: 0, compared };
            expired_backlog(facts).verdict == Verdict::Failing
        };
        let usual = Settings::default();
        for (expired, sessions, expected) in
            [(100, 2_000, false), (101, 2_000, true), (3_500, 70_000, false), (3_501, 70_000, true)]
        {
            assert_eq!(fails(expired, sessions, &usual), expected, "{expired} of {sessions}");
        }
        // A number that is configured is meant.
        let configured = Settings { expired_max: Some(100), ..Settings::default() };
        assert!(fails(101, 70_000, &configured));
    }

    #[test]
    fn numbers_of_sessions_are_judged_only_by_a_baseline_that_is_configured() {
        let judge = |check: fn(Facts<'_>) -> Finding, usual: Baseline, number| {
            let settings = &Settings { active: usual, creation_rate: usual, ..Settings::default() };
            let census = &Census { active: number, created_last_hour: Some(number), ..census() };
            let compared = Compared::Impossible("looks are not compared");
            check(Facts { census, settings, duration_us: 0, compared })
        };
        for check in [active_sessions, creation_rate] {
            for number in [0, 1, 1_000_000] {
                let found = judge(check, Baseline::default(), number);
                assert_eq!((found.verdict, found.threshold.as_str()), (Verdict::Healthy, "no baseline"));
            }
            let usual = Baseline { min: None, max: Some(50) };
            assert_eq!(judge(check, usual, 50).verdict, Verdict::Healthy);
            assert_eq!(judge(check, usual, 51).verdict, Verdict::Failing);
        }
        let usual = Baseline { min: Some(50), max: Some(500) };
        for (active, verdict) in [(49, Verdict::Failing), (50, Verdict::Healthy), (501, Verdict::Failing)] {
            let found = judge(active_sessions, usual, active);
            assert_eq!((found.verdict, found.threshold.as_str()), (verdict, "not 50 to 500"));
            assert!(found.summary.ends_with("baseline: 50 to 500"), "{}", found.summary);
        }
        assert_eq!(judge(creation_rate, usual, 0).verdict, Verdict::Healthy, "a quiet hour alone is nothing");
    }

    #[test]
    fn creation_that_nothing_shows_is_unknown_and_decides_nothing() {
        let census = Census { rows_per_user: Histogram::from([(1_000, 1)]), ..census() };
        let (settings, compared) = (&Settings::default(), Compared::Impossible("looks are not compared"));
        let found = rapid_creation(Facts { census: &census, settings, duration_us: 0, compared });
        assert!(matches!(found.verdict, Verdict::Unknown(reason) if reason.contains("only `serve`")));
        assert!(found.is_aside);
    }

    #[test]
    fn one_old_expired_row_is_enough() {
        let oldest = |micros| Census { expired: 1, oldest_expired: Instant::from_micros(micros), ..census() };
        assert!(!fails(expired_backlog, &oldest(93 * DAY)));
        assert!(fails(expired_backlog, &oldest(93 * DAY - 1)));
    }

    #[test]
    fn what_is_not_known_is_never_healthy() {
        let facts = Census {
            orphaned: Fact::Unknown("no users".into()),
            duplicates: Fact::Unknown("x".into()),
            beyond_policy: None,
            ..census()
        };
        for check in [orphaned_sessions, duplicate_tokens, session_lifetime] {
            let finding = check(Facts {
                census: &facts,
                settings: &Settings::default(),
                duration_us: 0,
                compared: Compared::Impossible("looks are not compared"),
            });
            assert!(matches!(finding.verdict, Verdict::Unknown(_)));
        }
    }

    #[test]
    fn a_first_look_knows_nothing_of_changes() {
        let census = census();
        for check in [token_rebound, revived_sessions, creation_rate, rapid_creation] {
            let settings = &Settings::default();
            let facts = Facts { census: &census, settings, duration_us: 0, compared: Compared::First };
            assert_eq!(check(facts).verdict, Verdict::Unknown("first look".into()));
        }
    }

    #[test]
    fn the_budget_of_a_look_grows_with_the_table() {
        let slow = |sessions, duration_us| {
            let census = Census { sessions, ..census() };
            slow_observation(Facts {
                census: &census,
                settings: &Settings::default(),
                duration_us,
                compared: Compared::Impossible("looks are not compared"),
            })
            .verdict
                == Verdict::Failing
        };
        assert!(!slow(10, 100_000));
        assert!(slow(10, 100_001));
        assert!(!slow(1_000_000, 10_000_000));
        assert!(slow(1_000_000, 10_000_001));
    }
}
