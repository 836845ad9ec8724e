//! The API, as a client uses it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use testkit::{ACCOUNT_PASSWORD, ClientRequest, ClientResponse, DaemonProcess, Database};

mod paging;

/// Copies the token of one user's session to another user's.
const LEAK: &str = r#"UPDATE sessions SET "sessionToken" = (SELECT "sessionToken" FROM sessions WHERE id = 's1')
  WHERE id = 's2'"#;

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database<'static>,
    pub(crate) watch: DaemonProcess,
}

/// A client with an API token.
pub(crate) struct Program<'a> {
    pub(crate) address: &'a str,
    pub(crate) token: String,
}

/// A response of the API.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) answer: ClientResponse,
    pub(crate) body: Value,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same, with more configuration.
    fn with(more: &str) -> Self {
        Self::of("", more)
    }

    /// The same, with more configuration of the target and of other sections.
    fn of(target: &str, more: &str) -> Self {
        let (folder, database) = (tempfile::tempdir().unwrap(), testkit::healthy_database());
        database.psql(LEAK).unwrap();
        let url = database.url("postgres");
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n{target}[serve]\n\
             listen = \"127.0.0.1:0\"\n\
             [checks.slow-check-run]\nenabled = false\n{more}"
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        testkit::create_account(folder.path(), "ada", "admin");
        testkit::create_account(folder.path(), "vera", "viewer");
        let watch = testkit::DaemonProcess::start(folder.path());
        Self { folder, database, watch }
    }

    pub(crate) fn program(&self, account: &str, scopes: &str) -> Program<'_> {
        Program { address: &self.watch.address, token: token(self.folder.path(), account, scopes) }
    }
}

/// Creates a token.
pub(crate) fn token(folder: &Path, account: &str, scopes: &str) -> String {
    let arguments = ["tokens", "add", account, "--label", "bot", "--scope", scopes];
    let said = testkit::run_program_in(folder, &[], &arguments);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    said.stdout.trim().to_owned()
}

impl Program<'_> {
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            all.push(("content-type", "application/json"));
        }
        all.extend(headers);
        let text = body.map(Value::to_string).unwrap_or_default();
        let path = format!("/api/v1{path}");
        let request = ClientRequest { method, path: &path, headers: &all, body: text.as_bytes() };
        let answer = testkit::http::send_request(self.address, request);
        Answer { status: answer.status, body: serde_json::from_str(&answer.body).unwrap_or_default(), answer }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], Some(body))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.answer.header(name)
    }

    /// Asserts a problem document with this status and text.
    pub(crate) fn is_problem(&self, status: u16, part: &str) {
        let detail = self.body["detail"].as_str().unwrap_or_default();
        assert!(self.status == status && detail.contains(part), "{:?} {}", self.answer, self.body);
        assert_eq!(
            (self.header("content-type"), &self.body["status"]),
            ("application/problem+json", &json!(status))
        );
    }
}

