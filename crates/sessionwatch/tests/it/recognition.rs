//! Never the wrong table: what the frameworks made is recognised as what it is, and what only looks like sessions is not.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Database, ProgramOutput, run_in};

use crate::fastforward::{MINUTE, Watch};

/// A database of either kind, which configurations and commands name by its address.
enum Store {
    Server(Database<'static>),
    File(tempfile::TempDir),
}

impl Store {
    /// An empty database on a server, or a file.
    fn new(server: bool) -> Self {
        if server { Self::Server(testkit::empty()) } else { Self::File(tempfile::tempdir().unwrap()) }
    }

    fn run(&self, sql: &str) {
        match self {
            Self::Server(database) => {
                database.psql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            Self::File(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
                connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        match self {
            Self::Server(database) => database.psql(&query).unwrap().trim().parse().unwrap(),
            Self::File(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
                connection.query_row(&query, [], |row| row.get(0)).unwrap()
            }
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Server(database) => database.url("postgres"),
            Self::File(folder) => folder.path().join("app.db").display().to_string(),
        }
    }

    /// A folder with a configuration of the target `app`, with these lines about it.
    fn configured(&self, lines: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        self.configure(folder.path(), lines);
        folder
    }

    fn configure(&self, folder: &Path, lines: &str) {
        let url = self.url();
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{url}\"\nact_url = \"{url}\"\n{lines}\n[checks.slow-observation]\nbudget_ms = 3600000\n[serve]\nlisten = \"127.0.0.1:0\"\n"
        );
        std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
    }

    /// A table of token, user and expiry, with rows that have ended.
    fn tokens(&self, name: &str, columns: [&str; 3], more: &str) {
        let instant = if matches!(self, Self::Server(_)) { "timestamptz" } else { "text" };
        let [token, user, expires] = columns;
        self.run(&format!(
            "CREATE TABLE \"{name}\" (\"{token}\" text NOT NULL, \"{user}\" text NOT NULL, \"{expires}\" {instant} NOT NULL{more});
             INSERT INTO \"{name}\" (\"{token}\", \"{user}\", \"{expires}\") VALUES ('a-token-of-something', 'u1', '2020-01-01T00:00:00.000Z'),
               ('another-token-of-it', 'u2', '2090-01-01T00:00:00.000Z');"
        ));
    }
}

fn check(folder: &Path) -> (ProgramOutput, Value) {
    let said = run_in(folder, &[], &["check", "--format", "json"]);
    let report =
        serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{} {}", said.stdout, said.stderr));
    (said, report)
}

fn fixtures() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/frameworks");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 30);
    paths
}

/// Loads a fixture: the database, and what its header expects.
fn load(path: &Path) -> (Store, String) {
    let text = std::fs::read_to_string(path).unwrap();
    let store = Store::new(!path.to_str().unwrap().contains(".sqlite."));
    store.run(&text);
    let expected = text.lines().find_map(|line| line.strip_prefix("-- expected of sessionwatch: ")).unwrap();
    (store, expected.to_owned())
}

fn fixture(name: &str) -> Store {
    let path = fixtures().into_iter().find(|path| path.file_name().unwrap() == name).unwrap();
    load(&path).0
}

const SNAKE: [&str; 3] = ["token", "user_id", "expires_at"];
const CAMEL: [&str; 3] = ["token", "userId", "expiresAt"];
/// Tables of tokens that are no sessions, in several spellings.
const OTHERS: [(&str, [&str; 3]); 14] = [
    ("password_reset_tokens", SNAKE),
    ("passwordResets", CAMEL),
    ("email_verification_tokens", SNAKE),
    ("EmailConfirmation", CAMEL),
    ("invitations", SNAKE),
    ("teamInvites", CAMEL),
    ("refresh_tokens", SNAKE),
    ("refreshtoken", CAMEL),
    ("api_keys", SNAKE),
    ("ApiKey", CAMEL),
    ("personal-access-tokens", SNAKE),
    ("oauthAccessToken", CAMEL),
    ("magic_links", SNAKE),
    ("token_blacklist", SNAKE),
];

#[test]
fn what_the_frameworks_make_is_recognised_as_what_it_is() {
    for path in fixtures() {
        let (store, expected) = load(&path);
        let parts: Vec<&str> = expected.split(" | ").collect();
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        let plan = run_in(folder.path(), &[], &["cleanup", "expired"]);
        let name = path.file_name().unwrap().to_str().unwrap();
        if let [profile, framework, table] = parts[..] {
            assert_eq!(
                (&report["profile"], &report["framework"], &report["table"]),
                (&json!(profile), &json!(framework), &json!(table)),
                "{name}: {report:#} {}",
                said.stderr
            );
            assert!(
                said.code < 2 || report["census"]["sessions"].as_u64() > Some(0),
                "{name}: {}",
                said.stderr
            );
            let place = format!("Table: {table} ({framework}).");
            assert!(
                plan.code == 0 && plan.stdout.contains(&place),
                "{name}: {} {}",
                plan.stdout,
                plan.stderr
            );
            let doctor = testkit::json(&["doctor", &store.url(), "--format", "json"]);
            let recognition = finding(&doctor, "recognition");
            assert_eq!(recognition["level"], "pass", "{name}: {recognition}");
        } else {
            assert_eq!(said.code, 3, "{name}: {report:#}");
            assert!(said.stderr.contains(parts[1]), "{name}: {}", said.stderr);
            assert_eq!((&report["verdict"], &report["table"]), (&json!("unknown"), &Value::Null), "{name}");
            assert_eq!(plan.code, 3, "{name}: {}", plan.stdout);
            let mapping: Vec<&str> = said.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
            if mapping.first() == Some(&"[target.mapping]") {
                store.configure(folder.path(), &mapping.join("\n"));
                let (said, report) = check(folder.path());
                assert!(
                    report["census"]["sessions"].as_u64() > Some(0),
                    "{name}: {report:#} {}",
                    said.stderr
                );
            }
        }
    }
}

fn finding(doctor: &Value, id: &str) -> Value {
    let findings = doctor["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).cloned().unwrap_or_default()
}

#[test]
fn the_role_that_grants_makes_recognises_the_same() {
    for path in fixtures() {
        let (Store::Server(database), expected) = load(&path) else { continue };
        let parts: Vec<&str> = expected.split(" | ").collect();
        let [profile, framework, table] = parts[..] else { continue };
        let (watch, act) = (testkit::create_role(&database, "watch"), testkit::create_role(&database, "act"));
        let url = database.url("postgres");
        let grants = testkit::run(&["grants", &url, "--watch-role", &watch, "--act-role", &act]).stdout;
        let grants: Vec<&str> = grants.lines().filter(|line| !line.starts_with("CREATE ROLE")).collect();
        database.psql(&grants.join("\n")).unwrap();
        let report = testkit::check(&database.url(&watch), &[]);
        assert_eq!(
            (&report["profile"], &report["framework"], &report["table"]),
            (&json!(profile), &json!(framework), &json!(table)),
            "{}: {report:#}",
            path.display()
        );
    }
}

#[test]
fn other_tables_of_tokens_beside_the_sessions_are_no_rivals() {
    for name in ["better-auth-kysely-pg.sql", "better-auth-kysely.sqlite.sql"] {
        let store = fixture(name);
        for (table, columns) in OTHERS {
            store.tokens(table, columns, "");
        }
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        assert!(
            report["table"].as_str().unwrap().ends_with("session") && said.code < 3,
            "{report:#} {}",
            said.stderr
        );
        let doctor = testkit::json(&["doctor", &store.url(), "--format", "json"]);
        assert_eq!(finding(&doctor, "recognition")["level"], "pass", "{doctor:#}");
        let plan = run_in(folder.path(), &[], &["cleanup", "expired", "--format", "json"]);
        assert_eq!(plan.code, 0, "{}", plan.stderr);
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        assert!(plan["plan"]["table"].as_str().unwrap().ends_with("session"), "{plan:#}");
        assert_eq!(plan["plan"]["framework"], "Better Auth");
    }
}

#[test]
fn other_tables_of_tokens_are_no_sessions() {
    for server in [true, false] {
        for (table, columns) in OTHERS {
            for users in
                ["", "CREATE TABLE \"user\" (id text PRIMARY KEY, name text); CREATE TABLE account (id text)"]
            {
                let store = Store::new(server);
                store.run(users);
                let with_all = if columns == SNAKE {
                    ", created_at text, updated_at text, ip_address text, user_agent text"
                } else {
                    ", \"createdAt\" text, \"updatedAt\" text, \"ipAddress\" text, \"userAgent\" text"
                };
                store.tokens(table, columns, if users.is_empty() { "" } else { with_all });
                let folder = store.configured("");
                let (said, report) = check(folder.path());
                assert_eq!((said.code, &report["table"]), (3, &Value::Null), "{table}: {report:#}");
                assert!(
                    said.stderr.contains(table) && said.stderr.contains("its name says that it holds"),
                    "{table}: {}",
                    said.stderr
                );
                for plan in [&["revoke", "all"][..], &["cleanup", "expired"], &["revoke", "user", "u1"]] {
                    assert_eq!(run_in(folder.path(), &[], plan).code, 3, "{table}");
                }
            }
        }
    }
}

#[test]
fn signed_tokens_are_no_sessions_whatever_their_table_is_called() {
    for server in [true, false] {
        let store = Store::new(server);
        store.run("CREATE TABLE \"user\" (id text PRIMARY KEY, name text); CREATE TABLE account (id text)");
        store.tokens(
            "session",
            SNAKE,
            ", created_at text, updated_at text, ip_address text, user_agent text",
        );
        let folder = store.configured("");
        assert_eq!(check(folder.path()).1["framework"], "Better Auth, snake_case columns");
        store.run("UPDATE session SET token = 'eyJhbGciOiJIUzI1NiJ9.eyJ1IjoxfQ.sig' || user_id");
        let (said, report) = check(folder.path());
        assert!(said.code == 3 && said.stderr.contains("its tokens are JWTs"), "{report:#} {}", said.stderr);
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("eyJ"), "{}", said.stdout);
        // Whoever names it all the same hears of it.
        store.configure(folder.path(), "sessions = \"session\"");
        let (_, report) = check(folder.path());
        assert!(report["notes"].to_string().contains("are JWTs"), "{report:#}");
        let plan = run_in(folder.path(), &[], &["revoke", "user", "u2"]);
        assert!(plan.code == 0 && plan.stdout.contains("are JWTs"), "{} {}", plan.stdout, plan.stderr);
    }
}

#[test]
fn a_table_that_too_little_speaks_for_is_unknown_until_it_is_named() {
    for server in [true, false] {
        let store = Store::new(server);
        store.run("CREATE TABLE \"user\" (id text PRIMARY KEY, name text); CREATE TABLE account (id text); INSERT INTO \"user\" VALUES ('u1', 'x'), ('u2', 'y')");
        store.tokens("entries", SNAKE, "");
        let folder = store.configured("");
        let all = &["revoke", "all"][..];
        for lines in ["", "profile = \"better-auth-snake-case\""] {
            store.configure(folder.path(), lines);
            let (said, report) = check(folder.path());
            assert_eq!((said.code, &report["verdict"]), (3, &json!("unknown")), "{report:#}");
            for check in report["checks"].as_array().unwrap() {
                let reason = check["reason"].as_str().unwrap_or_default();
                assert!(
                    reason.contains("entries") && reason.contains("no column `created_at`")
                        || reason.contains("serve"),
                    "{check:#}"
                );
            }
            for plan in [all, &["cleanup", "expired"], &["cleanup", "duplicates"], &["revoke", "user", "u1"]]
            {
                let said = run_in(folder.path(), &[], plan);
                assert!(
                    said.code == 2
                        && said.stderr.contains("entries")
                        && said.stderr.contains("sessions = \""),
                    "{} {}",
                    said.stdout,
                    said.stderr
                );
            }
        }
        let doctor = testkit::json(&["doctor", &store.url(), "--format", "json"]);
        assert_eq!(finding(&doctor, "recognition")["level"], "fail", "{doctor:#}");
        // The lines that the error shows are enough.
        let refused = run_in(folder.path(), &[], all).stderr;
        let lines: Vec<&str> = refused.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        store.configure(folder.path(), &lines.join("\n"));
        let (said, report) = check(folder.path());
        assert!(said.code != 3 || !said.stdout.contains("too little"), "{report:#}");
        let planned = run_in(folder.path(), &[], all);
        assert!(
            planned.code == 0 && planned.stdout.contains("entries ("),
            "{} {}",
            planned.stdout,
            planned.stderr
        );
    }
}

#[test]
fn nothing_is_planned_while_two_tables_could_be_meant() {
    let database = testkit::healthy();
    database.psql("CREATE SCHEMA auth; CREATE TABLE auth.sessions (LIKE sessions INCLUDING ALL); CREATE TABLE logins AS TABLE sessions").unwrap();
    let store = Store::Server(database);
    let folder = store.configured("[target.cleanup]\nexpired = true\n");
    let (said, report) = check(folder.path());
    assert_eq!((said.code, &report["verdict"]), (3, &json!("unknown")), "{report:#}");
    assert!(report["checks"].to_string().contains("`public.logins` (Auth.js with Prisma)"), "{report:#}");
    for plan in
        [&["revoke", "all"][..], &["cleanup", "expired"], &["cleanup", "orphaned"], &["revoke", "user", "3"]]
    {
        let said = run_in(folder.path(), &[], plan);
        assert!(
            said.code == 2
                && ["public.sessions", "auth.sessions", "public.logins"]
                    .iter()
                    .all(|table| said.stderr.contains(&format!("sessions = \"{table}\""))),
            "{} {}",
            said.stdout,
            said.stderr
        );
    }
    programs_are_refused(folder.path());
    // A file of `init` does not choose by itself, and keeps what is known of the framework.
    let Store::Server(database) = &store else { unreachable!() };
    let init = testkit::run(&["init", &database.url("postgres"), "--output", "-"]);
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
    assert_eq!((said.code, &report["table"]), (0, &json!("public.sessions")), "{report:#}");
    let plan = run_in(folder.path(), &[], &["revoke", "user", "3"]);
    assert!(
        plan.code == 0 && plan.stdout.contains("Table: public.sessions (Auth.js with Prisma)."),
        "{}",
        plan.stderr
    );
    store.configure(folder.path(), "sessions = \"auth.sesions\"");
    let (said, _) = check(folder.path());
    assert!(said.code == 2 && said.stderr.contains("sesions"), "{}", said.stderr);
    store.configure(folder.path(), "sessions = \"public.accounts\"");
    let (said, _) = check(folder.path());
    assert!(
        said.code == 2 && said.stderr.contains("columns of `public.accounts` are not recognised"),
        "{}",
        said.stderr
    );
}

/// Neither do programs that use the dashboard plan anything.
fn programs_are_refused(folder: &Path) {
    testkit::add_account(folder, "ada", "admin");
    let token =
        run_in(folder, &[], &["tokens", "add", "ada", "--label", "bot", "--scope", "read,actions"]).stdout;
    let watch = testkit::Daemon::start(folder);
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer =
        testkit::http::post(&watch.address, "/api/v1/targets/app/plans", &headers, b"{\"kind\":\"all\"}");
    let (status, answer) = (answer.status, answer.body);
    assert!(status == 409 && answer.contains("auth.sessions"), "{status} {answer}");
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn renamed_fields_are_not_taken_for_another_library_nor_resets_for_sessions() {
    let store = fixture("better-auth-kysely-pg.sql");
    for column in [
        "userId:user_id",
        "expiresAt:expires_at",
        "createdAt:created_at",
        "updatedAt:updated_at",
        "ipAddress:ip_address",
        "userAgent:user_agent",
    ] {
        let (from, to) = column.split_once(':').unwrap();
        store.run(&format!("ALTER TABLE session RENAME COLUMN \"{from}\" TO {to}"));
    }
    // As a hand-made table would be that has the types of another library.
    store.run(
        "CREATE TABLE password_reset_tokens (token text, user_id text, expires_at timestamp);
               INSERT INTO password_reset_tokens SELECT 'reset-' || token, user_id, expires_at FROM session",
    );
    let folder = store.configured("");
    let (_, report) = check(folder.path());
    assert_eq!(
        (&report["profile"], &report["framework"], &report["table"]),
        (
            &json!("better-auth-snake-case"),
            &json!("Better Auth, snake_case columns"),
            &json!("public.session")
        )
    );
    let resets = store.count("password_reset_tokens");
    let plan = run_in(folder.path(), &[], &["revoke", "all", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let id = plan["plan"]["id"].as_str().unwrap();
    let done = run_in(folder.path(), &[], &["revoke", "all", "--apply", id, "--confirm", "app"]);
    assert!(
        done.stdout.contains("in public.session (Better Auth, snake_case columns)"),
        "{} {}",
        done.stdout,
        done.stderr
    );
    assert_eq!((store.count("session"), store.count("password_reset_tokens")), (0, resets));
    // Without the sessions, the resets are not taken for them.
    store.run("DROP TABLE session");
    let lucia = fixture("lucia3-pg.sql");
    lucia.run("CREATE TABLE password_reset_tokens (token text, user_id text, expires_at timestamptz)");
    for store in [store, lucia] {
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        assert!(
            said.code == 3 && said.stderr.contains("it holds password resets"),
            "{report:#} {}",
            said.stderr
        );
    }
}

#[test]
fn minimal_tables_are_recognised_under_other_names_with_corroboration() {
    for (name, old, new) in [
        ("authjs-drizzle-pg.sql", "session", "app_logins"),
        ("authjs-drizzle.sqlite.sql", "session", "kept"),
        ("authjs-pg.sql", "sessions", "kept"),
        ("better-auth-kysely-pg.sql", "session", "kept"),
        ("better-auth-kysely.sqlite.sql", "session", "kept"),
        ("authjs-mikro-orm-pg.sql", "session", "kept"),
    ] {
        let store = fixture(name);
        store.run(&format!("ALTER TABLE {old} RENAME TO {new}"));
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        let table = report["table"].as_str().unwrap_or_default();
        assert!(table.ends_with(new) && said.code != 3, "{name}: {report:#} {}", said.stderr);
        assert_eq!(run_in(folder.path(), &[], &["cleanup", "expired"]).code, 0, "{name}");
    }
}

#[test]
fn partitions_and_views_do_not_make_a_table_ambiguous() {
    let store = Store::Server(testkit::healthy());
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
    assert_eq!((said.code, &report["table"]), (0, &json!("public.sessions")), "{report:#}");
    let init = testkit::run(&["init", &store.url(), "--output", "-"]);
    assert!(
        init.stdout.contains("\nprofile = \"authjs-prisma\"\n") && !init.stdout.contains("Not certain"),
        "{}",
        init.stdout
    );
}

#[test]
fn certain_signs_tell_libraries_apart() {
    let shapes = |migrations: &str, declared: &str| {
        let store = Store::new(true);
        store.run(&format!(
            "CREATE TABLE users (id text PRIMARY KEY, name text); {migrations};
             CREATE TABLE sessions (id text PRIMARY KEY, session_token text, user_id text REFERENCES users, expires {declared});
             INSERT INTO users VALUES ('u', 'x'); INSERT INTO sessions VALUES ('s', 'a-token-of-a-session', 'u', '2090-01-01')"
        ));
        let plan = run_in(store.configured("").path(), &[], &["revoke", "all"]);
        assert_eq!(plan.code, 0, "{}", plan.stderr);
        plan.stdout
    };
    let sure = "with the Prisma adapter";
    let conditional = "if the application uses the Prisma adapter";
    for (migrations, declared, title, warning) in [
        ("SELECT 1", "timestamptz", "Auth.js, snake_case columns", conditional),
        ("SELECT 1", "timestamp(3)", "Auth.js with Prisma, mapped names", sure),
        (
            "CREATE TABLE _prisma_migrations (id text)",
            "timestamptz",
            "Auth.js with Prisma, mapped names",
            sure,
        ),
    ] {
        let said = shapes(migrations, declared);
        assert!(said.contains(title) && said.contains(warning), "{declared}: {said}");
    }
}

#[test]
fn sessions_that_are_kept_elsewhere_are_told_of_in_plan_and_result() {
    let store = fixture("better-auth-secondary-storage-pg.sql");
    let folder = store.configured("");
    let sign = "there is no table of verifications";
    let (_, report) = check(folder.path());
    assert!(report["notes"].to_string().contains(sign), "{report:#}");
    let doctor = testkit::json(&["doctor", &store.url(), "--format", "json"]);
    let told = finding(&doctor, "elsewhere");
    assert!(told["level"] == "warn" && told["summary"].to_string().contains(sign), "{doctor:#}");
    let plan = run_in(folder.path(), &[], &["revoke", "all", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert!(plan["plan"]["not_ended"][0].as_str().unwrap().contains(sign), "{plan:#}");
    assert!(plan["plan"]["not_ended"].to_string().contains("cookieCache"), "{plan:#}");
    let id = plan["plan"]["id"].as_str().unwrap();
    let done = run_in(folder.path(), &[], &["revoke", "all", "--apply", id, "--confirm", "app"]);
    assert!(
        done.stdout.contains("Not ended by this") && done.stdout.contains(sign),
        "{} {}",
        done.stdout,
        done.stderr
    );
    // With a table of verifications, nothing speaks for it.
    let usual = fixture("better-auth-secondary-storage-pg.sql");
    usual.run("CREATE TABLE verification (id text)");
    let (_, report) = check(usual.configured("").path());
    assert!(!report["notes"].to_string().contains(sign), "{report:#}");
    // With secondary storage alone, there is no table of sessions at all.
    store.run("DROP TABLE session");
    let (said, _) = check(folder.path());
    assert!(
        said.code == 3
            && ["`public.user`", "`public.account`", "secondaryStorage"]
                .iter()
                .all(|part| said.stderr.contains(part)),
        "{}",
        said.stderr
    );
}

#[test]
fn reports_name_table_and_framework() {
    let database = testkit::healthy();
    let url = database.url("postgres");
    for (format, part) in [
        ("table", "Auth.js with Prisma in public.sessions"),
        ("markdown", "Table `public.sessions`, Auth.js with Prisma."),
        ("json", "\"table\": \"public.sessions\""),
    ] {
        let said = testkit::run(&["check", &url, "--format", format]);
        assert!(said.stdout.contains(part), "{format}: {}", said.stdout);
    }
}

#[test]
fn nothing_is_planned_on_another_table_until_somebody_confirms_it() {
    for server in [true, false] {
        let store = Store::new(server);
        store.run(
            "CREATE TABLE users (id text PRIMARY KEY, name text); INSERT INTO users VALUES ('u1', 'x'), ('u2', 'y')",
        );
        store.tokens("sessions", ["sessionToken", "userId", "expires"], "");
        let folder = store.configured("");
        let run = |arguments: &[&str]| run_in(folder.path(), &[], arguments);
        let none = run(&["targets", "confirm", "app"]);
        assert!(none.code == 2 && none.stderr.contains("there is no store"), "{}", none.stderr);
        let all = &["revoke", "all"][..];
        assert_eq!(run(all).code, 0);
        let plan = run(&["cleanup", "expired", "--format", "json"]);
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        // The table moves away, and another one takes its name later.
        store.run("ALTER TABLE sessions RENAME TO logins");
        let changed = run(all);
        assert_eq!(changed.code, 3, "{}", changed.stdout);
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
        let applied = run(&["cleanup", "expired", "--apply", id, "--confirm", "app"]);
        assert!(applied.code == 3 && applied.stderr.contains("changed from"), "{}", applied.stderr);
        assert_eq!(store.count("logins"), 2);
        let confirmed = run(&["targets", "confirm", "app", "--owner", "ada"]);
        assert!(
            confirmed.code == 0 && confirmed.stdout.contains("logins` (`sessionToken`"),
            "{} {}",
            confirmed.stdout,
            confirmed.stderr
        );
        assert_eq!(run(all).code, 0);
        // A plan of before is about the table of before.
        let applied = run(&["cleanup", "expired", "--apply", id, "--confirm", "app"]);
        assert!(applied.code == 2 && applied.stderr.contains("was made for the table"), "{}", applied.stderr);
        columns_are_part_of_it(&store, folder.path());
    }
}

/// Other columns of the same table are another place too; whoever writes the table down has confirmed it.
fn columns_are_part_of_it(store: &Store, folder: &Path) {
    let all = &["revoke", "all"][..];
    let run = |arguments: &[&str]| run_in(folder, &[], arguments);
    store.run("ALTER TABLE logins RENAME COLUMN \"sessionToken\" TO session_token; ALTER TABLE logins RENAME COLUMN \"userId\" TO user_id");
    let changed = run(all);
    assert!(
        changed.code == 3 && changed.stderr.contains("(`session_token`, `user_id`"),
        "{}",
        changed.stderr
    );
    store.configure(folder, "sessions = \"logins\"");
    assert_eq!(run(all).code, 0);
    store.run("ALTER TABLE logins RENAME TO passes");
    let gone = run(all);
    assert!(gone.code == 2 && gone.stderr.contains("logins"), "{}", gone.stderr);
    store.configure(folder, "");
    let changed = run(all);
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    store.run("DROP TABLE passes");
    let gone = run(all);
    assert!(gone.code == 3 && gone.stderr.contains("was the session table before"), "{}", gone.stderr);
    let kept = rusqlite::Connection::open(folder.join("sessionwatch-state.db")).unwrap();
    let by = "SELECT group_concat(actor, ' ') FROM (SELECT DISTINCT actor FROM audit WHERE action = 'session-table-confirmed' ORDER BY id)";
    let by: String = kept.query_row(by, [], |row| row.get(0)).unwrap();
    assert_eq!(by, "ada the configuration");
    let list = run(&["targets", "list", "--format", "json"]);
    assert!(list.stdout.contains("passes"), "{}", list.stdout);
}

#[test]
fn the_watch_does_not_move_to_another_table_by_itself() {
    let store = Store::Server(testkit::healthy());
    let folder = store.configured("[target.cleanup]\nexpired = true\n");
    testkit::add_account(folder.path(), "ada", "admin");
    let token =
        run_in(folder.path(), &[], &["tokens", "add", "ada", "--label", "bot", "--scope", "read,actions"])
            .stdout;
    let bearer = format!("Bearer {}", token.trim());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let text = std::fs::read_to_string(folder.path().join("sessionwatch.toml")).unwrap();
    let now = sessionwatch::clock::now();
    let started = |minutes: i64| Watch::start(folder.path(), &text, now.plus(minutes * MINUTE));
    let report = |watch: &Watch| {
        testkit::http::get_with(&watch.address, "/api/v1/targets/app", &headers).json()["report"].clone()
    };
    let mut watch = started(0);
    assert_eq!(report(&watch)["table"], "public.sessions");
    store.run("ALTER TABLE sessions RENAME TO sessions_old;
               CREATE TABLE sessions (id text PRIMARY KEY, token text, user_id text, expires_at bigint);
               INSERT INTO sessions SELECT n::text, 'one-token', n::text, 4102444800 FROM generate_series(1, 50) AS n");
    watch.to(now.plus(5 * MINUTE));
    let changed = report(&watch);
    let said = changed["error"].as_str().unwrap();
    assert!(said.contains("the session table changed from `public.sessions`"), "{changed:#}");
    assert!(
        changed["checks"].as_array().unwrap().iter().all(|check| check["verdict"] == "unknown"),
        "{changed:#}"
    );
    let answer =
        testkit::http::post(&watch.address, "/api/v1/targets/app/plans", &headers, b"{\"kind\":\"all\"}");
    let (status, answer) = (answer.status, answer.body);
    assert!(status >= 400 && answer.contains("changed from"), "{status} {answer}");
    // By hand, nobody sees another table either.
    for command in [&["check"][..], &["doctor", "app"], &["sessions", "list"], &["sql", "query-1"]] {
        let said = run_in(folder.path(), &[], command);
        assert!(
            said.code == 3 && said.stderr.contains("the session table changed from `public.sessions`"),
            "{command:?}: {} {}",
            said.stdout,
            said.stderr
        );
    }
    assert!(watch.stop());
    // A restart forgets nothing; a confirmation ends it.
    let mut watch = started(10);
    assert!(report(&watch)["error"].as_str().unwrap().contains("changed from"), "{:#}", report(&watch));
    store.run("DROP TABLE sessions; ALTER TABLE sessions_old RENAME TO logins");
    let confirmed = run_in(folder.path(), &[], &["targets", "confirm", "app", "--owner", "ada"]);
    assert_eq!(confirmed.code, 0, "{}", confirmed.stderr);
    watch.to(now.plus(20 * MINUTE));
    assert_eq!(report(&watch)["table"], "public.logins");
    assert!(watch.stop());
}
