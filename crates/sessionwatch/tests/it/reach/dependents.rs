//! Dependent rows of other tables, and triggers and rules that prevent a deletion.

use serde_json::Value;
use testkit::run_program_in;

use super::{CARTS, EACH, apply, configured, document, grant, plan, roles};

/// Side effects that a plan announces: kind, table and rows.
fn besides(plan: &Value) -> Vec<(String, String, Option<u64>)> {
    let text =
        |effect: &Value, key: &str| effect[key].as_str().unwrap().replace('"', "").replace("public.", "");
    let one = |effect: &Value| (text(effect, "kind"), text(effect, "table"), effect["rows"].as_u64());
    plan["side_effects"].as_array().unwrap().iter().map(one).collect()
}

fn effect(kind: &str, table: &str, rows: Option<u64>) -> (String, String, Option<u64>) {
    (kind.into(), table.into(), rows)
}

#[test]
fn dependent_rows_are_counted_and_confirmed() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let (watch, _) = roles(&database, folder.path());
    let place = folder.path();
    let cleanup = ["cleanup", "expired"];
    database.psql(&format!("REVOKE SELECT (cart) ON items FROM {watch}")).unwrap();
    let counted = plan(place, &cleanup);
    let expected = [
        effect("cascade", "carts", Some(500)),
        effect("set-null", "orders", Some(50)),
        // The role cannot read a table behind the next one.
        effect("cascade", "items", None),
    ];
    assert_eq!(besides(&counted), expected, "{counted:#}");
    let notes = counted["notes"].to_string();
    assert!(
        notes.contains("also deletes 500 rows of") && notes.contains("and restored with their sessions"),
        "{notes}"
    );
    assert!(notes.contains("the old values are not archived"), "{notes}");
    assert!(
        notes.contains("an unknown number of rows of") && !notes.contains("no active session is affected"),
        "{notes}"
    );
    assert!(
        counted["needs_confirmation"].to_string().contains("has 3 side effects beyond the selected sessions")
    );
    let said = apply(place, &counted, false);
    assert!(said.exit_code == 2 && said.stderr.contains("--confirm 'app'"), "{said:?}");
    database.psql(&format!("GRANT SELECT (cart) ON items TO {watch}")).unwrap();
    let counted = plan(place, &cleanup);
    let items = database
        .psql("SELECT count(*) FROM items JOIN carts ON carts.id = cart WHERE session_id LIKE 's%'")
        .unwrap();
    assert_eq!(besides(&counted)[2], effect("cascade", "items", items.trim().parse().ok()));
    let doctor = run_program_in(place, &[], &["doctor"]);
    assert!(
        doctor.stdout.contains("warn  side-effects") && doctor.stdout.contains("ON DELETE SET NULL"),
        "{}",
        doctor.stdout
    );
    // A plan that does not mention a trigger does not run it.
    let trigger = "CREATE FUNCTION forget() RETURNS trigger \
        LANGUAGE plpgsql AS 'BEGIN DELETE FROM users WHERE id = OLD.\"userId\"; RETURN OLD; END';
        CREATE TRIGGER forgets AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION forget()";
    database.psql(trigger).unwrap();
    let said = apply(place, &counted, true);
    assert!(said.exit_code == 3 && said.stderr.contains("trigger `forgets`"), "{said:?}");
    assert!(besides(&plan(place, &cleanup)).contains(&effect("trigger", "sessions", None)));
    // A disabled trigger does not run.
    database.psql("ALTER TABLE sessions DISABLE TRIGGER forgets").unwrap();
    let said = apply(place, &counted, true);
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    assert_eq!(database.psql("SELECT count(*) FROM carts").unwrap(), "100\n");
    // Ending sessions in place deletes nothing.
    let url = database.url("postgres");
    let mapping = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"sessionToken\"\n\
        expires = \"expires\"\ndecoder = \"timestamp-utc\"\nuser = \"userId\"\nrevoke = \"expire\"\n";
    configured(place, &url, &url, mapping);
    assert_eq!(besides(&plan(place, &["revoke", "user", "u1"])), []);
}

