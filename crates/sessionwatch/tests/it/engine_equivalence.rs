//! `scan`, `pushdown` and a naive reference give the same numbers on random tables, with every decoder, in every
//! database.

use std::{collections::BTreeMap, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use sessionwatch_core::{
    duration::{DAY, HOUR, saturating_micros},
    local_time::NewestTimes,
    session_stats::{DuplicateTokens, Histogram, Measured, SessionStats},
    timestamp::UtcTimestamp,
    timestamp_decoder::{DecodedTime, Decoder, RawValue},
};
use sessionwatch_targets::{
    address::TargetAddress,
    engine::{Engine, EngineKind, TopUsers},
    evidence::{EvidenceRequest, EvidenceRow, MAX_EVIDENCE_ROWS},
    layout::Layout,
    mapping::{Mapping, TableName, TimestampColumn, UsersMapping},
    read_session::ReadSession,
    scope::QueryScope,
    sql::{Dialect, quote_string},
    time_limits::TimeLimits,
};

use crate::backends::{BACKENDS, Backend as _, postgres::Postgres};

const NOW: i64 = 1_800_000_000_000_000;

/// A stored session: token, user, expiry and creation as stored.
type Stored = (u8, Option<u8>, String, String);

/// Seconds, with some milliseconds, and numbers that are neither.
const SECONDS: [&str; 14] = [
    "1800000000",
    "1800000000000",
    "1800000000001",
    "999999999999",
    "253402300800",
    "253402300800000",
    "1800000001",
    "1799999999",
    "1700000000",
    "1900000000",
    "-1",
    "0",
    "999999999999999999",
    "-999999999999999999",
];
/// Milliseconds, with some seconds, and numbers that are neither.
const MILLIS: [&str; 11] = [
    "1800000000000",
    "1800000000",
    "1800000001",
    "999999999",
    "100000000000",
    "1800000000001",
    "1799999999999",
    "1700000000000",
    "1900000000000",
    "-5",
    "999999999999999999",
];

/// Values of a column: ordinary ones around the limits, and hostile ones.
fn values(decoder: Decoder) -> Vec<&'static str> {
    match decoder {
        Decoder::Timestamptz | Decoder::TimestampUtc => vec![
            "2027-01-15 08:00:00",
            "2027-01-15 08:00:00.000001",
            "2027-01-15 07:59:59.999999",
            "2026-12-01 00:00:00",
            "2027-03-01 00:00:00",
            "infinity",
            "-infinity",
            "0044-03-15 00:00:00 BC",
            "294276-12-31 23:59:59",
            "9999-12-31 23:59:59.999999",
            "2300-06-01 12:34:56.654321",
            "0001-01-01 00:00:00.000001",
        ],
        Decoder::TimestampLocal(_) => wall_clocks(),
        Decoder::EpochSeconds => SECONDS.to_vec(),
        Decoder::EpochMillis => MILLIS.to_vec(),
        Decoder::IsoText | Decoder::EpochMillisOrIso => vec![
            "2027-01-15T08:00:00.000Z",
            "2027-01-15 08:00:00.000001+00:00",
            "2027-01-15T09:30:00+01:30",
            "2027-01-15T07:59:59.999999Z",
            "2026-02-29T00:00:00Z",
            "2024-02-29 00:00:00.5 +00:00",
            "2027-06-01T00:00:00-0800",
            "0001-01-01T00:00:00+01",
            "never",
            "",
            "2027-13-01T00:00:00Z",
            "9999-12-31T23:59:59-15",
            "2027-01-15T08:00:00.1234567Z",
            "2027-01-15",
        ],
    }
}

