//! Texts of an application are values, never statements, whatever they contain.

use std::time::Duration;

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_targets::{
    address::TargetAddress, layout::Layout, read_session::ReadSession, scope::QueryScope,
    sql::SessionListQuery, time_limits::TimeLimits,
};

use super::{BACKENDS, Backend, mapping};

/// Texts that end a string, or escape its end, in some database.
const HOSTILE: [&str; 12] = [
    "'",
    "''",
    "\\",
    "\\'",
    "\\\\'",
    "' OR '1' = '1",
    "\\' OR 1 = 1 -- ",
    "'; DROP TABLE s; --",
    "\"",
    "`",
    "%_$1?:name",
    "/* ü 🚨 \n */",
];

/// One session per user, with such texts as user IDs and row IDs.
fn script(backend: &dyn Backend) -> String {
    let mut script =
        "CREATE TABLE u (id text PRIMARY KEY); CREATE TABLE s (id text, t text, u text, e bigint);\n"
            .to_owned();
    for (number, text) in HOSTILE.iter().enumerate() {
        let text = backend.literal(text);
        script.push_str(&format!(
            "INSERT INTO u VALUES ({text}); INSERT INTO s VALUES ({text}, 'token-{number:02}', {text}, 4000000000);\n"
        ));
    }
    script
}

async fn texts_are_only_values(backend: &str, address: &TargetAddress) {
    let limits = TimeLimits { timeout: Duration::from_secs(30), lock_timeout: Duration::from_secs(5) };
    let session = ReadSession::open(address, limits, false, 7).await.unwrap();
    let schema = session.describe_schema().await.unwrap();
    let mapping = mapping(&schema, &[]);
    let layout = Layout::from_mapping(schema, mapping);
    let scope =
        QueryScope::without_thresholds(&layout, 7, UtcTimestamp::from_micros(1_800_000_000_000_000).unwrap());
    for text in HOSTILE {
        assert!(session.user_exists(&scope, text).await.unwrap(), "{backend}: {text}");
        assert!(!session.user_exists(&scope, &format!("no {text}")).await.unwrap(), "{backend}: {text}");
        let all = SessionListQuery::all(100);
        for list in [
            SessionListQuery { user: Some(text), ..all },
            SessionListQuery { id_or_prefix: Some(text), ..all },
        ] {
            let lines = session.list_sessions(&scope, list).await.unwrap();
            let users: Vec<_> = lines.iter().map(|line| line.user.as_deref()).collect();
            assert_eq!(users, [Some(text)], "{backend}: {list:?}");
        }
    }
    assert_eq!(session.list_sessions(&scope, SessionListQuery::all(100)).await.unwrap().len(), HOSTILE.len());
    session.close().await;
}

#[test]
fn a_text_is_never_executed_as_a_statement() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for backend in BACKENDS {
        let database = backend.create();
        database.execute(&script(backend));
        for address in database.addresses() {
            runtime.block_on(texts_are_only_values(backend.name(), &address));
        }
    }
}
