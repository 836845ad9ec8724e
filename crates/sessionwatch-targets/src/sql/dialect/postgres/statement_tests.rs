//! Tests of the statements for PostgreSQL: quoting, and comparisons in the type of the column.

use super::*;
use crate::{
    decrypted_rows::ColumnDecl,
    mapping::{RevokeMethod, TableName},
    sql::{
        EndedRows, LocateBy, Mutation, ReadRows, RowChange, RowSelection, RowVersion,
        sample_target::{EXPIRES_COLUMN, ID_COLUMN, SampleTarget, TOKEN_COLUMN, USER_COLUMN},
        table_info::Equality,
    },
};

const SESSIONS: &str = r#""My app"."ses""sions; --""#;

fn version(locator: u64, version: i64, id: &str) -> RowVersion {
    RowVersion { locator, version, row_hash: -7, id: Some(id.into()) }
}

/// Returns the condition of a query without line breaks.
fn condition(query: &str) -> String {
    query.split_once("WHERE ").unwrap().1.replace('\n', " ")
}

fn chosen(target: &SampleTarget, chosen: RowSelection<'_>, addressing: RowKeyKind) -> String {
    condition(&target.query_builder().count_rows_query(chosen, &RevokeMethod::Delete, addressing))
}

#[test]
fn rows_of_one_heap_are_changed_by_position_and_transaction() {
    let target = SampleTarget::on_server();
    let (sql, columns) = (target.query_builder(), [ID_COLUMN.to_owned()]);
    let delete = Mutation { change: RowChange::Delete, orphans_only: false };
    let statement = |rows: &[RowVersion]| {
        sql.change_rows_statement(
            delete,
            ReadRows { locate_by: LocateBy::Position, columns: &columns, rows },
            false,
        )
    };
    // Block 1, line 2, and block 70,000, line 3.
    let places = [1 << 16 | 2, 70_000 << 16 | 3];
    let same = statement(&places.map(|place| version(place, 9, "a")));
    assert!(
        same.starts_with(&format!(
            "DELETE FROM ONLY {SESSIONS} AS s WHERE {ROLE_SEARCH_PATH_CONDITION} AND "
        ))
    );
    assert!(
        same.ends_with(r#"s.ctid = ANY('{"(1,2)","(70000,3)"}'::tid[]) AND s.xmin = '9'::xid"#),
        "{same}"
    );
    let other = statement(&[version(places[0], 9, "a"), version(places[1], 8, "b")]);
    assert!(
        other.contains(r"(s.ctid, s.xmin::text) IN (SELECT * FROM ROWS FROM (pg_catalog.unnest("),
        "{other}"
    );
    assert!(other.ends_with("pg_catalog.unnest('{9,8}'::text[])))"), "{other}");
}

#[test]
fn rows_of_several_heaps_are_changed_by_id_or_row_hash_and_full_row_hash() {
    let target = SampleTarget::on_server();
    let (sql, columns) = (target.query_builder(), [ID_COLUMN.to_owned(), TOKEN_COLUMN.to_owned()]);
    let flag = Mutation { change: RowChange::Flag("agent", "o'ff\\"), orphans_only: true };
    let rows = [version(16_400, 5, "o'clock"), version(16_401, -6, "b")];
    let read = |locate_by| ReadRows { locate_by, columns: &columns, rows: &rows };
    let by_id = sql.change_rows_statement(flag, read(LocateBy::Id), false);
    assert!(
        by_id.starts_with(&format!(r#"UPDATE {SESSIONS} AS s SET "agent" = E'o''ff\\' WHERE "#)),
        "{by_id}"
    );
    for part in [
        r#"s."i""d" = ANY(CAST(ARRAY['o''clock', 'b']::text[] AS text[]))"#,
        r#"pg_catalog.hashtextextended(ROW(s."i""d", s."tok'en")::text, 7)"#,
        "pg_catalog.unnest('{16400,16401}'::oid[]), pg_catalog.unnest('{5,-6}'::bigint[])",
        r#"AND s."user id" IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "My app"."us'ers" AS w WHERE"#,
    ] {
        assert!(by_id.contains(part), "`{part}` is missing in {by_id}");
    }
    let by_mark = sql.change_rows_statement(flag, read(LocateBy::RowHash), false);
    assert!(by_mark.contains("= ANY('{-7,-7}'::bigint[])") && !by_mark.contains("o''clock"), "{by_mark}");
}

#[test]
fn a_detailed_change_reports_the_version_that_was_read() {
    let target = SampleTarget::on_server();
    let (sql, columns, rows) = (target.query_builder(), [ID_COLUMN.to_owned()], [version(2, 9, "a")]);
    let read = ReadRows { locate_by: LocateBy::Position, columns: &columns, rows: &rows };
    let change = |change| sql.change_rows_statement(Mutation { change, orphans_only: false }, read, true);
    let delete = change(RowChange::Delete);
    assert!(delete.contains("RETURNING s.ctid::text AS locator)\nSELECT string_agg(d.locator, ' ') FROM d"));
    let expire = change(RowChange::Expire("2026-11-29 12:00:00+00"));
    for part in [
        "FOR UPDATE),\nd AS (UPDATE",
        r#"SET "ex""pires" = '2026-11-29 12:00:00+00' FROM l"#,
        "RETURNING l.locator)",
    ] {
        assert!(expire.contains(part), "`{part}` is missing in {expire}");
    }
}

#[test]
fn a_user_is_compared_in_the_type_of_the_column() {
    let mut target = SampleTarget::on_server();
    for (kind, id, expected) in [
        (ColumnKind::Text, "o'b\\", r#"s."user id" = E'o''b\\'"#),
        (ColumnKind::Integer, "-42", r#"s."user id" = -42"#),
        (ColumnKind::Integer, "42 OR 1 = 1", "1 = 0"),
        (ColumnKind::Integer, "9223372036854775808", "1 = 0"),
        (ColumnKind::Uuid, "x", r#"CAST(s."user id" AS text) = 'x'"#),
    ] {
        target.session_column(USER_COLUMN).kind = kind;
        assert_eq!(chosen(&target, RowSelection::User(id), RowKeyKind::Place), expected, "{kind:?}");
    }
    target.session_column(USER_COLUMN).equality = Equality::CaseInsensitive;
    let folded = chosen(&target, RowSelection::User("Ada"), RowKeyKind::Place);
    assert!(
        folded.contains(r#"pg_catalog.lower(CAST('Ada' AS text) COLLATE pg_catalog."default")"#),
        "{folded}"
    );
}

#[test]
fn rows_of_a_user_are_distinguished_by_their_row_key() {
    let mut target = SampleTarget::on_server();
    for (addressing, begin, end) in [
        (RowKeyKind::Place, "s.ctid = ANY(ARRAY(SELECT r.n0 FROM (", "s.ctid DESC) AS turn"),
        (
            RowKeyKind::HeapAndPlace,
            "(s.tableoid, s.ctid) IN (SELECT r.n0, r.n1 FROM (",
            "s.tableoid DESC, s.ctid DESC) AS turn",
        ),
        (RowKeyKind::Id, r#"s."i""d" = ANY(ARRAY(SELECT r.n0 FROM ("#, r#"s."i""d" DESC) AS turn"#),
    ] {
        for kind in [RowSelection::Duplicates, RowSelection::Excess(3)] {
            let condition = chosen(&target, kind, addressing);
            assert!(condition.starts_with(begin) && condition.contains(end), "{addressing:?}: {condition}");
        }
    }
    let unnamed = |target: &SampleTarget, why: &str| {
        for kind in [RowSelection::Duplicates, RowSelection::Excess(3)] {
            assert_eq!(chosen(target, kind, RowKeyKind::Id), "1 = 0", "{why}");
        }
    };
    target.session_column(ID_COLUMN).nullable = true;
    unnamed(&target, "the id may be NULL");
    target.session_column(ID_COLUMN).nullable = false;
    target.sessions_table().indexes.clear();
    unnamed(&target, "the id may not be unique");
}

#[test]
fn the_soft_delete_condition_depends_on_the_type_of_the_column() {
    let mut target = SampleTarget::on_server();
    target.mapping.deleted = Some("agent".into());
    for (declared, kind, live) in [
        ("boolean", ColumnKind::Other, r#"s."agent" IS NOT TRUE"#),
        ("integer", ColumnKind::Integer, r#"COALESCE(s."agent", 0) = 0"#),
        ("text", ColumnKind::Text, r#"COALESCE(s."agent", '') = ''"#),
        ("timestamp with time zone", ColumnKind::Timestamptz, r#"s."agent" IS NULL"#),
    ] {
        let column = target.session_column("agent");
        (column.declared_type, column.kind) = (declared.into(), kind);
        let from = format!("FROM {SESSIONS} AS s JOIN (SELECT 1) AS live ON {live}\n");
        let counted = target.query_builder().count_rows_query(
            RowSelection::All,
            &RevokeMethod::Delete,
            RowKeyKind::Place,
        );
        assert!(counted.contains(&from), "{declared}: {counted}");
    }
}

#[test]
fn an_impossible_id_sorts_as_null() {
    let uuid = "0b9a8c7d-1234-4abc-8def-0123456789ab";
    for (kind, id, rank) in [
        (ColumnKind::Integer, "7", "7".to_owned()),
        (ColumnKind::Integer, "7; --", "NULL".into()),
        (ColumnKind::Uuid, uuid, format!("'{uuid}'")),
        (ColumnKind::Uuid, "0b9a8c7d12344abc8def0123456789ab", "NULL".into()),
        (ColumnKind::Uuid, "0b9a8c7d-1234-4abc-8def-0123456789ag", "NULL".into()),
        (ColumnKind::Uuid, "0b9a8c7d-1234-4abc-8def-0123456789a", "NULL".into()),
        (ColumnKind::Uuid, "0b9a8c7d-1234-4abc-8def-0123456789ab0", "NULL".into()),
        (ColumnKind::Text, "o'clock", "'o''clock'".into()),
    ] {
        assert_eq!(PostgresDialect.id_sort_value(id, kind), rank, "{kind:?} {id}");
    }
}

#[test]
fn a_session_is_restored_by_its_values_and_its_nulls() {
    let target = SampleTarget::on_server();
    let columns = [ID_COLUMN, TOKEN_COLUMN, USER_COLUMN, EXPIRES_COLUMN, "agent"]
        .map(|name| ColumnDecl { name: name.into(), kind: "text".into() });
    let condition = |ended_by_column, null_columns| {
        let statement = target.query_builder().restore_ended_statement(EndedRows {
            columns: &columns,
            ended_by_column,
            null_columns,
        });
        let condition = statement.split_once(" IS NOT NULL AND ").unwrap().1;
        condition.split_once(" RETURNING").unwrap().0.to_owned()
    };
    assert_eq!(
        condition(EXPIRES_COLUMN, &[]),
        r#"s."i""d" = v.c1 AND s."tok'en" = v.c2 AND s."user id" = v.c3"#
    );
    assert_eq!(
        condition("agent", &[1, 3]),
        r#"s."i""d" = v.c1 AND s."tok'en" IS NULL AND s."user id" = v.c3 AND s."ex""pires" IS NULL"#
    );
    let sql = target.query_builder();
    assert!(sql.can_identify_rows(&columns, &[0]) && sql.can_identify_rows(&columns, &[1, 2]));
    assert!(!sql.can_identify_rows(&columns, &[0, 1]));
}

#[test]
fn of_archived_rows_with_one_token_the_first_without_obstacle_is_restored() {
    let mut target = SampleTarget::on_server();
    let columns = [(ID_COLUMN, "text"), (TOKEN_COLUMN, "citext"), (EXPIRES_COLUMN, "timestamptz")]
        .map(|(name, kind)| ColumnDecl { name: name.into(), kind: kind.into() });
    let into = TableName { schema: None, name: "part\"1".into() };
    let insert = target.query_builder().insert_removed_statement(&columns, &into);
    for part in [
        r#"INSERT INTO "part""1" AS s ("i""d", "tok'en", "ex""pires") OVERRIDING SYSTEM VALUE"#,
        "SELECT c1::text AS c1, c2::citext AS c2, c3::timestamptz AS c3, t.i FROM unnest($1, $2, $3)",
        "ROW_NUMBER() OVER (PARTITION BY o.obstacle IS NULL, o.c2 ORDER BY o.i) AS turn",
        "NOT (v.turn > 1 AND v.c2 IS NOT NULL)",
        // The archived columns lack the user, so a missing user is no obstacle.
        r#"CASE WHEN EXISTS (SELECT 1 FROM "My app"."ses""sions; --" AS q WHERE q."i""d" = g.c1) THEN 'id' WHEN"#,
    ] {
        assert!(insert.contains(part), "`{part}` is missing in {insert}");
    }
    assert!(!insert.contains("THEN 'user'"), "{insert}");
    target.session_column(TOKEN_COLUMN).equality = Equality::CaseInsensitive;
    let folded = target.query_builder().insert_removed_statement(&columns, &into);
    assert!(folded.contains("IS NULL, pg_catalog.lower(CAST(o.c2 AS text)"), "{folded}");
    let without_token = target.query_builder().insert_removed_statement(&columns[..1], &into);
    assert!(without_token.contains("1 AS turn") && without_token.contains("NOT (1 = 0)"), "{without_token}");
}
