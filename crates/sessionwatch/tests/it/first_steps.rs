//! What a person meets who uses the program for the first time.

use std::process::Stdio;

use regex::Regex;
use rusqlite::Connection;

use crate::harness::{self, run_in};

/// Sessions whose ends are stored as milliseconds.
const IN_MILLIS: &str = r#"CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" text NOT NULL, expires bigint NOT NULL);
INSERT INTO sessions VALUES ('a', 'one-token-for-two-people', 'u1', 2895797577185), ('b', 'one-token-for-two-people', 'u2', 2895797577185);"#;

#[test]
fn a_new_password_leaves_the_role_of_an_account() {
    let folder = tempfile::tempdir().unwrap();
    let add = |more: &[&str]| {
        let arguments = [&["accounts", "add", "ada"], more].concat();
        let mut command = harness::command(&arguments);
        let child = command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"correct horse battery\n").unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(add(&[]), "ada may use the dashboard as viewer\n");
    assert_eq!(add(&["--role", "admin"]), "ada may use the dashboard as admin\n");
    assert_eq!(add(&[]), "ada may use the dashboard as admin\n");
    assert!(run_in(folder.path(), &[], &["accounts", "list"]).stdout.contains("admin"));
}

#[test]
fn a_printed_query_goes_by_the_clock_of_whoever_runs_it() {
    let database = harness::empty();
    database.psql(IN_MILLIS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    Connection::open(&path).unwrap().execute_batch(IN_MILLIS).unwrap();
    let micros = Regex::new(r"\b1[0-9]{15}\b").unwrap();
    for url in [database.url("postgres"), path.to_str().unwrap().to_owned()] {
        let said = harness::run(&["sql", &url]);
        assert!(said.code == 0 && !micros.is_match(&said.stdout), "{} {}", said.stdout, said.stderr);
    }
    let shown = database.psql(&harness::run(&["sql", "duplicate-tokens", &database.url("postgres")]).stdout);
    assert!(shown.as_ref().unwrap().contains("2061-10-"), "{shown:?}");
}

#[test]
fn a_password_that_is_missing_is_named() {
    let database = harness::healthy();
    let url = database.url("postgres").replacen(":testbed@", "@", 1);
    let said = harness::run(&["check", &url]);
    let expected = "the server asks for a password, and the address has none";
    assert!(said.code == 3 && said.stderr.contains(expected), "{}", said.stderr);
    let said = harness::run(&["check", &format!("{}?port=1", database.url("postgres"))]);
    let expected = "the parameters of the address contradict each other";
    assert!(said.code == 3 && said.stderr.contains(expected), "{}", said.stderr);
}

#[test]
fn a_machine_that_only_checks_needs_no_secret_for_acting() {
    let database = harness::healthy();
    let folder = tempfile::tempdir().unwrap();
    let target = format!("[[target]]\nname = \"app\"\nurl = \"{}\"\n", database.url("postgres"));
    for missing in ["act_url = \"${ACT_URL}\"\n", "act_url_file = \"act.url\"\n"] {
        std::fs::write(folder.path().join("sessionwatch.toml"), format!("{target}{missing}")).unwrap();
        let run = |arguments: &[&str]| run_in(folder.path(), &[], arguments);
        let checked = run(&["check", "--only", "duplicate-tokens"]);
        assert_eq!(checked.code, 0, "{}", checked.stderr);
        let looked = run(&["config", "check"]);
        assert!(
            looked.code == 0 && looked.stdout.contains("app: checks only"),
            "{} {}",
            looked.stdout,
            looked.stderr
        );
        let planned = run(&["revoke", "all", "--format", "json"]);
        let plan: serde_json::Value = serde_json::from_str(&planned.stdout).unwrap();
        let id = plan["plan"]["id"].as_str().unwrap();
        let refused = run(&["revoke", "all", "--apply", id, "--confirm", "app"]);
        assert!(
            refused.code == 2 && refused.stderr.contains("target `app` cannot be acted on here"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn grants_run_again_and_can_leave_out_the_role_that_acts() {
    let database = harness::anomalous();
    database.psql("ALTER TABLE sessions ENABLE ROW LEVEL SECURITY").unwrap();
    let (url, watch) = (database.url("postgres"), format!("watch_{}", database.name()));
    let sql = harness::run(&["grants", &url, "--watch-role", &watch, "--watch-only"]).stdout;
    assert!(!sql.contains("INSERT") && !sql.contains("DELETE") && !sql.contains("_act"), "{sql}");
    database.psql(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    database.psql(&format!("ALTER ROLE {watch} PASSWORD 'testbed'")).unwrap();
    let act = format!("act_{}", database.name());
    let both = harness::run(&["grants", &url, "--watch-role", &watch, "--act-role", &act]).stdout;
    for _ in 0..2 {
        database.psql(&both).unwrap_or_else(|error| panic!("{both}: {error}"));
    }
    // The role and its password are still those of the first time.
    harness::check(&database.url(&watch), &[]);
}

#[test]
fn help_says_which_target_a_command_is_about() {
    let said = |command: &[&str]| {
        let help = harness::run(&[command, &["--help"]].concat()).stdout;
        help.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(said(&["check"]).contains("every configured target"));
    assert!(!said(&["init"]).contains("configured target"));
    for command in [&["doctor"][..], &["sql"], &["grants"], &["sessions", "list"], &["cleanup", "expired"]] {
        let said = said(command);
        assert!(!said.contains("every configured target") && said.contains("the only configured target"));
    }
}
