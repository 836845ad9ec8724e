//! No function or operator of the monitored database is executed, whatever the search path finds first.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};
use testkit::{Database, find_check_result, run_program_in};

/// Copies of every built-in function and operator in `public`, which fail when they are executed.
const SHADOWS: &str = include_str!("shadows.sql");
const EXECUTED: &str = "code of the target was executed";

/// A database with every anomaly and a shadow of everything built in, and two roles whose search path finds the shadows
/// first.
struct Shadowed {
    database: Database<'static>,
    watch: String,
    act: String,
}

impl Shadowed {
    fn new() -> Self {
        let database = testkit::anomalous_database();
        database.psql(SHADOWS).unwrap();
        let (watch, act) = (testkit::create_role(&database, "watch"), testkit::create_role(&database, "act"));
        for role in [&watch, &act] {
            database
                .psql(&format!(
                    "ALTER ROLE {role} SET search_path = public, pg_catalog;
                     GRANT SELECT ON sessions, users, accounts TO {role}"
                ))
                .unwrap();
        }
        database.psql(&format!("GRANT INSERT, DELETE ON sessions TO {act}")).unwrap();
        let armed = database.psql("SET search_path = public, pg_catalog; SELECT 'a' = 'b'").unwrap_err();
        assert!(armed.to_string().contains(EXECUTED), "{armed}");
        Self { database, watch, act }
    }
}

/// A report without times and durations.
fn said(report: &Value) -> Value {
    let checks = report["checks"].as_array().unwrap().iter();
    let checks = checks.filter(|check| check["id"] != "slow-check-run");
    let results = checks.map(|check| {
        // Rows are ordered by fingerprint, whose key is new in every run.
        let mut evidence: Vec<String> =
            check["evidence"].as_array().unwrap().iter().map(Value::to_string).collect();
        evidence.sort();
        json!([check["id"], check["result"], check["value"], check["summary"], check["proof"], evidence])
    });
    results.collect()
}

#[test]
fn no_shadow_of_a_built_in_function_is_executed_by_a_read_only_command() {
    let (plain, shadowed) = (testkit::anomalous_database(), Shadowed::new());
    for (at, url) in shadowed.database.urls(&shadowed.watch).iter().enumerate() {
        let reference = &plain.urls("postgres")[at];
        for more in [&["--engine", "scan"][..], &["--engine", "pushdown"], &["--no-trust-constraints"]] {
            let (expected, found) = (testkit::run_check(reference, more), testkit::run_check(url, more));
            assert!(found["error"].is_null(), "{more:?}: {found:#}");
            assert_eq!(said(&found), said(&expected), "{more:?}");
        }
        for arguments in [
            &["doctor"][..],
            &["sessions", "list"],
            &["sessions", "list", "--sort", "user", "--status", "active"],
            &["sessions", "list", "--user", "5"],
            &["sessions", "show", "s1"],
            &["sessions", "top"],
            &["grants"],
            &["sql"],
        ] {
            let run = |url: &String| {
                let mut whole = arguments.to_vec();
                // The URL comes after the session's ID.
                whole.push(url);
                testkit::run_program(&whole)
            };
            let (expected, found) = (run(reference), run(url));
            assert_eq!(
                found.exit_code, expected.exit_code,
                "{arguments:?}: {} {}",
                found.stdout, found.stderr
            );
            assert!(!found.stderr.contains("error"), "{arguments:?}: {}", found.stderr);
        }
    }
}

#[test]
fn no_shadow_is_executed_by_plan_apply_and_restore() {
    for port in 0..2 {
        let shadowed = Shadowed::new();
        let folder = tempfile::tempdir().unwrap();
        let database = &shadowed.database;
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{}\"\nwrite_url = \"{}\"\n",
            database.urls(&shadowed.watch)[port],
            database.urls(&shadowed.act)[port]
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        let rows = || database.psql("SELECT * FROM sessions ORDER BY id").unwrap();
        let before = rows();
        for arguments in [
            &["cleanup", "expired"][..],
            &["cleanup", "excess", "--keep", "5"],
            &["revoke", "user", "5"],
            &["revoke", "where", "--user-like", "User 5"],
        ] {
            let (archive, removed) = apply(folder.path(), arguments);
            assert!(removed > 0, "{arguments:?}");
            let (_, restored) = apply(folder.path(), &["archive", "restore", &archive]);
            assert_eq!(restored, removed, "{arguments:?}");
            assert_eq!(rows(), before, "{arguments:?}");
        }
        for rest in ["duplicates", "orphaned"] {
            assert!(apply(folder.path(), &["cleanup", rest]).1 > 0, "{rest}");
        }
        let doctor = run_program_in(folder.path(), &[], &["doctor", "--format", "json"]);
        assert!(doctor.stdout.contains("can revoke and restore sessions"), "{}", doctor.stdout);
    }
}

