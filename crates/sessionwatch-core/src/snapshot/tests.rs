//! Snapshot tests.

use super::*;

fn timestamp(micros: i64) -> UtcTimestamp {
    UtcTimestamp::from_micros(micros).unwrap()
}

fn build_snapshot(rows: &[(u64, Option<&str>, i64)]) -> SessionSnapshot {
    let options = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: Some(500), has_created: false };
    let mut builder = SnapshotBuilder::new(options, 0);
    for (fingerprint, user, expiry) in rows {
        builder.insert(SessionRow {
            fingerprint: Some(*fingerprint),
            user: user.map(|user| UserIdRef::Text(user.as_bytes())),
            expiry: DecodedTime::At(timestamp(*expiry)),
            created: DecodedTime::Never,
            orphan: *user == Some("ghost"),
            address: None,
        });
    }
    builder.finish()
}

#[test]
fn an_expiry_at_now_is_expired_and_one_at_the_policy_limit_is_allowed() {
    let snapshot = build_snapshot(&[(1, None, 1_000), (2, None, 1_001), (3, None, 1_500), (4, None, 1_501)]);
    let stats = snapshot.stats(Measured::Counted(DuplicateTokens::default()), None);
    assert_eq!((stats.expired, stats.active, stats.beyond_policy), (1, 3, Some(1)));
}

#[test]
fn anonymous_and_orphaned_sessions_are_excluded_from_user_counts() {
    let snapshot = build_snapshot(&[
        (1, None, 2_000),
        (2, Some("a"), 2_000),
        (3, Some("a"), 10),
        (4, Some("ghost"), 2_000),
    ]);
    let stats = snapshot.stats(Measured::Counted(DuplicateTokens::default()), None);
    assert_eq!(stats.anonymous, 1);
    assert_eq!(stats.orphaned, Measured::Counted(1));
    assert_eq!(stats.active_users(), 2);
    assert_eq!(stats.rows_per_user, Histogram::from([(2, 1)]));
    assert_eq!(snapshot.top_users_by_rows(5), vec![UserTotal { user: "a".into(), sessions: 2 }]);
}

#[test]
fn orphans_are_counted_by_row_if_two_users_share_an_id() {
    let options = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: None, has_created: false };
    let mut builder = SnapshotBuilder::new(options, 0);
    for orphan in [true, false, true] {
        let user = Some(UserIdRef::Text(b"7"));
        let (expiry, created) = (DecodedTime::Never, DecodedTime::Never);
        builder.insert(SessionRow { fingerprint: None, user, expiry, created, orphan, address: None });
    }
    let snapshot = builder.finish();
    assert_eq!(
        snapshot.stats(Measured::Counted(DuplicateTokens::default()), None).orphaned,
        Measured::Counted(2)
    );
    assert_eq!(snapshot.top_users_by_rows(5).len(), 1);
    assert_eq!(snapshot.missing_users(), [0u64; 0]);
}

#[test]
fn a_repeated_fingerprint_is_reported_once() {
    assert_eq!(
        build_snapshot(&[(7, None, 1), (7, None, 1), (7, None, 1), (8, None, 1)]).repeated_fingerprints(),
        [7]
    );
}

#[test]
fn evidence_rows_are_found_by_address() {
    let options = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: Some(500), has_created: false };
    let mut users = KnownUsers::with_capacity(1);
    users.insert(UserIdRef::Text(b"ada"));
    let mut builder = SnapshotBuilder::new(options, 0).with_known_users(Some(users));
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
        builder.insert(SessionRow {
            fingerprint: Some(fingerprint),
            user: Some(UserIdRef::Text(user.as_bytes())),
            expiry,
            created: DecodedTime::Never,
            orphan: false,
            address: Some(RowAddressRef::Position(place as u64)),
        });
    }
    let snapshot = builder.finish();
    let places = |notable| -> Vec<RowAddress> { snapshot.evidence_addresses(notable).unwrap() };
    let expected = |all: &[u64]| all.iter().copied().map(RowAddress::Position).collect::<Vec<_>>();
    assert_eq!(places(EvidenceSelector::OldestExpired), expected(&[2, 0]));
    assert_eq!(places(EvidenceSelector::BeyondPolicy), expected(&[3, 6, 5]));
    assert_eq!(places(EvidenceSelector::Orphans), expected(&[1, 6, 4]));
    let mut doubled = places(EvidenceSelector::Fingerprints(snapshot.repeated_fingerprints()));
    doubled.sort_by_key(|address| if let RowAddress::Position(place) = address { *place } else { 0 });
    assert_eq!(doubled, expected(&[0, 2]));
    let stats = snapshot.stats(Measured::Counted(DuplicateTokens::default()), None);
    assert_eq!(stats.orphaned, Measured::Counted(3));
}

#[test]
fn the_diff_shows_created_extended_ended_and_reassigned_sessions() {
    let before =
        build_snapshot(&[(1, Some("a"), 10), (2, Some("a"), 10), (3, Some("b"), 10), (9, Some("z"), 10)]);
    let after =
        build_snapshot(&[(4, Some("a"), 10), (2, Some("a"), 20), (3, Some("c"), 10), (9, Some("z"), 10)]);
    let difference = after.entries.diff_from(&before.entries);
    assert_eq!(difference.created.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [4]);
    assert_eq!((difference.extended, difference.ended, difference.reassigned), (1, vec![1], vec![3]));
}

#[test]
fn snapshots_with_different_bucket_counts_are_comparable() {
    let options = SnapshotOptions { now: timestamp(1_000), max_lifetime_us: None, has_created: false };
    let fill = |expected: usize, rows: std::ops::Range<u64>| {
        let mut builder = SnapshotBuilder::new(options, expected);
        for row in rows {
            builder.insert(SessionRow {
                fingerprint: Some(row.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                user: (row % 10 > 0).then_some(UserIdRef::Integer(i64::try_from(row % 100).unwrap())),
                expiry: DecodedTime::Never,
                created: DecodedTime::Never,
                orphan: false,
                address: Some(RowAddressRef::Position(row)),
            });
        }
        builder.finish()
    };
    let (before, after) = (fill(0, 0..20_000), fill(20_000, 5_000..21_000));
    assert_eq!((before.entries.buckets.len(), after.entries.buckets.len()), (1, 4));
    for row in [5_000u64, 12_345, 20_999] {
        let wanted = [row.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1];
        let addresses = |snapshot: &SessionSnapshot| {
            snapshot.evidence_addresses(EvidenceSelector::Fingerprints(&wanted)).unwrap()
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
fn a_token_that_became_anonymous_is_reassigned_and_duplicates_are_ignored() {
    let before =
        build_snapshot(&[(1, Some("a"), 10), (2, Some("a"), 10), (3, Some("a"), 10), (3, Some("b"), 10)]);
    let after = build_snapshot(&[(1, None, 10), (2, Some("a"), 10), (2, Some("a"), 10), (3, Some("a"), 10)]);
    let expected = SnapshotDiff { reassigned: vec![1], ..SnapshotDiff::default() };
    assert_eq!(after.entries.diff_from(&before.entries), expected);
}
