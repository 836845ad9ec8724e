//! Checklist tests.

use super::*;

const MICROSECOND: SignedDuration = SignedDuration::from_micros(1);

fn check_events(confirmed: u64, unconfirmed: u64) -> ChecklistVerdict {
    check_critical_events(Ok(CriticalLogEvents { confirmed, unconfirmed }))
}

fn hours_after_epoch(hours: i64) -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn series_summary(low: f64, high: f64) -> Option<SeriesSummary> {
    Some(SeriesSummary {
        lowest: (low, hours_after_epoch(1)),
        highest: (high, hours_after_epoch(2)),
        last: low,
    })
}

fn is_unknown(verdict: &ChecklistVerdict) -> bool {
    verdict.reason().is_some()
}

#[test]
fn a_summary_holds_the_first_time_of_its_extremes() {
    let points = [
        (hours_after_epoch(1), [3.0, 2.0, 4.0]),
        (hours_after_epoch(2), [7.0, 1.0, 9.0]),
        (hours_after_epoch(3), [5.0, 1.0, 9.0]),
    ];
    let expected = SeriesSummary {
        lowest: (1.0, hours_after_epoch(2)),
        highest: (9.0, hours_after_epoch(2)),
        last: 5.0,
    };
    assert_eq!(SeriesSummary::from_points(points.into_iter()), Some(expected));
    assert_eq!(SeriesSummary::from_points(std::iter::empty()), None);
}

#[test]
fn every_item_passes_at_its_threshold_and_fails_beyond() {
    let none = |high: f64| check_at_most(series_summary(0.0, high).as_ref(), 0.0);
    let orphaned = |high: f64| check_below(series_summary(0.0, high).as_ref(), ORPHANED_SESSIONS_LIMIT);
    let expired = |high: f64| check_below(series_summary(0.0, high).as_ref(), EXPIRED_SESSIONS_LIMIT);
    let high_ratio = |high: f64| check_session_ratio(series_summary(1.0, high).as_ref(), 3.0);
    let low_ratio = |low: f64| check_session_ratio(series_summary(low, 2.0).as_ref(), 3.0);
    let usual = Baseline { min: Some(10), max: Some(50) };
    let rate = |high: f64| check_creation_rate(series_summary(0.0, high).as_ref(), usual, DAY);
    let early = |high: f64| check_creation_rate(series_summary(0.0, high).as_ref(), usual, DAY - MICROSECOND);
    assert!(
        is_unknown(&early(9.0))
            && early(10.0) == ChecklistVerdict::Passing
            && early(51.0) == ChecklistVerdict::Failing
    );
    for (name, verdict, expected) in [
        ("no token", none(0.0), ChecklistVerdict::Passing),
        ("one token", none(1.0), ChecklistVerdict::Failing),
        ("4 orphans", orphaned(4.0), ChecklistVerdict::Passing),
        ("5 orphans", orphaned(5.0), ChecklistVerdict::Failing),
        ("9 expired", expired(9.0), ChecklistVerdict::Passing),
        ("10 expired", expired(10.0), ChecklistVerdict::Failing),
        ("a ratio of 3", high_ratio(3.0), ChecklistVerdict::Passing),
        ("a ratio above 3", high_ratio(3.01), ChecklistVerdict::Failing),
        ("a ratio of 1", low_ratio(1.0), ChecklistVerdict::Passing),
        ("a ratio below 1", low_ratio(0.99), ChecklistVerdict::Failing),
        ("50 created", rate(50.0), ChecklistVerdict::Passing),
        ("51 created", rate(51.0), ChecklistVerdict::Failing),
        ("10 created", rate(10.0), ChecklistVerdict::Passing),
        ("9 created", rate(9.0), ChecklistVerdict::Failing),
        ("no event", check_events(0, 0), ChecklistVerdict::Passing),
        ("one event", check_events(1, 0), ChecklistVerdict::Failing),
        ("one event among unconfirmed ones", check_events(1, 9), ChecklistVerdict::Failing),
        ("attested as passing", check_attestation(Some(true)), ChecklistVerdict::Passing),
        ("attested as failing", check_attestation(Some(false)), ChecklistVerdict::Failing),
    ] {
        assert_eq!(verdict, expected, "{name}");
    }
}

#[test]
fn missing_values_are_unknown() {
    for verdict in [
        check_at_most(None, 0.0),
        check_below(None, ORPHANED_SESSIONS_LIMIT),
        check_session_ratio(None, 3.0),
        check_creation_rate(None, Baseline { min: Some(10), max: Some(50) }, 7 * DAY),
        check_creation_rate(series_summary(10.0, 60.0).as_ref(), Baseline::default(), 7 * DAY),
        check_critical_events(Err("no log is read")),
        check_events(0, 1),
        check_attestation(None),
        check_lifetime(false, None),
        check_expiry_horizon(None, DAY, series_summary(0.0, 0.0).as_ref()),
    ] {
        assert!(is_unknown(&verdict), "{verdict:?}");
    }
    assert_eq!(range_position(None, 0.0, 1.0), RangePosition::Unknown);
    assert_eq!(peak_position(None, 0.0, 1.0), RangePosition::Unknown);
}

#[test]
fn a_doubt_turns_a_pass_into_unknown_and_keeps_a_failure() {
    let doubt = || Some("no data".to_owned());
    assert_eq!(ChecklistVerdict::Passing.unknown_if(doubt()), ChecklistVerdict::Unknown("no data".into()));
    assert_eq!(ChecklistVerdict::Failing.unknown_if(doubt()), ChecklistVerdict::Failing);
    assert_eq!(
        ChecklistVerdict::Unknown("x".into()).unknown_if(doubt()),
        ChecklistVerdict::Unknown("x".into())
    );
    assert_eq!(ChecklistVerdict::Passing.unknown_if(None), ChecklistVerdict::Passing);
}

