//! Requirements of security standards, as far as a session table proves them. Each row says which part it looks at; to
//! pass it is not to meet the whole requirement.

use jiff::SignedDuration;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{self as rules, SeriesSummary, Verdict},
    checks::expired_backlog::{MAX_IN_SMALL_TABLE, ROWS_PER_EXPIRED},
    duration::{DAY, HOUR},
};

use super::{
    Item, Subject,
    facts::{Facts, Measure},
    guide::{BACKLOG, DUPLICATES, LOOK, ORPHANS, action, float, highest, number},
};

/// At level 1 of NIST SP 800-63B-4, 2.1.3, a log-in should last no longer.
const AAL1: SignedDuration = SignedDuration::from_hours(30 * 24);
/// At level 2 of NIST SP 800-63B-4, 2.2.3, a log-in should last no longer; revision 3 had 12 hours.
const AAL2: SignedDuration = SignedDuration::from_hours(24);
/// Why a row is there that no table proves.
const HIDDEN: &str = "a table cannot show it";

/// A requirement that is met while there is nothing of what it looks at.
struct Requirement {
    measure: Measure,
    id: &'static str,
    source: &'static str,
    title: &'static str,
    looked_at: &'static str,
    /// The check whose action mends it.
    mended_by: &'static str,
}

const UNIQUE_TOKENS: Requirement = Requirement {
    measure: DUPLICATES,
    id: "unique-tokens",
    source: "OWASP ASVS 5.0.0 7.2.3; NIST SP 800-53 r5 SC-23(3)",
    title: "No two sessions share a token",
    looked_at: "tokens on more than one row",
    mended_by: "duplicate-tokens",
};

const NEW_TOKEN_AT_LOG_IN: Requirement = Requirement {
    measure: Measure("rebound", "token-rebound"),
    id: "new-token-at-log-in",
    source: "OWASP ASVS 5.0.0 7.2.4",
    title: "No token passes from one user to another",
    looked_at: "tokens whose user changed between two looks",
    mended_by: "token-rebound",
};

const ENDED_STAYS_ENDED: Requirement = Requirement {
    measure: Measure("revived", "revived-sessions"),
    id: "ended-stays-ended",
    source: "OWASP ASVS 5.0.0 7.4.1",
    title: "A session that has ended does not come back",
    looked_at: "sessions that were gone at one look and there at a later one",
    mended_by: "revived-sessions",
};

const DELETED_USERS: Requirement = Requirement {
    measure: ORPHANS,
    id: "deleted-users",
    source: "OWASP ASVS 5.0.0 7.4.2",
    title: "No session is left of a user who was deleted",
    looked_at: "sessions whose user does not exist, expired ones included",
    mended_by: "orphaned-sessions",
};

const SESSION_TERMINATION: Requirement = Requirement {
    measure: Measure("never_expiring", "expired-backlog"),
    id: "session-termination",
    source: "NIST SP 800-53 r5 AC-12",
    title: "Every session ends by itself",
    looked_at: "sessions without an end",
    mended_by: "session-lifetime",
};

/// Every requirement.
pub(super) fn items(facts: &Facts<'_>) -> Vec<Item> {
    vec![
        absent(facts, &UNIQUE_TOKENS),
        hidden(Subject {
            id: "random-tokens",
            source: "OWASP ASVS 5.0.0 7.2.3; NIST SP 800-63B-4 5.1",
            title: "Tokens cannot be guessed",
            looked_at: "nothing: no token leaves the database",
            mend: "",
            find_out: "see in the code that tokens come from a cryptographic generator, 128 bits or more",
        }),
        absent(facts, &NEW_TOKEN_AT_LOG_IN),
        hidden(Subject {
            id: "inactivity-timeout",
            source: "OWASP ASVS 5.0.0 7.3.1",
            title: "Sessions that are not used end",
            looked_at: "nothing: most tables do not say when a session was used",
            mend: "",
            find_out: "leave a session unused for as long as your policy says, and use it again",
        }),
        absolute_lifetime(facts),
        absent(facts, &ENDED_STAYS_ENDED),
        absent(facts, &DELETED_USERS),
        old_rows(facts),
        assurance(facts, AAL1),
        assurance(facts, AAL2),
        concurrent_sessions(facts),
        absent(facts, &SESSION_TERMINATION),
    ]
}

fn absent(facts: &Facts<'_>, requirement: &Requirement) -> Item {
    let Requirement { measure, id, source, title, looked_at, mended_by } = *requirement;
    let track: Option<SeriesSummary> = facts.track(measure.0);
    let verdict = facts.judge(measure, rules::at_most(track.as_ref(), 0.0));
    let subject = Subject { id, source, title, looked_at, mend: action(mended_by), find_out: LOOK };
    Item::new(subject, "0", verdict, highest(track))
}

