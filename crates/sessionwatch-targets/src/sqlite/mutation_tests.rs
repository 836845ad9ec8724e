//! Tests of statements that change and restore rows.

use rusqlite::{params, params_from_iter};
use sessionwatch_core::row_ref::RowRef;

use super::sample_file::{SampleFile, SampleSession};
use crate::{
    decrypted_rows::ColumnDecl,
    mapping::RevokeMethod,
    sql::{
        EndedRows, LocateBy, Mutation, RowChange,
        sample_target::{EXPIRES_COLUMN, ID_COLUMN, TOKEN_COLUMN, USER_COLUMN},
        table_info::Equality,
    },
};

const DELETE: Mutation<'static> = Mutation { change: RowChange::Delete, orphans_only: false };

fn names() -> Vec<String> {
    [ID_COLUMN, TOKEN_COLUMN, USER_COLUMN, EXPIRES_COLUMN, "ip", "agent"].map(str::to_owned).into()
}

fn columns(names: &[&str]) -> Vec<ColumnDecl> {
    names.iter().map(|name| ColumnDecl { name: (*name).to_owned(), kind: "TEXT".into() }).collect()
}

/// A row whose values contain quotes and SQL.
const HOSTILE: SampleSession<'static> = SampleSession {
    id: "o'clock",
    token: Some("tok'en\\"),
    user: Some("ada\"; --"),
    ends_in_h: Some(1),
    created_in_h: None,
    ip: Some("10.0.0.1"),
    agent: Some("on"),
    impersonator: None,
};

/// Reads locator and version of the first row.
fn read(file: &SampleFile) -> [i64; 2] {
    let planned = file.planned_rows();
    let row = file
        .query_rows(&file.query_builder().full_rows_query(&names(), LocateBy::Position, &[&planned[0]]))
        .remove(0);
    [0, 1].map(|at| row[at].as_deref().unwrap().parse().unwrap())
}

/// Applies a change and returns the number of changed rows.
fn changed(file: &SampleFile, mutation: Mutation<'_>, read: [i64; 2]) -> usize {
    file.connection.execute(&file.query_builder().change_one_statement(mutation, &names()), read).unwrap()
}

