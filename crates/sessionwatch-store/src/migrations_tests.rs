//! What any earlier version wrote is read by this one, from a file and from a server.

use std::path::Path;

use jiff::SignedDuration;
use pg_link::Dsn;
use rusqlite::Connection;
use serde_json::{Value, json};
use sessionwatch_core::{
    alert::State,
    instant::Instant,
    log_gaps::{GapCause, KeptGap},
    period::Period,
};

use crate::{
    Place, Store, StoreError, accounts, alerts, archived, attestations, audit, censuses, confirmed_time,
    db::Db,
    events, incidents, layouts, leases, ledgers,
    migrations::{MIGRATIONS, migrate},
    outbox, plans,
    remote::Remote,
    reports, signals, silences, sources,
    sqlite::transact,
    tokens,
};

/// Rows as the program of each migration wrote them, in the order of the migrations.
const SAMPLES: [&str; MIGRATIONS.len()] = [
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
];
/// The numbers of migrations, by what they brought.
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

/// Reads what one migration's program wrote.
type Assertion = fn(Db<'_>) -> Result<(), StoreError>;

fn at(micros: i64) -> Instant {
    Instant::from_micros(micros).unwrap()
}

/// Goes through every version up to that one, each of which wrote its rows.
fn write_history(db: Db<'_>, version: usize) -> Result<(), StoreError> {
    for (number, sample) in (1..=version).zip(SAMPLES) {
        migrate(db, number)?;
        let sample = match db {
            Db::File(_) => sample.to_owned(),
            Db::Server(_) => sample.replace("X'", "'\\x"),
        };
        db.script(&sample)?;
    }
    Ok(())
}

/// A store that the program of that version left in a file.
fn file_of(folder: &Path, version: usize) -> Place {
    let path = folder.join(format!("{version}.db"));
    let mut connection = Connection::open(&path).unwrap();
    transact(&mut connection, |db| write_history(db, version)).unwrap();
    Place::File(path)
}

/// A store that the program of that version left on a server.
fn schema_of(database: &testkit::Database<'_>, version: usize) -> Place {
    let dsn = Dsn::parse(&database.url("postgres")).unwrap();
    let remote = Remote::start(dsn.clone()).unwrap();
    remote.begin(true).unwrap();
    remote.script("CREATE SCHEMA sessionwatch").unwrap();
    write_history(Db::Server(&remote), version).unwrap();
    remote.script("COMMIT").unwrap();
    Place::Server(Box::new(dsn))
}

fn assert_first(db: Db<'_>, version: usize) -> Result<(), StoreError> {
    let kept = alerts::list(db, true)?;
    let firing = kept.iter().find(|kept| kept.check == "duplicate-tokens").unwrap();
    assert_eq!(firing.alert.state, State::Firing { since: at(5), clear: 0, told: Some(at(5)) });
    assert_eq!((firing.acknowledged_by.as_deref(), firing.verdict.as_deref()), (Some("ada"), None));
    assert_eq!(kept.len(), if version < HISTORY { 2 } else { 3 });
    let due = outbox::counts(db)?;
    assert!(due.iter().any(|(channel, state, _)| channel == "chat" && state == "due"), "{due:?}");
    let expected = [1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3][version - 1];
    assert_eq!(silences::list(db, Instant::MIN)?.len(), expected, "those that did not end");
    assert_eq!(audit::verify(db)?, audit::Trail::Whole(1));
    Ok(())
}

fn assert_history(db: Db<'_>) -> Result<(), StoreError> {
    let pending = alerts::get(db, "app", "orphaned-sessions")?.unwrap();
    assert_eq!(pending.alert.state, State::Pending { looks: 2, since: at(1_764_000_000_000_000) });
    assert_eq!((pending.alert.stale, pending.finding_document()?), (true, json!({ "value": 11 })));
    assert_eq!(censuses::last(db, "app")?, Some(at(1_764_000_060_000_000)));
    assert_eq!(censuses::last_seen(db, "app")?, Some(at(1_764_000_000_000_000)));
    assert_eq!(reports::document(db, "app")?.unwrap().1["schema"], 1);
    let ever = events::Search {
        from: Instant::MIN,
        to: Instant::MAX,
        target: Some("app".into()),
        check: None,
        text: None,
        alerts_only: false,
        before: None,
        limit: 9,
    };
    let kinds: Vec<String> = events::search(db, &ever)?.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["verdict", "firing"]);
    assert_eq!(ledgers::get(db, "app")?, Some((at(1_764_000_060_000_000), vec![1, 255, 0])));
    assert_eq!(ledgers::present_key(db)?, Some(-7));
    leases::guard(db, &leases::Fence { lease: "app".into(), holder: "one".into(), term: 3 })?;
    let item = attestations::ItemRef { target: "app", item: "user-reports" };
    let vouched = attestations::last(db, item, Period::ALWAYS)?.unwrap();
    assert_eq!((vouched.holds, vouched.note.as_str()), (false, "two"));
    let quiet = silences::list(db, Instant::MIN)?;
    assert!(quiet.iter().any(|silence| silence.subject.as_deref() == Some("u7")));
    let dead = outbox::dead(db, 9)?;
    assert_eq!((dead.len(), dead[0].attempts, dead[0].again), (1, 20, true));
    assert_eq!(dead[0].recipient.as_deref(), Some("ada@example.org"));
    Ok(())
}

