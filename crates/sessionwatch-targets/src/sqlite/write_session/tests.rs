//! Tests of removal and restore in SQLite, where every value has its own type.

use std::time::Duration;

use super::*;
use crate::{
    archive_round_trip_steps::{ArchivedSessions, archive_and_delete, batch_header, restore},
    decrypted_rows::{ArchivedValue, DecryptedRows, DependentTable},
    sql::sample_target::SampleTarget,
};

/// Tables with names that need quoting, and a column that keeps the type of each value.
const TABLES: &str = r#"
CREATE TABLE "us'ers" (key TEXT PRIMARY KEY, "na""me" TEXT);
CREATE TABLE "ses""sions; --" (
  "i""d" TEXT NOT NULL UNIQUE, "tok'en" TEXT, "user id" TEXT REFERENCES "us'ers" (key), "ex""pires" INTEGER,
  created INTEGER, ip TEXT, agent TEXT CHECK (agent <> 'refused'), "acts for" TEXT,
  "any ?1 $x" BLOB, "upper" TEXT GENERATED ALWAYS AS (upper(agent)) VIRTUAL
);
INSERT INTO "us'ers" VALUES ('ada"; --', 'Ada');
"#;

/// Every kind of value, as literals of SQLite.
const VALUES: [&str; 23] = [
    "NULL",
    "''",
    "'text'",
    "'007'",
    "'it''s \"quoted\" \\ \\N \\.'",
    "'line' || char(10) || 'tab' || char(9) || 'return' || char(13) || 'bell' || char(7)",
    "'a' || char(0) || 'b'",
    "CAST(x'66ff' AS TEXT)",
    "'ünï 漢字 ' || char(128273, 8238, 65279)",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "0.1",
    "-0.0",
    "1e308",
    "5e-324",
    "9e999",
    "-9e999",
    "9007199254740993.0",
    "x''",
    "x'00ff0a09275c'",
    "zeroblob(100000)",
];

fn open_session(script: &str) -> SqliteWrite {
    let connection = Connection::open_in_memory().unwrap();
    register_functions(&connection, 7).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    connection.execute_batch(TABLES).unwrap();
    connection.execute_batch(script).unwrap();
    let limit = Duration::from_secs(60);
    let limits = TimeLimits { timeout: limit, lock_timeout: limit };
    SqliteWrite { connection, limits, changed_rows: Arc::default() }
}

/// Returns the statement that inserts a session. All values are literals.
fn insert_statement(id: &str, token: &str, user: &str, value: &str) -> String {
    format!(
        r#"INSERT INTO "ses""sions; --" ("i""d", "tok'en", "user id", "ex""pires", agent, "any ?1 $x")
           VALUES ({id}, {token}, {user}, 5, 'on', {value});"#
    )
}

