//! Names in a URL or a mapping are binding: a schema, table or column that does not exist is an error, and never
//! ignored.

use serde_json::Value;
use testkit::run_program_in;

/// The operator guide's tables in `public`, and a copy in `staging` in which every session is an orphan; `empty` has
/// none.
fn staged() -> testkit::Database<'static> {
    let database = testkit::healthy_database();
    database
        .psql(
            "CREATE SCHEMA staging; CREATE SCHEMA empty;
             CREATE TABLE staging.sessions AS SELECT * FROM public.sessions LIMIT 12;
             CREATE TABLE staging.users AS SELECT * FROM public.users LIMIT 0",
        )
        .unwrap();
    database
}

fn sessions(url: &str, more: &[&str]) -> Value {
    testkit::run_check(url, more)["stats"]["sessions"].clone()
}

#[test]
fn a_missing_named_schema_is_an_error_that_lists_existing_ones() {
    let database = staged();
    for url in database.urls("postgres") {
        for parameter in [
            "schema=stagin",
            "currentSchema=stagin",
            "currentSchema=public,stagin",
            "options=-csearch_path%3Dstagin",
            "options=-c%20search_path%3Dpublic%2Cstagin",
        ] {
            // The pooler rejects `options`, so schemas are not examined.
            if parameter.starts_with("options") && url != database.url("postgres") {
                continue;
            }
            let url = format!("{url}?{parameter}");
            for command in [&["check"][..], &["doctor"], &["sql"], &["grants"], &["init", "--output", "-"]] {
                let said = testkit::run_program(&[command, &[&url]].concat());
                assert_eq!(said.exit_code, 2, "{command:?} {parameter}: {} {}", said.stdout, said.stderr);
                for part in [
                    "schema `stagin` does not exist (did you mean `staging`?)",
                    "schemas: `empty`, `public`, `staging`",
                    "hint: correct the schema in the address",
                ] {
                    assert!(said.stderr.contains(part), "{command:?} {parameter}: {}", said.stderr);
                }
            }
            let report = testkit::run_check(&url, &[]);
            assert!(
                report["error"].as_str().unwrap().contains("schema `stagin` does not exist"),
                "{report:#}"
            );
            assert_eq!(report["result"], "unknown", "{report:#}");
        }
    }
}

#[test]
fn nothing_outside_of_a_named_schema_is_chosen_or_mentioned() {
    let database = staged();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let more = ["--engine", engine];
            assert_eq!(sessions(&url, &more), 90);
            for (parameter, expected) in
                [("schema=public", 90), ("schema=staging", 12), ("currentSchema=staging", 12)]
            {
                let report = testkit::run_check(&format!("{url}?{parameter}"), &more);
                assert_eq!(report["stats"]["sessions"], expected, "{parameter}: {report:#}");
                let notes = report["notes"].to_string();
                assert!(!notes.contains("looks like a session table too"), "{notes}");
            }
        }
        let said = testkit::run_program(&["check", &format!("{url}?schema=empty")]);
        assert_eq!(said.exit_code, 3, "{}", said.stderr);
        assert!(said.stderr.contains("in the schema named in the address"), "{}", said.stderr);
    }
    let direct = database.url("postgres");
    assert_eq!(sessions(&format!("{direct}?options=-csearch_path%3Dstaging"), &[]), 12);
    assert_eq!(sessions(&format!("{direct}?options=-csearch_path%3D%22%24user%22%2Cstaging"), &[]), 12);
    // The search path of a role is a preference, not a name.
    let role = testkit::create_role(&database, "watch");
    database
        .psql(&format!(
            "GRANT USAGE ON SCHEMA staging TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA staging TO {role};
             ALTER ROLE {role} SET search_path = nowhere, staging"
        ))
        .unwrap();
    assert_eq!(sessions(&database.url(&role), &[]), 12);
    let said = testkit::run_program(&["check", &format!("{}?schema=empty", database.url(&role))]);
    assert_eq!(said.exit_code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("permission denied for schema `empty`"), "{}", said.stderr);
    assert!(said.stderr.contains("GRANT USAGE ON SCHEMA \"empty\""), "{}", said.stderr);
}

#[test]
fn an_empty_url_parameter_is_an_error() {
    for name in ["schema", "currentSchema"] {
        let said = testkit::run_program(&["check", &format!("postgres://u@127.0.0.1:1/d?{name}=")]);
        assert_eq!(said.exit_code, 2, "{}", said.stderr);
        assert!(said.stderr.contains(&format!("parameter `{name}` is empty")), "{}", said.stderr);
    }
}

