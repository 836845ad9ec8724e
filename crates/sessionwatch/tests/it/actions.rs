//! Remediation: problems are fixed, and what cannot be done is reported. `backends` covers what all databases share.

use serde_json::Value;
use testkit::{Database, ProgramOutput, run_program_in};

use crate::backends::{
    remediation::{TABLE, apply, document, plan},
    sqlite::{configured, file, query},
};

/// A folder with a configuration of a target with both roles, created by the statements of `grants`.
pub(crate) struct Place<'a> {
    pub(crate) folder: tempfile::TempDir,
    database: &'a Database<'a>,
    act: String,
}

impl<'a> Place<'a> {
    /// Uses one of the database's URLs: direct, or through the pooler.
    pub(crate) fn new(database: &'a Database<'a>, port: usize) -> Self {
        let (watch, act) = (testkit::create_role(database, "watch"), testkit::create_role(database, "act"));
        let url = database.url("postgres");
        let said = testkit::run_program(&["grants", &url, "--watch-role", &watch, "--write-role", &act]);
        let grants: String = said
            .stdout
            .lines()
            .filter(|line| !line.starts_with("CREATE ROLE"))
            .map(|line| format!("{line}\n"))
            .collect();
        database.psql(&grants).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let urls = [database.urls(&watch), database.urls(&act)];
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\nwrite_url = \"{}\"\n",
            urls[0][port], urls[1][port]
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        Self { folder, database, act }
    }

    fn run(&self, arguments: &[&str]) -> ProgramOutput {
        run_program_in(self.folder.path(), &[], arguments)
    }

    /// Runs a command and returns its plan as JSON.
    fn plan(&self, arguments: &[&str]) -> Value {
        plan(self.folder.path(), arguments)
    }

    /// Plans and applies. Returns the result and the exit code.
    fn apply(&self, arguments: &[&str]) -> (Value, i32) {
        apply(self.folder.path(), arguments)
    }

    fn count(&self, condition: &str) -> String {
        self.database
            .psql(&format!("SELECT COUNT(*) FROM sessions WHERE {condition}"))
            .unwrap()
            .trim()
            .to_owned()
    }
}

/// Creates a plan with a command, and applies it by its ID.
fn planned(place: &Place<'_>, arguments: &[&str]) -> String {
    place.plan(arguments)["id"].as_str().unwrap().to_owned()
}

#[test]
fn refusals_are_reported_once_and_change_nothing() {
    let database = testkit::anomalous_database();
    let place = Place::new(&database, 0);
    let before = database.psql(TABLE).unwrap();
    let says = |arguments: &[&str], code: i32, parts: &[&str]| {
        let said = place.run(arguments);
        assert_eq!(said.exit_code, code, "{arguments:?}: {} {}", said.stdout, said.stderr);
        for part in parts {
            assert!(said.stderr.contains(part), "{arguments:?} does not say `{part}`: {}", said.stderr);
        }
        assert_eq!(said.stderr.matches("error:").count(), 1, "{}", said.stderr);
    };
    says(
        &["revoke", "user", "4711"],
        2,
        &["user `4711` not found, neither in the users table nor in a session"],
    );
    says(&["revoke", "user", "user1"], 2, &["user `user1` not found", "use the ID of a user", "User 10"]);
    says(
        &["revoke", "session", "token-"],
        2,
        &["`token-` matches several sessions", "user 2", "use the row ID"],
    );
    says(&["revoke", "session", "nothing"], 2, &["no session has that row ID or token prefix"]);
    says(
        &["revoke", "where", "--ip", "::1"],
        2,
        &["`--ip` needs an IP address column", "none is known for this target"],
    );
    says(&["apply", "p-0"], 2, &["plan `p-0` not found"]);
    let id = planned(&place, &["revoke", "all"]);
    says(&["apply", &id], 2, &["100% of the active sessions", "--confirm 'app'"]);
    says(&["apply", &id, "--confirm", "ap"], 2, &["`ap` is not the name of the target"]);
    let key = place.folder.path().join("sessionwatch-archive.key");
    assert!(!key.exists(), "a refused plan creates no key");
    // A missing privilege is named, also if it is revoked in the middle.
    database.psql(&format!("REVOKE DELETE ON sessions FROM {}", place.act)).unwrap();
    says(
        &["apply", &id, "--confirm", "app"],
        3,
        &["lacks DELETE ON \"public\".\"sessions\"", "GRANT DELETE"],
    );
    database.psql(&format!("GRANT DELETE ON sessions TO {}", place.act)).unwrap();
    // A plan of one target cannot be applied to another.
    let text = std::fs::read_to_string(place.folder.path().join("sessionwatch.toml")).unwrap();
    let [direct, pooled] = testkit::shared_server().ports().map(|port| format!(":{port}/"));
    let write = |text: &str| std::fs::write(place.folder.path().join("sessionwatch.toml"), text).unwrap();
    write(&text.replace(&direct, &pooled));
    says(&["apply", &id, "--confirm", "app"], 2, &["another database of that name"]);
    // Other relations are left alone.
    database.psql("CREATE VIEW v AS SELECT * FROM sessions; GRANT SELECT ON v TO PUBLIC").unwrap();
    let mapping = "[target.mapping]\nsessions = \"v\"\ntoken = \"sessionToken\"\nexpires = \"expires\"\n\
        decoder = \"timestamp-utc\"\n";
    write(&format!("{text}{mapping}"));
    says(&["revoke", "all"], 2, &["`v` is a view"]);
    write(&text.lines().filter(|line| !line.starts_with("write_url")).collect::<Vec<_>>().join("\n"));
    says(&["apply", &id, "--confirm", "app"], 2, &["no write credentials", "write_url"]);
    assert_eq!(database.psql(TABLE).unwrap(), before);
}

