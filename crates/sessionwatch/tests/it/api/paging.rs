//! Paging of lists, and limits on queries of large tables.

use std::{io::Write as _, net::TcpStream};

use pg_link::{Dsn, NoRows, PgConnection};
use serde_json::{Value, json};

use super::Scene;

#[test]
fn lists_are_paged_and_invalid_parameters_are_a_problem() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,alerts,actions,incidents");
    let all = |path: &str| {
        let (mut found, mut next) = (vec![], String::new());
        loop {
            let page = bot.get(&format!("{path}{next}"));
            assert_eq!(page.status, 200, "{}", page.body);
            found.extend(page.body["items"].as_array().unwrap().iter().map(Value::to_string));
            let Some(cursor) = page.body["next"].as_str() else { return found };
            next = format!("&cursor={cursor}");
        }
    };
    for path in ["?limit=7", "?limit=7&order=up", "?limit=7&sort=created", "?limit=7&sort=id"] {
        let path = &format!("/targets/app/sessions{path}");
        let mut found = all(path);
        assert_eq!(found.len(), 90, "{path}");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 90, "{path}");
    }
    for _ in 0..5 {
        assert_eq!(bot.post("/silences", &json!({ "minutes": 5, "note": "n" })).status, 201);
    }
    let (paged, whole) = (all("/audit?limit=2"), all("/audit?limit=1000"));
    assert!(paged == whole && whole.len() >= 8, "{paged:?}");
    for (path, status, part) in [
        ("/targets/none", 404, "Target “none” not found"),
        ("/targets/a%00b", 400, "single line"),
        ("/targets/app/sessions?limit=0", 400, "an integer from 1 to 1000"),
        ("/targets/app/sessions?cursor=x", 400, "`next` from the previous page"),
        ("/targets/app/sessions?statu=all", 400, "unknown field"),
        ("/events?from=yesterday", 400, "2026-01-31T12:00:00Z"),
        ("/plans/none", 404, "Plan not found"),
        ("/incidents/none", 404, "Incident not found"),
        ("/nothing", 404, "/api/v1/openapi.json"),
    ] {
        bot.get(path).is_problem(status, part);
    }
    for (body, part) in [
        (json!({ "kind": "expired" }), "missing field `hours`"),
        (json!({ "kind": "all", "more": 1 }), "unknown field `more`"),
        (json!({ "kind": "user", "user": "a\u{0}" }), "single line"),
        (json!([]), "invalid body"),
    ] {
        bot.post("/targets/app/plans", &body).is_problem(400, part);
    }
    bot.post("/targets/app/plans", &json!({ "kind": "user", "user": "none" }))
        .is_problem(404, "user `none` not found");
    bot.post("/targets/app/plans", &json!({ "kind": "where" })).is_problem(409, "to select all sessions");
    let everybody = bot.post("/targets/app/plans", &json!({ "kind": "all" })).body;
    let path = format!("/plans/{}/apply", everybody["id"].as_str().unwrap());
    bot.post(&path, &json!({ "confirm": "other" })).is_problem(409, "Type the target name (app) to confirm");
    bot.ask("POST", "/silences", &[], None).is_problem(415, "application/json");
    let put = bot.ask("PUT", "/silences", &[], None);
    put.is_problem(405, "allows only GET, POST");
    assert_eq!(put.header("allow"), "GET, POST");
    let huge = json!({ "minutes": 5, "note": "x".repeat(70_000) });
    bot.post("/silences", &huge).is_problem(413, "64 KiB");
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn a_large_table_is_paged_by_id_even_if_it_is_mistaken_for_a_small_one() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read");
    let estimate = |rows: u32| {
        let sql = format!("UPDATE pg_class SET reltuples = {rows} WHERE oid = 'sessions'::regclass");
        scene.database.psql(&sql).unwrap();
    };
    let ids = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    estimate(1_000_000);
    let first = bot.get("/targets/app/sessions?limit=40&order=up").body;
    estimate(90);
    let next = first["next"].as_str().unwrap();
    for sort in ["", "&sort=expires"] {
        let second = bot.get(&format!("/targets/app/sessions?limit=50&order=up&cursor={next}{sort}")).body;
        let found = [ids(&first), ids(&second)].concat();
        assert!(found.is_sorted() && found.len() == 90, "{found:?}");
    }
}

#[test]
fn queries_take_turns_on_a_connection_that_stays_open_for_a_while() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,actions");
    testkit::wait_until("the first check run", || !bot.get("/targets/app").body["checked_at"].is_null());
    let waiting = || {
        let query = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'";
        scene.database.psql(query).unwrap().trim().to_owned()
    };
    testkit::wait_until("no connection", || waiting().is_empty());
    let asked = || assert_eq!(bot.get("/targets/app/sessions").status, 200);
    asked();
    let first = waiting();
    assert!(first.parse::<u32>().is_ok(), "{first}");
    asked();
    assert_eq!(bot.get("/targets/app/doctor").status, 200);
    testkit::wait_until("the same connection", || waiting() == first);
    // A lost connection is replaced.
    scene.database.psql(&format!("SELECT pg_terminate_backend({first})")).unwrap();
    testkit::wait_until("the end of it", || waiting().is_empty());
    asked();
    let second = waiting();
    assert!(second.parse::<u32>().is_ok() && second != first, "{first} {second}");
    // A failed query leaves nothing behind, and does not affect others.
    let rename = |from: &str, to: &str| {
        let sql = format!(r#"ALTER TABLE sessions RENAME COLUMN "{from}" TO "{to}""#);
        scene.database.psql(&sql).unwrap();
    };
    rename("sessionToken", "other");
    assert_eq!(bot.get("/targets/app/sessions").status, 503);
    testkit::wait_until("no connection", || waiting().is_empty());
    rename("other", "sessionToken");
    asked();
    // Requests with their own connections are not held up.
    assert_eq!(bot.post("/targets/app/plans", &json!({ "kind": "duplicates" })).status, 201);
    asked();
    // No query is running any more.
    testkit::wait_until("no connection", || waiting().is_empty());
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn aborted_requests_make_no_room_for_more_queries() {
    let scene = Scene::of("lock_timeout = 600\n", "");
    let bot = scene.program("ada", "read");
    testkit::wait_until("the first check run", || !bot.get("/targets/app").body["checked_at"].is_null());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dsn = Dsn::parse(&scene.database.url("postgres")).unwrap();
    let locker = runtime.block_on(PgConnection::<NoRows>::open(&dsn)).unwrap();
    let lock = "BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE";
    runtime.block_on(locker.client().batch_execute(lock)).unwrap();
    let waiting = || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND (query LIKE '%token_prefix%' OR query LIKE '%AS sample')";
        scene.database.psql(query).unwrap().trim().parse::<u32>().unwrap()
    };
    let ask = |_| {
        let mut stream = TcpStream::connect(&scene.watch.address).unwrap();
        let head = "GET /api/v1/targets/app/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer";
        write!(stream, "{head} {}\r\n\r\n", bot.token).unwrap();
        stream
    };
    let first: Vec<_> = (0..4).map(ask).collect();
    testkit::wait_until("four questions", || waiting() == 4);
    drop(first);
    let _second: Vec<_> = (0..4).map(ask).collect();
    let mut looked = 0;
    testkit::wait_until("a while", || {
        assert!(waiting() <= 4);
        looked += 1;
        looked == 20
    });
}
