//! Pages of sessions neither miss nor repeat a row, whatever is stored, with and without an index.

use std::time::Duration;

use sessionwatch_core::{
    timestamp::UtcTimestamp,
    timestamp_decoder::{DecodedTime, Decoder, RawValue},
};
use sessionwatch_targets::{
    address::TargetAddress,
    layout::Layout as TargetLayout,
    listing::ListedSession,
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn},
    read_session::ReadSession,
    scope::QueryScope,
    sql::{
        Dialect, ListedStatus, ProblemSearch, SessionListCursor, SessionListQuery, SessionProblem,
        SessionSort, quote_string,
    },
    time_limits::TimeLimits,
};

use crate::backends::BACKENDS;

const NOW: i64 = 1_800_000_000_000_000;

/// Layout of a table.
struct Layout {
    kind: &'static str,
    decoder: Decoder,
    dialect: Dialect,
    /// Type of the row ID, and whether every row has one.
    id: &'static str,
    index: bool,
}

/// Expiry and creation values: ordinary, repeated and hostile ones.
fn values(decoder: Decoder) -> Vec<Option<&'static str>> {
    let stored: &[&str] = match decoder {
        Decoder::Timestamptz | Decoder::TimestampUtc => &[
            "2027-01-15 08:00:00",
            "2027-01-15 08:00:00.000001",
            "2027-01-15 07:59:59.999999",
            "2027-03-01 00:00:00",
            "2026-03-01 00:00:00",
            "infinity",
            "-infinity",
            "0044-03-15 00:00:00 BC",
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999",
            "2300-06-01 12:34:56.654321",
            "2300-06-01 12:34:56.654322",
            "1901-06-01 12:34:56.654321",
            "0044-03-15 12:34:56.654321",
            "10000-01-01 00:00:00",
            "294276-12-31 23:59:59",
        ],
        _ => &["1800000000", "1800000001", "1799999999", "1900000000", "-1", "999999999999999999"],
    };
    stored.iter().map(|value| Some(*value)).chain([None]).collect()
}

/// Each value is the expiry of two rows, and the creation of some.
fn table(layout: &Layout) -> String {
    let Layout { kind, id, dialect, .. } = layout;
    let values = values(layout.decoder);
    let mut sql = format!("CREATE TABLE s (id {id}, t text, e {kind}, c {kind});\n");
    if layout.index {
        sql.push_str("CREATE INDEX s_e ON s (e); CREATE INDEX s_c ON s (c);\n");
    }
    let literal = |value: Option<&str>| value.map_or("NULL".into(), |value| quote_string(*dialect, value));
    for n in 0..2 * values.len() {
        let (end, created) = (values[n / 2], values[(n * 5) % values.len()]);
        // Numbers have a different order than their texts.
        let row = match id.split(' ').next() {
            Some("integer") => format!("{}", n * 7),
            Some("uuid") => format!("'000000{n:02}-0000-4000-8000-00000000000a'"),
            _ => format!("'r{n:02}'"),
        };
        sql.push_str(&format!(
            "INSERT INTO s VALUES ({row}, 'token-{n:02}', {}, {});\n",
            literal(end),
            literal(created)
        ));
    }
    sql
}

fn mapping(decoder: Decoder) -> Mapping {
    Mapping {
        revoke: RevokeMethod::Delete,
        profile: "custom".into(),
        sessions: TableName { schema: None, name: "s".into() },
        id: Some("id".into()),
        token: "t".into(),
        user: None,
        expires: TimestampColumn { column: "e".into(), decoder },
        created: Some(TimestampColumn { column: "c".into(), decoder }),
        ip: None,
        agent: None,
        users: None,
        accounts: None,
        deleted: None,
        token_prefix: None,
        impersonator: None,
        max_lifetime_s: None,
    }
}

/// Runs a query for such a table.
fn asked(address: &TargetAddress, decoder: Decoder, ask: impl AsyncFnOnce(&ReadSession, &QueryScope<'_>)) {
    let mut mapping = mapping(decoder);
    let limits = TimeLimits { timeout: Duration::from_secs(30), lock_timeout: Duration::from_secs(5) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = ReadSession::open(address, limits, false, 7).await.unwrap();
        let schema = session.describe_schema().await.unwrap();
        mapping.sessions.schema = schema.dialect.has_schemas().then(|| "public".to_owned());
        let now = UtcTimestamp::from_micros(NOW).unwrap();
        let layout = TargetLayout::from_mapping(schema, mapping);
        ask(&session, &QueryScope::without_thresholds(&layout, 7, now)).await;
        session.close().await;
    });
}

