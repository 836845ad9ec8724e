//! How far a plan may reach, and what it depends on: hidden users, shared tokens, many small plans, and what a deletion does
//! to other tables.

use std::path::Path;

use serde_json::Value;
use sessionwatch::{
    actions::{self, ActError, Consent, Context, Control, Selection, restoring},
    archive::sealing::Identity,
    clock::Clock,
    config::Config,
    store::{Place, Store},
};
use testkit::{Database, ProgramOutput, outcome, run_in};

const MINUTE: i64 = 60_000_000;

/// 60 live sessions, and 30 whose user does not exist; nothing proves that users exist.
const USERS: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" text NOT NULL, expires timestamp(3) NOT NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n, 'u' || n || '@example.org' FROM generate_series(1, 100) AS n;
INSERT INTO accounts SELECT 'a' || n, 'u' || n FROM generate_series(1, 100) AS n;
INSERT INTO sessions SELECT 's' || n, md5('o' || n) || md5('p' || n), 'u' || n, now() + interval '10 days' FROM generate_series(1, 60) AS n;
INSERT INTO sessions SELECT 'g' || n, md5('g' || n) || md5('h' || n), 'ghost' || n, now() + interval '2 days' FROM generate_series(1, 30) AS n;
"#;
/// Twelve users of a hundred can be seen.
const HIDING: &str =
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY part ON users USING (id < 'u2')";

fn configured(folder: &Path, url: &str, act_url: &str, more: &str) {
    let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nact_url = \"{act_url}\"\n{more}");
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

fn document(said: &ProgramOutput) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{} {}", said.stdout, said.stderr))
}

