use sessionwatch_core::{safety_limit::RecentImpact, timestamp::UtcTimestamp};
use sessionwatch_store::plans::{PlanRecord, PlanState};

use super::*;
use crate::remediation::{PlanSummary, Selection};

/// Archived row with that ID, token fingerprint and user.
fn row(id: Option<&str>, token: Option<i64>, user: Option<&str>) -> RowRef {
    RowRef {
        locator: 0,
        version: 0,
        row_hash: 0,
        id: id.map(Into::into),
        token_fingerprint: token,
        token_prefix: token.map(|token| format!("t{token}")),
        user: user.map(Into::into),
        expires_us: None,
        active: true,
    }
}

/// Table with the row ID `1`, the token 10 and the user `ada`, from which sessions were deleted.
fn present() -> PresentValues {
    PresentValues {
        removed: true,
        ids: HashSet::from(["1".into()]),
        tokens: HashSet::from([10]),
        users: Some(HashSet::from(["ada".into()])),
    }
}

#[test]
fn a_deleted_row_is_not_restored_over_a_row_of_the_table_or_for_a_user_who_is_gone() {
    use RestoreObstacle::{Id, Token, User};
    for (row, obstacle) in [
        (row(Some("2"), Some(20), Some("ada")), None),
        (row(Some("1"), Some(20), Some("ada")), Some(Id)),
        (row(Some("2"), Some(10), Some("ada")), Some(Token)),
        (row(Some("2"), Some(20), Some("bob")), Some(User)),
        (row(Some("1"), Some(10), Some("bob")), Some(Id)),
        (row(Some("2"), Some(10), Some("bob")), Some(Token)),
        // A row without a user, ID or token conflicts with nothing.
        (row(None, None, None), None),
        (row(Some("2"), Some(20), Some("Ada")), Some(User)),
    ] {
        assert_eq!(present().find_obstacle(&row), obstacle, "{row:?}");
    }
    let unreadable = PresentValues { users: None, ..present() };
    assert_eq!(unreadable.find_obstacle(&row(Some("2"), Some(20), Some("bob"))), None);
}

#[test]
fn a_session_revoked_in_place_is_restored_only_if_its_row_is_still_there() {
    use RestoreObstacle::{Gone, Unidentified};
    for (row, obstacle) in [
        (row(Some("1"), Some(10), Some("ada")), None),
        (row(Some("1"), None, Some("ada")), None),
        (row(None, Some(10), Some("ada")), None),
        (row(Some("2"), Some(10), Some("ada")), Some(Gone)),
        (row(Some("1"), Some(20), Some("ada")), Some(Gone)),
        (row(None, Some(20), Some("ada")), Some(Gone)),
        (row(None, None, Some("ada")), Some(Unidentified)),
        // Whether the user still exists does not matter: the row was never removed.
        (row(Some("1"), Some(10), Some("bob")), None),
    ] {
        let in_place = PresentValues { removed: false, ..present() };
        assert_eq!(in_place.find_obstacle(&row), obstacle, "{row:?}");
    }
}

fn preview(shared: &[i64]) -> RestorePreview {
    RestorePreview {
        shared: shared.iter().copied().collect(),
        tokens: HashSet::new(),
        unfingerprinted_rows: 0,
        blocked: BTreeMap::new(),
        users: BTreeSet::new(),
        shared_tokens: BTreeMap::new(),
        users_doubt: None,
    }
}

/// Plan that restores that many rows and active sessions.
fn plan(row_count: u64, active_sessions: u64) -> ActionPlan {
    let record = PlanRecord {
        id: "p1".into(),
        target: "shop".into(),
        address: "a".into(),
        request: String::new(),
        created_at: UtcTimestamp::UNIX_EPOCH,
        created_by: "ada".into(),
        updated_at: UtcTimestamp::UNIX_EPOCH,
        state: PlanState::Making,
        row_count,
        active_sessions,
        summary: String::new(),
        approved_by: None,
    };
    let selection = Selection::Restore { archive: "p0".into(), user: None };
    let (summary, recently_ended) = (PlanSummary::default(), RecentImpact::default());
    ActionPlan { record, selection, summary, recently_ended }
}