/// Wall-clock times around now in two zones, around clock changes, and at the ends of the time range.
fn wall_clocks() -> Vec<&'static str> {
    vec![
        "2027-01-15 03:00:00",
        "2027-01-15 03:00:00.000001",
        "2027-01-15 02:59:59.999999",
        "2027-01-15 19:00:00",
        "2027-01-15 19:00:00.000001",
        "2027-03-14 02:30:00",
        "2026-11-01 01:30:00",
        "2027-04-04 01:45:00",
        "2026-10-04 02:15:00.5",
        "2027-06-01 00:00:00",
        "0001-01-01 00:00:00",
        "0001-01-03 00:00:00",
        "9999-12-28 23:59:59.999999",
        "9999-12-31 23:59:59",
    ]
}

/// Values of the creation column: around an hour before the check run, and hostile ones.
fn creations(decoder: Decoder) -> Vec<&'static str> {
    let near = match decoder {
        Decoder::Timestamptz | Decoder::TimestampUtc => {
            vec!["2027-01-15 07:00:00", "2027-01-15 07:00:00.000001", "2027-01-15 07:59:59"]
        }
        Decoder::TimestampLocal(_) => vec![
            "2027-01-15 02:00:00",
            "2027-01-15 02:00:00.000001",
            "2027-01-15 18:00:00",
            "2027-01-15 18:00:00.000001",
        ],
        Decoder::EpochSeconds => vec!["1799996400", "1799996401", "1799999999"],
        Decoder::EpochMillis => vec!["1799996400000", "1799996400001", "1799999999999"],
        Decoder::IsoText | Decoder::EpochMillisOrIso => {
            vec!["2027-01-15T07:00:00Z", "2027-01-15T07:00:00.000001Z", "2027-01-15T09:30:00+01:30"]
        }
    };
    [near, values(decoder)].concat()
}

fn rows(decoder: Decoder) -> impl Strategy<Value = Vec<Stored>> {
    let value = proptest::sample::select(values(decoder)).prop_map(str::to_owned);
    let creation = proptest::sample::select(creations(decoder)).prop_map(str::to_owned);
    proptest::collection::vec((0u8..40, proptest::option::of(0u8..12), value, creation), 0..60)
}

/// Decodes a stored value independently of the engines, for formats that the databases parse themselves.
fn meaning(decoder: Decoder, value: &str) -> DecodedTime {
    match (decoder, value) {
        (Decoder::Timestamptz | Decoder::TimestampUtc, "infinity") => DecodedTime::Never,
        (Decoder::Timestamptz | Decoder::TimestampUtc, text) if text.contains("BC") => {
            DecodedTime::Undecodable
        }
        (Decoder::Timestamptz | Decoder::TimestampUtc, text) => {
            Decoder::IsoText.decode(RawValue::Text(text.as_bytes()))
        }
        (other, text) => other.decode(RawValue::Text(text.as_bytes())),
    }
}

