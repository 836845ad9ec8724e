use super::*;
use crate::app::test_app::TestApp;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Ends are kept to the millisecond.
const TICK: SignedDuration = SignedDuration::from_millis(1);

fn client() -> ClientInfo {
    ClientInfo { address: "192.0.2.7".parse().unwrap(), user_agent: "Browser".into() }
}

/// Ada, an admin, logged in: the token.
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
async fn a_login_that_nobody_uses_ends_after_twelve_hours() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    let hash = sha256_hex(&token);
    scene.advance_clock(12 * HOUR - TICK);
    assert!(is_login_valid(&scene, &hash).await);
    scene.advance_clock(TICK);
    assert!(!is_login_valid(&scene, &hash).await && !is_known(&scene, &token).await);
}

#[tokio::test]
async fn a_login_that_is_used_goes_on_for_a_week_and_no_longer() {
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
async fn a_provider_that_vouches_for_somebody_is_asked_again_after_twelve_hours() {
    let scene = TestApp::with_config("");
    scene.add_account("ada", AccountRole::Viewer, "https://id.example.org 42");
    let token = start(&scene, OIDC_LOGIN_MAX_AGE).await;
    scene.advance_clock(11 * HOUR);
    assert!(is_known(&scene, &token).await);
    scene.advance_clock(HOUR);
    assert!(!is_known(&scene, &token).await, "however often it is used");
}

#[tokio::test]
async fn a_login_that_was_used_in_the_future_is_not_believed() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    scene.advance_clock(SignedDuration::from_secs(-60));
    assert!(is_known(&scene, &token).await, "clocks may differ a little");
    scene.advance_clock(-TICK);
    assert!(!is_known(&scene, &token).await);
}

#[tokio::test]
async fn whoever_is_logged_in_has_the_present_role_of_the_account() {
    let scene = TestApp::with_config("");
    let token = logged_in(&scene).await;
    assert_eq!(find_current_user(&scene, &token).await.unwrap().unwrap().role, AccountRole::Admin);
    scene.add_account("ada", AccountRole::Viewer, "");
    let user = find_current_user(&scene, &token).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.role), ("ada", AccountRole::Viewer));
    assert_eq!(user.actor(), Actor::from_account("ada"));
    assert_ne!(user.csrf_token.expose(), token, "what forms carry is not what the browser is known by");
    for other in ["", "x", &token[1..], &format!("{token}0"), &"0".repeat(64)] {
        assert!(!is_known(&scene, other).await, "{other}");
    }
}

#[tokio::test]
async fn to_log_out_ends_one_login_and_leaves_a_record() {
    let scene = TestApp::with_config("");
    let (first, second) = (logged_in(&scene).await, start(&scene, LOGIN_MAX_AGE).await);
    let user = find_current_user(&scene, &first).await.unwrap().unwrap();
    let mut heard = scene.events.subscribe();
    log_out(&scene, user.clone()).await.unwrap();
    assert!(!is_known(&scene, &first).await && is_known(&scene, &second).await);
    assert_eq!(heard.try_recv().unwrap(), LiveEvent::LoginsEnded, "open pages close");
    log_out(&scene, user).await.unwrap();
    let actions: Vec<String> = scene.audit_trail().into_iter().map(|[_, action, _]| action).collect();
    assert_eq!(
        actions,
        ["login.succeeded", "login.succeeded", "login.ended"],
        "what had ended is not recorded again"
    );
    assert_eq!(scene.audit_trail()[0][2], r#"{"ip":"192.0.2.7"}"#);
}

#[tokio::test]
async fn people_end_logins_of_their_own_account_only() {
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
        "it has ended already"
    );
}

#[tokio::test]
async fn nobody_is_known_until_there_is_an_account_or_a_provider() {
    let provider = "[serve]\npublic_url = \"https://watch.example.org\"\n[oidc]\nissuer = \"https://id.example.org\"\n\
                    client_id = \"watch\"\nadmins = [\"ops\"]\n";
    let (empty, external) = (TestApp::with_config(""), TestApp::with_config(provider));
    assert!(is_setup_needed(&empty).await.unwrap());
    assert!(!is_setup_needed(&external).await.unwrap());
    empty.add_account("ada", AccountRole::Viewer, "");
    assert!(!is_setup_needed(&empty).await.unwrap());
}

#[tokio::test]
async fn a_login_that_failed_leaves_a_short_name_and_the_address() {
    let scene = TestApp::with_config("");
    let credentials = Credentials { name: "n".repeat(1_000), password: "a sentence is a good one".into() };
    assert!(log_in(&scene, credentials, &client()).await.unwrap().is_none());
    let expected = ["n".repeat(64), "login.failed".into(), r#"{"ip":"192.0.2.7"}"#.into()];
    assert_eq!(scene.audit_trail(), [expected]);
}

#[tokio::test]
async fn somebody_without_a_password_does_not_log_in_by_one() {
    let scene = TestApp::with_config("");
    scene.add_account("ada", AccountRole::Admin, "https://id.example.org 42");
    for password in ["", "a sentence is a good one"] {
        let credentials = Credentials { name: "ada".into(), password: password.into() };
        assert!(log_in(&scene, credentials, &client()).await.unwrap().is_none());
    }
}
