//! Tests that this version reads what any earlier version wrote, in a file and on a server.

use std::path::Path;

use jiff::SignedDuration;
use pg_link::Dsn;
use rusqlite::Connection;
use serde_json::{Value, json};
use sessionwatch_core::{
    alert::AlertState,
    log_gaps::{GapCause, StoredLogGap},
    period::Period,
    timestamp::UtcTimestamp,
};

use crate::{
    Store, StoreError, StoreLocation, accounts, alerts, api_tokens, archive_batches, attestations, audit,
    confirmed_time, fingerprint_key, history_events, incidents, keyed_requests, latest_reports, layouts,
    leases, log_events, log_sources,
    migrations::{SCHEMA_MIGRATIONS, migrate_to},
    outbox, plans,
    postgres_store::PgStore,
    restores, samples, session_history, silences,
    sqlite_connection::with_transaction,
    transaction::Tx,
};

/// Rows as written by the version of each migration, in the order of the migrations.
const SAMPLES: [&str; SCHEMA_MIGRATIONS.len()] = [
    include_str!("../migrations/samples/20261124120000_first.sql"),
    include_str!("../migrations/samples/20261124180000_history.sql"),
    include_str!("../migrations/samples/20261125120000_acting.sql"),
    include_str!("../migrations/samples/20261125130000_incident.sql"),
    include_str!("../migrations/samples/20261125160000_logs.sql"),
    include_str!("../migrations/samples/20261125200000_accounts.sql"),
    include_str!("../migrations/samples/20261126120000_api.sql"),
    include_str!("../migrations/samples/20261128230000_layouts.sql"),
    include_str!("../migrations/samples/20261129040000_networks.sql"),
    include_str!("../migrations/samples/20261129100000_clocks.sql"),
    include_str!("../migrations/samples/20261129103000_gaps.sql"),
    include_str!("../migrations/samples/20261130120000_terms.sql"),
    include_str!("../migrations/samples/20261130200000_tables.sql"),
    include_str!("../migrations/samples/20261201100000_unknown_results.sql"),
];
/// The numbers of migrations, by the feature they added.
const HISTORY: usize = 2;
const ACTING: usize = 3;
const INCIDENTS: usize = 4;
const LOGS: usize = 5;
const ACCOUNTS: usize = 6;
const API: usize = 7;
const LAYOUTS: usize = 8;
const NETWORKS: usize = 9;
const CLOCKS: usize = 10;
const GAPS: usize = 11;
const TERMS: usize = 12;
const TABLES_MIGRATION: usize = 13;
const UNKNOWN_RESULTS: usize = 14;

