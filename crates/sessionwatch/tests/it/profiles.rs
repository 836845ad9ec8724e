//! Session tables as frameworks create them and as users modify them: recognized, read, and oddities reported.

use serde_json::Value;
use testkit::find_check_result;

/// Profile, tables, and the stored expiries of an active and of an expired session.
type Store = (&'static str, &'static str, [&'static str; 2]);

const ZONED: [&str; 2] = ["'2090-01-01 00:00:00+00'", "'2020-01-01 00:00:00+00'"];
const NAIVE: [&str; 2] = ["'2090-01-01 00:00:00'", "'2020-01-01 00:00:00'"];
const MILLIS: [&str; 2] = ["3786912000000", "1577836800000"];
const ISO: [&str; 2] = ["'2090-01-01T00:00:00.000Z'", "'2020-01-01T00:00:00.000Z'"];
const OFFSET: [&str; 2] = ["'2090-01-01T00:00:00.000+00:00'", "'2020-01-01T00:00:00.000+00:00'"];

/// Columns are token, user, expiry; then those that the framework adds.
const POSTGRES: [Store; 10] = [
    (
        "authjs-pg",
        r#"CREATE TABLE users (id serial PRIMARY KEY, name varchar(255), email varchar(255));
           CREATE TABLE sessions ("sessionToken" varchar(255) NOT NULL, "userId" integer NOT NULL,
             expires timestamptz NOT NULL, id serial PRIMARY KEY)"#,
        ZONED,
    ),
    (
        "authjs-prisma",
        r#"CREATE TABLE "User" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE "Session" ("sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "User" (id)
             ON DELETE CASCADE, expires timestamp(3) NOT NULL, id text DEFAULT gen_random_uuid()::text PRIMARY KEY)"#,
        NAIVE,
    ),
    (
        "authjs-prisma-mapped",
        r#"CREATE TABLE users (id text PRIMARY KEY, name text);
           CREATE TABLE sessions (session_token text NOT NULL UNIQUE, user_id text NOT NULL,
             expires timestamp(3) NOT NULL, id text DEFAULT gen_random_uuid()::text PRIMARY KEY)"#,
        NAIVE,
    ),
    (
        "authjs-drizzle",
        r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE session ("sessionToken" text PRIMARY KEY,
             "userId" text NOT NULL REFERENCES "user" (id) ON DELETE CASCADE, expires timestamp NOT NULL)"#,
        NAIVE,
    ),
    (
        "authjs-kysely",
        r#"CREATE TABLE "User" (id uuid PRIMARY KEY, name text, email text);
           CREATE TABLE "Session" ("sessionToken" text NOT NULL UNIQUE, "userId" uuid NOT NULL,
             expires timestamptz NOT NULL, id uuid DEFAULT gen_random_uuid() PRIMARY KEY)"#,
        ZONED,
    ),
    (
        "authjs-typeorm",
        r#"CREATE TABLE users (id uuid PRIMARY KEY, name varchar);
           CREATE TABLE sessions ("sessionToken" varchar NOT NULL UNIQUE, "userId" uuid, expires varchar NOT NULL,
             id uuid DEFAULT gen_random_uuid() PRIMARY KEY)"#,
        ["'3786912000000'", "'1577836800000'"],
    ),
    (
        "authjs-supabase",
        r#"CREATE SCHEMA next_auth; CREATE TABLE next_auth.users (id uuid PRIMARY KEY, name text, email text);
           CREATE TABLE next_auth.sessions ("sessionToken" text NOT NULL UNIQUE, "userId" uuid,
             expires timestamptz NOT NULL, id uuid DEFAULT gen_random_uuid() PRIMARY KEY)"#,
        ZONED,
    ),
    (
        "better-auth-kysely",
        r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE session (token text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "user" (id)
             ON DELETE CASCADE, "expiresAt" timestamptz NOT NULL, id text DEFAULT gen_random_uuid()::text PRIMARY KEY,
             "createdAt" timestamptz DEFAULT now() NOT NULL, "ipAddress" text DEFAULT '192.0.2.1', "userAgent" text)"#,
        ZONED,
    ),
    (
        "better-auth-drizzle",
        r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE session (token text NOT NULL UNIQUE, user_id text NOT NULL, expires_at timestamp NOT NULL,
             id text DEFAULT gen_random_uuid()::text PRIMARY KEY,
             created_at timestamp DEFAULT (now() AT TIME ZONE 'UTC') NOT NULL, ip_address text, user_agent text)"#,
        NAIVE,
    ),
    (
        "better-auth-prisma",
        r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE session (token text NOT NULL UNIQUE, "userId" text NOT NULL, "expiresAt" timestamp(3) NOT NULL,
             id text DEFAULT gen_random_uuid()::text PRIMARY KEY,
             "createdAt" timestamp(3) DEFAULT (now() AT TIME ZONE 'UTC') NOT NULL, "ipAddress" text,
               "userAgent" text)"#,
        NAIVE,
    ),
];

const SQLITE: [Store; 8] = [
    (
        "authjs-prisma",
        r#"CREATE TABLE "User" (id TEXT PRIMARY KEY, name TEXT);
           CREATE TABLE "Session" ("sessionToken" TEXT NOT NULL UNIQUE, "userId" TEXT NOT NULL REFERENCES "User" (id),
             expires DATETIME NOT NULL, id TEXT DEFAULT (hex(randomblob(8))) PRIMARY KEY)"#,
        MILLIS,
    ),
    (
        "authjs-prisma",
        r#"CREATE TABLE "User" (id TEXT PRIMARY KEY, name TEXT);
           CREATE TABLE "Session" ("sessionToken" TEXT NOT NULL UNIQUE, "userId" TEXT NOT NULL,
             expires DATETIME NOT NULL, id TEXT DEFAULT (hex(randomblob(8))) PRIMARY KEY)"#,
        [MILLIS[0], OFFSET[1]],
    ),
    (
        "authjs-drizzle",
        r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE session ("sessionToken" text PRIMARY KEY, "userId" text NOT NULL REFERENCES "user" (id),
             expires integer NOT NULL)"#,
        MILLIS,
    ),
    (
        "authjs-kysely",
        r#"CREATE TABLE "User" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE "Session" ("sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL,
             expires datetime NOT NULL, id text DEFAULT (hex(randomblob(8))) PRIMARY KEY)"#,
        ISO,
    ),
    (
        "authjs-typeorm",
        r#"CREATE TABLE users (id varchar PRIMARY KEY, name varchar);
           CREATE TABLE sessions ("sessionToken" varchar NOT NULL UNIQUE, "userId" varchar, expires varchar NOT NULL,
             id varchar DEFAULT (hex(randomblob(8))) PRIMARY KEY)"#,
        ["'3786912000000'", "'1577836800000'"],
    ),
    (
        "authjs-d1",
        r#"CREATE TABLE users (id text PRIMARY KEY, name text, email text);
           CREATE TABLE sessions ("sessionToken" text PRIMARY KEY, "userId" text NOT NULL, expires datetime NOT NULL,
             id text DEFAULT (hex(randomblob(8))))"#,
        ISO,
    ),
    (
        "better-auth-kysely",
        r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE session (token text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "user" (id),
             "expiresAt" date NOT NULL, id text DEFAULT (hex(randomblob(8))) PRIMARY KEY,
             "createdAt" date DEFAULT '2020-01-01T00:00:00.000Z' NOT NULL, "ipAddress" text, "userAgent" text)"#,
        ISO,
    ),
    (
        "better-auth-drizzle",
        r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
           CREATE TABLE session (token text NOT NULL UNIQUE, user_id text NOT NULL, expires_at integer NOT NULL,
             id text DEFAULT (hex(randomblob(8))) PRIMARY KEY,
             created_at integer DEFAULT 1577836800000 NOT NULL, ip_address text, user_agent text)"#,
        MILLIS,
    ),
];

