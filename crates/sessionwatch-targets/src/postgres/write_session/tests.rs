//! Tests of removal and restore on a PostgreSQL server, with columns of many types and unusual names.

use std::time::Duration;

use testkit::Database;

use super::*;
use crate::{
    archive_round_trip_steps::{archive_and_delete, restore},
    sql::sample_target::SampleTarget,
};

/// Tables, types and columns whose names need quoting.
const TABLES: &str = r#"
CREATE SCHEMA "My app";
CREATE TYPE "My app"."mo'od; --" AS ENUM ('a b', 'it''s', 'x,"y"', '\N');
CREATE TYPE "My app"."pa""ir" AS ("le""ft" int, "ri ght" text);
CREATE DOMAIN "My app"."Short" AS varchar(20) CHECK (value <> 'refused');
CREATE TABLE "My app"."us'ers" (key text PRIMARY KEY, "na""me" text);
INSERT INTO "My app"."us'ers" VALUES ('ada"; --', 'Ada');
CREATE TABLE "My app"."ses""sions; --" (
  "i""d" text NOT NULL UNIQUE, "tok'en" text, "user id" text, "ex""pires" timestamptz, created timestamptz,
  ip text, agent text, "acts for" text,
  "$1" bytea, "select" jsonb, "%s {}" text[], "Ünï" numeric, "back\slash" double precision,
  "mo od" "My app"."mo'od; --", "moods" "My app"."mo'od; --"[], "pair" "My app"."pa""ir", "dom" "My app"."Short",
  "net" inet, "span" interval, "padded" char(5), "bits" bit varying(9), "range" tstzrange, "time" timetz,
  "key" uuid, "day" date, "document" json, "single" "char", "real" real, "point" point, "search" tsvector,
  "upper" text GENERATED ALWAYS AS (upper(agent)) STORED, "line
break" bigint GENERATED ALWAYS AS IDENTITY,
  "a name of exactly sixty-three bytes, the longest one there can be" boolean
);
ALTER TABLE "My app"."ses""sions; --" ADD dropped int;
ALTER TABLE "My app"."ses""sions; --" DROP COLUMN dropped, ADD "later" text DEFAULT 'x';
"#;