#[test]
fn dependent_rows_are_archived_and_restored_with_their_session() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let (watch, act) = roles(&database, folder.path());
    let place = folder.path();
    let cleanup = ["cleanup", "expired"];
    let counted = plan(place, &cleanup);
    // A role that could not restore the dependent rows deletes nothing.
    database.psql(&format!("REVOKE INSERT ON items FROM {act}")).unwrap();
    let said = apply(place, &counted, true);
    assert!(
        said.exit_code == 3 && said.stderr.contains("lacks INSERT ON \"public\".\"items\""),
        "{}",
        said.stderr
    );
    let doctor = run_program_in(place, &[], &["doctor"]);
    assert!(doctor.stdout.contains("INSERT ON \"public\".\"items\""), "{}", doctor.stdout);
    grant(&database, &watch, &act);
    let said = apply(place, &counted, true);
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    assert_eq!(database.psql("SELECT count(*) FROM carts").unwrap(), "100\n");
    let gone = document(&said)["applied"].clone();
    assert_eq!(
        gone["dependents"][0],
        serde_json::json!({ "table": "public.carts", "done": 500, "refused": 0 })
    );
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let back = plan(place, &restore);
    let notes = back["notes"].to_string();
    assert!(
        notes.contains("also restores the rows of") && notes.contains("(500 when that plan was created)"),
        "{notes}"
    );
    // A cart that exists again stays, and the archived items do not move into it.
    database.psql("INSERT INTO carts VALUES (1, 'l1')").unwrap();
    let said = apply(place, &back, true);
    let back = document(&said)["applied"].clone();
    assert_eq!((said.exit_code, &back["done"]), (1, &50.into()), "{back:#}");
    assert_eq!(
        back["dependents"][0],
        serde_json::json!({ "table": "public.carts", "done": 499, "refused": 1 })
    );
    assert_eq!(database.psql("SELECT count(*) FROM items WHERE cart = 1").unwrap(), "0\n");
    // Only the items of that session are skipped.
    let items: u64 =
        database.psql("SELECT count(*) FROM items WHERE cart <= 500").unwrap().trim().parse().unwrap();
    assert_eq!(items, 1000 - 20, "of ten carts, with two items each");
}

#[test]
fn triggers_and_rules_that_prevent_a_deletion_are_named() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(EACH).unwrap();
    let url = database.url("postgres");
    configured(folder.path(), &url, &url, "");
    database
        .psql(
            "CREATE FUNCTION keep() RETURNS trigger \
               LANGUAGE plpgsql AS 'BEGIN IF OLD.id = ''s3'' THEN RETURN NULL; END IF; RETURN OLD; END';
             CREATE TRIGGER keeps BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION keep()",
        )
        .unwrap();
    let revoke = ["revoke", "user", "u4"];
    let kept = plan(folder.path(), &revoke);
    assert_eq!(besides(&kept), [effect("trigger-before", "sessions", None)]);
    let said = apply(folder.path(), &kept, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.exit_code, &done["done"], &done["skipped"]), (1, &1.into(), &1.into()), "{done:#}");
    assert_eq!(done["rows"][0]["why"], "kept by a BEFORE trigger on the table");
    database
        .psql("DROP TRIGGER keeps ON sessions; CREATE RULE stays AS ON DELETE TO sessions DO INSTEAD NOTHING")
        .unwrap();
    let said = run_program_in(folder.path(), &[], &revoke);
    assert!(
        said.exit_code == 3 && said.stderr.contains("has the rule `stays` (DO INSTEAD)"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    database
        .psql(
            "DROP RULE stays ON sessions; \
             CREATE RULE more AS ON DELETE TO sessions DO ALSO DELETE FROM users WHERE id = OLD.\"userId\"",
        )
        .unwrap();
    let ruled = plan(folder.path(), &["revoke", "user", "u9"]);
    assert_eq!(besides(&ruled), [effect("rule", "sessions", None)]);
    let said = apply(folder.path(), &ruled, false);
    assert!(
        said.exit_code == 2 && said.stderr.contains("1 side effect beyond the selected sessions"),
        "{}",
        said.stderr
    );
}

#[test]
fn dependent_rows_in_a_file_are_counted_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    let live = "CAST(strftime('%s', 'now') AS integer) * 1000 + 86400000";
    file.execute_batch(&format!(
        "CREATE TABLE Sessions (id text PRIMARY KEY, token text NOT NULL, expires integer NOT NULL, \
           parent text REFERENCES sessions ON DELETE CASCADE);
         CREATE TABLE carts (id integer PRIMARY KEY, session text REFERENCES SESSIONS ON DELETE CASCADE);
         CREATE TABLE orders (session text REFERENCES sessions(id) ON DELETE SET NULL);
         CREATE TABLE log (what text);
         CREATE TRIGGER \"before delete\" AFTER UPDATE ON orders BEGIN INSERT INTO log VALUES ('order'); END;
         CREATE TRIGGER keeps BEFORE DELETE ON sessions WHEN OLD.id = 'b' BEGIN SELECT RAISE(IGNORE); END;
         INSERT INTO sessions VALUES ('a', 'token-a', {live}, NULL), ('b', 'token-b', {live}, NULL), \
           ('c', 'token-c', {live}, 'a'), ('d', 'token-d', {live}, 'd');
         INSERT INTO carts (session) VALUES ('a'), ('a'), ('c'), (NULL); INSERT INTO orders VALUES ('a'), ('b');"
    ))
    .unwrap();
    let mapping = "[target.mapping]\nsessions = \"Sessions\"\nid = \"id\"\ntoken = \"token\"\nexpires = \"expires\"\n\
        decoder = \"epoch-ms\"\n";
    let text = format!("[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n{mapping}");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let revoke = ["revoke", "session", "a"];
    let one = plan(folder.path(), &revoke);
    let expected = [
        effect("trigger-before", "sessions", None),
        effect("cascade", "sessions", Some(1)),
        // Includes the cart of the dependent session.
        effect("cascade", "carts", Some(3)),
        effect("set-null", "orders", Some(1)),
        effect("trigger", "orders", None),
    ];
    let mut found = besides(&one);
    found.sort_by_key(|(kind, table, _)| expected.iter().position(|one| (&one.0, &one.1) == (kind, table)));
    assert_eq!(found, expected);
    let said = apply(folder.path(), &one, false);
    assert!(said.exit_code == 2 && said.stderr.contains("5 side effects"), "{} {}", said.stdout, said.stderr);
    let all = plan(folder.path(), &["revoke", "all"]);
    assert!(
        besides(&all).contains(&effect("cascade", "sessions", Some(0))),
        "the plan names them itself: {all:#}"
    );
    let said = apply(folder.path(), &plan(folder.path(), &["revoke", "session", "b"]), true);
    let done = document(&said)["applied"].clone();
    assert_eq!(done["rows"][0]["why"], "kept by a BEFORE trigger on the table", "{done:#}");
}

