//! The impact of a plan: hidden users, shared tokens, many small plans, and effects of a deletion on other tables.

use std::path::Path;

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_app::{
    config::Config,
    remediation::{self, ActionContext, ActionError, Confirmation, JobControl, Selection, restore},
};
use sessionwatch_archive::Identity;
use sessionwatch_clock::Clock;
use sessionwatch_core::duration::{HOUR, SECOND};
use sessionwatch_store::{Store, StoreLocation};
use testkit::{Database, ProgramOutput, run_program_in};

mod dependents;
mod hidden_users;

fn configured(folder: &Path, url: &str, write_url: &str, more: &str) {
    let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{write_url}\"\n{more}");
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

fn document(said: &ProgramOutput) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{} {}", said.stdout, said.stderr))
}

fn plan(folder: &Path, arguments: &[&str]) -> Value {
    let said = run_program_in(folder, &[], &[arguments, &["--format", "json"]].concat());
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    document(&said)["plan"].clone()
}

/// Applies a plan, with or without a confirmation.
fn apply(folder: &Path, plan: &Value, confirmed: bool) -> ProgramOutput {
    let confirm: &[&str] = if confirmed { &["--confirm", "app"] } else { &[] };
    let id = plan["id"].as_str().unwrap();
    run_program_in(folder, &[], &[&["apply", id, "--format", "json"], confirm].concat())
}

fn applied(folder: &Path, arguments: &[&str]) -> Value {
    let plan = plan(folder, arguments);
    let said = apply(folder, &plan, true);
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    document(&said)["applied"].clone()
}

/// Two roles with the statements of `grants`, and a configuration of both.
fn roles(database: &Database<'_>, folder: &Path) -> (String, String) {
    let (watch, act) = (testkit::create_role(database, "watch"), testkit::create_role(database, "act"));
    grant(database, &watch, &act);
    configured(folder, &database.url(&watch), &database.url(&act), "");
    (watch, act)
}

