//! Tests of the module above.

use super::*;

const MICROSECOND: SignedDuration = SignedDuration::from_micros(1);

fn signals(confirmed: u64, unconfirmed: u64) -> Verdict {
    critical_signals(Ok(CriticalSignals { confirmed, unconfirmed }))
}

fn at(hours: i64) -> Instant {
    Instant::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

fn track(low: f64, high: f64) -> Option<SeriesSummary> {
    Some(SeriesSummary { lowest: (low, at(1)), highest: (high, at(2)), last: low })
}

fn is_unknown(verdict: &Verdict) -> bool {
    verdict.reason().is_some()
}

#[test]
fn a_track_knows_when_it_was_worst_first() {
    let points = [(at(1), [3.0, 2.0, 4.0]), (at(2), [7.0, 1.0, 9.0]), (at(3), [5.0, 1.0, 9.0])];
    let expected = SeriesSummary { lowest: (1.0, at(2)), highest: (9.0, at(2)), last: 5.0 };
    assert_eq!(SeriesSummary::of(points.into_iter()), Some(expected));
    assert_eq!(SeriesSummary::of(std::iter::empty()), None);
}

#[test]
fn every_threshold_holds_at_it_and_not_beyond() {
    let none = |high: f64| at_most(track(0.0, high).as_ref(), 0.0);
    let orphaned = |high: f64| fewer_than(track(0.0, high).as_ref(), ORPHANED);
    let expired = |high: f64| fewer_than(track(0.0, high).as_ref(), EXPIRED);
    let high_ratio = |high: f64| ratio(track(1.0, high).as_ref(), 3.0);
    let low_ratio = |low: f64| ratio(track(low, 2.0).as_ref(), 3.0);
    let usual = Baseline { min: Some(10), max: Some(50) };
    let rate = |high: f64| creation_rate(track(0.0, high).as_ref(), usual, DAY);
    let early = |high: f64| creation_rate(track(0.0, high).as_ref(), usual, DAY - MICROSECOND);
    assert!(is_unknown(&early(9.0)) && early(10.0) == Verdict::Pass && early(51.0) == Verdict::Fail);
    for (name, verdict, expected) in [
        ("no token", none(0.0), Verdict::Pass),
        ("one token", none(1.0), Verdict::Fail),
        ("4 orphans", orphaned(4.0), Verdict::Pass),
        ("5 orphans", orphaned(5.0), Verdict::Fail),
        ("9 expired", expired(9.0), Verdict::Pass),
        ("10 expired", expired(10.0), Verdict::Fail),
        ("a ratio of 3", high_ratio(3.0), Verdict::Pass),
        ("a ratio above 3", high_ratio(3.01), Verdict::Fail),
        ("a ratio of 1", low_ratio(1.0), Verdict::Pass),
        ("a ratio below 1", low_ratio(0.99), Verdict::Fail),
        ("50 created", rate(50.0), Verdict::Pass),
        ("51 created", rate(51.0), Verdict::Fail),
        ("10 created", rate(10.0), Verdict::Pass),
        ("9 created", rate(9.0), Verdict::Fail),
        ("no signal", signals(0, 0), Verdict::Pass),
        ("one signal", signals(1, 0), Verdict::Fail),
        ("one signal among unconfirmed ones", signals(1, 9), Verdict::Fail),
        ("vouched for", attested(Some(true)), Verdict::Pass),
        ("denied", attested(Some(false)), Verdict::Fail),
    ] {
        assert_eq!(verdict, expected, "{name}");
    }
}

#[test]
fn what_has_no_number_is_unknown() {
    for verdict in [
        at_most(None, 0.0),
        fewer_than(None, ORPHANED),
        ratio(None, 3.0),
        creation_rate(None, Baseline { min: Some(10), max: Some(50) }, 7 * DAY),
        creation_rate(track(10.0, 60.0).as_ref(), Baseline::default(), 7 * DAY),
        critical_signals(Err("no log is read")),
        signals(0, 1),
        attested(None),
        lifetime(false, None),
        ends_within(None, DAY, track(0.0, 0.0).as_ref()),
    ] {
        assert!(is_unknown(&verdict), "{verdict:?}");
    }
    assert_eq!(within(None, 0.0, 1.0), RangePosition::Unknown);
    assert_eq!(peak_within(None, 0.0, 1.0), RangePosition::Unknown);
}

#[test]
fn a_doubt_keeps_from_passing_and_not_from_failing() {
    let doubt = || Some("nobody looked".to_owned());
    assert_eq!(Verdict::Pass.unless(doubt()), Verdict::Unknown("nobody looked".into()));
    assert_eq!(Verdict::Fail.unless(doubt()), Verdict::Fail);
    assert_eq!(Verdict::Unknown("x".into()).unless(doubt()), Verdict::Unknown("x".into()));
    assert_eq!(Verdict::Pass.unless(None), Verdict::Pass);
}

#[test]
fn one_that_fails_outweighs_all_and_one_unknown_those_that_pass() {
    let (pass, fail, unknown) = (Verdict::Pass, Verdict::Fail, Verdict::Unknown("x".into()));
    assert_eq!(Verdict::of_all([&pass, &unknown, &fail].into_iter()), Verdict::Fail);
    assert!(is_unknown(&Verdict::of_all([&pass, &unknown].into_iter())));
    assert_eq!(Verdict::of_all([&pass, &pass].into_iter()), Verdict::Pass);
    assert!(is_unknown(&Verdict::of_all(std::iter::empty())));
}

#[test]
fn lifetimes_are_bounded_only_while_nothing_is_extended() {
    let (none, some) = (track(0.0, 0.0), track(0.0, 1.0));
    assert_eq!(lifetime(true, some.as_ref()), Verdict::Fail);
    assert_eq!(lifetime(false, none.as_ref()), Verdict::Pass);
    assert!(is_unknown(&lifetime(false, some.as_ref())));
    let ends = |ahead, never, unreadable| Some(ExpiryHorizon { ahead, never, unreadable });
    for (name, ends, expected) in [
        ("at the limit, and clocks differ", ends(Some(DAY + SKEW), 0, 0), Some(Verdict::Pass)),
        ("beyond it", ends(Some(DAY + SKEW + MICROSECOND), 0, 0), Some(Verdict::Fail)),
        ("never", ends(Some(MICROSECOND), 1, 0), Some(Verdict::Fail)),
        ("beyond it, another unreadable", ends(Some(2 * DAY), 0, 1), Some(Verdict::Fail)),
        ("unreadable", ends(Some(MICROSECOND), 0, 1), None),
        ("no session", ends(None, 0, 0), None),
    ] {
        let verdict = ends_within(ends, DAY, none.as_ref());
        assert_eq!(Some(&verdict).filter(|verdict| !is_unknown(verdict)), expected.as_ref(), "{name}");
    }
    assert!(is_unknown(&ends_within(ends(Some(MICROSECOND), 0, 0), DAY, some.as_ref())));
}

#[test]
fn a_range_holds_all_the_time_and_at_its_bounds() {
    let place = |low, high| within(track(low, high).as_ref(), 50.0, 500.0);
    assert_eq!((place(50.0, 500.0), place(49.0, 500.0)), (RangePosition::In, RangePosition::Out));
    assert_eq!(place(50.0, 501.0), RangePosition::Out);
    let peak = |low, high| peak_within(track(low, high).as_ref(), 10.0, 50.0);
    assert_eq!((peak(0.0, 10.0), peak(0.0, 50.0)), (RangePosition::In, RangePosition::In));
    assert_eq!((peak(0.0, 9.0), peak(0.0, 51.0)), (RangePosition::Out, RangePosition::Out));
}

#[test]
fn one_blind_look_in_ten_is_borne() {
    assert!(!is_blind(0, 0) && !is_blind(10, 1) && is_blind(10, 2) && is_blind(19, 2));
}

/// From one hour to another.
fn stretch(from: i64, to: i64) -> Period {
    Period { from: at(from), to: at(to) }
}

#[test]
fn gaps_at_both_ends_count() {
    let period = stretch(0, 100);
    let gap = |seen: &[i64]| longest_gap(seen.iter().map(|hours| at(*hours)), period);
    assert_eq!(gap(&[]), period);
    assert_eq!(gap(&[-1, 30, 99]), stretch(30, 99));
    assert_eq!(gap(&[60, 99]), stretch(0, 60));
    assert_eq!(gap(&[1, 2, 3]), stretch(3, 100));
    assert_eq!(too_long(stretch(0, 26)), None);
    let longer = Period { from: at(0), to: at(26) + MICROSECOND };
    assert_eq!(too_long(longer), Some(longer));
}

#[test]
fn a_check_without_a_verdict_for_long_is_noticed() {
    let period = stretch(0, 168);
    let undecided = |began: &[(i64, &str)]| {
        let began: Vec<(Instant, String)> =
            began.iter().map(|(hours, verdict)| (at(*hours), (*verdict).to_owned())).collect();
        undecided(&spans(&began, period), period)
    };
    assert_eq!(undecided(&[]), Some(period), "never made");
    assert_eq!(undecided(&[(-400, "healthy")]), None);
    assert_eq!(undecided(&[(-400, "unknown"), (-300, "healthy")]), None, "before the period");
    assert_eq!(undecided(&[(-1, "unknown"), (16, "healthy")]), None);
    assert_eq!(undecided(&[(-1, "unknown"), (17, "healthy")]), Some(stretch(0, 17)));
    assert_eq!(undecided(&[(26, "healthy")]), None, "begun within the first day");
    assert_eq!(undecided(&[(27, "healthy")]), Some(stretch(0, 27)));
    assert_eq!(undecided(&[(0, "healthy"), (150, "unknown")]), Some(stretch(150, 168)));
}