#[test]
fn a_client_sees_a_leak_ends_it_and_restores_the_sessions() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,alerts,actions");
    testkit::wait_until("the first check run", || !bot.get("/targets/app").body["checked_at"].is_null());
    let listed = bot.get("/targets").body;
    assert_eq!((listed["items"][0]["name"].as_str(), &listed["next"]), (Some("app"), &Value::Null));
    let check = bot.get("/targets/app/checks/duplicate-tokens").body;
    assert_eq!((&check["state"], &check["result"]), (&json!("firing"), &json!("failing")), "{check}");
    assert_eq!(check["finding"]["evidence"].as_array().unwrap().len(), 2, "{check}");
    assert!(check["documentation"].as_str().unwrap().contains("## How to fix"), "{check}");
    let query = bot.get("/targets/app/checks/duplicate-tokens/query").body;
    assert!(scene.database.psql(query["sql"].as_str().unwrap()).unwrap().contains('|'), "{query}");
    let doctor = bot.get("/targets/app/doctor").body;
    assert!(
        doctor["items"].as_array().unwrap().iter().any(|found| found["id"] == "token-unique"),
        "{doctor}"
    );

    // An alert is acknowledged and commented, with the name of the user.
    let of = |what: &str| format!("/targets/app/checks/duplicate-tokens/{what}");
    assert_eq!(bot.post(&of("acknowledge"), &json!({ "note": "on it" })).status, 204);
    assert_eq!(bot.post(&of("comments"), &json!({ "note": "it is the cache" })).status, 204);
    let alert = bot.get("/alerts").body["items"][0].clone();
    assert_eq!((&alert["acknowledged_by"], &alert["note"]), (&json!("ada (bot)"), &json!("on it")));
    let said = bot.get("/events?check=duplicate-tokens&limit=1").body;
    assert_eq!(said["items"][0]["summary"], "ada (bot): it is the cache");

    // A plan is applied by its ID, and restored.
    let rows = || scene.database.psql("SELECT count(*) FROM sessions").unwrap();
    let before = rows();
    let plan = bot.post("/targets/app/plans", &json!({ "kind": "duplicates" }));
    assert_eq!((plan.status, &plan.body["rows"], rows()), (201, &json!(2), before.clone()), "{}", plan.body);
    apply_plan(&bot, &plan.body);
    assert_ne!(rows(), before);
    let before = rows();
    let plan = bot.post("/targets/app/plans", &json!({ "kind": "user", "user": "30" }));
    apply_plan(&bot, &plan.body);
    assert_ne!(rows(), before);
    let back = bot.post(&format!("/archive/{}/restore", plan.body["id"].as_str().unwrap()), &json!({}));
    assert_eq!(back.status, 201, "{}", back.body);
    apply_plan(&bot, &back.body);
    assert_eq!(rows(), before);
    let audit = bot.get("/audit").body;
    let by = |entry: &Value| entry["actor"] == "ada (bot)" && entry["action"] == "plan.applied";
    assert!(audit["items"].as_array().unwrap().iter().any(by), "{audit}");
    assert_eq!(scene.watch.stop(), Some(0));
}

/// Applies a plan, and waits for its end.
fn apply_plan(bot: &Program<'_>, plan: &Value) {
    let path = format!("/plans/{}", plan["id"].as_str().unwrap());
    let begun = bot.post(&format!("{path}/apply"), &json!({}));
    assert_eq!(begun.status, 202, "{}", begun.body);
    let outcome = || bot.get(&path).body["progress"]["outcome"].clone();
    testkit::wait_until("the plan is applied", || outcome().is_string());
    assert!(outcome().as_str().unwrap().contains(" processed."), "{}", outcome());
    bot.post(&format!("{path}/apply"), &json!({})).is_problem(409, "has already been applied");
}

#[test]
fn a_requested_run_that_cannot_start_soon_is_answered_at_once() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,alerts");
    testkit::wait_until("the first check run", || !bot.get("/targets/app").body["checked_at"].is_null());
    let run = bot.post("/runs", &json!({ "target": "app" }));
    let of = &run.body["items"][0];
    assert_eq!(
        (run.status, &of["target"], &of["finished"]),
        (202, &json!("app"), &json!(false)),
        "{}",
        run.body
    );
    assert_eq!((&of["state"], of["checked_at"].is_string()), (&json!("failing"), true));
    bot.post("/runs", &json!({ "target": "nowhere" })).is_problem(404, "“nowhere” not found");
    assert_eq!(scene.program("vera", "read").post("/runs", &json!({})).status, 403);
}

