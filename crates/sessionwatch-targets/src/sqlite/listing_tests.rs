//! Which sessions a list has, and in which order, as SQLite finds them.

use sessionwatch_core::instant::MICROS_PER_HOUR;

use super::sample_file::{Row, SampleFile};
use crate::sql::{
    List, RowKind, Rows, Sort, Sql, Status,
    sample::{EXPIRES, ID, NOW},
    tables::Index,
};

fn file() -> SampleFile {
    let row = |id, user, ends, created| Row { id, user: Some(user), ends, created, ..Row::default() };
    SampleFile::with(
        &[
            Row { token: Some("abcdefgh0123456789abcdef"), ..row("soon", "bob", Some(1), Some(-5)) },
            Row { token: Some("ABCDEFGH0123456789abcdef"), ..row("late", "ada", Some(9), Some(-1)) },
            Row { token: Some("short"), ..row("over", "ada", Some(-1), None) },
            row("never", "o'brien", None, Some(-2)),
        ],
        &["ada"],
    )
}

fn ids(file: &SampleFile, list: List<'_>) -> Vec<String> {
    file.values(&file.sql().list(list), 1).into_iter().map(Option::unwrap).collect()
}

#[test]
fn a_list_has_the_sessions_that_are_asked_for() {
    let file = file();
    let all = List { sort: Sort::Id, ascending: true, ..List::all(10) };
    let prefixes = ["abcdefgh", "s"].map(str::to_owned);
    for (list, expected) in [
        (all, vec!["late", "never", "over", "soon"]),
        (List { status: Status::Active, ..all }, vec!["late", "never", "soon"]),
        (List { status: Status::Expired, ..all }, vec!["over"]),
        (List { user: Some("ada"), ..all }, vec!["late", "over"]),
        (List { user: Some("o'brien"), ..all }, vec!["never"]),
        (List { user: Some("' OR '1' = '1"), ..all }, vec![]),
        (List { named: Some("never"), ..all }, vec!["never"]),
        (List { named: Some("abcdefgh"), ..all }, vec!["soon"]),
        (List { prefixes: &prefixes, ..all }, vec!["over", "soon"]),
        // A creation that is not known is not lately.
        (List { created_since: Some(NOW.plus_micros(-3 * MICROS_PER_HOUR)), ..all }, vec!["late", "never"]),
        (List { limit: 2, ..all }, vec!["late", "never"]),
    ] {
        assert_eq!(ids(&file, list), expected, "{list:?}");
    }
}

#[test]
fn a_list_is_in_the_order_that_is_asked_for() {
    let file = file();
    let sorted = |sort, ascending| ids(&file, List { sort, ascending, ..List::all(10) });
    assert_eq!(sorted(Sort::Expires, false), ["never", "late", "soon", "over"], "what never ends, ends last");
    assert_eq!(sorted(Sort::Expires, true), ["over", "soon", "late", "never"]);
    assert_eq!(sorted(Sort::User, true), ["late", "over", "soon", "never"]);
    assert_eq!(sorted(Sort::Id, false), ["soon", "over", "never", "late"]);
}

#[test]
fn what_visitors_write_is_shown_up_to_a_limit_and_what_is_not_stored_is_empty() {
    let long = "ä".repeat(1_000);
    let row = Row { id: "a", user: Some("ada"), agent: Some(&long), ip: Some(&long), ..Row::default() };
    let mut file = SampleFile::with(&[row], &["ada"]);
    let shown = |file: &SampleFile| file.query(&file.sql().list(List::all(1))).remove(0);
    let cells = shown(&file);
    assert_eq!(
        (cells[5].as_deref(), cells[6].as_deref()),
        (Some(&*"ä".repeat(200)), Some(&*"ä".repeat(200)))
    );
    assert_eq!(cells[7].as_deref(), Some("Name of ada"));
    (file.mapping.ip, file.mapping.created, file.mapping.users, file.mapping.id) = (None, None, None, None);
    let cells = shown(&file);
    assert_eq!((cells[1].as_deref(), cells[4].as_deref(), cells[5].as_deref()), (None, None, None));
    assert_eq!(cells.len(), 7, "without users nobody has a name");
}

#[test]
fn sessions_of_the_kinds_that_checks_find_are_listed() {
    let mut file = file();
    let found = |file: &SampleFile, kind| {
        let sql = Sql { max_lifetime_us: Some(2 * MICROS_PER_HOUR), ..file.sql() };
        let mut ids = file.values(&sql.rows(Rows::all(kind), 10), 1);
        ids.sort_unstable();
        ids.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(found(&file, RowKind::Orphans), ["never", "soon"]);
    assert_eq!(found(&file, RowKind::OldestExpired), ["over"]);
    assert_eq!(found(&file, RowKind::BeyondPolicy), ["late", "never"]);
    assert!(found(&file, RowKind::Duplicates).is_empty());
    file.mapping.users = None;
    assert!(found(&file, RowKind::Orphans).is_empty());
}

#[test]
fn a_large_table_without_an_index_on_the_end_is_listed_by_row_id() {
    let mut file = file();
    for (rows, usual) in [(None, Sort::Expires), (Some(100_000), Sort::Expires), (Some(100_001), Sort::Id)] {
        file.sessions().estimated_rows = rows;
        assert_eq!(file.sql().usual_sort(), usual, "{rows:?}");
    }
    let index = Index { columns: vec![EXPIRES.into(), ID.into()], complete: true, ..Index::default() };
    file.sessions().indexes.push(index);
    assert_eq!(file.sql().usual_sort(), Sort::Expires, "an index has them in that order");
    file.sessions().indexes.pop();
    file.column(ID).nullable = true;
    assert_eq!(file.sql().usual_sort(), Sort::Expires, "not every row has an id");
}

#[test]
fn pages_are_in_an_order_that_every_row_has_a_place_in() {
    let mut file = file();
    for sort in [Sort::Expires, Sort::Created, Sort::User, Sort::Id] {
        assert_eq!(file.sql().paged_sort(sort), sort);
    }
    file.mapping.created = None;
    file.sessions().indexes.clear();
    assert_eq!(file.sql().paged_sort(Sort::Created), Sort::Expires);
    assert_eq!(file.sql().paged_sort(Sort::Id), Sort::Expires, "two rows may have one id");
}
