use super::*;
use crate::app::scene::Scene;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Ends are kept to the millisecond.
const TICK: SignedDuration = SignedDuration::from_millis(1);

fn client() -> ClientInfo {
    ClientInfo { address: "192.0.2.7".parse().unwrap(), agent: "Browser".into() }
}

/// Ada, an admin, logged in: the token.
async fn logged_in(scene: &Scene) -> String {
    scene.add_account("ada", Role::Admin, "");
    start(scene, MAX_AGE).await
}

async fn start(scene: &Scene, max_age: SignedDuration) -> String {
    let started = start_for(scene, "ada".into(), max_age, &client()).await.unwrap();
    assert_eq!(started.max_age_seconds, max_age.as_secs());
    started.token.expose().to_owned()
}

async fn is_known(scene: &Scene, token: &str) -> bool {
    find_user(scene, token).await.unwrap().is_some()
}

#[tokio::test]
async fn a_login_that_nobody_uses_ends_after_twelve_hours() {
    let scene = Scene::of("");
    let token = logged_in(&scene).await;
    let hash = sha256_hex(&token);
    scene.pass(12 * HOUR - TICK);
    assert!(is_login_valid(&scene, &hash).await);
    scene.pass(TICK);
    assert!(!is_login_valid(&scene, &hash).await && !is_known(&scene, &token).await);
}

#[tokio::test]
async fn a_login_that_is_used_goes_on_for_a_week_and_no_longer() {
    let scene = Scene::of("");
    let token = logged_in(&scene).await;
    for _ in 0..15 {
        scene.pass(11 * HOUR);
        assert!(is_known(&scene, &token).await);
    }
    scene.pass(3 * HOUR - TICK);
    assert!(is_known(&scene, &token).await, "seven days less a millisecond");
    scene.pass(TICK);
    assert!(!is_known(&scene, &token).await);
}

#[tokio::test]
async fn a_provider_that_vouches_for_somebody_is_asked_again_after_twelve_hours() {
    let scene = Scene::of("");
    scene.add_account("ada", Role::Viewer, "https://id.example.org 42");
    let token = start(&scene, EXTERNAL_MAX_AGE).await;
    scene.pass(11 * HOUR);
    assert!(is_known(&scene, &token).await);
    scene.pass(HOUR);
    assert!(!is_known(&scene, &token).await, "however often it is used");
}

#[tokio::test]
async fn a_login_that_was_used_in_the_future_is_not_believed() {
    let scene = Scene::of("");
    let token = logged_in(&scene).await;
    scene.pass(SignedDuration::from_secs(-60));
    assert!(is_known(&scene, &token).await, "clocks may differ a little");
    scene.pass(-TICK);
    assert!(!is_known(&scene, &token).await);
}

#[tokio::test]
async fn whoever_is_logged_in_has_the_present_role_of_the_account() {
    let scene = Scene::of("");
    let token = logged_in(&scene).await;
    assert_eq!(find_user(&scene, &token).await.unwrap().unwrap().role, Role::Admin);
    scene.add_account("ada", Role::Viewer, "");
    let user = find_user(&scene, &token).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.role), ("ada", Role::Viewer));
    assert_eq!(user.actor(), Actor::of_account("ada"));
    assert_ne!(user.csrf_token.expose(), token, "what forms carry is not what the browser is known by");
    for other in ["", "x", &token[1..], &format!("{token}0"), &"0".repeat(64)] {
        assert!(!is_known(&scene, other).await, "{other}");
    }
}

#[tokio::test]
async fn to_log_out_ends_one_login_and_leaves_a_record() {
    let scene = Scene::of("");
    let (first, second) = (logged_in(&scene).await, start(&scene, MAX_AGE).await);
    let user = find_user(&scene, &first).await.unwrap().unwrap();
    let mut heard = scene.events.subscribe();
    log_out(&scene, user.clone()).await.unwrap();
    assert!(!is_known(&scene, &first).await && is_known(&scene, &second).await);
    assert_eq!(heard.try_recv().unwrap(), LiveEvent::LoginsEnded, "open pages close");
    log_out(&scene, user).await.unwrap();
    let actions: Vec<String> = scene.trail().into_iter().map(|[_, action, _]| action).collect();
    assert_eq!(actions, ["login", "login", "logout"], "what had ended is not recorded again");
    assert_eq!(scene.trail()[0][2], r#"{"address":"192.0.2.7"}"#);
}

#[tokio::test]
async fn people_end_logins_of_their_own_account_only() {
    let scene = Scene::of("");
    let token = logged_in(&scene).await;
    let hash = sha256_hex(&token);
    for actor in [Actor::of_account("eve"), Actor::of_command("ada")] {
        let refused = revoke_login(&scene, &actor, hash.clone()).await;
        assert!(matches!(refused, Err(AppError::NotFound(_))), "{actor:?}");
    }
    assert!(is_known(&scene, &token).await);
    revoke_login(&scene, &Actor::of_account("ada"), hash.clone()).await.unwrap();
    assert!(!is_known(&scene, &token).await && list_logins(&scene, "ada").await.unwrap().is_empty());
    assert!(revoke_login(&scene, &Actor::of_account("ada"), hash).await.is_err(), "it has ended already");
}

#[tokio::test]
async fn nobody_is_known_until_there_is_an_account_or_a_provider() {
    let provider = "[serve]\npublic_url = \"https://watch.example.org\"\n[openid]\nissuer = \"https://id.example.org\"\n\
                    client_id = \"watch\"\nadmins = [\"ops\"]\n";
    let (empty, external) = (Scene::of(""), Scene::of(provider));
    assert!(is_nobody_known(&empty).await.unwrap());
    assert!(!is_nobody_known(&external).await.unwrap());
    empty.add_account("ada", Role::Viewer, "");
    assert!(!is_nobody_known(&empty).await.unwrap());
}

#[tokio::test]
async fn a_login_that_failed_leaves_a_short_name_and_the_address() {
    let scene = Scene::of("");
    let credentials = Credentials { name: "n".repeat(1_000), password: "a sentence is a good one".into() };
    assert!(log_in(&scene, credentials, &client()).await.unwrap().is_none());
    let expected = ["n".repeat(64), "login-failed".into(), r#"{"address":"192.0.2.7"}"#.into()];
    assert_eq!(scene.trail(), [expected]);
}

#[tokio::test]
async fn somebody_without_a_password_does_not_log_in_by_one() {
    let scene = Scene::of("");
    scene.add_account("ada", Role::Admin, "https://id.example.org 42");
    for password in ["", "a sentence is a good one"] {
        let credentials = Credentials { name: "ada".into(), password: password.into() };
        assert!(log_in(&scene, credentials, &client()).await.unwrap().is_none());
    }
}
