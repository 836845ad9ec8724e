//! Session history tests.

use proptest::prelude::*;

use super::*;
use crate::{
    duration::{MINUTE, from_days},
    snapshot::{SessionRow, SnapshotBuilder, SnapshotOptions, UserIdRef},
    timestamp_decoder::DecodedTime,
};

const START: SignedDuration = SignedDuration::ZERO;

fn time_after(after: SignedDuration) -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + from_days(1_000) + after
}

fn run_timestamps(after: SignedDuration) -> RunTimestamps {
    RunTimestamps { now: time_after(after), confirmed: time_after(after) }
}

fn build_snapshot(rows: &[(u64, &str)]) -> SessionSnapshot {
    let mut builder = SnapshotBuilder::new(
        SnapshotOptions { now: time_after(START), max_lifetime_us: None, has_created: false },
        0,
    );
    for (fingerprint, user) in rows {
        builder.insert(SessionRow {
            fingerprint: Some(*fingerprint),
            user: Some(UserIdRef::Text(user.as_bytes())),
            expiry: DecodedTime::Never,
            created: DecodedTime::Never,
            orphan: *user == "ghost",
            address: None,
        });
    }
    builder.finish()
}

/// Returns the changes of every run but the first.
fn compare_runs(runs: &[(SignedDuration, &[(u64, &str)])]) -> Vec<SessionChanges> {
    let mut history: Option<SessionHistory> = None;
    let mut all_changes = vec![];
    for (when, rows) in runs {
        let snapshot = build_snapshot(rows);
        let changes = history
            .as_ref()
            .map(|history| history.compare_snapshot(&snapshot, 1, run_timestamps(*when), false).unwrap());
        all_changes.extend(changes.clone());
        let next = SessionHistory::from_run(1, snapshot, time_after(*when), changes);
        // As if the process restarted after each run.
        history = Some(SessionHistory::from_bytes(&next.to_bytes()).unwrap());
    }
    all_changes
}

#[test]
fn sessions_are_counted_in_the_hour_they_were_first_seen() {
    let all_changes = compare_runs(&[
        (START, &[(1, "a")]),
        (MINUTE, &[(1, "a"), (2, "a"), (3, "b"), (4, "ghost")]),
        (2 * MINUTE, &[(1, "a"), (2, "a"), (3, "b"), (5, "a")]),
        (HOUR + MINUTE, &[(1, "a")]),
        (HOUR + 2 * MINUTE, &[(1, "a")]),
    ]);
    let counts: Vec<u64> = all_changes.iter().map(|changes| changes.created_last_hour).collect();
    assert_eq!(counts, [3, 4, 1, 0]);
    assert_eq!(all_changes[1].created_per_user, Histogram::from([(1, 1), (2, 1)]));
    assert_eq!(all_changes[1].top_creators[0], UserTotal { user: "a".into(), sessions: 2 });
    assert_eq!((all_changes[1].created, all_changes[1].ended, all_changes[0].busiest_hour), (1, 1, None));
}

#[test]
fn sessions_created_over_a_day_count_for_an_hourly_share() {
    let many: Vec<(u64, &str)> = (0..48).map(|token| (token, "a")).collect();
    let all_changes = compare_runs(&[(START, &[]), (DAY, &many), (DAY + MINUTE, &many)]);
    assert_eq!((all_changes[0].created, all_changes[0].created_last_hour), (48, 2));
    assert_eq!(all_changes[0].created_per_user, Histogram::from([(2, 1)]));
    assert_eq!(all_changes[1].busiest_hour, Some(2));
    // For every number of hours, not only those whose share is exact.
    for hours in 1..200 {
        let many: Vec<(u64, &str)> = (0..hours).map(|token| (token, "a")).collect();
        let gap = HOUR * i32::try_from(hours).unwrap();
        let all_changes = compare_runs(&[(START, &[]), (gap, &many)]);
        assert_eq!(all_changes[0].created_last_hour, 1, "{hours} hours");
    }
}

