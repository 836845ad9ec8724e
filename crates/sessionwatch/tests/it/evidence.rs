//! Evidence is read from the addresses that a scan has recorded, for every kind of table, and equals that of a full
//! table search.

use std::time::Duration;

use sessionwatch_core::{
    duration::{DAY, saturating_micros},
    session_stats::{DuplicateTokens, Measured},
    snapshot::EvidenceSelector,
    timestamp::UtcTimestamp,
    timestamp_decoder::Decoder,
};
use sessionwatch_targets::{
    address::TargetAddress,
    engine::{Engine, EngineKind},
    evidence::{EvidenceRequest, EvidenceRow, MAX_EVIDENCE_ROWS},
    layout::Layout,
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping},
    read_session::ReadSession,
    scope::QueryScope,
    sql::{EvidenceQuery, EvidenceRowKind, OrphanSearch, RowAddressing, RowSubset},
    time_limits::TimeLimits,
};

const NOW: i64 = 1_800_000_000_000_000;

/// 3 tokens on 7 rows, one of them of a single user; 12 orphans; 15 expired rows; 12 that end too late, and 2 that
/// never end.
const ROWS: &str = "
INSERT INTO u SELECT n, 'User ' || n FROM generate_series(1, 500) AS n;
INSERT INTO s SELECT 'id-' || n,
  CASE WHEN n IN (7, 107, 207) THEN 'token-of-three' WHEN n IN (8, 108) THEN 'token-of-two' \
    WHEN n IN (9, 10) THEN 'token-of-one'
       ELSE 'token-' || n END,
  CASE WHEN n BETWEEN 300 AND 311 THEN 9000 + n WHEN n IN (9, 10) THEN 9 ELSE 1 + n % 500 END,
  CASE WHEN n BETWEEN 500 AND 514 THEN timestamptz '2027-01-15 08:00Z' - (n / 3) * interval '1 hour'
       WHEN n BETWEEN 600 AND 611 THEN timestamptz '2027-06-15 08:00Z' + (n / 2) * interval '1 hour'
       WHEN n = 612 THEN NULL WHEN n = 613 THEN 'infinity'
       ELSE timestamptz '2027-01-20 08:00Z' + (n % 50) * interval '1 hour' END
FROM generate_series(1, 900) AS n;";

fn mapping(schema: Option<&str>, sessions: &str) -> Mapping {
    let name = |name: &str| TableName { schema: schema.map(str::to_owned), name: name.into() };
    Mapping {
        revoke: RevokeMethod::Delete,
        profile: "custom".into(),
        sessions: name(sessions),
        id: Some("id".into()),
        token: "t".into(),
        user: Some("u".into()),
        expires: TimestampColumn { column: "e".into(), decoder: Decoder::Timestamptz },
        created: None,
        ip: None,
        agent: None,
        users: Some(UsersMapping { table: name("u"), key: "id".into(), display: vec!["name".into()] }),
        accounts: None,
        deleted: None,
        token_prefix: None,
        impersonator: None,
        max_lifetime_s: None,
    }
}

/// Runs a check with the queries of such a table.
fn asked<T>(url: &str, mapping: &Mapping, ask: impl AsyncFnOnce(&ReadSession, &QueryScope<'_>) -> T) -> T {
    let limits = TimeLimits { timeout: Duration::from_secs(30), lock_timeout: Duration::from_secs(5) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = ReadSession::open(&TargetAddress::parse(url).unwrap(), limits, false, 7).await.unwrap();
        let schema = session.describe_schema().await.unwrap();
        let now = UtcTimestamp::from_micros(NOW).unwrap();
        let max_lifetime_us = Some(saturating_micros(30 * DAY));
        let layout = Layout::from_mapping(schema, mapping.clone());
        let scope = QueryScope {
            max_lifetime_us,
            notable_above: 20,
            ..QueryScope::without_thresholds(&layout, 7, now)
        };
        let answer = ask(&session, &scope).await;
        session.close().await;
        answer
    })
}

