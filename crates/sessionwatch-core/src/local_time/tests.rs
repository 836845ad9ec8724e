//! Local time detection tests.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_898_400 * MICROS_PER_SECOND;
const EXPIRES: TimeColumn<'_> = TimeColumn { name: "expires", zone: ColumnZone::AssumedUtc };
const CREATED: TimeColumn<'_> = TimeColumn { name: "created", zone: ColumnZone::AssumedUtc };
const TOUCHED: TimeColumn<'_> = TimeColumn { name: "touched", zone: ColumnZone::Explicit };

fn now() -> UtcTimestamp {
    UtcTimestamp::from_micros(NOW).unwrap()
}

/// A session created `ago` microseconds ago, written in a zone `shift` microseconds ahead of UTC.
fn row(ago: i64, lifetime: i64, shift: i64) -> SampledRow {
    let created = now().saturating_add_micros(shift - ago);
    SampledRow {
        expires: Some(created.saturating_add_micros(lifetime)),
        created: Some(created),
        ..SampledRow::default()
    }
}

fn local_time_input(rows: &[SampledRow]) -> LocalTimeInput<'_> {
    let mut newest = NewestTimes::default();
    for row in rows {
        row.created.into_iter().for_each(|at| newest.observe_created(at, now()));
        newest.ended = newest.ended.max(row.expires.filter(|end| *end <= now()));
    }
    let active = rows.iter().filter(|row| row.expires > Some(now())).count() as u64;
    LocalTimeInput {
        now: now(),
        expires: EXPIRES,
        created: Some(CREATED),
        others: &[],
        newest,
        active,
        rows,
        lifetime_us: Some(7 * MICROS_PER_DAY),
        growth: None,
    }
}

fn reason(doubt: Option<TimeZoneDoubt>) -> String {
    doubt.map(|doubt| doubt.reason).unwrap_or_default()
}

#[test]
fn creation_in_the_future_shows_a_zone_east_of_utc() {
    let rows: Vec<SampledRow> = (0..20)
        .map(|n| row(n * 20 * MINUTE_US + 2 * MINUTE_US, 7 * MICROS_PER_DAY, 9 * MICROS_PER_HOUR))
        .collect();
    let doubts = local_time_input(&rows).find_doubts();
    assert_eq!(
        reason(doubts.expires),
        "`expires` is stored in local time, about UTC+9: `created` is up to 9.0 h ahead of the database's clock"
    );
    assert_eq!(doubts.created.unwrap().offset_us, Some(9 * MICROS_PER_HOUR));
    // If the expiry has a zone, only the creation is doubted.
    let expires = TimeColumn { zone: ColumnZone::Explicit, ..EXPIRES };
    let doubts = LocalTimeInput { expires, ..local_time_input(&rows) }.find_doubts();
    assert!(doubts.expires.is_none() && doubts.created.is_some());
    // Neither clock skew nor dates beyond any zone are evidence.
    for (ago, lifetime) in [(-4 * MINUTE_US, 7 * MICROS_PER_DAY), (-300 * MICROS_PER_DAY, 7 * MICROS_PER_DAY)]
    {
        let rows = [row(ago, lifetime, 0), row(MICROS_PER_HOUR, lifetime, 0)];
        assert_eq!(local_time_input(&rows).find_doubts(), TimeZoneDoubts::default());
    }
}

#[test]
fn a_configured_zone_is_checked_too() {
    // Written in Tokyo, read as New York: 14 hours too late.
    let zone = Zone::parse("America/New_York").unwrap();
    let local = ColumnZone::Local(zone);
    let rows: Vec<SampledRow> = (0..5)
        .map(|n| row(n * MICROS_PER_HOUR + MINUTE_US, 7 * MICROS_PER_DAY, 14 * MICROS_PER_HOUR))
        .collect();
    let columns = (TimeColumn { zone: local, ..EXPIRES }, Some(TimeColumn { zone: local, ..CREATED }));
    let doubts =
        LocalTimeInput { expires: columns.0, created: columns.1, ..local_time_input(&rows) }.find_doubts();
    assert!(
        reason(doubts.expires)
            .starts_with("`expires` is not the local time of America/New_York, but about UTC+9:")
    );
}