fn place(line: &ListedSession, sort: SessionSort) -> i64 {
    let at = if sort == SessionSort::Created { line.created_at } else { line.expires_at };
    at.map_or(i64::MAX, UtcTimestamp::micros)
}

fn ids(lines: &[ListedSession]) -> Vec<String> {
    lines.iter().map(|line| line.id.clone().unwrap()).collect()
}

/// The rows of a list, sorted here, and as pages of three.
async fn both(session: &ReadSession, scope: &QueryScope<'_>, list: SessionListQuery<'_>) -> [Vec<String>; 2] {
    let mut all = session.list_sessions(scope, SessionListQuery { is_paged: false, ..list }).await.unwrap();
    if scope.paged_sort(list.sort) == SessionSort::Id {
        let number = |line: &ListedSession| line.id.as_ref().unwrap().parse::<u32>().unwrap_or(0);
        all.sort_by_key(|line| (number(line), line.id.clone()));
        if !list.ascending {
            all.reverse();
        }
    } else {
        all.sort_by_key(|line| {
            let place = place(line, list.sort);
            // Not by negation: the smallest number has no positive counterpart.
            (if list.ascending { place } else { !place }, line.id.clone())
        });
    }
    let mut paged: Vec<ListedSession> = vec![];
    while paged.len() <= all.len() {
        let last = paged.last().map(|line| (place(line, list.sort), line.id.clone().unwrap()));
        let after = last.as_ref().map(|(key, id)| SessionListCursor { sort_key: *key, id });
        let page = session.list_sessions(scope, SessionListQuery { after, limit: 3, ..list }).await.unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    [ids(&all), ids(&paged)]
}

fn pages_follow_each_other(address: &TargetAddress, layout: &Layout) {
    asked(address, layout.decoder, async |session, scope| {
        for sort in [SessionSort::Expires, SessionSort::Created, SessionSort::Id] {
            for status in [ListedStatus::All, ListedStatus::Active, ListedStatus::Expired] {
                for ascending in [false, true] {
                    let list = SessionListQuery {
                        sort,
                        status,
                        ascending,
                        is_paged: true,
                        ..SessionListQuery::all(1_000)
                    };
                    let [all, paged] = both(session, scope, list).await;
                    assert!(all.len() >= 4, "{all:?}");
                    let Layout { kind, id, index, .. } = layout;
                    assert_eq!(paged, all, "{kind} {id} {index} {sort:?} {status:?} {ascending}");
                }
            }
            // A value that no row has must not fail.
            let after = Some(SessionListCursor { sort_key: i64::MIN, id: "'\\ no row" });
            session
                .list_sessions(
                    scope,
                    SessionListQuery { sort, after, is_paged: true, ..SessionListQuery::all(3) },
                )
                .await
                .unwrap();
        }
    });
}

#[test]
fn pages_follow_each_other_in_every_database() {
    for backend in BACKENDS {
        let database = backend.create();
        let address = &database.addresses()[0];
        for (kind, decoder) in backend.paged_columns() {
            for index in [true, false] {
                for id in backend.id_columns() {
                    let layout = Layout { kind, decoder: *decoder, dialect: backend.dialect(), id, index };
                    database.execute(&format!("DROP TABLE IF EXISTS s;\n{}", table(&layout)));
                    pages_follow_each_other(address, &layout);
                }
            }
        }
    }
}

#[test]
fn pages_follow_each_other_on_every_version() {
    // Before version 14, PostgreSQL computes seconds as binary fractions; from 14 on exactly.
    for major in [13, 14, 18] {
        let database = testkit::shared_server_of_version(major).create_database(None).unwrap();
        for (kind, decoder) in [("timestamptz", Decoder::Timestamptz), ("timestamp", Decoder::TimestampUtc)] {
            for (id, index) in [("text PRIMARY KEY", true), ("text PRIMARY KEY", false), ("text", true)] {
                let layout = Layout { kind, decoder, dialect: Dialect::POSTGRES, id, index };
                database.psql(&format!("DROP TABLE IF EXISTS s; {}", table(&layout))).unwrap();
                let address = TargetAddress::parse(&database.url("postgres")).unwrap();
                pages_follow_each_other(&address, &layout);
            }
        }
    }
}

#[test]
fn every_version_lists_instants_to_the_microsecond() {
    for major in testkit::POSTGRES_VERSIONS {
        let database = testkit::shared_server_of_version(major).create_database(None).unwrap();
        // Before standard time, local times differed from UTC by odd seconds.
        database.psql(&format!("ALTER DATABASE {} SET timezone = 'Asia/Kolkata'", database.name())).unwrap();
        for (kind, decoder) in [("timestamptz", Decoder::Timestamptz), ("timestamp", Decoder::TimestampUtc)] {
            let stored = values(decoder);
            let rows = stored.iter().enumerate().map(|(n, value)| {
                let value = value.map_or("NULL".into(), |value| format!("'{value}'"));
                format!("INSERT INTO s VALUES ({n}, 't', {value}, {value});\n")
            });
            let rows: String = rows.collect();
            let made = format!(
                "DROP TABLE IF EXISTS s; CREATE TABLE s (id integer PRIMARY KEY, t text, e {kind}, c {kind});"
            );
            database.psql(&format!("SET timezone = 'UTC'; {made} {rows}")).unwrap();
            let address = TargetAddress::parse(&database.url("postgres")).unwrap();
            asked(&address, decoder, async |session, scope| {
                let listed = session.list_sessions(scope, SessionListQuery::all(100)).await.unwrap();
                assert_eq!(listed.len(), stored.len());
                for line in listed {
                    let value = stored[line.id.as_ref().unwrap().parse::<usize>().unwrap()];
                    let meant =
                        value.filter(|value| !value.contains("BC")).and_then(|value| match Decoder::IsoText
                            .decode(RawValue::Text(value.as_bytes()))
                        {
                            DecodedTime::At(at) => Some(at),
                            _ => None,
                        });
                    let found = (line.expires_at, line.created_at);
                    assert_eq!(found, (meant, meant), "{value:?} as {kind} on PostgreSQL {major}");
                }
            });
        }
    }
}

#[test]
fn shared_tokens_are_found_with_and_without_an_index_in_every_database() {
    let shared = Some(SessionProblem::SharedToken);
    for backend in BACKENDS {
        let database = backend.create();
        let address = &database.addresses()[0];
        for kind in ["text", "varchar(40)", "char(40)"] {
            let made = format!(
                "DROP TABLE IF EXISTS s; CREATE TABLE s (id text PRIMARY KEY, t {kind}, e bigint, c bigint);
                 INSERT INTO s VALUES ('a', 'token-1', 1900000000, NULL), ('b', 'token-2', 1900000000, NULL),
                 ('c', 'token-1', 1900000001, NULL), ('d', 'Token-2', 1900000000, NULL),
                 ('e', NULL, 1900000000, NULL), ('f', NULL, 1900000000, NULL);"
            );
            database.execute(&made);
            let found = |search| {
                let mut found = vec![];
                asked(address, Decoder::EpochSeconds, async |session, scope| {
                    for is_paged in [false, true] {
                        let list = SessionListQuery {
                            problem_search: search,
                            is_paged,
                            ..SessionListQuery::all(10)
                        };
                        let mut rows = session.list_sessions(scope, list).await.unwrap();
                        rows.sort_by_key(|row| row.id.clone());
                        found.push(rows.iter().map(|row| row.problem).collect::<Vec<_>>());
                    }
                });
                found
            };
            let (all, none) = (vec![shared, None, shared, None, None, None], vec![None; 6]);
            assert_eq!(found(ProblemSearch::Full), [all.clone(), all.clone()], "{kind}");
            assert_eq!(found(ProblemSearch::Indexed), [none.clone(), none], "{kind}");
            database.execute("CREATE INDEX s_t ON s (t)");
            assert_eq!(found(ProblemSearch::Indexed), [all.clone(), all], "{kind}");
        }
    }
}

#[test]
fn an_index_in_page_order_is_used() {
    let database = testkit::empty_database();
    let rows = "INSERT INTO s SELECT 'r' || n, 'token-' || n, \
        timestamptz '2027-01-15' + (n - 10000) * interval '1 minute', \
                timestamptz '2026-01-15' + n * interval '1 minute' FROM generate_series(1, 20000) AS n";
    let made = "CREATE TABLE s (id text PRIMARY KEY, t text, e timestamptz, c timestamptz)";
    database
        .psql(&format!(
            "{made}; {rows}; CREATE INDEX ON s (e); CREATE INDEX ON s (c); CREATE INDEX ON s (t); ANALYZE s"
        ))
        .unwrap();
    let address = TargetAddress::parse(&database.url("postgres")).unwrap();
    asked(&address, Decoder::Timestamptz, async |_, scope| {
        let reads_all = |list: SessionListQuery<'_>| {
            let plan = database
                .psql(&format!("EXPLAIN {}", scope.query_builder().session_list_query(list)))
                .unwrap();
            plan.contains("Seq Scan on s")
        };
        let after = Some(SessionListCursor { sort_key: NOW - 3_600_000_000, id: "r9" });
        for sort in [SessionSort::Expires, SessionSort::Created, SessionSort::Id] {
            for ascending in [false, true] {
                for after in [None, after] {
                    let page = SessionListQuery {
                        sort,
                        ascending,
                        after,
                        is_paged: true,
                        problem_search: ProblemSearch::Indexed,
                        ..SessionListQuery::all(20)
                    };
                    assert!(!reads_all(page), "{}", scope.query_builder().session_list_query(page));
                    if sort == SessionSort::Expires {
                        assert!(
                            !reads_all(SessionListQuery { status: ListedStatus::Active, ..page }),
                            "{ascending} {after:?}"
                        );
                        assert!(
                            !reads_all(SessionListQuery { status: ListedStatus::Expired, ..page }),
                            "{ascending} {after:?}"
                        );
                    }
                }
            }
        }
        database.psql("DROP INDEX s_e_idx, s_c_idx").unwrap();
        assert!(reads_all(SessionListQuery { is_paged: true, ..SessionListQuery::all(20) }));
    });
}

