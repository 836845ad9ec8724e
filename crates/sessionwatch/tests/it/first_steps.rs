//! First contact: what first-time users see.

use std::process::Stdio;
use testkit::run_program_in;

use regex::Regex;
use rusqlite::Connection;

/// Sessions with expiry in milliseconds.
const IN_MILLIS: &str = r#"CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL,
  "userId" text NOT NULL, expires bigint NOT NULL);
INSERT INTO sessions VALUES ('a', 'one-token-for-two-people', 'u1', 2895797577185),
  ('b', 'one-token-for-two-people', 'u2', 2895797577185);"#;

#[test]
fn a_new_password_keeps_the_role_of_an_account() {
    let folder = tempfile::tempdir().unwrap();
    let add = |more: &[&str]| {
        let arguments = [&["accounts", "add", "ada"], more].concat();
        let mut command = testkit::program_command(&arguments);
        let child = command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"correct horse battery\n").unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(add(&[]), "Account ada: viewer\n");
    assert_eq!(add(&["--role", "admin"]), "Account ada: admin\n");
    assert_eq!(add(&[]), "Account ada: admin\n");
    assert!(run_program_in(folder.path(), &[], &["accounts", "list"]).stdout.contains("admin"));
}

#[test]
fn a_printed_query_uses_the_clock_of_the_time_it_is_run() {
    let database = testkit::empty_database();
    database.psql(IN_MILLIS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    Connection::open(&path).unwrap().execute_batch(IN_MILLIS).unwrap();
    let micros = Regex::new(r"\b1[0-9]{15}\b").unwrap();
    for url in [database.url("postgres"), path.to_str().unwrap().to_owned()] {
        let said = testkit::run_program(&["sql", &url]);
        assert!(said.exit_code == 0 && !micros.is_match(&said.stdout), "{} {}", said.stdout, said.stderr);
    }
    let shown =
        database.psql(&testkit::run_program(&["sql", "duplicate-tokens", &database.url("postgres")]).stdout);
    assert!(shown.as_ref().unwrap().contains("2061-10-"), "{shown:?}");
}

#[test]
fn a_missing_password_is_named() {
    let database = testkit::healthy_database();
    let url = database.url("postgres").replacen(":testkit@", "@", 1);
    let said = testkit::run_program(&["check", &url]);
    let expected = "the server requires a password, but the address has none";
    assert!(said.exit_code == 3 && said.stderr.contains(expected), "{}", said.stderr);
    let said = testkit::run_program(&["check", &format!("{}?port=1", database.url("postgres"))]);
    let expected = "parameters of the address contradict each other";
    assert!(said.exit_code == 3 && said.stderr.contains(expected), "{}", said.stderr);
}

#[test]
fn a_machine_that_only_checks_needs_no_write_credentials() {
    let database = testkit::healthy_database();
    let folder = tempfile::tempdir().unwrap();
    let target = format!("[[target]]\nname = \"app\"\nurl = \"{}\"\n", database.url("postgres"));
    for missing in ["write_url = \"${WRITE_URL}\"\n", "write_url_file = \"write.url\"\n"] {
        std::fs::write(folder.path().join("sessionwatch.toml"), format!("{target}{missing}")).unwrap();
        let run = |arguments: &[&str]| run_program_in(folder.path(), &[], arguments);
        let checked = run(&["check", "--only", "duplicate-tokens"]);
        assert_eq!(checked.exit_code, 0, "{}", checked.stderr);
        let looked = run(&["config", "check"]);
        assert!(
            looked.exit_code == 0 && looked.stdout.contains("app: checks only"),
            "{} {}",
            looked.stdout,
            looked.stderr
        );
        let planned = run(&["revoke", "all", "--format", "json"]);
        let plan: serde_json::Value = serde_json::from_str(&planned.stdout).unwrap();
        let id = plan["plan"]["id"].as_str().unwrap();
        let refused = run(&["apply", id, "--confirm", "app"]);
        assert!(
            refused.exit_code == 2 && refused.stderr.contains("cannot change target `app` from this machine"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn grants_can_be_run_again_and_can_leave_out_the_write_role() {
    let database = testkit::anomalous_database();
    database.psql("ALTER TABLE sessions ENABLE ROW LEVEL SECURITY").unwrap();
    let (url, watch) = (database.url("postgres"), format!("watch_{}", database.name()));
    let sql = testkit::run_program(&["grants", &url, "--watch-role", &watch, "--watch-only"]).stdout;
    assert!(!sql.contains("INSERT") && !sql.contains("DELETE") && !sql.contains("_act"), "{sql}");
    database.psql(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    database.psql(&format!("ALTER ROLE {watch} PASSWORD 'testkit'")).unwrap();
    let act = format!("act_{}", database.name());
    let both = testkit::run_program(&["grants", &url, "--watch-role", &watch, "--write-role", &act]).stdout;
    for _ in 0..2 {
        database.psql(&both).unwrap_or_else(|error| panic!("{both}: {error}"));
    }
    // The role and its password are still the first ones.
    let _ = testkit::run_check(&database.url(&watch), &[]);
}

#[test]
fn help_says_which_target_a_command_uses() {
    let said = |command: &[&str]| {
        let help = testkit::run_program(&[command, &["--help"]].concat()).stdout;
        help.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(said(&["check"]).contains("all configured targets"));
    for command in [&["doctor"][..], &["sql"], &["grants"], &["sessions", "list"], &["cleanup", "expired"]] {
        let said = said(command);
        assert!(said.contains("Configured target name, database URL or SQLite file"), "{said}");
        assert!(said.contains("Global options:") && said.contains("Examples:"), "{said}");
    }
}

const TABLES: &str = r#"CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL,
  "userId" text NOT NULL, expires text NOT NULL);
INSERT INTO users VALUES ('u1', 'Ada', 'ada@example.org');"#;

/// Creates a SQLite file with these tables and rows.
fn file(folder: &std::path::Path, rows: &str) -> String {
    let path = folder.join("app.db");
    let _ = std::fs::remove_file(&path);
    Connection::open(&path).unwrap().execute_batch(&format!("{TABLES}{rows}")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn singular_is_used_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "INSERT INTO sessions VALUES ('far', 'far-away-far-away-far-away', 'u1', '2099-01-01T00:00:00.000Z');";
    let path = file(folder.path(), rows);
    let said = run_program_in(folder.path(), &[], &["check", &path]).stdout;
    assert!(said.contains("\nChecked 1 session in "), "{said}");
    assert!(said.contains(": 1 session expires later than allowed\n"), "{said}");
    let planned = run_program_in(folder.path(), &[], &["revoke", "all", &path]).stdout;
    assert!(planned.contains("delete 1 of 1 row (100.0%), 1 of 1 active session (100.0%)"), "{planned}");
}

#[test]
fn a_truncated_list_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ghost = |n: u32| {
        format!(
            "INSERT INTO sessions VALUES ('s{n}', 'token-{n}-token-{n}-token', 'ghost', '2027-01-01T00:00:00.000Z');"
        )
    };
    let path = file(folder.path(), &(0..15).map(ghost).collect::<String>());
    let said = run_program_in(folder.path(), &[], &["check", &path, "--only", "orphaned-sessions"]).stdout;
    assert!(said.contains("\n    10 of 15 shown\n"), "{said}");
    let list = |limit: &str| {
        run_program_in(folder.path(), &[], &["sessions", "list", &path, "--limit", limit, "--format", "csv"])
    };
    let cut = list("5");
    assert_eq!(
        (cut.stderr.as_str(), cut.stdout.lines().count()),
        ("note: sessions: 5 of 15 shown; raise --limit to see more\n", 6)
    );
    assert!(cut.stdout.starts_with("token_prefix,id,user,expires,status,hours_left,"), "{}", cut.stdout);
    assert!(cut.stdout.contains(",2027-01-01T00:00:00.000000Z,"), "{}", cut.stdout);
    assert_eq!(list("15").stderr, "");
}

#[test]
fn tables_fit_the_terminal_and_have_no_trailing_spaces() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "");
    let said =
        |columns: &str| run_program_in(folder.path(), &[("COLUMNS", columns)], &["check", &path]).stdout;
    let widest = |text: &str| {
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
        let table = text.lines().skip(3).take_while(|line| !line.is_empty());
        table.map(|line| line.chars().count()).max().unwrap()
    };
    let (narrow, wide) = (said("60"), said("200"));
    assert!(widest(&narrow) <= 60 && widest(&wide) > widest(&narrow), "{narrow}{wide}");
    // In a list, only the widest column is wrapped, so that names can be copied.
    let agent = "a browser with a long name ".repeat(6);
    let rows = format!(
        "ALTER TABLE sessions ADD COLUMN user_agent text; \
         INSERT INTO sessions VALUES ('s', 'token-token-token-token', 'u1', '2027-01-01T00:00:00.000Z', '{agent}');"
    );
    let path = file(folder.path(), &rows);
    let mapping = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"sessionToken\"\n\
        expires = \"expires\"\ndecoder = \"iso-text\"\nuser = \"userId\"\nuser_agent = \"user_agent\"\n";
    let text = format!("[[target]]\nname = \"app\"\nurl = \"{path}\"\n{mapping}");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let list =
        |columns: &str| run_program_in(folder.path(), &[("COLUMNS", columns)], &["sessions", "list"]).stdout;
    let longest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    let (narrow, wide) = (list("120"), list("200"));
    assert!(longest(&narrow) <= 120 && longest(&narrow) < longest(&wide), "{narrow}{wide}");
    assert!(narrow.contains("2027-01-01 00:00:00 UTC"), "{narrow}");
}

#[test]
fn a_terminal_shows_an_error_once_and_in_color_only_if_supported() {
    let program = env!("CARGO_BIN_EXE_sessionwatch");
    let at_a_terminal = |term: &str| {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &format!("{program} check /nowhere/app.db"), "/dev/null"]).env("TERM", term);
        let said = script.env_remove("NO_COLOR").stdin(Stdio::null()).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    let (dumb, other) = (at_a_terminal("dumb"), at_a_terminal("xterm"));
    assert_eq!(dumb.matches("no such file").count(), 1, "{dumb}");
    assert!(dumb.contains("hint: check the path"), "{dumb}");
    assert!(!dumb.contains('\u{1b}') && other.contains('\u{1b}'), "{dumb}{other}");
}

/// A configuration of a file, with a manual mapping.
fn mapped(folder: &std::path::Path, mapping: &str) {
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"app.db\"\n[target.mapping]\nsessions = \"stored\"\n\
         token = \"token\"\n{mapping}"
    );
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

#[test]
fn without_a_user_column_the_skipped_checks_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let app = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    let row = "INSERT INTO stored VALUES ('token-token-token-token', 4102444800)";
    app.execute_batch(&format!("CREATE TABLE stored (token text, ends integer); {row}")).unwrap();
    mapped(folder.path(), "expires = \"ends\"\ndecoder = \"epoch-s\"\n");
    let check = run_program_in(folder.path(), &[], &["check"]);
    let skipped =
        "token-reassigned, orphaned-sessions, sessions-per-user, user-session-excess, rapid-creation";
    let said = format!("no user column is mapped, so these checks cannot run: {skipped}");
    assert!(check.exit_code == 3 && check.stdout.contains(&said), "{}", check.stdout);
    assert!(!check.stdout.contains("only `serve`"), "{}", check.stdout);
    let doctor = run_program_in(folder.path(), &[], &["doctor"]).stdout;
    let said = format!("warn  user: no user column, so these checks cannot run: {skipped}");
    assert!(doctor.contains(&said) && !doctor.contains("ADD COLUMN"), "{doctor}");
}

/// Observed with the Prisma adapter: an old cookie uses up the link of an email.
#[test]
fn a_plan_says_that_prisma_users_need_a_new_link_after_revocation() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(include_str!("../fixtures/frameworks/authjs-prisma-pg.sql")).unwrap();
    database.psql("UPDATE \"Session\" SET expires = (now() AT TIME ZONE 'UTC') + interval '9 days'").unwrap();
    let url = database.url("postgres");
    let said = |command: &[&str]| run_program_in(folder.path(), &[], &[command, &[&url]].concat()).stdout;
    let revoked = said(&["revoke", "all"]);
    assert!(revoked.contains("must reload the page and request a new link"), "{revoked}");
    database.psql("UPDATE \"Session\" SET expires = (now() AT TIME ZONE 'UTC') - interval '9 days'").unwrap();
    let removed = said(&["cleanup", "expired"]);
    assert!(
        removed.contains("no active session is affected") && !removed.contains("a new link"),
        "{removed}"
    );
}

#[test]
fn tokens_with_a_common_prefix_are_distinguished_by_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let app = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    let rows = "CREATE TABLE stored (id integer, token text, ends integer);
        INSERT INTO stored SELECT value, 'session:' || lower(hex(randomblob(8))) || value || 'abcdefgh', \
          unixepoch() + 86400 FROM json_each('[1,2,3,4,5,6]');
        INSERT INTO stored VALUES (7, 'session:0123456789abcdefghij', unixepoch() + 86400), \
          (8, '9876543210abcdefghijklmn', unixepoch() + 86400);";
    app.execute_batch(rows).unwrap();
    let mapping = "expires = \"ends\"\ndecoder = \"epoch-s\"\n";
    let prefixes = || {
        let said = run_program_in(folder.path(), &[], &["sessions", "list", "--format", "csv"]).stdout;
        let lines = said.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned());
        lines.collect::<std::collections::BTreeSet<String>>()
    };
    mapped(folder.path(), mapping);
    assert_eq!(prefixes().len(), 2);
    let several = run_program_in(folder.path(), &[], &["revoke", "session", "session:"]);
    assert!(
        several.exit_code == 2 && several.stderr.contains("matches several sessions"),
        "{}",
        several.stderr
    );
    mapped(folder.path(), &format!("{mapping}token_prefix = \"session:\"\n"));
    let apart = prefixes();
    // At most a third of the rest is shown; tokens with other prefixes are shown as usual.
    assert!(apart.len() == 8 && apart.contains("012345") && apart.contains("98765432"), "{apart:?}");
    let one = run_program_in(folder.path(), &[], &["revoke", "session", "012345", "--format", "json"]);
    assert!(one.stdout.contains("\"rows\": 1"), "{} {}", one.stdout, one.stderr);
    app.execute_batch("DELETE FROM stored WHERE id = 8").unwrap();
    let doctor = || run_program_in(folder.path(), &[], &["doctor"]).stdout;
    assert!(!doctor().contains("token-prefix"), "{}", doctor());
    mapped(folder.path(), mapping);
    assert!(
        doctor().contains("warn  token-prefix: every token in a sample starts with `session:`"),
        "{}",
        doctor()
    );
}