#[test]
fn a_reappeared_session_is_reported_once_and_within_a_week() {
    let all_changes = compare_runs(&[
        (START, &[(1, "a"), (2, "a")]),
        (MINUTE, &[]),
        (6 * DAY, &[(1, "a")]),
        (6 * DAY + MINUTE, &[(1, "a")]),
        (9 * DAY, &[(1, "a"), (2, "a")]),
    ]);
    let reappeared: Vec<&[u64]> = all_changes.iter().map(|changes| changes.reappeared.as_slice()).collect();
    assert_eq!(reappeared, [&[] as &[u64], &[1], &[], &[]]);
}

#[test]
fn a_clock_that_jumps_ahead_and_back_forgets_nothing() {
    let after = |history: Option<SessionHistory>, rows: &[(u64, &str)], moment: RunTimestamps| {
        let snapshot = build_snapshot(rows);
        let changes =
            history.as_ref().map(|history| history.compare_snapshot(&snapshot, 1, moment, false).unwrap());
        (Some(SessionHistory::from_run(1, snapshot, moment.now, changes.clone())), changes)
    };
    let (history, _) = after(None, &[(1, "a"), (2, "a")], run_timestamps(START));
    let mut history = history;
    for hour in 1..=30 {
        let rows: Vec<(u64, &str)> =
            if hour < 30 { vec![(1, "a"), (2, "a"), (3, "b")] } else { vec![(1, "a")] };
        history = after(history, &rows, run_timestamps(hour * HOUR)).0;
    }
    let ahead = RunTimestamps { now: time_after(500 * DAY), confirmed: time_after(30 * HOUR + MINUTE) };
    let (history, _) = after(history, &[(1, "a")], ahead);
    let (_, changes) = after(history, &[(1, "a"), (2, "a")], run_timestamps(30 * HOUR + 2 * MINUTE));
    assert_eq!(changes.unwrap().reappeared, [2], "the ended session is still known");
}

#[test]
fn the_latest_ended_sessions_are_remembered_up_to_the_limit() {
    let last = 1_000 + MAX_ENDED_SESSIONS as u64 - 1;
    let many: Vec<(u64, &str)> = (1_000..=last).map(|token| (token, "a")).collect();
    let all = [&[(1, "a"), (2, "a")], &many[..]].concat();
    // Two sessions end first, then as many as are remembered.
    let all_changes = compare_runs(&[
        (START, &all),
        (MINUTE, &many),
        (2 * MINUTE, &[]),
        (3 * MINUTE, &[(1, "a"), (2, "a"), (1_000, "a"), (last, "a")]),
    ]);
    let ended: Vec<u64> = all_changes.iter().map(|changes| changes.ended).collect();
    assert_eq!(ended, [2, MAX_ENDED_SESSIONS as u64, 0]);
    assert_eq!((all_changes[2].created, all_changes[2].reappeared.as_slice()), (4, &[1_000, last][..]));
}

#[test]
fn another_layout_starts_a_new_history_and_a_lagging_replica_changes_nothing() {
    let history = SessionHistory::from_run(1, build_snapshot(&[(1, "a"), (2, "a")]), time_after(START), None);
    let less = build_snapshot(&[(2, "b")]);
    assert_eq!(
        history.compare_snapshot(&less, 2, run_timestamps(SignedDuration::from_micros(1)), false),
        None
    );
    let elsewhere = history.compare_snapshot(&less, 1, run_timestamps(MINUTE), true).unwrap();
    assert_eq!((elsewhere.ended, elsewhere.reassigned.len()), (0, 0));
    let history = SessionHistory::from_run(1, less, time_after(MINUTE), Some(elsewhere));
    let back = history
        .compare_snapshot(&build_snapshot(&[(1, "a"), (2, "b")]), 1, run_timestamps(2 * MINUTE), false)
        .unwrap();
    assert_eq!((back.created, back.reappeared), (1, vec![]));
}

