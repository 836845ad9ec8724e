//! The seven items of the guide's weekly checklist, and its table of healthy numbers.

use sessionwatch_clock as clock;
use sessionwatch_core::{
    checklist::{self as rules, CriticalSignals, EXPIRED, ORPHANED, RATIO_MIN, RangePosition, SeriesSummary},
    checks::Baseline,
};

use super::{
    Item, Number, Subject,
    facts::{Facts, Measure, USER_REPORTS},
};
use crate::{checks, sanitize::printable};

/// The most orphaned and expired sessions, and sessions for each user, of the guide's table.
const BASELINE: [f64; 3] = [5.0, 10.0, 2.5];
/// Tokens on more than one row.
pub(super) const DUPLICATES: Measure = Measure("duplicate_tokens", "duplicate-tokens");
/// Sessions whose user does not exist.
pub(super) const ORPHANS: Measure = Measure("orphaned", "orphaned-sessions");
/// Expired sessions that are still stored.
pub(super) const BACKLOG: Measure = Measure("expired", "expired-backlog");
/// How to find out what is not known of a number.
pub(super) const LOOK: &str =
    "see when too little was seen, and why: `sessionwatch alerts history`; then `sessionwatch doctor`";

/// The seven items.
pub(super) fn items(facts: &Facts<'_>) -> Vec<Item> {
    vec![
        duplicates(facts),
        orphaned(facts),
        ratio(facts),
        expired(facts),
        signals(facts),
        creation_rate(facts),
        user_reports(facts),
    ]
}

/// The table.
pub(super) fn baseline(facts: &Facts<'_>) -> Vec<Number> {
    let thresholds = facts.thresholds;
    let [orphaned, expired, ratio] = BASELINE;
    let (active, rate) = (range(thresholds.active_sessions), range(thresholds.creation_rate));
    let users = Row {
        id: "sessions-per-user",
        title: "Sessions per user",
        measure: Measure("per_user", "sessions-per-user"),
        range: (RATIO_MIN, ratio),
    };
    let peak = Row {
        id: "creation-rate",
        title: "Sessions created per hour, at the peak",
        measure: Measure("created_last_hour", "creation-rate"),
        range: rate,
    };
    let count = |id, title, measure: Measure, range| {
        let row = Row { id, title, measure, range };
        row.number(facts, facts.track(measure.0), rules::within)
    };
    vec![
        // The check is one that knows whenever all rows were seen.
        count("active-sessions", "Active sessions", Measure("active", "expired-backlog"), active),
        users.number(facts, facts.ratio(), rules::within),
        count("duplicate-tokens", "Duplicate tokens", DUPLICATES, (0.0, 0.0)),
        count("orphaned-sessions", "Orphaned sessions", ORPHANS, (0.0, orphaned)),
        count("expired-sessions", "Expired sessions", BACKLOG, (0.0, expired)),
        peak.number(facts, facts.track(peak.measure.0), rules::peak_within),
    ]
}

/// The range of a number for which no baseline is configured.
pub(super) const NO_RANGE: (f64, f64) = (0.0, f64::INFINITY);

fn range(usual: Baseline) -> (f64, f64) {
    (usual.min.map_or(NO_RANGE.0, float), usual.max.map_or(NO_RANGE.1, float))
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: &'static str,
    title: &'static str,
    measure: Measure,
    range: (f64, f64),
}

impl Row {
    fn number(
        self,
        facts: &Facts<'_>,
        track: Option<SeriesSummary>,
        place: fn(Option<&SeriesSummary>, f64, f64) -> RangePosition,
    ) -> Number {
        let Self { id, title, measure, range } = self;
        let place = match range {
            NO_RANGE => RangePosition::Unknown,
            (low, high) => facts.place(measure, place(track.as_ref(), low, high)),
        };
        Number { id, title, track, range, place }
    }
}

fn duplicates(facts: &Facts<'_>) -> Item {
    let measure = DUPLICATES;
    let track = facts.track(measure.0);
    let verdict = facts.judge(measure, rules::at_most(track.as_ref(), 0.0));
    let subject = Subject {
        id: "duplicate-tokens",
        source: "guide, query 2",
        title: "No duplicate tokens",
        looked_at: "tokens on more than one row",
        mend: action("duplicate-tokens"),
        find_out: LOOK,
    };
    Item::new(subject, "0", verdict, highest(track))
}

fn orphaned(facts: &Facts<'_>) -> Item {
    let measure = ORPHANS;
    let track = facts.track(measure.0);
    let verdict = facts.judge(measure, rules::fewer_than(track.as_ref(), ORPHANED));
    let subject = Subject {
        id: "orphaned-sessions",
        source: "guide, query 3",
        title: "Few orphaned sessions",
        looked_at: "sessions whose user does not exist",
        mend: action("orphaned-sessions"),
        find_out: LOOK,
    };
    Item::new(subject, &format!("< {ORPHANED}"), verdict, highest(track))
}