/// Asserts on the rows written by one migration's version.
type Assertion = fn(Tx<'_>) -> Result<(), StoreError>;

fn at(micros: i64) -> UtcTimestamp {
    UtcTimestamp::from_micros(micros).unwrap()
}

/// Applies migrations up to `version`, inserting each version's rows before the next one.
fn write_history(db: Tx<'_>, version: usize) -> Result<(), StoreError> {
    for (number, sample) in (1..=version).zip(SAMPLES) {
        migrate_to(db, number)?;
        let sample = match db {
            Tx::Sqlite(_) => sample.to_owned(),
            Tx::Postgres(_) => sample.replace("X'", "'\\x"),
        };
        db.execute_batch(&sample)?;
    }
    Ok(())
}

/// Creates a file as left behind by `version`.
fn file_of(folder: &Path, version: usize) -> StoreLocation {
    let path = folder.join(format!("{version}.db"));
    let mut connection = Connection::open(&path).unwrap();
    with_transaction(&mut connection, |db| write_history(db, version)).unwrap();
    StoreLocation::File(path)
}

/// Creates a schema as left behind by `version`.
fn schema_of(database: &testkit::Database<'_>, version: usize) -> StoreLocation {
    let dsn = Dsn::parse(&database.url("postgres")).unwrap();
    let remote = PgStore::start(dsn.clone()).unwrap();
    remote.begin_transaction(true).unwrap();
    remote.execute_batch("CREATE SCHEMA sessionwatch").unwrap();
    write_history(Tx::Postgres(&remote), version).unwrap();
    remote.execute_batch("COMMIT").unwrap();
    StoreLocation::Server(Box::new(dsn))
}

fn assert_first(db: Tx<'_>, version: usize) -> Result<(), StoreError> {
    let alerts = alerts::list_alerts(db, true)?;
    let firing = alerts.iter().find(|alerts| alerts.check == "duplicate-tokens").unwrap();
    assert_eq!(
        firing.alert.state,
        AlertState::Firing { since: at(5), passing_runs: 0, notified_at: Some(at(5)) }
    );
    assert_eq!((firing.acknowledged_by.as_deref(), firing.verdict.as_deref()), (Some("ada"), None));
    let expected = 2 + usize::from(version >= HISTORY) + usize::from(version >= UNKNOWN_RESULTS);
    assert_eq!(alerts.len(), expected);
    let reached = alerts::find_alert(db, "app", "target-unreachable")?.unwrap();
    assert_eq!(reached.alert.state, AlertState::Resolved);
    let due = outbox::count_messages(db)?;
    assert!(due.iter().any(|(channel, state, _)| channel == "chat" && state == "due"), "{due:?}");
    let expected = [1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3][version - 1];
    assert_eq!(silences::list_active_silences(db, UtcTimestamp::MIN)?.len(), expected, "active silences");
    assert_eq!(audit::verify_chain(db)?, audit::ChainStatus::Intact(1));
    Ok(())
}

fn assert_history(db: Tx<'_>) -> Result<(), StoreError> {
    let pending = alerts::find_alert(db, "app", "orphaned-sessions")?.unwrap();
    assert_eq!(
        pending.alert.state,
        AlertState::Pending { failing_runs: 2, since: at(1_764_000_000_000_000) }
    );
    assert_eq!((pending.alert.is_stale, pending.parse_finding()?), (true, json!({ "value": 11 })));
    assert_eq!(samples::last_run_at(db, "app")?, Some(at(1_764_000_060_000_000)));
    assert_eq!(samples::last_success_at(db, "app")?, Some(at(1_764_000_000_000_000)));
    let ever = history_events::EventSearch {
        from: UtcTimestamp::MIN,
        to: UtcTimestamp::MAX,
        target: Some("app".into()),
        check: None,
        text: None,
        alerts_only: false,
        before_id: None,
        limit: 9,
    };
    let kinds: Vec<String> =
        history_events::search_events(db, &ever)?.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["result", "firing"]);
    assert_eq!(
        session_history::find_snapshot(db, "app")?,
        Some((at(1_764_000_060_000_000), vec![1, 255, 0]))
    );
    assert_eq!(fingerprint_key::find_fingerprint_key(db)?, Some(-7));
    leases::verify_epoch(db, &leases::LeaseFence { lease: "app".into(), holder: "one".into(), epoch: 3 })?;
    let item = attestations::ChecklistItemRef { target: "app", item: "user-reports" };
    let attestation = attestations::find_latest_attestation(db, item, Period::ALL_TIME)?.unwrap();
    assert_eq!((attestation.holds, attestation.note.as_str()), (false, "two"));
    let quiet = silences::list_active_silences(db, UtcTimestamp::MIN)?;
    let subject = quiet.iter().find(|silence| silence.subject.as_deref() == Some("u7")).unwrap();
    assert_eq!(subject.check.as_deref(), Some("target-unreachable"));
    let dead = outbox::list_dead_messages(db, 9)?;
    assert_eq!((dead.len(), dead[0].attempts, dead[0].possible_duplicate), (1, 20, true));
    assert_eq!(dead[0].recipient.as_deref(), Some("ada@example.org"));
    Ok(())
}

fn assert_acting(db: Tx<'_>) -> Result<(), StoreError> {
    let plan = plans::find_plan(db, "p1")?.unwrap();
    assert_eq!((plan.state, plan.row_count, plan.approved_by), (plans::PlanState::Done, 1, None));
    assert_eq!(plans::find_plan(db, "p2")?.unwrap().state, plans::PlanState::Making);
    let (_, rows) = plans::find_next_plan_chunk(db, "p1", 0)?.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.locator, row.version, row.row_hash, row.expires_us), (1 << 16 | 1, 5, 7, Some(9)));
    assert_eq!(
        [row.id.as_deref(), row.token_prefix.as_deref(), row.user.as_deref()],
        [Some("s1"), Some("abcdefgh"), Some("7")]
    );
    assert_eq!((row.active, row.token_fingerprint), (true, None));
    let (batch, sealed) = archive_batches::find_batch(db, 1)?.unwrap();
    assert_eq!(
        (&batch.rows, batch.row_states, batch.transaction_id),
        (&rows, vec![archive_batches::ArchivedRowState::Archived], Some(771))
    );
    assert_eq!((batch.state, sealed), (archive_batches::BatchState::Kept, b"ag".to_vec()));
    Ok(())
}