/// Inserts two sessions of one existing user into the first three columns of the session table.
fn fill(tables: &str, expiries: [&str; 2]) -> String {
    let name = |marker: &str| {
        let (_, rest) = tables.rsplit_once(marker).unwrap();
        rest.split(" (").next().unwrap().to_owned()
    };
    let sessions = name("CREATE TABLE ");
    let users = tables.split("CREATE TABLE ").nth(1).unwrap().split(" (").next().unwrap();
    let columns = tables.rsplit_once(&format!("{sessions} (")).unwrap().1;
    let columns: Vec<&str> =
        columns.split(',').take(3).map(|column| column.trim().split(' ').next().unwrap()).collect();
    let user = match tables {
        numbered if numbered.contains("id serial PRIMARY KEY, name") => "7",
        _ => "'11111111-1111-4111-8111-111111111111'",
    };
    let rows: Vec<String> = ["one", "two"]
        .iter()
        .zip(expiries)
        .map(|(token, expiry)| format!("('token-of-session-{token}', {user}, {expiry})"))
        .collect();
    format!(
        "INSERT INTO {users} (id, name) VALUES ({user}, 'Ada');\nINSERT INTO {sessions} ({}) VALUES {};",
        columns.join(", "),
        rows.join(", ")
    )
}

fn assert_read(url: &str, profile: &str) {
    for engine in ["scan", "pushdown"] {
        let report = testkit::run_check(url, &["--engine", engine]);
        let stats = &report["stats"];
        assert_eq!(report["profile"], profile, "{report:#}");
        let numbers =
            ["sessions", "active", "expired", "orphaned", "undecodable"].map(|key| stats[key].as_u64());
        assert_eq!(numbers, [2, 1, 1, 0, 0].map(Some), "{profile}: {report:#}");
        assert_eq!(stats["oldest_expired"], "2020-01-01T00:00:00.000000Z", "{profile}");
    }
    let list = testkit::run_for_json(&["sessions", "list", url, "--format", "json"]);
    assert_eq!(list["sessions"][0]["display"]["name"], "Ada", "{profile}: {list:#}");
}

