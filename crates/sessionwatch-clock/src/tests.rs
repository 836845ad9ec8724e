use super::*;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn at(second: i64) -> UtcTimestamp {
    UtcTimestamp::from_micros(second * 1_000_000).unwrap()
}

/// A server's time that was asked for and came back after that time.
fn reading(at: UtcTimestamp, before: SignedDuration, way: SignedDuration) -> ServerReading {
    ServerReading { server_time: at, before, after: before + way }
}

#[test]
fn a_clock_that_is_set_stands_still_and_counts_the_time_that_it_was_moved_by() {
    let (clock, hand) = Clock::manual(at(100));
    let begun = clock.elapsed();
    assert_eq!((clock.now(), clock.now()), (at(100), at(100)));
    hand.send_replace(at(160));
    assert_eq!((clock.now(), clock.elapsed() - begun), (at(160), SECOND * 60));
    let reading = clock.take_reading();
    assert_eq!((reading.wall, reading.elapsed), (at(160), clock.elapsed()));
}

#[test]
fn no_time_passes_while_somebody_sets_a_clock_forward_or_back() {
    let (clock, _hand) = Clock::manual(at(10_000));
    let begun = clock.elapsed();
    for (by, expected) in [(3_600, 13_600), (-7_200, 6_400), (0, 6_400)] {
        clock.adjust(SECOND * by);
        assert_eq!((clock.now(), clock.elapsed()), (at(expected), begun));
    }
}

#[test]
fn the_clock_of_this_machine_cannot_be_set_and_goes_on() {
    let clock = Clock::System;
    let (before, begun) = (clock.now(), clock.elapsed());
    clock.adjust(SECOND * -3_600);
    assert!(clock.now() >= before && clock.elapsed() >= begun);
    assert!(matches!(clock.machine_clock(), Clock::System));
}

#[test]
fn a_server_is_read_in_the_middle_of_the_way_and_counted_on_by_the_machine() {
    let (machine, hand) = Clock::manual(at(0));
    let begun = machine.elapsed();
    let clock = Clock::from_server(machine, reading(at(5_000), begun, SECOND * 2));
    // A second after the middle.
    hand.send_replace(at(2));
    assert_eq!(clock.now(), at(5_001));
    assert_eq!(clock.machine_clock().now(), at(2));
    // Whoever sets the machine's clock changes nothing of it.
    clock.adjust(SECOND * 900);
    assert_eq!((clock.now(), clock.machine_clock().now()), (at(5_001), at(902)));
}

#[test]
fn a_server_is_followed_where_it_is_further_off_than_the_way_explains() {
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
fn only_the_clock_of_a_server_follows_one() {
    let (clock, _hand) = Clock::manual(at(7));
    clock.follow_server(reading(at(9_000), SignedDuration::ZERO, SignedDuration::ZERO));
    assert_eq!(clock.now(), at(7));
}

#[test]
fn who_waits_for_an_instant_goes_on_when_the_clock_is_set() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (clock, hand) = Clock::manual(at(1));
        // It is there already.
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
fn instants_are_written_for_people_for_programs_and_for_databases() {
    let instant = UtcTimestamp::from_micros(1_767_225_600_123_456).unwrap();
    assert_eq!(format_timestamp(instant), "2026-01-01 00:00:00.123456");
    assert_eq!(format_rfc3339(instant), "2026-01-01T00:00:00.123456Z");
    assert_eq!(format_utc(instant), "2026-01-01 00:00:00 UTC");
    assert_eq!(format_timestamp(UtcTimestamp::from_micros(-1).unwrap()), "1969-12-31 23:59:59.999999");
}

#[test]
fn what_was_written_for_programs_is_read_back_and_other_text_is_not() {
    for micros in [0, -1, 1, 951_782_400_000_000, 1_767_225_600_123_456, 253_370_764_800_000_000] {
        let instant = UtcTimestamp::from_micros(micros).unwrap();
        assert_eq!(parse_rfc3339(&format_rfc3339(instant)), Some(instant), "{micros}");
    }
    assert_eq!(parse_rfc3339("2026-01-01T02:00:00+02:00"), UtcTimestamp::from_micros(1_767_225_600_000_000));
    for wrong in ["", "now", "2026-01-01", "2026-01-01 00:00:00", "2026-02-30T00:00:00Z", "1767225600"] {
        assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
    }
}
