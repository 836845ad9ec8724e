//! Tests of lists: which sessions they contain, and in which order.

use sessionwatch_core::timestamp::MICROS_PER_HOUR;

use super::sample_file::{SampleFile, SampleSession};
use crate::sql::{
    EvidenceQuery, EvidenceRowKind, ListedStatus, ProblemSearch, QueryBuilder, SessionListQuery,
    SessionProblem, SessionSort,
    sample_target::{EXPIRES_COLUMN, ID_COLUMN, SAMPLE_NOW, TOKEN_COLUMN},
    table_info::IndexInfo,
};

fn file() -> SampleFile {
    let row = |id, user, ends, created| SampleSession {
        id,
        user: Some(user),
        ends_in_h: ends,
        created_in_h: created,
        ..SampleSession::default()
    };
    SampleFile::with_sessions(
        &[
            SampleSession {
                token: Some("abcdefgh0123456789abcdef"),
                ..row("soon", "bob", Some(1), Some(-5))
            },
            SampleSession {
                token: Some("ABCDEFGH0123456789abcdef"),
                ..row("late", "ada", Some(9), Some(-1))
            },
            SampleSession { token: Some("short"), ..row("over", "ada", Some(-1), None) },
            row("never", "o'brien", None, Some(-2)),
        ],
        &["ada"],
    )
}

fn ids(file: &SampleFile, list: SessionListQuery<'_>) -> Vec<String> {
    file.column_values(&file.query_builder().session_list_query(list), 1)
        .into_iter()
        .map(Option::unwrap)
        .collect()
}

#[test]
fn lists_apply_their_filters() {
    let file = file();
    let all = SessionListQuery { sort: SessionSort::Id, ascending: true, ..SessionListQuery::all(10) };
    let prefixes = ["abcdefgh", "s"].map(str::to_owned);
    for (list, expected) in [
        (all, vec!["late", "never", "over", "soon"]),
        (SessionListQuery { status: ListedStatus::Active, ..all }, vec!["late", "never", "soon"]),
        (SessionListQuery { status: ListedStatus::Expired, ..all }, vec!["over"]),
        (SessionListQuery { user: Some("ada"), ..all }, vec!["late", "over"]),
        (SessionListQuery { user: Some("o'brien"), ..all }, vec!["never"]),
        (SessionListQuery { user: Some("' OR '1' = '1"), ..all }, vec![]),
        (SessionListQuery { user_like: Some("BRI"), ..all }, vec!["never"]),
        (SessionListQuery { id_or_prefix: Some("never"), ..all }, vec!["never"]),
        (SessionListQuery { id_or_prefix: Some("abcdefgh"), ..all }, vec!["soon"]),
        (SessionListQuery { token_prefixes: &prefixes, ..all }, vec!["over", "soon"]),
        // An unknown creation time is not recent.
        (
            SessionListQuery {
                created_since: Some(SAMPLE_NOW.saturating_add_micros(-3 * MICROS_PER_HOUR)),
                ..all
            },
            vec!["late", "never"],
        ),
        (SessionListQuery { limit: 2, ..all }, vec!["late", "never"]),
    ] {
        assert_eq!(ids(&file, list), expected, "{list:?}");
    }
}