fn assert_incidents(db: Tx<'_>) -> Result<(), StoreError> {
    let incident = incidents::find_open_incident(db, "app")?.unwrap();
    assert_eq!((incident.id.as_str(), incident.state), ("i1", incidents::IncidentState::Contained));
    assert_eq!(incident.report_field("summary").as_deref(), Some("one token, two users"));
    assert_eq!(incidents::list_incidents(db)?.len(), 2);
    let timeline = incidents::list_timeline(db, "i1")?;
    let kinds: Vec<&str> = timeline.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["opened", "done", "contained"]);
    assert_eq!(timeline[2].parse_detail()?, json!({ "plan": "p1" }));
    assert_eq!(incidents::collect_step_records(&timeline).len(), 1);
    assert_eq!(incidents::list_drills(db)?[0].phase_durations, [10, 20, 30].map(SignedDuration::from_micros));
    Ok(())
}

fn assert_logs(db: Tx<'_>) -> Result<(), StoreError> {
    let signal = log_events::find_log_event(db, 1)?.unwrap();
    assert_eq!((signal.match_kind.as_deref(), signal.byte_range), (Some("exact"), (0, 90)));
    assert_eq!(signal.correlation, Some(json!({ "id": "s7" })));
    let unjudged: Vec<i64> =
        log_events::list_unevaluated_log_events(db, "app", 9)?.iter().map(|signal| signal.id).collect();
    assert_eq!(unjudged, [2]);
    let source = log_sources::find_log_source::<Value>(db, "web")?.unwrap();
    assert_eq!(source.position, Some(json!({ "device": 1, "inode": 2, "offset": 120 })));
    assert_eq!((source.activity.to_text().as_str(), source.gaps), ("490019:2 ", vec![]));
    assert_eq!(source.counters.get("lines"), Some(&json!(2)));
    assert!(!log_events::insert_drain_entry(db, "web", "e1", at(1))?, "an entry is accepted only once");
    Ok(())
}

fn assert_accounts(db: Tx<'_>) -> Result<(), StoreError> {
    let account = accounts::find_account(db, "ada")?.unwrap();
    assert_eq!((account.role, account.oidc_subject.as_str()), (accounts::AccountRole::Admin, ""));
    assert!(account.password_hash.expose().starts_with("$argon2id$"));
    let (login, _) = accounts::find_login_session(db, "h1")?.unwrap();
    assert!(!login.is_valid(at(1_764_080_000_000_001)), "its expiry is unknown");
    Ok(())
}

fn assert_api(db: Tx<'_>) -> Result<(), StoreError> {
    let (token, account) = api_tokens::find_token_by_hash(db, "th1")?.unwrap();
    assert_eq!(
        (token.scopes, account.name.as_str()),
        (vec![api_tokens::TokenScope::Read, api_tokens::TokenScope::Actions], "ada")
    );
    let request =
        keyed_requests::KeyedRequest { token_id: "t1", idempotency_key: "k1", request_hash: "POST /x" };
    let earlier = keyed_requests::begin_keyed_request(db, request, at(1_764_150_000_000_000))?;
    assert_eq!(earlier, keyed_requests::PriorRequest::Answered(201, "{\"id\":\"p3\"}".into()));
    let known = accounts::find_account_by_oidc_subject(db, "https://login.example.org 17")?.unwrap();
    assert_eq!((known.name.as_str(), known.role), ("vic", accounts::AccountRole::Viewer));
    assert!(accounts::find_login_session(db, "h2")?.unwrap().0.is_valid(at(1_764_150_000_000_000)));
    assert_eq!(plans::find_plan(db, "p3")?.unwrap().approved_by.as_deref(), Some("bo"));
    Ok(())
}

