//! Secrets are planted everywhere, every feature is used, and all output is searched for them: commands, pages, API
//! responses, metrics, messages to channels, the store, the archive, a backup, and evidence.

use std::{path::Path, process::Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use testkit::{
    ACCOUNT_PASSWORD, DaemonProcess, HttpSink, MailOptions, MailSink, ProgramOutput, run_program_in,
};

use self::{
    commands::{assert_all_used, changes, commands},
    outcome::Outcome,
    targets::{Planted, in_postgres, in_sqlite},
};

mod commands;
mod outcome;
mod targets;

const WATCH_PASSWORD: &str = "watchPw-7f3kq";
const ACT_PASSWORD: &str = "actPw-9x2mz";
const HOOK_PATH: &str = "hookPath-4w8rt";
const HOOK_SECRET: &str = "hookKey-2b6yu";
const CHAT_PATH: &str = "chatPath-5n1qp";
const BOT_TOKEN: &str = "12345:botToken-8d3vf";
const DRAIN_SECRET: &str = "drainKey-6g5jk-long-enough";
const SHIPPER_SECRET: &str = "shipKey-3h7ls-long-enough";
const CLIENT_SECRET: &str = "clientKey-1c9wb";
/// Secrets that may be sent to their own channels only.
const PAGER_KEY: &str = "pagerKey-8k4vt";
const TOPIC_TOKEN: &str = "topicToken-2j6hd";
/// A password that a user types into a note.
const TYPED: &str = "typed-1q@pw/8z";
/// All configured or typed secrets, which must never be shown.
const CONFIGURED: [&str; 11] = [
    TYPED,
    WATCH_PASSWORD,
    ACT_PASSWORD,
    HOOK_PATH,
    HOOK_SECRET,
    CHAT_PATH,
    BOT_TOKEN,
    DRAIN_SECRET,
    SHIPPER_SECRET,
    CLIENT_SECRET,
    ACCOUNT_PASSWORD,
];
/// Secrets in log lines, beside the tokens.
const LOGGED: [&str; 6] = [
    "correct horse battery staple",
    "ss@logged-pw",
    "hh11jj22kk33ll44mm55nn66",
    "1f2e3d4c5b6a7988",
    "918273645509182736455091827364",
    "qwertyuiopasdfghjklzxcvbnmqwerty",
];

/// Tables of the SQLite file, with a row ID that its profile does not know.
const MAPPING: &str = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\n\
    token = \"sessionToken\"\nuser = \"userId\"\n\
    expires = \"expires\"\ndecoder = \"epoch-ms\"\nusers = \"users\"\n";

/// Channels of every kind; two of them are unreachable.
fn channels(sink: &HttpSink, mails: &MailSink) -> String {
    let (sink, mails) = (sink.url(), format!("smtp://localhost:{}", mails.port()));
    let channel = |name: &str, kind: &str, url: &str, more: &str| {
        format!("[[channel]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{more}\n")
    };
    let bot = format!("secret = \"{BOT_TOKEN}\"\nchat = \"7\"");
    [
        channel("hook", "webhook", &format!("{sink}/{HOOK_PATH}"), &format!("secret = \"{HOOK_SECRET}\"")),
        channel("chat", "slack", &format!("http://127.0.0.1:1/services/{CHAT_PATH}"), ""),
        channel("chat-too", "slack", &format!("{sink}/services/{CHAT_PATH}"), ""),
        channel("bot", "telegram", "http://127.0.0.1:1", &bot),
        channel("bot-too", "telegram", &sink, &bot),
        channel("guild", "discord", &format!("{sink}/api/{CHAT_PATH}"), ""),
        channel("flow", "teams", &format!("{sink}/workflows/{CHAT_PATH}"), ""),
        channel("pager", "pagerduty", &format!("{sink}/v2/enqueue"), &format!("secret = \"{PAGER_KEY}\"")),
        channel("groups", "alertmanager", &format!("{sink}/prefix/"), ""),
        channel("topic", "ntfy", &format!("{sink}/alerts"), &format!("secret = \"{TOPIC_TOKEN}\"")),
        channel("mail", "email", &mails, "from = \"watch@example.org\"\nto = [\"ops@example.org\"]"),
    ]
    .concat()
}

fn configure(folder: &Path, planted: &Planted, channels: &str) {
    let act =
        planted.write_url.as_ref().map(|url| format!("write_url = \"{url}\"\n")).unwrap_or(MAPPING.into());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n{act}[checks.slow-check-run]\nenabled = false\n\
         [serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{}\"\npublic_url = \"http://127.0.0.1:1\"\n\
         [oidc]\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"watch\"\nclient_secret = \"{CLIENT_SECRET}\"\n\
         admins = [\"ops\"]\n\
         [[logs]]\nname = \"drain\"\nkind = \"vercel\"\nsecret = \"{DRAIN_SECRET}\"\n\
         [[logs]]\nname = \"ship\"\nkind = \"http\"\nsecret = \"{SHIPPER_SECRET}\"\n\
         [[log_check]]\nname = \"refused\"\nregex = \"refused (?P<user>u[0-9]+): (?P<reason>.*)\"\n\
         severity = \"high\"\n{channels}",
        planted.url,
        planted.store.as_ref().map_or("state.db".to_owned(), |store| store.url("postgres")),
    );
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

/// Log lines with a token and other secrets, in every format.
fn lines(tokens: &[String]) -> String {
    let tag = "[AUTH-ADAPTER] Duplicate session token detected";
    let mut lines: Vec<String> =
        LOGGED.iter().map(|secret| format!("{tag} {{ got '{secret}' existingUserId: 2 }}")).collect();
    for token in tokens.iter().take(12) {
        lines.extend([
            format!("{tag} {{ sessionToken: '{token}', existingUserId: 2, newUserId: 3 }}"),
            format!("{tag} got {token} back"),
            format!("event=session_destroyed reason={token} user_id=7"),
            format!("cookie=authjs.session-token%3D{token}%3B {tag}"),
        ]);
    }
    lines.extend([
        format!("{tag} {{ \"userPassword\": \"{}\" }}", LOGGED[0]),
        format!("{tag} postgres://app:p@{}@db/x", LOGGED[1]),
        format!("event=session_destroyed reason={} user_id=7", LOGGED[2]),
        format!("refused u7: password=\"{}\" at {}", LOGGED[0], LOGGED[3]),
    ]);
    lines.join("\n")
}

/// Read-only pages and API paths, as the documentation lists them.
fn routes() -> Vec<String> {
    let documentation = include_str!("../../../../docs/security.md");
    let listed = documentation.lines().filter_map(|line| line.strip_prefix("| `GET ")?.split('`').next());
    // Event streams have no end.
    listed.filter(|path| *path != "/events").map(str::to_owned).collect()
}

/// Reads everything that the daemon serves.
fn visit(watch: &DaemonProcess, token: &str, outcome: &mut Outcome) -> String {
    let cookie = testkit::DashboardLogin::start(&watch.address, "ada").cookie;
    let bearer = format!("Bearer {token}");
    let get = |path: &str| {
        let headers = [("cookie", cookie.as_str()), ("authorization", bearer.as_str())];
        let one = if path.starts_with("/api/") { &headers[1..] } else { &headers[..1] };
        testkit::http::get_with_headers(&watch.address, path, one)
    };
    let first = |path: &str| {
        let document = get(path).parse_json();
        document["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{path}: {document}")).to_owned()
    };
    let (plan, incident) = (first("/api/v1/plans"), first("/api/v1/incidents"));
    // Files have a hash of their contents in their names.
    let home = get("/").body;
    let stylesheet = home.split("/assets/").find(|rest| rest.starts_with("app-") && rest.contains(".css\""));
    let stylesheet = stylesheet.and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    for route in routes() {
        let id = if route.contains("incidents") { &incident } else { &plan };
        let path = route
            .replace("{target}", "app")
            .replace("{check}", "duplicate-tokens")
            .replace("{user}", "2")
            .replace("{file}", &stylesheet)
            .replace("{token}", "0000")
            .replace("{id}", id);
        let path = if path.ends_with("/users") { format!("{path}?find=User") } else { path };
        let (status, answer) = get(&path).into_status_and_text();
        let may_fail = path.starts_with("/oidc") || path.starts_with("/setup");
        assert!(status < 400 || may_fail, "{path}: {answer}");
        outcome.add(path, answer);
    }
    for path in ["/metrics", "/healthz", "/readyz", "/nowhere", "/targets/nowhere", "/api/v1/targets/nowhere"]
    {
        outcome.add(path, get(path).headers_and_body());
    }
    cookie.split_once('=').unwrap().1.to_owned()
}

/// A daemon with a configuration full of secrets, and its output so far.
struct Scene<'a> {
    planted: &'a Planted,
    folder: tempfile::TempDir,
    sink: HttpSink,
    mails: MailSink,
    outcome: Outcome,
    /// Messages that channels received.
    messages: Outcome,
    used: Vec<Vec<String>>,
}