#[test]
fn an_expiry_with_a_zone_reveals_the_zone_of_the_column() {
    let of = |shift: i64, touched: i64| {
        let end = now().saturating_add_micros(4 * MICROS_PER_HOUR);
        // Rounded up to the second, as the store does it.
        SampledRow {
            expires: Some(end.saturating_add_micros(shift + touched + MICROS_PER_SECOND / 2)),
            named_expiry: Some(end),
            ..SampledRow::default()
        }
    };
    let doubts =
        |rows: &[SampledRow]| LocalTimeInput { created: None, ..local_time_input(rows) }.find_doubts();
    let west =
        [of(-8 * MICROS_PER_HOUR, 0), of(-8 * MICROS_PER_HOUR, 0), of(-8 * MICROS_PER_HOUR, 17 * MINUTE_US)];
    assert_eq!(
        reason(doubts(&west).expires),
        "`expires` is stored in local time, about UTC-8: `expires` is 8.0 h before the time-zone-aware \
         expiry in the same row"
    );
    assert_eq!(doubts(&west[..1]).expires.unwrap().offset_us, Some(-8 * MICROS_PER_HOUR));
    // Every session was used since then, so the exact offset is unknown, but an expiry never moves back.
    let used = [
        of(-8 * MICROS_PER_HOUR, 20 * MINUTE_US),
        of(-8 * MICROS_PER_HOUR, 33 * MINUTE_US),
        of(-8 * MICROS_PER_HOUR, 44 * MINUTE_US),
    ];
    assert!(reason(doubts(&used).expires).contains("up to 7.7 h before the time-zone-aware expiry"));
    // Some rows date from before the application was moved.
    let mixed: Vec<SampledRow> =
        (0..9).map(|n| of(if n < 3 { -6 * MICROS_PER_HOUR } else { 0 }, 0)).collect();
    assert_eq!(doubts(&mixed).expires.unwrap().offset_us, Some(-6 * MICROS_PER_HOUR));
    let right = [of(0, 0), of(0, 0), of(0, 17 * MINUTE_US), of(0, 3 * MICROS_PER_HOUR)];
    assert_eq!(doubts(&right), TimeZoneDoubts::default());
    // Hourly use moves every expiry by hours. The lifetime in the row shows that this is no zone east of UTC.
    let end = now().saturating_add_micros(4 * MICROS_PER_HOUR);
    let asking = |lifetime: i64| -> Vec<SampledRow> {
        let lifetime_us = Some(lifetime);
        (0..9)
            .map(|_| SampledRow {
                lifetime_us,
                named_expiry: Some(end.saturating_add_micros(-MICROS_PER_HOUR)),
                expires: Some(end),
                ..SampledRow::default()
            })
            .collect()
    };
    assert_eq!(doubts(&asking(4 * MICROS_PER_HOUR)), TimeZoneDoubts::default());
    assert!(
        reason(doubts(&asking(3 * MICROS_PER_HOUR)).expires)
            .contains("about UTC+1: by `expires` and the lifetime in the row")
    );
}

#[test]
fn two_columns_of_one_event_reveal_the_zone() {
    let with = |shift: i64, ago: i64, used: i64| SampledRow {
        others: vec![Some(now().saturating_add_micros(used - ago))],
        ..row(ago, 7 * MICROS_PER_DAY, shift)
    };
    let others = [TOUCHED];
    let doubts =
        |rows: &[SampledRow]| LocalTimeInput { others: &others, ..local_time_input(rows) }.find_doubts();
    let west: Vec<SampledRow> =
        (0..10).map(|n| with(-5 * MICROS_PER_HOUR, n * 37 * MINUTE_US, n % 3 * 7 * MINUTE_US)).collect();
    let west: Vec<SampledRow> = west.into_iter().step_by(3).collect();
    assert_eq!(
        reason(doubts(&west).expires),
        "`expires` is stored in local time, about UTC-5: `created` is 5.0 h before `touched` of the same \
         row, which has a time zone"
    );
    // Sessions used since then differ by arbitrary times.
    let right: Vec<SampledRow> =
        (0..10).map(|n| with(0, n * 37 * MINUTE_US, n % 3 * 77 * MINUTE_US)).collect();
    assert_eq!(doubts(&right), TimeZoneDoubts::default());
}

