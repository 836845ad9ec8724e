//! Evidence is read from the addresses that a scan has recorded, and equals that of a full table search, by either
//! engine.

use std::{fmt::Write as _, time::Duration};

use sessionwatch_core::{
    duration::{DAY, saturating_micros},
    timestamp::UtcTimestamp,
};
use sessionwatch_targets::{
    address::TargetAddress,
    engine::{Engine, EngineKind},
    evidence::{EvidenceRequest, EvidenceRow},
    layout::Layout,
    read_session::ReadSession,
    scope::QueryScope,
    sql::RowAddressing,
    time_limits::TimeLimits,
};

use super::{BACKENDS, mapping};
use crate::evidence::found_by_address;

const NOW: i64 = 1_800_000_000_000_000;
/// Rows of evidence shown: one token on 3 rows; 10 of 12 orphans, 15 expired rows, and 13 that end too late or never.
const SHOWN: [usize; 4] = [3, 10, 10, 10];

/// The tables, with this end of the definition of `sessions`.
fn script(ending: &str) -> String {
    let mut script = format!(
        "CREATE TABLE u (id integer PRIMARY KEY, name text);
         CREATE TABLE s (id varchar(40) NOT NULL, t text, u integer, e bigint, PRIMARY KEY (id){ending};"
    );
    for n in 1..=60 {
        write!(script, "INSERT INTO u VALUES ({n}, 'User {n}');").unwrap();
    }
    for n in 1..=400 {
        let token = if [7, 107, 207].contains(&n) { "of-three".to_owned() } else { n.to_string() };
        let user = if (300..=311).contains(&n) { 9_000 + n } else { 1 + n % 50 };
        let end = match n {
            200..=214 => (1_790_000_000 + n / 3).to_string(),
            220..=231 => (1_900_000_000 + n / 2).to_string(),
            232 => "NULL".into(),
            _ => "1800500000".into(),
        };
        write!(script, "INSERT INTO s VALUES ('id-{n}', 'token-{token}', {user}, {end});").unwrap();
    }
    script
}

/// Returns evidence of every kind, as an engine finds it.
async fn evidence(
    session: &ReadSession,
    scope: &QueryScope<'_>,
    engine: EngineKind,
) -> Vec<Vec<EvidenceRow>> {
    let observation = Engine::new(engine).observe(session, scope).await.unwrap();
    let mut found = vec![];
    for wanted in [
        EvidenceRequest::Duplicates,
        EvidenceRequest::Orphans,
        EvidenceRequest::OldestExpired,
        EvidenceRequest::BeyondPolicy,
    ] {
        found.push(session.fetch_evidence(scope, wanted, &observation).await.unwrap());
    }
    found
}

async fn agrees(backend: &str, address: &TargetAddress, addressing: RowAddressing) {
    let limits = TimeLimits { timeout: Duration::from_secs(30), lock_timeout: Duration::from_secs(5) };
    let session = ReadSession::open(address, limits, false, 7).await.unwrap();
    let schema = session.describe_schema().await.unwrap();
    let mapping = mapping(&schema, &["name"]);
    let layout = Layout::from_mapping(schema, mapping);
    let of_rows = QueryScope::without_thresholds(&layout, 7, UtcTimestamp::from_micros(NOW).unwrap());
    let scope =
        QueryScope { max_lifetime_us: Some(saturating_micros(30 * DAY)), notable_above: 20, ..of_rows };
    assert_eq!(scope.query_builder().row_addressing(), addressing, "{backend}");
    let scanned = evidence(&session, &scope, EngineKind::Scan).await;
    assert_eq!(scanned.iter().map(Vec::len).collect::<Vec<_>>(), SHOWN, "{backend}");
    assert_eq!(scanned, evidence(&session, &scope, EngineKind::Pushdown).await, "{backend}");
    assert_eq!(found_by_address(&session, &scope).await, SHOWN, "{backend} {addressing:?}");
    session.close().await;
}

#[test]
fn evidence_by_address_equals_evidence_by_search() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for backend in BACKENDS {
        for (ending, addressing) in backend.table_endings() {
            let database = backend.create();
            database.execute(&script(ending));
            for address in database.addresses() {
                runtime.block_on(agrees(backend.name(), &address, *addressing));
            }
        }
    }
}