#[test]
fn an_index_that_would_read_the_table_for_each_token_is_not_used() {
    let database = testkit::empty_database();
    let address = TargetAddress::parse(&database.url("postgres")).unwrap();
    for (method, is_used) in [("btree", true), ("brin", false)] {
        let made = "DROP TABLE IF EXISTS s; CREATE TABLE s (id text PRIMARY KEY, t text, e timestamptz, c timestamptz)";
        database.psql(&format!("{made}; CREATE INDEX s_t ON s USING {method} (t)")).unwrap();
        asked(&address, Decoder::Timestamptz, async |session, scope| {
            let list = SessionListQuery {
                problem_search: ProblemSearch::Indexed,
                is_paged: true,
                ..SessionListQuery::all(10)
            };
            session.list_sessions(scope, list).await.unwrap();
            let query = scope.query_builder().session_list_query(list);
            assert_eq!(query.contains("s.\"t\" LIMIT 2"), is_used, "{method}: {query}");
        });
    }
}

#[test]
fn rows_with_the_same_id_are_distinguished() {
    let database = testkit::empty_database();
    let rows = "('r', 'abc', '2027-02-01'), ('r', 'bcd', '2026-02-01')";
    let made = format!(
        "CREATE TABLE s (id text NOT NULL, t text, e timestamptz, c timestamptz); INSERT INTO s VALUES {rows}"
    );
    database.psql(&made).unwrap();
    let address = TargetAddress::parse(&database.url("postgres")).unwrap();
    asked(&address, Decoder::Timestamptz, async |session, scope| {
        let list =
            SessionListQuery { status: ListedStatus::Active, is_paged: true, ..SessionListQuery::all(10) };
        let found = session.list_sessions(scope, list).await.unwrap();
        assert_eq!(found.iter().map(|line| line.token_prefix.as_deref()).collect::<Vec<_>>(), [Some("a")]);
    });
}