/// Plans and applies. Returns the plan and the affected rows.
fn apply(folder: &Path, arguments: &[&str]) -> (String, u64) {
    let run = |more: &[&str]| {
        let said = run_program_in(folder, &[], &[arguments, &["--format", "json"], more].concat());
        let document: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|_| panic!("{arguments:?} {more:?}: {} {}", said.stdout, said.stderr));
        (document, said)
    };
    let plan = run(&[]).0["plan"]["id"].as_str().unwrap().to_owned();
    let said = run_program_in(folder, &[], &["apply", &plan, "--confirm", "app", "--format", "json"]);
    let document: Value = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|_| panic!("{arguments:?}: {} {}", said.stdout, said.stderr));
    let done = document["applied"]["done"].as_u64();
    (plan, done.unwrap_or_else(|| panic!("{arguments:?}: {document:#} {}", said.stderr)))
}

/// Better matches of operators or functions, as an application's role can create them.
const BETTER_MATCHES: &str = r#"
ALTER TABLE sessions ALTER id TYPE varchar, ALTER "sessionToken" TYPE varchar, ALTER "userId" TYPE varchar;
ALTER TABLE users ALTER id DROP DEFAULT, ALTER id TYPE varchar;
CREATE FUNCTION equal(varchar, varchar) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'code of the target was executed'; END $$;
CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = equal);
CREATE FUNCTION array_position(name[], name) RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'code of the target was executed'; END $$;
CREATE FUNCTION count(varchar) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'code of the target was executed'; END $$;
CREATE FUNCTION generate_series(int, smallint) RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'code of the target was executed'; END $$;
CREATE FUNCTION substr(varchar, int, int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'code of the target was executed'; END $$;
"#;

#[test]
fn a_better_match_on_the_usual_search_path_is_not_executed_and_changes_no_result() {
    let database = testkit::anomalous_database();
    database.psql(BETTER_MATCHES).unwrap();
    let armed = database.psql(r#"SELECT 1 FROM sessions s JOIN users u ON u.id = s."userId""#).unwrap_err();
    assert!(armed.to_string().contains(EXECUTED), "{armed}");
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let report = testkit::run_check(&url, &["--engine", engine]);
            assert_eq!(report["stats"]["orphaned"], 12, "{report:#}");
            assert_eq!(report["stats"]["duplicate_tokens"], 2, "{report:#}");
            assert_eq!(find_check_result(&report, "duplicate-tokens")["result"], "failing");
        }
    }
}

#[test]
fn no_program_is_started_through_a_superuser_role() {
    let database = testkit::anomalous_database();
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let witness = folder.path().join("executed");
    let body = format!(
        "BEGIN COPY (SELECT 1) TO PROGRAM 'cat > {}'; RETURN $1::text OPERATOR(pg_catalog.=) $2::text; END",
        witness.display()
    );
    database
        .psql(&format!(
            r#"ALTER TABLE sessions ALTER "userId" TYPE varchar;
               ALTER TABLE users ALTER id DROP DEFAULT, ALTER id TYPE varchar;
               CREATE FUNCTION equal(varchar, varchar) RETURNS bool LANGUAGE plpgsql AS $${body}$$;
               CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = equal)"#
        ))
        .unwrap();
    database.psql(r#"SELECT 1 FROM users WHERE id = '1'::varchar LIMIT 1"#).unwrap();
    assert!(witness.exists(), "the trap is armed");
    std::fs::remove_file(&witness).unwrap();
    for url in database.urls("postgres") {
        for engine in ["scan", "pushdown"] {
            let report = testkit::run_check(&url, &["--engine", engine]);
            assert_eq!(report["stats"]["orphaned"], 12, "{report:#}");
            assert!(report["notes"].to_string().contains("`postgres` is a superuser"), "{report:#}");
        }
        let _ = testkit::run_program(&["doctor", &url]);
        let _ = testkit::run_program(&["sessions", "list", &url]);
    }
    assert!(!witness.exists(), "a program was started by code of the target");
}

