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
        "Slow check runs slow-check-run Over 100 ms for every 10,000 sessions Default Off",
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

#[tokio::test]
async fn an_account_needs_a_valid_name_role_and_password() {
    let dashboard = TestDashboard::new();
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let create = async |name: &str, role: &str, password: &str| {
        admin.post("/settings/accounts", &[("name", name), ("role", role), ("password", password)]).await
    };
    let (good, long) = ("a sentence is a good one", "a".repeat(65));
    for (name, role, password, message) in [
        (HOSTILE_TEXT, "viewer", good, "Invalid account name"),
        ("аdmin", "viewer", good, "Invalid account name"),
        ("", "viewer", good, "Invalid account name"),
        (&*long, "viewer", good, "Invalid account name"),
        ("ada", "owner", good, "Unknown role. Use viewer, responder or admin."),
        ("ada", "", good, "Unknown role."),
        ("ada", "viewer", "short", "password"),
        ("ada", "viewer", "", "password"),
    ] {
        let page = create(name, role, password).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{name} {role}");
        let text = page.select_text("main p.error-text");
        assert!(text.contains(message), "{name} {role}: {text}");
        assert_eq!(page.count_elements("main script"), 0);
    }
    let created = create("ada", "responder", good).await;
    assert_eq!(created.location.as_deref(), Some("/settings?done=account-created#accounts"));
    assert_eq!(create("ada", "admin", good).await.status, StatusCode::CONFLICT);
    let page = admin.get("/settings").await;
    let roles = page.select_texts("section[aria-labelledby=accounts] tbody td:nth-child(2)");
    assert_eq!(roles, ["Responder", "Admin"]);
    assert!(!page.body.contains("$argon2"));
}

#[tokio::test]
async fn an_admin_can_delete_every_account_but_the_own() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let delete = async |name: &str| admin.post("/settings/accounts/delete", &[("name", name)]).await;
    assert_eq!(delete("admin").await.status, StatusCode::CONFLICT);
    for name in ["", "nobody", "Viewer", HOSTILE_TEXT] {
        assert_eq!(delete(name).await.status, StatusCode::NOT_FOUND, "{name}");
    }
    assert_eq!(viewer.get("/").await.status, StatusCode::OK);
    let deleted = delete("viewer").await;
    assert_eq!(deleted.location.as_deref(), Some("/settings?done=account-deleted#accounts"));
    assert_eq!(viewer.get("/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(admin.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn nobody_ends_the_login_sessions_or_revokes_the_tokens_of_others() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let fields = [("label", "script"), ("days", "7"), ("read", "yes")];
    viewer.post("/settings/tokens", &fields).await;
    let second = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/settings").await;
    let login = page.select_attributes("input[name=login]", "value").remove(0);
    let token = page.select_attributes("input[name=token]", "value").remove(0);
    let revoke =
        [("/settings/login-sessions/revoke", "login", &login), ("/settings/tokens/revoke", "token", &token)];
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    for (path, name, id) in revoke {
        assert_eq!(admin.post(path, &[(name, id)]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let page = second.get("/settings").await;
    assert_eq!(page.select_attributes("input[name=token]", "value"), [&*token]);
    for (path, name, id) in revoke {
        assert_eq!(viewer.post(path, &[(name, id)]).await.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(viewer.post(path, &[(name, id)]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(second.get("/").await.status, StatusCode::SEE_OTHER, "its login session has ended");
    assert_eq!(viewer.get("/settings").await.count_elements("input[name=token]"), 0);
}

#[tokio::test]
async fn a_token_needs_a_name_a_scope_and_a_bounded_lifetime() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let long = "ä".repeat(65);
    for (label, days, scope) in [
        ("", "7", "read"),
        (" ", "7", "read"),
        ("a\nb", "7", "read"),
        ("a\u{85}b", "7", "read"),
        (&*long, "7", "read"),
        ("x", "0", "read"),
        ("x", "367", "read"),
        ("x", "-1", "read"),
        ("x", "1.5", "read"),
        ("x", "", "read"),
        ("x", "7", "everything"),
        ("x", "7", "Read"),
    ] {
        let page = viewer.post("/settings/tokens", &[("label", label), ("days", days), (scope, "yes")]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{label:?} {days} {scope}");
    }
    assert_eq!(viewer.get("/settings").await.count_elements("input[name=token]"), 0);
    let longest = "ä".repeat(64);
    let fields = [("label", &*longest), ("days", "366"), ("account", "yes"), ("read", "yes")];
    let made = viewer.post("/settings/tokens", &fields).await;
    assert_eq!(
        (made.status, made.select_text("main .lead").ends_with(" in 366 days.")),
        (StatusCode::OK, true)
    );
    let tags = viewer.get("/settings").await.select_texts("section[aria-labelledby=tokens] .tag");
    assert_eq!(tags, ["read", "account"]);
}

#[tokio::test]
async fn a_wrong_current_password_changes_nothing() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    for fields in [
        [("password", "wrong"), ("new", "a sentence is a good one")],
        [("password", ""), ("new", "a sentence is a good one")],
        [("password", "no hash"), ("new", "a sentence is a good one")],
    ] {
        let page = viewer.post("/settings/password", &fields).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert_eq!(page.select_text("main p.error-text"), "The current password is incorrect.");
    }
    let stored = dashboard.write_store(|db| store::accounts::find_account(db, "viewer")).unwrap();
    assert_eq!(stored.password_hash.expose(), "no hash");
}

#[tokio::test]
async fn too_many_wrong_current_passwords_lead_back_into_the_dashboard() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let fields = [("password", "wrong"), ("new", "a sentence is a good one")];
    for _ in 0..10 {
        assert_eq!(viewer.post("/settings/password", &fields).await.status, StatusCode::BAD_REQUEST);
    }
    let page = viewer.post("/settings/password", &fields).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(page.select_text("h1"), "Too many attempts");
    assert_eq!(page.select_attributes("main a", "href"), ["/"]);
    assert_eq!(page.select_text("main a"), "Go to the overview");
}