fn grant(database: &Database<'_>, watch: &str, act: &str) {
    let url = database.url("postgres");
    let said = testkit::run_program(&["grants", &url, "--watch-role", watch, "--write-role", act]);
    let lines = said.stdout.lines().filter(|line| !line.starts_with("CREATE ROLE"));
    database.psql(&lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// Two users share the first token, and one user has the second one twice.
const SHARED: &str = "INSERT INTO users (id, name) VALUES (1, 'Ada'), (2, 'Bo'), (3, 'Cy'), (4, 'Di');
INSERT INTO sessions VALUES ('a', 'shared-token-1-of-a-usual-length', 1, {live}), \
  ('b', 'shared-token-1-of-a-usual-length', 2, {live}),
  ('c', 'double-token-2-of-a-usual-length', 3, {live}), ('d', 'double-token-2-of-a-usual-length', 3, {live} + {more}), \
    ('e', 'single-token-3-of-a-usual-length', 4, {live});";

/// Restores on any database no more than the plan promised.
fn restores_no_more_than_promised(folder: &Path, sql: &dyn Fn(&str)) {
    let gone = applied(folder, &["cleanup", "duplicates"]);
    assert_eq!(gone["done"], 3, "a, b and c");
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let back = plan(folder, &restore);
    let notes = back["notes"].to_string();
    // One row with the shared token; the others would conflict with it, or with the row that stayed.
    assert_eq!(back["rows"], 1, "{notes}");
    assert!(notes.contains("1 restored token was shared by several users"), "{notes}");
    assert!(notes.contains("token shared-t… as user 1"), "{notes}");
    assert!(notes.contains("2 rows stay in the archive (token"), "{notes}");
    assert!(
        back["needs_confirmation"].to_string().contains("restores 1 token that several users had shared"),
        "{back:#}"
    );
    let said = apply(folder, &back, false);
    assert!(
        said.exit_code == 2 && said.stderr.contains("--confirm 'app'"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    let said = apply(folder, &back, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.exit_code, &done["done"], &done["skipped"]), (0, &1.into(), &0.into()), "{done:#}");
    // A deleted user, an ID that exists again, and a token that does.
    let gone = applied(folder, &["revoke", "all"]);
    assert_eq!(gone["done"], 3, "one of a and b, d and e");
    sql("DELETE FROM users WHERE id = 4");
    sql("INSERT INTO sessions SELECT 'd', 'another-token-of-a-usual-length', 3, {live}");
    let restore = ["archive", "restore", gone["plan"].as_str().unwrap()];
    let back = plan(folder, &restore);
    let notes = back["notes"].to_string();
    assert!(notes.contains("(user no longer exists): 4"), "{notes}");
    assert!(notes.contains("(ID is in the table again): d"), "{notes}");
    assert_eq!(back["rows"], 1, "{notes}");
    // Conflicts that arise after the plan was made are named row by row.
    sql("DELETE FROM users WHERE id IN (1, 2)");
    let said = apply(folder, &back, true);
    let done = document(&said)["applied"].clone();
    assert_eq!((said.exit_code, &done["done"], &done["skipped"]), (1, &0.into(), &1.into()), "{done:#}");
    assert_eq!(done["rows"][0]["why"], "its user no longer exists");
}

/// Tables that are deleted or changed with a session, and triggers of every kind.
const CARTS: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE,
  "userId" text NOT NULL REFERENCES users(id), expires timestamp(3) NOT NULL);
CREATE TABLE carts (id integer PRIMARY KEY, session_id text REFERENCES sessions(id) ON DELETE CASCADE);
CREATE TABLE items (cart integer REFERENCES carts(id) ON DELETE CASCADE, name text);
CREATE TABLE orders (id integer PRIMARY KEY, session_token text REFERENCES sessions("sessionToken") ON DELETE SET NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n, 'u' || n || '@example.org' FROM generate_series(1, 100) AS n;
INSERT INTO sessions SELECT 's' || n, md5('o' || n) || md5('p' || n), 'u' || n, now() - interval '30 days'
  FROM generate_series(1, 50) AS n;
INSERT INTO sessions SELECT 'l' || n, md5('l' || n) || md5('m' || n), 'u' || n, now() + interval '10 days'
  FROM generate_series(1, 50) AS n;
INSERT INTO carts SELECT n, 's' || (1 + n % 50) FROM generate_series(1, 500) AS n;
INSERT INTO carts SELECT 500 + n, 'l' || (1 + n % 50) FROM generate_series(1, 100) AS n;
INSERT INTO items SELECT 1 + n % 600, 'item ' || n FROM generate_series(1, 1200) AS n;
INSERT INTO orders SELECT row_number() OVER (), "sessionToken" FROM sessions;
"#;

#[test]
fn a_restore_promises_only_what_it_can_do_and_names_shared_tokens() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    let live =
        |sql: &str| sql.replace("{live}", "now() + interval '5 days'").replace("{more}", "interval '1 day'");
    let schema = testkit::sample_databases::GUIDE_SCHEMA.split("INSERT").next().unwrap();
    database.psql(schema).unwrap();
    database.psql(&live(SHARED)).unwrap();
    configured(folder.path(), &database.url("postgres"), &database.url("postgres"), "");
    restores_no_more_than_promised(folder.path(), &|sql| drop(database.psql(&live(sql)).unwrap()));
}

#[test]
fn a_restore_in_a_file_promises_only_what_it_can_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    let live = |sql: &str| {
        sql.replace("{live}", "(CAST(strftime('%s', 'now') AS integer) * 1000 + 432000000)")
            .replace("{more}", "86400000")
    };
    file.execute_batch(
        "CREATE TABLE users (id integer PRIMARY KEY, name text);
         CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL, \"userId\" integer NOT NULL, \
           expires integer NOT NULL)",
    )
    .unwrap();
    file.execute_batch(&live(SHARED)).unwrap();
    let mapping = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"sessionToken\"\n\
        expires = \"expires\"\n\
        decoder = \"epoch-ms\"\nuser = \"userId\"\nusers = \"users\"\n";
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        format!("[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n{mapping}"),
    )
    .unwrap();
    restores_no_more_than_promised(folder.path(), &|sql| file.execute_batch(&live(sql)).unwrap());
}

/// Plans for one target, by several users, at a set time.
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
        let store = Store::open(&StoreLocation::File(folder.join("state.db"))).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { config, store, clock, runtime, identity: Identity::generate().unwrap() }
    }

    fn context<'a>(&'a self, actor: &'a str) -> ActionContext<'a> {
        ActionContext {
            config: &self.config,
            target: &self.config.targets[0],
            store: &self.store,
            clock: &self.clock,
            actor,
        }
    }

    fn make(&self, actor: &str, user: usize) -> String {
        let selection = Selection::User(format!("u{user}"));
        self.runtime.block_on(remediation::create_plan(self.context(actor), &selection)).unwrap().record.id
    }

    fn apply(&self, actor: &str, plan: &str) -> Result<u64, ActionError> {
        let (recipient, control) = (self.identity.recipient(), JobControl::default());
        let work =
            crate::execute::apply(self.context(actor), plan, &recipient, Confirmation::default(), &control);
        Ok(self.runtime.block_on(work)?.done)
    }
}

/// One session for each of a hundred users.
const EACH: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE,
  "userId" text NOT NULL REFERENCES users(id), expires timestamp(3) NOT NULL);
INSERT INTO users SELECT 'u' || n, 'User ' || n, 'u' || n || '@example.org' FROM generate_series(1, 50) AS n;
INSERT INTO sessions SELECT 's' || n, md5('o' || n) || md5('p' || n), 'u' || (1 + n % 50), now() + interval '10 days'
  FROM generate_series(1, 100) AS n;