fn plan(folder: &Path, arguments: &[&str]) -> Value {
    let said = run_in(folder, &[], &[arguments, &["--format", "json"]].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    document(&said)["plan"].clone()
}

/// Applies a plan that is confirmed, or not.
fn apply(folder: &Path, arguments: &[&str], plan: &Value, confirmed: bool) -> ProgramOutput {
    let confirm: &[&str] = if confirmed { &["--confirm", "app"] } else { &[] };
    let id = plan["id"].as_str().unwrap();
    run_in(folder, &[], &[arguments, &["--format", "json", "--apply", id], confirm].concat())
}

fn applied(folder: &Path, arguments: &[&str]) -> Value {
    let plan = plan(folder, arguments);
    let said = apply(folder, arguments, &plan, true);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    document(&said)["applied"].clone()
}

/// Two roles with the statements of `grants`, and a configuration with both.
fn roles(database: &Database<'_>, folder: &Path) -> (String, String) {
    let (watch, act) = (testkit::create_role(database, "watch"), testkit::create_role(database, "act"));
    grant(database, &watch, &act);
    configured(folder, &database.url(&watch), &database.url(&act), "");
    (watch, act)
}

fn grant(database: &Database<'_>, watch: &str, act: &str) {
    let url = database.url("postgres");
    let said = testkit::run(&["grants", &url, "--watch-role", watch, "--act-role", act]);
    let lines = said.stdout.lines().filter(|line| !line.starts_with("CREATE ROLE"));
    database.psql(&lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn users_that_are_hidden_make_nobody_an_orphan() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(USERS).unwrap();
    let (watch, _) = roles(&database, folder.path());
    let (run, place) = (|arguments: &[&str]| run_in(folder.path(), &[], arguments), folder.path());
    let sessions = || database.psql("SELECT count(*) FROM sessions").unwrap().trim().to_owned();
    let seen = plan(place, &["cleanup", "orphaned"]);
    assert_eq!(seen["rows"], 30);
    database.psql(HIDING).unwrap();
    for engine in ["scan", "pushdown"] {
        let report = document(&run(&["check", "--engine", engine, "--format", "json"]));
        let orphans = outcome(&report, "orphaned-sessions");
        assert_eq!(orphans["verdict"], "unknown", "{engine}: {orphans:#}");
        assert!(orphans.to_string().contains("row-level security hides rows of"), "{orphans:#}");
        // Users who are not seen hold sessions as well as others.
        assert_eq!(report["census"]["users_active"], 90, "{engine}");
    }
    for (arguments, reason) in [
        (&["cleanup", "orphaned"][..], "no session is known to be orphaned"),
        (&["revoke", "where", "--user-like", "u1"], "`--user-like` would leave out users"),
    ] {
        let said = run(arguments);
        assert!(
            said.code == 3 && said.stderr.contains("from the watch role"),
            "{} {}",
            said.stdout,
            said.stderr
        );
        assert!(said.stderr.contains(reason) && said.stderr.contains("CREATE POLICY"), "{}", said.stderr);
    }
    let doctor = run(&["doctor"]);
    assert!(doctor.stdout.contains("fail  users-visibility") && doctor.stdout.contains("CREATE POLICY"));
    assert!(doctor.stdout.contains("fail  acting-role: row-level security hides rows"), "{}", doctor.stdout);
    // A role that sees them plans, but one that does not see them does not delete.
    database.psql(&format!("CREATE POLICY w ON users FOR SELECT TO {watch} USING (true)")).unwrap();
    let report = document(&run(&["check", "--format", "json"]));
    assert_eq!(outcome(&report, "orphaned-sessions")["value"], 30.0);
    for plan in [&seen, &plan(place, &["cleanup", "orphaned"])] {
        let said = apply(place, &["cleanup", "orphaned"], plan, true);
        assert!(
            said.code == 3 && said.stderr.contains("from the write role"),
            "{} {}",
            said.stdout,
            said.stderr
        );
    }
    assert_eq!(sessions(), "90");
    // What does not depend on users goes, and comes back once its users are seen.
    let gone = applied(place, &["revoke", "user", "u50"]);
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let said = apply(place, &restore, &plan(place, &restore), true);
    assert!(
        said.code == 1 && said.stdout.contains("its user cannot be seen"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    assert_eq!(sessions(), "89");
}

#[test]
fn the_statements_of_grants_show_every_row() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(USERS).unwrap();
    database.psql(HIDING).unwrap();
    database.psql("ALTER TABLE sessions ENABLE ROW LEVEL SECURITY").unwrap();
    roles(&database, folder.path());
    let doctor = run_in(folder.path(), &[], &["doctor"]);
    assert!(!doctor.stdout.contains("row-level security hides"), "{}", doctor.stdout);
    assert_eq!(applied(folder.path(), &["cleanup", "orphaned"])["done"], 30);
    // A policy that takes rows away again counts, whatever the others show.
    database.psql("CREATE POLICY less ON users AS RESTRICTIVE USING (id <> 'u7')").unwrap();
    let said = run_in(folder.path(), &[], &["cleanup", "orphaned"]);
    assert!(said.code == 3 && said.stderr.contains("from the watch role"), "{}", said.stderr);
    database.psql("CREATE POLICY less ON sessions AS RESTRICTIVE FOR SELECT USING (id <> 's7')").unwrap();
    let said = run_in(folder.path(), &[], &["revoke", "all"]);
    assert!(said.code == 3 && said.stderr.contains("the plan would leave out sessions"), "{}", said.stderr);
}

/// Two users share the first token, one user has the second one twice.
const SHARED: &str = "INSERT INTO users (id, name) VALUES (1, 'Ada'), (2, 'Bo'), (3, 'Cy'), (4, 'Di');
INSERT INTO sessions VALUES ('a', 'shared-token-1-of-a-usual-length', 1, {live}), ('b', 'shared-token-1-of-a-usual-length', 2, {live}),
  ('c', 'double-token-2-of-a-usual-length', 3, {live}), ('d', 'double-token-2-of-a-usual-length', 3, {live} + {more}), ('e', 'single-token-3-of-a-usual-length', 4, {live});";

/// Puts back, on whatever database, no more than a plan had promised.
fn puts_back_what_it_promises(folder: &Path, sql: &dyn Fn(&str)) {
    let gone = applied(folder, &["cleanup", "duplicates"]);
    assert_eq!(gone["done"], 3, "a, b and c");
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let back = plan(folder, &restore);
    let notes = back["notes"].to_string();
    // One row on the shared token; the other ones would collide with it, or with the row that stayed.
    assert_eq!(back["rows"], 1, "{notes}");
    assert!(notes.contains("1 of these tokens was shared by several users"), "{notes}");
    assert!(notes.contains("token shared-t… as user 1"), "{notes}");
    assert!(notes.contains("2 rows of the archive stay there, because their token"), "{notes}");
    assert!(back["needs_confirmation"].to_string().contains("makes 1 token valid again"), "{back:#}");
    let said = apply(folder, &restore, &back, false);
    assert!(said.code == 2 && said.stderr.contains("--confirm 'app'"), "{} {}", said.stdout, said.stderr);
    let said = apply(folder, &restore, &back, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.code, &done["done"], &done["skipped"]), (0, &1.into(), &0.into()), "{done:#}");
    // A user who is gone, an id that is there again, and a token that is.
    let gone = applied(folder, &["revoke", "all"]);
    assert_eq!(gone["done"], 3, "one of a and b, d and e");
    sql("DELETE FROM users WHERE id = 4");
    sql("INSERT INTO sessions SELECT 'd', 'another-token-of-a-usual-length', 3, {live}");
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let back = plan(folder, &restore);
    let notes = back["notes"].to_string();
    assert!(notes.contains("because their user does not exist any more: 4"), "{notes}");
    assert!(notes.contains("because their id is in the table again: d"), "{notes}");
    assert_eq!(back["rows"], 1, "{notes}");
    // What gets in the way after the plan was made is named row by row.
    sql("DELETE FROM users WHERE id IN (1, 2)");
    let said = apply(folder, &restore, &back, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.code, &done["done"], &done["skipped"]), (1, &0.into(), &1.into()), "{done:#}");
    assert_eq!(done["rows"][0]["why"], "its user does not exist any more");
}

#[test]
fn a_restore_promises_what_it_can_do_and_names_shared_tokens() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    let live =
        |sql: &str| sql.replace("{live}", "now() + interval '5 days'").replace("{more}", "interval '1 day'");
    let schema = testkit::scene::GUIDE_SCHEMA.split("INSERT").next().unwrap();
    database.psql(schema).unwrap();
    database.psql(&live(SHARED)).unwrap();
    configured(folder.path(), &database.url("postgres"), &database.url("postgres"), "");
    puts_back_what_it_promises(folder.path(), &|sql| drop(database.psql(&live(sql)).unwrap()));
}

