//! SQLite files: the demonstration, and files that are none.

use crate::harness;

#[test]
fn the_demonstration_shows_every_kind_of_anomaly_by_both_engines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.db").display().to_string();
    let demo = harness::run(&["demo", "--path", &path]);
    assert_eq!(demo.code, 0, "{}", demo.stderr);
    assert!(demo.stdout.contains("Try next:"));
    let scan = harness::check(&path, &["--engine", "scan"]);
    let pushdown = harness::check(&path, &["--engine", "pushdown"]);
    assert_eq!(scan["census"]["duplicate_tokens"], 3);
    assert_eq!(scan["census"]["orphaned"], 14);
    assert_eq!(scan["census"]["expired"], 420);
    for id in [
        "duplicate-tokens",
        "orphaned-sessions",
        "user-session-excess",
        "rapid-creation",
        "expired-backlog",
        "session-lifetime",
    ] {
        let (one, other) = (harness::outcome(&scan, id), harness::outcome(&pushdown, id));
        assert_eq!(one["verdict"], "failing", "{id}");
        assert_eq!(one["value"], other["value"], "{id}");
        let (one, other) = (one["evidence"].as_array().unwrap(), other["evidence"].as_array().unwrap());
        assert_eq!(one.len(), other.len(), "{id}");
    }
}

#[test]
fn files_that_are_no_database_are_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "not a database, only text that is long enough to have a header of its own, which is wrong",
    )
    .unwrap();
    for (path, part) in
        [(text.display().to_string(), "not a SQLite database"), ("/no/such.db".into(), "no such file")]
    {
        let said = harness::run(&["check", &path]);
        assert_eq!(said.code, 3, "{}", said.stderr);
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
}