#[test]
fn the_last_use_of_sessions_is_not_mistaken_for_their_expiry() {
    let folder = tempfile::tempdir().unwrap();
    let app = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    let rows = "CREATE TABLE stored (token text, user_id integer, last_activity integer);
        INSERT INTO stored VALUES ('token-token-token-token', 1, unixepoch()), \
          ('token-token-token-tokem', 2, unixepoch() - 86400);";
    app.execute_batch(rows).unwrap();
    mapped(folder.path(), "user = \"user_id\"\nexpires = \"last_activity\"\ndecoder = \"epoch-s\"\n");
    for command in [&["check"][..], &["cleanup", "expired"], &["doctor"]] {
        let said = run_program_in(folder.path(), &[], command);
        let refused = "`last_activity` stores when a session was last used, not when it expires";
        assert!(
            said.exit_code == 3 && said.stderr.contains(refused),
            "{command:?} {} {}",
            said.exit_code,
            said.stderr
        );
    }
    // As the hint says, a view can add the lifetime.
    app.execute_batch("CREATE VIEW lasting AS SELECT *, last_activity + 7200 AS ends FROM stored").unwrap();
    mapped(folder.path(), "user = \"user_id\"\nexpires = \"ends\"\ndecoder = \"epoch-s\"\n");
    let text = std::fs::read_to_string(folder.path().join("sessionwatch.toml")).unwrap();
    std::fs::write(folder.path().join("sessionwatch.toml"), text.replace("\"stored\"", "\"lasting\""))
        .unwrap();
    let said = run_program_in(folder.path(), &[], &["check", "--format", "json"]);
    let report = said.check_report();
    assert_eq!(
        (&report["stats"]["active"], &report["stats"]["expired"]),
        (&1.into(), &1.into()),
        "{report:#}"
    );
    // A column of this name with values in the future holds the expiry.
    app.execute_batch("UPDATE stored SET last_activity = last_activity + 7200").unwrap();
    mapped(folder.path(), "user = \"user_id\"\nexpires = \"last_activity\"\ndecoder = \"epoch-s\"\n");
    let said = run_program_in(folder.path(), &[], &["check", "--format", "json"]);
    assert!(said.stdout.contains("\"active\": 1"), "{}", said.stdout);
}

