//! No more of a token than its prefix is printed or sent, and a role with minimal privileges suffices.

use testkit::{FaultProxy, NetworkFault};

/// Tokens with recognizable suffixes, in rows of every kind.
const PLANTED: &str = r#"
UPDATE sessions SET "sessionToken" = left(md5("sessionToken"), 8) || 'Z' || md5(reverse("sessionToken"));
"#;

/// Every command that reads sessions.
fn commands(url: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["doctor", url],
        vec!["grants", url],
        vec!["init", url, "--output", "-"],
        vec!["sessions", "top", url],
        vec!["sql", url],
        vec!["check", url, "--no-trust-constraints"],
        vec!["--verbose", "check", url],
        vec!["--verbose", "check", url, "--no-trust-constraints", "--engine", "pushdown"],
    ];
    for format in ["table", "json", "ndjson", "csv", "markdown"] {
        commands.push(vec!["sessions", "list", url, "--format", format, "--limit", "1000"]);
        for engine in ["scan", "pushdown"] {
            commands.push(vec!["check", url, "--engine", engine, "--format", format]);
        }
    }
    commands.into_iter().map(|command| command.into_iter().map(str::to_owned).collect()).collect()
}

#[test]
fn no_more_of_a_token_than_its_prefix_is_printed_or_sent() {
    let database = testkit::anomalous_database();
    database.psql(PLANTED).unwrap();
    let longer = database.psql(r#"SELECT DISTINCT left("sessionToken", 9) FROM sessions"#).unwrap();
    let orphan = database.psql(r#"SELECT left("sessionToken", 8) FROM sessions WHERE id = 'o1'"#).unwrap();
    for port in testkit::shared_server().ports() {
        let proxy = FaultProxy::start(port, NetworkFault::None).unwrap();
        let url = format!("{}?sslmode=disable", database.url_at_port("postgres", proxy.port()));
        let mut said = String::new();
        for command in commands(&url) {
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            let output = testkit::run_program(&arguments);
            assert!([0, 1].contains(&output.exit_code), "{command:?}: {} {}", output.stdout, output.stderr);
            said.push_str(&format!("{}{}", output.stdout, output.stderr));
        }
        let sent = proxy.captured_bytes();
        let sent = String::from_utf8_lossy(&sent);
        assert!(
            sent.contains("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            "questions are captured too"
        );
        for (what, text) in [("printed", said.as_str()), ("sent", &sent)] {
            assert!(text.contains(orphan.trim()), "prefixes are {what}");
            let leaked = longer.lines().find(|longer| text.contains(longer));
            assert_eq!(leaked, None, "more than a prefix was {what}");
        }
        assert!(!said.contains(":testkit"), "the password was printed");
    }
}

#[test]
fn a_role_that_can_read_only_the_needed_columns_suffices() {
    let database = testkit::healthy_database();
    let role = testkit::create_role(&database, "watch");
    for url in database.urls(&role) {
        let refused = testkit::run_program(&["check", &url]);
        assert_eq!(refused.exit_code, 3);
        assert!(refused.stderr.contains("sessionToken"), "{}", refused.stderr);
    }
    let grant = format!(
        r#"GRANT SELECT ("sessionToken", "userId", expires) ON sessions TO {role};
           GRANT SELECT (id) ON users TO {role}"#
    );
    database.psql(&grant).unwrap();
    for url in database.urls(&role) {
        for engine in ["scan", "pushdown"] {
            let report = testkit::run_check(&url, &["--engine", engine]);
            assert_eq!(report["stats"]["sessions"], 90);
            assert_eq!(report["stats"]["orphaned"], 0);
        }
    }
}
