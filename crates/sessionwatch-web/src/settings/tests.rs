use axum::http::StatusCode;
use jiff::SignedDuration;
use sessionwatch_app::app::{
    Actor,
    accounts::{self, AccountName, AccountRole, NewAccount, PasswordHash},
};
use sessionwatch_store as store;

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

const WITH_CHANNEL: &str =
    "[[channel]]\nname = \"team\"\nkind = \"webhook\"\nurl = \"https://example.org/hook\"\n";

#[tokio::test]
async fn users_see_their_own_login_sessions_and_only_admins_see_accounts_and_channels() {
    let dashboard = TestDashboard::with_config(WITH_CHANNEL);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    dashboard.write_store(|db| {
        let login = store::accounts::LoginSession {
            token_hash: "other".into(),
            account: "viewer".into(),
            created_at: dashboard.now(),
            last_used_at: dashboard.now(),
            expires_at: dashboard.now() + SignedDuration::from_secs(1),
            client_address: "192.0.2.2".into(),
            user_agent: HOSTILE_TEXT.into(),
        };
        store::accounts::insert_login_session(db, &login)
    });
    let page = viewer.get("/settings").await;
    let logins = page.select_texts("section[aria-labelledby=own] tbody td:last-child");
    assert!(
        logins.contains(&"current session".into()) && logins.contains(&"End session".into()),
        "{logins:?}"
    );
    page.assert_shows_hostile_text("section[aria-labelledby=own] td");
    assert_eq!(
        page.count_elements("section[aria-labelledby=accounts]")
            + page.count_elements("section[aria-labelledby=channels]"),
        0
    );

    let page = dashboard.log_in_as(AccountRole::Admin).await.get("/settings").await;
    let names = page.select_texts("section[aria-labelledby=accounts] tbody td:first-child");
    assert_eq!(names, ["admin", "viewer"]);
    let removable =
        page.select_attributes("form[action='/settings/accounts/delete'] input[name=name]", "value");
    assert_eq!(removable, ["viewer"], "nobody can delete their own account");
    assert_eq!(page.select_texts("section[aria-labelledby=channels] button"), ["Send test message"]);
}

#[tokio::test]
async fn tokens_offer_the_scopes_of_the_role_and_are_shown_once() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/settings").await;
    assert_eq!(page.count_elements("section[aria-labelledby=tokens] p.empty"), 1);
    assert_eq!(
        page.select_attributes("section[aria-labelledby=tokens] input[type=checkbox]", "name"),
        ["read", "account"]
    );

    let made =
        viewer.post("/settings/tokens", &[("label", HOSTILE_TEXT), ("days", "7"), ("read", "yes")]).await;
    let token = made.select_text("pre.draft");
    assert!(token.starts_with("swt_"), "{token}");
    made.assert_shows_hostile_text("main p");
    let page = viewer.get("/settings").await;
    assert_eq!(page.count_elements("form[action='/settings/tokens/revoke']"), 1);
    assert!(!page.select_text("main").contains(&token));
    let beyond = viewer.post("/settings/tokens", &[("label", "x"), ("days", "7"), ("actions", "yes")]).await;
    assert_eq!(beyond.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_password_is_changed_exactly_as_typed_including_spaces_at_its_ends() {
    let dashboard = TestDashboard::new();
    let (old, new) = (" a sentence is a good one ", "\tanother sentence is as good  ");
    let account = NewAccount {
        name: AccountName::parse("ada").unwrap(),
        password: PasswordHash::from_password(&old.into()).unwrap(),
        role: AccountRole::Viewer,
    };
    accounts::create_account(&dashboard.app, &Actor::from_command_line("eve"), account).await.unwrap();
    let log_in = async |password: &str| {
        dashboard.anonymous_visitor().post("/login", &[("name", "ada"), ("password", password)]).await
    };
    let logged_in = log_in(old).await;
    assert_eq!(logged_in.status, StatusCode::SEE_OTHER);
    let ada = dashboard.visitor_from_cookie(&logged_in).await;
    let changed = ada.post("/settings/password", &[("password", old), ("new", new)]).await;
    assert_eq!((changed.status, changed.location.as_deref()), (StatusCode::SEE_OTHER, Some("/settings")));
    assert_eq!(log_in(new).await.status, StatusCode::SEE_OTHER);
    assert_eq!(log_in(new.trim()).await.status, StatusCode::UNAUTHORIZED);
}