fn hidden(subject: Subject) -> Item {
    Item::new(subject, "", Verdict::Unknown(HIDDEN.into()), String::new())
}

fn absolute_lifetime(facts: &Facts<'_>) -> Item {
    let (check, extended) = ("session-lifetime", facts.track("extended"));
    let failed = facts.failed(check);
    let verdict = rules::lifetime(failed.is_some(), extended.as_ref());
    let evidence = match (failed, extended) {
        (Some(when), _) => format!("ends beyond the policy, or none, on {}", clock::readable(when)),
        (None, None) => String::new(),
        (None, Some(_)) => format!("extended between two looks, {}", highest(extended)),
    };
    let subject = Subject {
        id: "absolute-lifetime",
        source: "OWASP ASVS 5.0.0 7.3.2",
        title: "Every session ends after a set time, used or not",
        looked_at: "ends beyond the policy, and ends that are put off",
        mend: action(check),
        find_out: "see in the code that a session ends at a set time after log-in, however much it is used",
    };
    Item::new(subject, "policy", facts.judge(Measure("extended", check), verdict), evidence)
}

fn old_rows(facts: &Facts<'_>) -> Item {
    let measure = BACKLOG;
    let thresholds = facts.thresholds;
    let failed = facts.failed(measure.1);
    let verdict = if failed.is_some() { Verdict::Fail } else { Verdict::Pass };
    let evidence = match failed {
        Some(when) => format!("too many, or too old, on {}", clock::readable(when)),
        None => highest(facts.track(measure.0)),
    };
    let subject = Subject {
        id: "expired-rows-deleted",
        source: "OWASP ASVS 5.0.0 14.2.7",
        title: "Expired sessions are deleted in time",
        looked_at: "expired sessions that are still stored, and their age",
        mend: action(measure.1),
        find_out: LOOK,
    };
    let most = match thresholds.expired_backlog.max {
        Some(most) => most.to_string(),
        None => format!("{MAX_IN_SMALL_TABLE}, or one of {ROWS_PER_EXPIRED} rows"),
    };
    let threshold = format!("at most {most}, no older than {} days", thresholds.expired_backlog.max_age_days);
    Item::new(subject, &threshold, facts.judge(measure, verdict), evidence)
}

fn assurance(facts: &Facts<'_>, limit: SignedDuration) -> Item {
    // The check is one that knows whenever all rows were seen.
    let measure = Measure("extended", "expired-backlog");
    let ends = facts.ends.map(|(_, ends)| ends);
    let verdict = rules::ends_within(ends, limit, facts.track(measure.0).as_ref());
    let evidence = facts.ends.map_or_else(String::new, |(when, ends)| {
        let ahead = ends.ahead.map(|ahead| format!("the furthest end is {} ahead", length(ahead)));
        let never = Some(ends.never).filter(|never| *never > 0).map(|never| format!("{never} never end"));
        let parts: Vec<String> = ahead.into_iter().chain(never).collect();
        if parts.is_empty() {
            String::new()
        } else {
            format!("{}, on {}", parts.join(", "), clock::readable(when))
        }
    });
    let (id, source, title) = if limit == AAL1 {
        ("aal1-lifetime", "NIST SP 800-63B-4 2.1.3", "At AAL1, log-ins last no longer than 30 days")
    } else {
        ("aal2-lifetime", "NIST SP 800-63B-4 2.2.3", "At AAL2, log-ins last no longer than 24 hours")
    };
    let subject = Subject {
        id,
        source,
        title,
        looked_at: "the furthest end at the last look, and ends that are put off",
        mend: "shorten the lifetime of sessions, if this level is what you need",
        find_out: "see in the code how long after log-in a session can last at most",
    };
    Item::new(subject, &length(limit), facts.judge(measure, verdict), evidence)
}

fn concurrent_sessions(facts: &Facts<'_>) -> Item {
    let measure = Measure("max_per_user", "user-session-excess");
    let (track, limit) = (facts.track(measure.0), facts.thresholds.user_session_excess.max);
    let verdict = facts.judge(measure, rules::at_most(track.as_ref(), float(limit)));
    let subject = Subject {
        id: "concurrent-sessions",
        source: "NIST SP 800-53 r5 AC-10; OWASP ASVS 5.0.0 7.1.2",
        title: "No user holds more sessions than the limit",
        looked_at: "the most active sessions that one user held",
        mend: action(measure.1),
        find_out: LOOK,
    };
    Item::new(subject, &limit.to_string(), verdict, highest(track))
}

/// A length of time for people.
fn length(length: SignedDuration) -> String {
    if length > 2 * DAY {
        format!("{} days", number(length.div_duration_f64(DAY)))
    } else {
        format!("{} hours", number(length.div_duration_f64(HOUR)))
    }
}
