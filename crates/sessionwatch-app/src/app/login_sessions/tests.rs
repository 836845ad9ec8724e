use super::*;
use crate::app::test_app::TestApp;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Expiry times are stored with millisecond precision.
const TICK: SignedDuration = SignedDuration::from_millis(1);

fn client() -> ClientInfo {
    ClientInfo { address: "192.0.2.7".parse().unwrap(), user_agent: "Browser".into() }
}

/// Logs in the admin Ada and returns her token.
async fn logged_in(scene: &TestApp) -> String {
    scene.add_account("ada", AccountRole::Admin, "");
    start(scene, LOGIN_MAX_AGE).await
}

async fn start(scene: &TestApp, max_age: SignedDuration) -> String {
    let started = start_login_with_max_age(scene, "ada".into(), max_age, &client()).await.unwrap();
    assert_eq!(started.max_age_seconds, max_age.as_secs());
    started.token.expose().to_owned()
}

async fn is_known(scene: &TestApp, token: &str) -> bool {
    find_current_user(scene, token).await.unwrap().is_some()
}

#[tokio::test]
async fn an_idle_login_session_ends_after_twelve_hours() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    let hash = sha256_hex(&token);
    scene.advance_clock(12 * HOUR - TICK);
    assert!(is_login_valid(&scene, &hash).await);
    scene.advance_clock(TICK);
    assert!(!is_login_valid(&scene, &hash).await && !is_known(&scene, &token).await);
}

#[tokio::test]
async fn an_active_login_session_ends_after_a_week() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    for _ in 0..15 {
        scene.advance_clock(11 * HOUR);
        assert!(is_known(&scene, &token).await);
    }
    scene.advance_clock(3 * HOUR - TICK);
    assert!(is_known(&scene, &token).await, "seven days less a millisecond");
    scene.advance_clock(TICK);
    assert!(!is_known(&scene, &token).await);
}

#[tokio::test]
async fn a_login_session_through_the_identity_provider_ends_after_twelve_hours() {
    let scene = TestApp::with_config("");
    scene.add_account("ada", AccountRole::Viewer, "https://id.example.org 42");
    let token = start(&scene, OIDC_LOGIN_MAX_AGE).await;
    scene.advance_clock(11 * HOUR);
    assert!(is_known(&scene, &token).await);
    scene.advance_clock(HOUR);
    assert!(!is_known(&scene, &token).await, "even if it is active");
}

#[tokio::test]
async fn a_login_session_last_used_in_the_future_is_invalid() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    scene.advance_clock(SignedDuration::from_secs(-60));
    assert!(is_known(&scene, &token).await, "clocks may differ a little");
    scene.advance_clock(-TICK);
    assert!(!is_known(&scene, &token).await);
}

#[tokio::test]
async fn a_user_has_the_current_role_of_the_account() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    assert_eq!(find_current_user(&scene, &token).await.unwrap().unwrap().role, AccountRole::Admin);
    scene.add_account("ada", AccountRole::Viewer, "");
    let user = find_current_user(&scene, &token).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.role), ("ada", AccountRole::Viewer));
    assert_eq!(user.actor(), Actor::from_account("ada"));
    assert_ne!(user.csrf_token.expose(), token, "the CSRF token is not the login token");
    for other in ["", "x", &token[1..], &format!("{token}0"), &"0".repeat(64)] {
        assert!(!is_known(&scene, other).await, "{other}");
    }
}

#[tokio::test]
async fn logging_out_ends_one_login_session_and_is_audited() {
    let scene = TestApp::with_config("");
    let (first, second) = (logged_in(&scene).await, start(&scene, LOGIN_MAX_AGE).await);
    let user = find_current_user(&scene, &first).await.unwrap().unwrap();
    let mut events = scene.events.subscribe();
    log_out(&scene, user.clone()).await.unwrap();
    assert!(!is_known(&scene, &first).await && is_known(&scene, &second).await);
    assert_eq!(events.try_recv().unwrap(), LiveEvent::LoginsEnded, "open pages close");
    log_out(&scene, user).await.unwrap();
    let actions: Vec<String> = scene.audit_trail().into_iter().map(|[_, action, _]| action).collect();
    assert_eq!(
        actions,
        ["login.succeeded", "login.succeeded", "login.ended"],
        "a second logout is not recorded"
    );
    assert_eq!(scene.audit_trail()[0][2], r#"{"ip":"192.0.2.7"}"#);
}

#[tokio::test]
async fn users_revoke_login_sessions_of_their_own_account_only() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    let hash = sha256_hex(&token);
    for actor in [Actor::from_account("eve"), Actor::from_command_line("ada")] {
        let refused = revoke_login_session(&scene, &actor, hash.clone()).await;
        assert!(matches!(refused, Err(AppError::NotFound(_))), "{actor:?}");
    }
    assert!(is_known(&scene, &token).await);
    revoke_login_session(&scene, &Actor::from_account("ada"), hash.clone()).await.unwrap();
    assert!(!is_known(&scene, &token).await && list_login_sessions(&scene, "ada").await.unwrap().is_empty());
    assert!(
        revoke_login_session(&scene, &Actor::from_account("ada"), hash).await.is_err(),
        "the session has ended already"
    );
}

#[tokio::test]
async fn setup_is_needed_until_there_is_an_account_or_an_identity_provider() {
    let provider = "[serve]\npublic_url = \"https://watch.example.org\"\n[oidc]\nissuer = \"https://id.example.org\"\n\
                    client_id = \"watch\"\nadmins = [\"ops\"]\n";
    let (empty, external) = (TestApp::with_config(""), TestApp::with_config(provider));
    assert!(is_setup_needed(&empty).await.unwrap());
    assert!(!is_setup_needed(&external).await.unwrap());
    empty.add_account("ada", AccountRole::Viewer, "");
    assert!(!is_setup_needed(&empty).await.unwrap());
}

#[tokio::test]
async fn a_failed_login_is_audited_with_a_truncated_name_and_the_ip_address() {
    let scene = TestApp::with_config("");
    let credentials = Credentials { name: "n".repeat(1_000), password: "a sentence is a good one".into() };
    assert!(log_in(&scene, credentials, &client()).await.unwrap().is_none());
    let expected = ["n".repeat(64), "login.failed".into(), r#"{"ip":"192.0.2.7"}"#.into()];
    assert_eq!(scene.audit_trail(), [expected]);
}

#[tokio::test]
async fn an_account_of_the_identity_provider_cannot_log_in_with_a_password() {
    let scene = TestApp::with_config("");
    scene.add_account("ada", AccountRole::Admin, "https://id.example.org 42");
    for password in ["", "a sentence is a good one"] {
        let credentials = Credentials { name: "ada".into(), password: password.into() };
        assert!(log_in(&scene, credentials, &client()).await.unwrap().is_none());
    }
}