/// What earlier programs stored in their own words is there in the standard terms.
fn assert_terms(db: Tx<'_>, version: usize) -> Result<(), StoreError> {
    let report = latest_reports::find_report(db, "app")?;
    let schema = report.map(|(_, report)| report["schema"].clone());
    assert_eq!(schema, (version >= TERMS).then(|| json!(2)), "an earlier report is made again");
    let result = db.query_row("SELECT detail FROM events WHERE id = 1", &[])?;
    if let Some(result) = result {
        let detail: Value = serde_json::from_str(&result.read_text(0)?).unwrap();
        assert_eq!(detail, json!({ "before": "passing", "after": "failing" }));
    }
    if version >= TERMS {
        let kinds = db.query_rows("SELECT kind FROM events WHERE target = 'shop' ORDER BY id", &[])?;
        let kinds: Vec<String> = kinds.iter().map(|row| row.read_text(0).unwrap()).collect();
        assert_eq!(kinds, ["result", "reminder"]);
    }
    Ok(())
}

fn assert_latest(db: Tx<'_>, version: usize) -> Result<(), StoreError> {
    if version >= LAYOUTS {
        let confirmed: Vec<Option<String>> =
            layouts::list_layouts::<Value>(db)?.into_iter().map(|record| record.confirmed_by).collect();
        assert_eq!(confirmed, [None, Some("ada".into())]);
    }
    if version >= NETWORKS {
        let network = db.query_row("SELECT at FROM login_networks WHERE account = 'ada'", &[])?;
        assert_eq!(network.unwrap().read_timestamp(0)?, at(1_764_390_000_000_000));
    }
    if version >= CLOCKS {
        assert_eq!(confirmed_time::find_confirmed_time(db, UtcTimestamp::MAX)?, at(1_764_410_000_000_000));
    }
    // For messages from before the column existed, the delay starts when the message was written.
    let set = db.query_row("SELECT set_at FROM outbox WHERE idempotency_key = 'k'", &[])?.unwrap();
    assert_eq!(set.read_i64(0)?, 5);
    if version >= UNKNOWN_RESULTS {
        let reason =
            alerts::find_alert(db, "shop", "orphaned-sessions")?.and_then(|alert| alert.unknown_reason);
        assert_eq!(reason.as_deref(), Some("the users cannot be read"));
    }
    if version >= TABLES_MIGRATION {
        let restored = restores::list_restored_sessions(db, "app")?;
        let expected = restores::RestoredSessions {
            at: Some(at(1_764_600_000_000_000)),
            fingerprints: vec![7, u64::MAX - 1],
        };
        assert_eq!(restored, [expected]);
        assert_eq!(incidents::list_timeline(db, "i0")?[0].step, "rollback");
    }
    if version >= GAPS {
        let gap = StoredLogGap { at: at(1_764_420_000_000_000), cause: GapCause::Truncated, bytes: Some(17) };
        assert_eq!(log_sources::find_log_source::<Value>(db, "nginx")?.unwrap().gaps, [gap]);
    }
    Ok(())
}

/// Replaces, in a store of the version before the terms, everything that the migration renames.
const RENAMED_ROWS: &str = r#"
INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale,
    severity, summary, updated_at, verdict, finding)
VALUES ('shop', 'log-table-mismatch', 'ok', 0, 0, NULL, NULL, 0, 'critical', 'none', 7, 'healthy',
        '{"signals":[{"fit":"exact","seen_at":"x","text":"\"fit\":"}]}');
INSERT INTO events (id, at, target, check_id, kind, summary, detail)
VALUES (51, 1, 'shop', 'log-silence', 'verdict', 'healthy: every source speaks', '{"before":null,"after":"healthy"}'),
       (52, 1, 'shop', 'token-rebound', 'repeated', 'healthy: no verdict', '{}');
INSERT INTO outbox (id, idempotency_key, channel, message, created_at, next_at, subject)
VALUES (51, 'k51', 'chat', '{"schema":1,"notice":"repeated","check":"blind","again":false}', 5, 5, 'shop/blind');
INSERT INTO censuses (target, resolution, at, looks, blind, gauges)
VALUES ('shop', 0, 1, 1, 0, '{"rebound":1.0,"revived":2.0}');
INSERT INTO signals (id, source, target, kind, seen_at, byte_from, byte_to, text, fit, joined, judged)
VALUES (51, 'web', 'shop', 'created', 1, 0, 9, 'created', 'exact', '{"by_chance":0.0,"skew_us":5}', 1);
INSERT INTO log_sources (name, target, place, heard_at, rhythm, counters)
VALUES ('shop', 'shop', NULL, NULL, '', '{"signals/created":4}');
INSERT INTO plans (id, target, address, about, made_at, made_by, touched_at, state, named, active, summary)
VALUES ('p51', 'shop', 'x', '{"Where":{"agent_like":"curl"}}', 1, 'ada', 1, 'making', 0, 0, '');
INSERT INTO incidents (id, target, severity, state, opened_at, opened_by, fields)
VALUES ('i51', 'shop', 'P0', 'open', 1, 'ada', '{}');
INSERT INTO incident_entries (id, incident, at, actor, kind, step, said, detail)
VALUES (51, 'i51', 1, 'ada', 'look', '', '',
        '{"census":null,"checks":[{"id":"revived-sessions","verdict":"healthy"}],"schema":1,"taken_at":null,"verdict":"failing"}'),
       (52, 'i51', 1, 'ada', 'found', '', '', '{}'), (53, 'i51', 1, 'the log', 'signal', '', '', '{}');