#[test]
fn an_empty_plan_promises_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rows =
        "INSERT INTO sessions VALUES ('s', 'token-token-token-token', 'u1', '2099-01-01T00:00:00.000Z');";
    let said = run_program_in(folder.path(), &[], &["cleanup", "expired", &file(folder.path(), rows)]).stdout;
    assert!(
        said.contains("Nothing to do: no row matches.") && !said.contains("are removed from the table"),
        "{said}"
    );
}

#[test]
fn a_url_of_another_product_is_named_as_such() {
    for (address, expected) in [
        ("redis://:pw@h:6379/0", "sessions in Redis are not supported yet"),
        ("mongodb+srv://u:pw@h/d", "MongoDB is not supported"),
        ("libsql://app.turso.io", "for a libSQL file, use sqlite:PATH"),
        ("jdbc:postgresql://h/d", "JDBC URLs are not supported"),
    ] {
        let said = testkit::run_program(&["check", address]);
        assert!(said.exit_code == 2 && said.stderr.contains(expected), "{address}: {}", said.stderr);
    }
}

#[test]
fn the_file_of_prisma_is_found_beside_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("prisma")).unwrap();
    let rows =
        "INSERT INTO sessions VALUES ('s', 'token-token-token-token', 'u1', '2027-01-01T00:00:00.000Z');";
    file(&folder.path().join("prisma"), rows);
    let said = run_program_in(
        folder.path(),
        &[("DATABASE_URL", "file:./app.db")],
        &["check", "--only", "duplicate-tokens"],
    );
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
}

