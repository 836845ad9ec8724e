//! Requirements of security standards, as far as a session table proves them. Each row says which part it looks at; to
//! pass it is not to meet the whole requirement.

use jiff::SignedDuration;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{self as rules, ChecklistVerdict, SeriesSummary},
    checks::expired_backlog::{MAX_EXPIRED_IN_SMALL_TABLE, ROWS_PER_EXPIRED_ROW},
    duration::{DAY, HOUR},
};

use super::{
    ChecklistItem, ItemInfo,
    inputs::{CheckedGauge, ChecklistInputs},
    operator_guide::{
        DUPLICATE_TOKENS_GAUGE, EXPIRED_SESSIONS_GAUGE, INVESTIGATION_HINT, ORPHANED_SESSIONS_GAUGE,
        check_action, count_to_f64, describe_highest, format_number,
    },
};

/// At level 1 of NIST SP 800-63B-4, 2.1.3, a log-in should last no longer.
const AAL1_MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// At level 2 of NIST SP 800-63B-4, 2.2.3, a log-in should last no longer; revision 3 had 12 hours.
const AAL2_MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// Why a row is there that no table proves.
const REASON_NOT_OBSERVABLE: &str = "a table cannot show it";

/// A requirement that is met while there is nothing of what it looks at.
struct AbsenceRequirement {
    gauge: CheckedGauge,
    id: &'static str,
    source: &'static str,
    title: &'static str,
    inspected: &'static str,
    /// The check whose action mends it.
    remedy_check: &'static str,
}

const UNIQUE_TOKENS_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: DUPLICATE_TOKENS_GAUGE,
    id: "unique-tokens",
    source: "OWASP ASVS 5.0.0 7.2.3; NIST SP 800-53 r5 SC-23(3)",
    title: "No two sessions share a token",
    inspected: "tokens on more than one row",
    remedy_check: "duplicate-tokens",
};

const NEW_TOKEN_AT_LOGIN_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: CheckedGauge("reassigned", "token-reassigned"),
    id: "new-token-at-log-in",
    source: "OWASP ASVS 5.0.0 7.2.4",
    title: "No token passes from one user to another",
    inspected: "tokens whose user changed between two looks",
    remedy_check: "token-reassigned",
};

const ENDED_STAYS_ENDED_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: CheckedGauge("reappeared", "reappeared-sessions"),
    id: "ended-stays-ended",
    source: "OWASP ASVS 5.0.0 7.4.1",
    title: "A session that has ended does not come back",
    inspected: "sessions that were gone at one look and there at a later one",
    remedy_check: "reappeared-sessions",
};

const DELETED_USERS_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: ORPHANED_SESSIONS_GAUGE,
    id: "deleted-users",
    source: "OWASP ASVS 5.0.0 7.4.2",
    title: "No session is left of a user who was deleted",
    inspected: "sessions whose user does not exist, expired ones included",
    remedy_check: "orphaned-sessions",
};

const SESSION_TERMINATION_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: CheckedGauge("never_expiring", "expired-backlog"),
    id: "session-termination",
    source: "NIST SP 800-53 r5 AC-12",
    title: "Every session ends by itself",
    inspected: "sessions without an end",
    remedy_check: "session-lifetime",
};

/// Every requirement.
pub(super) fn requirement_items(facts: &ChecklistInputs<'_>) -> Vec<ChecklistItem> {
    vec![
        absence_item(facts, &UNIQUE_TOKENS_REQUIREMENT),
        unobservable_item(ItemInfo {
            id: "random-tokens",
            source: "OWASP ASVS 5.0.0 7.2.3; NIST SP 800-63B-4 5.1",
            title: "Tokens cannot be guessed",
            inspected: "nothing: no token leaves the database",
            remedy: "",
            investigation: "see in the code that tokens come from a cryptographic generator, 128 bits or more",
        }),
        absence_item(facts, &NEW_TOKEN_AT_LOGIN_REQUIREMENT),
        unobservable_item(ItemInfo {
            id: "inactivity-timeout",
            source: "OWASP ASVS 5.0.0 7.3.1",
            title: "Sessions that are not used end",
            inspected: "nothing: most tables do not say when a session was used",
            remedy: "",
            investigation: "leave a session unused for as long as your policy says, and use it again",
        }),
        absolute_lifetime_item(facts),
        absence_item(facts, &ENDED_STAYS_ENDED_REQUIREMENT),
        absence_item(facts, &DELETED_USERS_REQUIREMENT),
        expired_rows_item(facts),
        assurance_level_item(facts, AAL1_MAX_LIFETIME),
        assurance_level_item(facts, AAL2_MAX_LIFETIME),
        concurrent_sessions_item(facts),
        absence_item(facts, &SESSION_TERMINATION_REQUIREMENT),
    ]
}

fn absence_item(facts: &ChecklistInputs<'_>, requirement: &AbsenceRequirement) -> ChecklistItem {
    let AbsenceRequirement {
        gauge: measure,
        id,
        source,
        title,
        inspected: looked_at,
        remedy_check: mended_by,
    } = *requirement;
    let track: Option<SeriesSummary> = facts.gauge_series(measure.0);
    let verdict = facts.qualify_verdict(measure, rules::check_at_most(track.as_ref(), 0.0));
    let subject = ItemInfo {
        id,
        source,
        title,
        inspected: looked_at,
        remedy: check_action(mended_by),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, "0", verdict, describe_highest(track))
}