#[test]
fn every_store_is_recognized_and_read_on_postgres() {
    for (profile, tables, expiries) in POSTGRES {
        let database = testkit::empty_database();
        database.psql(tables).unwrap();
        database.psql(&fill(tables, expiries)).unwrap();
        database.urls("postgres").iter().for_each(|url| assert_read(url, profile));
    }
}

#[test]
fn every_store_is_recognized_and_read_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    for (at, (profile, tables, expiries)) in SQLITE.iter().enumerate() {
        let path = folder.path().join(format!("{at}.db"));
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(tables).unwrap();
        connection.execute_batch(&fill(tables, *expiries)).unwrap();
        assert_read(&path.display().to_string(), profile);
    }
}

#[test]
fn modified_tables_are_read_and_described() {
    let database = testkit::healthy_database();
    for (bend, note) in [
        (
            r#"ALTER TABLE sessions RENAME TO stored; ALTER TABLE stored RENAME "sessionToken" TO stored_token;
               CREATE VIEW sessions AS SELECT id, stored_token AS "sessionToken", "userId", expires FROM stored"#,
            "is a view",
        ),
        (
            r#"DROP VIEW sessions;
               CREATE MATERIALIZED VIEW sessions AS SELECT id, stored_token AS "sessionToken", "userId", expires
                 FROM stored"#,
            "is a view",
        ),
        (
            r#"DROP MATERIALIZED VIEW sessions; ALTER TABLE stored RENAME stored_token TO "sessionToken";
               CREATE TABLE sessions (LIKE stored) PARTITION BY HASH (id);
               CREATE TABLE part0 PARTITION OF sessions FOR VALUES WITH (modulus 2, remainder 0);
               CREATE TABLE part1 PARTITION OF sessions FOR VALUES WITH (modulus 2, remainder 1);
               INSERT INTO sessions SELECT * FROM stored"#,
            "is partitioned",
        ),
    ] {
        database.psql(bend).unwrap();
        for url in database.urls("postgres") {
            for engine in ["scan", "pushdown"] {
                let report = testkit::run_check(&url, &["--engine", engine]);
                assert_eq!(report["stats"]["sessions"], 90, "{note}: {report:#}");
                assert!(report["notes"].to_string().contains(note), "{note}: {:#}", report["notes"]);
            }
            let doctor = testkit::run_program(&["doctor", &url]);
            assert!(doctor.exit_code <= 1, "{}", doctor.stderr);
        }
    }
}

