//! `check --baseline`: findings of an earlier report are accepted, until there is more of them.

use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;
use testkit::{ProgramOutput, run_program_in};

const TABLES: &str = r#"CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE sessions
(id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" text NOT NULL, expires text NOT NULL);
INSERT INTO users VALUES ('u1', 'Ada', 'ada@example.org'), ('u2', 'Bea', 'bea@example.org');
"#;
const CARTS_CHECK: &str = r#"[[custom_check]]
id = "carts"
sql = "SELECT count(*) FROM carts"
value = "first"
threshold = "> 0"
"#;

/// Makes a target `main` with two sessions that share a token, and 12 without a user.
fn folder_with_findings(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    change(folder.path(), TABLES);
    insert_session(folder.path(), "s1", "shared", "u1");
    insert_session(folder.path(), "s2", "shared", "u2");
    for n in 1..=12 {
        insert_session(folder.path(), &format!("o{n}"), &format!("{n:02}"), &format!("gone{n}"));
    }
    let text = format!("[[target]]\nname = \"main\"\nurl = \"sqlite:app.db\"\n{config}");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    folder
}

fn change(folder: &Path, sql: &str) {
    Connection::open(folder.join("app.db")).unwrap().execute_batch(sql).unwrap();
}

fn insert_session(folder: &Path, id: &str, token: &str, user: &str) {
    let expires = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3 days')";
    let token = format!("{token}-token-that-is-long-enough-to-show-a-prefix");
    change(folder, &format!("INSERT INTO sessions VALUES ('{id}', '{token}', '{user}', {expires});"));
}

fn check(folder: &Path, arguments: &[&str]) -> ProgramOutput {
    run_program_in(folder, &[], &[&["check"], arguments].concat())
}

fn write_baseline(folder: &Path) {
    let run = check(folder, &["main", "--format", "json", "--output", "accepted.json"]);
    assert_eq!(run.exit_code, 1, "{}", run.stderr);
}

fn check_with_baseline(folder: &Path) -> (i32, String) {
    let run = check(folder, &["main", "--baseline", "accepted.json"]);
    (run.exit_code, run.stdout + &run.stderr)
}

#[test]
fn findings_of_the_baseline_pass_in_every_format() {
    let folder = folder_with_findings("");
    let folder = folder.path();
    write_baseline(folder);
    let (code, text) = check_with_baseline(folder);
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("passing: 5 of 7 checks on main, 2 accepted"), "{text}");
    assert!(code == 0 && text.contains("\n accepted  duplicate-tokens "), "{code} {text}");

    let formatted = |format: &str| {
        let run = check(folder, &["main", "--baseline", "accepted.json", "--format", format]);
        assert_eq!(run.exit_code, 0, "{format}: {}", run.stderr);
        run.stdout
    };
    let report: Value = serde_json::from_str(&formatted("json")).unwrap();
    let report = &report["targets"][0];
    assert_eq!(report["result"], "passing");
    let accepted: Vec<&Value> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["accepted"] == true).collect();
    let states: Vec<_> =
        accepted.iter().map(|check| (&check["id"], &check["result"], &check["decides"])).collect();
    let (failing, decides) = (Value::from("failing"), Value::from(false));
    assert_eq!(
        states,
        [(&"duplicate-tokens".into(), &failing, &decides), (&"orphaned-sessions".into(), &failing, &decides)]
    );
    let sarif: Value = serde_json::from_str(&formatted("sarif")).unwrap();
    for result in sarif["runs"][0]["results"].as_array().unwrap() {
        assert_eq!(
            (&result["baselineState"], &result["suppressions"][0]["kind"]),
            (&"unchanged".into(), &"external".into())
        );
    }
    assert!(formatted("junit").contains("failures=\"0\""));
    assert!(formatted("markdown").contains("| accepted | duplicate-tokens |"));

    // The address of a database differs between machines, so its name does not matter.
    let by_file = check(folder, &["sqlite:app.db", "--baseline", "accepted.json"]);
    assert_eq!(by_file.exit_code, 0, "{}", by_file.stdout);
    // What is fixed is no finding anymore.
    change(folder, "DELETE FROM sessions WHERE id = 'o3'");
    assert_eq!(check_with_baseline(folder).0, 0);
}

#[test]
fn one_more_finding_of_the_same_check_fails() {
    for (id, token, user, expected) in
        [("s5", "new", "z", "orphaned-sessions"), ("s5", "shared", "u1", "duplicate-tokens")]
    {
        let folder = folder_with_findings("");
        write_baseline(folder.path());
        insert_session(folder.path(), id, token, user);
        let (code, text) = check_with_baseline(folder.path());
        let note =
            format!("{expected} failed in the baseline report too, but not with all that it finds now");
        assert!(
            code == 1 && text.starts_with("failing: 1 of 7 checks on main (") && text.contains(&note),
            "{text}"
        );
        assert!(text.contains(", 1 accepted"), "{text}");
    }
    // As many as before, but not the same.
    let folder = folder_with_findings("[checks.orphaned-sessions]\nmax = 3\n");
    change(folder.path(), "DELETE FROM sessions WHERE id > 'o3' AND id < 's'");
    write_baseline(folder.path());
    change(folder.path(), "DELETE FROM sessions WHERE id = 'o3'");
    assert_eq!(check_with_baseline(folder.path()).0, 0);
    insert_session(folder.path(), "s5", "new", "z");
    assert_eq!(check_with_baseline(folder.path()).0, 1);
}

#[test]
fn more_shared_tokens_than_a_report_lists_are_not_accepted() {
    let folder = folder_with_findings("");
    for n in 0..8 {
        for user in ["u1", "u2"] {
            insert_session(folder.path(), &format!("d{n}{user}"), &format!("shared{n}"), user);
        }
    }
    write_baseline(folder.path());
    // Others could have taken the place of those that are not listed.
    let (code, text) = check_with_baseline(folder.path());
    assert!(code == 1 && text.contains("duplicate-tokens failed in the baseline report too"), "{text}");
}

#[test]
fn a_custom_number_is_accepted_until_it_gets_worse() {
    let folder = folder_with_findings(CARTS_CHECK);
    change(folder.path(), "CREATE TABLE carts (id int); INSERT INTO carts VALUES (1), (2);");
    write_baseline(folder.path());
    assert_eq!(check_with_baseline(folder.path()).0, 0);
    change(folder.path(), "INSERT INTO carts VALUES (3)");
    assert_eq!(check_with_baseline(folder.path()).0, 1);
    change(folder.path(), "DELETE FROM carts WHERE id > 1");
    assert_eq!(check_with_baseline(folder.path()).0, 0);
}

#[test]
fn a_file_that_is_no_report_is_an_error() {
    let folder = folder_with_findings("");
    for (text, expected) in [
        (None, "cannot read the baseline report accepted.json: No such file or directory"),
        (
            Some("failing: 2 of 8 checks"),
            "accepted.json is not a report of `check --format json`: expected ident",
        ),
        (
            Some("{\"schema\": 1, \"targets\": []}"),
            "has schema 1, and this version reads schema 2: write the file again",
        ),
        (
            Some("{\"schema\": 2, \"findings\": []}"),
            "accepted.json is not a report of `check --format json`: missing field `targets`",
        ),
    ] {
        if let Some(text) = text {
            std::fs::write(folder.path().join("accepted.json"), text).unwrap();
        }
        let (code, said) = check_with_baseline(folder.path());
        assert!(code == 2 && said.contains(expected), "{said}");
    }
}