#[test]
fn an_archive_opens_only_with_its_own_identity() {
    let database = testkit::anomalous_database();
    let place = Place::new(&database, 0);
    let says = |arguments: &[&str], code: i32, part: &str| {
        let said = place.run(arguments);
        assert!(said.exit_code == code && said.stderr.contains(part), "{arguments:?}: {}", said.stderr);
    };
    let (applied, _) = place.apply(&["revoke", "user", "5"]);
    let archive = applied["plan"].as_str().unwrap();
    let back = planned(&place, &["archive", "restore", archive]);
    let key = place.folder.path().join("sessionwatch-archive.key");
    std::fs::rename(&key, place.folder.path().join("away")).unwrap();
    says(&["apply", &back], 2, "restoring needs the archive key");
    std::fs::write(&key, "AGE-SECRET-KEY-1").unwrap();
    says(&["apply", &back], 2, "cannot read an identity");
    let stranger = tempfile::tempdir().unwrap();
    let wrong = stranger.path().join("key");
    sessionwatch_archive::Identity::create_file(&wrong).unwrap();
    let wrong = wrong.display().to_string();
    says(&["apply", &back, "--identity", &wrong], 2, "does not match the archive");
    assert_eq!(place.count("\"userId\" = 5"), "0");
    let away = place.folder.path().join("away").display().to_string();
    let said = place.run(&["apply", &back, "--identity", &away]);
    assert_eq!((said.exit_code, place.count("\"userId\" = 5").as_str()), (0, "9"), "{}", said.stderr);
    says(&["apply", &back, "--identity", &away], 2, "has already been applied");
}