#[test]
fn a_restore_in_a_file_promises_no_more_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    let live = |sql: &str| {
        sql.replace("{live}", "(CAST(strftime('%s', 'now') AS integer) * 1000 + 432000000)")
            .replace("{more}", "86400000")
    };
    file.execute_batch(
        "CREATE TABLE users (id integer PRIMARY KEY, name text);
         CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL, \"userId\" integer NOT NULL, expires integer NOT NULL)",
    )
    .unwrap();
    file.execute_batch(&live(SHARED)).unwrap();
    let mapping = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"sessionToken\"\nexpires = \"expires\"\n\
        decoder = \"epoch-ms\"\nuser = \"userId\"\nusers = \"users\"\n";
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        format!("[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n{mapping}"),
    )
    .unwrap();
    puts_back_what_it_promises(folder.path(), &|sql| file.execute_batch(&live(sql)).unwrap());
}

/// Plans of one target, by several people, at a time that is set.
struct Desk {
    config: Config,
    store: Store,
    clock: Clock,
    runtime: tokio::runtime::Runtime,
    identity: Identity,
}

impl Desk {
    fn new(folder: &Path, clock: Clock) -> Self {
        let path = folder.join("sessionwatch.toml");
        let config = Config::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        let store = Store::open(&Place::File(folder.join("state.db"))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { config, store, clock, runtime, identity: Identity::ephemeral() }
    }

    fn context<'a>(&'a self, actor: &'a str) -> Context<'a> {
        Context {
            config: &self.config,
            target: &self.config.targets[0],
            store: &self.store,
            clock: &self.clock,
            actor,
        }
    }

    fn make(&self, actor: &str, user: usize) -> String {
        let selection = Selection::User(format!("u{user}"));
        self.runtime.block_on(actions::make(self.context(actor), &selection)).unwrap().kept.id
    }

    fn apply(&self, actor: &str, plan: &str) -> Result<u64, ActError> {
        let (recipient, control) = (self.identity.recipient(), Control::default());
        let work = crate::execute::apply(self.context(actor), plan, &recipient, Consent::default(), &control);
        Ok(self.runtime.block_on(work)?.done)
    }
}

/// One session each of a hundred users.
const EACH: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES users(id), expires timestamp(3) NOT NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n, 'u' || n || '@example.org' FROM generate_series(1, 50) AS n;
INSERT INTO sessions SELECT 's' || n, md5('o' || n) || md5('p' || n), 'u' || (1 + n % 50), now() + interval '10 days' FROM generate_series(1, 100) AS n;
"#;

#[test]
fn many_small_plans_do_not_pass_the_safety_limit() {
    for (made_before, second_person) in [(false, false), (true, false), (false, true)] {
        let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
        database.psql(EACH).unwrap();
        let url = database.url("postgres");
        configured(folder.path(), &url, &url, &format!("[actions]\nsecond_person = {second_person}\n"));
        let begun = sessionwatch::clock::now();
        let (clock, hand) = Clock::set(begun);
        let desk = Desk::new(folder.path(), clock);
        let who = |turn: usize| ["ada", "rob (deploys)", "vic"][turn % 3];
        let mut plans: Vec<String> =
            if made_before { (1..=20).map(|user| desk.make(who(user), user)).collect() } else { vec![] };
        let mut outcomes = Vec::new();
        for turn in 1..=20 {
            hand.send_replace(begun.plus(i64::try_from(turn).unwrap() * 1_000_000));
            if !made_before {
                plans.push(desk.make(who(turn), turn));
            }
            outcomes.push(desk.apply(who(turn + 1), &plans[turn - 1]));
        }
        let done = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).sum::<u64>();
        assert_eq!(done, 20, "a fifth of the active sessions may be ended without a second thought");
        for outcome in &outcomes[10..] {
            let error = outcome.as_ref().unwrap_err().to_string();
            assert!(
                error.contains("together with 10 other plans of the last hour, 22 % of the active sessions"),
                "{error}"
            );
            assert_eq!(error.contains("somebody else has to agree"), second_person, "{error}");
        }
        assert_eq!(database.psql("SELECT count(*) FROM sessions").unwrap(), "80\n");
        if made_before || second_person {
            continue;
        }
        // Putting back ends nothing, and counts for nothing.
        let restored = desk.runtime.block_on(restoring::plan(desk.context("ada"), &plans[0], None)).unwrap();
        assert!(restored.braked(desk.context("ada").brake()).is_none());
        let (identity, control) = (&desk.identity, Control::default());
        let work = crate::execute::restore(
            desk.context("ada"),
            &restored.kept.id,
            identity,
            Consent::default(),
            &control,
        );
        assert_eq!(desk.runtime.block_on(work).unwrap().done, 2);
        // An hour later, they are forgotten one after another.
        hand.send_replace(begun.plus(60 * MINUTE + 5_500_000));
        let plan = desk.make("ada", 30);
        assert_eq!(desk.apply("ada", &plan).unwrap(), 2);
    }
}

