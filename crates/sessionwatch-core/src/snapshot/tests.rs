//! Tests of the module above.

use super::*;

fn instant(micros: i64) -> Instant {
    Instant::from_micros(micros).unwrap()
}

fn ledger(rows: &[(u64, Option<&str>, i64)]) -> SessionSnapshot {
    let frame = SnapshotOptions { now: instant(1_000), max_lifetime_us: Some(500), has_created: false };
    let mut intake = SnapshotBuilder::new(frame, 0);
    for (fingerprint, user, expiry) in rows {
        intake.insert(SessionRow {
            fingerprint: Some(*fingerprint),
            user: user.map(|user| User::Text(user.as_bytes())),
            expiry: Decoded::At(instant(*expiry)),
            created: Decoded::Never,
            orphan: *user == Some("ghost"),
            address: None,
        });
    }
    intake.finish()
}

#[test]
fn an_expiry_equal_to_now_has_ended_and_one_at_the_policy_is_allowed() {
    let ledger = ledger(&[(1, None, 1_000), (2, None, 1_001), (3, None, 1_500), (4, None, 1_501)]);
    let census = ledger.census(Measured::Counted(Duplicates::default()), None);
    assert_eq!((census.expired, census.active, census.beyond_policy), (1, 3, Some(1)));
}

#[test]
fn anonymous_and_orphaned_sessions_leave_the_rules_about_users() {
    let ledger =
        ledger(&[(1, None, 2_000), (2, Some("a"), 2_000), (3, Some("a"), 10), (4, Some("ghost"), 2_000)]);
    let census = ledger.census(Measured::Counted(Duplicates::default()), None);
    assert_eq!(census.anonymous, 1);
    assert_eq!(census.orphaned, Measured::Counted(1));
    assert_eq!(census.users_active(), 2);
    assert_eq!(census.rows_per_user, Histogram::from([(2, 1)]));
    assert_eq!(ledger.top_rows(5), vec![UserTotal { user: "a".into(), sessions: 2 }]);
}

#[test]
fn users_who_look_alike_here_are_orphans_row_by_row() {
    let frame = SnapshotOptions { now: instant(1_000), max_lifetime_us: None, has_created: false };
    let mut intake = SnapshotBuilder::new(frame, 0);
    for orphan in [true, false, true] {
        let user = Some(User::Text(b"7"));
        let (expiry, created) = (Decoded::Never, Decoded::Never);
        intake.insert(SessionRow { fingerprint: None, user, expiry, created, orphan, address: None });
    }
    let ledger = intake.finish();
    assert_eq!(ledger.census(Measured::Counted(Duplicates::default()), None).orphaned, Measured::Counted(2));
    assert_eq!(ledger.top_rows(5).len(), 1);
    assert_eq!(ledger.ghosts(), [0u64; 0]);
}

#[test]
fn a_repeated_fingerprint_is_suspected_once() {
    assert_eq!(ledger(&[(7, None, 1), (7, None, 1), (7, None, 1), (8, None, 1)]).suspects(), [7]);
}

