//! Tests of the module above.

use proptest::prelude::*;

use super::*;
use crate::{
    decoder::Decoded,
    duration::{MINUTE, days},
    snapshot::{SessionRow, SnapshotBuilder, SnapshotOptions, User},
};

const START: SignedDuration = SignedDuration::ZERO;

fn at(after: SignedDuration) -> Instant {
    Instant::UNIX_EPOCH + days(1_000) + after
}

fn moment(after: SignedDuration) -> Moment {
    Moment { now: at(after), passed: at(after) }
}

fn ledger(rows: &[(u64, &str)]) -> SessionSnapshot {
    let mut intake = SnapshotBuilder::new(
        SnapshotOptions { now: at(START), max_lifetime_us: None, has_created: false },
        0,
    );
    for (fingerprint, user) in rows {
        intake.insert(SessionRow {
            fingerprint: Some(*fingerprint),
            user: Some(User::Text(user.as_bytes())),
            expiry: Decoded::Never,
            created: Decoded::Never,
            orphan: *user == "ghost",
            address: None,
        });
    }
    intake.finish()
}

/// What each look but the first one says.
fn watch(looks: &[(SignedDuration, &[(u64, &str)])]) -> Vec<SessionChanges> {
    let mut history: Option<History> = None;
    let mut said = vec![];
    for (when, rows) in looks {
        let ledger = ledger(rows);
        let changes =
            history.as_ref().map(|history| history.changes(&ledger, 1, moment(*when), false).unwrap());
        said.extend(changes.clone());
        let next = History::after(1, ledger, at(*when), changes);
        // Over a restart each time.
        history = Some(History::from_bytes(&next.to_bytes()).unwrap());
    }
    said
}

#[test]
fn sessions_are_counted_by_the_hour_in_which_they_were_first_seen() {
    let said = watch(&[
        (START, &[(1, "a")]),
        (MINUTE, &[(1, "a"), (2, "a"), (3, "b"), (4, "ghost")]),
        (2 * MINUTE, &[(1, "a"), (2, "a"), (3, "b"), (5, "a")]),
        (HOUR + MINUTE, &[(1, "a")]),
        (HOUR + 2 * MINUTE, &[(1, "a")]),
    ]);
    let counts: Vec<u64> = said.iter().map(|changes| changes.created_last_hour).collect();
    assert_eq!(counts, [3, 4, 1, 0]);
    assert_eq!(said[1].created_per_user, Histogram::from([(1, 1), (2, 1)]));
    assert_eq!(said[1].creators[0], UserTotal { user: "a".into(), sessions: 2 });
    assert_eq!((said[1].created, said[1].ended, said[0].busiest_hour), (1, 1, None));
}

#[test]
fn what_was_created_in_a_day_was_not_created_in_an_hour() {
    let many: Vec<(u64, &str)> = (0..48).map(|token| (token, "a")).collect();
    let said = watch(&[(START, &[]), (DAY, &many), (DAY + MINUTE, &many)]);
    assert_eq!((said[0].created, said[0].created_last_hour), (48, 2));
    assert_eq!(said[0].created_per_user, Histogram::from([(2, 1)]));
    assert_eq!(said[1].busiest_hour, Some(2));
}

#[test]
fn a_session_that_comes_back_is_recognised_once_and_for_a_week() {
    let said = watch(&[
        (START, &[(1, "a"), (2, "a")]),
        (MINUTE, &[]),
        (6 * DAY, &[(1, "a")]),
        (6 * DAY + MINUTE, &[(1, "a")]),
        (9 * DAY, &[(1, "a"), (2, "a")]),
    ]);
    let revived: Vec<&[u64]> = said.iter().map(|changes| changes.revived.as_slice()).collect();
    assert_eq!(revived, [&[] as &[u64], &[1], &[], &[]]);
}