/// Tables that go or change with a session, and hooks of every kind.
const CARTS: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES users(id), expires timestamp(3) NOT NULL);
CREATE TABLE carts (id integer PRIMARY KEY, session_id text REFERENCES sessions(id) ON DELETE CASCADE);
CREATE TABLE items (cart integer REFERENCES carts(id) ON DELETE CASCADE, name text);
CREATE TABLE orders (id integer PRIMARY KEY, session_token text REFERENCES sessions("sessionToken") ON DELETE SET NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n, 'u' || n || '@example.org' FROM generate_series(1, 100) AS n;
INSERT INTO sessions SELECT 's' || n, md5('o' || n) || md5('p' || n), 'u' || n, now() - interval '30 days' FROM generate_series(1, 50) AS n;
INSERT INTO sessions SELECT 'l' || n, md5('l' || n) || md5('m' || n), 'u' || n, now() + interval '10 days' FROM generate_series(1, 50) AS n;
INSERT INTO carts SELECT n, 's' || (1 + n % 50) FROM generate_series(1, 500) AS n;
INSERT INTO carts SELECT 500 + n, 'l' || (1 + n % 50) FROM generate_series(1, 100) AS n;
INSERT INTO items SELECT 1 + n % 600, 'item ' || n FROM generate_series(1, 1200) AS n;
INSERT INTO orders SELECT row_number() OVER (), "sessionToken" FROM sessions;
"#;

/// What a plan says happens besides: kind, table and rows.
fn besides(plan: &Value) -> Vec<(String, String, Option<u64>)> {
    let text =
        |effect: &Value, key: &str| effect[key].as_str().unwrap().replace('"', "").replace("public.", "");
    let one = |effect: &Value| (text(effect, "kind"), text(effect, "table"), effect["rows"].as_u64());
    plan["side_effects"].as_array().unwrap().iter().map(one).collect()
}

fn effect(kind: &str, table: &str, rows: Option<u64>) -> (String, String, Option<u64>) {
    (kind.into(), table.into(), rows)
}

#[test]
fn what_goes_along_with_sessions_is_counted_and_confirmed() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let (watch, _) = roles(&database, folder.path());
    let place = folder.path();
    let cleanup = ["cleanup", "expired"];
    database.psql(&format!("REVOKE SELECT (cart) ON items FROM {watch}")).unwrap();
    let counted = plan(place, &cleanup);
    let expected = [
        effect("cascade", "carts", Some(500)),
        effect("set-null", "orders", Some(50)),
        // The role may read nothing of a table behind the next one.
        effect("cascade", "items", None),
    ];
    assert_eq!(besides(&counted), expected, "{counted:#}");
    let notes = counted["notes"].to_string();
    assert!(
        notes.contains("also deletes 500 rows of") && notes.contains("and restored with their sessions"),
        "{notes}"
    );
    assert!(notes.contains("what stood there is not archived"), "{notes}");
    assert!(
        notes.contains("an unknown number of rows of") && !notes.contains("nobody will notice"),
        "{notes}"
    );
    assert!(counted["needs_confirmation"].to_string().contains("has 3 side effects beyond the sessions"));
    let said = apply(place, &cleanup, &counted, false);
    assert!(said.code == 2 && said.stderr.contains("--confirm 'app'"), "{} {}", said.stdout, said.stderr);
    database.psql(&format!("GRANT SELECT (cart) ON items TO {watch}")).unwrap();
    let counted = plan(place, &cleanup);
    let items = database
        .psql("SELECT count(*) FROM items JOIN carts ON carts.id = cart WHERE session_id LIKE 's%'")
        .unwrap();
    assert_eq!(besides(&counted)[2], effect("cascade", "items", items.trim().parse().ok()));
    let doctor = run_in(place, &[], &["doctor"]);
    assert!(
        doctor.stdout.contains("warn  side-effects") && doctor.stdout.contains("ON DELETE SET NULL"),
        "{}",
        doctor.stdout
    );
    // A plan that says nothing of a trigger does not run it.
    let trigger = "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM users WHERE id = OLD.\"userId\"; RETURN OLD; END';
        CREATE TRIGGER forgets AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION forget()";
    database.psql(trigger).unwrap();
    let said = apply(place, &cleanup, &counted, true);
    assert!(said.code == 3 && said.stderr.contains("trigger `forgets`"), "{} {}", said.stdout, said.stderr);
    assert!(besides(&plan(place, &cleanup)).contains(&effect("trigger", "sessions", None)));
    // One that is switched off does not run.
    database.psql("ALTER TABLE sessions DISABLE TRIGGER forgets").unwrap();
    let said = apply(place, &cleanup, &counted, true);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    assert_eq!(database.psql("SELECT count(*) FROM carts").unwrap(), "100\n");
    // Ending in place deletes nothing.
    let url = database.url("postgres");
    let mapping = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"sessionToken\"\nexpires = \"expires\"\ndecoder = \"timestamp-utc\"\nuser = \"userId\"\nrevoke = \"expire\"\n";
    configured(place, &url, &url, mapping);
    assert_eq!(besides(&plan(place, &["revoke", "user", "u1"])), []);
}

