//! What changes rows and puts them back touches those that are meant, as SQLite carries it out.

use rusqlite::{params, params_from_iter};
use sessionwatch_core::row_ref::RowRef;

use super::sample_file::{Row, SampleFile};
use crate::{
    mapping::Revoke,
    sql::{
        Change, EndedRows, Mutation, Named,
        sample::{EXPIRES, ID, TOKEN, USER},
        tables::Equality,
    },
    unsealed_rows::ColumnDecl,
};

const DELETE: Mutation<'static> = Mutation { change: Change::Delete, orphans_only: false };

fn names() -> Vec<String> {
    [ID, TOKEN, USER, EXPIRES, "ip", "agent"].map(str::to_owned).into()
}

fn columns(names: &[&str]) -> Vec<ColumnDecl> {
    names.iter().map(|name| ColumnDecl { name: (*name).to_owned(), kind: "TEXT".into() }).collect()
}

/// A row of the table with every value that may end a statement.
const HOSTILE: Row<'static> = Row {
    id: "o'clock",
    token: Some("tok'en\\"),
    user: Some("ada\"; --"),
    ends: Some(1),
    created: None,
    ip: Some("10.0.0.1"),
    agent: Some("on"),
    impersonator: None,
};

/// Locator and version of the first row, as they are read before a change.
fn read(file: &SampleFile) -> [i64; 2] {
    let planned = file.planned();
    let row = file.query(&file.sql().whole(&names(), Named::Place, &[&planned[0]])).remove(0);
    [0, 1].map(|at| row[at].as_deref().unwrap().parse().unwrap())
}

/// How many rows a change reaches.
fn changed(file: &SampleFile, mutation: Mutation<'_>, read: [i64; 2]) -> usize {
    file.connection.execute(&file.sql().change_one(mutation, &names()), read).unwrap()
}

