//! Tests that an unknown value in any decoded column is an error, and never a default.

use sessionwatch_core::{period::Period, timestamp::UtcTimestamp};

use crate::{
    Store, StoreError, accounts, alerts, api_tokens, archive_batches, attestations, audit, history_events,
    incidents, latest_reports, log_events, log_sources, outbox, plans, row::Param, samples, session_history,
    tests::store_of_each_kind,
};

/// A row of each table.
const ROWS: [&str; 17] = [
    "INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, \
     verdict, finding, updated_at)
     VALUES ('app', 'x', 'firing', 1, 0, 5, NULL, 0, 'high', 's', 'failing', '{}', 9)",
    "INSERT INTO outbox (id, idempotency_key, channel, message, created_at, next_at, state) \
     VALUES (1, 'k', 'hook', '{}', 1, 1, 'dead')",
    "INSERT INTO audit (id, at, actor, action, detail, previous, hash) VALUES (1, 1, 'ada', 'x', '{}', '', 'h')",
    "INSERT INTO samples (target, resolution, at, looks, blind, gauges) VALUES ('app', 0, 1, 1, 0, '{\"active\":1}')",
    "INSERT INTO latest_reports (target, at, report) VALUES ('app', 1, '{}')",
    "INSERT INTO events (id, at, target, check_id, kind, summary, detail) VALUES (1, 1, 'app', 'x', \
     'result', 's', '{}')",
    "INSERT INTO plans (id, target, address, about, made_at, made_by, touched_at, state, named, active, summary)
     VALUES ('p', 'app', 'a', '\"orphaned\"', 1, 'ada', 1, 'planned', 0, 0, '{}')",
    "INSERT INTO incidents (id, target, severity, state, opened_at, opened_by, fields) VALUES ('i', 'app', \
     'P0', 'open', 1, 'ada', '{}')",
    "INSERT INTO timeline_entries (id, incident, at, actor, kind, step, said, detail) \
     VALUES (1, 'i', 1, 'ada', 'note', '', 's', '{}')",
    "INSERT INTO drills (id, at, target, actor, detected_us, contained_us, verified_us) VALUES (1, 1, 'app', \
     'ada', 1, 2, 3)",
    "INSERT INTO log_events (id, source, target, kind, severity, seen_at, byte_from, byte_to, text, fit, joined)
     VALUES (1, 'web', 'app', 'own', 'high', 1, 0, 1, 't', 'exact', '{}')",
    "INSERT INTO log_sources (name, target, place, heard_at, rhythm, counters) VALUES ('web', 'app', \
     NULL, 1, '', '{}')",
    "INSERT INTO accounts (name, role, password, created_at) VALUES ('ada', 'admin', '', 1)",
    "INSERT INTO api_tokens (id, hash, account, label, scopes, created_at, expires_at) \
     VALUES ('t', 'h', 'ada', 'l', 'read alerts', 1, 2)",
    "INSERT INTO keyed_requests (token, name, request, at, status, content) VALUES ('t', 'k', 'r', \
     9000000000000000, 200, '')",
    "INSERT INTO attestations (id, at, target, item, holds, owner, note) VALUES (1, 1, 'app', \
     'user-reports', 1, 'ada', '')",
    "INSERT INTO login_sessions (hash, account, created_at, seen_at, address, agent, expires_at) \
     VALUES ('h', 'ada', 1, 1, '', '', 1)",
];

fn start() -> UtcTimestamp {
    UtcTimestamp::from_micros(0).unwrap()
}

