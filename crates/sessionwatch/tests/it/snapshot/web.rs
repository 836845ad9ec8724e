//! API responses and visible text of pages, of one daemon under a set clock.

use std::collections::BTreeMap;
use testkit::ACCOUNT_PASSWORD;

use scraper::{ElementRef, Html, Node, Selector};
use serde_json::{Value, json};
use sessionwatch_core::duration::SECOND;

use super::{Snapshots, scene};
use crate::{
    api::Program,
    fastforward::{MINUTE, Watch, monday},
};

const CONFIGURATION: &str = r#"
[checks.slow-check-run]
enabled = false
[alerts.high]
failure_threshold = 1
[serve]
listen = "127.0.0.1:0"
[[channel]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:9/hook"
[[route]]
channels = ["hook"]
checks = ["active-sessions"]
[[logs]]
name = "lines"
kind = "http"
secret = "a-token-for-lines"
"#;

const LOG_LINES: &str = "[AUTH-ADAPTER] Session created { sessionToken: 'token-c4...', userId: 2 }\n\
    [AUTH-ADAPTER] Duplicate session token detected { sessionToken: 'token-c4...', existingUserId: 2, newUserId: 9 }\n";

/// Values for the parameters of API paths.
struct Known {
    incident: String,
    plan: String,
}

impl Known {
    /// Fills in the parameters of a path.
    fn fill(&self, path: &str) -> String {
        let id = match path {
            _ if path.starts_with("/incidents/") => &self.incident,
            _ => &self.plan,
        };
        let filled = path.replace("{target}", "app").replace("{check}", "duplicate-tokens");
        let filled = filled.replace("{user}", "2").replace("{id}", id).replace("{plan}", &self.plan);
        assert!(!filled.contains('{'), "{path} has a part that is not known here");
        filled
    }
}

/// Snapshot name of a path.
fn named(method: &str, path: &str) -> String {
    let words: Vec<&str> =
        path.split(['/', '?', '=', '&', '.', ' ']).filter(|word| !word.is_empty()).collect();
    let words = words.join("-").replace(['{', '}', '(', ')'], "");
    if words.is_empty() { method.to_owned() } else { format!("{method}-{words}") }
}

/// The API, and the snapshots of its responses.
struct Answers<'a> {
    program: Program<'a>,
    snapshots: Snapshots,
}

impl Answers<'_> {
    /// Sends a request, compares the response, and returns its body.
    fn ask(&mut self, method: &str, name: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.program.ask(method, path, &[], body);
        let text = format!("{method} {name}\n{}\n\n{:#}\n", answer.status, answer.body);
        let name = named(&method.to_lowercase(), name);
        self.snapshots.take(&name, &text);
        answer.body
    }

    fn post(&mut self, name: &str, known: &Known, body: &Value) -> Value {
        let path = known.fill(name);
        self.ask("POST", name, &path, Some(body))
    }

    /// Requests every GET path of the OpenAPI document.
    fn read_all(&mut self, known: &Known) {
        let document = self.program.get("/openapi.json").body;
        for (path, methods) in document["paths"].as_object().unwrap() {
            let path = path.strip_prefix("/api/v1").unwrap();
            if methods.get("get").is_some() {
                let filled = match known.fill(path) {
                    users if users.ends_with("/users") => format!("{users}?find=user1"),
                    sessions if sessions.ends_with("/sessions") => format!("{sessions}?limit=3"),
                    other => other,
                };
                self.ask("GET", path, &filled, None);
            }
        }
    }
}