#[test]
fn a_row_is_changed_only_while_it_is_what_was_read() {
    for change in [Change::Delete, Change::Expire("5"), Change::Flag("agent", "o'ff")] {
        let file = SampleFile::with(&[HOSTILE, Row { id: "other", ..HOSTILE }], &[]);
        let mutation = Mutation { change, orphans_only: false };
        let before = read(&file);
        file.connection
            .execute(r#"UPDATE "ses""sions; --" SET ip = '10.0.0.2' WHERE "i""d" = ?1"#, [HOSTILE.id])
            .unwrap();
        assert_eq!(changed(&file, mutation, before), 0, "{change:?}");
        assert_eq!(changed(&file, mutation, read(&file)), 1, "{change:?}");
        assert_eq!(file.planned().len(), if change == Change::Delete { 1 } else { 2 }, "{change:?}");
    }
}

#[test]
fn what_ends_a_session_in_place_is_written_as_the_column_stores_it() {
    let file = SampleFile::with(&[HOSTILE], &[]);
    for change in [Change::Expire("5"), Change::Flag("agent", "o'ff")] {
        assert_eq!(changed(&file, Mutation { change, ..DELETE }, read(&file)), 1);
    }
    let stored = r#"SELECT typeof("ex""pires"), "ex""pires", agent FROM "ses""sions; --""#;
    let expected = ["integer", "5", "o'ff"].map(|text| Some(text.to_owned()));
    assert_eq!(file.query(stored), [expected.to_vec()]);
}

#[test]
fn an_orphan_whose_user_has_come_back_is_left_alone() {
    let file = SampleFile::with(&[HOSTILE], &[]);
    let mutation = Mutation { orphans_only: true, ..DELETE };
    file.connection.execute(r#"INSERT INTO "us'ers" VALUES (?1, NULL)"#, [HOSTILE.user]).unwrap();
    assert_eq!(changed(&file, mutation, read(&file)), 0);
    file.connection.execute(r#"DELETE FROM "us'ers""#, []).unwrap();
    assert_eq!(changed(&file, mutation, read(&file)), 1);
}

#[test]
fn rows_are_found_again_by_place_id_and_mark() {
    let file =
        SampleFile::with(&[HOSTILE, Row { id: "b\"c", ..HOSTILE }, Row { id: "last", ..HOSTILE }], &[]);
    let planned = file.planned();
    for named in [Named::Place, Named::Id, Named::Mark] {
        let found = file.values(&file.sql().whole(&names(), named, &[&planned[0], &planned[1]]), 3);
        assert_eq!(found, [Some("o'clock".into()), Some("b\"c".into())], "{named:?}");
    }
}

#[test]
fn the_mark_of_a_row_follows_id_token_user_and_end_and_nothing_else() {
    for (column, value, is_kept) in [
        ("ip", "x", true),
        ("agent", "x", true),
        (r#""i""d""#, "x", false),
        (r#""tok'en""#, "x", false),
        (r#""user id""#, "x", false),
        (r#""ex""pires""#, "5", false),
    ] {
        let file = SampleFile::with(&[HOSTILE], &[]);
        let planned = file.planned();
        let statement = format!(r#"UPDATE "ses""sions; --" SET {column} = ?1"#);
        file.connection.execute(&statement, [value]).unwrap();
        let found = file.query(&file.sql().present(Named::Mark, &[&planned[0]]));
        assert_eq!(!found.is_empty(), is_kept, "{column}");
    }
}

#[test]
fn a_row_that_was_marked_as_ended_is_present_and_yet_not_unchanged() {
    let flag = Revoke::Flag { column: "agent".into(), value: "o'ff".into() };
    let ended = Row { id: "ended", agent: Some("o'ff"), ..HOSTILE };
    let file = SampleFile::with(&[HOSTILE, ended, Row { id: "null", agent: None, ..HOSTILE }], &[]);
    let planned = file.planned();
    let rows: Vec<&RowRef> = planned.iter().collect();
    let ids = |query: &str| file.values(query, 1).into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(ids(&file.sql().present(Named::Id, &rows)), ["o'clock", "ended", "null"]);
    assert_eq!(ids(&file.sql().unchanged(Named::Id, &rows, &flag)), ["o'clock", "null"]);
    assert_eq!(ids(&file.sql().unchanged(Named::Id, &rows, &Revoke::Delete)).len(), 3);
}

#[test]
fn a_row_comes_back_where_nothing_is_in_its_way() {
    let mut file = SampleFile::with(&[HOSTILE], &["ada\"; --"]);
    let columns = columns(&[ID, TOKEN, USER]);
    let sessions = file.mapping.sessions.clone();
    // What is in the way of a row: the first of these that is, and nothing if it came back.
    let put_back = |file: &SampleFile, values: [Option<&str>; 3]| {
        let (insert, ask) =
            (file.sql().insert_removed(&columns, &sessions), file.sql().obstacle_of_one(&columns));
        let mut ask = file.connection.prepare(&ask).unwrap();
        // Where no users are known, it does not ask for the last one.
        let asked = params_from_iter(values.iter().take(ask.parameter_count()));
        let obstacle: Option<String> = ask.query_row(asked, |row| row.get(0)).unwrap();
        let inserted = file.connection.execute(&insert, values).unwrap();
        assert_eq!(inserted, usize::from(obstacle.is_none()), "{values:?}");
        obstacle
    };
    let (id, token, user) = (Some("o'clock"), Some("tok'en\\"), Some("ada\"; --"));
    let gone = Some("b'ob");
    for (values, obstacle) in [
        ([id, token, gone], Some("id")),
        ([Some("1"), token, gone], Some("token")),
        ([Some("1"), Some("t1"), gone], Some("user")),
        ([Some("1"), Some("t1"), user], None),
        ([Some("2"), Some("t2"), None], None),
        ([Some("3"), None, user], None),
        ([Some("4"), None, user], None),
        ([Some("1"), Some("t5"), user], Some("id")),
        ([Some("5"), Some("T1"), user], None),
    ] {
        assert_eq!(put_back(&file, values).as_deref(), obstacle, "{values:?}");
    }
    file.column(TOKEN).equality = Equality::CaseBlind;
    assert_eq!(put_back(&file, [Some("6"), Some("TOK'EN\\"), user]).as_deref(), Some("token"));
    file.mapping.users = None;
    assert_eq!(
        put_back(&file, [Some("7"), Some("t7"), gone]),
        None,
        "where no users are known, none is gone"
    );
}

#[test]
fn an_end_is_set_back_only_on_the_row_that_still_has_the_token() {
    let file = SampleFile::with(&[HOSTILE, Row { id: "other", ..HOSTILE }], &[]);
    let columns = columns(&[ID, TOKEN, EXPIRES]);
    let ended = EndedRows { columns: &columns, ended_by: EXPIRES, nulls: &[] };
    let statement = file.sql().set_back(ended);
    for (id, token, count) in [("o'clock", "tok'en\\", 1), ("o'clock", "another", 0), ("gone", "tok'en\\", 0)]
    {
        assert_eq!(
            file.connection.execute(&statement, params![id, token, 9]).unwrap(),
            count,
            "{id} {token}"
        );
    }
    let ends = r#"SELECT "ex""pires" = 9 FROM "ses""sions; --""#;
    assert_eq!(file.values(ends, 0), [Some("1".into()), Some("0".into())]);
    let columns = self::columns(&[ID, TOKEN, "agent"]);
    let flag = file.sql().set_back(EndedRows { columns: &columns, ended_by: "agent", nulls: &[] });
    let values = ["o'clock", "tok'en\\", "it's on"];
    assert_eq!(file.connection.execute(&flag, params_from_iter(values)).unwrap(), 1);
    let agents = file.values(r#"SELECT agent FROM "ses""sions; --""#, 0);
    assert_eq!(agents, [Some("it's on".into()), Some("on".into())]);
}

#[test]
fn tokens_and_users_that_are_there_are_told_from_others() {
    let mut file =
        SampleFile::with(&[HOSTILE, Row { id: "none", token: None, ..HOSTILE }], &["o'brien", "ada"]);
    let fingerprint = file.planned()[0].token.unwrap();
    let there = file.values(&file.sql().tokens_there(&[fingerprint, fingerprint.wrapping_add(1)]), 0);
    assert_eq!(there, [Some(fingerprint.to_string())]);
    let users = |file: &SampleFile| {
        let query = file.sql().users_there(&["ada", "o'brien", "ADA", "' OR '1' = '1"])?;
        Some(file.values(&query, 0).into_iter().flatten().collect::<Vec<_>>())
    };
    assert_eq!(users(&file).unwrap(), ["ada", "o'brien"]);
    file.users().rows_hidden = true;
    assert_eq!(users(&file), None, "one who is not seen may exist");
}

#[test]
fn users_are_found_by_a_part_of_their_id_or_name() {
    let file = SampleFile::with(&[], &["o'brien", "ada", "adam", "100%"]);
    let found = |part: &str, limit| {
        let query = file.sql().users_like(part, limit).unwrap();
        file.values(&query, 0).into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(found("ADA", 10), ["ada", "adam"]);
    assert_eq!(found("ada", 1), ["ada"]);
    assert_eq!(found("name of o'", 10), ["o'brien"]);
    assert_eq!(found("%", 10), ["100%"]);
    let is_known = |id: &str| !file.query(&file.sql().user_known(id).unwrap()).is_empty();
    assert!(is_known("o'brien") && !is_known("O'brien") && !is_known("' OR '1' = '1"));
}