/// Session stats, computed row by row.
fn reference(rows: &[Stored], decoder: Decoder) -> SessionStats {
    let now = UtcTimestamp::from_micros(NOW).unwrap();
    let (mut tokens, mut active, mut held, mut fresh) =
        (BTreeMap::<u8, Vec<Option<u8>>>::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let ends: Vec<DecodedTime> = rows.iter().map(|row| meaning(decoder, &row.2)).collect();
    let is_active = |end: &DecodedTime| {
        matches!(end, DecodedTime::Never) || matches!(end, DecodedTime::At(at) if *at > now)
    };
    let recent = |row: &Stored| matches!(meaning(decoder, &row.3), DecodedTime::At(at) if at > now - HOUR);
    for (row, end) in rows.iter().zip(&ends) {
        let (token, user, ..) = row;
        tokens.entry(*token).or_default().push(*user);
        if let Some(user) = user {
            *held.entry(*user).or_insert(0u64) += 1;
            *active.entry(*user).or_insert(0u64) += u64::from(is_active(end));
            *fresh.entry(*user).or_insert(0u64) += u64::from(recent(row));
        }
    }
    let doubled = tokens.values().filter(|users| users.len() > 1);
    let doubled_rows = doubled.clone().map(Vec::len).sum::<usize>() as u64;
    let across = doubled.clone().filter(|users| users.iter().any(|user| *user != users[0]));
    let count = |test: &dyn Fn(&DecodedTime) -> bool| ends.iter().filter(|end| test(end)).count() as u64;
    let mut histograms = [Histogram::new(), Histogram::new(), Histogram::new()];
    for (user, sessions) in &held {
        if active[user] > 0 {
            *histograms[0].entry(active[user]).or_default() += 1;
        }
        if *user < 9 {
            *histograms[1].entry(*sessions).or_default() += 1;
        }
        if *user < 9 && fresh[user] > 0 {
            *histograms[2].entry(fresh[user]).or_default() += 1;
        }
    }
    let [active_per_user, rows_per_user, created_per_user] = histograms;
    let at = |end: &DecodedTime| if let DecodedTime::At(at) = end { Some(*at) } else { None };
    SessionStats {
        taken_at: now,
        sessions: rows.len() as u64,
        active: count(&is_active),
        expired: count(&|end| at(end).is_some_and(|at| at <= now)),
        never_expiring: count(&|end| *end == DecodedTime::Never),
        undecodable: count(&|end| *end == DecodedTime::Undecodable),
        anonymous: rows.iter().filter(|row| row.1.is_none()).count() as u64,
        active_with_user: active.values().sum(),
        oldest_expired: ends.iter().filter_map(at).filter(|at| *at <= now).min(),
        furthest_expiry: ends.iter().filter_map(at).filter(|at| *at > now).max(),
        beyond_policy: Some(count(&|end| at(end).is_some_and(|at| at > now + 30 * DAY))),
        active_per_user,
        rows_per_user,
        created_per_user: Some(created_per_user),
        created_last_hour: Some(rows.iter().filter(|row| recent(row)).count() as u64),
        duplicates: Measured::Counted(DuplicateTokens {
            tokens: doubled.count() as u64,
            across_users: across.count() as u64,
            rows: doubled_rows,
        }),
        orphaned: Measured::Counted(
            held.iter().filter(|(user, _)| **user >= 9).map(|(_, sessions)| sessions).sum(),
        ),
    }
}

fn table(kind: &str, rows: &[Stored]) -> String {
    let mut sql = format!(
        "DROP TABLE IF EXISTS s; DROP TABLE IF EXISTS u; CREATE TABLE s (t text, u integer, e {kind}, c {kind}); \
         CREATE TABLE u (id integer);\n\
         INSERT INTO u VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (8);\n"
    );
    for (token, user, value, created) in rows {
        let user = user.map_or("NULL".into(), |user| user.to_string());
        sql.push_str(&format!(
            "INSERT INTO s VALUES ('token-number-{token}', {user}, {}, {});\n",
            quote_string(Dialect::SQLITE, value),
            quote_string(Dialect::SQLITE, created)
        ));
    }
    sql
}

/// Result of an engine.
struct Seen {
    stats: SessionStats,
    tops: TopUsers,
    newest: NewestTimes,
    evidence: Vec<Vec<EvidenceRow>>,
}

fn looks(address: &TargetAddress, decoder: Decoder) -> Vec<Seen> {
    let name = |schema: &Option<String>, name: &str| TableName { schema: schema.clone(), name: name.into() };
    let mapping = |schema: &Option<String>| Mapping {
        revoke: sessionwatch_targets::mapping::RevokeMethod::Delete,
        profile: "custom".into(),
        sessions: name(schema, "s"),
        id: None,
        token: "t".into(),
        user: Some("u".into()),
        expires: TimestampColumn { column: "e".into(), decoder },
        created: Some(TimestampColumn { column: "c".into(), decoder }),
        ip: None,
        agent: None,
        users: Some(UsersMapping { table: name(schema, "u"), key: "id".into(), display: vec![] }),
        accounts: None,
        deleted: None,
        token_prefix: None,
        impersonator: None,
        max_lifetime_s: None,
    };
    let limits = TimeLimits { timeout: Duration::from_secs(30), lock_timeout: Duration::from_secs(5) };
    let runtime = tokio_runtime();
    runtime.block_on(async {
        let session = ReadSession::open(address, limits, false, 7).await.unwrap();
        let schema = session.describe_schema().await.unwrap();
        let now = UtcTimestamp::from_micros(NOW).unwrap();
        let named = schema.dialect.has_schemas().then(|| "public".to_owned());
        let layout = Layout::from_mapping(schema, mapping(&named));
        let scope = QueryScope {
            max_lifetime_us: Some(saturating_micros(30 * DAY)),
            ..QueryScope::without_thresholds(&layout, 7, now)
        };
        let mut found = vec![];
        for engine in [EngineKind::Scan, EngineKind::Pushdown] {
            let observation = Engine::new(engine).observe(&session, &scope).await.unwrap();
            let mut evidence = vec![];
            for wanted in [
                EvidenceRequest::Duplicates,
                EvidenceRequest::Orphans,
                EvidenceRequest::OldestExpired,
                EvidenceRequest::BeyondPolicy,
            ] {
                evidence.push(session.fetch_evidence(&scope, wanted, &observation).await.unwrap());
            }
            let (stats, tops, newest) = (observation.stats, observation.top_users, observation.newest);
            found.push(Seen { stats, tops, newest, evidence });
        }
        session.close().await;
        found
    })
}

/// Number of evidence rows of each kind.
fn lengths(evidence: &[Vec<EvidenceRow>]) -> Vec<usize> {
    evidence.iter().map(Vec::len).collect()
}

/// Minimum number of evidence rows: for duplicate tokens, two of each.
fn shown(stats: &SessionStats) -> Vec<usize> {
    let (Measured::Counted(duplicates), Measured::Counted(orphaned)) = (&stats.duplicates, &stats.orphaned)
    else {
        unreachable!("nothing is proved here");
    };
    let late = stats.beyond_policy.unwrap_or(0) + stats.never_expiring;
    let all = [duplicates.tokens * 2, *orphaned, stats.expired, late];
    all.into_iter().map(|rows| usize::try_from(rows).unwrap().min(MAX_EVIDENCE_ROWS)).collect()
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn agree(cases: u32, columns: &[(&str, &str)], address: &TargetAddress, load: &dyn Fn(&str)) {
    for (kind, decoder) in columns {
        let decoder = &Decoder::parse(decoder).unwrap();
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let outcome = TestRunner::new(config).run(&rows(*decoder), |rows| {
            load(&table(kind, &rows));
            let expected = reference(&rows, *decoder);
            let found = looks(address, *decoder);
            for seen in &found {
                prop_assert_eq!(&seen.stats, &expected, "{} {:?}", kind, decoder);
                // Evidence and its order are the same by both engines.
                prop_assert_eq!(&seen.tops, &found[0].tops, "{} {:?}", kind, decoder);
                prop_assert_eq!(&seen.newest, &found[0].newest, "{} {:?}", kind, decoder);
                prop_assert_eq!(&seen.evidence, &found[0].evidence, "{} {:?}", kind, decoder);
                let (lengths, shown) = (lengths(&seen.evidence), shown(&expected));
                prop_assert!(lengths[0] >= shown[0], "{} {:?}", kind, decoder);
                prop_assert_eq!(&lengths[1..], &shown[1..], "{} {:?}", kind, decoder);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{kind} as {}: {error}", decoder.name());
        }
    }
}

#[test]
fn engines_agree_with_the_reference() {
    for backend in BACKENDS {
        let database = backend.create();
        for address in database.addresses() {
            agree(backend.random_tables(), backend.instant_columns(), &address, &|sql| database.execute(sql));
        }
    }
}

#[test]
fn engines_agree_with_the_reference_on_every_version() {
    for major in testkit::POSTGRES_VERSIONS {
        let database = testkit::shared_server_of_version(major).create_database(None).unwrap();
        let address = TargetAddress::parse(&database.url("postgres")).unwrap();
        agree(2, Postgres.instant_columns(), &address, &|sql| drop(database.psql(sql).unwrap()));
    }
}
