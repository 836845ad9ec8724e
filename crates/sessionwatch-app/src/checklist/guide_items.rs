//! The seven items of the operator guide's weekly checklist, and its table of healthy numbers.

use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{
        self as rules, CriticalLogEvents, EXPIRED_SESSIONS_LIMIT, MIN_SESSIONS_PER_USER,
        ORPHANED_SESSIONS_LIMIT, RangePosition, SeriesSummary,
    },
    checks::Baseline,
};

use super::{
    BaselineMetric, ChecklistItem, ItemInfo,
    inputs::{CheckedGauge, ChecklistInputs, USER_REPORTS_ITEM},
};
use crate::{checks, sanitize::sanitize_text};

/// Maximum of orphaned sessions, expired sessions, and sessions per user in the operator guide's table.
const GUIDE_BASELINE_MAXIMA: [f64; 3] = [5.0, 10.0, 2.5];
/// Tokens on more than one row.
pub(super) const DUPLICATE_TOKENS_GAUGE: CheckedGauge = CheckedGauge("duplicate_tokens", "duplicate-tokens");
/// Sessions whose user does not exist.
pub(super) const ORPHANED_SESSIONS_GAUGE: CheckedGauge = CheckedGauge("orphaned", "orphaned-sessions");
/// Expired sessions that are still stored.
pub(super) const EXPIRED_SESSIONS_GAUGE: CheckedGauge = CheckedGauge("expired", "expired-backlog");
/// Action for a number that is unknown.
pub(super) const INVESTIGATION_HINT: &str =
    "see when checks were unknown and why with `sessionwatch alerts history`, then run `sessionwatch doctor`";

/// Returns the seven items.
pub(super) fn guide_items(facts: &ChecklistInputs<'_>) -> Vec<ChecklistItem> {
    vec![
        duplicate_tokens_item(facts),
        orphaned_sessions_item(facts),
        sessions_per_user_item(facts),
        expired_sessions_item(facts),
        critical_log_lines_item(facts),
        creation_rate_item(facts),
        user_reports_item(facts),
    ]
}

/// Returns the table of healthy numbers.
pub(super) fn baseline_metrics(facts: &ChecklistInputs<'_>) -> Vec<BaselineMetric> {
    let thresholds = facts.thresholds;
    let [orphaned, expired, ratio] = GUIDE_BASELINE_MAXIMA;
    let (active, rate) =
        (baseline_range(thresholds.active_sessions), baseline_range(thresholds.creation_rate));
    let users = BaselineRow {
        id: "sessions-per-user",
        title: "Sessions per user",
        gauge: CheckedGauge("per_user", "sessions-per-user"),
        healthy_range: (MIN_SESSIONS_PER_USER, ratio),
    };
    let peak = BaselineRow {
        id: "creation-rate",
        title: "Sessions created in the busiest hour",
        gauge: CheckedGauge("created_last_hour", "creation-rate"),
        healthy_range: rate,
    };
    let count = |id, title, gauge: CheckedGauge, healthy_range| {
        let row = BaselineRow { id, title, gauge, healthy_range };
        row.to_metric(facts, facts.gauge_series(gauge.0), rules::range_position)
    };
    vec![
        // This check is known in every run that read all rows.
        count("active-sessions", "Active sessions", CheckedGauge("active", "expired-backlog"), active),
        users.to_metric(facts, facts.sessions_per_user_series(), rules::range_position),
        count("duplicate-tokens", "Duplicate tokens", DUPLICATE_TOKENS_GAUGE, (0.0, 0.0)),
        count("orphaned-sessions", "Orphaned sessions", ORPHANED_SESSIONS_GAUGE, (0.0, orphaned)),
        count("expired-sessions", "Expired sessions", EXPIRED_SESSIONS_GAUGE, (0.0, expired)),
        peak.to_metric(facts, facts.gauge_series(peak.gauge.0), rules::peak_position),
    ]
}

/// Range of a number without a configured baseline.
pub(super) const UNBOUNDED_RANGE: (f64, f64) = (0.0, f64::INFINITY);

fn baseline_range(usual: Baseline) -> (f64, f64) {
    (usual.min.map_or(UNBOUNDED_RANGE.0, count_to_f64), usual.max.map_or(UNBOUNDED_RANGE.1, count_to_f64))
}

/// Row of the table.
#[derive(Clone, Copy, Debug)]
struct BaselineRow {
    id: &'static str,
    title: &'static str,
    gauge: CheckedGauge,
    healthy_range: (f64, f64),
}

impl BaselineRow {
    fn to_metric(
        self,
        facts: &ChecklistInputs<'_>,
        series: Option<SeriesSummary>,
        range_position: fn(Option<&SeriesSummary>, f64, f64) -> RangePosition,
    ) -> BaselineMetric {
        let Self { id, title, gauge, healthy_range } = self;
        let place = match healthy_range {
            // Without a baseline, no value can be called healthy.
            UNBOUNDED_RANGE => RangePosition::Unknown,
            (low, high) => facts.qualify_position(gauge, range_position(series.as_ref(), low, high)),
        };
        BaselineMetric { id, title, series, healthy_range, range_position: place }
    }
}

fn duplicate_tokens_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = DUPLICATE_TOKENS_GAUGE;
    let track = facts.gauge_series(measure.0);
    let verdict = facts.qualify_verdict(measure, rules::check_at_most(track.as_ref(), 0.0));
    let subject = ItemInfo {
        id: "duplicate-tokens",
        source: "operator guide, query 2",
        title: "No duplicate tokens",
        inspected: "tokens on more than one row",
        remedy: check_action("duplicate-tokens"),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, "0", verdict, describe_highest(track))
}