fn assert_acting(db: Db<'_>) -> Result<(), StoreError> {
    let plan = plans::get(db, "p1")?.unwrap();
    assert_eq!((plan.state, plan.rows, plan.approved_by), (plans::State::Done, 1, None));
    assert_eq!(plans::get(db, "p2")?.unwrap().state, plans::State::Making);
    let (_, rows) = plans::piece(db, "p1", 0)?.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.place, row.version, row.mark, row.expires), (1 << 16 | 1, 5, 7, Some(9)));
    assert_eq!(
        [row.id.as_deref(), row.prefix.as_deref(), row.user.as_deref()],
        [Some("s1"), Some("abcdefgh"), Some("7")]
    );
    assert_eq!((row.active, row.token), (true, None));
    let (batch, sealed) = archived::get(db, 1)?.unwrap();
    assert_eq!((&batch.rows, batch.fates, batch.txid), (&rows, vec![archived::Fate::Archived], Some(771)));
    assert_eq!((batch.state, sealed), (archived::State::Kept, b"ag".to_vec()));
    Ok(())
}

fn assert_incidents(db: Db<'_>) -> Result<(), StoreError> {
    let incident = incidents::current(db, "app")?.unwrap();
    assert_eq!((incident.id.as_str(), incident.state), ("i1", incidents::State::Contained));
    assert_eq!(incident.field("summary").as_deref(), Some("one token, two users"));
    assert_eq!(incidents::list(db)?.len(), 2);
    let timeline = incidents::timeline(db, "i1")?;
    let kinds: Vec<&str> = timeline.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["opened", "done", "contained"]);
    assert_eq!(timeline[2].document()?, json!({ "plan": "p1" }));
    assert_eq!(incidents::recorded(&timeline).len(), 1);
    assert_eq!(incidents::drills(db)?[0].took, [10, 20, 30].map(SignedDuration::from_micros));
    Ok(())
}

fn assert_logs(db: Db<'_>) -> Result<(), StoreError> {
    let signal = signals::get(db, 1)?.unwrap();
    assert_eq!((signal.fit.as_deref(), signal.bytes), (Some("exact"), (0, 90)));
    assert_eq!(signal.joined, Some(json!({ "id": "s7" })));
    let unjudged: Vec<i64> = signals::unjudged(db, "app", 9)?.iter().map(|signal| signal.id).collect();
    assert_eq!(unjudged, [2]);
    let source = sources::get::<Value>(db, "web")?.unwrap();
    assert_eq!(source.place, Some(json!({ "device": 1, "inode": 2, "offset": 120 })));
    assert_eq!((source.rhythm.to_text().as_str(), source.gaps), ("490019:2 ", vec![]));
    assert_eq!(source.counters.get("lines"), Some(&json!(2)));
    assert!(!signals::is_new(db, "web", "e1", at(1))?, "an entry that was taken is not taken again");
    Ok(())
}

