//! Tokens that are too short: at most a third of one is shown or stored, and sessions can still be identified.

use std::path::Path;

use testkit::{Database, ProgramOutput, run_program_in};

/// Short tokens by row ID, with the part that may be shown.
const TOKENS: [(&str, &str, &str); 4] =
    [("s1", "QZ42X", "Q"), ("s2", "qzxjvkwpbf", "qzx"), ("s3", "739184625013", "7391"), ("s4", "zq", "")];

/// Tables of the SQLite file, with a row ID that its profile does not know.
const MAPPING: &str = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\n\
    token = \"sessionToken\"\nuser = \"userId\"\n\
    expires = \"expires\"\ndecoder = \"epoch-ms\"\nusers = \"users\"\n";

fn in_postgres() -> Database<'static> {
    let database = testkit::healthy_database();
    for (id, token, _) in TOKENS {
        database
            .psql(&format!(r#"UPDATE sessions SET "sessionToken" = '{token}' WHERE id = '{id}'"#))
            .unwrap();
    }
    database
}

fn in_sqlite(folder: &Path) -> String {
    let path = folder.join("app.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            r#"CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
               CREATE TABLE sessions (id TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL, "userId" INTEGER NOT NULL,
                 expires INTEGER NOT NULL);
               INSERT INTO users VALUES (2, 'Ada'), (3, 'Bea'), (4, 'Cay'), (5, 'Dan');
               INSERT INTO sessions VALUES ('s1', '', 2, 4102444800000), ('s2', '', 3, 4102444800000),
                 ('s3', '', 4, 4102444800000), ('s4', '', 5, 4102444800000);"#,
        )
        .unwrap();
    for (id, token, _) in TOKENS {
        let parameters = [token, id];
        connection.execute(r#"UPDATE sessions SET "sessionToken" = ?1 WHERE id = ?2"#, parameters).unwrap();
    }
    format!("sqlite:{}", path.display())
}

/// Asserts that no text shows more of a token than allowed.
fn assert_hidden(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for part in ["QZ42", "qzxj", "73918", "Z42X", "xjvkw", "84625"] {
        assert!(!text.contains(part), "{part} in {place}: {text}");
    }
}

fn tried(url: &str, mapping: &str) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n{mapping}[serve]\nstore = \"state.db\"\n\
         [checks.session-lifetime]\nmax_days = 1\n[checks.slow-check-run]\nenabled = false\n"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let run = |arguments: &[&str], code: i32| -> ProgramOutput {
        let said = run_program_in(folder.path(), &[("USER", "ada")], arguments);
        assert_eq!(said.exit_code, code, "{arguments:?}: {}{}", said.stdout, said.stderr);
        assert_hidden(&format!("{arguments:?}"), format!("{}{}", said.stdout, said.stderr).as_bytes());
        said
    };
    for format in ["table", "json", "csv", "markdown"] {
        run(&["check", "app", "--format", format], 1);
        run(&["check", "app", "--format", format, "--engine", "pushdown", "--no-trust-constraints"], 1);
    }
    let listed = run(&["sessions", "list", "app", "--format", "json", "--limit", "1000"], 0).stdout;
    for (id, _, shown) in TOKENS {
        let document: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let row =
            document["sessions"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone();
        assert_eq!(row["token_prefix"], shown, "{row}");
    }
    // The shown prefix identifies a session.
    assert!(run(&["sessions", "show", "qzx", "app"], 0).stdout.contains("s2"));
    let said = run_program_in(folder.path(), &[], &["sessions", "show", "QZ42X", "app"]);
    assert!(said.exit_code == 2 && !said.stderr.contains("QZ42X"), "{}", said.stderr);
    assert!(run(&["doctor", "app"], 1).stdout.contains("short enough to be guessed"));
    for whole in ["QZ42X", "739184625013", "739184"] {
        let said = run_program_in(folder.path(), &[("USER", "ada")], &["revoke", "session", whole, "app"]);
        assert_eq!(said.exit_code, 2, "{}", said.stderr);
        assert!(said.stderr.contains("no session has that row ID or token prefix"), "{}", said.stderr);
        assert_hidden("standard error", said.stderr.as_bytes());
    }
    let plan = run(&["revoke", "session", "7391", "app", "--format", "json"], 0).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let plan = plan["plan"]["id"].as_str().unwrap();
    run(&["apply", plan, "--confirm", "app"], 0);
    assert!(run(&["archive", "show", plan], 0).stdout.contains("7391"));
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        assert_hidden(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

#[test]
fn at_most_a_third_of_a_short_token_is_shown_or_stored() {
    tried(&in_postgres().url("postgres"), "");
    let folder = tempfile::tempdir().unwrap();
    tried(&in_sqlite(folder.path()), MAPPING);
}

#[test]
fn pasted_queries_show_at_most_a_third_too() {
    let database = testkit::healthy_database();
    database.psql(r#"UPDATE sessions SET "sessionToken" = 'QZ42X' WHERE id IN ('s1', 's2')"#).unwrap();
    let sql = testkit::run_program(&["sql", "duplicate-tokens", &database.url("postgres")]);
    let rows = database.psql(&sql.stdout).unwrap();
    assert!(rows.contains("Q|") && !rows.contains("QZ"), "{rows}");
    let folder = tempfile::tempdir().unwrap();
    let url = in_sqlite(folder.path());
    let sql = testkit::run_program(&["sql", "query-1", &url]);
    let connection = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    let mut query = connection.prepare(sql.stdout.trim().trim_end_matches(';')).unwrap();
    let prefixes: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for (_, _, shown) in TOKENS {
        assert!(prefixes.iter().any(|prefix| prefix == shown), "{prefixes:?}");
    }
}