/// Returns evidence of every kind, as each engine finds it.
async fn all_evidence(session: &ReadSession, scope: &QueryScope<'_>) -> [Vec<Vec<EvidenceRow>>; 2] {
    let mut found = [vec![], vec![]];
    for (engine, found) in [EngineKind::Scan, EngineKind::Pushdown].into_iter().zip(&mut found) {
        let observation = Engine::new(engine).observe(session, scope).await.unwrap();
        let duplicates = DuplicateTokens { tokens: 3, across_users: 2, rows: 7 };
        assert_eq!(observation.stats.duplicates, Measured::Counted(duplicates), "{engine:?}");
        assert_eq!(observation.stats.orphaned, Measured::Counted(12), "{engine:?}");
        let kinds = [
            EvidenceRequest::Duplicates,
            EvidenceRequest::Orphans,
            EvidenceRequest::OldestExpired,
            EvidenceRequest::BeyondPolicy,
        ];
        for wanted in kinds {
            found.push(session.fetch_evidence(scope, wanted, &observation).await.unwrap());
        }
    }
    found
}

/// Counts the rows at the addresses that a scan has recorded.
pub(crate) async fn found_by_address(session: &ReadSession, scope: &QueryScope<'_>) -> Vec<usize> {
    let snapshot = Engine::new(EngineKind::Scan).observe(session, scope).await.unwrap().snapshot.unwrap();
    let mut found = vec![];
    for (kind, notable) in [
        (EvidenceRowKind::Duplicates, EvidenceSelector::Fingerprints(snapshot.repeated_fingerprints())),
        (EvidenceRowKind::Orphans, EvidenceSelector::Orphans),
        (EvidenceRowKind::OldestExpired, EvidenceSelector::OldestExpired),
        (EvidenceRowKind::BeyondPolicy, EvidenceSelector::BeyondPolicy),
    ] {
        let addresses = snapshot.evidence_addresses(notable).unwrap_or_default();
        let rows = EvidenceQuery { kind, subset: RowSubset::Addresses(&addresses) };
        found.push(session.fetch_evidence_rows(scope, rows).await.unwrap().len());
    }
    found
}

fn agrees(url: &str, sessions: &str, addressing: RowAddressing) {
    asked(url, &mapping(Some("public"), sessions), async |session, scope| {
        assert_eq!(scope.query_builder().row_addressing(), addressing);
        let [scanned, searched] = all_evidence(session, scope).await;
        assert_eq!(scanned.iter().map(Vec::len).collect::<Vec<_>>(), [7, 10, 10, 10]);
        assert_eq!(scanned, searched, "{addressing:?}");
        let by_address = if addressing == RowAddressing::Unavailable { [0; 4] } else { [7, 10, 10, 10] };
        assert_eq!(found_by_address(session, scope).await, by_address, "{addressing:?}");
        let never: Vec<_> = scanned[3].iter().take_while(|row| row.expires_at.is_none()).collect();
        assert_eq!(never.len(), 2);
        assert!(scanned[0].iter().all(|row| row.display[0].as_ref().unwrap().starts_with("User ")));
    });
}

#[test]
fn partitions_views_and_roles_without_access_to_row_addresses_have_evidence() {
    let database = testkit::empty_database();
    let columns = "(id text, t text, u integer, e timestamptz";
    database
        .psql(&format!(
            "CREATE TABLE u (id integer PRIMARY KEY, name text); CREATE TABLE s {columns}); {ROWS}"
        ))
        .unwrap();
    let url = database.url("postgres");
    agrees(&url, "s", RowAddressing::Position);
    let reader = testkit::create_role(&database, "reader");
    database
        .psql(&format!(
            "CREATE TABLE p {columns}) PARTITION BY HASH (id);
             CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO p SELECT * FROM s;
             CREATE VIEW v AS SELECT id, t, u, e FROM s;
             CREATE TABLE keyed {columns}, PRIMARY KEY (id)); INSERT INTO keyed SELECT * FROM s;
             GRANT SELECT ON u TO {reader}; GRANT SELECT (id, t, u, e) ON keyed, s TO {reader}"
        ))
        .unwrap();
    agrees(&url, "p", RowAddressing::HeapAndPosition);
    agrees(&url, "v", RowAddressing::Id);
    let reader = database.url(&reader);
    agrees(&reader, "keyed", RowAddressing::Id);
    // Without row addresses or a unique ID, rows are searched for.
    agrees(&reader, "s", RowAddressing::Unavailable);
}