fn orphaned_sessions_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = ORPHANED_SESSIONS_GAUGE;
    let track = facts.gauge_series(measure.0);
    let verdict = facts.qualify_verdict(measure, rules::check_below(track.as_ref(), ORPHANED_SESSIONS_LIMIT));
    let subject = ItemInfo {
        id: "orphaned-sessions",
        source: "operator guide, query 3",
        title: "Few orphaned sessions",
        inspected: "sessions whose user does not exist",
        remedy: check_action("orphaned-sessions"),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, &format!("< {ORPHANED_SESSIONS_LIMIT}"), verdict, describe_highest(track))
}

fn sessions_per_user_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let (track, max) = (facts.sessions_per_user_series(), facts.thresholds.sessions_per_user.max);
    let verdict = facts.qualify_verdict(
        CheckedGauge("per_user", "sessions-per-user"),
        rules::check_session_ratio(track.as_ref(), max),
    );
    let evidence = match track {
        // Below one session per user, the number itself is suspicious, so the lowest value is shown.
        Some(SeriesSummary { lowest: (low, when), .. }) if low < MIN_SESSIONS_PER_USER => {
            format!(
                "lowest: {}, on {}; {}",
                format_number(low),
                clock::format_utc(when),
                describe_highest(track)
            )
        }
        _ => describe_highest(track),
    };
    let subject = ItemInfo {
        id: "sessions-per-user",
        source: "operator guide, query 5",
        title: "Normal sessions per user",
        inspected: "active sessions per user with an active session",
        remedy: check_action("sessions-per-user"),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, &format!("{MIN_SESSIONS_PER_USER:?} to {max:?}"), verdict, evidence)
}

fn expired_sessions_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = EXPIRED_SESSIONS_GAUGE;
    let track = facts.gauge_series(measure.0);
    let verdict = facts.qualify_verdict(measure, rules::check_below(track.as_ref(), EXPIRED_SESSIONS_LIMIT));
    let subject = ItemInfo {
        id: "expired-sessions",
        source: "operator guide, query 7",
        title: "Few expired sessions",
        inspected: "expired sessions that are still stored",
        remedy: check_action("expired-backlog"),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(subject, &format!("< {EXPIRED_SESSIONS_LIMIT}"), verdict, describe_highest(track))
}

fn critical_log_lines_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let describe = |events: &CriticalLogEvents| match events {
        CriticalLogEvents { confirmed, unconfirmed: 0 } => format!("{confirmed} in this period"),
        CriticalLogEvents { confirmed, unconfirmed } => {
            format!("{confirmed} in this period, {unconfirmed} unconfirmed")
        }
    };
    let evidence = facts.critical_events.as_ref().map(describe).unwrap_or_default();
    let subject = ItemInfo {
        id: "critical-log-lines",
        source: "operator guide, logging",
        title: "No critical warnings in the logs",
        inspected: "log lines about duplicate tokens and mismatched user IDs",
        remedy: "find the users named in these lines, and revoke their sessions",
        investigation: "search the application logs for `Duplicate session token detected` and `User ID mismatch`",
    };
    let events = facts.critical_events.as_ref().map_err(String::as_str).copied();
    let verdict = rules::check_critical_events(events).unknown_if(facts.find_log_doubt());
    ChecklistItem::new(subject, "0", verdict, evidence)
}

fn creation_rate_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let measure = CheckedGauge("created_last_hour", "creation-rate");
    let usual = facts.thresholds.creation_rate;
    let track = facts.gauge_series(measure.0);
    let verdict = rules::check_creation_rate(track.as_ref(), usual, facts.observed_duration());
    let subject = ItemInfo {
        id: "creation-rate",
        source: "operator guide, baseline",
        title: "Normal creation rate, no spike",
        inspected: "sessions created in the busiest hour",
        remedy: check_action("creation-rate"),
        investigation: INVESTIGATION_HINT,
    };
    ChecklistItem::new(
        subject,
        &if usual.is_unset() { String::new() } else { usual.to_string() },
        facts.qualify_verdict(measure, verdict),
        describe_highest(track),
    )
}

fn user_reports_item(facts: &ChecklistInputs<'_>) -> ChecklistItem {
    let attestation = facts.attestation.as_ref();
    let evidence = attestation.map(|attestation| {
        let when = clock::format_utc(attestation.at);
        format!("{}, on {when}: {}", sanitize_text(&attestation.owner), sanitize_text(&attestation.note))
    });
    let subject = ItemInfo {
        id: USER_REPORTS_ITEM,
        source: "operator guide, checklist",
        title: "No user reports of session issues",
        inspected: "attestation by a person",
        remedy: "reply to these users, and open an incident if a report is confirmed",
        investigation: "ask your support team, then record the answer with `sessionwatch report attest`",
    };
    let verdict = rules::check_attestation(attestation.map(|attestation| attestation.holds));
    ChecklistItem::new(subject, "attested", verdict, evidence.unwrap_or_default())
}

/// Returns the action of a failing check.
pub(super) fn check_action(check: &str) -> &'static str {
    checks::TABLE_CHECKS.iter().find(|known| known.id == check).map_or("", |check| check.action)
}

/// Describes the highest value and when it first occurred; empty without values.
pub(super) fn describe_highest(series: Option<SeriesSummary>) -> String {
    match series.map(|track| track.highest) {
        None => String::new(),
        // The value was 0 all the time, so the first time says nothing.
        Some((0.0, _)) => "highest: 0".into(),
        Some((value, when)) => format!("highest: {}, on {}", format_number(value), clock::format_utc(when)),
    }
}

/// Formats a number with at most two decimals.
pub(super) fn format_number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "a threshold; counts stay below 2^53")]
pub(super) fn count_to_f64(count: u64) -> f64 {
    count as f64
}