#[test]
fn lists_find_problems_addresses_and_user_agents() {
    let row = |id, token, user, ip, agent| SampleSession {
        id,
        token: Some(token),
        user: Some(user),
        ends_in_h: Some(1),
        ip: Some(ip),
        agent: Some(agent),
        ..SampleSession::default()
    };
    let sessions = [
        row("one", "abcdefgh0123456789abcdef", "ada", "10.0.0.1", "Mozilla (Phone)"),
        row("other", "abcdefgh0123456789abcdef", "bob", "10.0.0.11", "Mozilla (Desk)"),
        row("own", "bbcdefgh0123456789abcdef", "ada", "10.0.0.1", "curl/8"),
    ];
    let mut file = SampleFile::with_sessions(&sessions, &["ada"]);
    let problem = |problem| SessionListQuery { problem: Some(problem), ..SessionListQuery::all(10) };
    for is_paged in [false, true] {
        let list =
            |list| ids(&file, SessionListQuery { is_paged, sort: SessionSort::Id, ascending: true, ..list });
        let all = SessionListQuery::all(10);
        assert_eq!(list(problem(SessionProblem::SharedToken)), ["one", "other"]);
        assert_eq!(list(problem(SessionProblem::Orphaned)), ["other"]);
        assert_eq!(list(SessionListQuery { ip: Some("10.0.0.1"), ..all }), ["one", "own"]);
        assert_eq!(list(SessionListQuery { agent_like: Some("mozilla"), ..all }), ["one", "other"]);
        assert!(list(SessionListQuery { ip: Some("' OR '1' = '1"), ..all }).is_empty());
    }
    // Without the column, no session matches, rather than every session.
    (file.mapping.ip, file.mapping.agent, file.mapping.users) = (None, None, None);
    let all = SessionListQuery::all(10);
    assert!(ids(&file, SessionListQuery { ip: Some("10.0.0.1"), ..all }).is_empty());
    assert!(ids(&file, SessionListQuery { agent_like: Some("mozilla"), ..all }).is_empty());
    assert!(ids(&file, problem(SessionProblem::Orphaned)).is_empty());
}

#[test]
fn lists_say_what_is_wrong_with_each_session() {
    let row = |id, token, user| SampleSession {
        id,
        token: Some(token),
        user,
        ends_in_h: Some(1),
        ..SampleSession::default()
    };
    let sessions = [
        row("fine", "bbcdefgh0123456789abcdef", Some("ada")),
        row("gone", "cbcdefgh0123456789abcdef", Some("bob")),
        row("guest", "dbcdefgh0123456789abcdef", None),
        row("one", "abcdefgh0123456789abcdef", Some("ada")),
        row("other", "abcdefgh0123456789abcdef", Some("bob")),
    ];
    let mut file = SampleFile::with_sessions(&sessions, &["ada"]);
    let problems = |file: &SampleFile, problem_search, is_paged| {
        let sort = SessionSort::Id;
        let list =
            SessionListQuery { problem_search, is_paged, sort, ascending: true, ..SessionListQuery::all(10) };
        let rows = file.query_rows(&file.query_builder().session_list_query(list));
        let problem = |row: Vec<Option<String>>| row[7].clone().unwrap_or_default();
        rows.into_iter().map(problem).collect::<Vec<_>>()
    };
    let (all, orphaned) = (["", "orphaned", "", "shared", "shared"], ["", "orphaned", "", "", "orphaned"]);
    for is_paged in [false, true] {
        assert_eq!(problems(&file, ProblemSearch::Full, is_paged), all);
        assert_eq!(problems(&file, ProblemSearch::Indexed, is_paged), orphaned, "no index on the token");
    }
    let index = |unique| IndexInfo {
        columns: vec![TOKEN_COLUMN.into()],
        complete: true,
        exact: true,
        unique,
        ..IndexInfo::default()
    };
    file.sessions_table().indexes.push(index(false));
    assert_eq!(problems(&file, ProblemSearch::Indexed, true), all, "an index finds equal tokens");
    file.sessions_table().indexes.push(index(true));
    assert_eq!(problems(&file, ProblemSearch::Full, true), orphaned, "a unique index rules them out");
}

#[test]
fn lists_are_sorted_as_requested() {
    let file = file();
    let sorted =
        |sort, ascending| ids(&file, SessionListQuery { sort, ascending, ..SessionListQuery::all(10) });
    assert_eq!(
        sorted(SessionSort::Expires, false),
        ["never", "late", "soon", "over"],
        "sessions without an expiry come last"
    );
    assert_eq!(sorted(SessionSort::Expires, true), ["over", "soon", "late", "never"]);
    assert_eq!(sorted(SessionSort::User, true), ["late", "over", "soon", "never"]);
    assert_eq!(sorted(SessionSort::Id, false), ["soon", "over", "never", "late"]);
}