#[test]
fn a_token_grants_its_scope_while_it_and_its_account_are_valid() {
    let scene = Scene::new();
    let (all, reads) =
        (scene.program("ada", "read,alerts,actions,incidents,account,admin"), scene.program("ada", "read"));
    // A token from a time when its account had a higher role.
    testkit::create_account(scene.folder.path(), "vera", "admin");
    let more = scene.program("vera", "read,alerts,admin");
    testkit::create_account(scene.folder.path(), "vera", "viewer");
    let (more, nobody) = (more, Program { token: "swt_0".into(), ..scene.program("ada", "read") });
    assert_eq!(reads.get("/me").body["account"], "ada");
    let quiet = json!({ "minutes": 5, "note": "tests" });
    reads.post("/silences", &quiet).is_problem(403, "lacks the scope `alerts`");
    assert!(reads.post("/silences", &quiet).header("www-authenticate").contains("insufficient_scope"));
    // The role of the account is too low.
    more.post("/silences", &quiet).is_problem(403, "lacks the scope `alerts`");
    more.get("/accounts").is_problem(403, "lacks the scope `admin`");
    nobody.get("/me").is_problem(401, "a valid API token is required");
    assert!(nobody.get("/me").header("www-authenticate").starts_with("Bearer"));
    // A login cookie is not accepted as a token, nor a token as a cookie.
    let headers = [("authorization", &*format!("Bearer {}", all.token))];
    assert_eq!(testkit::http::get_with_headers(&scene.watch.address, "/alerts", &headers).status, 303);

    // A token can create another one with at most its own scope and lifetime.
    let made = all.post("/tokens", &json!({ "label": "child", "scopes": ["read", "account"], "days": 366 }));
    assert_eq!(made.status, 201, "{}", made.body);
    let child = Program { address: all.address, token: made.body["secret"].as_str().unwrap().to_owned() };
    assert!(made.body["expires_at"].as_str() <= all.get("/me").body["token"]["expires_at"].as_str());
    child
        .post("/tokens", &json!({ "label": "x", "scopes": ["admin"] }))
        .is_problem(403, "lacks the scope `admin` itself");
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(all.ask("DELETE", &format!("/tokens/{id}"), &[], None).status, 204);
    child.get("/me").is_problem(401, "a valid API token is required");

    // Deleting an account revokes its tokens.
    assert_eq!(more.get("/me").status, 200);
    assert_eq!(all.ask("DELETE", "/accounts/vera", &[], None).status, 204);
    assert_eq!(more.get("/me").status, 401);
    all.ask("DELETE", "/accounts/ada", &[], None).is_problem(409, "You cannot delete your own account");
    let secrets = [all.token.clone(), reads.token.clone(), child.token.clone(), ACCOUNT_PASSWORD.to_owned()];
    let seen = format!("{}{}", all.get("/tokens").body, all.get("/audit").body);
    assert_eq!(scene.watch.stop(), Some(0));
    let kept = std::fs::read(scene.folder.path().join("sessionwatch-state.db")).unwrap();
    for secret in secrets {
        assert!(!seen.contains(&secret) && memchr::memmem::find(&kept, secret.as_bytes()).is_none());
    }
}