#[test]
fn new_sessions_with_old_creation_times_show_a_zone_west_of_utc() {
    let rows: Vec<SampledRow> = (0..10)
        .map(|n| row(30 * MICROS_PER_SECOND + n * MICROS_PER_HOUR, 7 * MICROS_PER_DAY, -5 * MICROS_PER_HOUR))
        .collect();
    let growth = |after: i64, until: i64| {
        Some(GrowthWindow {
            after: now().saturating_add_micros(-after),
            until: now().saturating_add_micros(-until),
        })
    };
    let doubts = |growth| LocalTimeInput { growth, ..local_time_input(&rows) }.find_doubts();
    assert_eq!(doubts(None), TimeZoneDoubts::default(), "an application unused for hours looks the same");
    let found = doubts(growth(MINUTE_US, 0));
    assert_eq!(found.expires.unwrap().offset_us, Some(-5 * MICROS_PER_HOUR));
    assert!(
        reason(found.created).contains("sessions appeared recently, but the newest `created` is 5.0 h old")
    );
    // The table grew when the newest session was created, and not since.
    assert_eq!(
        doubts(growth(5 * MICROS_PER_HOUR + MINUTE_US, 5 * MICROS_PER_HOUR)),
        TimeZoneDoubts::default()
    );
    // Restored rows are really old, by a time that is no UTC offset.
    let rows: Vec<SampledRow> = (0..10)
        .map(|n| row(3 * MICROS_PER_HOUR + 25 * MINUTE_US + n * MICROS_PER_HOUR, 7 * MICROS_PER_DAY, 0))
        .collect();
    assert_eq!(
        LocalTimeInput { growth: growth(MINUTE_US, 0), ..local_time_input(&rows) }.find_doubts(),
        TimeZoneDoubts::default()
    );
    let looks = [(1, false), (2, true), (3, true), (4, false)];
    let at = |minute: i64| now().saturating_add_micros(minute * MINUTE_US);
    let latest = GrowthWindow::find_latest(looks.map(|(minute, grew)| (at(minute), grew)));
    assert_eq!(latest, Some(GrowthWindow { after: at(2), until: at(3) }));
    assert_eq!(GrowthWindow::find_latest([(at(1), true)]), None);
}

#[test]
fn lifetimes_off_by_a_utc_offset_are_doubted_and_common_ones_are_not() {
    let created = TimeColumn { zone: ColumnZone::Explicit, ..CREATED };
    let of = |lifetime: i64| -> Vec<SampledRow> {
        (1..9).map(|n| row(n * MICROS_PER_HOUR, lifetime, 0)).collect()
    };
    let doubts = |rows: &[SampledRow]| {
        LocalTimeInput { created: Some(created), ..local_time_input(rows) }.find_doubts()
    };
    assert_eq!(
        reason(doubts(&of(7 * MICROS_PER_DAY - 5 * MICROS_PER_HOUR)).expires),
        "`expires` is stored in local time, about UTC-5: `expires` is 6.79 days after the creation time, \
         not the usual 7.00 days"
    );
    assert!(
        reason(doubts(&of(-2 * MICROS_PER_HOUR)).expires).contains("is before the creation of the same row")
    );
    for usual in [
        7 * MICROS_PER_DAY,
        30 * MICROS_PER_DAY,
        MICROS_PER_DAY,
        7 * MICROS_PER_DAY + MICROS_PER_DAY / 2,
        8 * MICROS_PER_HOUR,
    ] {
        assert_eq!(doubts(&of(usual)), TimeZoneDoubts::default(), "{usual}");
    }
    // An expiry with a zone reveals the zone of a creation time without one.
    let expires = TimeColumn { zone: ColumnZone::Explicit, ..EXPIRES };
    let rows = of(7 * MICROS_PER_DAY - MICROS_PER_HOUR);
    let doubts = LocalTimeInput { expires, ..local_time_input(&rows) }.find_doubts();
    assert_eq!((doubts.expires, doubts.created.unwrap().offset_us), (None, Some(MICROS_PER_HOUR)));
    // If neither has a zone, both are doubted and the offset is unknown.
    let doubts = local_time_input(&rows).find_doubts();
    assert_eq!(doubts.expires.unwrap().offset_us, None);
}

