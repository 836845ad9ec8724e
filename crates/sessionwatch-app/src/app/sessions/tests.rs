use sessionwatch_core::duration::{DAY, SECOND};
use sessionwatch_store::log_events::NewLogEvent;

use super::*;
use crate::app::{plans, shop_tests::TestShop};

async fn listed(shop: &TestShop, query: SessionQuery) -> SessionList {
    list_sessions(shop, &shop.target("shop").unwrap(), query).await.unwrap()
}

fn ids(list: &SessionList) -> Vec<&str> {
    list.rows.iter().filter_map(|row| row.id.as_deref()).collect()
}

#[tokio::test]
async fn a_list_is_cut_at_its_limit_and_shows_no_token() {
    let shop = TestShop::new("");
    for (limit, length, has_more) in [(9, 9, true), (10, 10, false), (11, 10, false)] {
        let list = listed(&shop, SessionQuery::first(limit)).await;
        assert_eq!((list.rows.len(), list.has_more), (length, has_more), "{limit}");
        for row in list.rows {
            let prefix = row.token_prefix.unwrap();
            assert!(prefix.chars().count() <= 8, "{prefix}");
        }
    }
}

#[tokio::test]
async fn the_sessions_of_a_user_are_those_of_the_exact_id() {
    let shop = TestShop::new("");
    shop.execute("INSERT INTO sessions VALUES ('x1', 'xtoken1', 'U1', 0), ('x2', 'xtoken2', 'u1 ', 0)");
    let list = listed(&shop, SessionQuery::for_user("u1")).await;
    let mut found = ids(&list);
    found.sort_unstable();
    assert_eq!(found, ["s01", "s02", "s03"]);
    for unknown in ["", "u", "u%", "' OR 1=1 --", "nobody"] {
        assert!(listed(&shop, SessionQuery::for_user(unknown)).await.rows.is_empty(), "{unknown}");
    }
}

#[tokio::test]
async fn active_and_expired_sessions_are_distinguished() {
    let shop = TestShop::new("");
    shop.execute("UPDATE sessions SET expires = 1000 WHERE id = 's07'");
    let of = async |status| listed(&shop, SessionQuery { status, ..SessionQuery::first(100) }).await;
    assert_eq!(ids(&of(SessionStatus::Expired).await), ["s07"]);
    assert_eq!(of(SessionStatus::Active).await.rows.len(), 9);
    assert_eq!(of(SessionStatus::All).await.rows.len(), 10);
}

#[tokio::test]
async fn every_orphaned_session_is_marked_however_many_there_are() {
    let shop = TestShop::new("");
    shop.execute("DELETE FROM users");
    let query = SessionQuery { problem_search: ProblemSearch::Indexed, ..SessionQuery::first(100) };
    let list = listed(&shop, query).await;
    assert_eq!(list.rows.len(), 10);
    assert!(list.rows.iter().all(|row| row.problem == Some(SessionProblem::Orphaned)), "{list:?}");
    assert!(listed(&shop, SessionQuery::first(1)).await.rows[0].problem.is_none(), "not asked for");
}

#[tokio::test]
async fn the_sessions_of_a_user_are_counted_beyond_those_listed() {
    let shop = TestShop::new("");
    let add = |count: u64, prefix: &str, expires: u64| {
        shop.execute(&format!(
            "INSERT INTO sessions WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             SELECT '{prefix}' || i, '{prefix}token' || i, 'u8', {expires} FROM n"
        ));
    };
    let found = async || {
        let found = list_user_sessions(&shop, &shop.target("shop").unwrap(), "u8").await.unwrap();
        (found.list.rows.len(), found.list.total.unwrap().counted(), found.active.counted())
    };
    assert_eq!(found().await, (1, 1, 1));
    add(2, "old", 1_600_000_000_000);
    assert_eq!(found().await, (3, 3, 1));
    add(98, "past", 1_700_000_000_000);
    assert_eq!(found().await, (100, 101, 1), "a cut list that holds every active session");
    add(149, "new", 4_070_908_800_000);
    assert_eq!(found().await, (100, 250, 150), "a cut list of active sessions only");
}

#[test]
fn a_session_without_a_time_sorts_last() {
    let at = UtcTimestamp::UNIX_EPOCH + SECOND;
    let row = SessionRow {
        token_prefix: None,
        id: None,
        user: None,
        expires_at: Some(at),
        created_at: None,
        ip: None,
        agent: None,
        problem: None,
        display: vec![],
    };
    assert_eq!(sort_key(&row, SessionSort::Expires), 1_000_000);
    assert_eq!(sort_key(&row, SessionSort::Created), i64::MAX);
}

#[tokio::test]
async fn the_history_of_a_user_lists_only_begun_plans_about_that_user() {
    let shop = TestShop::new("");
    let create = async |selection| plans::create_plan(shop.ops("ada"), selection).await.unwrap();
    let begun = [
        create(Selection::User("u3".into())).await,
        create(Selection::Users(vec!["u4".into(), "u3".into()])).await,
        create(Selection::Session("s05".into())).await,
        create(Selection::User("u4".into())).await,
    ];
    create(Selection::User("u3".into())).await;
    for mut plan in begun.clone() {
        plan.record.state = plans::PlanState::Done;
        shop.store.write(|db| sessionwatch_store::plans::upsert_plan(db, &plan.record)).unwrap();
    }
    let activity = load_user_activity(&shop, "shop", "u3").await.unwrap();
    let subjects: Vec<&UserEventSubject> = activity.history.iter().map(|event| &event.subject).collect();
    let wanted: Vec<UserEventSubject> =
        begun[..3].iter().map(|plan| UserEventSubject::Plan(plan.record.id.clone())).collect();
    assert_eq!((subjects.len(), activity.history_count), (3, 3));
    assert!(wanted.iter().all(|plan| subjects.contains(&plan)), "{subjects:?}");
    let summary = "revoke user by ada: 1 row in all, done";
    assert!(activity.history.iter().any(|event| event.summary == summary), "{:?}", activity.history);
    assert!(load_user_activity(&shop, "app", "u3").await.unwrap().history.is_empty());
    // After 90 days a plan is no longer listed.
    shop.advance_clock(90 * DAY);
    assert_eq!(load_user_activity(&shop, "shop", "u3").await.unwrap().history_count, 3);
    shop.advance_clock(SignedDuration::from_micros(1));
    assert_eq!(load_user_activity(&shop, "shop", "u3").await.unwrap().history_count, 0);
}

#[tokio::test]
async fn log_events_beyond_the_limit_are_counted_but_not_loaded() {
    let shop = TestShop::new("");
    let event = |user: &'static str| NewLogEvent {
        source: "web",
        target: "shop",
        kind: "refreshed",
        severity: None,
        at: None,
        read_at: shop.clock.now() - SECOND,
        user: Some(user),
        other_user: None,
        token_prefix: None,
        expires_at: None,
        reason: None,
        request: None,
        byte_range: (0, 1),
        text: "refreshed",
    };
    let insert = |user: &'static str, count: usize| {
        shop.store
            .write(|db| (0..count).try_for_each(|_| log_events::insert_log_event(db, &event(user))))
            .unwrap();
    };
    insert("u4", 5);
    for (more, listed, count) in [(99, 99, 99), (1, 100, 100), (20, 100, 120)] {
        insert("u3", more);
        let activity = load_user_activity(&shop, "shop", "u3").await.unwrap();
        assert_eq!((activity.log_events.len(), activity.log_event_count), (listed, count));
    }
}
