use super::*;
use crate::app::shop_tests::TestShop;

async fn found(shop: &TestShop, part: &str, limit: usize) -> UserList {
    let search = UserSearch { part: part.into(), limit, counts_sessions: true };
    search_users(shop, &shop.target("shop").unwrap(), search).await.unwrap()
}

fn counts(list: &UserList) -> Vec<(&str, Option<u64>)> {
    list.users.iter().map(|user| (user.id.as_str(), user.sessions)).collect()
}

#[tokio::test]
async fn a_search_counts_all_sessions_and_a_ranking_the_active_ones() {
    let shop = TestShop::new("");
    shop.execute("UPDATE sessions SET expires = 1000 WHERE id IN ('s01', 's02')");
    shop.execute("UPDATE sessions SET user_id = 'u2' WHERE id = 's05'");
    assert_eq!(counts(&found(&shop, "u1", 5).await), [("u1", Some(3))]);
    let ranked = list_most_active_users(&shop, &shop.target("shop").unwrap(), 1).await.unwrap();
    assert_eq!((counts(&ranked), ranked.has_more, ranked.gap), (vec![("u2", Some(2))], true, ""));
    let all = list_most_active_users(&shop, &shop.target("shop").unwrap(), 100).await.unwrap();
    assert_eq!((all.users.len(), all.has_more), (7, false));
    assert_eq!(all.display, ["name", "email"]);
}

#[tokio::test]
async fn a_list_cut_at_its_limit_says_that_there_are_more() {
    let shop = TestShop::new("");
    for (limit, length, has_more) in [(7, 7, true), (8, 8, false), (9, 8, false), (0, 0, true)] {
        let list = found(&shop, "example.org", limit).await;
        assert_eq!((list.users.len(), list.has_more), (length, has_more), "{limit}");
    }
}

#[tokio::test]
async fn a_user_without_sessions_is_found_with_none() {
    let shop = TestShop::new("");
    shop.execute("INSERT INTO users VALUES ('u9', '<b>Zoë</b>', NULL)");
    let list = found(&shop, "u9", 5).await;
    assert_eq!(counts(&list), [("u9", Some(0))]);
    assert_eq!(list.users[0].display, [Some("<b>Zoë</b>".into()), None]);
    let described = describe_user(&shop, &shop.target("shop").unwrap(), "u9").await.unwrap();
    assert_eq!(described.users[0].display, list.users[0].display);
}

#[tokio::test]
async fn without_a_users_table_only_exact_ids_are_found() {
    let shop = TestShop::without_users_table();
    for (part, users) in [("u1", vec![("u1", Some(3))]), ("u", vec![]), ("U1", vec![]), ("Name", vec![])] {
        let list = found(&shop, part, 5).await;
        assert_eq!(counts(&list), users, "{part}");
        assert_eq!(list.gap, "No users table is known, so you can search only by exact user ID.");
    }
}

#[tokio::test]
async fn a_database_that_is_gone_is_an_error_and_not_an_empty_list() {
    let shop = TestShop::new("");
    std::fs::remove_file(shop.path("shop.db")).unwrap();
    let target = shop.target("shop").unwrap();
    let ranked = list_most_active_users(&shop, &target, 5).await;
    assert!(matches!(&ranked, Err(AppError::Unavailable(_))), "{ranked:?}");
    let described = describe_user(&shop, &target, "u1").await;
    assert!(matches!(&described, Err(AppError::Unavailable(_))), "{described:?}");
}
