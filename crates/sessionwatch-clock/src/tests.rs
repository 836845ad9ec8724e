use super::*;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn at(second: i64) -> UtcTimestamp {
    UtcTimestamp::from_micros(second * 1_000_000).unwrap()
}

/// Returns a reading of server time with a round trip of `way`.
fn reading(at: UtcTimestamp, before: SignedDuration, way: SignedDuration) -> ServerReading {
    ServerReading { server_time: at, before, after: before + way }
}

#[test]
fn a_manual_clock_stands_still_and_moving_it_counts_as_elapsed_time() {
    let (clock, hand) = Clock::manual(at(100));
    let begun = clock.elapsed();
    assert_eq!((clock.now(), clock.now()), (at(100), at(100)));
    hand.send_replace(at(160));
    assert_eq!((clock.now(), clock.elapsed() - begun), (at(160), SECOND * 60));
    let reading = clock.take_reading();
    assert_eq!((reading.wall, reading.elapsed), (at(160), clock.elapsed()));
}

#[test]
fn adjusting_a_clock_does_not_count_as_elapsed_time() {
    let (clock, _hand) = Clock::manual(at(10_000));
    let begun = clock.elapsed();
    for (by, expected) in [(3_600, 13_600), (-7_200, 6_400), (0, 6_400)] {
        clock.adjust(SECOND * by);
        assert_eq!((clock.now(), clock.elapsed()), (at(expected), begun));
    }
}

#[test]
fn the_system_clock_cannot_be_adjusted() {
    let clock = Clock::System;
    let (before, begun) = (clock.now(), clock.elapsed());
    clock.adjust(SECOND * -3_600);
    assert!(clock.now() >= before && clock.elapsed() >= begun);
    assert!(matches!(clock.machine_clock(), Clock::System));
}

#[test]
fn server_time_is_extrapolated_from_the_middle_of_the_round_trip() {
    let (machine, hand) = Clock::manual(at(0));
    let begun = machine.elapsed();
    let clock = Clock::from_server(machine, reading(at(5_000), begun, SECOND * 2));
    // One second after the middle.
    hand.send_replace(at(2));
    assert_eq!(clock.now(), at(5_001));
    assert_eq!(clock.machine_clock().now(), at(2));
    // Setting the machine's clock does not affect it.
    clock.adjust(SECOND * 900);
    assert_eq!((clock.now(), clock.machine_clock().now()), (at(5_001), at(902)));
}

#[test]
fn a_server_is_followed_if_the_difference_exceeds_the_round_trip() {
    let (machine, _hand) = Clock::manual(at(0));
    let begun = machine.elapsed();
    let clock = Clock::from_server(machine, reading(at(5_000), begun, SignedDuration::ZERO));
    let (none, microsecond) = (SignedDuration::ZERO, SignedDuration::from_micros(1));
    let apart = |by: SignedDuration| at(5_000) + by;
    for (seen, way, followed) in [
        (apart(FOLLOW_TOLERANCE), none, false),
        (apart(-FOLLOW_TOLERANCE), none, false),
        (apart(SECOND), SECOND * 2, false),
        (apart(FOLLOW_TOLERANCE + microsecond), none, true),
        (at(4_000), none, true),
    ] {
        let before = clock.now();
        clock.follow_server(reading(seen, begun, way));
        assert_eq!(clock.now(), if followed { seen } else { before }, "{seen:?} {way}");
    }
}

#[test]
fn only_a_server_clock_follows_a_server() {
    let (clock, _hand) = Clock::manual(at(7));
    clock.follow_server(reading(at(9_000), SignedDuration::ZERO, SignedDuration::ZERO));
    assert_eq!(clock.now(), at(7));
}

#[test]
fn a_sleeping_task_wakes_when_the_clock_is_set() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (clock, hand) = Clock::manual(at(1));
        // The time has come already.
        clock.sleep_until(at(1)).await;
        clock.sleep_until(UtcTimestamp::MIN).await;
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move {
                while clock.now() < at(50) {
                    clock.sleep_until(at(50)).await;
                }
                clock.now()
            }
        });
        tokio::task::yield_now().await;
        hand.send_replace(at(20));
        tokio::task::yield_now().await;
        hand.send_replace(at(60));
        assert_eq!(waiting.await.unwrap(), at(60));
    });
}