#[test]
fn a_large_table_is_not_read_for_an_order_that_was_not_requested() {
    let database = testkit::empty_database();
    let address = TargetAddress::parse(&database.url("postgres")).unwrap();
    let layout = |id, index| Layout {
        kind: "timestamptz",
        decoder: Decoder::Timestamptz,
        dialect: Dialect::POSTGRES,
        id,
        index,
    };
    let (primary, unique) = ("text PRIMARY KEY", "text UNIQUE");
    for (layout, rows, usual) in [
        (layout(primary, false), 100_000, SessionSort::Expires),
        (layout(primary, false), 100_001, SessionSort::Id),
        (layout(primary, true), 100_001, SessionSort::Expires),
        (layout(unique, false), 100_001, SessionSort::Expires),
        (layout("text NOT NULL", false), 100_001, SessionSort::Expires),
    ] {
        let estimate = format!("UPDATE pg_class SET reltuples = {rows} WHERE oid = 's'::regclass");
        database.psql(&format!("DROP TABLE IF EXISTS s; {} {estimate}", table(&layout))).unwrap();
        asked(&address, Decoder::Timestamptz, async |_, scope| {
            let by_id = if layout.id == primary { SessionSort::Id } else { SessionSort::Expires };
            assert_eq!(scope.paged_sort(SessionSort::Id), by_id);
            assert_eq!(scope.default_sort(), usual, "{} {} {rows}", layout.id, layout.index);
        });
    }
}