#[test]
fn what_goes_along_with_sessions_is_archived_and_comes_back_with_them() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let (watch, act) = roles(&database, folder.path());
    let place = folder.path();
    let cleanup = ["cleanup", "expired"];
    let counted = plan(place, &cleanup);
    // A role that could not restore what goes along deletes nothing.
    database.psql(&format!("REVOKE INSERT ON items FROM {act}")).unwrap();
    let said = apply(place, &cleanup, &counted, true);
    assert!(
        said.code == 3 && said.stderr.contains("lacks INSERT ON \"public\".\"items\""),
        "{}",
        said.stderr
    );
    let doctor = run_in(place, &[], &["doctor"]);
    assert!(doctor.stdout.contains("INSERT ON \"public\".\"items\""), "{}", doctor.stdout);
    grant(&database, &watch, &act);
    let said = apply(place, &cleanup, &counted, true);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    assert_eq!(database.psql("SELECT count(*) FROM carts").unwrap(), "100\n");
    let gone = document(&said)["applied"].clone();
    assert_eq!(
        gone["dependents"][0],
        serde_json::json!({ "table": "public.carts", "done": 500, "refused": 0 })
    );
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let back = plan(place, &restore);
    let notes = back["notes"].to_string();
    assert!(
        notes.contains("also restores the rows of") && notes.contains("(500 when that plan was made)"),
        "{notes}"
    );
    // A cart that is there again stays, and the items of the one in the archive do not move into it.
    database.psql("INSERT INTO carts VALUES (1, 'l1')").unwrap();
    let said = apply(place, &restore, &back, true);
    let back = document(&said)["applied"].clone();
    assert_eq!((said.code, &back["done"]), (1, &50.into()), "{back:#}");
    assert_eq!(
        back["dependents"][0],
        serde_json::json!({ "table": "public.carts", "done": 499, "refused": 1 })
    );
    assert_eq!(database.psql("SELECT count(*) FROM items WHERE cart = 1").unwrap(), "0\n");
    // Only the items of the same session are left out.
    let items: u64 =
        database.psql("SELECT count(*) FROM items WHERE cart <= 500").unwrap().trim().parse().unwrap();
    assert_eq!(items, 1000 - 20, "of ten carts, with two items each");
}

