//! Instants as text, with and without an offset.

use sessionwatch_clock as clock;
use sessionwatch_core::time_zone::Zone;
use testkit::run_program_in;

use super::{check_in, configured, doubted, refused};

#[test]
fn text_without_an_offset_is_a_column_without_a_time_zone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(include_str!("../../fixtures/local-time/django.sqlite.sql")).unwrap();
    let zone = "America/New_York";
    let ahead = Zone::parse(zone).unwrap().offset_us_at(clock::now()) / 1_000_000;
    let moved = format!(
        "UPDATE django_session SET expire_date = strftime('%Y-%m-%d %H:%M:%f', expire_date, \
         (strftime('%s', 'now') - strftime('%s', '2026-11-28 20:44:50') + {ahead}) || ' seconds')"
    );
    file.execute_batch(&moved).unwrap();
    let url = path.display().to_string();
    let mapped = |decoder: &str| {
        let mapping = format!(
            "sessions = \"django_session\"\ntoken = \"session_key\"\nexpires = \"expire_date\"\n\
             decoder = \"{decoder}\"\n"
        );
        configured(&url, &mapping, "")
    };
    let place = mapped("iso-text");
    let said = run_program_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
    refused(&said, &["less than 14 hours", "`expire_date` has no time zone and is read as `iso-text`"]);
    assert_eq!(run_program_in(place.path(), &[], &["cleanup", "expired"]).exit_code, 0);
    let place = mapped(&format!("timestamp-local:{zone}"));
    let (scan, pushdown) = (check_in(place.path(), "scan"), check_in(place.path(), "pushdown"));
    let expired = file.query_row(
        "SELECT COUNT(*) FROM django_session \
         WHERE strftime('%s', expire_date) - strftime('%s', 'now') < 0 + ?1",
        [ahead],
        |row| row.get::<_, i64>(0),
    );
    for report in [&scan, &pushdown] {
        assert_eq!(report["stats"]["expired"], expired.as_ref().copied().unwrap());
    }
    let sql = run_program_in(place.path(), &[], &["sql", "query-7"]);
    let mut statement = file.prepare(sql.stdout.trim().trim_end_matches(';')).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).unwrap();
    let counted: Vec<(String, i64)> = rows.map(Result::unwrap).collect();
    assert!(counted.contains(&("expired".into(), expired.unwrap())), "{counted:?}");
    assert_eq!(run_program_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]).exit_code, 0);
}

#[test]
fn text_with_an_offset_is_an_instant_until_a_row_lacks_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(include_str!("../../fixtures/local-time/better-sqlite3-session-store.sqlite.sql"))
        .unwrap();
    let moved = |column: &str, sql: &str| {
        format!(
            "{column} = strftime('%Y-%m-%dT%H:%M:%fZ', {sql}, \
               (strftime('%s', 'now') - strftime('%s', '2026-11-28 20:37:55')) || ' seconds')"
        )
    };
    let cookie = moved("x", "json_extract(sess, '$.cookie.expires')");
    file.execute_batch(&format!(
        "UPDATE sessions SET {}, sess = json_set(sess, '$.cookie.expires', {})",
        moved("expire", "expire"),
        cookie.trim_start_matches("x = ")
    ))
    .unwrap();
    let url = path.display().to_string();
    let mapping = "sessions = \"sessions\"\ntoken = \"sid\"\nexpires = \"expire\"\ndecoder = \"iso-text\"\n";
    let place = configured(&url, mapping, "");
    assert_eq!(run_program_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]).exit_code, 0);
    assert_eq!(doubted(&check_in(place.path(), "scan")), Vec::<String>::new());
    // The same in local time, without an offset: the cookie reveals it.
    file.execute_batch("UPDATE sessions SET expire = strftime('%Y-%m-%d %H:%M:%f', expire, '-5 hours')")
        .unwrap();
    for engine in ["scan", "pushdown"] {
        let found = doubted(&check_in(place.path(), engine));
        assert!(found.iter().any(|found| found.contains("stored in local time, about UTC-5")), "{found:?}");
    }
    refused(&run_program_in(place.path(), &[], &["cleanup", "expired"]), &["about UTC-5"]);
}

#[test]
fn one_text_without_an_offset_among_many_puts_the_column_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    // More rows than are sampled to choose a decoder.
    file.execute_batch(
        "CREATE TABLE sessions (sid TEXT PRIMARY KEY, expire TEXT);\n\
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)\n\
         INSERT INTO sessions SELECT 'token-number-' || i, strftime('%Y-%m-%dT%H:%M:%SZ', 'now', \
           '+' || i || ' minutes') FROM n;",
    )
    .unwrap();
    let url = path.display().to_string();
    let mapping = "sessions = \"sessions\"\ntoken = \"sid\"\nexpires = \"expire\"\ndecoder = \"iso-text\"\n";
    let place = configured(&url, mapping, "");
    let cleanup = || run_program_in(place.path(), &[], &["cleanup", "expired", "--grace", "1h"]);
    assert_eq!(cleanup().exit_code, 0);
    file.execute_batch(
        "INSERT INTO sessions VALUES ('token-naive', strftime('%Y-%m-%d %H:%M:%S', 'now', '-2 hours'))",
    )
    .unwrap();
    refused(&cleanup(), &["less than 14 hours"]);
}