#[test]
fn a_restored_session_did_not_reappear_unless_it_ended_again() {
    let [first, gone, back] = [START, START + MINUTE, START + MINUTE * 2].map(run_timestamps);
    let history = |rows: &[(u64, &str)], moment: RunTimestamps, changes: Option<SessionChanges>| {
        let history = SessionHistory::from_run(1, build_snapshot(rows), moment.now, changes);
        // As after a restart.
        SessionHistory::from_bytes(&history.to_bytes()).unwrap()
    };
    let none: &[(u64, &str)] = &[];
    let before = history(&[(1, "a"), (2, "a"), (3, "b")], first, None);
    let ended = before.compare_snapshot(&build_snapshot(none), 1, gone, false);
    let after = history(none, gone, ended);
    let now = build_snapshot(&[(1, "a"), (2, "a"), (3, "b"), (4, "b")]);
    let mut changes = after.compare_snapshot(&now, 1, back, false).unwrap();
    assert_eq!((changes.created, changes.reappeared.as_slice()), (4, &[1, 2, 3][..]));
    changes.exclude_restored(|token| match token {
        1 => Some(time_after(START + MINUTE)),
        // Restored before it was found to have ended: it ended once more since.
        2 => Some(time_after(START)),
        _ => None,
    });
    assert_eq!((changes.created, changes.reappeared.as_slice()), (3, &[2, 3][..]));
}

#[test]
fn a_clock_jump_changes_only_the_rates() {
    let all_changes = compare_runs(&[
        (5 * HOUR, &[(1, "a")]),
        (START, &[(1, "a"), (2, "a")]),
        (9 * HOUR, &[(2, "a"), (3, "a")]),
    ]);
    assert_eq!((all_changes[0].created_last_hour, all_changes[1].created), (1, 1));
    assert_eq!(all_changes[1].created_last_hour, 0, "one in nine hours");
}

/// A history in format 1: a run 1,000 days after 1970, and one an hour later.
const FORMAT_1: &str = "\
    3159524f5453494809000000000000000200000000000000030000000000000061646103000000000000006576650100\
    00000000000003000000000000000100000000000000000000000000000000d8c498994e000005000000000000000000\
    00000000008000c47f1c9c4e00004d00000000000000010000000000000000ec0915974e000000a4e267954e00000000\
    4f91944e0000010000000000000000a4e267954e000000a493d600000000010000000000000001000000000000000300\
    00000000000065766501000000000000000100000000000000c15d000000000000000000000000f03f01000000000000\
    00f8ffffffffffffff00a4e267954e0000011b876a7364751c";

#[test]
fn histories_of_earlier_versions_are_continued() {
    let digits: Vec<char> = FORMAT_1.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let stored: Vec<u8> = digits.chunks(2).map(byte).collect();
    let earlier = SessionHistory::from_bytes(&stored).unwrap();
    let present = SessionHistory::from_bytes(&earlier.to_bytes()).unwrap();
    let back = u64::MAX - 7;
    for history in [earlier, present] {
        assert_eq!(history.last_run_at(), time_after(HOUR));
        let now = build_snapshot(&[(1, "ada"), (77, "bo"), (back, "bo")]);
        let changes = history.compare_snapshot(&now, 9, run_timestamps(HOUR + MINUTE), false).unwrap();
        assert_eq!((changes.created, changes.ended, changes.extended), (1, 1, 1));
        assert_eq!((changes.reassigned, changes.reappeared), (vec![77], vec![back]));
        assert_eq!(changes.created_last_hour, 2, "one of them an hour before");
    }
    assert_eq!(SessionHistory::from_bytes(b"HISTORY3").unwrap_err(), HistoryError::UnknownFormat);
    for cut in 8..stored.len() {
        assert_eq!(SessionHistory::from_bytes(&stored[..cut]).unwrap_err(), HistoryError::Damaged);
    }
}

proptest! {
    /// Damaged bytes are rejected without a panic.
    #[test]
    fn damaged_bytes_are_rejected(cut in 0usize..400, flip in 0usize..400) {
        let snapshot = build_snapshot(&[(1, "a"), (2, "b")]);
        let bytes = SessionHistory::from_run(1, snapshot, time_after(START), None).to_bytes();
        prop_assert!(SessionHistory::from_bytes(&bytes[..cut.min(bytes.len() - 1)]).is_err());
        let mut flipped = bytes.clone();
        let at = flip % flipped.len();
        flipped[at] ^= 0x55;
        prop_assert!(SessionHistory::from_bytes(&flipped).is_err());
    }
}