#[test]
fn triggers_and_rules_that_stop_a_deletion_are_named() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(EACH).unwrap();
    let url = database.url("postgres");
    configured(folder.path(), &url, &url, "");
    database
        .psql(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = ''s3'' THEN RETURN NULL; END IF; RETURN OLD; END';
             CREATE TRIGGER keeps BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION keep()",
        )
        .unwrap();
    let revoke = ["revoke", "user", "u4"];
    let kept = plan(folder.path(), &revoke);
    assert_eq!(besides(&kept), [effect("trigger-before", "sessions", None)]);
    let said = apply(folder.path(), &revoke, &kept, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.code, &done["done"], &done["skipped"]), (1, &1.into(), &1.into()), "{done:#}");
    assert_eq!(done["rows"][0]["why"], "kept by a trigger of the table that runs before each row");
    database
        .psql("DROP TRIGGER keeps ON sessions; CREATE RULE stays AS ON DELETE TO sessions DO INSTEAD NOTHING")
        .unwrap();
    let said = run_in(folder.path(), &[], &revoke);
    assert!(
        said.code == 3 && said.stderr.contains("has the rule `stays` (DO INSTEAD)"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    database
        .psql("DROP RULE stays ON sessions; CREATE RULE more AS ON DELETE TO sessions DO ALSO DELETE FROM users WHERE id = OLD.\"userId\"")
        .unwrap();
    let ruled = plan(folder.path(), &["revoke", "user", "u9"]);
    assert_eq!(besides(&ruled), [effect("rule", "sessions", None)]);
    let said = apply(folder.path(), &["revoke", "user", "u9"], &ruled, false);
    assert!(said.code == 2 && said.stderr.contains("1 side effect beyond the sessions"), "{}", said.stderr);
}

#[test]
fn in_a_file_too_what_goes_along_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
    let live = "CAST(strftime('%s', 'now') AS integer) * 1000 + 86400000";
    file.execute_batch(&format!(
        "CREATE TABLE Sessions (id text PRIMARY KEY, token text NOT NULL, expires integer NOT NULL, parent text REFERENCES sessions ON DELETE CASCADE);
         CREATE TABLE carts (id integer PRIMARY KEY, session text REFERENCES SESSIONS ON DELETE CASCADE);
         CREATE TABLE orders (session text REFERENCES sessions(id) ON DELETE SET NULL);
         CREATE TABLE log (what text);
         CREATE TRIGGER \"before delete\" AFTER UPDATE ON orders BEGIN INSERT INTO log VALUES ('order'); END;
         CREATE TRIGGER keeps BEFORE DELETE ON sessions WHEN OLD.id = 'b' BEGIN SELECT RAISE(IGNORE); END;
         INSERT INTO sessions VALUES ('a', 'token-a', {live}, NULL), ('b', 'token-b', {live}, NULL), ('c', 'token-c', {live}, 'a'), ('d', 'token-d', {live}, 'd');
         INSERT INTO carts (session) VALUES ('a'), ('a'), ('c'), (NULL); INSERT INTO orders VALUES ('a'), ('b');"
    ))
    .unwrap();
    let mapping = "[target.mapping]\nsessions = \"Sessions\"\nid = \"id\"\ntoken = \"token\"\nexpires = \"expires\"\ndecoder = \"epoch-ms\"\n";
    let text = format!("[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n{mapping}");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let revoke = ["revoke", "session", "a"];
    let one = plan(folder.path(), &revoke);
    let expected = [
        effect("trigger-before", "sessions", None),
        effect("cascade", "sessions", Some(1)),
        // The cart of the session that goes along, too.
        effect("cascade", "carts", Some(3)),
        effect("set-null", "orders", Some(1)),
        effect("trigger", "orders", None),
    ];
    let mut found = besides(&one);
    found.sort_by_key(|(kind, table, _)| expected.iter().position(|one| (&one.0, &one.1) == (kind, table)));
    assert_eq!(found, expected);
    let said = apply(folder.path(), &revoke, &one, false);
    assert!(said.code == 2 && said.stderr.contains("5 side effects"), "{} {}", said.stdout, said.stderr);
    let all = plan(folder.path(), &["revoke", "all"]);
    assert!(
        besides(&all).contains(&effect("cascade", "sessions", Some(0))),
        "the plan names them itself: {all:#}"
    );
    let said = apply(
        folder.path(),
        &["revoke", "session", "b"],
        &plan(folder.path(), &["revoke", "session", "b"]),
        true,
    );
    let done = document(&said)["applied"].clone();
    assert_eq!(
        done["rows"][0]["why"], "kept by a trigger of the table that runs before each row",
        "{done:#}"
    );
}