#[test]
fn formats_timestamps_for_people_programs_and_databases() {
    let instant = UtcTimestamp::from_micros(1_767_225_600_123_456).unwrap();
    assert_eq!(format_timestamp(instant), "2026-01-01 00:00:00.123456");
    assert_eq!(format_rfc3339(instant), "2026-01-01T00:00:00.123456Z");
    assert_eq!(format_utc(instant), "2026-01-01 00:00:00 UTC");
    assert_eq!(format_timestamp(UtcTimestamp::from_micros(-1).unwrap()), "1969-12-31 23:59:59.999999");
}

#[test]
fn rfc3339_round_trips_and_other_text_is_rejected() {
    for micros in [0, -1, 1, 951_782_400_000_000, 1_767_225_600_123_456, 253_370_764_800_000_000] {
        let instant = UtcTimestamp::from_micros(micros).unwrap();
        assert_eq!(parse_rfc3339(&format_rfc3339(instant)), Some(instant), "{micros}");
    }
    // What applications write for "never".
    for never in ["9999-12-30T23:00:00.000000Z", "9999-12-31T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"]
    {
        assert_eq!(parse_rfc3339(never).map(format_rfc3339).as_deref(), Some(never));
    }
    for wrong in ["9999-12-31Z", "9999-12-31T25:00:00Z", "9999-12-32T00:00:00Z", "9999-12-31T00:00:00"] {
        assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
    }
    assert_eq!(parse_rfc3339("2026-01-01T02:00:00+02:00"), UtcTimestamp::from_micros(1_767_225_600_000_000));
    for wrong in ["", "now", "2026-01-01", "2026-01-01 00:00:00", "2026-02-30T00:00:00Z", "1767225600"] {
        assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
    }
}

#[test]
fn every_format_covers_the_whole_range_of_years() {
    for (at, texts) in [
        (
            UtcTimestamp::MIN,
            [
                "0001-01-01T00:00:00.000000Z",
                "0001-01-01 00:00:00 UTC",
                "Jan 1",
                "0001-01-01",
                "Monday",
                "00:00:00",
            ],
        ),
        (
            UtcTimestamp::MAX,
            [
                "9999-12-31T23:59:59.999999Z",
                "9999-12-31 23:59:59 UTC",
                "Dec 31",
                "9999-12-31",
                "Friday",
                "23:59:59",
            ],
        ),
        (
            UtcTimestamp::from_micros(1_772_323_199_999_999).unwrap(),
            [
                "2026-02-28T23:59:59.999999Z",
                "2026-02-28 23:59:59 UTC",
                "Feb 28",
                "2026-02-28",
                "Saturday",
                "23:59:59",
            ],
        ),
    ] {
        let formats =
            [format_rfc3339, format_utc, format_day, format_date, format_weekday, format_time_of_day];
        assert_eq!(formats.map(|format| format(at)), texts);
    }
}

#[test]
fn malformed_times_are_rejected_without_a_panic() {
    for wrong in [
        "2026-01-01T00:00:00",
        "2026-01-01T00:00Z ",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:00+99:00",
        "10000-01-01T00:00:00Z",
        "-000001-01-01T00:00:00Z",
        "0000-12-31T23:59:59Z",
        "２０２６-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\0",
    ] {
        assert_eq!(parse_rfc3339(wrong), None, "{wrong:?}");
    }
    assert_eq!(parse_rfc3339(&"9".repeat(100_000)), None);
}

#[test]
fn a_long_duration_saturates() {
    assert_eq!(to_signed_duration(Duration::MAX), SignedDuration::MAX);
    assert_eq!(to_signed_duration(Duration::from_micros(7)), SignedDuration::from_micros(7));
}
