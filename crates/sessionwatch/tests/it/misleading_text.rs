//! Names with bidirectional controls or invisible characters are shown with those replaced, everywhere.

use std::path::Path;

use serde_json::Value;
use testkit::{DaemonProcess, Database, HttpSink, run_program_in};

/// Commands that users run in a terminal; `ROW` and `USER` stand for one of each.
const COMMANDS: [&[&str]; 12] = [
    &["check", "app"],
    &["check", "app", "--format", "markdown"],
    &["check", "app", "--format", "csv"],
    &["sessions", "list", "app"],
    &["sessions", "list", "app", "--format", "csv"],
    &["sessions", "list", "app", "--format", "markdown"],
    &["sessions", "top", "app"],
    &["sessions", "show", "ROW", "app"],
    &["revoke", "user", "USER", "app"],
    &["cleanup", "orphaned", "app"],
    &["cleanup", "duplicates", "app"],
    &["doctor", "app"],
];

/// Pages that users see in a browser.
const PAGES: [&str; 15] = [
    "/",
    "/alerts",
    "/logs",
    "/incidents",
    "/audit",
    "/cleanup?target=app",
    "/targets/app/report",
    "/targets/app",
    "/targets/app/sessions",
    "/targets/app/sessions.csv",
    "/targets/app/checks/duplicate-tokens",
    "/targets/app/checks/orphaned-sessions",
    "/targets/app/doctor",
    "/targets/app/users/USER",
    "/targets/app/sessions?user=USER",
];

/// Misleading characters: controls, bidirectional controls, and invisible ones.
const MISLEADING: [char; 31] = [
    '\u{1b}',
    '\u{7f}',
    '\u{9b}',
    '\u{ad}',
    '\u{61c}',
    '\u{180e}',
    '\u{200b}',
    '\u{200c}',
    '\u{200d}',
    '\u{200e}',
    '\u{200f}',
    '\u{2028}',
    '\u{2029}',
    '\u{202a}',
    '\u{202b}',
    '\u{202c}',
    '\u{202d}',
    '\u{202e}',
    '\u{2060}',
    '\u{2061}',
    '\u{2066}',
    '\u{2067}',
    '\u{2068}',
    '\u{2069}',
    '\u{206a}',
    '\u{3164}',
    '\u{feff}',
    '\u{fff9}',
    '\u{ffa0}',
    '\u{1d173}',
    '\u{e0041}',
];

/// Returns the first such character with its surroundings.
fn misleading(text: &str) -> Option<String> {
    let at = text.find(MISLEADING)?;
    let from = text[..at].char_indices().rev().nth(60).map_or(0, |(from, _)| from);
    Some(text[from..].chars().take(120).collect::<String>().escape_unicode().to_string())
}

/// A page without the values of form fields, which are sent back unchanged.
fn read_by_people(page: &str) -> String {
    let mut parts = page.split(" value=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}

/// Each of the characters, after an `x`.
fn letters() -> String {
    MISLEADING.iter().flat_map(|letter| ['x', *letter]).collect()
}

/// Three users with one token, and 60 expired orphaned sessions, all with misleading names.
fn planted() -> Database<'static> {
    let (database, letters) = (testkit::empty_database(), letters());
    let name = format!("ad{letters}min");
    database
        .psql(&format!(
            "CREATE TABLE users (id text PRIMARY KEY, name text, email text);
             CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL, \"userId\" text NOT NULL, \
               expires timestamptz NOT NULL);
             INSERT INTO users SELECT 'u{letters}' || n, '{name}' || n, '{name}@example.org' \
               FROM generate_series(1, 3) AS n;
             INSERT INTO sessions SELECT 's{letters}' || n, 'shared-token-of-a-usual-length', 'u{letters}' || n, \
               now() + interval '5 days' FROM generate_series(1, 3) AS n;
             INSERT INTO sessions SELECT 'o{letters}' || n, 'token-of-a-usual-length-' || n, 'gone{letters}', \
               now() - interval '5 days' FROM generate_series(1, 60) AS n"
        ))
        .unwrap();
    database
}

fn commands_show_none(folder: &Path) {
    let (user, row) = (format!("u{}1", letters()), format!("s{}1", letters()));
    for command in COMMANDS {
        let named = |part: &&'static str| match *part {
            "USER" => user.clone(),
            "ROW" => row.clone(),
            part => part.to_owned(),
        };
        let arguments: Vec<String> = command.iter().map(named).collect();
        let said = run_program_in(folder, &[], &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            ["check", "doctor"].contains(&command[0]) || said.stdout.contains('\u{fffd}'),
            "{command:?} shows names: {} {}",
            said.stdout,
            said.stderr
        );
        assert_eq!(misleading(&(said.stdout + &said.stderr)), None, "{command:?}");
    }
}

fn pages_show_none(watch: &DaemonProcess) {
    let login = testkit::DashboardLogin::start(&watch.address, "ada");
    let user: String = format!("u{}1", letters()).bytes().map(|byte| format!("%{byte:02X}")).collect();
    for path in PAGES {
        let path = path.replace("USER", &user);
        let (status, page) = login.get(&watch.address, &path).into_status_and_text();
        assert_eq!(status, 200, "{path}: {page}");
        assert_eq!(misleading(&read_by_people(&page)), None, "{path}");
        assert!(!path.contains("/sessions") || page.contains('\u{fffd}'), "{path} shows names: {page}");
    }
}

#[test]
fn no_page_line_table_or_alert_shows_misleading_characters() {
    let (database, folder, sink) = (planted(), tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
    let url = database.url("postgres");
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         [[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"{}\"\n",
        sink.url()
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    commands_show_none(folder.path());
    testkit::create_account(folder.path(), "ada", "admin");
    let watch = testkit::DaemonProcess::start(folder.path());
    let is_leak = |body: &str| body.contains("duplicate-tokens");
    testkit::wait_until("the leak is notified", || {
        sink.received_requests().iter().any(|message| is_leak(&message.body))
    });
    for message in sink.received_requests() {
        let message: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(misleading(&message.to_string()), None, "{message:#}");
    }
    pages_show_none(&watch);
    assert_eq!(watch.stop(), Some(0));
}
