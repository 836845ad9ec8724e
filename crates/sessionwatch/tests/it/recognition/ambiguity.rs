//! If several tables match, nothing is planned until the user chooses one.

use std::path::Path;

use serde_json::{Value, json};
use testkit::run_program_in;

use super::{Store, check};
use crate::fastforward::{MINUTE, Watch};

#[test]
fn nothing_is_planned_while_two_tables_match() {
    let database = testkit::healthy_database();
    database
        .psql(
            "CREATE SCHEMA auth; CREATE TABLE auth.sessions (LIKE sessions INCLUDING ALL); \
             CREATE TABLE logins AS TABLE sessions",
        )
        .unwrap();
    let store = Store::Server(database);
    let folder = store.configured("[target.cleanup]\nexpired = true\n");
    let (said, report) = check(folder.path());
    assert_eq!((said.exit_code, &report["result"]), (3, &json!("unknown")), "{report:#}");
    assert!(report["checks"].to_string().contains("`public.logins` (Auth.js with Prisma)"), "{report:#}");
    for plan in
        [&["revoke", "all"][..], &["cleanup", "expired"], &["cleanup", "orphaned"], &["revoke", "user", "3"]]
    {
        let said = run_program_in(folder.path(), &[], plan);
        assert!(
            said.exit_code == 2
                && ["public.sessions", "auth.sessions", "public.logins"]
                    .iter()
                    .all(|table| said.stderr.contains(&format!("sessions = \"{table}\""))),
            "{} {}",
            said.stdout,
            said.stderr
        );
    }
    programs_are_refused(folder.path());
    // A file of `init` does not choose a table by itself, and keeps what is known of the framework.
    let Store::Server(database) = &store else { unreachable!() };
    let init = testkit::run_program(&["init", &database.url("postgres"), "--output", "-"]);
    assert!(
        init.stdout.contains("\nprofile = \"authjs-prisma\"\n")
            && init.stdout.contains("\n# sessions = \"public.sessions\"\n")
            && init.stdout.contains("\n# sessions = \"auth.sessions\"\n"),
        "{}",
        init.stdout
    );
    assert!(init.stderr.contains("Ambiguous"), "{}", init.stderr);
    store.configure(folder.path(), "profile = \"authjs-prisma\"\nsessions = \"public.sessions\"");
    let (said, report) = check(folder.path());
    assert_eq!((said.exit_code, &report["table"]), (0, &json!("public.sessions")), "{report:#}");
    let plan = run_program_in(folder.path(), &[], &["revoke", "user", "3"]);
    assert!(
        plan.exit_code == 0 && plan.stdout.contains("Table: public.sessions (Auth.js with Prisma)."),
        "{}",
        plan.stderr
    );
    store.configure(folder.path(), "sessions = \"auth.sesions\"");
    let (said, _) = check(folder.path());
    assert!(said.exit_code == 2 && said.stderr.contains("sesions"), "{}", said.stderr);
    store.configure(folder.path(), "sessions = \"public.accounts\"");
    let (said, _) = check(folder.path());
    assert!(
        said.exit_code == 2
            && said.stderr.contains("table `public.accounts` does not match any known layout"),
        "{}",
        said.stderr
    );
}