#[test]
fn a_clock_that_is_far_ahead_for_a_while_forgets_nothing() {
    let after = |history: Option<History>, rows: &[(u64, &str)], moment: Moment| {
        let ledger = ledger(rows);
        let changes = history.as_ref().map(|history| history.changes(&ledger, 1, moment, false).unwrap());
        (Some(History::after(1, ledger, moment.now, changes.clone())), changes)
    };
    let (history, _) = after(None, &[(1, "a"), (2, "a")], moment(START));
    let mut history = history;
    for hour in 1..=30 {
        let rows: Vec<(u64, &str)> =
            if hour < 30 { vec![(1, "a"), (2, "a"), (3, "b")] } else { vec![(1, "a")] };
        history = after(history, &rows, moment(hour * HOUR)).0;
    }
    let ahead = Moment { now: at(500 * DAY), passed: at(30 * HOUR + MINUTE) };
    let (history, _) = after(history, &[(1, "a")], ahead);
    let (_, changes) = after(history, &[(1, "a"), (2, "a")], moment(30 * HOUR + 2 * MINUTE));
    assert_eq!(changes.unwrap().revived, [2], "that it had ended is still known");
}

#[test]
fn another_shape_begins_anew_and_a_lagging_copy_changes_nothing() {
    let history = History::after(1, ledger(&[(1, "a"), (2, "a")]), at(START), None);
    let less = ledger(&[(2, "b")]);
    assert_eq!(history.changes(&less, 2, moment(SignedDuration::from_micros(1)), false), None);
    let elsewhere = history.changes(&less, 1, moment(MINUTE), true).unwrap();
    assert_eq!((elsewhere.ended, elsewhere.rebound.len()), (0, 0));
    let history = History::after(1, less, at(MINUTE), Some(elsewhere));
    let back = history.changes(&ledger(&[(1, "a"), (2, "b")]), 1, moment(2 * MINUTE), false).unwrap();
    assert_eq!((back.created, back.revived), (1, vec![]));
}

#[test]
fn a_clock_that_jumps_changes_rates_and_nothing_else() {
    let said =
        watch(&[(5 * HOUR, &[(1, "a")]), (START, &[(1, "a"), (2, "a")]), (9 * HOUR, &[(2, "a"), (3, "a")])]);
    assert_eq!((said[0].created_last_hour, said[1].created), (1, 1));
    assert_eq!(said[1].created_last_hour, 0, "one in nine hours");
}

/// A history as earlier versions stored it: a look at a thousand days after 1970, and one an hour later.
const FORMAT_1: &str = "\
    3159524f5453494809000000000000000200000000000000030000000000000061646103000000000000006576650100\
    00000000000003000000000000000100000000000000000000000000000000d8c498994e000005000000000000000000\
    00000000008000c47f1c9c4e00004d00000000000000010000000000000000ec0915974e000000a4e267954e00000000\
    4f91944e0000010000000000000000a4e267954e000000a493d600000000010000000000000001000000000000000300\
    00000000000065766501000000000000000100000000000000c15d000000000000000000000000f03f01000000000000\
    00f8ffffffffffffff00a4e267954e0000011b876a7364751c";

#[test]
fn what_earlier_versions_stored_is_gone_on_with() {
    let digits: Vec<char> = FORMAT_1.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let stored: Vec<u8> = digits.chunks(2).map(byte).collect();
    let earlier = History::from_bytes(&stored).unwrap();
    let present = History::from_bytes(&earlier.to_bytes()).unwrap();
    let back = u64::MAX - 7;
    for history in [earlier, present] {
        assert_eq!(history.at(), at(HOUR));
        let now = ledger(&[(1, "ada"), (77, "bo"), (back, "bo")]);
        let changes = history.changes(&now, 9, moment(HOUR + MINUTE), false).unwrap();
        assert_eq!((changes.created, changes.ended, changes.extended), (1, 1, 1));
        assert_eq!((changes.rebound, changes.revived), (vec![77], vec![back]));
        assert_eq!(changes.created_last_hour, 2, "one of them an hour before");
    }
    assert_eq!(History::from_bytes(b"HISTORY3").unwrap_err(), HistoryError::UnknownFormat);
    for cut in 8..stored.len() {
        assert_eq!(History::from_bytes(&stored[..cut]).unwrap_err(), HistoryError::Damaged);
    }
}

proptest! {
    /// Damaged bytes are refused, and never a panic.
    #[test]
    fn damaged_bytes_are_no_history(cut in 0usize..400, flip in 0usize..400) {
        let bytes = History::after(1, ledger(&[(1, "a"), (2, "b")]), at(START), None).to_bytes();
        prop_assert!(History::from_bytes(&bytes[..cut.min(bytes.len() - 1)]).is_err());
        let mut flipped = bytes.clone();
        let at = flip % flipped.len();
        flipped[at] ^= 0x55;
        prop_assert!(History::from_bytes(&flipped).is_err());
    }
}