fn assert_accounts(db: Db<'_>) -> Result<(), StoreError> {
    let account = accounts::get(db, "ada")?.unwrap();
    assert_eq!((account.role, account.subject.as_str()), (accounts::Role::Admin, ""));
    assert!(account.password.expose().starts_with("$argon2id$"));
    let (login, _) = accounts::login_of(db, "h1")?.unwrap();
    assert!(!login.is_valid(at(1_764_080_000_000_001)), "nobody knows when it ends");
    Ok(())
}

fn assert_api(db: Db<'_>) -> Result<(), StoreError> {
    let (token, account) = tokens::by_hash(db, "th1")?.unwrap();
    assert_eq!(
        (token.scopes, account.name.as_str()),
        (vec![tokens::Scope::Read, tokens::Scope::Actions], "ada")
    );
    let request = tokens::Request { token: "t1", key: "k1", content: "POST /x" };
    let earlier = tokens::begin(db, request, at(1_764_150_000_000_000))?;
    assert_eq!(earlier, tokens::Earlier::Answered(201, "{\"id\":\"p3\"}".into()));
    let known = accounts::of_subject(db, "https://login.example.org 17")?.unwrap();
    assert_eq!((known.name.as_str(), known.role), ("vic", accounts::Role::Viewer));
    assert!(accounts::login_of(db, "h2")?.unwrap().0.is_valid(at(1_764_150_000_000_000)));
    assert_eq!(plans::get(db, "p3")?.unwrap().approved_by.as_deref(), Some("bo"));
    Ok(())
}

fn assert_latest(db: Db<'_>, version: usize) -> Result<(), StoreError> {
    if version >= LAYOUTS {
        let confirmed: Vec<Option<String>> =
            layouts::list::<Value>(db)?.into_iter().map(|kept| kept.confirmed_by).collect();
        assert_eq!(confirmed, [None, Some("ada".into())]);
    }
    if version >= NETWORKS {
        let network = db.row("SELECT at FROM login_networks WHERE account = 'ada'", &[])?;
        assert_eq!(network.unwrap().instant(0)?, at(1_764_390_000_000_000));
    }
    if version >= CLOCKS {
        assert_eq!(confirmed_time::get(db, Instant::MAX)?, at(1_764_410_000_000_000));
    }
    // A deadline that was set before that was kept, was set when the message was written.
    let set = db.row("SELECT set_at FROM outbox WHERE idempotency_key = 'k'", &[])?.unwrap();
    assert_eq!(set.int(0)?, 5);
    if version >= GAPS {
        let gap = KeptGap { at: at(1_764_420_000_000_000), cause: GapCause::Truncated, bytes: Some(17) };
        assert_eq!(sources::get::<Value>(db, "nginx")?.unwrap().gaps, [gap]);
    }
    Ok(())
}

/// Everything that the programs up to that version wrote is there.
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
        assert_latest(db, version)
    });
    kept.unwrap_or_else(|error| panic!("version {version}: {error}"));
}

#[test]
fn what_any_version_wrote_into_a_file_is_read_by_this_one() {
    let folder = tempfile::tempdir().unwrap();
    for version in 1..=MIGRATIONS.len() {
        let place = file_of(folder.path(), version);
        assert_kept(&Store::open(&place).unwrap(), version);
    }
}

#[test]
fn what_any_version_wrote_on_a_server_is_read_by_this_one() {
    for version in 1..=MIGRATIONS.len() {
        let database = testkit::shared().database(None).unwrap();
        let place = schema_of(&database, version);
        assert_kept(&Store::open(&place).unwrap(), version);
    }
}

#[test]
fn samples_have_a_row_of_every_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&file_of(folder.path(), MIGRATIONS.len())).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let tables = store.read(|db| db.rows(tables, &[])).unwrap();
    assert!(tables.len() > 25, "{}", tables.len());
    for table in tables {
        let name = table.text(0).unwrap();
        let row = store.read(|db| db.row(&format!("SELECT 1 FROM {name} LIMIT 1"), &[])).unwrap();
        assert!(row.is_some(), "no sample has a row of {name}");
    }
}