impl<'a> Scene<'a> {
    fn new(planted: &'a Planted) -> Self {
        let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
        let mails = MailSink::start(MailOptions::default()).unwrap();
        configure(folder.path(), planted, &channels(&sink, &mails));
        std::fs::write(folder.path().join("app.log"), lines(&planted.tokens)).unwrap();
        testkit::create_account(folder.path(), "ada", "admin");
        Self {
            planted,
            folder,
            sink,
            mails,
            outcome: Outcome::default(),
            messages: Outcome::default(),
            used: vec![],
        }
    }

    fn run(&mut self, arguments: &[&str]) -> ProgramOutput {
        let said = run_program_in(self.folder.path(), &[("USER", "ada")], arguments);
        self.outcome.add(format!("{arguments:?}"), format!("{}{}", said.stdout, said.stderr));
        self.used.push(arguments.iter().map(|word| (*word).to_owned()).collect());
        said
    }

    /// Starts the daemon, and sends log lines to it.
    fn start(&mut self) -> DaemonProcess {
        let errors = std::fs::File::create(self.folder.path().join("errors.txt")).unwrap();
        let mut serve = testkit::program_command(&["--verbose", "serve"]);
        let watch = testkit::DaemonProcess::start_with_command(
            serve.current_dir(self.folder.path()).stderr(Stdio::from(errors)),
        );
        let bearer = format!("Bearer {SHIPPER_SECRET}");
        let headers = [("authorization", bearer.as_str())];
        let text = lines(&self.planted.tokens);
        let sent = testkit::http::post(&watch.address, "/ingest/logs/ship", &headers, text.as_bytes());
        assert_eq!(sent.status, 200, "{sent:?}");
        self.outcome.add("ingest", sent.headers_and_body());
        let refused = testkit::http::post(&watch.address, "/ingest/logs/ship", &[], b"x");
        self.outcome.add("refused ingest", refused.headers_and_body());
        let is_about = |body: &str, check: &str| {
            serde_json::from_str::<Value>(body).is_ok_and(|message| message["check"] == check)
        };
        let about =
            |check: &str| self.sink.received_requests().iter().any(|message| is_about(&message.body, check));
        testkit::wait_until("leaks are notified", || {
            about("duplicate-tokens") && about("log-duplicate-token")
        });
        let sent_to =
            |path: &str| self.sink.received_requests().iter().any(|message| message.path.contains(path));
        for path in ["/services/", "/bot", "/api/chat", "/workflows/", "/v2/enqueue", "/prefix/", "/alerts"] {
            testkit::wait_until(path, || sent_to(path));
        }
        assert!(!self.mails.wait_for_mails(1).is_empty());
        watch
    }