#[test]
fn a_repeated_idempotency_key_acts_once_and_known_pages_are_not_sent_again() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,alerts,account");
    let key = [("idempotency-key", "one")];
    let quiet = json!({ "minutes": 5, "note": "tests" });
    let first = bot.ask("POST", "/silences", &key, Some(&quiet));
    let again = bot.ask("POST", "/silences", &key, Some(&quiet));
    assert_eq!((first.status, again.status, &first.body), (201, 201, &again.body));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(bot.get("/silences").body["items"].as_array().unwrap().len(), 1);
    let other = json!({ "minutes": 6, "note": "tests" });
    bot.ask("POST", "/silences", &key, Some(&other)).is_problem(422, "was used for a different request");
    // Another token has its own keys.
    let second = scene.program("ada", "alerts");
    assert_ne!(second.ask("POST", "/silences", &key, Some(&quiet)).body, first.body);
    let id = first.body["id"].as_i64().unwrap();
    let end = || bot.ask("DELETE", &format!("/silences/{id}"), &[("idempotency-key", "two")], None).status;
    assert_eq!((end(), end()), (204, 204));
    bot.ask("DELETE", &format!("/silences/{id}"), &[], None).is_problem(404, "has already ended");
    bot.ask("POST", "/silences", &[("idempotency-key", "a b")], Some(&quiet)).is_problem(400, "ASCII");
    // Secrets are not stored for a repeated response.
    let wish = json!({ "label": "x", "scopes": ["read"] });
    let make = || bot.ask("POST", "/tokens", &[("idempotency-key", "three")], Some(&wish));
    assert_eq!(make().status, 201);
    make().is_problem(409, "is not stored");
    assert_eq!(bot.get("/tokens").body["items"].as_array().unwrap().len(), 3);

    let tagged = bot.get("/config");
    let known = |tag: &str| bot.ask("GET", "/config", &[("if-none-match", tag)], None);
    let same = known(tagged.header("etag"));
    assert_eq!((same.status, same.body), (304, Value::Null));
    assert_eq!(known("\"0\"").body, tagged.body);
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn a_plan_over_the_safety_limit_needs_a_second_person_if_configured() {
    let scene = Scene::with("[actions]\nrequire_approval = true\n");
    testkit::create_account(scene.folder.path(), "rob", "responder");
    let (ada, rob) = (scene.program("ada", "read,actions"), scene.program("rob", "read,actions"));
    let far = ada.post("/targets/app/plans", &json!({ "kind": "all" })).body;
    let path = format!("/plans/{}", far["id"].as_str().unwrap());
    let apply = |who: &Program<'_>| who.post(&format!("{path}/apply"), &json!({ "confirm": "app" }));
    apply(&ada).is_problem(409, "a second person must approve the plan");
    assert_eq!(ada.post(&format!("{path}/approve"), &json!({})).status, 204);
    apply(&ada).is_problem(409, "a second person must approve the plan");
    assert_eq!(rob.post(&format!("{path}/approve"), &json!({})).status, 204);
    assert_eq!(ada.get(&path).body["approved_by"], "rob");
    apply(&rob).is_problem(409, "a second person must approve the plan");
    // The command line enforces the limit too.
    let id = far["id"].as_str().unwrap();
    let arguments = ["apply", id, "--confirm", "app"];
    let said = testkit::run_program_in(scene.folder.path(), &[("USER", "rob")], &arguments);
    assert!(said.exit_code == 2 && said.stderr.contains("a second person must approve"), "{}", said.stderr);
    assert_eq!(apply(&ada).status, 202);
    testkit::wait_until("it is applied", || ada.get(&path).body["state"] == "done");
    rob.post(&format!("{path}/approve"), &json!({})).is_problem(409, "has already been applied");
    // A plan within the limit needs no approval.
    let near = ada.post("/targets/app/plans", &json!({ "kind": "expired", "hours": 1 })).body;
    assert_eq!(near["needs_confirmation"], Value::Null, "{near}");
    let trail = ada.get("/audit").body.to_string();
    assert_eq!(trail.matches("plan.approved").count(), 2, "{trail}");
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn a_client_can_work_on_an_incident_too() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,incidents,actions");
    let opened = bot.post("/incidents", &json!({ "target": "app", "severity": "P1", "summary": "a leak" }));
    assert_eq!(opened.status, 201, "{}", opened.body);
    let base = format!("/incidents/{}", opened.body["id"].as_str().unwrap());
    bot.post("/incidents", &json!({ "target": "app", "severity": "P2", "summary": "x" }))
        .is_problem(409, "is still open");
    let next = bot.post(&format!("{base}/steps"), &json!({ "response": "check", "step": "confirm" })).body;
    assert_eq!(next["next"]["id"], "affected", "{next}");
    bot.post(&format!("{base}/steps"), &json!({ "response": "done", "step": "confirm" }))
        .is_problem(409, "Another user has already completed this step");
    let found = bot.get("/targets/app/users?find=uSER+17").body;
    assert_eq!(
        (&found["items"][0]["id"], &found["items"][0]["display"][0]),
        (&json!("17"), &json!("User 17")),
        "{found}"
    );
    let sealed = bot.ask("POST", &format!("{base}/evidence"), &[], None);
    assert!(
        sealed.status == 200 && sealed.header("content-disposition").contains(".tar.age"),
        "{:?}",
        sealed.answer
    );
    let plan = bot.post(&format!("{base}/contain"), &json!({ "scope": "users", "users": ["2", "3"] })).body;
    let consent = json!({ "incident": opened.body["id"] });
    let path = format!("/plans/{}", plan["id"].as_str().unwrap());
    assert_eq!(bot.post(&format!("{path}/apply"), &consent).status, 202);
    testkit::wait_until("it is contained", || bot.get(&base).body["state"] == "contained");
    // A restore during an incident revokes no session, and is not recorded as if it had.
    let contained = || bot.get(&base).body["timeline"].to_string().matches("\"contained\"").count();
    assert_eq!((&plan["rows"], contained()), (&json!(4), 1), "{plan}");
    let back = bot.post(&format!("/archive/{}/restore", plan["id"].as_str().unwrap()), &json!({})).body;
    let restore = format!("/plans/{}", back["id"].as_str().unwrap());
    // One token logs in both users again, so that must be confirmed.
    bot.post(&format!("{restore}/apply"), &consent).is_problem(409, "Type the target name (app) to confirm");
    let confirmed = json!({ "incident": opened.body["id"], "confirm": "app" });
    assert_eq!(bot.post(&format!("{restore}/apply"), &confirmed).status, 202);
    testkit::wait_until("it is restored", || bot.get(&restore).body["progress"]["outcome"].is_string());
    assert_eq!(contained(), 1);
    let again = bot.post("/targets/app/plans", &json!({ "kind": "user", "user": "2" })).body;
    let again = format!("/plans/{}", again["id"].as_str().unwrap());
    assert_eq!(bot.post(&format!("{again}/apply"), &consent).status, 202);
    testkit::wait_until("it is contained again", || contained() == 2);
    assert_eq!(
        bot.post(&format!("{base}/fields"), &json!({ "name": "root-cause", "text": "a cache" })).status,
        204
    );
    assert_eq!(bot.post(&format!("{base}/notes"), &json!({ "note": "notified the team" })).status, 204);
    bot.post(&format!("{base}/close"), &json!({})).is_problem(409, "cannot close");
    assert_eq!(bot.post(&format!("{base}/close"), &json!({ "reason": "a rehearsal" })).status, 204);
    let user = bot.get("/targets/app/users/2").body;
    assert!(user["sessions"].as_array().unwrap().is_empty(), "{user}");
    let history: Vec<&str> =
        user["history"].as_array().unwrap().iter().filter_map(|one| one["text"].as_str()).collect();
    for (said, at) in
        ["revoke user by ada (bot)", "archive restore by", "revoke users by", "firing of duplicate-tokens"]
            .iter()
            .zip(0..)
    {
        assert!(history[at].starts_with(said), "{user}");
    }
    assert_eq!(scene.watch.stop(), Some(0));
}

#[test]
fn schemathesis_finds_no_violation_of_the_openapi_document() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,alerts,actions,incidents,account,admin");
    testkit::wait_until("the first check run", || !bot.get("/targets/app").body["checked_at"].is_null());
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let said = Command::new(root.join("target/tools/schemathesis/bin/schemathesis"))
        .arg("--config-file")
        .arg(root.join("crates/sessionwatch/tests/schemathesis.toml"))
        .args(["run", &format!("http://{}/api/v1/openapi.json", bot.address)])
        .args(["--header", &format!("Authorization: Bearer {}", bot.token)])
        // Revoking the token in use would end the test.
        .args(["--exclude-path", "/api/v1/tokens/{id}"])
        .args(["--max-examples", "10", "--seed", "1", "--generation-deterministic", "--no-color"])
        .current_dir(scene.folder.path())
        .output()
        .expect("`cargo xtask setup` installs schemathesis");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.contains(" passed"), "{text}");
    assert_eq!(bot.get("/me").status, 200);
    assert_eq!(scene.watch.stop(), Some(0));
}