#[test]
fn two_session_tables_are_ambiguous_and_a_missing_column_is_named() {
    let database = testkit::healthy_database();
    database.psql("CREATE SCHEMA old; CREATE TABLE old.sessions (LIKE sessions INCLUDING ALL)").unwrap();
    for url in database.urls("postgres") {
        let report = testkit::run_check(&url, &[]);
        assert_eq!(report["stats"]["sessions"], 90);
        assert!(
            report["notes"].to_string().contains(r#"\"old\".\"sessions\" looks like a session table too"#),
            "{report:#}"
        );
        let init = testkit::run_program(&["init", &url, "--output", "-"]);
        assert!(
            init.stderr.contains("Ambiguous") && init.stdout.contains("sessions = \"public.sessions\""),
            "{}",
            init.stderr
        );
    }
    database.psql("DROP SCHEMA old CASCADE; ALTER TABLE sessions RENAME COLUMN expires TO ends").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mapping = |expires: &str, decoder: &str| {
        let text = format!(
            "[[target]]\nname = \"main\"\nurl = \"{}\"\n[target.mapping]\nsessions = \"sessions\"\n\
             token = \"sessionToken\"\nexpires = \"{expires}\"\ndecoder = \"{decoder}\"\n",
            database.url("postgres")
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        testkit::run_program_in(
            folder.path(),
            &[],
            &["check", "--format", "json", "--only", "duplicate-tokens"],
        )
    };
    let missing = mapping("expire", "timestamp-utc");
    assert!(missing.exit_code == 2 && missing.stderr.contains("no column `expire`"), "{}", missing.stderr);
    let unfit = mapping("ends", "epoch-s");
    assert!(unfit.exit_code == 2 && unfit.stderr.contains("; use timestamp-utc"), "{}", unfit.stderr);
    assert_eq!(mapping("ends", "timestamp-utc").exit_code, 0);
}

#[test]
fn users_of_any_type_are_counted_alike() {
    for kind in ["smallint", "integer", "bigint", "uuid", "text", "varchar(60)"] {
        let value = match kind {
            "uuid" => "('00000000-0000-4000-8000-0000000000' || lpad((n % 7)::text, 2, '0'))::uuid",
            "text" | "varchar(60)" => "'user ''' || n % 7",
            _ => "n % 7",
        };
        let database = testkit::empty_database();
        database
            .psql(&format!(
                r#"CREATE TABLE users (id {kind} PRIMARY KEY, name text);
                   CREATE TABLE sessions (id text, "sessionToken" text, "userId" {kind}, expires timestamp(3));
                   INSERT INTO users SELECT DISTINCT {value}, 'x' FROM generate_series(2, 6) AS n;
                   INSERT INTO sessions SELECT n::text, 'token-' || n, {value}, now() + interval '1 day'
                     FROM generate_series(1, 70) AS n;
                   INSERT INTO sessions SELECT 'a' || n, 'anonymous-' || n, NULL, now() + interval '1 day'
                     FROM generate_series(1, 5) AS n"#
            ))
            .unwrap();
        for engine in ["scan", "pushdown"] {
            let report = testkit::run_check(&database.url("postgres"), &["--engine", engine]);
            let stats = &report["stats"];
            let numbers = ["sessions", "anonymous", "users_active", "orphaned", "max_per_user"]
                .map(|key| stats[key].as_u64());
            assert_eq!(numbers, [75, 5, 7, 20, 10].map(Some), "{kind} by {engine}: {report:#}");
        }
        let top = testkit::run_program(&["sessions", "top", &database.url("postgres"), "--format", "json"]);
        let top: Value = serde_json::from_str(&top.stdout).unwrap_or_else(|_| panic!("{}", top.stderr));
        assert_eq!(top.to_string().matches("\"x\"").count(), 5, "{kind}: {top:#}");
    }
}

#[test]
fn no_trust_constraints_ignores_a_corrupt_index() {
    let database = testkit::healthy_database();
    database
        .psql(
            r#"CREATE UNIQUE INDEX one_token ON sessions ("sessionToken");
               -- As after a change of the collation under the server: the index stays, and holds no longer.
               UPDATE pg_index SET indisready = false, indisvalid = false, indislive = false
                 WHERE indexrelid = 'one_token'::regclass"#,
        )
        .unwrap();
    database.psql(r#"UPDATE sessions SET "sessionToken" = 'same' WHERE id IN ('s1', 's2')"#).unwrap();
    let lie = "UPDATE pg_index SET indisready = true, indisvalid = true, indislive = true \
        WHERE indexrelid = 'one_token'::regclass";
    database.psql(lie).unwrap();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let deep = testkit::run_check(&url, &["--engine", engine, "--no-trust-constraints"]);
            let found = find_check_result(&deep, "duplicate-tokens");
            assert_eq!(
                (&found["result"], &found["value"]),
                (&"failing".into(), &1.0.into()),
                "{engine}: {found:#}"
            );
        }
        let trusting = testkit::run_check(&url, &["--engine", "pushdown"]);
        assert_eq!(find_check_result(&trusting, "duplicate-tokens")["proof"], "one_token");
    }
}

#[test]
fn hostile_names_and_values_are_only_names_and_values() {
    let database = testkit::empty_database();
    database
        .psql(
            "CREATE SCHEMA \"sch\"\"ema; DROP TABLE x; --\";
             CREATE TABLE \"sch\"\"ema; DROP TABLE x; --\".\"ses'sions\n\
             [[check]]\" (\"sessionToken\" text, \"userId\" text, expires timestamptz);
             CREATE TABLE \"sch\"\"ema; DROP TABLE x; --\".accounts (id text);
             INSERT INTO \"sch\"\"ema; DROP TABLE x; --\".\"ses'sions\n[[check]]\"
               SELECT 'token-' || n, E'o''brien \\\\ \\x1b[31m', now() + interval '1 day' \
                 FROM generate_series(1, 60) AS n",
        )
        .unwrap();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let said = testkit::run_program(&["check", &url, "--engine", engine]);
            assert_eq!(said.exit_code, 1, "{}", said.stderr);
            assert!(
                !said.stdout.contains('\u{1b}') && said.stdout.contains("o'brien \\ \u{fffd}[31m"),
                "{}",
                said.stdout
            );
        }
        let user = testkit::run_for_json(&[
            "sessions",
            "list",
            &url,
            "--user",
            "o'brien \\ \u{1b}[31m",
            "--format",
            "json",
        ]);
        assert_eq!(user["sessions"].as_array().unwrap().len(), 60);
        let sql = testkit::run_program(&["sql", &url]).stdout;
        database.psql(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let folder = tempfile::tempdir().unwrap();
        let variables = [("DATABASE_URL", url.as_str())];
        assert_eq!(testkit::run_program_in(folder.path(), &variables, &["init"]).exit_code, 0);
        let check = testkit::run_program_in(folder.path(), &variables, &["config", "check"]);
        assert_eq!(check.exit_code, 0, "{}", check.stderr);
    }
}

