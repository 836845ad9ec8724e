//! For a day after sessions were revoked, an incident that a user closed is reopened like any other.

use jiff::SignedDuration;
use sessionwatch_app::{
    config::Config,
    incident::{self, workflow::IncidentWorkflow},
    remediation::{self, ActionContext, Confirmation, JobControl, Selection, restore},
};
use sessionwatch_archive::Identity;
use sessionwatch_clock::Clock;
use sessionwatch_core::{duration::DAY, incident::IncidentSeverity, period::Period};
use sessionwatch_store::{
    Store, StoreLocation,
    incidents::{self, IncidentRecord, IncidentState},
    samples,
};
use testkit::{run_program_in, wait_until};

use crate::{
    fastforward::{MINUTE, Watch, monday},
    incident::rarely,
    logs::{DUPLICATE, Scene, drained, vercel},
};

/// Revokes the sessions of a user in a new incident, and closes it despite open steps.
fn closed(context: ActionContext<'_>, grade: IncidentSeverity) -> IncidentRecord {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (opened, _) = runtime.block_on(incident::open_incident(context, grade, "a leak")).unwrap();
    let plan = runtime.block_on(remediation::create_plan(context, &Selection::User("2".into()))).unwrap();
    let recipient = Identity::generate().unwrap().recipient();
    let consent = Confirmation { typed_name: Some("app"), ..Confirmation::default() };
    let control = JobControl::default();
    let applying = crate::execute::apply(context, &plan.record.id, &recipient, consent, &control);
    assert_eq!(runtime.block_on(applying).unwrap().done, 2);
    let detail = serde_json::json!({ "plan": plan.record.id });
    incident::record_containment(context, &opened, "ended", &detail).unwrap();
    let case = context.store.read(|db| IncidentWorkflow::load(db, &opened.id)).unwrap().unwrap();
    case.close(context, Some("a false alarm")).unwrap();
    opened
}

#[test]
fn sessions_that_reappear_reopen_an_incident_closed_for_a_reason_at_any_severity() {
    for grade in IncidentSeverity::ALL.iter().copied() {
        let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
        let mut watch = Watch::start(folder.path(), &rarely(&database.url("postgres"), ""), monday());
        let shared = std::sync::Arc::clone(&watch.shared);
        let config = shared.app.config();
        let context = ActionContext {
            config: &config,
            target: &config.targets[0],
            store: &shared.app.store,
            clock: &shared.app.clock,
            actor: "ada",
        };
        let rows = "SELECT format('INSERT INTO sessions VALUES (%L, %L, 2, %L);', id, \"sessionToken\", expires) \
            FROM sessions WHERE \"userId\" = 2 ORDER BY id";
        let rows = database.psql(rows).unwrap();
        let back: Vec<&str> = rows.lines().collect();
        let id = closed(context, grade).id;
        let incident = || shared.app.store.read(|db| incidents::find_incident(db, &id)).unwrap().unwrap();
        let at = |minutes: i32| monday() + minutes * MINUTE;
        // The target is checked every minute although the incident is closed.
        watch.to(at(1));
        watch.to(at(2));
        assert_eq!(incident().state, IncidentState::Closed, "{grade:?}");
        database.psql(back[0]).unwrap();
        watch.to(at(3));
        assert_eq!((incident().state, incident().closed_at), (IncidentState::Open, None), "{grade:?}");
        let timeline = || shared.app.store.read(|db| incidents::list_timeline(db, &id)).unwrap();
        let reopened = || timeline().iter().filter(|entry| entry.kind == "reopened").count();
        let last = timeline().last().unwrap().clone();
        assert!(last.kind == "reopened" && last.message.contains("reappeared-sessions"), "{last:?}");
        // Closed again, the incident is not reopened by the sessions known then, but by one more.
        let case = shared.app.store.read(|db| IncidentWorkflow::load(db, &id)).unwrap().unwrap();
        case.close(context, Some("that one was restored")).unwrap();
        watch.to(at(4));
        assert_eq!((incident().state, reopened()), (IncidentState::Closed, 1), "{grade:?}");
        database.psql(back[1]).unwrap();
        watch.to(at(5));
        assert_eq!((incident().state, reopened()), (IncidentState::Open, 2), "{grade:?}");
        assert!(watch.stop());
    }
}

/// Runs a task with the daemon's configuration, store and clock.
fn with_context<T>(watch: &Watch, task: impl AsyncFnOnce(ActionContext<'_>) -> T) -> T {
    let config = watch.shared.app.config();
    let (target, store, clock) = (&config.targets[0], &watch.shared.app.store, &watch.shared.app.clock);
    let context = ActionContext { config: &config, target, store, clock, actor: "ada" };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task(context))
}