/// Calls every reader of a table.
fn read(store: &Store, table: &str) -> Result<(), StoreError> {
    let ever = Period::ALL_TIME;
    store.read(|db| match table {
        "alerts" => {
            alerts::find_alert(db, "app", "x")?;
            alerts::list_target_alerts(db, "app").and_then(|_| alerts::list_alerts(db, true)).map(drop)
        }
        "outbox" => outbox::list_dead_messages(db, 9).and_then(|_| outbox::count_messages(db)).map(drop),
        "audit" => audit::list_audit_entries_before(db, None, 9)
            .and_then(|_| audit::list_audit_entries_between(db, ever, 9))
            .map(drop),
        "samples" => {
            samples::list_samples_between(db, "app", Period { from: start(), to: UtcTimestamp::MAX }, start())
                .map(drop)
        }
        "latest_reports" => latest_reports::find_report_text(db, "app").map(drop),
        "events" => {
            history_events::list_user_events(
                db,
                history_events::UserRef { target: "app", user: "u" },
                start(),
            )?;
            history_events::list_verdicts(db, history_events::CheckRef { target: "app", check: "x" }, ever)
                .map(drop)
        }
        "plans" => {
            plans::list_plans(db)?;
            plans::find_plan(db, "p").map(drop)
        }
        "plan_chunks" => plans::find_next_plan_chunk(db, "p", 0).map(drop),
        "archive_batches" => {
            archive_batches::list_archive_summaries(db)?;
            archive_batches::find_batch(db, 1)?;
            archive_batches::find_next_batch(db, "p", 0)
                .and_then(|_| archive_batches::list_unsettled_batches(db, "app"))
                .map(drop)
        }
        "incidents" => {
            incidents::list_incidents(db).and_then(|_| incidents::find_open_incident(db, "app")).map(drop)
        }
        "timeline_entries" => incidents::list_timeline(db, "i").map(drop),
        "drills" => incidents::list_drills(db).map(drop),
        "log_events" => log_events::find_log_event(db, 1).map(drop),
        "log_sources" => log_sources::find_log_source::<serde_json::Value>(db, "web")
            .and_then(|_| log_sources::list_log_sources::<serde_json::Value>(db))
            .map(drop),
        "accounts" => accounts::find_account(db, "ada").and_then(|_| accounts::list_accounts(db)).map(drop),
        "api_tokens" => api_tokens::list_tokens(db, None).map(drop),
        "attestations" => attestations::find_latest_attestation(
            db,
            attestations::ChecklistItemRef { target: "app", item: "user-reports" },
            ever,
        )
        .map(drop),
        "login_sessions" => accounts::list_login_sessions(db, "ada").map(drop),
        "snapshots" => session_history::find_snapshot(db, "app").map(drop),
        other => panic!("{other}"),
    })
}

const TEXT: [(&str, &str, &str); 40] = [
    ("alerts", "state", "paused"),
    ("alerts", "severity", "urgent"),
    ("alerts", "verdict", "fine"),
    ("alerts", "finding", "{"),
    ("outbox", "message", "{"),
    ("outbox", "state", "lost"),
    ("audit", "detail", "{"),
    ("samples", "gauges", "{"),
    ("samples", "gauges", "{\"active\":\"many\"}"),
    ("samples", "gauges", "{\"active\":[1,2]}"),
    ("latest_reports", "report", ""),
    ("events", "detail", "{"),
    ("plans", "state", "paused"),
    ("plans", "about", ""),
    ("plans", "summary", ""),
    ("plans", "summary", "[]"),
    ("archive_batches", "state", "melted"),
    ("incidents", "severity", "P9"),
    ("incidents", "severity", ""),
    ("incidents", "state", "paused"),
    ("incidents", "fields", "{"),
    ("incidents", "fields", "[]"),
    ("timeline_entries", "kind", "sung"),
    ("timeline_entries", "detail", "{"),
    ("log_events", "severity", "urgent"),
    ("log_events", "fit", "nearly"),
    ("log_events", "joined", "{"),
    ("log_sources", "place", "{"),
    ("log_sources", "rhythm", "often"),
    ("log_sources", "counters", "[]"),
    ("log_sources", "gaps", "{}"),
    ("log_sources", "gaps", "[{}]"),
    ("log_sources", "gaps", "[{\"at_us\":1,\"cause\":\"other\",\"bytes\":null}]"),
    ("accounts", "role", "owner"),
    ("accounts", "role", ""),
    ("accounts", "role", "Admin"),
    ("api_tokens", "scopes", "read everything"),
    ("api_tokens", "scopes", ""),
    ("alerts", "state", ""),
    ("alerts", "state", "FIRING"),
];
const NUMBERS: [(&str, &str, Option<i64>); 12] = [
    ("alerts", "stale", Some(7)),
    ("alerts", "since", None),
    ("alerts", "looks", Some(-1)),
    ("alerts", "clear", Some(-1)),
    ("alerts", "updated_at", Some(i64::MIN)),
    ("attestations", "holds", Some(7)),
    ("plans", "named", Some(-1)),
    ("plans", "made_at", Some(i64::MAX)),
    ("incidents", "opened_at", Some(i64::MIN)),
    ("accounts", "created_at", Some(i64::MIN)),
    ("api_tokens", "expires_at", Some(i64::MAX)),
    ("samples", "looks", Some(-1)),
];
const BYTES: [(&str, &str, &[u8]); 4] = [
    ("plan_chunks", "content", &[0xff]),
    ("archive_batches", "content", &[0xff]),
    ("archive_batches", "fates", &[7]),
    ("archive_batches", "fates", &[]),
];