#[test]
fn plans_that_are_applied_at_once_count_together() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(EACH).unwrap();
    let url = database.url("postgres");
    configured(folder.path(), &url, &url, "");
    let desk = Desk::new(folder.path(), Clock::System);
    let plans: Vec<String> = (1..=15).map(|user| desk.make("ada", user)).collect();
    let (recipient, context) = (desk.identity.recipient(), desk.context("ada"));
    let apply = |plan: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (consent, control) = (Consent::default(), Control::default());
        runtime
            .block_on(crate::execute::apply(context, plan, &recipient, consent, &control))
            .map(|applied| applied.done)
    };
    let outcomes: Vec<Result<u64, ActError>> = std::thread::scope(|scope| {
        let applying: Vec<_> = plans.iter().map(|plan| scope.spawn(|| apply(plan))).collect();
        applying.into_iter().map(|one| one.join().unwrap()).collect()
    });
    // Some may meet another one at work on the same batches.
    let expected = |outcome: &Result<u64, ActError>| {
        matches!(outcome, Ok(2) | Err(ActError::LimitExceeded(..) | ActError::AtWork))
    };
    assert!(outcomes.iter().all(expected), "{outcomes:?}");
    let left: u64 = database.psql("SELECT count(*) FROM sessions").unwrap().trim().parse().unwrap();
    assert!((80..100).contains(&left), "{left} {outcomes:?}");
}