#[test]
fn a_failure_outweighs_unknown_and_unknown_outweighs_a_pass() {
    let (pass, fail, unknown) =
        (ChecklistVerdict::Passing, ChecklistVerdict::Failing, ChecklistVerdict::Unknown("x".into()));
    assert_eq!(
        ChecklistVerdict::combine_all([&pass, &unknown, &fail].into_iter()),
        ChecklistVerdict::Failing
    );
    assert!(is_unknown(&ChecklistVerdict::combine_all([&pass, &unknown].into_iter())));
    assert_eq!(ChecklistVerdict::combine_all([&pass, &pass].into_iter()), ChecklistVerdict::Passing);
    assert!(is_unknown(&ChecklistVerdict::combine_all(std::iter::empty())));
}

#[test]
fn lifetimes_are_limited_only_if_no_session_is_extended() {
    let (none, some) = (series_summary(0.0, 0.0), series_summary(0.0, 1.0));
    assert_eq!(check_lifetime(true, some.as_ref()), ChecklistVerdict::Failing);
    assert_eq!(check_lifetime(false, none.as_ref()), ChecklistVerdict::Passing);
    assert!(is_unknown(&check_lifetime(false, some.as_ref())));
    let ends = |ahead, never, unreadable| Some(ExpiryHorizon { ahead, never_expiring: never, unreadable });
    for (name, ends, expected) in [
        (
            "at the limit, and clocks differ",
            ends(Some(DAY + CLOCK_SKEW_TOLERANCE), 0, 0),
            Some(ChecklistVerdict::Passing),
        ),
        (
            "beyond it",
            ends(Some(DAY + CLOCK_SKEW_TOLERANCE + MICROSECOND), 0, 0),
            Some(ChecklistVerdict::Failing),
        ),
        ("never", ends(Some(MICROSECOND), 1, 0), Some(ChecklistVerdict::Failing)),
        ("beyond it, another unreadable", ends(Some(2 * DAY), 0, 1), Some(ChecklistVerdict::Failing)),
        ("unreadable", ends(Some(MICROSECOND), 0, 1), None),
        ("no session", ends(None, 0, 0), None),
    ] {
        let verdict = check_expiry_horizon(ends, DAY, none.as_ref());
        assert_eq!(Some(&verdict).filter(|verdict| !is_unknown(verdict)), expected.as_ref(), "{name}");
    }
    assert!(is_unknown(&check_expiry_horizon(ends(Some(MICROSECOND), 0, 0), DAY, some.as_ref())));
}

#[test]
fn a_range_includes_its_bounds_and_applies_to_all_values() {
    let place = |low, high| range_position(series_summary(low, high).as_ref(), 50.0, 500.0);
    assert_eq!((place(50.0, 500.0), place(49.0, 500.0)), (RangePosition::In, RangePosition::Out));
    assert_eq!(place(50.0, 501.0), RangePosition::Out);
    let peak = |low, high| peak_position(series_summary(low, high).as_ref(), 10.0, 50.0);
    assert_eq!((peak(0.0, 10.0), peak(0.0, 50.0)), (RangePosition::In, RangePosition::In));
    assert_eq!((peak(0.0, 9.0), peak(0.0, 51.0)), (RangePosition::Out, RangePosition::Out));
}

#[test]
fn one_failed_run_in_ten_is_tolerated() {
    assert!(
        !has_too_many_failed_runs(0, 0)
            && !has_too_many_failed_runs(10, 1)
            && has_too_many_failed_runs(10, 2)
            && has_too_many_failed_runs(19, 2)
    );
}

fn period_of_hours(from: i64, to: i64) -> Period {
    Period { from: hours_after_epoch(from), to: hours_after_epoch(to) }
}

#[test]
fn gaps_at_both_ends_of_the_period_count() {
    let period = period_of_hours(0, 100);
    let gap = |seen: &[i64]| longest_gap(seen.iter().map(|hours| hours_after_epoch(*hours)), period);
    assert_eq!(gap(&[]), period);
    assert_eq!(gap(&[-1, 30, 99]), period_of_hours(30, 99));
    assert_eq!(gap(&[60, 99]), period_of_hours(0, 60));
    assert_eq!(gap(&[1, 2, 3]), period_of_hours(3, 100));
    assert_eq!(gap_exceeding_limit(period_of_hours(0, 26)), None);
    let longer = Period { from: hours_after_epoch(0), to: hours_after_epoch(26) + MICROSECOND };
    assert_eq!(gap_exceeding_limit(longer), Some(longer));
}

#[test]
fn a_long_time_without_a_result_is_reported() {
    let period = period_of_hours(0, 168);
    let undecided = |began: &[(i64, &str)]| {
        let began: Vec<(UtcTimestamp, String)> =
            began.iter().map(|(hours, verdict)| (hours_after_epoch(*hours), (*verdict).to_owned())).collect();
        find_undecided_gap(&verdict_spans(&began, period), period)
    };
    assert_eq!(undecided(&[]), Some(period), "never ran");
    assert_eq!(undecided(&[(-400, "passing")]), None);
    assert_eq!(undecided(&[(-400, "unknown"), (-300, "passing")]), None, "before the period");
    assert_eq!(undecided(&[(-1, "unknown"), (16, "passing")]), None);
    assert_eq!(undecided(&[(-1, "unknown"), (17, "passing")]), Some(period_of_hours(0, 17)));
    assert_eq!(undecided(&[(26, "passing")]), None, "begun within the first day");
    assert_eq!(undecided(&[(27, "passing")]), Some(period_of_hours(0, 27)));
    assert_eq!(undecided(&[(0, "passing"), (150, "unknown")]), Some(period_of_hours(150, 168)));
}