/// Changes things through the API, as users do. Returns the IDs.
fn work(answers: &mut Answers<'_>, watch: &Watch) -> Known {
    let mut known = Known { incident: String::new(), plan: String::new() };
    answers.post("/targets/{target}/checks/{check}/acknowledge", &known, &json!({ "note": "on it" }));
    answers.post("/targets/{target}/checks/{check}/comments", &known, &json!({ "note": "the cache" }));
    answers.post(
        "/silences",
        &known,
        &json!({ "check": "expired-backlog", "minutes": 90, "note": "cleaning" }),
    );
    answers.post("/markers", &known, &json!({ "kind": "deploy", "text": "2.14.0", "target": "app" }));
    answers.post("/targets/{target}/attestations", &known, &json!({ "passes": true, "note": "support" }));
    let opened = answers.post(
        "/incidents",
        &known,
        &json!({ "target": "app", "severity": "P1", "summary": "a leak" }),
    );
    opened["id"].as_str().unwrap().clone_into(&mut known.incident);
    answers.post("/incidents/{id}/steps", &known, &json!({ "response": "check", "step": "confirm" }));
    answers.post("/incidents/{id}/fields", &known, &json!({ "name": "root-cause", "text": "a cache" }));
    answers.post("/incidents/{id}/notes", &known, &json!({ "note": "told the team" }));
    answers.post("/incidents/{id}/close", &known, &json!({}));
    let plan = answers.post("/targets/{target}/plans", &known, &json!({ "kind": "user", "user": "4" }));
    plan["id"].as_str().unwrap().clone_into(&mut known.plan);
    answers.post("/plans/{id}/apply", &known, &json!({}));
    let path = format!("/plans/{}", known.plan);
    testkit::wait_until("the plan is applied", || {
        answers.program.get(&path).body["progress"]["outcome"].is_string()
    });
    // Lists of simultaneous events have no defined order.
    watch.set(monday() + 3 * MINUTE + SECOND);
    answers.post("/archive/{plan}/restore", &known, &json!({}));
    answers.post("/channels/hook/test", &known, &json!({}));
    let faulty = json!({ "kind": "nothing" });
    answers.ask("POST", "/targets/{target}/plans (faulty)", "/targets/app/plans", Some(&faulty));
    answers.post(
        "/accounts",
        &known,
        &json!({ "name": "vera", "role": "viewer", "password": ACCOUNT_PASSWORD }),
    );
    let headers = [("authorization", "Bearer a-token-for-lines")];
    assert_eq!(
        testkit::http::post(&watch.address, "/ingest/logs", &headers, LOG_LINES.as_bytes()).status,
        200
    );
    testkit::wait_until("the lines are evaluated", || {
        let alerts = answers.program.get("/alerts").body;
        let incident = answers.program.get(&format!("/incidents/{}", known.incident)).body;
        let is_leak = |alert: &Value| alert["check"] == "log-duplicate-token" && alert["state"] == "firing";
        alerts["items"].as_array().unwrap().iter().any(is_leak)
            && incident["timeline"].to_string().contains("duplicate-token token")
    });
    known
}

/// Pages, and their snapshot names.
fn pages(known: &Known) -> Vec<(&'static str, String)> {
    let mut pages: Vec<(&str, String)> = [
        "/",
        "/login",
        "/alerts",
        "/logs",
        "/incidents",
        "/audit",
        "/settings",
        "/cleanup",
        "/cleanup?target=app",
        "/report",
        "/targets/app/report",
        "/targets/app",
        "/targets/app/checks/duplicate-tokens",
        "/targets/app/checks/orphaned-sessions",
        "/targets/app/checks/duplicate-tokens/query",
        "/targets/app/doctor",
        "/targets/app/sessions",
        "/targets/app/sessions?user=2",
        "/targets/app/sessions.csv",
        "/targets/app/sessions.json",
        "/targets/app/users/2",
        "/targets/none",
        "/nothing",
        "/metrics",
        "/healthz",
        "/readyz",
    ]
    .map(|path| (path, path.to_owned()))
    .to_vec();
    pages.push(("/incidents/{id}", format!("/incidents/{}", known.incident)));
    pages.push(("/incidents/{id}/report", format!("/incidents/{}/report", known.incident)));
    pages.push(("/plans/{id}", format!("/plans/{}", known.plan)));
    pages
}

/// Block elements, which begin a new line.
const BLOCKS: [&str; 26] = [
    "p", "div", "section", "article", "header", "footer", "main", "nav", "form", "fieldset", "legend",
    "table", "tr", "ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "pre", "details", "summary",
];

