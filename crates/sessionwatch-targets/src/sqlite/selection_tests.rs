//! Tests of row selection.

use sessionwatch_core::timestamp::MICROS_PER_HOUR;

use super::sample_file::{SampleFile, SampleSession};
use crate::{
    mapping::RevokeMethod,
    sql::{
        RowSelection, SelectionFilter,
        sample_target::{SAMPLE_NOW, TOKEN_COLUMN, USER_COLUMN},
        table_info::Equality,
    },
};

fn held<'a>(id: &'a str, token: &'a str, user: &'a str, created: i64) -> SampleSession<'a> {
    let user = Some(user).filter(|user| !user.is_empty());
    SampleSession { id, token: Some(token), user, created_in_h: Some(created), ..SampleSession::default() }
}

fn of_user<'a>(id: &'a str, user: &'a str, ends: Option<i64>) -> SampleSession<'a> {
    SampleSession { id, user: Some(user), ends_in_h: ends, ..SampleSession::default() }
}

/// Creates rows of users whose names serve as row ids too.
fn of_users(users: &[&'static str]) -> SampleFile {
    let rows: Vec<SampleSession<'_>> = users.iter().map(|user| of_user(user, user, None)).collect();
    SampleFile::with_sessions(&rows, users)
}

#[test]
fn duplicates_keep_the_newest_row_of_one_user_and_none_of_several() {
    let without_token = |id| SampleSession { id, user: Some("ada"), ..SampleSession::default() };
    let file = SampleFile::with_sessions(
        &[
            held("old", "own", "ada", -3),
            held("new", "own", "ada", -1),
            held("of-ada", "shared", "ada", -1),
            held("of-bob", "shared", "bob", -1),
            held("known", "half", "ada", -1),
            held("unknown", "half", "", -1),
            held("first", "nobody", "", -3),
            held("second", "nobody", "", -1),
            held("alone", "single", "ada", -1),
            without_token("none"),
            without_token("none either"),
        ],
        &[],
    );
    let chosen = file.selected_ids(RowSelection::Duplicates);
    assert_eq!(chosen, ["first", "known", "of-ada", "of-bob", "old", "unknown"]);
}

#[test]
fn a_row_without_a_creation_time_counts_as_the_oldest() {
    let unknown = SampleSession { id: "unknown", created_in_h: None, ..held("", "own", "ada", 0) };
    for rows in [[unknown, held("known", "own", "ada", -9)], [held("known", "own", "ada", -9), unknown]] {
        assert_eq!(SampleFile::with_sessions(&rows, &[]).selected_ids(RowSelection::Duplicates), ["unknown"]);
    }
}

#[test]
fn without_a_creation_column_the_row_that_expires_last_is_kept() {
    let row = |id, ends| SampleSession { ends_in_h: ends, ..held(id, "own", "ada", 0) };
    let mut file =
        SampleFile::with_sessions(&[row("soon", Some(1)), row("never", None), row("late", Some(9))], &[]);
    file.mapping.created = None;
    assert_eq!(file.selected_ids(RowSelection::Duplicates), ["late", "soon"]);
}

#[test]
fn tokens_equal_under_the_column_collation_are_duplicates() {
    let mut file =
        SampleFile::with_sessions(&[held("a", "Token", "ada", -1), held("b", "token", "bob", -1)], &[]);
    assert!(file.selected_ids(RowSelection::Duplicates).is_empty());
    file.session_column(TOKEN_COLUMN).equality = Equality::CaseInsensitive;
    assert_eq!(file.selected_ids(RowSelection::Duplicates), ["a", "b"]);
}

#[test]
fn excess_sessions_are_those_that_expire_first() {
    let file = SampleFile::with_sessions(
        &[
            of_user("one", "ada", Some(1)),
            of_user("two", "ada", Some(2)),
            of_user("three", "ada", Some(3)),
            of_user("never", "ada", None),
            of_user("over", "ada", Some(-1)),
            of_user("bob 1", "bob", Some(1)),
            of_user("bob 2", "bob", Some(2)),
            SampleSession { id: "nobody", ends_in_h: Some(1), ..SampleSession::default() },
        ],
        &[],
    );
    assert_eq!(file.selected_ids(RowSelection::Excess(2)), ["one", "two"]);
    assert!(file.selected_ids(RowSelection::Excess(4)).is_empty());
    assert_eq!(
        file.selected_ids(RowSelection::Excess(0)),
        ["bob 1", "bob 2", "never", "one", "three", "two"]
    );
}

#[test]
fn a_row_id_takes_precedence_over_a_token_prefix() {
    let row = |id, token| SampleSession { id, token: Some(token), ..SampleSession::default() };
    let file = SampleFile::with_sessions(
        &[
            row("abc", "zzzzzzzzzzzzzzzzzzzzzzzz"),
            row("small", "abcdefgh0123456789abcdef"),
            row("capital", "ABCDEFGH0123456789abcdef"),
            row("o'clock", "o'clock' OR '1'='1"),
        ],
        &[],
    );
    for (name, rows) in [
        ("abc", vec!["abc"]),
        ("abcd", vec!["small"]),
        ("abcdefgh", vec!["small"]),
        ("ABCD", vec!["capital"]),
        ("o'clock", vec!["o'clock"]),
        // Longer than any token prefix shown.
        ("abcdefgh0", vec![]),
        ("", vec![]),
        ("' OR 1 = 1 --", vec![]),
    ] {
        assert_eq!(file.selected_ids(RowSelection::IdOrPrefix(name)), rows, "{name}");
    }
}

#[test]
fn only_rows_with_exactly_the_given_ids_are_selected() {
    let row = |id, token| SampleSession { id, token: Some(token), ..SampleSession::default() };
    let sessions = [
        row("abc", "zzzzzzzzzzzzzzzzzzzzzzzz"),
        row("abcd", "abcdefgh0123456789abcdef"),
        row("o'clock", "ABCDEFGH0123456789abcdef"),
    ];
    let mut file = SampleFile::with_sessions(&sessions, &[]);
    for (ids, rows) in [
        (vec!["abc", "o'clock"], vec!["abc", "o'clock"]),
        // Neither a token prefix, nor a token, nor another case.
        (vec!["abcdefgh", "zzzzzzzzzzzzzzzzzzzzzzzz", "ABC"], vec![]),
        (vec!["' OR '1' = '1"], vec![]),
        (vec![], vec![]),
    ] {
        let wanted: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(file.selected_ids(RowSelection::Ids(&wanted)), rows, "{ids:?}");
    }
    // An ID that several rows may share does not name a session.
    file.sessions_table().indexes.clear();
    assert!(file.selected_ids(RowSelection::Ids(&["abc".to_owned()])).is_empty());
}

#[test]
fn search_terms_are_neither_patterns_nor_sql() {
    let file = of_users(&["100%", "1000", "a_b", "axb", "wow!", "O'Brien", "back\\slash", "Ünal"]);
    let like = |part: &str| {
        file.selected_ids(RowSelection::Matching(&SelectionFilter {
            user_like: Some(part.into()),
            ..SelectionFilter::default()
        }))
    };
    for (part, rows) in [
        ("0%", vec!["100%"]),
        ("A_B", vec!["a_b"]),
        ("w!", vec!["wow!"]),
        ("o'b", vec!["O'Brien"]),
        ("\\s", vec!["back\\slash"]),
        ("Ünal", vec!["Ünal"]),
        ("name of axb", vec!["axb"]),
        ("' OR '1' = '1", vec![]),
    ] {
        assert_eq!(like(part), rows, "{part}");
    }
    assert_eq!(file.selected_ids(RowSelection::User("O'Brien")), ["O'Brien"]);
    assert!(file.selected_ids(RowSelection::User("' OR '1' = '1")).is_empty());
    let two = ["100%".to_owned(), "O'Brien".to_owned(), "nobody".to_owned()];
    assert_eq!(file.selected_ids(RowSelection::Users(&two)), ["100%", "O'Brien"]);
    assert!(file.selected_ids(RowSelection::Users(&[])).is_empty(), "an empty list selects no user");
}

#[test]
fn users_equal_under_the_column_collation_are_one() {
    let mut file =
        SampleFile::with_sessions(&[of_user("a", "Ada", None), of_user("b", "ada", None)], &["ADA"]);
    assert_eq!(file.selected_ids(RowSelection::User("ada")), ["b"]);
    assert_eq!(file.selected_ids(RowSelection::Orphaned), ["a", "b"]);
    file.session_column(USER_COLUMN).equality = Equality::CaseInsensitive;
    assert_eq!(file.selected_ids(RowSelection::User("ada")), ["a", "b"]);
    assert!(file.selected_ids(RowSelection::Orphaned).is_empty());
    assert_eq!(file.selected_ids(RowSelection::Excess(1)).len(), 1);
}

#[test]
fn orphans_are_selected_only_if_all_users_are_visible() {
    let nobody = SampleSession { id: "nobody", ..SampleSession::default() };
    let rows = [of_user("of ada", "ada", None), of_user("of bob", "bob", None), nobody];
    let mut file = SampleFile::with_sessions(&rows, &["ada"]);
    assert_eq!(file.selected_ids(RowSelection::Orphaned), ["of bob"]);
    file.users_table().has_hidden_rows = true;
    assert!(file.selected_ids(RowSelection::Orphaned).is_empty());
    file.users_table().has_hidden_rows = false;
    file.users_table().visibility_caveat = Some("it drops rows".into());
    assert!(file.selected_ids(RowSelection::Orphaned).is_empty());
    file.mapping.users = None;
    assert!(file.selected_ids(RowSelection::Orphaned).is_empty());
}

#[test]
fn a_session_without_an_expiry_expires_after_every_time() {
    let row = |id, ends| SampleSession { id, ends_in_h: ends, ..SampleSession::default() };
    let rows = [row("past", Some(-1)), row("soon", Some(1)), row("late", Some(5)), row("never", None)];
    let file = SampleFile::with_sessions(&rows, &[]);
    let at = |hours: i64| Some(SAMPLE_NOW.saturating_add_micros(hours * MICROS_PER_HOUR).micros());
    let ends = |expires_after, expires_before| {
        file.selected_ids(RowSelection::Matching(&SelectionFilter {
            expires_after,
            expires_before,
            ..SelectionFilter::default()
        }))
    };
    assert_eq!(ends(at(2), None), ["late", "never"]);
    assert_eq!(ends(None, at(2)), ["past", "soon"]);
    assert_eq!(ends(at(0), at(2)), ["soon"]);
    assert_eq!(ends(at(1), at(1)), Vec::<String>::new());
    assert_eq!(ends(None, at(1)), ["past"], "the limit itself is not before");
    assert_eq!(file.selected_ids(RowSelection::Expired(SAMPLE_NOW)), ["past"]);
}

#[test]
fn rows_without_a_creation_time_match_no_creation_filter() {
    let row = |id, created| SampleSession { id, created_in_h: created, ..SampleSession::default() };
    let file =
        SampleFile::with_sessions(&[row("old", Some(-2)), row("new", Some(-1)), row("unknown", None)], &[]);
    let at = |hours: i64| Some(SAMPLE_NOW.saturating_add_micros(hours * MICROS_PER_HOUR).micros());
    let created = |created_after, created_before| {
        file.selected_ids(RowSelection::Matching(&SelectionFilter {
            created_after,
            created_before,
            ..SelectionFilter::default()
        }))
    };
    assert_eq!(created(at(-9), None), ["new", "old"]);
    assert_eq!(created(None, at(9)), ["new", "old"]);
    assert_eq!(created(at(-2), at(9)), ["new"]);
    assert_eq!(created(None, at(-1)), ["old"]);
}

#[test]
fn filters_are_combined_with_and_and_an_empty_one_matches_nothing() {
    let row =
        |id, ip, agent| SampleSession { id, ip: Some(ip), agent: Some(agent), ..SampleSession::default() };
    let acted = SampleSession { impersonator: Some("root"), ..row("acted", "10.0.0.1", "curl/8") };
    let mut file = SampleFile::with_sessions(
        &[row("phone", "10.0.0.1", "Mozilla (Phone)"), row("desk", "10.0.0.11", "Mozilla (Desk)"), acted],
        &[],
    );
    let address = SelectionFilter { ip: Some("10.0.0.1".into()), ..SelectionFilter::default() };
    let mozilla = SelectionFilter { agent_like: Some("mozilla".into()), ..SelectionFilter::default() };
    let both = SelectionFilter { agent_like: mozilla.agent_like.clone(), ..address.clone() };
    let impersonated = SelectionFilter { impersonated: true, ..SelectionFilter::default() };
    assert_eq!(file.selected_ids(RowSelection::Matching(&address)), ["acted", "phone"]);
    assert_eq!(file.selected_ids(RowSelection::Matching(&mozilla)), ["desk", "phone"]);
    assert_eq!(file.selected_ids(RowSelection::Matching(&both)), ["phone"]);
    assert_eq!(file.selected_ids(RowSelection::Matching(&impersonated)), ["acted"]);
    assert!(file.selected_ids(RowSelection::Matching(&SelectionFilter::default())).is_empty());
    file.mapping.impersonator = None;
    assert!(
        file.selected_ids(RowSelection::Matching(&impersonated)).is_empty(),
        "impersonation is not recorded"
    );
}

#[test]
fn rows_ended_in_place_are_not_selected_again() {
    let row = |id, ends, agent| SampleSession { id, ends_in_h: ends, agent, ..SampleSession::default() };
    let file = SampleFile::with_sessions(
        &[row("active", Some(1), Some("on")), row("never", None, None), row("over", Some(-1), Some("o'ff"))],
        &[],
    );
    let flag = RevokeMethod::Flag { column: "agent".into(), value: "o'ff".into() };
    assert_eq!(file.selected_ids_for(RowSelection::All, &RevokeMethod::Delete), ["active", "never", "over"]);
    assert_eq!(file.selected_ids_for(RowSelection::All, &RevokeMethod::Expire), ["active", "never"]);
    assert_eq!(file.selected_ids_for(RowSelection::All, &flag), ["active", "never"]);
}