#[test]
fn init_names_commands_that_work() {
    let database = testkit::healthy_database();
    let folder = tempfile::tempdir().unwrap();
    let url = database.url("postgres");
    let other = run_program_in(folder.path(), &[], &["init", &url, "-o", "other.toml"]).stdout;
    assert!(
        other.contains("export DATABASE_URL") && other.contains("  sessionwatch check --config other.toml\n"),
        "{other}"
    );
    let set = run_program_in(folder.path(), &[("DATABASE_URL", &url)], &["init"]).stdout;
    assert!(!set.contains("export") && set.contains("  sessionwatch check\n"), "{set}");
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let said = run_program_in(folder.path(), &[], &["man", "--output", "."]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    for page in ["sessionwatch.1", "sessionwatch-check.1", "sessionwatch-cleanup-expired.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}

#[test]
fn doctor_spells_columns_as_the_table_does() {
    let database = testkit::empty_database();
    database
        .psql(
            "CREATE TABLE users (id text PRIMARY KEY, name text, email text); \
             CREATE TABLE accounts (id text PRIMARY KEY, user_id text);
             CREATE TABLE kept (id text PRIMARY KEY, session_token text UNIQUE NOT NULL, \
               user_id text NOT NULL REFERENCES users ON DELETE CASCADE, expires timestamptz NOT NULL);
             INSERT INTO users VALUES ('u1', 'Ada', 'ada@example.org'); \
             INSERT INTO kept VALUES ('s', 'token-token-token-token', 'u1', now() + interval '1 day');
             CREATE VIEW shown AS SELECT * FROM kept",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let said = |table: &str| {
        let mapping = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\n[target.mapping]\nsessions = \"{table}\"\n\
             token = \"session_token\"\nexpires = \"expires\"\ndecoder = \"timestamptz\"\nuser = \"user_id\"\n",
            database.url("postgres")
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), mapping).unwrap();
        let said = run_program_in(folder.path(), &[], &["doctor"]);
        format!("{}{}", said.stdout, said.stderr)
    };
    let table = said("kept");
    assert!(table.contains(r#"ALTER TABLE "public"."kept" ADD COLUMN "created_at""#), "{table}");
    let view = said("shown");
    assert!(
        view.contains("add a column created_at to the underlying table") && !view.contains("ADD COLUMN"),
        "{view}"
    );
}

#[test]
fn an_incident_closed_with_open_steps_can_be_reported() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "");
    let text = "[[target]]\nname = \"app\"\nurl = \"app.db\"\n[serve]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let run = |arguments: &[&str]| {
        run_program_in(folder.path(), &[], &[&["incident"], arguments, &["app"]].concat())
    };
    assert_eq!(run(&["open", "--severity", "P1"]).exit_code, 0);
    let refused = run(&["close"]);
    assert!(refused.exit_code == 1 && refused.stderr.contains("--override"), "{}", refused.stderr);
    assert_eq!(run(&["close", "--override", "a rehearsal"]).exit_code, 0);
    let report = run(&["report"]);
    assert!(
        report.exit_code == 0 && report.stdout.contains("overridden despite open points ("),
        "{} {}",
        report.stdout,
        report.stderr
    );
    assert!(report.stdout.contains(": a rehearsal"), "{}", report.stdout);
    testkit::create_account(folder.path(), "ada", "viewer");
    let watch = testkit::DaemonProcess::start(folder.path());
    let id = report.stdout.split([' ', ':']).find(|word| word.starts_with("INC-")).unwrap();
    let path = format!("/incidents/{id}");
    let page = testkit::DashboardLogin::start(&watch.address, "ada").get(&watch.address, &path).body;
    assert!(page.contains("Monitor for 24 hours") && !page.contains("aria-current=\"step\""), "{page}");
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn pages_list_the_worst_first_and_write_times_in_one_format() {
    let folder = tempfile::tempdir().unwrap();
    let ghost = |n: u32| {
        format!(
            "INSERT INTO sessions VALUES ('s{n}', 'token-{n}-token-{n}-token', 'ghost', '2027-01-01T00:00:00.000Z');"
        )
    };
    let old =
        "INSERT INTO sessions VALUES ('old', 'old-old-old-old-old-old', 'u1', '2020-01-01T00:00:00.000Z');";
    file(folder.path(), &(0..15).map(ghost).chain([old.to_owned()]).collect::<String>());
    let text = "[[target]]\nname = \"app\"\nurl = \"app.db\"\n[serve]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::create_account(folder.path(), "ada", "viewer");
    let watch = testkit::DaemonProcess::start(folder.path());
    let login = testkit::DashboardLogin::start(&watch.address, "ada");
    let page = |path: &str| login.get(&watch.address, path).body;
    testkit::wait_until("both checks fail", || {
        let page = page("/alerts");
        page.contains("Expired sessions piling up") && page.contains("Orphaned sessions")
    });
    let alerts = page("/alerts");
    let place = |title: &str| alerts.find(&format!(">{title}<")).unwrap();
    assert!(place("Orphaned sessions") < place("Expired sessions piling up"), "{alerts}");
    let check = page("/targets/app/checks/orphaned-sessions");
    assert!(check.contains("10 of 15 shown") && check.contains("2027-01-01 00:00:00 UTC"), "{check}");
    assert!(!check.contains(">2027-01-01T"), "{check}");
    assert_eq!(watch.stop(), Some(0));
}