#[test]
fn rows_that_a_finding_shows_are_known_by_their_addresses() {
    let frame = SnapshotOptions { now: instant(1_000), max_lifetime_us: Some(500), has_created: false };
    let mut users = KnownUsers::with_capacity(1);
    users.insert(User::Text(b"ada"));
    let mut intake = SnapshotBuilder::new(frame, 0).knowing(Some(users));
    let rows: [(u64, &str, Decoded); 7] = [
        (7, "ada", Decoded::At(instant(900))),
        (8, "bo", Decoded::At(instant(1_200))),
        (7, "ada", Decoded::At(instant(800))),
        (9, "ada", Decoded::Never),
        (10, "cy", Decoded::Undecodable),
        (11, "ada", Decoded::At(instant(1_501))),
        (12, "bo", Decoded::At(instant(1_600))),
    ];
    for (place, (fingerprint, user, expiry)) in rows.into_iter().enumerate() {
        intake.insert(SessionRow {
            fingerprint: Some(fingerprint),
            user: Some(User::Text(user.as_bytes())),
            expiry,
            created: Decoded::Never,
            orphan: false,
            address: Some(AddressRef::Place(place as u64)),
        });
    }
    let ledger = intake.finish();
    let places = |notable| -> Vec<Address> { ledger.addresses(notable).unwrap() };
    let expected = |all: &[u64]| all.iter().copied().map(Address::Place).collect::<Vec<_>>();
    assert_eq!(places(Notable::OldestExpired), expected(&[2, 0]));
    assert_eq!(places(Notable::BeyondPolicy), expected(&[3, 6, 5]));
    assert_eq!(places(Notable::Orphans), expected(&[1, 6, 4]));
    let mut doubled = places(Notable::Fingerprints(ledger.suspects()));
    doubled.sort_by_key(|address| if let Address::Place(place) = address { *place } else { 0 });
    assert_eq!(doubled, expected(&[0, 2]));
    let census = ledger.census(Measured::Counted(Duplicates::default()), None);
    assert_eq!(census.orphaned, Measured::Counted(3));
}

#[test]
fn sees_created_extended_ended_and_rebound() {
    let before = ledger(&[(1, Some("a"), 10), (2, Some("a"), 10), (3, Some("b"), 10), (9, Some("z"), 10)]);
    let after = ledger(&[(4, Some("a"), 10), (2, Some("a"), 20), (3, Some("c"), 10), (9, Some("z"), 10)]);
    let difference = after.snapshot.differs_from(&before.snapshot);
    assert_eq!(difference.created.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [4]);
    assert_eq!((difference.extended, difference.ended, difference.rebound), (1, vec![1], vec![3]));
}

#[test]
fn ledgers_on_different_shelves_are_walked_alike() {
    let frame = SnapshotOptions { now: instant(1_000), max_lifetime_us: None, has_created: false };
    let fill = |expected: usize, rows: std::ops::Range<u64>| {
        let mut intake = SnapshotBuilder::new(frame, expected);
        for row in rows {
            intake.insert(SessionRow {
                fingerprint: Some(row.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                user: (row % 10 > 0).then_some(User::Integer(i64::try_from(row % 100).unwrap())),
                expiry: Decoded::Never,
                created: Decoded::Never,
                orphan: false,
                address: Some(AddressRef::Place(row)),
            });
        }
        intake.finish()
    };
    let (before, after) = (fill(0, 0..20_000), fill(20_000, 5_000..21_000));
    assert_eq!((before.snapshot.entries.len(), after.snapshot.entries.len()), (1, 4));
    for row in [5_000u64, 12_345, 20_999] {
        let wanted = [row.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1];
        let addresses = |ledger: &SessionSnapshot| ledger.addresses(Notable::Fingerprints(&wanted)).unwrap();
        assert_eq!(addresses(&after), [Address::Place(row)]);
        assert_eq!(addresses(&before).len(), usize::from(row < 20_000));
    }
    let difference = after.snapshot.differs_from(&before.snapshot);
    assert_eq!((difference.created.len(), difference.ended.len()), (1_000, 5_000));
    assert_eq!((difference.extended, difference.rebound), (0, vec![]));
    assert_eq!(before.snapshot.differs_from(&before.snapshot), SnapshotDiff::default());
}

#[test]
fn a_token_that_became_anonymous_or_double() {
    let before = ledger(&[(1, Some("a"), 10), (2, Some("a"), 10), (3, Some("a"), 10), (3, Some("b"), 10)]);
    let after = ledger(&[(1, None, 10), (2, Some("a"), 10), (2, Some("a"), 10), (3, Some("a"), 10)]);
    let expected = SnapshotDiff { rebound: vec![1], ..SnapshotDiff::default() };
    assert_eq!(after.snapshot.differs_from(&before.snapshot), expected);
}