#[test]
fn a_table_is_not_read_again_for_its_evidence() {
    let database = testkit::empty_database();
    database
        .psql(&format!(
            "CREATE TABLE u (id integer PRIMARY KEY, name text); \
             CREATE TABLE s (id text, t text, u integer, e timestamptz); {ROWS}
             INSERT INTO s SELECT 'id-' || n, 'token-' || n, 1 + n % 500, '2027-01-20 08:00Z' \
               FROM generate_series(1000, 60000) AS n;
             ANALYZE s; ANALYZE u"
        ))
        .unwrap();
    asked(&database.url("postgres"), &mapping(Some("public"), "s"), async |session, scope| {
        let observation = Engine::new(EngineKind::Scan).observe(session, scope).await.unwrap();
        let snapshot = observation.snapshot.unwrap();
        let kinds = [
            (EvidenceRowKind::Duplicates, EvidenceSelector::Fingerprints(snapshot.repeated_fingerprints())),
            (EvidenceRowKind::Orphans, EvidenceSelector::Orphans),
            (EvidenceRowKind::OldestExpired, EvidenceSelector::OldestExpired),
            (EvidenceRowKind::BeyondPolicy, EvidenceSelector::BeyondPolicy),
        ];
        let reads_all =
            |query: &str| database.psql(&format!("EXPLAIN {query}")).unwrap().contains("Seq Scan on s");
        for (kind, notable) in kinds {
            let addresses = snapshot.evidence_addresses(notable).unwrap();
            let rows = |among| {
                scope.query_builder().evidence_query(EvidenceQuery { kind, subset: among }, MAX_EVIDENCE_ROWS)
            };
            assert!(!reads_all(&rows(RowSubset::Addresses(&addresses))), "{kind:?}");
            assert!(reads_all(&rows(RowSubset::All)), "{kind:?}");
            let suspects = RowSubset::Suspects(snapshot.repeated_fingerprints(), &addresses);
            assert!(!reads_all(&scope.query_builder().count_duplicates_query(suspects)));
        }
    });
}

#[test]
fn users_are_compared_as_the_database_does() {
    let database = testkit::empty_database();
    database
        .psql(
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE DOMAIN padded AS char(36); CREATE DOMAIN amount AS numeric",
        )
        .unwrap();
    for (session_user, key, user, of, sessions) in [
        ("text", "text COLLATE loose", "'ada'", "'ADA'", 20),
        ("varchar(40)", "char(36)", "'ada'", "'ada  '", 20),
        ("varchar(40)", "char(36)", "'ada'", "'ada  '", 20_000),
        ("varchar(40)", "padded", "'ada'", "'ada  '", 20),
        ("amount", "amount", "1", "CASE WHEN n % 2 = 0 THEN 1 ELSE 1.00 END", 40),
        ("numeric", "numeric", "1", "CASE WHEN n % 2 = 0 THEN 1 ELSE 1.00 END", 40),
        (
            "interval",
            "interval",
            "'1 day'",
            "CASE WHEN n % 2 = 0 THEN '1 day' ELSE '24 hours' END::interval",
            40,
        ),
    ] {
        database
            .psql(&format!(
                "DROP TABLE IF EXISTS s, u;
                 CREATE TABLE u (id {key} PRIMARY KEY, name text); \
                 CREATE TABLE s (id text, t text, u {session_user}, e timestamptz);
                 INSERT INTO u VALUES ({user}, 'Ada');
                 INSERT INTO s SELECT n, 'token-' || n, {of}, '2027-01-20 08:00Z' \
                   FROM generate_series(1, {sessions}) AS n;
                 ANALYZE s; ANALYZE u"
            ))
            .unwrap();
        asked(&database.url("postgres"), &mapping(Some("public"), "s"), async |session, scope| {
            for engine in [EngineKind::Scan, EngineKind::Pushdown] {
                let stats = Engine::new(engine).observe(session, scope).await.unwrap().stats;
                let what = format!("{engine:?} {session_user} {key} {sessions}");
                assert_eq!(stats.orphaned, Measured::Counted(0), "{what}");
                assert_eq!((stats.active_users(), stats.max_sessions_per_user()), (1, sessions), "{what}");
            }
        });
    }
}