fn unobservable_item(subject: ItemInfo) -> ChecklistItem {
    ChecklistItem::new(subject, "", ChecklistVerdict::Unknown(REASON_NOT_OBSERVABLE.into()), String::new())
}

fn absolute_lifetime_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let (check, extended) = ("session-lifetime", facts.gauge_series("extended"));
    let failed = facts.first_failed_at(check);
    let verdict = rules::check_lifetime(failed.is_some(), extended.as_ref());
    let evidence = match (failed, extended) {
        (Some(when), _) => format!("ends beyond the policy, or none, on {}", clock::format_utc(when)),
        (None, None) => String::new(),
        (None, Some(_)) => format!("extended between two looks, {}", describe_highest(extended)),
    };
    let subject = ItemInfo {
        id: "absolute-lifetime",
        source: "OWASP ASVS 5.0.0 7.3.2",
        title: "Every session ends after a set time, used or not",
        inspected: "ends beyond the policy, and ends that are put off",
        remedy: check_action(check),
        investigation: "see in the code that a session ends at a set time after log-in, however much it is used",
    };
    ChecklistItem::new(
        subject,
        "policy",
        facts.qualify_verdict(CheckedGauge("extended", check), verdict),
        evidence,
    )
}

fn expired_rows_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = EXPIRED_SESSIONS_GAUGE;
    let thresholds = facts.thresholds;
    let failed = facts.first_failed_at(measure.1);
    let verdict = if failed.is_some() { ChecklistVerdict::Failing } else { ChecklistVerdict::Passing };
    let evidence = match failed {
        Some(when) => format!("too many, or too old, on {}", clock::format_utc(when)),
        None => describe_highest(facts.gauge_series(measure.0)),
    };
    let subject = ItemInfo {
        id: "expired-rows-deleted",
        source: "OWASP ASVS 5.0.0 14.2.7",
        title: "Expired sessions are deleted in time",
        inspected: "expired sessions that are still stored, and their age",
        remedy: check_action(measure.1),
        investigation: INVESTIGATION_HINT,
    };
    let most = match thresholds.expired_backlog.max {
        Some(most) => most.to_string(),
        None => format!("{MAX_EXPIRED_IN_SMALL_TABLE}, or one of {ROWS_PER_EXPIRED_ROW} rows"),
    };
    let threshold = format!("at most {most}, no older than {} days", thresholds.expired_backlog.max_age_days);
    ChecklistItem::new(subject, &threshold, facts.qualify_verdict(measure, verdict), evidence)
}

fn assurance_level_item(facts: &ChecklistInputs<'_>, limit: SignedDuration) -> ChecklistItem {
    // The check is one that knows whenever all rows were seen.
    let measure = CheckedGauge("extended", "expired-backlog");
    let ends = facts.expiry_horizon.map(|(_, ends)| ends);
    let verdict = rules::check_expiry_horizon(ends, limit, facts.gauge_series(measure.0).as_ref());
    let evidence = facts.expiry_horizon.map_or_else(String::new, |(when, ends)| {
        let ahead = ends.ahead.map(|ahead| format!("the furthest end is {} ahead", format_duration(ahead)));
        let never =
            Some(ends.never_expiring).filter(|never| *never > 0).map(|never| format!("{never} never end"));
        let parts: Vec<String> = ahead.into_iter().chain(never).collect();
        if parts.is_empty() {
            String::new()
        } else {
            format!("{}, on {}", parts.join(", "), clock::format_utc(when))
        }
    });
    let (id, source, title) = if limit == AAL1_MAX_LIFETIME {
        ("aal1-lifetime", "NIST SP 800-63B-4 2.1.3", "At AAL1, log-ins last no longer than 30 days")
    } else {
        ("aal2-lifetime", "NIST SP 800-63B-4 2.2.3", "At AAL2, log-ins last no longer than 24 hours")
    };
    let subject = ItemInfo {
        id,
        source,
        title,
        inspected: "the furthest end at the last look, and ends that are put off",
        remedy: "shorten the lifetime of sessions, if this level is what you need",
        investigation: "see in the code how long after log-in a session can last at most",
    };
    ChecklistItem::new(subject, &format_duration(limit), facts.qualify_verdict(measure, verdict), evidence)
}

fn concurrent_sessions_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = CheckedGauge("max_per_user", "user-session-excess");
    let (track, limit) = (facts.gauge_series(measure.0), facts.thresholds.user_session_excess.max);
    let verdict = facts.qualify_verdict(measure, rules::check_at_most(track.as_ref(), count_to_f64(limit)));
    let subject = ItemInfo {
        id: "concurrent-sessions",
        source: "NIST SP 800-53 r5 AC-10; OWASP ASVS 5.0.0 7.1.2",
        title: "No user holds more sessions than the limit",
        inspected: "the most active sessions that one user held",
        remedy: check_action(measure.1),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, &limit.to_string(), verdict, describe_highest(track))
}

/// A length of time for people.
fn format_duration(length: SignedDuration) -> String {
    if length > 2 * DAY {
        format!("{} days", format_number(length.div_duration_f64(DAY)))
    } else {
        format!("{} hours", format_number(length.div_duration_f64(HOUR)))
    }
}