/// Columns with values that are easily damaged, as literals.
const COLUMN_VALUES: [(&str, [&str; 3]); 22] = [
    (r#""$1""#, [r"'\x'", r"'\x00ff5c0a09'", "decode(repeat('ab', 100000), 'hex')"]),
    (
        r#""select""#,
        ["'{}'", r#"'{"k\\n": ["\u00e9", null, 1e400]}'"#, r#"to_jsonb(repeat(E'\\"\n', 1000))"#],
    ),
    (
        r#""%s {}""#,
        ["'{}'", r#"E'{"a,b","\\"q\\"",NULL,"NULL","\\\\N"}'"#, "array_fill(''::text, ARRAY[2,3])"],
    ),
    (r#""Ünï""#, ["'NaN'", "-123456789012345678901234567890.12345678901234567890", "1.500"]),
    (r#""back\slash""#, ["'NaN'", "'5e-324'", "'-Infinity'"]),
    (r#""mo od""#, ["'a b'", "'it''s'", r"'\N'"]),
    ("moods", ["'{}'", r#"'{"x,\"y\"","a b"}'"#, "'{NULL}'"]),
    ("pair", ["'(,)'", r#"ROW(-1, E'q"uo,te\\ \n')::"My app"."pa""ir""#, r#"'(,"")'"#]),
    ("dom", ["''", "'it''s'", "'漢字🔑'"]),
    ("net", ["'::/0'", "'192.0.2.1/24'", "'fe80::1'"]),
    ("span", ["'0'", "'-1 year -2 days +03:04:05.678901'", "'178000000 years'"]),
    ("padded", ["''", "'ab'", "'漢'"]),
    ("bits", ["''", "'010101'", "NULL"]),
    (r#""range""#, ["'empty'", r#"'["2026-11-29 12:00:00.123456+00",infinity)'"#, "'(,)'"]),
    (r#""time""#, ["'00:00+00'", "'23:59:59.999999-15:59'", "'24:00:00+14'"]),
    ("key", ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "NULL"]),
    ("day", ["'-infinity'", "'0044-03-15 BC'", "'infinity'"]),
    ("document", [r#"'{"a":1,"a":2}'"#, r#"' {"b" : 1} '"#, r#"'"\u0000"'"#]),
    ("single", ["''", r"'\'", "'z'"]),
    (r#""real""#, ["'-0'", "'Infinity'", "'1e-45'"]),
    ("point", ["'(0,-0)'", "'(1e308,-1e-308)'", "'(NaN,Infinity)'"]),
    ("search", ["''", "$$'it''s':1A,2 'ünï':3$$", "NULL"]),
];

/// Texts for id, token and user agent.
const TEXTS: [&str; 3] = [r"\N", "tab\t \\t \\\\ \\.", "line\nbreak\r'; -- ünï 漢字 🔑 \u{202e}"];
/// Expiry times, as literals.
const EXPIRIES: [&str; 3] = ["NULL", "'infinity'", "'2026-11-29 12:00:00.000001+00'"];

fn quoted(text: &str) -> String {
    sql::quote_string(Dialect::POSTGRES, text)
}

/// Returns the statement that inserts the session with this number.
fn insert_statement(number: usize) -> String {
    let columns: String = COLUMN_VALUES.iter().map(|(column, _)| format!(", {column}")).collect();
    let values: String = COLUMN_VALUES.iter().map(|(_, values)| format!(", {}", values[number])).collect();
    format!(
        r#"INSERT INTO "My app"."ses""sions; --" ("i""d", "tok'en", "user id", "ex""pires", agent{columns})
           VALUES ({}, {}, {}, {}, {}{values});"#,
        quoted(TEXTS[number]),
        quoted(TEXTS[number]),
        if number == 1 { "NULL".into() } else { quoted("ada\"; --") },
        EXPIRIES[number],
        quoted(TEXTS[number]),
    )
}

/// Creates a database with three sessions.
fn create_database() -> Database<'static> {
    let database = testkit::shared_server().create_database(None).unwrap();
    database.psql(TABLES).unwrap();
    (0..3).for_each(|number| drop(database.psql(&insert_statement(number)).unwrap()));
    database
}

/// Returns all sessions as text, with exact numbers.
fn table_content(database: &Database<'_>) -> String {
    database
        .psql(r#"SELECT to_jsonb(s::text) FROM "My app"."ses""sions; --" AS s ORDER BY "i""d" COLLATE "C""#)
        .unwrap()
}

async fn open_session(database: &Database<'_>) -> PostgresWrite {
    let dsn = Dsn::parse(&database.url("postgres")).unwrap();
    let limit = Duration::from_secs(60);
    PostgresWrite::open(&dsn, TimeLimits { timeout: limit, lock_timeout: limit }, 7).await.unwrap()
}

#[tokio::test]
async fn rows_with_every_type_and_name_are_restored_exactly() {
    let (database, target) = (create_database(), SampleTarget::on_server());
    let before = table_content(&database);
    assert_eq!(before.lines().count(), 3, "{before}");
    let mut session = open_session(&database).await;
    let archived = archive_and_delete(&mut session, &target).await;
    assert_eq!(table_content(&database), "");
    let columns: Vec<&str> =
        archived.batch.header.columns.iter().map(|column| column.name.as_str()).collect();
    assert!(!columns.contains(&"upper") && !columns.contains(&"dropped"), "{columns:?}");
    assert!(columns.contains(&"line\nbreak") && columns.contains(&"later"), "{columns:?}");
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles, [None; 3]);
    assert_eq!(table_content(&database), before);
    let again = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(again, [Some(RestoreObstacle::Id); 3], "nothing is restored twice");
    assert_eq!(table_content(&database), before);
}

#[tokio::test]
async fn settings_of_the_role_do_not_change_what_is_restored() {
    let (database, target) = (create_database(), SampleTarget::on_server());
    let before = table_content(&database);
    let settings = [
        "bytea_output = 'escape'",
        "IntervalStyle = 'sql_standard'",
        "DateStyle = 'SQL, DMY'",
        "TimeZone = 'Asia/Kolkata'",
        "standard_conforming_strings = off",
        "extra_float_digits = -15",
        "search_path = '\"My app\"'",
        "default_transaction_read_only = on",
    ];
    for setting in settings {
        database.psql(&format!("ALTER DATABASE {} SET {setting}", database.name())).unwrap();
    }
    let mut session = open_session(&database).await;
    let archived = archive_and_delete(&mut session, &target).await;
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles, [None; 3]);
    for setting in settings {
        let name = setting.split(' ').next().unwrap();
        database
            .psql(&format!(
                "SET default_transaction_read_only = off; ALTER DATABASE {} RESET {name}",
                database.name()
            ))
            .unwrap();
    }
    assert_eq!(table_content(&database), before);
}

#[tokio::test]
async fn each_row_that_cannot_be_restored_has_its_reason() {
    let (database, target) = (create_database(), SampleTarget::on_server());
    let mut session = open_session(&database).await;
    let archived = archive_and_delete(&mut session, &target).await;
    let positions = |text: &str| {
        let id = archived.batch.header.columns.iter().position(|column| column.name == "i\"d").unwrap();
        (0..3).position(|at| archived.batch.row(at)[id].as_text() == Some(text)).unwrap()
    };
    let [first, second, third] = TEXTS.map(positions);
    // The token of the first was given to a new session, and the user is gone.
    database
        .psql(&format!(
            r#"DELETE FROM "My app"."us'ers";
               INSERT INTO "My app"."ses""sions; --" ("i""d", "tok'en") VALUES ('new', {})"#,
            quoted(TEXTS[0])
        ))
        .unwrap();
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles[first], Some(RestoreObstacle::Token));
    assert_eq!(obstacles[second], None, "a session without a user needs none");
    assert_eq!(obstacles[third], Some(RestoreObstacle::User));
    database
        .psql(
            r#"DELETE FROM "My app"."ses""sions; --" WHERE "i""d" = 'new';
               INSERT INTO "My app"."us'ers" VALUES ('ada"; --');
               CREATE FUNCTION "My app".skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
               CREATE TRIGGER skip BEFORE INSERT ON "My app"."ses""sions; --" FOR EACH ROW WHEN (new.agent = '\N')
               EXECUTE FUNCTION "My app".skip()"#,
        )
        .unwrap();
    let obstacles = restore(&mut session, &target, &archived).await.unwrap();
    assert_eq!(obstacles[first], Some(RestoreObstacle::Refused), "a trigger skips it");
    assert_eq!(obstacles[second], Some(RestoreObstacle::Id));
    assert_eq!(obstacles[third], None);
}

#[tokio::test]
async fn a_row_against_a_constraint_restores_nothing_and_is_an_error_of_a_row() {
    let (database, target) = (create_database(), SampleTarget::on_server());
    let mut session = open_session(&database).await;
    let archived = archive_and_delete(&mut session, &target).await;
    database.psql(r#"ALTER TABLE "My app"."ses""sions; --" ADD CHECK (agent <> '\N')"#).unwrap();
    let failed = restore(&mut session, &target, &archived).await.unwrap_err();
    assert!(failed.is_row_error(), "{failed:?}");
    assert_eq!(failed.to_string(), "the database rejected a query (code 23514)");
    assert_eq!(table_content(&database), "");
    assert!(!session.is_lost(), "the connection is used for the other rows");
    database
        .psql(r#"ALTER TABLE "My app"."ses""sions; --" DROP CONSTRAINT "ses""sions; --_agent_check""#)
        .unwrap();
    assert_eq!(restore(&mut session, &target, &archived).await.unwrap(), [None; 3]);
}