#[test]
fn ties_across_several_heaps_are_ordered_alike_by_both_engines() {
    let database = testkit::empty_database();
    database
        .psql(
            "CREATE TABLE u (id integer PRIMARY KEY, name text);
             CREATE TABLE s (id integer, t text, u integer, e timestamptz) PARTITION BY RANGE (id);
             CREATE TABLE s_new PARTITION OF s FOR VALUES FROM (100) TO (200);
             CREATE TABLE s_old PARTITION OF s FOR VALUES FROM (0) TO (100);
             INSERT INTO s SELECT n, 'token-' || n, NULL, '2020-01-01' FROM generate_series(1, 199) AS n",
        )
        .unwrap();
    asked(&database.url("postgres"), &mapping(Some("public"), "s"), async |session, scope| {
        let mut found = vec![];
        for engine in [EngineKind::Scan, EngineKind::Pushdown] {
            let observation = Engine::new(engine).observe(session, scope).await.unwrap();
            found.push(
                session.fetch_evidence(scope, EvidenceRequest::OldestExpired, &observation).await.unwrap(),
            );
        }
        assert_eq!(found[0], found[1]);
    });
}

#[test]
fn non_text_user_ids_in_sqlite_are_shown_as_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let app = rusqlite::Connection::open(&path).unwrap();
    app.execute_batch(
        "CREATE TABLE u (id blob PRIMARY KEY, name text); \
         INSERT INTO u VALUES (x'ff00112233445566778899aabbccddee', 'Ada');
         CREATE TABLE s (id text PRIMARY KEY NOT NULL, t text, u blob, e integer);
         WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 40)
         INSERT INTO s SELECT 'id-' || n, 'token-' || n,
           CASE n % 4 WHEN 0 THEN x'ff00112233445566778899aabbccddee' ELSE x'ff001122334455667788990000000000' END, \
             1900000000 FROM g",
    )
    .unwrap();
    let mut mapping = mapping(None, "s");
    mapping.expires.decoder = Decoder::EpochSeconds;
    asked(&format!("sqlite:{}", path.display()), &mapping, async |session, scope| {
        for engine in [EngineKind::Scan, EngineKind::Pushdown] {
            let observation = Engine::new(engine).observe(session, scope).await.unwrap();
            assert_eq!(observation.stats.orphaned, Measured::Counted(30), "{engine:?}");
            let found = session.fetch_evidence(scope, EvidenceRequest::Orphans, &observation).await.unwrap();
            assert_eq!(found.len(), MAX_EVIDENCE_ROWS, "{engine:?}");
        }
    });
}

