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
    let logins = page.select_texts("section[aria-labelledby=login-sessions] tbody td:last-child");
    assert!(logins.contains(&"This session".into()) && logins.contains(&"End session".into()), "{logins:?}");
    page.assert_shows_hostile_text("section[aria-labelledby=login-sessions] td");
    assert_eq!(
        page.count_elements("section[aria-labelledby=accounts]")
            + page.count_elements("section[aria-labelledby=channels]"),
        0
    );

    let page = dashboard.log_in_as(AccountRole::Admin).await.get("/settings").await;
    let names = page.select_texts("section[aria-labelledby=accounts] tbody td:first-child");
    assert_eq!(names, ["admin you", "viewer"]);
    let removable =
        page.select_attributes("form[action='/settings/accounts/delete'] input[name=name]", "value");
    assert_eq!(removable, ["viewer"], "nobody can delete their own account");
    assert_eq!(page.select_texts("section[aria-labelledby=channels] button"), ["Send test"]);
}

#[tokio::test]
async fn tokens_offer_the_scopes_of_the_role_and_are_shown_once() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/settings").await;
    assert_eq!(page.count_elements("section[aria-labelledby=tokens] .empty"), 1);
    assert_eq!(
        page.select_attributes("section[aria-labelledby=tokens] input[type=checkbox]", "name"),
        ["read", "account"]
    );

    let made =
        viewer.post("/settings/tokens", &[("label", HOSTILE_TEXT), ("days", "7"), ("read", "yes")]).await;
    let token = made.select_text("main pre");
    assert!(token.starts_with("swt_"), "{token}");
    made.assert_shows_hostile_text("h1");
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
    assert_eq!(
        (changed.status, changed.location.as_deref()),
        (StatusCode::SEE_OTHER, Some("/settings?done=password-changed#password"))
    );
    assert_eq!(log_in(new).await.status, StatusCode::SEE_OTHER);
    assert_eq!(log_in(new.trim()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn changes_are_confirmed_and_unknown_ones_are_not() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/settings?done=account-created").await;
    assert_eq!(page.select_text("main .callout b"), "Account created");
    assert_eq!(viewer.get("/settings?done=x").await.count_elements("main .callout"), 0);
}

#[tokio::test]
async fn checks_and_targets_show_what_is_in_effect() {
    let config = "[[target]]\nname = \"app\"\nurl = \"sqlite:missing.db\"\n
[checks.orphaned-sessions]\nmax = 3\n[checks.slow-check-run]\nenabled = false\n";
    let dashboard = TestDashboard::with_config(config);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/settings").await;
    // Cells have no space between them.
    let compact = |text: &str| text.replace(' ', "");
    let rows = page.select_texts("section[aria-labelledby=checks] tbody tr");
    let rows: Vec<String> = rows.iter().map(|row| compact(row)).collect();
    for expected in [
        "Orphaned sessions orphaned-sessions More than 3 orphaned sessions Configuration High",
        "Duplicate session tokens duplicate-tokens Any duplicate token Default Critical",
        "Check runs are slow slow-check-run Over 100 ms for every 10,000 sessions Default Off",
    ] {
        assert!(rows.contains(&compact(expected)), "{expected}: {rows:?}");
    }
    let doctor = page.select_attributes("section[aria-labelledby=settings-targets] td.end a", "href");
    assert_eq!(doctor, ["/targets/app/doctor"]);
    assert!(!page.select_text("section[aria-labelledby=about]").contains("State store"), "for admins only");
}

#[tokio::test]
async fn a_test_message_that_fails_shows_the_reply() {
    let config = "[[channel]]\nname = \"team\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/hook\"\n";
    let dashboard = TestDashboard::with_config(config);
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let page = admin.post("/settings/channels/test", &[("channel", "team")]).await;
    assert_eq!(page.select_text("h1"), "team did not accept the test message");
    assert_eq!(page.count_elements("section[aria-labelledby=reply] pre"), 1);
    assert_eq!(page.select_texts("main form button"), ["Send again"]);
    let missing = admin.post("/settings/channels/test", &[("channel", "x")]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}