#[test]
fn without_a_user_column_nothing_is_known_about_users() {
    let database = testkit::healthy_database();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[target]]\nname = \"main\"\nurl = \"{}\"\n[target.mapping]\nsessions = \"sessions\"\n\
         token = \"sessionToken\"\nexpires = \"expires\"\n\
         decoder = \"timestamp-utc\"\n[checks.duplicate-tokens]\nenabled = false\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    for engine in ["scan", "pushdown"] {
        let arguments = ["check", "--format", "json", "--engine", engine];
        let said = testkit::run_program_in(folder.path(), &[], &arguments);
        assert_eq!(said.exit_code, 3, "{}", said.stderr);
        let report = said.check_report();
        for id in ["sessions-per-user", "user-session-excess", "rapid-creation", "orphaned-sessions"] {
            assert_eq!(find_check_result(&report, id)["result"], "unknown", "{id}");
        }
        assert!(report["checks"].as_array().unwrap().iter().all(|check| check["id"] != "duplicate-tokens"));
    }
    let asked = testkit::run_program_in(folder.path(), &[], &["check", "--only", "duplicate-tokens"]);
    assert!(asked.exit_code == 0 && asked.stdout.contains("duplicate-tokens"), "{}", asked.stdout);
}

#[test]
fn a_custom_profile_is_recognized_like_the_others() {
    let database = testkit::empty_database();
    database
        .psql(
            "CREATE TABLE people (id bigint PRIMARY KEY, nick text); INSERT INTO people VALUES (1, 'ada');
             CREATE TABLE logins (secret text UNIQUE, person bigint REFERENCES people, until bigint);
             INSERT INTO logins SELECT 'secret-' || n, 1, extract(epoch FROM now())::bigint + 3600 \
               FROM generate_series(1, 3) AS n",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let profile = "title = \"Our logins\"\nmax_lifetime_days = 1\nschemas = []\ntables = [\"logins\"]\nid = []\n\
                   token = [\"secret\"]\n\
                   user = [\"person\"]\nexpires = [\"until\"]\ncreated = []\nusers = [\"people\"]\n\
                   display = [\"nick\"]\naccounts = []\n\
                   decoders = { integer = \"epoch-s\" }\n";
    std::fs::write(folder.path().join("ours.toml"), profile).unwrap();
    let configuration = |profiles: &str| {
        std::fs::write(folder.path().join("sessionwatch.toml"), format!("profiles = [\"{profiles}\"]\n"))
            .unwrap();
    };
    for url in database.urls("postgres") {
        configuration("ours.toml");
        let said =
            testkit::run_program_in(folder.path(), &[], &["sessions", "list", &url, "--format", "json"]);
        let list: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(list["sessions"][2]["display"]["nick"], "ada", "{} {}", said.stdout, said.stderr);
        configuration("other.toml");
        let missing = testkit::run_program_in(folder.path(), &[], &["check", &url]);
        assert!(
            missing.exit_code == 2 && missing.stderr.contains("cannot read profile"),
            "{}",
            missing.stderr
        );
    }
}