/// A healthy Auth.js schema with this many users and sessions; `user` is the expression for a session's user.
fn auth_js(database: &testkit::Database<'_>, users: u32, sessions: u32, user: &str) {
    database
        .psql(&format!(
            "CREATE TABLE users (id text PRIMARY KEY, name text);
             CREATE TABLE accounts (id text PRIMARY KEY, \"userId\" text);
             CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text UNIQUE NOT NULL, \
               \"userId\" text NOT NULL REFERENCES users, expires timestamptz NOT NULL);
             INSERT INTO users SELECT 'u' || n, 'User ' || n FROM generate_series(1, {users}) AS n;
             INSERT INTO sessions SELECT 'r' || n, gen_random_uuid()::text, 'u' || {user}, now() + interval '9 days'
               FROM generate_series(1, {sessions}) AS n"
        ))
        .unwrap();
}

/// Returns a check's result by an engine, with the configuration of a folder.
fn check_by(
    engine: &str,
    database: &testkit::Database<'_>,
    folder: &std::path::Path,
    id: &str,
) -> serde_json::Value {
    let url = database.url("postgres");
    let said = testkit::run_program_in(folder, &[], &["check", &url, "--engine", engine, "--format", "json"]);
    let report = said.check_report();
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap().clone()
}

#[test]
fn many_sessions_per_user_are_shown_by_both_engines() {
    let database = testkit::empty_database();
    auth_js(&database, 12, 60, "1 + n % 12");
    let folder = tempfile::tempdir().unwrap();
    for engine in ["scan", "pushdown"] {
        let check = check_by(engine, &database, folder.path(), "sessions-per-user");
        assert_eq!(check["result"], "failing", "{engine}");
        assert_eq!(check["evidence"].as_array().unwrap().len(), 10, "{engine}");
    }
}

#[test]
fn a_server_without_room_for_temporary_files_is_named() {
    let database = testkit::empty_database();
    auth_js(&database, 40_000, 40_000, "n");
    let limit = format!(
        "ALTER DATABASE {0} SET temp_file_limit = '600kB'; ALTER DATABASE {0} SET work_mem = '64kB'",
        database.name()
    );
    database.psql(&limit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = database.url("postgres");
    let said = testkit::run_program_in(folder.path(), &[], &["check", &url, "--engine", "pushdown"]);
    assert_eq!(said.exit_code, 3);
    assert!(
        said.stderr.contains("temporary files") || said.stdout.contains("temporary files"),
        "{}",
        said.stdout
    );
    let hint = "raise temp_file_limit or work_mem";
    assert!(said.stderr.contains(hint) || said.stdout.contains(hint), "{}", said.stdout);
    let said = testkit::run_program_in(folder.path(), &[], &["check", &url, "--engine", "scan"]);
    assert_eq!(said.exit_code, 0, "{}", said.stdout);
}

#[test]
fn an_outlier_below_every_limit_is_named_by_both_engines() {
    let database = testkit::empty_database();
    auth_js(&database, 30, 44, "CASE WHEN n > 30 THEN 7 ELSE n END");
    let folder = tempfile::tempdir().unwrap();
    let limits = "[checks.user-session-excess]\nmax = 50\n[checks.rapid-creation]\nmax_per_hour = 60\n";
    std::fs::write(folder.path().join("sessionwatch.toml"), limits).unwrap();
    for engine in ["scan", "pushdown"] {
        let check = check_by(engine, &database, folder.path(), "user-session-excess");
        assert_eq!(check["result"], "failing", "{engine}");
        let evidence = check["evidence"].as_array().unwrap();
        assert_eq!(evidence.len(), 1, "{engine}");
        assert_eq!((&evidence[0]["user"], &evidence[0]["rows"]), (&"u7".into(), &15.into()), "{engine}");
    }
}

#[test]
fn users_are_compared_in_the_program_if_that_is_faster_and_equivalent() {
    let database = testkit::empty_database();
    for (session_user, key, compared_here) in [
        ("integer", "integer", true),
        ("bigint", "smallint", true),
        ("text", "text", true),
        ("varchar(20)", "text", true),
        ("uuid", "uuid", true),
        // Numbers differ from texts, and equal numbers can be written in several ways.
        ("text", "integer", false),
        ("numeric", "numeric", false),
    ] {
        let value = |n: &str| match session_user {
            "uuid" => format!("(lpad(({n})::text, 32, '0'))::uuid"),
            _ => format!("({n})"),
        };
        database
            .psql(&format!(
                "DROP TABLE IF EXISTS s, u;
                 CREATE TABLE u (id {key} PRIMARY KEY, name text); \
                 CREATE TABLE s (id text, t text, u {session_user}, e timestamptz);
                 INSERT INTO u SELECT {user}, 'User ' || n FROM generate_series(1, 4000) AS n;
                 INSERT INTO s SELECT 'id-' || n, 'token-' || n, {of}, '2027-01-20 08:00Z' \
                   FROM generate_series(1, 21000) AS n;
                 INSERT INTO s VALUES ('anonymous', 'token-a', NULL, '2027-01-20 08:00Z'); ANALYZE s; ANALYZE u",
                user = value("n"),
                of = value("1 + n % 4003"),
            ))
            .unwrap();
        let url = database.url("postgres");
        asked(&url, &mapping(Some("public"), "s"), async |session, scope| {
            let search = scope.query_builder().plan_orphan_search();
            assert_eq!(matches!(search, OrphanSearch::UserKeys(_)), compared_here, "{session_user} {key}");
            let mut found = vec![];
            for engine in [EngineKind::Scan, EngineKind::Pushdown] {
                let observation = Engine::new(engine).observe(session, scope).await.unwrap();
                assert_eq!(observation.stats.orphaned, Measured::Counted(15), "{session_user} {key}");
                found.push(
                    session.fetch_evidence(scope, EvidenceRequest::Orphans, &observation).await.unwrap(),
                );
            }
            assert_eq!(found[0], found[1], "{session_user} {key}");
            assert_eq!(found[0].len(), 10);
        });
    }
}