#[test]
fn a_session_stays_if_its_dependent_rows_stay() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let (_, act) = roles(&database, folder.path());
    let keeps = "CREATE FUNCTION keep() RETURNS trigger \
        LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 502 THEN RETURN NULL; END IF; RETURN OLD; END';
        CREATE TRIGGER keeps BEFORE DELETE ON carts FOR EACH ROW EXECUTE FUNCTION keep();
        INSERT INTO carts SELECT 1000 + n, 'l' || (7 + n % 2) FROM generate_series(1, 30000) AS n";
    database.psql(keeps).unwrap();
    let all = ["revoke", "all"];
    let planned = plan(folder.path(), &all);
    // Without row counters, further deleted rows could not be detected.
    database.psql(&format!("ALTER ROLE {act} SET track_counts = off")).unwrap();
    let said = apply(folder.path(), &planned, true);
    assert!(said.exit_code == 3 && said.stderr.contains("track_counts = off"), "{}", said.stderr);
    database.psql(&format!("ALTER ROLE {act} RESET track_counts")).unwrap();
    // More dependent rows than one batch reads, one of which stays with its session.
    let said = apply(folder.path(), &planned, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.exit_code, &done["done"], &done["skipped"]), (1, &99.into(), &1.into()), "{done:#}");
    assert_eq!(
        done["rows"][0]["why"],
        "dependent rows of other tables were changed in the meantime, or a trigger keeps them"
    );
    assert_eq!(done["dependents"][0]["done"], 30_598, "all but the two carts of that session");
    let left = "SELECT s.id, count(*) FROM sessions AS s JOIN carts ON session_id = s.id \
        WHERE s.expires > now() GROUP BY s.id";
    assert_eq!(database.psql(left).unwrap(), "l3|2\n");
    let restore = ["archive", "restore", done["plan"].as_str().unwrap()];
    let said = apply(folder.path(), &plan(folder.path(), &restore), true);
    assert_eq!(
        document(&said)["applied"]["dependents"][0]["done"],
        30_598,
        "{} {}",
        said.stdout,
        said.stderr
    );
    assert_eq!(database.psql("SELECT count(*) FROM carts WHERE id > 500").unwrap(), "30100\n");
}
