//! Users hidden from the role do not make their sessions orphans.

use testkit::{find_check_result, run_program_in};

use super::{applied, apply, plan, roles};

/// 60 live sessions, and 30 whose user does not exist; no constraint proves that users exist.
const USERS: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" text NOT NULL,
  expires timestamp(3) NOT NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n, 'u' || n || '@example.org' FROM generate_series(1, 100) AS n;
INSERT INTO accounts SELECT 'a' || n, 'u' || n FROM generate_series(1, 100) AS n;
INSERT INTO sessions SELECT 's' || n, md5('o' || n) || md5('p' || n), 'u' || n, now() + interval '10 days'
  FROM generate_series(1, 60) AS n;
INSERT INTO sessions SELECT 'g' || n, md5('g' || n) || md5('h' || n), 'ghost' || n, now() + interval '2 days'
  FROM generate_series(1, 30) AS n;
"#;
/// Twelve of a hundred users are visible.
const HIDING: &str =
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY part ON users USING (id < 'u2')";

#[test]
fn hidden_users_do_not_make_sessions_orphans() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(USERS).unwrap();
    let (watch, _) = roles(&database, folder.path());
    let (run, place) = (|arguments: &[&str]| run_program_in(folder.path(), &[], arguments), folder.path());
    let sessions = || database.psql("SELECT count(*) FROM sessions").unwrap().trim().to_owned();
    let seen = plan(place, &["cleanup", "orphaned"]);
    assert_eq!(seen["rows"], 30);
    database.psql(HIDING).unwrap();
    for engine in ["scan", "pushdown"] {
        let report = run(&["check", "--engine", engine, "--format", "json"]).check_report();
        let orphans = find_check_result(&report, "orphaned-sessions");
        assert_eq!(orphans["result"], "unknown", "{engine}: {orphans:#}");
        assert!(orphans.to_string().contains("row-level security hides rows of"), "{orphans:#}");
        // Sessions of hidden users count like others.
        assert_eq!(report["stats"]["users_active"], 90, "{engine}");
    }
    for (arguments, reason) in [
        (&["cleanup", "orphaned"][..], "no session is known to be orphaned"),
        (&["revoke", "where", "--user-like", "u1"], "`--user-like` would miss users"),
    ] {
        let said = run(arguments);
        assert!(
            said.exit_code == 3 && said.stderr.contains("from the watch role"),
            "{} {}",
            said.stdout,
            said.stderr
        );
        assert!(said.stderr.contains(reason) && said.stderr.contains("CREATE POLICY"), "{}", said.stderr);
    }
    let doctor = run(&["doctor"]);
    assert!(doctor.stdout.contains("fail  users-visibility") && doctor.stdout.contains("CREATE POLICY"));
    assert!(doctor.stdout.contains("fail  write-role: row-level security hides rows"), "{}", doctor.stdout);
    // A role that sees the users can plan, but one that does not see them cannot delete.
    database.psql(&format!("CREATE POLICY w ON users FOR SELECT TO {watch} USING (true)")).unwrap();
    let report = run(&["check", "--format", "json"]).check_report();
    assert_eq!(find_check_result(&report, "orphaned-sessions")["value"], 30.0);
    for plan in [&seen, &plan(place, &["cleanup", "orphaned"])] {
        let said = apply(place, plan, true);
        assert!(
            said.exit_code == 3 && said.stderr.contains("from the write role"),
            "{} {}",
            said.stdout,
            said.stderr
        );
    }
    assert_eq!(sessions(), "90");
    // Rows selected independently of users are removed, and restored once their users are visible.
    let gone = applied(place, &["revoke", "user", "u50"]);
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let said = apply(place, &plan(place, &restore), true);
    assert!(
        said.exit_code == 1 && said.stdout.contains("its user may be hidden"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    assert_eq!(sessions(), "89");
}

#[test]
fn the_statements_of_grants_show_every_row() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(USERS).unwrap();
    database.psql(HIDING).unwrap();
    database.psql("ALTER TABLE sessions ENABLE ROW LEVEL SECURITY").unwrap();
    roles(&database, folder.path());
    let doctor = run_program_in(folder.path(), &[], &["doctor"]);
    assert!(!doctor.stdout.contains("row-level security hides"), "{}", doctor.stdout);
    assert_eq!(applied(folder.path(), &["cleanup", "orphaned"])["done"], 30);
    // A restrictive policy applies whatever the others allow.
    database.psql("CREATE POLICY less ON users AS RESTRICTIVE USING (id <> 'u7')").unwrap();
    let said = run_program_in(folder.path(), &[], &["cleanup", "orphaned"]);
    assert!(said.exit_code == 3 && said.stderr.contains("from the watch role"), "{}", said.stderr);
    database.psql("CREATE POLICY less ON sessions AS RESTRICTIVE FOR SELECT USING (id <> 's7')").unwrap();
    let said = run_program_in(folder.path(), &[], &["revoke", "all"]);
    assert!(said.exit_code == 3 && said.stderr.contains("the plan would miss sessions"), "{}", said.stderr);
}

#[test]
fn unreadable_users_do_not_make_sessions_orphans() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(USERS).unwrap();
    let (watch, act) = roles(&database, folder.path());
    let run = |arguments: &[&str]| run_program_in(folder.path(), &[], arguments);
    let seen = plan(folder.path(), &["cleanup", "orphaned"]);
    database.psql(&format!("REVOKE ALL ON users FROM {act}")).unwrap();
    let said = apply(folder.path(), &seen, true);
    assert!(
        said.exit_code == 3 && said.stderr.contains("GRANT SELECT (\"id\") ON \"public\".\"users\""),
        "{}",
        said.stderr
    );
    database.psql(&format!("REVOKE ALL (id, name, email) ON users FROM {watch}")).unwrap();
    for engine in ["scan", "pushdown"] {
        let report = run(&["check", "--engine", engine, "--format", "json"]).check_report();
        let orphans = find_check_result(&report, "orphaned-sessions");
        assert!(
            orphans["result"] == "unknown"
                && orphans.to_string().contains("no user table with a readable key"),
            "{orphans:#}"
        );
    }
    let said = run(&["cleanup", "orphaned"]);
    assert!(
        said.exit_code == 2 && said.stderr.contains("watch role can read"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    assert_eq!(database.psql("SELECT count(*) FROM sessions").unwrap(), "90\n");
}