#[test]
fn recently_expired_sessions_without_active_ones_are_doubted() {
    // Ninety logins in New York just now, with a lifetime of three hours.
    let rows: Vec<SampledRow> =
        (0..90).map(|n| row(n * MICROS_PER_SECOND, 3 * MICROS_PER_HOUR, -5 * MICROS_PER_HOUR)).collect();
    let found = local_time_input(&rows).find_doubts();
    assert!(reason(found.expires).contains("no session seems active, and the last one expired 2.0 h ago"));
    // Expired for longer than any zone explains, stored with a zone, or confirmed by a recent login.
    let over: Vec<SampledRow> =
        (0..9).map(|n| row(20 * MICROS_PER_HOUR + n, 3 * MICROS_PER_HOUR, 0)).collect();
    assert_eq!(local_time_input(&over).find_doubts(), TimeZoneDoubts::default());
    let expires = TimeColumn { zone: ColumnZone::Explicit, ..EXPIRES };
    assert_eq!(
        LocalTimeInput { expires, ..local_time_input(&rows) }.find_doubts(),
        TimeZoneDoubts::default()
    );
    let short: Vec<SampledRow> = (5..20).map(|n| row(n * MINUTE_US, 3 * MINUTE_US, 0)).collect();
    assert_eq!(local_time_input(&short).find_doubts(), TimeZoneDoubts::default());
}

#[test]
fn formats_utc_offsets() {
    for (minutes, text) in [(-300, "UTC-5"), (330, "UTC+5:30"), (0, "UTC+0"), (-210, "UTC-3:30")] {
        assert_eq!(format_utc_offset(minutes * MINUTE_US), text);
    }
}

proptest! {
    /// An expiry with a zone in the row reveals every zone, and so does a growing table.
    #[test]
    fn every_zone_is_detected_by_a_named_expiry_and_by_growth(
        offset in proptest::sample::select(UTC_OFFSETS_MINUTES.to_vec()),
        lifetime in 1i64..60 * 24,
        ages in proptest::collection::vec(10i64..40_000, 2..40),
    ) {
        let shift = offset * MINUTE_US;
        let with = |age: &i64| {
            let row = row(age * MICROS_PER_SECOND, lifetime * MINUTE_US, shift);
            SampledRow { named_expiry: row.expires.map(|end| end.saturating_add_micros(-shift)), ..row }
        };
        let rows: Vec<SampledRow> = ages.iter().map(with).collect();
        let found = LocalTimeInput { created: None, ..local_time_input(&rows) }.find_doubts();
        prop_assert_eq!(found.expires.unwrap().offset_us, Some(shift));
        let rows: Vec<SampledRow> = rows.into_iter().map(|row| SampledRow { named_expiry: None, ..row }).collect();
        let newest = now().saturating_add_micros(-ages.iter().min().unwrap() * MICROS_PER_SECOND);
        let growth = Some(GrowthWindow {
            after: newest.saturating_add_micros(-30 * MICROS_PER_SECOND),
            until: newest.saturating_add_micros(30 * MICROS_PER_SECOND),
        });
        let found = LocalTimeInput { growth, ..local_time_input(&rows) }.find_doubts();
        if shift < 0 || newest.saturating_add_micros(shift) > now().saturating_add_micros(MAX_CLOCK_AHEAD_US) {
            prop_assert!(found.created.is_some());
            prop_assert!(found.expires.is_some());
        }
    }

    /// Values in UTC are never doubted, however long ago the last login was, unless no session seems active.
    #[test]
    fn utc_is_never_doubted(
        lifetime in 1i64..24 * 90,
        idle in 0i64..100_000,
        ages in proptest::collection::vec((0i64..400_000, 0i64..20_000), 1..60),
        grown in any::<bool>(),
    ) {
        let with = |(age, used): &(i64, i64)| {
            let row = row((idle + age) * MICROS_PER_SECOND, lifetime * MICROS_PER_HOUR, 0);
            let named_expiry = row.expires;
            let used = used.min(&(idle + age)) * MICROS_PER_SECOND;
            let lifetime_us = Some(lifetime * MICROS_PER_HOUR);
            let expires = row.expires.map(|end| end.saturating_add_micros(used));
            SampledRow { expires, named_expiry, lifetime_us, ..row }
        };
        let rows: Vec<SampledRow> = ages.iter().map(with).collect();
        let newest = rows.iter().filter_map(|row| row.created).max().unwrap();
        let growth = GrowthWindow {
            after: newest.saturating_add_micros(-MINUTE_US),
            until: newest.saturating_add_micros(MINUTE_US),
        };
        let known = LocalTimeInput { growth: Some(growth).filter(|_| grown), ..local_time_input(&rows) };
        let found = known.find_doubts();
        prop_assert_eq!(&found.created, &None);
        if known.active > 0 {
            prop_assert_eq!(&found.expires, &None);
        }
    }
}
