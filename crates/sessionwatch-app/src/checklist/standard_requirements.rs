//! Evidence for requirements of security standards. Each row covers the part of a requirement that a session table
//! shows: passing a row does not mean that the whole requirement is met.

use jiff::SignedDuration;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{self as rules, ChecklistVerdict, SeriesSummary},
    checks::expired_backlog::{MAX_EXPIRED_IN_SMALL_TABLE, ROWS_PER_EXPIRED_ROW},
    duration::{DAY, HOUR},
    plural::format_count,
};

use super::{
    ChecklistItem, ItemInfo,
    guide_items::{
        DUPLICATE_TOKENS_GAUGE, EXPIRED_SESSIONS_GAUGE, INVESTIGATION_HINT, ORPHANED_SESSIONS_GAUGE,
        check_action, count_to_f64, describe_highest, format_number,
    },
    inputs::{CheckedGauge, ChecklistInputs},
};

/// Maximum lifetime of a login at level 1 of NIST SP 800-63B-4, 2.1.3.
const AAL1_MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Maximum lifetime of a login at level 2 of NIST SP 800-63B-4, 2.2.3; revision 3 had 12 hours.
const AAL2_MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// Reason for requirements that no table can prove.
const REASON_NOT_OBSERVABLE: &str = "not visible in a session table";

/// Requirement that is met if a count is zero.
struct AbsenceRequirement {
    gauge: CheckedGauge,
    id: &'static str,
    source: &'static str,
    title: &'static str,
    inspected: &'static str,
    /// Check whose action fixes it.
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
    id: "new-token-at-login",
    source: "OWASP ASVS 5.0.0 7.2.4",
    title: "No token passes from one user to another",
    inspected: "tokens whose user changed between two check runs",
    remedy_check: "token-reassigned",
};

const ENDED_STAYS_ENDED_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: CheckedGauge("reappeared", "reappeared-sessions"),
    id: "ended-stays-ended",
    source: "OWASP ASVS 5.0.0 7.4.1",
    title: "Ended sessions do not reappear",
    inspected: "sessions that were gone in one check run and present in a later one",
    remedy_check: "reappeared-sessions",
};

const DELETED_USERS_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: ORPHANED_SESSIONS_GAUGE,
    id: "deleted-users",
    source: "OWASP ASVS 5.0.0 7.4.2",
    title: "Deleted users have no sessions",
    inspected: "sessions whose user does not exist, expired ones included",
    remedy_check: "orphaned-sessions",
};

const SESSION_TERMINATION_REQUIREMENT: AbsenceRequirement = AbsenceRequirement {
    gauge: CheckedGauge("never_expiring", "expired-backlog"),
    id: "session-termination",
    source: "NIST SP 800-53 r5 AC-12",
    title: "Every session expires",
    inspected: "sessions that never expire",
    remedy_check: "session-lifetime",
};

