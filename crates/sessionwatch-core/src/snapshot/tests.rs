//! Tests of the module above.

use super::*;

fn timestamp(micros: i64) -> UtcTimestamp {
    UtcTimestamp::from_micros(micros).unwrap()
}

fn build_snapshot(rows: &[(u64, Option<&str>, i64)]) -> SessionSnapshot {
    let frame = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: Some(500), has_created: false };
    let mut intake = SnapshotBuilder::new(frame, 0);
    for (fingerprint, user, expiry) in rows {
        intake.insert(SessionRow {
            fingerprint: Some(*fingerprint),
            user: user.map(|user| UserIdRef::Text(user.as_bytes())),
            expiry: DecodedTime::At(timestamp(*expiry)),
            created: DecodedTime::Never,
            orphan: *user == Some("ghost"),
            address: None,
        });
    }
    intake.finish()
}

#[test]
fn an_expiry_equal_to_now_has_ended_and_one_at_the_policy_is_allowed() {
    let ledger = build_snapshot(&[(1, None, 1_000), (2, None, 1_001), (3, None, 1_500), (4, None, 1_501)]);
    let census = ledger.stats(Measured::Counted(DuplicateTokens::default()), None);
    assert_eq!((census.expired, census.active, census.beyond_policy), (1, 3, Some(1)));
}

#[test]
fn anonymous_and_orphaned_sessions_leave_the_rules_about_users() {
    let ledger = build_snapshot(&[
        (1, None, 2_000),
        (2, Some("a"), 2_000),
        (3, Some("a"), 10),
        (4, Some("ghost"), 2_000),
    ]);
    let census = ledger.stats(Measured::Counted(DuplicateTokens::default()), None);
    assert_eq!(census.anonymous, 1);
    assert_eq!(census.orphaned, Measured::Counted(1));
    assert_eq!(census.active_users(), 2);
    assert_eq!(census.rows_per_user, Histogram::from([(2, 1)]));
    assert_eq!(ledger.top_users_by_rows(5), vec![UserTotal { user: "a".into(), sessions: 2 }]);
}

#[test]
fn users_who_look_alike_here_are_orphans_row_by_row() {
    let frame = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: None, has_created: false };
    let mut intake = SnapshotBuilder::new(frame, 0);
    for orphan in [true, false, true] {
        let user = Some(UserIdRef::Text(b"7"));
        let (expiry, created) = (DecodedTime::Never, DecodedTime::Never);
        intake.insert(SessionRow { fingerprint: None, user, expiry, created, orphan, address: None });
    }
    let ledger = intake.finish();
    assert_eq!(
        ledger.stats(Measured::Counted(DuplicateTokens::default()), None).orphaned,
        Measured::Counted(2)
    );
    assert_eq!(ledger.top_users_by_rows(5).len(), 1);
    assert_eq!(ledger.missing_users(), [0u64; 0]);
}

#[test]
fn a_repeated_fingerprint_is_suspected_once() {
    assert_eq!(
        build_snapshot(&[(7, None, 1), (7, None, 1), (7, None, 1), (8, None, 1)]).repeated_fingerprints(),
        [7]
    );
}