/// Writes a value into a column, asserts that a reader rejects it and names the column, and restores the old value.
fn refuses(store: &Store, table: &str, column: &str, value: Param<'_>) {
    let before =
        store.read(|db| db.query_row(&format!("SELECT {column} FROM {table}"), &[])).unwrap().unwrap();
    // `alerts.clear` counts only while it fires, `looks` only while it is pending.
    let pending = if column == "looks" && table == "alerts" { "pending" } else { "firing" };
    if table == "alerts" && column != "state" {
        store.write(|db| db.execute("UPDATE alerts SET state = $1", &[pending.into()])).unwrap();
    }
    let set = format!("UPDATE {table} SET {column} = $1");
    store.write(|db| db.execute(&set, &[value])).unwrap();
    let said = read(store, table).map_err(|error| error.to_string());
    let expected = format!("column `{column}` of table `{table}`");
    assert!(
        said.as_ref().is_err_and(|said| said.contains(&expected)),
        "{table}.{column} {value:?}: {said:?}"
    );
    store.write(|db| db.execute(&set, &[before.read_as_param(0).unwrap()])).unwrap();
    read(store, table).unwrap();
}

#[test]
fn unknown_values_are_errors_and_never_defaults() {
    for store in store_of_each_kind() {
        store
            .write(|db| {
                ROWS.iter().try_for_each(|row| db.execute(row, &[]).map(drop))?;
                db.execute(
                    "INSERT INTO plan_chunks (plan, piece, content) \
                     VALUES ('p', 1, $1)",
                    &[[].as_slice().into()],
                )?;
                let rows = [sessionwatch_core::row_ref::RowRef::default()];
                let content = sessionwatch_core::row_ref::encode_row_refs(&rows);
                db.execute(
                    "INSERT INTO archive_batches (id, plan, target, state, at, purge_at, recipient, \
                     content, fates, sealed)
                     VALUES (1, 'p', 'app', 'pending', 1, 2, 'age1', $1, $2, $1)",
                    &[content.as_slice().into(), [1].as_slice().into()],
                )
            })
            .unwrap();
        let tables = [
            "alerts",
            "outbox",
            "audit",
            "samples",
            "latest_reports",
            "events",
            "plans",
            "plan_chunks",
            "archive_batches",
        ];
        let others = [
            "incidents",
            "timeline_entries",
            "drills",
            "log_events",
            "log_sources",
            "accounts",
            "api_tokens",
        ];
        for table in tables.into_iter().chain(others).chain(["attestations", "login_sessions", "snapshots"]) {
            assert!(read(&store, table).is_ok(), "{table}: {:?}", read(&store, table));
        }
        TEXT.iter().for_each(|(table, column, text)| refuses(&store, table, column, (*text).into()));
        NUMBERS.iter().for_each(|(table, column, number)| refuses(&store, table, column, (*number).into()));
        BYTES.iter().for_each(|(table, column, bytes)| refuses(&store, table, column, (*bytes).into()));
    }
}