/// Returns every requirement with its result.
pub(super) fn requirement_items(facts: &ChecklistInputs<'_>) -> Vec<ChecklistItem> {
    vec![
        absence_item(facts, &UNIQUE_TOKENS_REQUIREMENT),
        unobservable_item(ItemInfo {
            id: "random-tokens",
            source: "OWASP ASVS 5.0.0 7.2.3; NIST SP 800-63B-4 5.1",
            title: "Tokens cannot be guessed",
            inspected: "nothing: no token leaves the database",
            remedy: "",
            investigation: "verify in the code that tokens come from a cryptographic random generator, \
                            at least 128 bits",
        }),
        absence_item(facts, &NEW_TOKEN_AT_LOGIN_REQUIREMENT),
        unobservable_item(ItemInfo {
            id: "inactivity-timeout",
            source: "OWASP ASVS 5.0.0 7.3.1",
            title: "Unused sessions end",
            inspected: "nothing: most tables do not store when a session was last used",
            remedy: "",
            investigation: "leave a session unused for as long as your policy allows, then verify that it has ended",
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
    let AbsenceRequirement { gauge, id, source, title, inspected, remedy_check } = *requirement;
    let track: Option<SeriesSummary> = facts.gauge_series(gauge.0);
    let verdict = facts.qualify_verdict(gauge, rules::check_at_most(track.as_ref(), 0.0));
    let subject = ItemInfo {
        id,
        source,
        title,
        inspected,
        remedy: check_action(remedy_check),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, "0", verdict, describe_highest(track))
}

fn unobservable_item(subject: ItemInfo) -> ChecklistItem {
    // Never passing: the row names what auditors have to verify elsewhere.
    ChecklistItem::new(subject, "", ChecklistVerdict::Unknown(REASON_NOT_OBSERVABLE.into()), String::new())
}

fn absolute_lifetime_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let (check, extended) = ("session-lifetime", facts.gauge_series("extended"));
    let failed = facts.first_failed_at(check);
    let verdict = rules::check_lifetime(failed.is_some(), extended.as_ref());
    let evidence = match (failed, extended) {
        (Some(when), _) => format!("expiry beyond the policy, or none, on {}", clock::format_utc(when)),
        (None, None) => String::new(),
        (None, Some(_)) => {
            format!("sessions extended between two check runs, {}", describe_highest(extended))
        }
    };
    let subject = ItemInfo {
        id: "absolute-lifetime",
        source: "OWASP ASVS 5.0.0 7.3.2",
        title: "Every session ends after a fixed time, used or not",
        inspected: "expiry times beyond the policy, and extended expiry times",
        remedy: check_action(check),
        investigation: "verify in the code that a session ends a fixed time after login, however much it is used",
    };
    ChecklistItem::new(
        subject,
        "no session lives longer than the policy allows",
        facts.qualify_verdict(CheckedGauge("extended", check), verdict),
        evidence,
    )
}

fn expired_rows_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = EXPIRED_SESSIONS_GAUGE;
    let thresholds = facts.thresholds;
    let failed = facts.first_failed_at(measure.1);
    // By the check's own results and not by the number: its limits also depend on the age of the rows.
    let verdict = if failed.is_some() { ChecklistVerdict::Failing } else { ChecklistVerdict::Passing };
    let evidence = match failed {
        Some(when) => {
            format!("too many expired sessions, or some stored too long, on {}", clock::format_utc(when))
        }
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
        None => format!("{MAX_EXPIRED_IN_SMALL_TABLE}, or 1 in {ROWS_PER_EXPIRED_ROW} rows"),
    };
    let requirement =
        format!("at most {most}, no older than {} days", thresholds.expired_backlog.max_age_days);
    ChecklistItem::new(subject, &requirement, facts.qualify_verdict(measure, verdict), evidence)
}

fn assurance_level_item(facts: &ChecklistInputs<'_>, limit: SignedDuration) -> ChecklistItem {
    // This check is known in every run that read all rows, so other values of the run are complete too.
    let measure = CheckedGauge("extended", "expired-backlog");
    let ends = facts.expiry_horizon.map(|(_, ends)| ends);
    let verdict = rules::check_expiry_horizon(ends, limit, facts.gauge_series(measure.0).as_ref());
    let evidence = facts.expiry_horizon.map_or_else(String::new, |(when, ends)| {
        let ahead = ends.ahead.map(|ahead| format!("the latest expiry is in {}", format_duration(ahead)));
        let never = Some(ends.never_expiring)
            .filter(|never| *never > 0)
            .map(|never| format_count(never, "session never expires", "sessions never expire"));
        let parts: Vec<String> = ahead.into_iter().chain(never).collect();
        if parts.is_empty() {
            String::new()
        } else {
            format!("{}, as of {}", parts.join(", "), clock::format_utc(when))
        }
    });
    let (id, source, title) = if limit == AAL1_MAX_LIFETIME {
        ("aal1-lifetime", "NIST SP 800-63B-4 2.1.3", "AAL1: logins last no longer than 30 days")
    } else {
        ("aal2-lifetime", "NIST SP 800-63B-4 2.2.3", "AAL2: logins last no longer than 24 hours")
    };
    let subject = ItemInfo {
        id,
        source,
        title,
        inspected: "the latest expiry in the last check run, and extended expiry times",
        remedy: "shorten the lifetime of sessions, if you need this level",
        investigation: "verify in the code how long a session can last after login",
    };
    ChecklistItem::new(
        subject,
        &format!("at most {}", format_duration(limit)),
        facts.qualify_verdict(measure, verdict),
        evidence,
    )
}

fn concurrent_sessions_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = CheckedGauge("max_per_user", "user-session-excess");
    let (track, limit) = (facts.gauge_series(measure.0), facts.thresholds.user_session_excess.max);
    let verdict = facts.qualify_verdict(measure, rules::check_at_most(track.as_ref(), count_to_f64(limit)));
    let subject = ItemInfo {
        id: "concurrent-sessions",
        source: "NIST SP 800-53 r5 AC-10; OWASP ASVS 5.0.0 7.1.2",
        title: "No user has more sessions than the limit",
        inspected: "the most active sessions of one user",
        remedy: check_action(measure.1),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, &format!("at most {limit}"), verdict, describe_highest(track))
}

/// Formats a duration in days or hours.
fn format_duration(length: SignedDuration) -> String {
    // Hours up to two days, so that limits of 24 and 36 hours differ.
    if length > 2 * DAY {
        format!("{} days", format_number(length.div_duration_f64(DAY)))
    } else {
        format!("{} hours", format_number(length.div_duration_f64(HOUR)))
    }
}
