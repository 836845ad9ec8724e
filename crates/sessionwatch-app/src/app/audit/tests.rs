use jiff::SignedDuration;
use sessionwatch_store::audit::NewAuditEntry;

use super::*;
use crate::app::test_app::TestApp;

/// Writes entries of these actors and actions, a second apart.
fn scene(entries: &[(&str, &str)]) -> TestApp {
    let scene = TestApp::with_config("");
    for (actor, action) in entries {
        let entry = NewAuditEntry { actor, action, detail: r#"{"note":"Über 100%"}"# };
        let now = scene.clock.now();
        scene.store.write(|db| audit::insert_audit_entry(db, entry, now)).unwrap();
        scene.advance_clock(SignedDuration::from_secs(1));
    }
    scene
}

async fn head(scene: &TestApp) -> String {
    scene.read_store(audit::find_latest_hash).await.unwrap().unwrap()
}

async fn page(scene: &TestApp, query: AuditQuery) -> (Vec<i64>, u64) {
    let page = load_audit_page(scene, query).await.unwrap();
    assert!(matches!(page.chain, ChainStatus::Intact { .. }), "{:?}", page.chain);
    (page.entries.iter().map(|entry| entry.id).collect(), page.matching)
}

#[tokio::test]
async fn a_page_is_cut_but_counts_all_matches() {
    let scene = scene(&[("ada", "plan.applied"), ("bob", "plan.applied"), ("ada", "alert.acknowledged")]);
    let query = |limit| AuditQuery { limit, ..AuditQuery::default() };
    assert_eq!(page(&scene, query(2)).await, (vec![3, 2], 3));
    assert_eq!(page(&scene, AuditQuery { before: Some(2), ..query(2) }).await, (vec![1], 3));
    let of_ada = AuditQuery { actor: Some("ada".into()), ..query(10) };
    assert_eq!(page(&scene, of_ada.clone()).await, (vec![3, 1], 2));
    let applied = AuditQuery { action: Some("plan.applied".into()), ..of_ada };
    assert_eq!(page(&scene, applied).await, (vec![1], 1));
    let recent = AuditQuery { from: Some(scene.clock.now() - SignedDuration::from_secs(2)), ..query(10) };
    assert_eq!(page(&scene, recent).await, (vec![3, 2], 2));
    let listed = load_audit_page(&scene, query(1)).await.unwrap();
    assert_eq!((listed.actors.len(), listed.actions.len()), (2, 2));
    for (limit, has_more) in [(1, true), (2, true), (3, false), (4, false), (u32::MAX, false)] {
        let listed = load_audit_page(&scene, query(limit)).await.unwrap();
        assert_eq!((listed.has_more, listed.entries.len()), (has_more, 3.min(limit as usize)), "{limit}");
    }
}

#[tokio::test]
async fn a_search_ignores_case_and_takes_pattern_characters_literally() {
    let scene = scene(&[("Ada", "plan.applied")]);
    for (text, found) in
        [("PLAN.A", 1), ("100%", 1), ("%", 1), ("1__%", 0), ("plan_applied", 0), ("' OR 1=1", 0)]
    {
        let query = AuditQuery { text: Some(text.into()), limit: 10, ..AuditQuery::default() };
        assert_eq!(page(&scene, query).await.1, found, "{text}");
    }
}

#[tokio::test]
async fn a_log_that_was_cut_and_continued_lacks_the_old_head() {
    let (whole, cut) = (scene(&[("ada", "a"), ("ada", "b")]), scene(&[("ada", "a"), ("eve", "c")]));
    let old_head = head(&whole).await;
    for (scene, head, contains_head) in [
        (&whole, Some(old_head.clone()), Some(true)),
        (&whole, None, None),
        (&whole, Some(String::new()), Some(false)),
        (&whole, Some(old_head[..10].to_owned()), Some(false)),
        (&cut, Some(old_head.clone()), Some(false)),
    ] {
        let verified = verify_audit_chain(scene, head.clone()).await.unwrap();
        assert_eq!(verified.contains_head, contains_head, "{head:?}");
        assert!(matches!(verified.chain, ChainStatus::Intact { .. }), "{verified:?}");
    }
    let empty = verify_audit_chain(&scene(&[]), Some(old_head)).await.unwrap();
    assert_eq!(empty.contains_head, Some(false));
}