#[test]
fn of_rows_with_one_token_only_the_first_is_inserted_again() {
    let mut preview = preview(&[]);
    let rows = [row(Some("1"), Some(10), Some("ada")), row(Some("2"), Some(10), Some("ada"))];
    assert!(preview.add_row(&rows[0], None, true));
    assert!(!preview.add_row(&rows[1], None, true));
    assert_eq!(preview.blocked[&RestoreObstacle::Token].rows, 1);
    // A row that stays in the archive leaves its token to the next one.
    assert!(!preview.add_row(&row(Some("3"), Some(20), None), Some(RestoreObstacle::Id), true));
    assert!(preview.add_row(&row(Some("4"), Some(20), None), None, true));
    // Rows that never left the table have their tokens already.
    assert!(preview.add_row(&rows[1], None, false));
}

#[test]
fn rows_without_a_token_do_not_block_each_other() {
    let mut preview = preview(&[]);
    for id in ["1", "2", "3"] {
        assert!(preview.add_row(&row(Some(id), None, Some("ada")), None, true), "{id}");
    }
    assert!(preview.blocked.is_empty());
}

#[test]
fn a_restored_token_of_several_users_is_announced() {
    let mut preview = preview(&[10]);
    preview.add_row(&row(Some("1"), Some(10), Some("bob")), None, false);
    preview.add_row(&row(Some("2"), Some(10), Some("ada")), None, false);
    preview.add_row(&row(Some("3"), Some(20), Some("eve")), None, false);
    let notes = preview.build_notes(&plan(3, 3));
    assert_eq!(
        notes,
        [
            "3 sessions become active again, which logs in 3 users wherever a browser still has the token \
             (user IDs: ada, bob, eve)",
            "1 restored token was shared by several users, and every browser that holds one will be logged in: \
             token t10… as user ada, bob",
        ]
    );
    let mut left = self::preview(&[10]);
    left.add_row(&row(Some("1"), Some(10), Some("bob")), Some(RestoreObstacle::Id), true);
    assert!(left.shared_tokens.is_empty(), "a row that stays in the archive logs nobody in");
}

#[test]
fn rows_that_stay_are_counted_and_named_by_what_holds_them() {
    let mut preview = preview(&[]);
    preview.add_row(&row(Some("1"), Some(10), Some("ada")), Some(RestoreObstacle::Id), true);
    preview.add_row(&row(Some("2"), Some(20), Some("bob")), Some(RestoreObstacle::Token), true);
    preview.add_row(&row(Some("3"), Some(30), Some("eve")), Some(RestoreObstacle::User), true);
    preview.add_row(&row(Some("4"), Some(40), Some("eve")), Some(RestoreObstacle::User), true);
    preview.users_doubt = Some("row-level security".into());
    assert_eq!(
        preview.build_notes(&plan(0, 0)),
        [
            "no row can be restored",
            "1 row stays in the archive (ID is in the table again): 1",
            "1 row stays in the archive (token is in the table again, or is restored with another row): t20",
            "2 rows stay in the archive (user no longer exists): eve",
            "some users may no longer exist, which is only known when the plan is applied: row-level security",
        ]
    );
}

#[test]
fn a_long_list_of_names_is_cut_but_counted_in_full() {
    let mut preview = preview(&[]);
    for number in 0..1_500 {
        preview.add_row(&row(Some(&format!("{number:04}")), None, None), Some(RestoreObstacle::Id), true);
    }
    let note = preview.build_notes(&plan(5, 0)).remove(1);
    assert!(note.starts_with("1,500 rows stay in the archive"), "{note}");
    assert!(note.ends_with("0018, 0019, …") && note.matches(", ").count() == 20, "{note}");
    let names: BTreeSet<String> = (0..20).map(|number| number.to_string()).collect();
    assert!(!join_names(&names).contains('…'), "a list that is not cut is not marked as such");
}

#[test]
fn rows_of_older_archives_are_announced_as_uncertain() {
    let mut preview = preview(&[]);
    let old = RowRef { token_prefix: Some("t1".into()), ..row(Some("1"), None, None) };
    preview.add_row(&old, None, true);
    preview.add_row(&row(Some("2"), None, None), None, true);
    let notes = preview.build_notes(&plan(2, 0));
    assert_eq!(notes[0], "no user is logged in again: none of these sessions would be active");
    assert!(notes[1].starts_with("1 row was archived without a token fingerprint"), "{notes:?}");
    assert_eq!(notes.len(), 2);
}