#[test]
fn long_values_are_cut_and_unmapped_columns_are_empty() {
    let long = "ä".repeat(1_000);
    let row = SampleSession {
        id: "a",
        user: Some("ada"),
        agent: Some(&long),
        ip: Some(&long),
        ..SampleSession::default()
    };
    let mut file = SampleFile::with_sessions(&[row], &["ada"]);
    let shown = |file: &SampleFile| {
        file.query_rows(&file.query_builder().session_list_query(SessionListQuery::all(1))).remove(0)
    };
    let cells = shown(&file);
    assert_eq!(
        (cells[5].as_deref(), cells[6].as_deref()),
        (Some(&*"ä".repeat(200)), Some(&*"ä".repeat(200)))
    );
    assert_eq!(cells[7].as_deref(), Some("Name of ada"));
    (file.mapping.ip, file.mapping.created, file.mapping.users, file.mapping.id) = (None, None, None, None);
    let cells = shown(&file);
    assert_eq!((cells[1].as_deref(), cells[4].as_deref(), cells[5].as_deref()), (None, None, None));
    assert_eq!(cells.len(), 7, "no display columns without users");
}

#[test]
fn evidence_queries_find_each_kind_of_row() {
    let mut file = file();
    let found = |file: &SampleFile, kind| {
        let sql = QueryBuilder { max_lifetime_us: Some(2 * MICROS_PER_HOUR), ..file.query_builder() };
        let mut ids = file.column_values(&sql.evidence_query(EvidenceQuery::all_of_kind(kind), 10), 1);
        ids.sort_unstable();
        ids.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(found(&file, EvidenceRowKind::Orphans), ["never", "soon"]);
    assert_eq!(found(&file, EvidenceRowKind::OldestExpired), ["over"]);
    assert_eq!(found(&file, EvidenceRowKind::BeyondPolicy), ["late", "never"]);
    assert!(found(&file, EvidenceRowKind::Duplicates).is_empty());
    file.mapping.users = None;
    assert!(found(&file, EvidenceRowKind::Orphans).is_empty());
}

#[test]
fn a_large_table_without_an_expiry_index_is_sorted_by_row_id() {
    let mut file = file();
    for (rows, usual) in [
        (None, SessionSort::Expires),
        (Some(100_000), SessionSort::Expires),
        (Some(100_001), SessionSort::Id),
    ] {
        file.sessions_table().estimated_rows = rows;
        assert_eq!(file.query_builder().default_sort(), usual, "{rows:?}");
    }
    let index = IndexInfo {
        columns: vec![EXPIRES_COLUMN.into(), ID_COLUMN.into()],
        complete: true,
        ..IndexInfo::default()
    };
    file.sessions_table().indexes.push(index);
    assert_eq!(file.query_builder().default_sort(), SessionSort::Expires, "an index provides the order");
    file.sessions_table().indexes.pop();
    file.session_column(ID_COLUMN).nullable = true;
    assert_eq!(file.query_builder().default_sort(), SessionSort::Expires, "ids may be NULL");
}

#[test]
fn pages_use_a_total_order() {
    let mut file = file();
    for sort in [SessionSort::Expires, SessionSort::Created, SessionSort::User, SessionSort::Id] {
        assert_eq!(file.query_builder().paged_sort(sort), sort);
    }
    file.mapping.created = None;
    file.sessions_table().indexes.clear();
    assert_eq!(file.query_builder().paged_sort(SessionSort::Created), SessionSort::Expires);
    assert_eq!(
        file.query_builder().paged_sort(SessionSort::Id),
        SessionSort::Expires,
        "ids may not be unique"
    );
}