    /// Revokes sessions, some selected by full tokens.
    fn end_sessions(&mut self) {
        let opened = self.run(&["incident", "open", "app", "--severity", "P1", "--summary", "a drill"]);
        assert_eq!(opened.exit_code, 0, "{}", opened.stderr);
        assert_eq!(self.run(&["incident", "evidence", "app", "--output", "evidence.age"]).exit_code, 0);
        for ending in [
            &["cleanup", "duplicates", "app"][..],
            &["revoke", "session", "s3", "app"],
            &["revoke", "user", "7", "app"],
        ] {
            let plan = self.run(&[ending, &["--format", "json"]].concat());
            let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
            let id = plan["plan"]["id"].as_str().unwrap();
            self.run(ending);
            let applied = self.run(&["apply", id, "--confirm", "app"]);
            assert_eq!(applied.exit_code, 0, "{ending:?}: {}", applied.stderr);
            self.run(&["archive", "show", id]);
            self.run(&["archive", "restore", id, "app"]);
        }
        // Full tokens in place of prefixes.
        for token in self.planted.tokens.iter().take(3).chain([&"ZQ42XV".to_owned()]) {
            let refused =
                run_program_in(self.folder.path(), &[("USER", "ada")], &["revoke", "session", token, "app"]);
            assert_eq!(refused.exit_code, 2, "{}", refused.stderr);
            self.outcome.add("revoke session TOKEN", format!("{}{}", refused.stdout, refused.stderr));
        }
    }

    /// Sends API requests that contain secrets.
    fn ask(&mut self, watch: &DaemonProcess, token: &str) {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let note = json!({ "note": format!("see postgres://ada:{TYPED}@db/app") }).to_string();
        let comments = "/api/v1/targets/app/checks/duplicate-tokens/comments";
        let commented = testkit::http::post(&watch.address, comments, &headers, note.as_bytes());
        assert_eq!(commented.status, 204, "{commented:?}");
        let plan = json!({ "kind": "session", "session": "ZQ42XV" }).to_string();
        let planned =
            testkit::http::post(&watch.address, "/api/v1/targets/app/plans", &headers, plan.as_bytes());
        self.outcome.add("API plan", planned.headers_and_body());
    }

