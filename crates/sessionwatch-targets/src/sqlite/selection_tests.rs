//! Which rows an action is about, as SQLite finds them.

use sessionwatch_core::instant::MICROS_PER_HOUR;

use super::sample_file::{Row, SampleFile};
use crate::{
    mapping::Revoke,
    sql::{
        Chosen, Filter,
        sample::{NOW, TOKEN, USER},
        tables::Equality,
    },
};

fn held<'a>(id: &'a str, token: &'a str, user: &'a str, created: i64) -> Row<'a> {
    let user = Some(user).filter(|user| !user.is_empty());
    Row { id, token: Some(token), user, created: Some(created), ..Row::default() }
}

fn of_user<'a>(id: &'a str, user: &'a str, ends: Option<i64>) -> Row<'a> {
    Row { id, user: Some(user), ends, ..Row::default() }
}

/// Rows of users of these names, which are their ids as well.
fn of_users(users: &[&'static str]) -> SampleFile {
    let rows: Vec<Row<'_>> = users.iter().map(|user| of_user(user, user, None)).collect();
    SampleFile::with(&rows, users)
}

#[test]
fn of_a_token_of_one_user_the_newest_row_stays_and_of_several_users_none() {
    let without_token = |id| Row { id, user: Some("ada"), ..Row::default() };
    let file = SampleFile::with(
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
    let chosen = file.chosen(Chosen::Duplicates);
    assert_eq!(chosen, ["first", "known", "of-ada", "of-bob", "old", "unknown"]);
}

#[test]
fn a_row_whose_creation_is_not_known_counts_as_the_oldest() {
    let unknown = Row { id: "unknown", created: None, ..held("", "own", "ada", 0) };
    for rows in [[unknown, held("known", "own", "ada", -9)], [held("known", "own", "ada", -9), unknown]] {
        assert_eq!(SampleFile::with(&rows, &[]).chosen(Chosen::Duplicates), ["unknown"]);
    }
}

#[test]
fn where_creation_is_not_stored_the_row_that_ends_last_stays() {
    let row = |id, ends| Row { ends, ..held(id, "own", "ada", 0) };
    let mut file = SampleFile::with(&[row("soon", Some(1)), row("never", None), row("late", Some(9))], &[]);
    file.mapping.created = None;
    assert_eq!(file.chosen(Chosen::Duplicates), ["late", "soon"]);
}

#[test]
fn tokens_that_are_equal_to_the_application_are_duplicates() {
    let mut file = SampleFile::with(&[held("a", "Token", "ada", -1), held("b", "token", "bob", -1)], &[]);
    assert!(file.chosen(Chosen::Duplicates).is_empty());
    file.column(TOKEN).equality = Equality::CaseBlind;
    assert_eq!(file.chosen(Chosen::Duplicates), ["a", "b"]);
}

#[test]
fn beyond_a_number_of_sessions_those_that_end_first_are_in_excess() {
    let file = SampleFile::with(
        &[
            of_user("one", "ada", Some(1)),
            of_user("two", "ada", Some(2)),
            of_user("three", "ada", Some(3)),
            of_user("never", "ada", None),
            of_user("over", "ada", Some(-1)),
            of_user("bob 1", "bob", Some(1)),
            of_user("bob 2", "bob", Some(2)),
            Row { id: "nobody", ends: Some(1), ..Row::default() },
        ],
        &[],
    );
    assert_eq!(file.chosen(Chosen::Excess(2)), ["one", "two"]);
    assert!(file.chosen(Chosen::Excess(4)).is_empty());
    assert_eq!(file.chosen(Chosen::Excess(0)), ["bob 1", "bob 2", "never", "one", "three", "two"]);
}

#[test]
fn a_name_means_a_row_id_before_it_means_the_begin_of_a_token() {
    let row = |id, token| Row { id, token: Some(token), ..Row::default() };
    let file = SampleFile::with(
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
        // Longer than what is shown of any token.
        ("abcdefgh0", vec![]),
        ("", vec![]),
        ("' OR 1 = 1 --", vec![]),
    ] {
        assert_eq!(file.chosen(Chosen::Named(name)), rows, "{name}");
    }
}

#[test]
fn what_a_person_types_is_text_and_never_a_pattern_or_sql() {
    let file = of_users(&["100%", "1000", "a_b", "axb", "wow!", "O'Brien", "back\\slash", "Ünal"]);
    let like = |part: &str| {
        file.chosen(Chosen::Where(&Filter { user_like: Some(part.into()), ..Filter::default() }))
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
    assert_eq!(file.chosen(Chosen::User("O'Brien")), ["O'Brien"]);
    assert!(file.chosen(Chosen::User("' OR '1' = '1")).is_empty());
    let two = ["100%".to_owned(), "O'Brien".to_owned(), "nobody".to_owned()];
    assert_eq!(file.chosen(Chosen::Users(&two)), ["100%", "O'Brien"]);
    assert!(file.chosen(Chosen::Users(&[])).is_empty(), "nobody is not everybody");
}

#[test]
fn users_who_are_equal_to_the_application_are_one() {
    let mut file = SampleFile::with(&[of_user("a", "Ada", None), of_user("b", "ada", None)], &["ADA"]);
    assert_eq!(file.chosen(Chosen::User("ada")), ["b"]);
    assert_eq!(file.chosen(Chosen::Orphaned), ["a", "b"]);
    file.column(USER).equality = Equality::CaseBlind;
    assert_eq!(file.chosen(Chosen::User("ada")), ["a", "b"]);
    assert!(file.chosen(Chosen::Orphaned).is_empty());
    assert_eq!(file.chosen(Chosen::Excess(1)).len(), 1);
}

#[test]
fn a_row_is_orphaned_only_if_every_user_is_seen_and_its_user_is_none_of_them() {
    let nobody = Row { id: "nobody", ..Row::default() };
    let rows = [of_user("of ada", "ada", None), of_user("of bob", "bob", None), nobody];
    let mut file = SampleFile::with(&rows, &["ada"]);
    assert_eq!(file.chosen(Chosen::Orphaned), ["of bob"]);
    file.users().rows_hidden = true;
    assert!(file.chosen(Chosen::Orphaned).is_empty());
    file.users().rows_hidden = false;
    file.users().doubt = Some("it drops rows".into());
    assert!(file.chosen(Chosen::Orphaned).is_empty());
    file.mapping.users = None;
    assert!(file.chosen(Chosen::Orphaned).is_empty());
}

#[test]
fn a_session_without_an_end_ends_after_every_instant_and_before_none() {
    let row = |id, ends| Row { id, ends, ..Row::default() };
    let rows = [row("past", Some(-1)), row("soon", Some(1)), row("late", Some(5)), row("never", None)];
    let file = SampleFile::with(&rows, &[]);
    let at = |hours: i64| Some(NOW.plus_micros(hours * MICROS_PER_HOUR).micros());
    let ends = |expires_after, expires_before| {
        file.chosen(Chosen::Where(&Filter { expires_after, expires_before, ..Filter::default() }))
    };
    assert_eq!(ends(at(2), None), ["late", "never"]);
    assert_eq!(ends(None, at(2)), ["past", "soon"]);
    assert_eq!(ends(at(0), at(2)), ["soon"]);
    assert_eq!(ends(at(1), at(1)), Vec::<String>::new());
    assert_eq!(ends(None, at(1)), ["past", "soon"], "an end is before itself");
    assert_eq!(file.chosen(Chosen::Expired(NOW)), ["past"]);
}

#[test]
fn rows_whose_creation_is_unknown_were_created_neither_after_nor_before_anything() {
    let row = |id, created| Row { id, created, ..Row::default() };
    let file = SampleFile::with(&[row("old", Some(-2)), row("new", Some(-1)), row("unknown", None)], &[]);
    let at = |hours: i64| Some(NOW.plus_micros(hours * MICROS_PER_HOUR).micros());
    let created = |created_after, created_before| {
        file.chosen(Chosen::Where(&Filter { created_after, created_before, ..Filter::default() }))
    };
    assert_eq!(created(at(-9), None), ["new", "old"]);
    assert_eq!(created(None, at(9)), ["new", "old"]);
    assert_eq!(created(at(-2), at(9)), ["new"]);
}

#[test]
fn a_filter_holds_where_all_of_it_holds_and_an_empty_one_nowhere() {
    let row = |id, ip, agent| Row { id, ip: Some(ip), agent: Some(agent), ..Row::default() };
    let acted = Row { impersonator: Some("root"), ..row("acted", "10.0.0.1", "curl/8") };
    let mut file = SampleFile::with(
        &[row("phone", "10.0.0.1", "Mozilla (Phone)"), row("desk", "10.0.0.11", "Mozilla (Desk)"), acted],
        &[],
    );
    let address = Filter { ip: Some("10.0.0.1".into()), ..Filter::default() };
    let mozilla = Filter { agent_like: Some("mozilla".into()), ..Filter::default() };
    let both = Filter { agent_like: mozilla.agent_like.clone(), ..address.clone() };
    let impersonated = Filter { impersonated: true, ..Filter::default() };
    assert_eq!(file.chosen(Chosen::Where(&address)), ["acted", "phone"]);
    assert_eq!(file.chosen(Chosen::Where(&mozilla)), ["desk", "phone"]);
    assert_eq!(file.chosen(Chosen::Where(&both)), ["phone"]);
    assert_eq!(file.chosen(Chosen::Where(&impersonated)), ["acted"]);
    assert!(file.chosen(Chosen::Where(&Filter::default())).is_empty());
    file.mapping.impersonator = None;
    assert!(file.chosen(Chosen::Where(&impersonated)).is_empty(), "nobody is known to act for others");
}

#[test]
fn what_was_ended_in_place_is_not_ended_again() {
    let row = |id, ends, agent| Row { id, ends, agent, ..Row::default() };
    let file = SampleFile::with(
        &[row("active", Some(1), Some("on")), row("never", None, None), row("over", Some(-1), Some("o'ff"))],
        &[],
    );
    let flag = Revoke::Flag { column: "agent".into(), value: "o'ff".into() };
    assert_eq!(file.chosen_to(Chosen::All, &Revoke::Delete), ["active", "never", "over"]);
    assert_eq!(file.chosen_to(Chosen::All, &Revoke::Expire), ["active", "never"]);
    assert_eq!(file.chosen_to(Chosen::All, &flag), ["active", "never"]);
}