#[test]
fn restored_sessions_did_not_reappear_but_those_that_the_application_brings_back_did() {
    for restarts in [false, true] {
        let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
        let text = rarely(&database.url("postgres"), "");
        let mut watch = Watch::start(folder.path(), &text, monday());
        let identity = Identity::generate().unwrap();
        let consent = || Confirmation { typed_name: Some("app"), ..Confirmation::default() };
        let at = |minutes: i32| monday() + minutes * MINUTE;
        let reappeared = |watch: &Watch| {
            let last = watch
                .shared
                .app
                .store
                .read(|db| samples::find_last_successful_sample(db, "app", Period::ALL_TIME));
            last.unwrap().unwrap().gauges["reappeared"][0].to_string()
        };
        let rows = "SELECT format('INSERT INTO sessions VALUES (%L, %L, 2, %L);', id, \"sessionToken\", expires) \
            FROM sessions WHERE \"userId\" = 2 ORDER BY id";
        let rows = database.psql(rows).unwrap();
        let plan = with_context(&watch, async |context| {
            let (opened, _) = incident::open_incident(context, IncidentSeverity::P2, "a leak").await.unwrap();
            let plan = remediation::create_plan(context, &Selection::User("2".into())).await.unwrap();
            let (recipient, control) = (identity.recipient(), JobControl::default());
            let applying = crate::execute::apply(context, &plan.record.id, &recipient, consent(), &control);
            assert_eq!(applying.await.unwrap().done, 2);
            let detail = serde_json::json!({ "plan": plan.record.id });
            incident::record_containment(context, &opened, "ended", &detail).unwrap();
            plan.record.id
        });
        watch.to(at(1));
        with_context(&watch, async |context| {
            let plan = restore::create_restore_plan(context, &plan, None).await.unwrap();
            let control = JobControl::default();
            let restoring = crate::execute::restore(context, &plan.record.id, &identity, consent(), &control);
            assert_eq!(restoring.await.unwrap().done, 2);
        });
        if restarts {
            assert!(watch.stop());
            watch = Watch::start(folder.path(), &text, at(2));
        } else {
            watch.to(at(2));
        }
        assert_eq!(reappeared(&watch), "0", "{restarts}");
        // Ended again, and brought back by the application.
        let first = rows.lines().next().unwrap();
        database.psql("DELETE FROM sessions WHERE \"userId\" = 2").unwrap();
        watch.to(at(3));
        database.psql(first).unwrap();
        watch.to(at(4));
        assert_eq!(reappeared(&watch), "1", "{restarts}");
        assert!(watch.stop());
    }
}

#[test]
fn a_day_after_sessions_were_revoked_a_closed_incident_stays_closed() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let watch = Watch::start(folder.path(), &rarely(&database.url("postgres"), ""), monday());
    let shared = std::sync::Arc::clone(&watch.shared);
    let config = shared.app.config();
    let (target, store, clock) = (&config.targets[0], &shared.app.store, &shared.app.clock);
    let context = ActionContext { config: &config, target, store, clock, actor: "ada" };
    let id = closed(context, IncidentSeverity::P2).id;
    let reopen = |after: SignedDuration| {
        store.write(|db| incident::reopen_incident(db, "app", "a leak", monday() + after)).unwrap()
    };
    assert!(!reopen(DAY));
    // Of two incidents, the open one is used, and it is not reopened.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (second, _) =
        runtime.block_on(incident::open_incident(context, IncidentSeverity::P1, "another one")).unwrap();
    assert!(!reopen(DAY - SignedDuration::from_micros(1)));
    let case = store.read(|db| IncidentWorkflow::load(db, &second.id)).unwrap().unwrap();
    case.close(context, Some("it was the same")).unwrap();
    assert!(reopen(DAY - SignedDuration::from_micros(1)));
    let state = |id: &str| store.read(|db| incidents::find_incident(db, id)).unwrap().unwrap().state;
    assert_eq!((state(&id), state(&second.id)), (IncidentState::Open, IncidentState::Closed));
    assert!(watch.stop());
}

#[test]
fn a_critical_line_reopens_a_closed_incident_and_is_on_its_timeline() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let running = scene.start(&vercel());
    let opened = run_program_in(folder, &[("USER", "ada")], &["incident", "open", "app", "--severity", "P1"]);
    assert_eq!(opened.exit_code, 0, "{}", opened.stderr);
    let store = Store::open(&StoreLocation::File(folder.join("sessionwatch-state.db"))).unwrap();
    let latest = || store.read(|db| incidents::find_latest_incident(db, "app")).unwrap().unwrap();
    let text = std::fs::read_to_string(folder.join("sessionwatch.toml")).unwrap();
    let config = Config::parse(&folder.join("sessionwatch.toml"), &text).unwrap();
    let (target, clock) = (&config.targets[0], &Clock::System);
    let context = ActionContext { config: &config, target, store: &store, clock, actor: "ada" };
    incident::record_containment(context, &latest(), "ended", &serde_json::json!({})).unwrap();
    let closed =
        run_program_in(folder, &[("USER", "ada")], &["incident", "close", "app", "--override", "a drill"]);
    assert_eq!((closed.exit_code, latest().state), (0, IncidentState::Closed), "{}", closed.stderr);
    assert_eq!(drained(&running, &[("1", DUPLICATE)]).0, 200);
    wait_until("it is open", || latest().state == IncidentState::Open);
    let timeline = store.read(|db| incidents::list_timeline(db, &latest().id)).unwrap();
    let kinds: Vec<&str> = timeline.iter().map(|entry| entry.kind.as_str()).rev().take(2).collect();
    assert_eq!(kinds, ["log-event", "reopened"], "{timeline:#?}");
    assert_eq!(running.stop(), Some(0));
}
