//! init, doctor, grants, sessions, sql and config, in the order in which a user runs them.

#[test]
fn init_writes_a_file_that_the_other_commands_accept() {
    let database = testkit::healthy_database();
    let folder = tempfile::tempdir().unwrap();
    let url = database.url("postgres");
    let none = testkit::run_program_in(folder.path(), &[], &["config", "check"]);
    assert!(none.exit_code == 2 && none.stderr.contains("no sessionwatch.toml"), "{}", none.stderr);
    let made = testkit::run_program_in(folder.path(), &[], &["init", &url]);
    assert_eq!(made.exit_code, 0, "{}", made.stderr);
    assert!(
        made.stderr.contains("Auth.js with Prisma") && made.stderr.contains("does not prevent"),
        "{}",
        made.stderr
    );
    let file = std::fs::read_to_string(folder.path().join("sessionwatch.toml")).unwrap();
    assert!(file.contains("profile = \"authjs-prisma\"") && !file.contains("testkit"), "{file}");
    let again = testkit::run_program_in(folder.path(), &[], &["init", &url]);
    assert!(again.exit_code == 2 && again.stderr.contains("--force"), "{}", again.stderr);
    let unset = testkit::run_program_in(folder.path(), &[], &["config", "check"]);
    assert!(unset.exit_code == 2 && unset.stderr.contains("DATABASE_URL is not set"), "{}", unset.stderr);
    // Frameworks keep the variables of the application in such a file.
    std::fs::write(folder.path().join(".env.local"), format!("DATABASE_URL=\"{url}\"\n")).unwrap();
    let beside = testkit::run_program_in(folder.path(), &[], &["check", "--only", "duplicate-tokens"]);
    assert_eq!(beside.exit_code, 0, "{}", beside.stderr);
    std::fs::remove_file(folder.path().join(".env.local")).unwrap();
    // The variables of libpq name the database too, and may hold the password elsewhere.
    let (socket, port) = testkit::shared_server().socket_address();
    let (socket, port) = (socket.display().to_string(), port.to_string());
    let libpq = [
        ("PGHOST", socket.as_str()),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
        ("PGDATABASE", database.name()),
    ];
    let own = tempfile::tempdir().unwrap();
    let made = testkit::run_program_in(own.path(), &libpq, &["init"]);
    assert!(
        made.exit_code == 0 && made.stdout.contains("is read from PGPASSWORD"),
        "{}{}",
        made.stdout,
        made.stderr
    );
    let checked = testkit::run_program_in(own.path(), &[], &["check", "--only", "duplicate-tokens"]);
    assert_eq!(checked.exit_code, 0, "{}", checked.stderr);
    std::fs::create_dir(own.path().join(".git")).unwrap();
    let planned = testkit::run_program_in(own.path(), &[], &["cleanup", "expired"]);
    assert!(
        planned.stderr.contains("note: this is a git work tree: add `sessionwatch-*`"),
        "{}",
        planned.stderr
    );
    let pooled = &database.urls("postgres")[1];
    let variables = [("DATABASE_URL", pooled.as_str())];
    assert_eq!(testkit::run_program_in(folder.path(), &variables, &["config", "check"]).exit_code, 0);
    let named =
        testkit::run_program_in(folder.path(), &variables, &["check", "main", "--only", "duplicate-tokens"]);
    assert_eq!(named.exit_code, 0, "{}", named.stderr);
    let near = testkit::run_program_in(folder.path(), &variables, &["check", "mian"]);
    assert!(near.exit_code == 2 && near.stderr.contains("did you mean `main`?"), "{}", near.stderr);
    assert!(file.lines().count() <= 20, "{file}");
}