#[test]
fn sessions_are_ended_in_place_if_the_framework_does_so() {
    for (revoke, ended) in [
        ("revoke = \"expire\"\n", "expires <= CAST(strftime('%s', 'now') AS integer) * 1000 + 999"),
        ("revoke = \"flag\"\nrevoke_column = \"active\"\nrevoke_value = \"0\"\n", "active = 0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        file(&path, true);
        let flag = "ALTER TABLE sessions ADD COLUMN active integer NOT NULL DEFAULT 1";
        rusqlite::Connection::open(&path).unwrap().execute_batch(flag).unwrap();
        configured(folder.path(), revoke);
        let before = query(&path, TABLE);
        let (applied, code) = apply(folder.path(), &["revoke", "user", "5"]);
        assert_eq!(
            (code, &applied["done"], &applied["still_matching"]),
            (0, &9.into(), &0.into()),
            "{applied:#}"
        );
        let count =
            format!("SELECT COUNT(*), COUNT(*) FILTER (WHERE {ended}) FROM sessions WHERE \"userId\" = 5");
        assert_eq!(query(&path, &count), "9|9\n", "the rows stay");
        let again = plan(folder.path(), &["revoke", "user", "5"]);
        assert_eq!(again["rows"], 0, "what has ended is not ended again");
        let (restored, code) =
            apply(folder.path(), &["archive", "restore", applied["plan"].as_str().unwrap()]);
        assert_eq!((code, &restored["done"]), (0, &9.into()), "{restored:#}");
        assert_eq!(query(&path, TABLE), before, "{revoke}");
        // Sessions that are ended already are still removed.
        let (removed, _) = apply(folder.path(), &["cleanup", "expired", "--grace", "24h"]);
        assert_eq!(
            (&removed["done"], query(&path, "SELECT COUNT(*) FROM sessions")),
            (&107.into(), "134\n".into())
        );
    }
}

#[test]
fn sessions_on_a_server_are_ended_in_place_too() {
    let database = testkit::anomalous_database();
    database.psql("ALTER TABLE sessions ADD COLUMN active boolean NOT NULL DEFAULT true").unwrap();
    let before = database.psql(TABLE).unwrap();
    for (port, revoke, ended) in [
        (0, "revoke = \"expire\"\n", "expires <= now()"),
        (1, "revoke = \"flag\"\nrevoke_column = \"active\"\nrevoke_value = \"false\"\n", "NOT active"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let url = &database.urls("postgres")[port];
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n\
             [target.mapping]\nsessions = \"sessions\"\nid = \"id\"\n\
             token = \"sessionToken\"\nexpires = \"expires\"\ndecoder = \"timestamp-utc\"\nuser = \"userId\"\n\
             users = \"users\"\n{revoke}"
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        let (applied, code) = apply(folder.path(), &["revoke", "user", "5"]);
        assert_eq!(
            (code, &applied["done"], &applied["still_matching"]),
            (0, &9.into(), &0.into()),
            "{applied:#}"
        );
        let count = format!("SELECT COUNT(*) FROM sessions WHERE \"userId\" = 5 AND {ended}");
        assert_eq!(database.psql(&count).unwrap(), "9\n");
        let (restored, code) =
            apply(folder.path(), &["archive", "restore", applied["plan"].as_str().unwrap()]);
        assert_eq!((code, &restored["done"]), (0, &9.into()), "{restored:#}");
        assert_eq!(database.psql(TABLE).unwrap(), before);
    }
}

#[test]
fn doctor_reports_missing_privileges_of_the_write_role() {
    let database = testkit::anomalous_database();
    let place = Place::new(&database, 0);
    let line = || {
        let said = place.run(&["doctor"]);
        let lines = said.stdout.lines().skip_while(|line| !line.contains("write-role:")).take(2);
        lines.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    assert!(
        line().starts_with(&format!("pass  write-role: `{}` can revoke and restore sessions", place.act)),
        "{}",
        line()
    );
    database.psql(&format!("REVOKE INSERT ON sessions FROM {}", place.act)).unwrap();
    let grant = format!("→ GRANT INSERT ON \"public\".\"sessions\" TO \"{}\";", place.act);
    assert!(line().starts_with("fail  write-role:") && line().contains(&grant), "{}", line());
    database.psql(&format!("ALTER ROLE {} NOLOGIN", place.act)).unwrap();
    assert!(line().contains("cannot inspect the write role: cannot connect"), "{}", line());
}

#[test]
fn init_creates_a_key_when_asked_and_writes_its_recipient() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder.path().join("app.db"), true);
    let said = run_program_in(folder.path(), &[], &["init", "app.db"]);
    assert!(
        said.exit_code == 0 && !folder.path().join("sessionwatch-archive.key").exists(),
        "{}",
        said.stderr
    );
    let asked = ["init", "app.db", "--force", "--archive-identity", "sessionwatch-archive.key"];
    let said = run_program_in(folder.path(), &[], &asked);
    assert!(said.exit_code == 0 && said.stderr.contains("move it to a safe place"), "{}", said.stderr);
    let key = folder.path().join("sessionwatch-archive.key");
    let recipient = sessionwatch_archive::Identity::read_file(&key).unwrap().recipient().to_string();
    let text = std::fs::read_to_string(folder.path().join("sessionwatch.toml")).unwrap();
    assert!(text.contains(&format!("archive_recipient = \"{recipient}\"\n")), "{text}");
    // Rows are encrypted for the recipient even if the identity file has been moved away.
    std::fs::rename(&key, folder.path().join("away")).unwrap();
    let (applied, code) = apply(folder.path(), &["revoke", "user", "5"]);
    assert_eq!((code, &applied["done"]), (0, &9.into()), "{applied:#}");
    assert!(!key.exists());
    let said = run_program_in(folder.path(), &[], &["archive", "list", "--format", "json"]);
    assert_eq!(document(&said)["archives"][0]["recipient"], recipient);
}

#[test]
fn steps_beyond_the_session_table_are_named() {
    let database = testkit::healthy_database();
    let url = database.url("postgres");
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| run_program_in(folder.path(), &[("DATABASE_URL", &url)], arguments);
    // Logins that no table stores.
    database.psql("DELETE FROM sessions; INSERT INTO accounts VALUES ('a', 1)").unwrap();
    for command in [&["revoke", "all"][..], &["incident", "open", "--severity", "P0"]] {
        let said = run(command);
        assert!(
            said.exit_code == 0 && said.stdout.contains("a new AUTH_SECRET"),
            "{} {}",
            said.stdout,
            said.stderr
        );
    }
    let better = testkit::shared_server().create_database(None).unwrap();
    better
        .psql(
            "CREATE TABLE \"user\" (id text PRIMARY KEY, name text, email text);
             CREATE TABLE session (id text PRIMARY KEY, token text UNIQUE, \"userId\" text, \"expiresAt\" timestamptz, \
               \"createdAt\" timestamptz, \"ipAddress\" text, \"userAgent\" text);
             INSERT INTO \"user\" VALUES ('u1', 'Ada', 'ada@example.org');
             INSERT INTO session VALUES ('s1', 'token-1', 'u1', now() + interval '1 day', now(), '::1', 'x')",
        )
        .unwrap();
    let said = run(&["revoke", "where", "--ip", "::1", "--user-agent-like", "X", &better.url("postgres")]);
    assert!(said.stdout.contains("delete 1 of 1 row"), "{} {}", said.stdout, said.stderr);
    assert!(
        said.stdout.contains("cookieCache") && said.stdout.contains("secondaryStorage"),
        "{}",
        said.stdout
    );
}

#[test]
fn rows_that_moved_or_are_locked_need_no_more_privileges_than_grants_gives() {
    let database = testkit::anomalous_database();
    let place = Place::new(&database, 0);
    let id = planned(&place, &["cleanup", "expired"]);
    // New versions of the same rows at other addresses, and a lock that an application holds.
    database.psql("UPDATE sessions SET expires = expires WHERE id LIKE 'x%'").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dsn = pg_link::Dsn::parse(&database.url("postgres")).unwrap();
    let holder = runtime.block_on(pg_link::PgConnection::<pg_link::NoRows>::open(&dsn)).unwrap();
    let hold = "BEGIN; SELECT 1 FROM sessions WHERE id = 'x100' FOR UPDATE";
    runtime.block_on(holder.client().batch_execute(hold)).unwrap();
    let said = place.run(&["apply", &id, "--confirm", "app", "--format", "json"]);
    let applied = document(&said)["applied"].clone();
    assert_eq!(
        (&applied["done"], &applied["skipped"]),
        (&106.into(), &1.into()),
        "{applied:#} {}",
        said.stderr
    );
    assert_eq!(applied["rows"][0]["id"], "x100");
    drop(holder);
    assert_eq!(place.count("id LIKE 'x%' AND CAST(substr(id, 2) AS integer) >= 24"), "1");
}

#[test]
fn triggers_in_a_file_remove_no_rows_that_the_plan_does_not_name() {
    for (hook, done, code) in [
        // Keeps some of the rows.
        ("BEFORE DELETE ON sessions WHEN OLD.id = 'm1' BEGIN SELECT RAISE(IGNORE); END", 8, 1),
        // Removes other rows too.
        ("AFTER DELETE ON sessions BEGIN DELETE FROM sessions WHERE \"userId\" = 7; END", 0, 3),
        ("BEFORE DELETE ON sessions BEGIN UPDATE sessions SET expires = 0 WHERE \"userId\" = 7; END", 0, 3),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        file(&path, true);
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch(&format!("CREATE TRIGGER hook {hook}"))
            .unwrap();
        configured(folder.path(), "");
        let before = query(&path, TABLE);
        let id = plan(folder.path(), &["revoke", "user", "5"])["id"].as_str().unwrap().to_owned();
        let said = run_program_in(folder.path(), &[], &["apply", &id, "--confirm", "app"]);
        let count = format!("SELECT {} - COUNT(*) FROM sessions", before.lines().count());
        assert_eq!(
            (said.exit_code, query(&path, &count)),
            (code, format!("{done}\n")),
            "{hook}: {} {}",
            said.stdout,
            said.stderr
        );
        if done == 0 {
            assert!(
                said.stderr.contains("foreign key of `sessions` would change rows that are not in the plan"),
                "{}",
                said.stderr
            );
            assert_eq!(query(&path, TABLE), before);
        }
    }
}

#[test]
fn applying_a_plan_takes_one_read_and_one_write_connection() {
    let database = testkit::anomalous_database();
    let place = Place::new(&database, 0);
    let id = planned(&place, &["cleanup", "expired", "--grace", "24h"]);
    let ask = |query: &str| -> u64 {
        let query = format!("{query} WHERE datname = '{}'", database.name());
        testkit::shared_server().psql("postgres", &query).unwrap().trim().parse().unwrap()
    };
    let connections = || {
        // A connection is counted once it has ended.
        testkit::wait_until("the end of all connections", || {
            ask("SELECT count(*) FROM pg_stat_activity") == 0
        });
        ask("SELECT sessions FROM pg_stat_database")
    };
    let before = connections();
    let said = place.run(&["apply", &id, "--confirm", "app"]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    assert_eq!(connections() - before, 2);
}
