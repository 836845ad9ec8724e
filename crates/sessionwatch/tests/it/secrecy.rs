//! No more of a token than its prefix is ever printed, and a role that may read little is enough.

use crate::{guide, harness};

#[test]
fn no_output_holds_more_than_the_prefix_of_a_token() {
    let database = testbed::shared().database(None).unwrap();
    database.psql(guide::SCHEMA).unwrap();
    database.psql(guide::ANOMALIES).unwrap();
    let url = database.url("postgres");
    let tokens = database
        .psql(r#"SELECT substr("sessionToken", 1, 9) FROM sessions WHERE length("sessionToken") > 8"#)
        .unwrap();
    let mut said = String::new();
    for format in ["table", "json", "ndjson", "csv", "markdown"] {
        for engine in ["scan", "pushdown"] {
            let check = harness::run(&["check", &url, "--engine", engine, "--format", format]);
            said.push_str(&format!("{}{}", check.stdout, check.stderr));
        }
        let list = harness::run(&["sessions", "list", &url, "--format", format, "--limit", "1000"]);
        assert_eq!(list.code, 0, "{}", list.stderr);
        said.push_str(&format!("{}{}", list.stdout, list.stderr));
    }
    assert!(said.contains("token-"), "prefixes are shown");
    for token in tokens.lines() {
        assert!(!said.contains(token), "`{token}` was printed");
    }
    assert!(!said.contains("testbed@") && !said.contains(":testbed"), "the password was printed");
}

#[test]
fn a_role_that_may_read_only_the_needed_columns_is_enough() {
    let database = testbed::shared().database(None).unwrap();
    database.psql(guide::SCHEMA).unwrap();
    let create = "DO $$ BEGIN CREATE ROLE watch LOGIN PASSWORD 'testbed'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;";
    database.psql(create).unwrap();
    let refused = harness::run(&["check", &database.url("watch")]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("sessionToken"), "{}", refused.stderr);
    database.psql(r#"GRANT SELECT ("sessionToken", "userId", expires) ON sessions TO watch; GRANT SELECT (id) ON users TO watch"#).unwrap();
    for engine in ["scan", "pushdown"] {
        let report = harness::check(&database.url("watch"), &["--engine", engine]);
        assert_eq!(report["census"]["sessions"], 90);
        assert_eq!(report["census"]["orphaned"], 0);
    }
}