#[test]
fn init_says_why_it_rejects_invalid_values() {
    let database = testkit::empty_database();
    database
        .psql(
            r#"CREATE TABLE sessions (id text, "sessionToken" text, "userId" text, expires varchar);
               INSERT INTO sessions VALUES ('a', 'token-number-one', 'u', 'whenever')"#,
        )
        .unwrap();
    for url in database.urls("postgres") {
        let said = testkit::run_program(&["init", &url, "--output", "-"]);
        assert_eq!(said.exit_code, 3);
        assert!(
            said.stderr.contains("implausible as `epoch-ms`") && said.stdout.is_empty(),
            "{}",
            said.stderr
        );
    }
    database.psql("UPDATE sessions SET expires = '2030-01-01T00:00:00Z'").unwrap();
    let said = testkit::run_program(&["init", &database.url("postgres"), "--output", "-"]);
    assert!(said.stdout.contains("\ndecoder = \"iso-text\""), "{} {}", said.stdout, said.stderr);
    assert!(said.stderr.contains("stored as `iso-text`"), "{}", said.stderr);
}

#[test]
fn doctor_prints_sql_that_fixes_its_findings() {
    let database = testkit::healthy_database();
    let url = database.url("postgres");
    let sick = testkit::run_for_json(&["doctor", &url, "--format", "json"]);
    let level = |report: &serde_json::Value, id: &str| {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["id"] == id);
        found.map(|found| found["level"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(level(&sick, "token-unique"), "fail");
    for id in ["role", "user-exists", "index-user", "index-expires", "creation"] {
        assert_eq!(level(&sick, id), "warn", "{id}: {sick:#}");
    }
    // Tools that manage the schema would undo a change that only SQL makes.
    for (tool, unique, cascade) in [
        ("_prisma_migrations", "add `@unique` to the field `sessionToken`", "onDelete: Cascade"),
        (
            "__drizzle_migrations",
            "append `.unique()` to the column `sessionToken`",
            "{ onDelete: \"cascade\" }",
        ),
    ] {
        database.psql(&format!("CREATE TABLE {tool} (id text)")).unwrap();
        let managed = testkit::run_for_json(&["doctor", &url, "--format", "json"]);
        let schema_fix = |id: &str| {
            let findings = managed["findings"].as_array().unwrap();
            let found = findings.iter().find(|finding| finding["id"] == id).unwrap();
            found["schema_fix"].as_str().unwrap().to_owned()
        };
        assert!(schema_fix("token-unique").contains(unique), "{managed:#}");
        assert!(schema_fix("user-exists").contains(cascade), "{managed:#}");
        assert!(schema_fix("index-expires").contains("expires"), "{managed:#}");
        database.psql(&format!("DROP TABLE {tool}")).unwrap();
    }
    for id in ["token-unique", "user-exists", "index-user", "index-expires"] {
        let findings = sick["findings"].as_array().unwrap();
        let fix = findings.iter().find(|finding| finding["id"] == id).unwrap()["fix"].as_str().unwrap();
        database.psql(fix).unwrap_or_else(|error| panic!("{fix}: {error}"));
    }
    let cured = testkit::run_for_json(&["doctor", &database.urls("postgres")[1], "--format", "json"]);
    for id in ["token-unique", "user-exists", "index-user", "index-expires", "clock", "expiry", "visibility"]
    {
        assert_eq!(level(&cured, id), "pass", "{id}: {cured:#}");
    }
    assert_eq!(testkit::run_program(&["doctor", &url]).exit_code, 0);
    database
        .psql(
            r#"UPDATE pg_index SET indisvalid = false
               WHERE indexrelid = '"sessions_sessionToken_key"'::regclass"#,
        )
        .unwrap();
    let broken = testkit::run_program(&["doctor", &url]);
    assert!(broken.exit_code == 1 && broken.stdout.contains("DROP INDEX"), "{}", broken.stdout);
}

#[test]
fn doctor_sees_row_ids_run_out() {
    let database = testkit::empty_database();
    let (watch, folder) = (testkit::create_role(&database, "watch"), tempfile::tempdir().unwrap());
    let tables = r#"CREATE TABLE users (id serial PRIMARY KEY, name text, email text);
        CREATE TABLE sessions (id serial PRIMARY KEY, "userId" integer NOT NULL REFERENCES users (id),
          expires timestamptz NOT NULL, "sessionToken" varchar(255) NOT NULL UNIQUE);
        INSERT INTO users (name) VALUES ('Ada');
        INSERT INTO sessions ("userId", expires, "sessionToken")
          VALUES (1, now() + interval '1 day', 'a-token-of-a-usual-length-abcdef');"#;
    database.psql(tables).unwrap();
    let grants = format!(
        "GRANT SELECT (id, \"userId\", expires, \"sessionToken\") ON sessions TO {watch}; \
         GRANT SELECT (id, name) ON users TO {watch}"
    );
    database.psql(&grants).unwrap();
    let row_ids = |user: &str| {
        let said = testkit::run_program_in(folder.path(), &[], &["doctor", &database.url(user)]).stdout;
        let lines: Vec<&str> = said.lines().collect();
        let at =
            lines.iter().position(|line| line.contains(" row-ids: ")).unwrap_or_else(|| panic!("{said}"));
        lines[at..(at + 2).min(lines.len())].join("\n")
    };
    assert!(
        row_ids("postgres")
            .starts_with("pass  row-ids: 2147483646 of 2147483647 row IDs are left in `sessions_id_seq`")
    );
    database.psql("SELECT setval('sessions_id_seq', 2147480001)").unwrap();
    let few = row_ids("postgres");
    assert!(
        few.starts_with(
            "fail  row-ids: row IDs are running out: 3646 of 2147483647 are left in `sessions_id_seq`"
        ),
        "{few}"
    );
    assert!(few.contains("ALTER COLUMN \"id\" TYPE bigint"), "{few}");
    // A role without access to the sequence uses the values in the table.
    assert!(row_ids(&watch).starts_with("pass  row-ids: 2147483646"), "{}", row_ids(&watch));
    database.psql("UPDATE sessions SET id = 2000000000").unwrap();
    assert!(
        row_ids(&watch).starts_with("warn  row-ids: row IDs are running out: 147483647 of"),
        "{}",
        row_ids(&watch)
    );
    database
        .psql("ALTER TABLE sessions ALTER COLUMN id TYPE bigint; ALTER SEQUENCE sessions_id_seq AS bigint")
        .unwrap();
    let said = testkit::run_program_in(folder.path(), &[], &["doctor", &database.url("postgres")]).stdout;
    assert!(!said.contains("row-ids"), "{said}");
}

#[test]
fn the_roles_of_grants_have_the_necessary_privileges_and_no_more() {
    let database = testkit::anomalous_database();
    let url = database.url("postgres");
    let (watch, act) = (format!("w_{}", database.name()), format!("a_{}", database.name()));
    let sql = testkit::run_program(&["grants", &url, "--watch-role", &watch, "--write-role", &act]).stdout;
    database.psql(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    database.psql(&format!("ALTER ROLE {watch} PASSWORD 'testkit'")).unwrap();
    for url in database.urls(&watch) {
        for engine in ["scan", "pushdown"] {
            let report = testkit::run_check(&url, &["--engine", engine]);
            assert_eq!((&report["result"], &report["stats"]["orphaned"]), (&"failing".into(), &12.into()));
        }
        let doctor = testkit::run_for_json(&["doctor", &url, "--format", "json"]);
        let role =
            doctor["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "role").unwrap();
        assert_eq!(role["level"], "pass", "{role}");
    }
    for (role, statement, allowed) in [
        (&watch, "DELETE FROM sessions", false),
        (&watch, "SELECT * FROM users", false),
        (&act, "UPDATE sessions SET expires = now()", false),
        (&act, "DELETE FROM sessions WHERE expires < now()", true),
    ] {
        let outcome =
            database.psql(&format!("SET ROLE {role}; SET default_transaction_read_only = off; {statement}"));
        assert_eq!(outcome.is_ok(), allowed, "{role}: {statement}");
    }
}

#[test]
fn sessions_are_listed_shown_and_ranked() {
    let database = testkit::anomalous_database();
    for url in database.urls("postgres") {
        let list = |more: &[&str]| {
            let document =
                testkit::run_for_json(&[&["sessions", "list", &url, "--format", "json"], more].concat());
            document["sessions"].as_array().unwrap().clone()
        };
        assert_eq!(list(&["--status", "expired", "--limit", "1000"]).len(), 130);
        let of_user = list(&["--user", "5", "--status", "active"]);
        assert_eq!(of_user.len(), 9);
        assert!(
            of_user
                .iter()
                .all(|session| session["status"] == "active" && session["display"]["name"] == "User 5")
        );
        let first = &list(&["--limit", "1", "--ascending"])[0];
        assert!((first["hours_left"].as_f64().unwrap() + 130.0).abs() < 1.0, "{first}");
        assert!(list(&["--user", "not a number"]).is_empty());
        let by_user = list(&["--sort", "user", "--ascending", "--limit", "1"]);
        assert_eq!(by_user[0]["user"], "1");
        for (name, count) in [("m1", 1), ("o", 9), ("orp", 3), ("ma", 7)] {
            let said = testkit::run_program(&["sessions", "show", name, &url, "--format", "ndjson"]);
            assert_eq!((said.exit_code, said.stdout.lines().count()), (0, count), "{name} {}", said.stderr);
        }
        assert_eq!(testkit::run_program(&["sessions", "show", "nobody", &url]).exit_code, 2);
        let top = testkit::run_for_json(&[
            "sessions", "top", &url, "--limit", "1", "--format", "json", "--by", "rows",
        ]);
        assert_eq!((&top["users"][0]["user"], &top["users"][0]["sessions"]), (&"7".into(), &132.into()));
        let recent = testkit::run_program(&["sessions", "top", &url, "--by", "recent"]);
        assert!(
            recent.exit_code == 2 && recent.stderr.contains("the table has no creation column"),
            "{}",
            recent.stderr
        );
    }
}

#[test]
fn every_printed_query_runs_in_psql_and_agrees() {
    let database = testkit::anomalous_database();
    let [direct, url] = database.urls("postgres");
    let report = testkit::run_check(&direct, &[]);
    let rows = |name: &str| {
        let sql = testkit::run_program(&["sql", name, &url, "--user", "5"]).stdout;
        database.psql(&sql).unwrap_or_else(|error| panic!("{sql}: {error}")).lines().count()
    };
    assert_eq!(rows("query-1"), 100);
    assert_eq!(rows("query-2"), 4);
    assert_eq!(rows("query-3"), 12);
    let held = "SELECT count(*) FROM (SELECT 1 FROM sessions JOIN users ON users.id = \"userId\" \
        GROUP BY \"userId\" HAVING count(*) > 5) AS r";
    assert_eq!(rows("query-4").to_string(), database.psql(held).unwrap().trim());
    assert_eq!(rows("query-6"), 9);
    assert_eq!(rows("query-7"), 2);
    let sql = testkit::run_program(&["sql", "query-5", &url]).stdout;
    let ratio = format!("{:.2}", report["stats"]["sessions_per_user"].as_f64().unwrap());
    assert!(database.psql(&sql).unwrap().trim().ends_with(&ratio), "{ratio}");
    let all = testkit::run_program(&["sql", &url]).stdout;
    database.psql(&all).unwrap();
    for check in report["checks"].as_array().unwrap() {
        assert!(all.contains(&format!("-- {}\n", check["id"].as_str().unwrap())), "{check}");
    }
}

#[test]
fn help_manual_and_completions_exist() {
    for (arguments, part) in [
        (vec!["--help"], "doctor"),
        (vec!["check", "--help"], "--engine"),
        (vec!["man"], ".TH sessionwatch"),
        (vec!["completions", "bash"], "_sessionwatch"),
        (vec!["config", "schema"], "json-schema.org"),
        (vec!["config", "example"], "[[target]]"),
    ] {
        let said = testkit::run_program(&arguments);
        assert!(
            said.exit_code == 0 && said.stdout.contains(part),
            "{arguments:?}: {} {}",
            said.stdout,
            said.stderr
        );
    }
}