/// A configuration of one target with these mapping keys.
fn mapped(url: &str, keys: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let usual = [
        ("sessions", "sessions"),
        ("token", "sessionToken"),
        ("user", "userId"),
        ("expires", "expires"),
        ("users", "users"),
        ("users_key", "id"),
    ];
    let mut text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\n[target.mapping]\n");
    for (key, value) in usual {
        let value = keys.iter().find(|(other, _)| *other == key).map_or(value, |(_, value)| value);
        text.push_str(&format!("{key} = \"{value}\"\n"));
    }
    let decoder = if url.starts_with("postgres") { "timestamp-utc" } else { "epoch-s" };
    text.push_str(&format!("decoder = \"{decoder}\"\n"));
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    folder
}

#[test]
fn a_missing_table_or_column_of_a_mapping_is_an_error() {
    let database = staged();
    database
        .psql(
            "CREATE SCHEMA backup; CREATE TABLE staging.logins (LIKE sessions); \
             CREATE TABLE backup.logins (LIKE sessions)",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    let lite = rusqlite::Connection::open(&file).unwrap();
    lite.execute_batch(
        "CREATE TABLE users (id integer PRIMARY KEY); INSERT INTO users VALUES (1);
         CREATE TABLE sessions (\"sessionToken\" text, \"userId\" integer, expires integer);
         INSERT INTO sessions VALUES ('abc', 1, 4000000000)",
    )
    .unwrap();
    let says = |url: &str, keys: &[(&str, &str)], part: &str| {
        let folder = mapped(url, keys);
        for arguments in [&["check"][..], &["doctor"], &["sessions", "list"]] {
            let said = run_program_in(folder.path(), &[], arguments);
            assert_eq!(said.exit_code, 2, "{keys:?} {arguments:?}: {} {}", said.stdout, said.stderr);
            assert!(said.stderr.contains(part), "{keys:?} {arguments:?}: {}", said.stderr);
        }
    };
    let url = database.url("postgres");
    for url in [url.as_str(), &format!("sqlite:{}", file.display())] {
        says(
            url,
            &[("sessions", "sesions")],
            "table `sesions` does not exist, or the role cannot see it (did you mean `sessions`?)",
        );
        says(url, &[("token", "sessionTokn")], "no column `sessionTokn` (did you mean `sessionToken`?)");
        says(url, &[("user", "usrId")], "no column `usrId` (did you mean `userId`?)");
        says(
            url,
            &[("users", "usrs")],
            "table `usrs` does not exist, or the role cannot see it (did you mean `users`?)",
        );
        says(url, &[("users_key", "idd")], "no column `idd`");
    }
    says(
        &url,
        &[("sessions", "stagin.sessions")],
        "`stagin` does not exist, or the role cannot see it (did you mean `staging`?)",
    );
    says(&url, &[("sessions", "staging.sesions")], "table `sesions` in schema `staging` does not exist");
    says(&url, &[("sessions", "logins")], "qualify the name with one of `backup`, `staging`");
    says(&format!("{url}?schema=public"), &[("sessions", "logins")], "table `logins` does not exist");
    says(&format!("{url}?schema=nope"), &[], "schema `nope` does not exist");
    // A qualified name is used regardless of the URL.
    let there = mapped(&format!("{url}?schema=public"), &[("sessions", "staging.sessions")]);
    let report = run_program_in(there.path(), &[], &["check", "--format", "json"]).check_report();
    assert_eq!(report["stats"]["sessions"], 12, "{report:#}");
}

#[test]
fn plans_reject_a_schema_missing_for_either_role() {
    let database = staged();
    let folder = tempfile::tempdir().unwrap();
    let url = database.url("postgres");
    let says = |watch: &str, act: &str| {
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{url}?schema={watch}\"\nwrite_url = \"{url}?schema={act}\"\n"
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        let said = run_program_in(folder.path(), &[], &["revoke", "all", "--format", "json"]);
        let plan: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
        let Some(id) = plan["plan"]["id"].as_str() else { return said };
        run_program_in(folder.path(), &[], &["apply", id, "--confirm", "app"])
    };
    for (watch, act) in [("stagin", "staging"), ("staging", "stagin")] {
        let said = says(watch, act);
        assert_eq!(said.exit_code, 2, "{watch} {act}: {} {}", said.stdout, said.stderr);
        assert!(said.stderr.contains("did you mean `staging`?"), "{watch} {act}: {}", said.stderr);
    }
    let said = says("staging", "public");
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    assert_eq!(database.psql("SELECT count(*) FROM public.sessions").unwrap().trim(), "90");
}