fn ratio(facts: &Facts<'_>) -> Item {
    let (track, max) = (facts.ratio(), facts.thresholds.sessions_per_user.max);
    let verdict = facts.judge(Measure("per_user", "sessions-per-user"), rules::ratio(track.as_ref(), max));
    let evidence = match track {
        Some(SeriesSummary { lowest: (low, when), .. }) if low < RATIO_MIN => {
            format!("lowest: {}, on {}; {}", number(low), clock::readable(when), highest(track))
        }
        _ => highest(track),
    };
    let subject = Subject {
        id: "sessions-per-user",
        source: "guide, query 5",
        title: "Sessions and users in proportion",
        looked_at: "active sessions for each user that has one",
        mend: action("sessions-per-user"),
        find_out: LOOK,
    };
    Item::new(subject, &format!("{RATIO_MIN:?} to {max:?}"), verdict, evidence)
}

fn expired(facts: &Facts<'_>) -> Item {
    let measure = BACKLOG;
    let track = facts.track(measure.0);
    let verdict = facts.judge(measure, rules::fewer_than(track.as_ref(), EXPIRED));
    let subject = Subject {
        id: "expired-sessions",
        source: "guide, query 7",
        title: "Few expired sessions",
        looked_at: "expired sessions that are still stored",
        mend: action("expired-backlog"),
        find_out: LOOK,
    };
    Item::new(subject, &format!("< {EXPIRED}"), verdict, highest(track))
}

fn signals(facts: &Facts<'_>) -> Item {
    let said = |signals: &CriticalSignals| match signals {
        CriticalSignals { confirmed, unconfirmed: 0 } => format!("{confirmed} in this period"),
        CriticalSignals { confirmed, unconfirmed } => {
            format!("{confirmed} in this period, and {unconfirmed} unconfirmed")
        }
    };
    let evidence = facts.signals.as_ref().map(said).unwrap_or_default();
    let subject = Subject {
        id: "critical-log-lines",
        source: "guide, logging",
        title: "No critical warnings in the logs",
        looked_at: "lines of duplicated tokens and of users that do not match",
        mend: "find the users whom these lines name, and end their sessions",
        find_out: "search the application's logs for `Duplicate session token detected` and `User ID mismatch`",
    };
    Item::new(
        subject,
        "0",
        rules::critical_signals(facts.signals.as_ref().map_err(String::as_str).copied()),
        evidence,
    )
}

fn creation_rate(facts: &Facts<'_>) -> Item {
    let measure = Measure("created_last_hour", "creation-rate");
    let usual = facts.thresholds.creation_rate;
    let track = facts.track(measure.0);
    let verdict = rules::creation_rate(track.as_ref(), usual, facts.seen());
    let subject = Subject {
        id: "creation-rate",
        source: "guide, baseline",
        title: "Normal creation rate, no spike",
        looked_at: "sessions created in the busiest hour",
        mend: action("creation-rate"),
        find_out: LOOK,
    };
    Item::new(subject, &usual.to_string(), facts.judge(measure, verdict), highest(track))
}

fn user_reports(facts: &Facts<'_>) -> Item {
    let said = facts.attested.as_ref();
    let evidence = said.map(|said| {
        let when = clock::readable(said.at);
        format!("{}, on {when}: {}", printable(&said.owner), printable(&said.note))
    });
    let subject = Subject {
        id: USER_REPORTS,
        source: "guide, checklist",
        title: "No user reports of session issues",
        looked_at: "what a person vouches for",
        mend: "answer these users, and open what they report",
        find_out: "ask support, then say so: `sessionwatch report attest`",
    };
    let verdict = rules::attested(said.map(|said| said.holds));
    Item::new(subject, "vouched for", verdict, evidence.unwrap_or_default())
}

/// What to do when a check fails.
pub(super) fn action(check: &str) -> &'static str {
    checks::TABLE_CHECKS.iter().find(|known| known.id == check).map_or("", |check| check.action)
}

/// The highest value, and when it was reached first; empty without one.
pub(super) fn highest(track: Option<SeriesSummary>) -> String {
    match track.map(|track| track.highest) {
        None => String::new(),
        Some((0.0, _)) => "highest: 0".into(),
        Some((value, when)) => format!("highest: {}, on {}", number(value), clock::readable(when)),
    }
}

/// A number for people: no more than two decimals, and none of a whole one.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "a threshold; counts stay below 2^53")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