/// Returns every value of the sessions with its type, bit by bit.
fn table_content(session: &mut SqliteWrite) -> Vec<TextRow> {
    let exact = |column: &str| format!("typeof({column}), hex(CAST({column} AS BLOB)), quote({column})");
    let columns = [
        r#""i""d""#,
        r#""tok'en""#,
        r#""user id""#,
        r#""ex""pires""#,
        "created",
        "ip",
        "agent",
        r#""acts for""#,
        r#""any ?1 $x""#,
        r#""upper""#,
    ];
    let columns: Vec<String> = columns.into_iter().map(exact).collect();
    session
        .query_rows(&format!(r#"SELECT {} FROM "ses""sions; --" ORDER BY "i""d""#, columns.join(", ")))
        .unwrap()
}

#[tokio::test]
async fn every_value_is_restored_with_its_type_and_its_bits() {
    let user = r#"'ada"; --'"#;
    let rows = VALUES.iter().enumerate().map(|(number, value)| {
        insert_statement(&format!("'id{number:02}'"), &format!("'t' || {number}"), user, value)
    });
    let mut session = open_session(&rows.collect::<String>());
    let target = SampleTarget::in_file();
    let before = table_content(&mut session);
    let archived = archive_and_delete(&mut session, &target).await;
    assert_eq!(table_content(&mut session), Vec::<TextRow>::new());
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles, vec![None; VALUES.len()]);
    assert_eq!(table_content(&mut session), before);
    let again = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(again, vec![Some(RestoreObstacle::Id); VALUES.len()], "nothing is restored twice");
    assert_eq!(table_content(&mut session), before);
}

#[test]
fn the_hash_of_a_row_covers_every_byte_and_the_type_of_a_value() {
    let session = open_session("");
    let target = SampleTarget::in_file();
    let expression = target.query_builder().dialect().hash_columns_expr(&["v".to_owned()], 7);
    let hash = |value: &str| {
        let query = format!("SELECT {expression} FROM (SELECT {value} AS v)");
        session.connection.query_row(&query, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let values = [
        "'a'",
        "'a' || char(0) || 'b'",
        "'a' || char(0) || 'c'",
        "1",
        "'1'",
        "1.0",
        "x'31'",
        "NULL",
        "''",
        "x''",
    ];
    let mut hashes: Vec<i64> = values.map(hash).into();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), values.len());
}

#[tokio::test]
async fn tokens_and_ids_of_any_type_are_compared_as_stored() {
    let keys = ["1", "'1'", "x'31'", "1.5", "'1.5'", "'a'", "'A'", "x'61'", "''", "x''"];
    let rows = keys.iter().enumerate().map(|(number, key)| {
        insert_statement(&format!("{number} || {key}"), &format!("'{number}' || {key}"), "NULL", key)
    });
    let mut session = open_session(&rows.collect::<String>());
    let target = SampleTarget::in_file();
    let before = table_content(&mut session);
    let archived = archive_and_delete(&mut session, &target).await;
    // One of the tokens was given to a new session meanwhile.
    session.connection.execute_batch(&insert_statement("'new'", "'5a'", "NULL", "NULL")).unwrap();
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    let refused = obstacles.iter().filter(|obstacle| obstacle.is_some()).count();
    assert_eq!((obstacles[5], refused), (Some(RestoreObstacle::Token), 1));
    session.connection.execute_batch(r#"DELETE FROM "ses""sions; --" WHERE "i""d" = 'new'"#).unwrap();
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles[5], None);
    assert_eq!(table_content(&mut session), before);
}

#[tokio::test]
async fn a_row_whose_user_is_gone_or_that_the_table_rejects_stays_in_the_archive() {
    let user = r#"'ada"; --'"#;
    let script = [
        insert_statement("'a'", "'t1'", user, "1"),
        insert_statement("'b'", "'t2'", "NULL", "2"),
        insert_statement("'c'", "'t3'", user, "3"),
    ];
    let mut session = open_session(&script.concat());
    let target = SampleTarget::in_file();
    let archived = archive_and_delete(&mut session, &target).await;
    session.connection.execute_batch(r#"DELETE FROM "us'ers""#).unwrap();
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles, [Some(RestoreObstacle::User), None, Some(RestoreObstacle::User)]);
    session.connection.execute_batch(r#"INSERT INTO "us'ers" VALUES ('ada"; --', NULL)"#).unwrap();
    session
        .connection
        .execute_batch(
            r#"CREATE TRIGGER "no; --" BEFORE INSERT ON "ses""sions; --" WHEN new."i""d" = 'c'
               BEGIN SELECT RAISE(IGNORE); END"#,
        )
        .unwrap();
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles, [None, Some(RestoreObstacle::Id), Some(RestoreObstacle::Refused)]);
}

#[tokio::test]
async fn an_error_during_a_restore_restores_nothing() {
    let script = [insert_statement("'a'", "'t1'", "NULL", "1"), insert_statement("'b'", "'t2'", "NULL", "2")];
    let mut session = open_session(&script.concat());
    let target = SampleTarget::in_file();
    let archived = archive_and_delete(&mut session, &target).await;
    session
        .connection
        .execute_batch(
            r#"CREATE TRIGGER no BEFORE INSERT ON "ses""sions; --" WHEN new."i""d" = 'b'
               BEGIN SELECT RAISE(ABORT, 'a stored value'); END"#,
        )
        .unwrap();
    let failed = restore(&mut session, &target, &archived).await.unwrap_err();
    assert!(failed.is_row_error() && !failed.to_string().contains("stored value"), "{failed}");
    assert_eq!(table_content(&mut session), Vec::<TextRow>::new());
    // Row by row, the others succeed.
    for (request, expected) in archived.requested.iter().zip([true, false]) {
        let one = ArchivedSessions {
            batch: DecryptedRows::parse(&plaintext(&archived.batch)).unwrap(),
            requested: vec![*request],
        };
        assert_eq!(restore(&mut session, &target, &one).await.is_ok(), expected);
    }
    assert_eq!(table_content(&mut session).len(), 1);
}

/// Returns the lines of a batch of which only id, token and expiry matter.
fn plaintext(batch: &DecryptedRows) -> Vec<u8> {
    let columns = &batch.header.columns;
    let mut lines = batch_header("sqlite", columns).into_bytes();
    for at in 0..batch.len() {
        let cell = |value: &ArchivedValue| match value {
            ArchivedValue::Text(text) => json!(text.as_str()),
            ArchivedValue::Integer(number) => json!(number),
            _ => Value::Null,
        };
        let row: Vec<Value> = batch.row(at).iter().map(cell).collect();
        lines.extend_from_slice(format!("\n{}", Value::from(row)).as_bytes());
    }
    lines
}

#[tokio::test]
async fn dependent_rows_that_the_table_rejects_are_named_and_the_others_are_restored() {
    let mut session = open_session(
        r#"CREATE TABLE "ca""rts" (
             "n; --" INTEGER PRIMARY KEY, "user's" TEXT REFERENCES "us'ers" (key), v CHECK (v > 0)
           );
           INSERT INTO "ca""rts" VALUES (3, NULL, 1);"#,
    );
    let columns = ["n; --", "user's", "v"];
    let columns = columns.map(|name| ColumnDecl { name: name.into(), kind: String::new() });
    let table = TableName { schema: None, name: "ca\"rts".into() };
    let dependent = DependentTable { table, columns: columns.to_vec(), parents: vec![] };
    let header = json!({
        "version": 2, "dialect": "sqlite", "table": "s", "columns": [], "change": "delete",
        "dependents": [dependent],
    });
    let lines = [
        "[]",
        r"\.",
        r#"0	[1,"ada\"; --",7]"#,
        r#"0	[2,"nobody",7]"#,
        "0	[3,null,7]",
        "0	[4,null,-7]",
        "0	[5,null,7]",
    ];
    let bytes = format!("{header}\n{}\n", lines.join("\n"));
    let batch = DecryptedRows::parse(bytes.as_bytes()).unwrap();
    let target = SampleTarget::in_file();
    let rows = &batch.dependents[0];
    let refused = session.restore_dependents(&target.query_builder(), rows, &[0, 1, 2, 3, 4]).await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(refused, [1, 2, 3], "without a user, with a taken key, and against a check");
    let stored = session.query_rows(r#"SELECT "n; --", v FROM "ca""rts" ORDER BY 1"#).unwrap();
    let stored: Vec<String> =
        stored.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(stored, ["1 7", "3 1", "5 7"]);
}