#[test]
fn rows_that_a_finding_shows_are_known_by_their_addresses() {
    let frame = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: Some(500), has_created: false };
    let mut users = KnownUsers::with_capacity(1);
    users.insert(UserIdRef::Text(b"ada"));
    let mut intake = SnapshotBuilder::new(frame, 0).with_known_users(Some(users));
    let rows: [(u64, &str, DecodedTime); 7] = [
        (7, "ada", DecodedTime::At(timestamp(900))),
        (8, "bo", DecodedTime::At(timestamp(1_200))),
        (7, "ada", DecodedTime::At(timestamp(800))),
        (9, "ada", DecodedTime::Never),
        (10, "cy", DecodedTime::Undecodable),
        (11, "ada", DecodedTime::At(timestamp(1_501))),
        (12, "bo", DecodedTime::At(timestamp(1_600))),
    ];
    for (place, (fingerprint, user, expiry)) in rows.into_iter().enumerate() {
        intake.insert(SessionRow {
            fingerprint: Some(fingerprint),
            user: Some(UserIdRef::Text(user.as_bytes())),
            expiry,
            created: DecodedTime::Never,
            orphan: false,
            address: Some(RowAddressRef::Position(place as u64)),
        });
    }
    let ledger = intake.finish();
    let places = |notable| -> Vec<RowAddress> { ledger.evidence_addresses(notable).unwrap() };
    let expected = |all: &[u64]| all.iter().copied().map(RowAddress::Position).collect::<Vec<_>>();
    assert_eq!(places(EvidenceSelector::OldestExpired), expected(&[2, 0]));
    assert_eq!(places(EvidenceSelector::BeyondPolicy), expected(&[3, 6, 5]));
    assert_eq!(places(EvidenceSelector::Orphans), expected(&[1, 6, 4]));
    let mut doubled = places(EvidenceSelector::Fingerprints(ledger.repeated_fingerprints()));
    doubled.sort_by_key(|address| if let RowAddress::Position(place) = address { *place } else { 0 });
    assert_eq!(doubled, expected(&[0, 2]));
    let census = ledger.stats(Measured::Counted(DuplicateTokens::default()), None);
    assert_eq!(census.orphaned, Measured::Counted(3));
}

#[test]
fn sees_created_extended_ended_and_rebound() {
    let before =
        build_snapshot(&[(1, Some("a"), 10), (2, Some("a"), 10), (3, Some("b"), 10), (9, Some("z"), 10)]);
    let after =
        build_snapshot(&[(4, Some("a"), 10), (2, Some("a"), 20), (3, Some("c"), 10), (9, Some("z"), 10)]);
    let difference = after.entries.diff_from(&before.entries);
    assert_eq!(difference.created.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [4]);
    assert_eq!((difference.extended, difference.ended, difference.reassigned), (1, vec![1], vec![3]));
}

#[test]
fn ledgers_on_different_shelves_are_walked_alike() {
    let frame = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: None, has_created: false };
    let fill = |expected: usize, rows: std::ops::Range<u64>| {
        let mut intake = SnapshotBuilder::new(frame, expected);
        for row in rows {
            intake.insert(SessionRow {
                fingerprint: Some(row.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                user: (row % 10 > 0).then_some(UserIdRef::Integer(i64::try_from(row % 100).unwrap())),
                expiry: DecodedTime::Never,
                created: DecodedTime::Never,
                orphan: false,
                address: Some(RowAddressRef::Position(row)),
            });
        }
        intake.finish()
    };
    let (before, after) = (fill(0, 0..20_000), fill(20_000, 5_000..21_000));
    assert_eq!((before.entries.buckets.len(), after.entries.buckets.len()), (1, 4));
    for row in [5_000u64, 12_345, 20_999] {
        let wanted = [row.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1];
        let addresses = |ledger: &SessionSnapshot| {
            ledger.evidence_addresses(EvidenceSelector::Fingerprints(&wanted)).unwrap()
        };
        assert_eq!(addresses(&after), [RowAddress::Position(row)]);
        assert_eq!(addresses(&before).len(), usize::from(row < 20_000));
    }
    let difference = after.entries.diff_from(&before.entries);
    assert_eq!((difference.created.len(), difference.ended.len()), (1_000, 5_000));
    assert_eq!((difference.extended, difference.reassigned), (0, vec![]));
    assert_eq!(before.entries.diff_from(&before.entries), SnapshotDiff::default());
}

#[test]
fn a_token_that_became_anonymous_or_double() {
    let before =
        build_snapshot(&[(1, Some("a"), 10), (2, Some("a"), 10), (3, Some("a"), 10), (3, Some("b"), 10)]);
    let after = build_snapshot(&[(1, None, 10), (2, Some("a"), 10), (2, Some("a"), 10), (3, Some("a"), 10)]);
    let expected = SnapshotDiff { reassigned: vec![1], ..SnapshotDiff::default() };
    assert_eq!(after.entries.diff_from(&before.entries), expected);
}