"#;

#[test]
fn many_small_plans_count_together_against_the_safety_limit() {
    for (made_before, require_approval) in [(false, false), (true, false), (false, true)] {
        let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
        database.psql(EACH).unwrap();
        let url = database.url("postgres");
        configured(folder.path(), &url, &url, &format!("[actions]\nrequire_approval = {require_approval}\n"));
        let begun = sessionwatch_clock::now();
        let (clock, hand) = Clock::manual(begun);
        let desk = Desk::new(folder.path(), clock);
        let who = |turn: usize| ["ada", "rob (deploys)", "vic"][turn % 3];
        let mut plans: Vec<String> =
            if made_before { (1..=20).map(|user| desk.make(who(user), user)).collect() } else { vec![] };
        let mut outcomes = Vec::new();
        for turn in 1..=20 {
            hand.send_replace(begun + i32::try_from(turn).unwrap() * SECOND);
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
                error.contains(
                    "22% of the active sessions, counted together with 10 other plans of the last hour"
                ),
                "{error}"
            );
            assert_eq!(error.contains("a second person must approve"), require_approval, "{error}");
        }
        assert_eq!(database.psql("SELECT count(*) FROM sessions").unwrap(), "80\n");
        if made_before || require_approval {
            continue;
        }
        // A restore revokes nothing, and does not count.
        let restored = desk
            .runtime
            .block_on(restore::create_restore_plan(desk.context("ada"), &plans[0], None))
            .unwrap();
        assert!(restored.confirmation_reasons(desk.context("ada").safety_limit()).is_none());
        let (identity, control) = (&desk.identity, JobControl::default());
        let work = crate::execute::restore(
            desk.context("ada"),
            &restored.record.id,
            identity,
            Confirmation::default(),
            &control,
        );
        assert_eq!(desk.runtime.block_on(work).unwrap().done, 2);
        // An hour later, they expire from the count one after another.
        hand.send_replace(begun + HOUR + SignedDuration::from_millis(5_500));
        let plan = desk.make("ada", 30);
        assert_eq!(desk.apply("ada", &plan).unwrap(), 2);
    }
}

#[test]
fn plans_applied_at_once_count_together() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(EACH).unwrap();
    let url = database.url("postgres");
    configured(folder.path(), &url, &url, "");
    let desk = Desk::new(folder.path(), Clock::System);
    let plans: Vec<String> = (1..=15).map(|user| desk.make("ada", user)).collect();
    let (recipient, context) = (desk.identity.recipient(), desk.context("ada"));
    let apply = |plan: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (consent, control) = (Confirmation::default(), JobControl::default());
        runtime
            .block_on(crate::execute::apply(context, plan, &recipient, consent, &control))
            .map(|applied| applied.done)
    };
    let outcomes: Vec<Result<u64, ActionError>> = std::thread::scope(|scope| {
        let applying: Vec<_> = plans.iter().map(|plan| scope.spawn(|| apply(plan))).collect();
        applying.into_iter().map(|one| one.join().unwrap()).collect()
    });
    // Some may conflict with another plan on the same batches.
    let expected = |outcome: &Result<u64, ActionError>| {
        matches!(outcome, Ok(2) | Err(ActionError::LimitExceeded(..) | ActionError::TransactionRunning))
    };
    assert!(outcomes.iter().all(expected), "{outcomes:?}");
    let left: u64 = database.psql("SELECT count(*) FROM sessions").unwrap().trim().parse().unwrap();
    assert!((80..100).contains(&left), "{left} {outcomes:?}");
}

#[test]
fn the_confirmation_that_a_plan_for_a_url_asks_for_is_accepted() {
    let (database, folder) = (testkit::empty_database(), tempfile::tempdir().unwrap());
    database.psql(CARTS).unwrap();
    let url = database.url("postgres");
    let said = run_program_in(folder.path(), &[], &["revoke", "user", "u1", &url]);
    let last = said.stdout.lines().last().unwrap().trim().to_owned();
    let words: Vec<&str> = last.split(' ').collect();
    assert_eq!(
        (&words[..2], &words[words.len() - 2..]),
        (&["sessionwatch", "apply"][..], &["--confirm", database.name()][..])
    );
    let apply =
        |more: &[&str]| run_program_in(folder.path(), &[], &[&["apply", words[2], &url], more].concat());
    let refused = apply(&[]);
    assert!(refused.exit_code == 2 && refused.stderr.contains(database.name()), "{}", refused.stderr);
    let done = apply(&["--confirm", database.name()]);
    assert_eq!(done.exit_code, 0, "{} {}", done.stdout, done.stderr);
}
