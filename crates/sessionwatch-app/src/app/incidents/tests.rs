use std::path::Path;

use sessionwatch_store::Store;

use super::*;
use crate::config::Config;

const TARGETS: &str =
    "[[target]]\nname = \"app\"\nurl = \"sqlite:a.db\"\n[[target]]\nname = \"shop\"\nurl = \"sqlite:b.db\"\n";

/// Stores an incident of the target `app` and returns the operations of an actor on `target`.
fn scene(state: IncidentState, target: &str) -> TargetOps {
    let config = Config::parse(Path::new("sessionwatch.toml"), TARGETS).unwrap();
    let app = AppState::for_command(Store::open_in_memory().unwrap(), config).unwrap();
    let incident = IncidentRecord {
        id: "INC-1".into(),
        target: "app".into(),
        severity: IncidentSeverity::P1,
        state,
        opened_at: app.clock.now(),
        opened_by: "ada".into(),
        contained_at: None,
        closed_at: None,
        report_fields: "{}".into(),
    };
    app.store.write(|db| incidents::upsert_incident(db, &incident)).unwrap();
    TargetOps::new(&app, app.target(target).unwrap(), &Actor::from_command_line("ada"))
}

#[tokio::test]
async fn an_incident_is_found_by_id_or_state_and_only_for_its_target() {
    let id = || IncidentSelector::Id("INC-1".into());
    let open = scene(IncidentState::Open, "app");
    for wanted in [id(), IncidentSelector::Open, IncidentSelector::Latest] {
        assert_eq!(find_incident(open.clone(), wanted).await.unwrap().case.incident.id, "INC-1");
    }
    let unknown = find_incident(open, IncidentSelector::Id("INC-2".into())).await;
    assert!(matches!(unknown, Err(FindIncidentError::NotFound)));
    let closed = scene(IncidentState::Closed, "app");
    assert!(find_incident(closed.clone(), IncidentSelector::Latest).await.is_ok());
    assert!(matches!(find_incident(closed, IncidentSelector::Open).await, Err(FindIncidentError::NoneOpen)));
    let shop = scene(IncidentState::Open, "shop");
    let other = find_incident(shop.clone(), id()).await;
    assert!(matches!(other, Err(FindIncidentError::OtherTarget(target)) if target == "app"));
    assert!(matches!(find_incident(shop, IncidentSelector::Open).await, Err(FindIncidentError::NoneOpen)));
}

#[tokio::test]
async fn a_closed_incident_accepts_only_notes() {
    let work = find_incident(scene(IncidentState::Closed, "app"), IncidentSelector::Latest).await.unwrap();
    let is_closed = |error| matches!(error, AppError::Action(ActionError::Closed(_)));
    let set = set_report_field(work.clone(), "summary".into(), "x".into()).await;
    assert!(is_closed(set.unwrap_err()));
    assert!(is_closed(pack_evidence(&work).await.unwrap_err()));
    assert!(is_closed(reopen_step(work.clone(), "confirm".into(), "x".into()).await.unwrap_err()));
    let update = StepUpdate { step: None, response: StepResponse::Check };
    assert!(is_closed(advance_incident(work.clone(), update).await.unwrap_err()));
    add_note(work, "seen again".into()).await.unwrap();
}

#[tokio::test]
async fn a_blank_reason_is_no_reason() {
    let work = find_incident(scene(IncidentState::Open, "app"), IncidentSelector::Open).await.unwrap();
    for blank in ["", "  ", "\u{a0}\n"] {
        let update = StepUpdate { step: None, response: StepResponse::Skip(blank.into()) };
        let skipped = advance_incident(work.clone(), update).await.map(|_| ());
        assert!(matches!(skipped, Err(AppError::Invalid(_))), "{blank:?}: {skipped:?}");
        let reopened = reopen_step(work.clone(), "confirm".into(), blank.into()).await.map(|_| ());
        assert!(matches!(reopened, Err(AppError::Invalid(_))), "{blank:?}: {reopened:?}");
        let closed = close_incident(work.clone(), Some(blank.into())).await;
        let is_refused = matches!(closed, Err(AppError::Action(ActionError::NotClosable { .. })));
        assert!(is_refused, "{blank:?}: {closed:?}");
    }
    let timeline = find_incident(work.ops, IncidentSelector::Open).await.unwrap().case.timeline;
    assert_eq!(timeline, []);
}