/// API clients cannot plan anything either.
fn programs_are_refused(folder: &Path) {
    testkit::create_account(folder, "ada", "admin");
    let token =
        run_program_in(folder, &[], &["tokens", "add", "ada", "--label", "bot", "--scope", "read,actions"])
            .stdout;
    let watch = testkit::DaemonProcess::start(folder);
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer =
        testkit::http::post(&watch.address, "/api/v1/targets/app/plans", &headers, b"{\"kind\":\"all\"}");
    let (status, answer) = (answer.status, answer.body);
    assert!(status == 409 && answer.contains("auth.sessions"), "{status} {answer}");
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn partitions_and_views_do_not_make_a_table_ambiguous() {
    let store = Store::Server(testkit::healthy_database());
    store.run(
        "ALTER TABLE sessions RENAME TO stored;
               CREATE TABLE sessions (LIKE stored) PARTITION BY HASH (id);
               CREATE TABLE sessions_0 PARTITION OF sessions FOR VALUES WITH (modulus 2, remainder 0);
               CREATE TABLE sessions_1 PARTITION OF sessions FOR VALUES WITH (modulus 2, remainder 1);
               INSERT INTO sessions SELECT * FROM stored; DROP TABLE stored;
               CREATE VIEW active_sessions AS SELECT * FROM sessions WHERE expires > now()",
    );
    let folder = store.configured("");
    let (said, report) = check(folder.path());
    assert_eq!((said.exit_code, &report["table"]), (0, &json!("public.sessions")), "{report:#}");
    let init = testkit::run_program(&["init", &store.url(), "--output", "-"]);
    assert!(
        init.stdout.contains("\nprofile = \"authjs-prisma\"\n") && !init.stdout.contains("Not certain"),
        "{}",
        init.stdout
    );
}

#[test]
fn nothing_is_planned_on_another_table_until_it_is_confirmed() {
    for server in [true, false] {
        let store = Store::new(server);
        store.run(
            "CREATE TABLE users (id text PRIMARY KEY, name text); INSERT INTO users VALUES ('u1', 'x'), ('u2', 'y')",
        );
        store.tokens("sessions", ["sessionToken", "userId", "expires"], "");
        let folder = store.configured("");
        let run = |arguments: &[&str]| run_program_in(folder.path(), &[], arguments);
        let none = run(&["targets", "confirm", "app"]);
        assert!(none.exit_code == 2 && none.stderr.contains("run `sessionwatch serve`"), "{}", none.stderr);
        let all = &["revoke", "all"][..];
        assert_eq!(run(all).exit_code, 0);
        let plan = run(&["cleanup", "expired", "--format", "json"]);
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        // The table is moved away, and later another one takes its name.
        store.run("ALTER TABLE sessions RENAME TO logins");
        let changed = run(all);
        assert_eq!(changed.exit_code, 3, "{}", changed.stdout);
        for part in [
            "the session table changed from `",
            "sessions` (`sessionToken`",
            "to `",
            "logins` (",
            "targets confirm app",
        ] {
            assert!(changed.stderr.contains(part), "{part}: {}", changed.stderr);
        }
        let id = plan["plan"]["id"].as_str().unwrap();
        let applied = run(&["apply", id, "--confirm", "app"]);
        assert!(applied.exit_code == 3 && applied.stderr.contains("changed from"), "{}", applied.stderr);
        assert_eq!(store.count("logins"), 2);
        let confirmed = run(&["targets", "confirm", "app", "--as", "ada"]);
        assert!(
            confirmed.exit_code == 0 && confirmed.stdout.contains("logins` (`sessionToken`"),
            "{} {}",
            confirmed.stdout,
            confirmed.stderr
        );
        assert_eq!(run(all).exit_code, 0);
        // An earlier plan applies to the earlier table.
        let applied = run(&["apply", id, "--confirm", "app"]);
        assert!(
            applied.exit_code == 2 && applied.stderr.contains("was created for table"),
            "{}",
            applied.stderr
        );
        columns_are_part_of_it(&store, folder.path());
    }
}

/// Other columns of the same table are another layout too; a mapping confirms it.
fn columns_are_part_of_it(store: &Store, folder: &Path) {
    let all = &["revoke", "all"][..];
    let run = |arguments: &[&str]| run_program_in(folder, &[], arguments);
    store.run(
        "ALTER TABLE logins RENAME COLUMN \"sessionToken\" TO session_token; \
         ALTER TABLE logins RENAME COLUMN \"userId\" TO user_id",
    );
    let changed = run(all);
    assert!(
        changed.exit_code == 3 && changed.stderr.contains("(`session_token`, `user_id`"),
        "{}",
        changed.stderr
    );
    store.configure(folder, "sessions = \"logins\"");
    assert_eq!(run(all).exit_code, 0);
    store.run("ALTER TABLE logins RENAME TO passes");
    let gone = run(all);
    assert!(gone.exit_code == 2 && gone.stderr.contains("logins"), "{}", gone.stderr);
    store.configure(folder, "");
    let changed = run(all);
    assert_eq!(changed.exit_code, 0, "{}", changed.stderr);
    store.run("DROP TABLE passes");
    let gone = run(all);
    assert!(gone.exit_code == 3 && gone.stderr.contains("was the session table before"), "{}", gone.stderr);
    let kept = rusqlite::Connection::open(folder.join("sessionwatch-state.db")).unwrap();
    let by = "SELECT group_concat(actor, ' ') FROM (SELECT DISTINCT actor FROM audit \
        WHERE action = 'target.layout_confirmed' ORDER BY id)";
    let by: String = kept.query_row(by, [], |row| row.get(0)).unwrap();
    assert_eq!(by, "ada the configuration");
    let list = run(&["targets", "list", "--format", "json"]);
    assert!(list.stdout.contains("passes"), "{}", list.stdout);
}

#[test]
fn the_daemon_does_not_switch_to_another_table_by_itself() {
    let store = Store::Server(testkit::healthy_database());
    let folder = store.configured("[target.cleanup]\nexpired = true\n");
    testkit::create_account(folder.path(), "ada", "admin");
    let token = run_program_in(
        folder.path(),
        &[],
        &["tokens", "add", "ada", "--label", "bot", "--scope", "read,actions"],
    )
    .stdout;
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let text = std::fs::read_to_string(folder.path().join("sessionwatch.toml")).unwrap();
    let now = sessionwatch_clock::now();
    let started = |minutes: i32| Watch::start(folder.path(), &text, now + minutes * MINUTE);
    let report = |watch: &Watch| {
        testkit::http::get_with_headers(&watch.address, "/api/v1/targets/app", &headers).parse_json()["report"].clone()
    };
    let mut watch = started(0);
    assert_eq!(report(&watch)["table"], "public.sessions");
    store.run("ALTER TABLE sessions RENAME TO sessions_old;
               CREATE TABLE sessions (id text PRIMARY KEY, token text, user_id text, expires_at bigint);
               INSERT INTO sessions SELECT n::text, 'one-token', n::text, 4102444800 FROM generate_series(1, 50) AS n");
    watch.to(now + 5 * MINUTE);
    let changed = report(&watch);
    let said = changed["error"].as_str().unwrap();
    assert!(said.contains("the session table changed from `public.sessions`"), "{changed:#}");
    assert!(
        changed["checks"].as_array().unwrap().iter().all(|check| check["result"] == "unknown"),
        "{changed:#}"
    );
    let answer =
        testkit::http::post(&watch.address, "/api/v1/targets/app/plans", &headers, b"{\"kind\":\"all\"}");
    let (status, answer) = (answer.status, answer.body);
    assert!(status >= 400 && answer.contains("changed from"), "{status} {answer}");
    // Commands do not use another table either.
    for command in [&["check"][..], &["doctor", "app"], &["sessions", "list"], &["sql", "query-1"]] {
        let said = run_program_in(folder.path(), &[], command);
        assert!(
            said.exit_code == 3 && said.stderr.contains("the session table changed from `public.sessions`"),
            "{command:?}: {} {}",
            said.stdout,
            said.stderr
        );
    }
    assert!(watch.stop());
    // A restart does not forget this; a confirmation ends it.
    let mut watch = started(10);
    assert!(report(&watch)["error"].as_str().unwrap().contains("changed from"), "{:#}", report(&watch));
    store.run("DROP TABLE sessions; ALTER TABLE sessions_old RENAME TO logins");
    let confirmed = run_program_in(folder.path(), &[], &["targets", "confirm", "app", "--as", "ada"]);
    assert_eq!(confirmed.exit_code, 0, "{}", confirmed.stderr);
    watch.to(now + 20 * MINUTE);
    assert_eq!(report(&watch)["table"], "public.logins");
    assert!(watch.stop());
}