"#;

/// Reads one text of every renamed kind.
const RENAMED_TEXTS: [(&str, &str); 14] = [
    ("SELECT state || ' ' || verdict FROM alerts WHERE check_id = 'log-user-conflict'", "resolved passing"),
    (
        "SELECT finding FROM alerts WHERE target = 'shop'",
        r#"{"log_events":[{"match_kind":"exact","recorded_at":"x","text":"\"fit\":"}]}"#,
    ),
    ("SELECT summary FROM events WHERE id = 51", "passing: every source speaks"),
    ("SELECT detail FROM events WHERE check_id = 'log-source-idle'", r#"{"before":null,"after":"passing"}"#),
    ("SELECT kind || summary FROM events WHERE check_id = 'token-reassigned'", "reminderhealthy: no verdict"),
    (
        "SELECT message FROM outbox WHERE subject = 'shop/target-unreachable'",
        r#"{"schema":2,"notice":"reminder","check":"target-unreachable","possible_duplicate":false}"#,
    ),
    ("SELECT gauges FROM censuses WHERE target = 'shop'", r#"{"reassigned":1.0,"reappeared":2.0}"#),
    ("SELECT joined FROM signals WHERE id = 51", r#"{"coincidences":0.0,"clock_offset_us":5}"#),
    ("SELECT counters FROM log_sources WHERE name = 'shop'", r#"{"log_events/created":4}"#),
    ("SELECT about FROM plans WHERE id = 'p51'", r#"{"Where":{"user_agent_like":"curl"}}"#),
    (
        "SELECT detail FROM incident_entries WHERE id = 51",
        r#"{"stats":null,"checks":[{"id":"reappeared-sessions","result":"passing"}],"schema":2,"checked_at":null,"result":"failing"}"#,
    ),
    ("SELECT kind FROM incident_entries WHERE id = 51", "check-run"),
    ("SELECT kind FROM incident_entries WHERE id = 52", "detected"),
    ("SELECT kind FROM incident_entries WHERE id = 53", "log-event"),
];

fn assert_renamed(db: Tx<'_>) -> Result<(), StoreError> {
    migrate_to(db, TERMS - 1)?;
    db.execute_batch(RENAMED_ROWS)?;
    migrate_to(db, TERMS)?;
    for (query, expected) in RENAMED_TEXTS {
        let row = db.query_row(query, &[])?.unwrap_or_else(|| panic!("no row: {query}"));
        assert_eq!(row.read_text(0)?, expected, "{query}");
    }
    Ok(())
}

#[test]
fn stored_words_become_the_standard_terms() {
    let mut connection = Connection::open_in_memory().unwrap();
    with_transaction(&mut connection, assert_renamed).unwrap();
    let database = testkit::shared_server().create_database(None).unwrap();
    let remote = PgStore::start(Dsn::parse(&database.url("postgres")).unwrap()).unwrap();
    remote.begin_transaction(true).unwrap();
    remote.execute_batch("CREATE SCHEMA sessionwatch").unwrap();
    assert_renamed(Tx::Postgres(&remote)).unwrap();
}

/// Asserts on what the migration to the named tables changes beside the names.
fn assert_tables(db: Tx<'_>) -> Result<(), StoreError> {
    migrate_to(db, TABLES_MIGRATION - 1)?;
    db.execute_batch(
        "INSERT INTO incident_entries (id, incident, at, actor, kind, step, said, detail)
         VALUES (1, 'i', 1, 'ada', 'done', 'way-back', '', '{}'), (5, 'i', 2, 'ada', 'done', 'team', '', '{}');
         INSERT INTO signals (id, source, target, kind, seen_at, byte_from, byte_to, text)
         VALUES (41, 'web', 'app', 'created', 1, 0, 9, 'created')",
    )?;
    let entry = audit::NewAuditEntry {
        actor: "ada",
        action: "incident.step_done",
        detail: "{\"incident\":\"i\",\"step\":\"way-back\",\"text\":\"\"}",
    };
    db.execute_batch("CREATE TABLE id_counters (name TEXT PRIMARY KEY, last_id BIGINT NOT NULL)")?;
    audit::insert_audit_entry(db, entry, at(1))?;
    db.execute_batch("DROP TABLE id_counters")?;
    migrate_to(db, TABLES_MIGRATION)?;
    let steps: Vec<String> = incidents::list_timeline(db, "i")?.into_iter().map(|entry| entry.step).collect();
    assert_eq!(steps, ["rollback", "team"]);
    // The audit log keeps the word, and its chain.
    assert!(audit::list_audit_entries_before(db, None, 1)?[0].detail.contains("way-back"));
    assert_eq!(audit::verify_chain(db)?, audit::ChainStatus::Intact(1));
    // Ids go on after the last one, and are not given again.
    log_events::prune_log_events(db, at(9))?;
    assert_eq!(
        [db.next_id("log_events")?, db.next_id("timeline_entries")?, db.next_id("silences")?],
        [42, 6, 1]
    );
    Ok(())
}

#[test]
fn tables_are_renamed_and_ids_go_on() {
    let mut connection = Connection::open_in_memory().unwrap();
    with_transaction(&mut connection, assert_tables).unwrap();
    let database = testkit::shared_server().create_database(None).unwrap();
    let remote = PgStore::start(Dsn::parse(&database.url("postgres")).unwrap()).unwrap();
    remote.begin_transaction(true).unwrap();
    remote.execute_batch("CREATE SCHEMA sessionwatch").unwrap();
    let db = Tx::Postgres(&remote);
    assert_tables(db).unwrap();
    // No index keeps a word of the earlier tables.
    let old = "SELECT CAST(indexname AS TEXT) FROM pg_indexes WHERE schemaname = 'sessionwatch' \
               AND (indexname NOT LIKE tablename || '%')";
    let old = db.query_rows(old, &[]).unwrap();
    assert_eq!(old.iter().map(|row| row.read_text(0).unwrap()).collect::<Vec<_>>(), Vec::<String>::new());
}

/// Asserts that everything written by versions up to `version` can be read.
fn assert_kept(store: &Store, version: usize) {
    let kept = store.write(|db| {
        assert_first(db, version)?;
        let parts: [(usize, Assertion); 6] = [
            (HISTORY, assert_history),
            (ACTING, assert_acting),
            (INCIDENTS, assert_incidents),
            (LOGS, assert_logs),
            (ACCOUNTS, assert_accounts),
            (API, assert_api),
        ];
        parts.iter().filter(|(since, _)| version >= *since).try_for_each(|(_, part)| part(db))?;
        if version >= HISTORY {
            assert_terms(db, version)?;
        }
        assert_latest(db, version)
    });
    kept.unwrap_or_else(|error| panic!("version {version}: {error}"));
}

#[test]
fn files_of_every_version_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    for version in 1..=SCHEMA_MIGRATIONS.len() {
        let place = file_of(folder.path(), version);
        assert_kept(&Store::open(&place).unwrap(), version);
    }
}

#[test]
fn schemas_of_every_version_can_be_read() {
    for version in 1..=SCHEMA_MIGRATIONS.len() {
        let database = testkit::shared_server().create_database(None).unwrap();
        let place = schema_of(&database, version);
        assert_kept(&Store::open(&place).unwrap(), version);
    }
}

#[test]
fn samples_have_a_row_of_every_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&file_of(folder.path(), SCHEMA_MIGRATIONS.len())).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let tables = store.read(|db| db.query_rows(tables, &[])).unwrap();
    assert!(tables.len() > 25, "{}", tables.len());
    for table in tables {
        let name = table.read_text(0).unwrap();
        let row = store.read(|db| db.query_row(&format!("SELECT 1 FROM {name} LIMIT 1"), &[])).unwrap();
        assert!(row.is_some(), "no sample has a row of {name}");
    }
}