#[test]
fn a_row_is_changed_only_if_it_still_matches_what_was_read() {
    for change in [RowChange::Delete, RowChange::Expire("5"), RowChange::Flag("agent", "o'ff")] {
        let file = SampleFile::with_sessions(&[HOSTILE, SampleSession { id: "other", ..HOSTILE }], &[]);
        let mutation = Mutation { change, orphans_only: false };
        let before = read(&file);
        file.connection
            .execute(r#"UPDATE "ses""sions; --" SET ip = '10.0.0.2' WHERE "i""d" = ?1"#, [HOSTILE.id])
            .unwrap();
        assert_eq!(changed(&file, mutation, before), 0, "{change:?}");
        assert_eq!(changed(&file, mutation, read(&file)), 1, "{change:?}");
        assert_eq!(file.planned_rows().len(), if change == RowChange::Delete { 1 } else { 2 }, "{change:?}");
    }
}

#[test]
fn ending_in_place_writes_the_type_of_the_column() {
    let file = SampleFile::with_sessions(&[HOSTILE], &[]);
    for change in [RowChange::Expire("5"), RowChange::Flag("agent", "o'ff")] {
        assert_eq!(changed(&file, Mutation { change, ..DELETE }, read(&file)), 1);
    }
    let stored = r#"SELECT typeof("ex""pires"), "ex""pires", agent FROM "ses""sions; --""#;
    let expected = ["integer", "5", "o'ff"].map(|text| Some(text.to_owned()));
    assert_eq!(file.query_rows(stored), [expected.to_vec()]);
}

#[test]
fn an_orphan_whose_user_exists_again_is_skipped() {
    let file = SampleFile::with_sessions(&[HOSTILE], &[]);
    let mutation = Mutation { orphans_only: true, ..DELETE };
    file.connection.execute(r#"INSERT INTO "us'ers" VALUES (?1, NULL)"#, [HOSTILE.user]).unwrap();
    assert_eq!(changed(&file, mutation, read(&file)), 0);
    file.connection.execute(r#"DELETE FROM "us'ers""#, []).unwrap();
    assert_eq!(changed(&file, mutation, read(&file)), 1);
}

#[test]
fn rows_are_located_by_position_id_and_row_hash() {
    let file = SampleFile::with_sessions(
        &[HOSTILE, SampleSession { id: "b\"c", ..HOSTILE }, SampleSession { id: "last", ..HOSTILE }],
        &[],
    );
    let planned = file.planned_rows();
    for named in [LocateBy::Position, LocateBy::Id, LocateBy::RowHash] {
        let found = file.column_values(
            &file.query_builder().full_rows_query(&names(), named, &[&planned[0], &planned[1]]),
            3,
        );
        assert_eq!(found, [Some("o'clock".into()), Some("b\"c".into())], "{named:?}");
    }
}

#[test]
fn the_row_hash_covers_id_token_user_and_expiry_only() {
    for (column, value, is_kept) in [
        ("ip", "x", true),
        ("agent", "x", true),
        (r#""i""d""#, "x", false),
        (r#""tok'en""#, "x", false),
        (r#""user id""#, "x", false),
        (r#""ex""pires""#, "5", false),
    ] {
        let file = SampleFile::with_sessions(&[HOSTILE], &[]);
        let planned = file.planned_rows();
        let statement = format!(r#"UPDATE "ses""sions; --" SET {column} = ?1"#);
        file.connection.execute(&statement, [value]).unwrap();
        let found =
            file.query_rows(&file.query_builder().present_rows_query(LocateBy::RowHash, &[&planned[0]]));
        assert_eq!(!found.is_empty(), is_kept, "{column}");
    }
}

#[test]
fn a_flagged_row_is_present_but_counts_as_ended() {
    let flag = RevokeMethod::Flag { column: "agent".into(), value: "o'ff".into() };
    let ended = SampleSession { id: "ended", agent: Some("o'ff"), ..HOSTILE };
    let file = SampleFile::with_sessions(
        &[HOSTILE, ended, SampleSession { id: "null", agent: None, ..HOSTILE }],
        &[],
    );
    let planned = file.planned_rows();
    let rows: Vec<&RowRef> = planned.iter().collect();
    let ids = |query: &str| file.column_values(query, 1).into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(
        ids(&file.query_builder().present_rows_query(LocateBy::Id, &rows)),
        ["o'clock", "ended", "null"]
    );
    assert_eq!(
        ids(&file.query_builder().rows_not_ended_query(LocateBy::Id, &rows, &flag)),
        ["o'clock", "null"]
    );
    assert_eq!(
        ids(&file.query_builder().rows_not_ended_query(LocateBy::Id, &rows, &RevokeMethod::Delete)).len(),
        3
    );
}

#[test]
fn a_row_is_restored_unless_an_obstacle_exists() {
    let mut file = SampleFile::with_sessions(&[HOSTILE], &["ada\"; --"]);
    let columns = columns(&[ID_COLUMN, TOKEN_COLUMN, USER_COLUMN]);
    let sessions = file.mapping.sessions.clone();
    // Returns the first obstacle, or `None` for a restored row.
    let restore_row = |file: &SampleFile, values: [Option<&str>; 3]| {
        let (insert, ask) = (
            file.query_builder().insert_removed_statement(&columns, &sessions),
            file.query_builder().obstacle_query(&columns),
        );
        let mut ask = file.connection.prepare(&ask).unwrap();
        // Without a user table, the query lacks the parameter for the user.
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
        assert_eq!(restore_row(&file, values).as_deref(), obstacle, "{values:?}");
    }
    file.session_column(TOKEN_COLUMN).equality = Equality::CaseInsensitive;
    assert_eq!(restore_row(&file, [Some("6"), Some("TOK'EN\\"), user]).as_deref(), Some("token"));
    file.mapping.users = None;
    assert_eq!(
        restore_row(&file, [Some("7"), Some("t7"), gone]),
        None,
        "without a user table, no user is missing"
    );
}

#[test]
fn an_expiry_is_restored_only_on_a_row_with_the_same_token() {
    let file = SampleFile::with_sessions(&[HOSTILE, SampleSession { id: "other", ..HOSTILE }], &[]);
    let columns = columns(&[ID_COLUMN, TOKEN_COLUMN, EXPIRES_COLUMN]);
    let ended = EndedRows { columns: &columns, ended_by_column: EXPIRES_COLUMN, null_columns: &[] };
    let statement = file.query_builder().restore_ended_statement(ended);
    for (id, token, count) in [("o'clock", "tok'en\\", 1), ("o'clock", "another", 0), ("gone", "tok'en\\", 0)]
    {
        assert_eq!(
            file.connection.execute(&statement, params![id, token, 9]).unwrap(),
            count,
            "{id} {token}"
        );
    }
    let ends = r#"SELECT "ex""pires" = 9 FROM "ses""sions; --""#;
    assert_eq!(file.column_values(ends, 0), [Some("1".into()), Some("0".into())]);
    let columns = self::columns(&[ID_COLUMN, TOKEN_COLUMN, "agent"]);
    let flag = file.query_builder().restore_ended_statement(EndedRows {
        columns: &columns,
        ended_by_column: "agent",
        null_columns: &[],
    });
    let values = ["o'clock", "tok'en\\", "it's on"];
    assert_eq!(file.connection.execute(&flag, params_from_iter(values)).unwrap(), 1);
    let agents = file.column_values(r#"SELECT agent FROM "ses""sions; --""#, 0);
    assert_eq!(agents, [Some("it's on".into()), Some("on".into())]);
}

#[test]
fn existing_tokens_and_users_are_found() {
    let mut file = SampleFile::with_sessions(
        &[HOSTILE, SampleSession { id: "none", token: None, ..HOSTILE }],
        &["o'brien", "ada"],
    );
    let fingerprint = file.planned_rows()[0].token_fingerprint.unwrap();
    let there = file.column_values(
        &file.query_builder().present_tokens_query(&[fingerprint, fingerprint.wrapping_add(1)]),
        0,
    );
    assert_eq!(there, [Some(fingerprint.to_string())]);
    let users = |file: &SampleFile| {
        let query = file.query_builder().present_users_query(&["ada", "o'brien", "ADA", "' OR '1' = '1"])?;
        Some(file.column_values(&query, 0).into_iter().flatten().collect::<Vec<_>>())
    };
    assert_eq!(users(&file).unwrap(), ["ada", "o'brien"]);
    file.users_table().has_hidden_rows = true;
    assert_eq!(users(&file), None, "a hidden user may exist");
}

#[test]
fn users_are_found_by_part_of_an_id_or_name() {
    let file = SampleFile::with_sessions(&[], &["o'brien", "ada", "adam", "100%"]);
    let found = |part: &str, limit| {
        let query = file.query_builder().search_users_query(part, limit).unwrap();
        file.column_values(&query, 0).into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(found("ADA", 10), ["ada", "adam"]);
    assert_eq!(found("ada", 1), ["ada"]);
    assert_eq!(found("name of o'", 10), ["o'brien"]);
    assert_eq!(found("%", 10), ["100%"]);
    let is_known =
        |id: &str| !file.query_rows(&file.query_builder().user_exists_query(id).unwrap()).is_empty();
    assert!(is_known("o'brien") && !is_known("O'brien") && !is_known("' OR '1' = '1"));
}