#[test]
fn only_custom_checks_follow_the_search_path_of_the_role() {
    let database = testkit::healthy_database();
    let watch = testkit::create_role(&database, "watch");
    database
        .psql(&format!(
            "CREATE SCHEMA house; CREATE TABLE house.things AS SELECT 1 AS n FROM generate_series(1, 3);
             CREATE FUNCTION house.doubled(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1';
             GRANT USAGE ON SCHEMA house TO {watch};
             GRANT SELECT ON ALL TABLES IN SCHEMA house, public TO {watch};
             ALTER ROLE {watch} SET search_path = house, public"
        ))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checks = r#"
[[custom_check]]
id = "moves-the-path"
sql = "SELECT 1 FROM set_config('search_path', 'nowhere', false) AS a, set_config('search_path', 'nowhere', true) AS b"
threshold = "> 9"
[[custom_check]]
id = "things"
sql = "SELECT doubled(n) FROM things"
threshold = "> 9"
[[custom_check]]
id = "fails"
sql = "SELECT 1 FROM nothing_of_that_name"
threshold = "> 9"
[[custom_check]]
id = "path"
value = "first"
sql = "SELECT 1 WHERE current_setting('search_path') = 'house, public'"
threshold = "> 9"
"#;
    std::fs::write(folder.path().join("sessionwatch.toml"), checks).unwrap();
    for url in database.urls(&watch) {
        let arguments = ["check", &url, "--format", "json", "--only", "moves-the-path", "--only", "things"];
        let said = run_program_in(
            folder.path(),
            &[],
            &[&arguments[..], &["--only", "fails", "--only", "path"]].concat(),
        );
        let report = said.check_report();
        assert_eq!(find_check_result(&report, "things")["value"], 3.0, "{report:#}");
        assert_eq!(find_check_result(&report, "path")["value"], 1.0, "{report:#}");
        assert_eq!(find_check_result(&report, "fails")["result"], "unknown", "{report:#}");
        assert_eq!(find_check_result(&report, "moves-the-path")["value"], 1.0, "{report:#}");
    }
}

#[test]
fn doctor_names_who_can_create_objects_on_the_search_path() {
    let database = testkit::healthy_database();
    let (watch, migrator) =
        (testkit::create_role(&database, "watch"), testkit::create_role(&database, "migrator"));
    let owner = testkit::create_role(&database, "owner");
    database
        .psql(&format!(
            "CREATE SCHEMA house; GRANT USAGE ON SCHEMA house TO PUBLIC; \
             ALTER ROLE {watch} SET search_path = house, public;
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {watch};
             GRANT CREATE ON SCHEMA house, public TO {owner}; ALTER TABLE sessions OWNER TO {owner}"
        ))
        .unwrap();
    for url in database.urls(&watch) {
        // The owner of the sessions needs no function to change them.
        let doctor = || testkit::run_program(&["doctor", &url]).stdout;
        assert!(!doctor().contains("search-path"), "{}", doctor());
        database
            .psql(&format!(
                "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON SCHEMA house TO {migrator}"
            ))
            .unwrap();
        let said = doctor();
        for part in [
            format!("REVOKE CREATE ON SCHEMA \"house\" FROM \"{migrator}\";"),
            "REVOKE CREATE ON SCHEMA \"public\" FROM PUBLIC;".into(),
            "can create tables and functions in the schema of the sessions".into(),
        ] {
            assert!(said.contains(&part), "{part}: {said}");
        }
        database
            .psql(&format!(
                "REVOKE CREATE ON SCHEMA public FROM PUBLIC; REVOKE CREATE ON SCHEMA house FROM {migrator}"
            ))
            .unwrap();
    }
    let superuser = testkit::run_program(&["doctor", &database.url("postgres")]).stdout;
    assert!(superuser.contains("is a superuser"), "{superuser}");
}

#[test]
fn triggers_use_the_search_path_of_the_role_as_for_any_other_program() {
    let database = testkit::anomalous_database();
    database
        .psql(
            "CREATE TABLE ended (id text); CREATE TABLE noted_late (id text);
             CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ended \
               VALUES (OLD.id); RETURN OLD; END $$;
             CREATE TRIGGER noted AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION note_end();
             CREATE FUNCTION note_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO noted_late \
               VALUES (OLD.id); RETURN OLD; END $$;
             CREATE CONSTRAINT TRIGGER late AFTER DELETE ON sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
               EXECUTE FUNCTION note_late();
             CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM ended; \
             RETURN OLD; END $$;
             CREATE TRIGGER a_veto BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION veto();
             CREATE TABLE begun (id text);
             CREATE FUNCTION note_begin() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO begun \
               VALUES (NEW.id); RETURN NEW; END $$;
             CREATE TRIGGER begun BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION note_begin()",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = database.url("postgres");
    let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let plan = run_program_in(folder.path(), &[], &["cleanup", "expired", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let id = plan["plan"]["id"].as_str().unwrap();
    let arguments = ["apply", id, "--confirm", "app"];
    let said = run_program_in(folder.path(), &[], &arguments);
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    let (_, restored) = apply(folder.path(), &["archive", "restore", id]);
    assert_eq!(restored, 107);
    for table in ["ended", "noted_late", "begun"] {
        assert_eq!(database.psql(&format!("SELECT count(*) FROM {table}")).unwrap().trim(), "107", "{table}");
    }
}