#[test]
fn users_that_may_not_be_read_make_nobody_an_orphan() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(USERS).unwrap();
    let (watch, act) = roles(&database, folder.path());
    let run = |arguments: &[&str]| run_in(folder.path(), &[], arguments);
    let seen = plan(folder.path(), &["cleanup", "orphaned"]);
    database.psql(&format!("REVOKE ALL ON users FROM {act}")).unwrap();
    let said = apply(folder.path(), &["cleanup", "orphaned"], &seen, true);
    assert!(
        said.code == 3 && said.stderr.contains("GRANT SELECT (\"id\") ON \"public\".\"users\""),
        "{}",
        said.stderr
    );
    database.psql(&format!("REVOKE ALL (id, name, email) ON users FROM {watch}")).unwrap();
    for engine in ["scan", "pushdown"] {
        let report = document(&run(&["check", "--engine", engine, "--format", "json"]));
        let orphans = outcome(&report, "orphaned-sessions");
        assert!(orphans["verdict"] == "unknown" && orphans.to_string().contains("may read"), "{orphans:#}");
    }
    let said = run(&["cleanup", "orphaned"]);
    assert!(said.code == 2 && said.stderr.contains("may read"), "{} {}", said.stdout, said.stderr);
    assert_eq!(database.psql("SELECT count(*) FROM sessions").unwrap(), "90\n");
}

#[test]
fn a_session_stays_with_what_goes_along_where_that_stays() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let (_, act) = roles(&database, folder.path());
    let keeps = "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 502 THEN RETURN NULL; END IF; RETURN OLD; END';
        CREATE TRIGGER keeps BEFORE DELETE ON carts FOR EACH ROW EXECUTE FUNCTION keep();
        INSERT INTO carts SELECT 1000 + n, 'l' || (7 + n % 2) FROM generate_series(1, 30000) AS n";
    database.psql(keeps).unwrap();
    let all = ["revoke", "all"];
    let planned = plan(folder.path(), &all);
    // Without counters, nobody would know what else went.
    database.psql(&format!("ALTER ROLE {act} SET track_counts = off")).unwrap();
    let said = apply(folder.path(), &all, &planned, true);
    assert!(said.code == 3 && said.stderr.contains("track_counts = off"), "{}", said.stderr);
    database.psql(&format!("ALTER ROLE {act} RESET track_counts")).unwrap();
    // More rows go along than are read at once, and one of them stays with its session.
    let said = apply(folder.path(), &all, &planned, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.code, &done["done"], &done["skipped"]), (1, &99.into(), &1.into()), "{done:#}");
    assert_eq!(
        done["rows"][0]["why"],
        "rows of other tables that go with it were changed meanwhile, or a trigger keeps them"
    );
    assert_eq!(done["dependents"][0]["done"], 30_598, "all but the two carts of that session");
    let left = "SELECT s.id, count(*) FROM sessions AS s JOIN carts ON session_id = s.id WHERE s.expires > now() GROUP BY s.id";
    assert_eq!(database.psql(left).unwrap(), "l3|2\n");
    let restore = ["archive", "restore", done["plan"].as_str().unwrap()];
    let said = apply(folder.path(), &restore, &plan(folder.path(), &restore), true);
    assert_eq!(
        document(&said)["applied"]["dependents"][0]["done"],
        30_598,
        "{} {}",
        said.stdout,
        said.stderr
    );
    assert_eq!(database.psql("SELECT count(*) FROM carts WHERE id > 500").unwrap(), "30100\n");
}

#[test]
fn what_a_plan_for_an_address_asks_to_be_typed_is_accepted() {
    let (database, folder) = (testkit::empty(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let url = database.url("postgres");
    let run = |more: &[&str]| run_in(folder.path(), &[], &[&["revoke", "user", "u1", &url], more].concat());
    let said = run(&[]);
    let last = said.stdout.lines().last().unwrap().trim().to_owned();
    let options = last.strip_prefix("the same command with ").unwrap();
    let options: Vec<&str> = options.split(' ').collect();
    assert_eq!(options[2..], ["--confirm", database.name()]);
    let refused = run(&options[..2]);
    assert!(refused.code == 2 && refused.stderr.contains(options[3]), "{}", refused.stderr);
    let done = run(&options);
    assert_eq!(done.code, 0, "{} {}", done.stdout, done.stderr);
}
