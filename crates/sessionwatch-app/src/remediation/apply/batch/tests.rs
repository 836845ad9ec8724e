//! Tests of matching planned rows with rows that were read. A wrong match deletes a session that no plan lists.

use proptest::{collection::vec, prelude::*};
use sessionwatch_core::row_ref::format_ctid;

use super::*;

fn planned(locator: u64, version: i64, row_hash: i64) -> RowRef {
    RowRef {
        locator,
        version,
        row_hash,
        id: None,
        token_fingerprint: None,
        token_prefix: None,
        user: None,
        expires_us: None,
        active: true,
    }
}

/// Returns the headers of rows with that locator, version and hash.
fn read(rows: &[[i64; 3]]) -> Vec<RowHeader> {
    let mut full_rows = FullRows::default();
    for [locator, version, hash] in rows {
        full_rows.push(format!("{locator}\t{version}\t{hash}\tcolumns\n").as_bytes());
    }
    full_rows.parse_headers().unwrap()
}

/// Returns the position in the plan and the place of each matched row, and the hashes of the unmatched rows.
fn summarize(rows: &[RowRef], matched: &MatchedRows<'_>) -> (Vec<(usize, u64)>, Vec<i64>) {
    let position = |row: &RowRef| rows.iter().position(|other| std::ptr::eq(other, row)).unwrap();
    let found = matched.0.iter().map(|(row, head)| (position(row), head.locator)).collect();
    (found, matched.1.iter().map(|row| row.row_hash).collect())
}

#[test]
fn a_row_is_found_by_its_content_wherever_it_moved() {
    let rows = [planned(1, 0, 10), planned(2, 0, 20), planned(3, 0, 30)];
    let matched = match_by_hash(&rows, read(&[[7, 0, 20], [1, 0, 10]]), false);
    assert_eq!(summarize(&rows, &matched), (vec![(0, 1), (1, 7)], vec![30]));
}

#[test]
fn a_row_with_other_content_at_the_planned_place_is_not_matched() {
    let rows = [planned(1, 0, 10)];
    for same_place_only in [false, true] {
        let matched = match_by_hash(&rows, read(&[[1, 0, 11]]), same_place_only);
        assert_eq!(summarize(&rows, &matched), (vec![], vec![10]), "{same_place_only}");
    }
}

#[test]
fn a_row_that_moved_is_left_alone_where_only_its_place_identifies_it() {
    let rows = [planned(1, 0, 10), planned(2, 0, 20)];
    let matched = match_by_hash(&rows, read(&[[9, 0, 10], [2, 0, 20]]), true);
    assert_eq!(summarize(&rows, &matched), (vec![(1, 2)], vec![10]));
}

#[test]
fn no_more_rows_match_than_the_plan_has_with_equal_content() {
    let rows = [planned(1, 0, 10), planned(2, 0, 10)];
    // Three copies exist by now: the two at their planned places are meant, not the new one.
    let matched = match_by_hash(&rows, read(&[[3, 0, 10], [2, 0, 10], [1, 0, 10]]), false);
    assert_eq!(summarize(&rows, &matched), (vec![(0, 1), (1, 2)], vec![]));
    let matched = match_by_hash(&rows, read(&[[3, 0, 10], [4, 0, 10], [5, 0, 10]]), false);
    assert_eq!(matched.0.len(), 2);
    let matched = match_by_hash(&rows, read(&[[2, 0, 10]]), false);
    assert_eq!(summarize(&rows, &matched), (vec![(1, 2)], vec![10]));
}

#[test]
fn matched_rows_keep_the_order_of_the_plan() {
    // Referring rows come first in a plan, or their foreign key would refuse the deletion.
    let rows: Vec<RowRef> = [5, 3, 9, 1].into_iter().map(|hash| planned(0, 0, hash)).collect();
    let heads = read(&[[4, 0, 1], [3, 0, 3], [2, 0, 9], [1, 0, 5]]);
    let (found, _) = summarize(&rows, &match_by_hash(&rows, heads, false));
    assert_eq!(found, [(0, 1), (1, 3), (2, 2), (3, 4)]);
}

#[test]
fn a_version_identifies_a_row_only_together_with_its_place() {
    let rows = [planned(1, 7, 10), planned(2, 7, 20), planned(3, 8, 30)];
    // The second row was updated, and the place of the third was reused.
    let matched = match_by_version(&rows, read(&[[1, 7, 0], [2, 9, 20], [3, 5, 30], [4, 8, 30]]));
    assert_eq!(summarize(&rows, &matched), (vec![(0, 1)], vec![20, 30]));
}

#[test]
fn a_row_read_once_matches_one_of_two_planned_rows() {
    let rows = [planned(1, 7, 10), planned(1, 7, 10)];
    let matched = match_by_version(&rows, read(&[[1, 7, 10]]));
    assert_eq!(summarize(&rows, &matched), (vec![(0, 1)], vec![10]));
}

#[test]
fn a_place_of_the_server_is_compared_as_a_number() {
    let rows = [planned(3 << 16 | 4, 1, 10)];
    let mut full_rows = FullRows::default();
    full_rows.push(format!("{}\t1\t10\tcolumns\n", format_ctid(rows[0].locator)).as_bytes());
    let matched = match_by_version(&rows, full_rows.parse_headers().unwrap());
    assert_eq!(matched.0.len(), 1);
}

proptest! {
    /// Few distinct values, so that equal places, versions and hashes are common.
    #[test]
    fn every_planned_row_is_matched_once_or_left(
        plan in vec((0_u64..4, 0_i64..3, 0_i64..4), 0..12),
        table in vec((0_i64..4, 0_i64..3, 0_i64..4), 0..12),
        same_place_only: bool,
    ) {
        let rows: Vec<RowRef> =
            plan.iter().map(|(place, version, hash)| planned(*place, *version, *hash)).collect();
        let heads: Vec<[i64; 3]> = table.iter().map(|(place, version, hash)| [*place, *version, *hash]).collect();
        let by_hash = match_by_hash(&rows, read(&heads), same_place_only);
        let by_version = match_by_version(&rows, read(&heads));
        for (found, left) in [&by_hash, &by_version] {
            prop_assert_eq!(found.len() + left.len(), rows.len());
            let mut seen: Vec<*const RowRef> = found.iter().map(|(row, _)| std::ptr::from_ref(*row)).collect();
            prop_assert!(seen.is_sorted());
            seen.dedup();
            prop_assert_eq!(seen.len(), found.len());
        }
        for (row, head) in &by_hash.0 {
            prop_assert_eq!(row.row_hash, head.row_hash);
            prop_assert!(!same_place_only || row.locator == head.locator);
        }
        for (row, head) in &by_version.0 {
            prop_assert_eq!((row.locator, row.version), (head.locator, head.version));
        }
    }
}