    /// Adds the messages of channels and every file. Returns the output, and the identity that opens archives.
    fn finish(mut self) -> (Outcome, Outcome, String) {
        for message in self.sink.stop() {
            self.messages.add(
                format!("a message to {}", message.path),
                format!("{:?} {}", message.headers, message.body),
            );
        }
        for mail in self.mails.received_mails() {
            self.messages.add("a mail", mail.data);
        }
        add_store(self.planted, &mut self.outcome);
        let mut identity = String::new();
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = file.unwrap().path();
            let (name, bytes) =
                (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path));
            if name.ends_with(".key") {
                let text = String::from_utf8(bytes.unwrap()).unwrap();
                identity = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned();
            } else if !["sessionwatch.toml", "app.log"].contains(&name.as_str()) {
                self.outcome.add(name, bytes.unwrap());
            }
        }
        (self.outcome, self.messages, identity)
    }
}

/// Adds every row of a store on a server, as text.
fn add_store(planted: &Planted, outcome: &mut Outcome) {
    let Some(store) = &planted.store else { return };
    let tables = "SELECT format('SELECT t::text FROM sessionwatch.%I AS t', tablename) FROM pg_tables \
        WHERE schemaname = 'sessionwatch'";
    let queries = store.psql(tables).unwrap();
    assert!(queries.lines().count() > 20, "{queries}");
    for query in queries.lines() {
        outcome.add(query, store.psql(query).unwrap());
    }
}

/// The output of a daemon, and the secrets that it must not contain.
struct Used {
    outcome: Outcome,
    /// Messages that channels received.
    messages: Outcome,
    /// Secrets that were generated on the way.
    made: Vec<String>,
}

/// Uses every feature.
fn use_everything(planted: &Planted) -> Used {
    let mut scene = Scene::new(planted);
    let scopes = "read,alerts,actions,account,admin";
    let token = ["tokens", "add", "ada", "--label", "bot", "--scope", scopes];
    let token = run_program_in(scene.folder.path(), &[], &token).stdout.trim().to_owned();
    let watch = scene.start();
    scene.end_sessions();
    for command in commands() {
        scene.run(&command);
    }
    let line =
        format!("[AUTH-ADAPTER] Session created {{ sessionToken: '{}', userId: 5 }}", planted.tokens[0]);
    scene.run(&["logs", "explain", &line]);
    assert_eq!(scene.run(&["backup", "backup.db"]).exit_code, 0);
    scene.ask(&watch, &token);
    let cookie = visit(&watch, &token, &mut scene.outcome);
    for suffix in ["", "-wal", "-shm"].into_iter().filter(|_| planted.store.is_none()) {
        let name = format!("state.db{suffix}");
        let bytes = std::fs::read(scene.folder.path().join(&name)).unwrap();
        scene.outcome.add(format!("{name} while it is used"), bytes);
    }
    for change in changes() {
        let words: Vec<&str> = change.iter().map(String::as_str).collect();
        scene.run(&words);
    }
    assert_all_used(&scene.used);
    assert_eq!(watch.stop(), Some(0));
    let (outcome, messages, identity) = scene.finish();
    Used { outcome, messages, made: vec![token, cookie, identity] }
}

fn search(planted: &Planted) {
    let Used { outcome, messages, made } = use_everything(planted);
    let mut secrets = made;
    secrets.extend([&CONFIGURED[..], &LOGGED].concat().into_iter().map(str::to_owned));
    for token in &planted.tokens {
        // Of a long token 8 characters may be shown, of a short one a third.
        let shown = (token.len() / 3).min(8);
        secrets.push(token[..shown + 1].to_owned() + &token[shown + 1..(shown + 5).min(token.len())]);
        secrets.push(token[shown..].to_owned());
    }
    let secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= 4).collect();
    let of_channels = [PAGER_KEY, TOPIC_TOKEN].map(str::to_owned);
    let leaks = [outcome.leaks(&[&secrets[..], &of_channels].concat()), messages.leaks(&secrets)].concat();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks[..leaks.len().min(40)].join("\n"));
    // The search finds secrets where they belong.
    let mut shown = Outcome::default();
    shown.add("itself", format!("x{}y", STANDARD.encode(format!("..{CLIENT_SECRET}.."))));
    assert!(!shown.leaks(&secrets).is_empty());
}

#[test]
fn no_planted_secret_leaks_from_a_postgres_target() {
    search(&in_postgres());
}

#[test]
fn no_planted_secret_leaks_from_a_sqlite_target() {
    search(&in_sqlite());
}