/// Visible text of a page.
fn visible(element: ElementRef<'_>, text: &mut String) {
    for child in element.children() {
        match child.value() {
            Node::Text(part) => text
                .push_str(&part.split_whitespace().fold(String::from(" "), |line, word| line + word + " ")),
            Node::Element(inner) => {
                let name = inner.name();
                if ["head", "script", "style"].contains(&name) {
                    continue;
                }
                let block = BLOCKS.contains(&name);
                text.push_str(if block { "\n" } else { " " });
                visible(ElementRef::wrap(child).unwrap(), text);
                match name {
                    "td" | "th" => text.push_str(" | "),
                    "br" => text.push('\n'),
                    _ if block => text.push('\n'),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// Links of a page, and its forms with their fields.
fn leads(page: &Html) -> String {
    let all = |selector: &str| Selector::parse(selector).unwrap();
    let mut found = BTreeMap::new();
    for link in page.select(&all("a[href]")) {
        found.insert(format!("GET {}", link.attr("href").unwrap_or_default()), ());
    }
    for form in page.select(&all("form")) {
        let (fields, mut names) = (all("input[name], select[name], textarea[name], button[name]"), vec![]);
        for field in form.select(&fields) {
            let name = field.attr("name").unwrap_or_default();
            let value = field.attr("value").filter(|_| !["form", "csrf"].contains(&name));
            names.push(value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}")));
        }
        let method = form.attr("method").unwrap_or("get").to_uppercase();
        let action = form.attr("action").unwrap_or_default();
        found.insert(format!("{method} {action} ({})", names.join(", ")), ());
    }
    found.into_keys().collect::<Vec<_>>().join("\n")
}

/// Visible text and links of a page.
fn read(page: &str) -> String {
    if !page.contains("<!DOCTYPE html>") {
        return page.to_owned();
    }
    let page = Html::parse_document(page);
    let mut text = String::new();
    visible(page.root_element(), &mut text);
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let text: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    let title = page.select(&Selector::parse("title").unwrap()).next();
    let title = title.map(|title| title.text().collect::<String>()).unwrap_or_default();
    format!("title: {title}\n\n{}\n\nleads to:\n{}\n", text.join("\n"), leads(&page))
}

#[test]
fn pages_and_api_responses_match_their_snapshots() {
    let (database, folder) = (scene::postgresql(), tempfile::tempdir().unwrap());
    let url = database.url("postgres");
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\ninterval = \"1m\"\n{CONFIGURATION}"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), &text).unwrap();
    testkit::create_account(folder.path(), "ada", "admin");
    let scopes = "read,alerts,actions,incidents,account,admin";
    let token = crate::api::token(folder.path(), "ada", scopes);
    let mut watch = Watch::start(folder.path(), &text, monday());
    for minute in 1..4 {
        watch.to(monday() + minute * MINUTE);
    }
    let snapshots = |family: &str| {
        let mut snapshots = Snapshots::new(family);
        snapshots.replace(&format!(r"\b{}\b", database.name()), "[database]");
        snapshots
    };
    let program = Program { address: &watch.address, token };
    let mut answers = Answers { program, snapshots: snapshots("api") };
    let known = work(&mut answers, &watch);
    answers.read_all(&known);
    let login = testkit::DashboardLogin::start(&watch.address, "ada");
    let mut pages_kept = snapshots("pages");
    pages_kept.replace(r"\bin \d{3,} days", "in [duration]");
    pages_kept.replace(r"(?m)^(sessionwatch_\w*(?:seconds|bytes|info)\w*(?:\{[^}]*\})?) .*$", "$1 [number]");
    for (name, path) in pages(&known) {
        let page = login.get(&watch.address, &path);
        let name_of = if name == "/" { "get-overview".into() } else { named("get", name) };
        pages_kept.take(&name_of, &format!("GET {name}\n{}\n\n{}", page.status, read(&page.body)));
    }
    answers.snapshots.finish();
    pages_kept.finish();
    assert!(watch.stop());
}
