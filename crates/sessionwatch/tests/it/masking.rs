//! Passwords in URLs, typed where URLs belong and where they do not: none is printed or stored.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

/// Passwords as users paste them, each with the parts that must stay hidden.
const PASSWORDS: [(&str, &[&str]); 9] = [
    ("pw-admin-1", &["pw-admin-1"]),
    ("p@ss/w:rd", &["p@ss", "w:rd", "@ss"]),
    ("se@cret-7", &["se@", "cret-7"]),
    ("a1@b2/c3", &["a1@", "b2", "c3"]),
    ("se?cret7", &["se?", "cret7"]),
    ("se#cret7", &["se#", "cret7"]),
    ("Zq7 x\"y'w`v", &["Zq7", "x\"y", "w`v", "x\\\"y"]),
    ("Zq7\\v{9}", &["Zq7", "v{9}"]),
    ("p%40ss-77", &["p%40ss-77", "p@ss-77"]),
];

/// A daemon's folder with a target, a check and a store, so that commands get as far as possible.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        "[serve]\nstore = \"state.db\"\n[[target]]\nname = \"main\"\nurl = \"sqlite:app.db\"\n",
    )
    .unwrap();
    folder
}

/// Commands with a URL in its place, and with too many of them.
fn with_address(url: &str) -> Vec<Vec<String>> {
    owned(&[
        &["check", url],
        &["check", url, "--format", "json"],
        &["check", url, "--format", "ndjson"],
        &["check", url, "--format", "csv"],
        &["check", url, "--format", "markdown"],
        &["--verbose", "check", url],
        &["--log-format", "json", "--verbose", "check", url],
        &["doctor", url, "--format", "json"],
        &["init", url, "--output", "-"],
        &["sessions", "list", url],
        &["grants", url],
        &["sql", url],
        &["sql", url, "duplicate-tokens"],
        &["sql", "duplicate-tokens", url],
        &["sql", url, url],
        &["sql", "query-6", "main", "--user", url],
        &[url],
        &["check", url, url],
        &["serve", url],
        &["check", "main", "--only", url],
        &["check", "main", "--config", url],
        &["check", "main", "--format", url],
        &["check", "main", "--engine", url],
        &["check", "main", "--timeout", url],
        &["check", &["--", url].concat()],
    ])
}

/// Commands with a URL in place of another value.
fn without_address(url: &str) -> Vec<Vec<String>> {
    owned(&[
        &["check", "main", &["--only=", url].concat()],
        &["report", "checklist", url],
        &["report", "checklist", "main", "--output", url],
        &["report", "checklist", "main", "--week-ending", url],
        &["report", "history", url],
        &["report", "attest", url, "--note", "x", "--passes", "--as", "ada"],
        &["report", "attest", "main", "--note", url, "--passes", "--as", "ada"],
        &["revoke", "user", url],
        &["revoke", "user", url, "main"],
        &["revoke", "session", url],
        &["revoke", "session", url, "main"],
        &["revoke", "where", "main", "--user-like", url],
        &["revoke", "user", "u1", url],
        &["apply", url],
        &["revoke", "user", "u1", "main", "--as", url],
        &["cleanup", "expired", "main", "--confirm", url],
        &["cleanup", "expired", url],
        &["cleanup", "expired", "main", "--write-url", url],
        &["alerts", "show", url, "x"],
        &["alerts", "show", "main", url],
        &["alerts", "ack", url, "duplicate-tokens"],
        &["alerts", "silence", "--target", url, "--for", "5m", "--note", "x"],
        &["alerts", "silence", "--target", "main", "--for", "5m", "--note", url],
        &["notifications", "test", url],
        &["archive", "restore", url],
        &["archive", "restore", url, "main"],
        &["archive", "list", url],
        &["backup", url],
        &["logs", "scan", url],
        &["logs", "scan", "app.log", "--only", url],
        &["logs", "events", url],
        &["accounts", "add", url, "--role", "admin"],
        &["tokens", "add", url, "--label", url],
        &["incident", "open", "main", "--severity", "p1", "--summary", url],
        &["incident", "open", url, "--severity", "p1"],
        &["audit", "verify", "--head", url],
        &["completions", url],
    ])
}

fn owned(lines: &[&[&str]]) -> Vec<Vec<String>> {
    lines.iter().map(|line| line.iter().map(|word| (*word).to_owned()).collect()).collect()
}

fn commands(url: &str) -> Vec<Vec<String>> {
    [with_address(url), without_address(url)].concat()
}

/// Contents of all files in a folder.
fn kept(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .flat_map(|path| [path.display().to_string().into_bytes(), std::fs::read(path).unwrap()].concat())
        .collect()
}

#[test]
fn no_password_of_a_url_is_printed_or_stored_wherever_it_was_typed() {
    let mut leaks = vec![];
    for (password, parts) in PASSWORDS {
        let folder = folder();
        // Nothing listens on this port.
        let url = format!("postgres://appuser:{password}@127.0.0.1:1/app");
        let dsn = format!("host=127.0.0.1 port=1 user=appuser password='{}'", password.replace('\'', "\\'"));
        let mut tried = commands(&url);
        if ["pw-admin-1", "se@cret-7"].contains(&password) {
            let misspelled = [url.replacen("postgres://", "", 1), url.replacen("://", ":/", 1), dsn];
            tried.extend(misspelled.iter().flat_map(|address| commands(address)));
        }
        for command in &tried {
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            let said = testkit::run_program_in(folder.path(), &[("USER", "ada")], &arguments);
            assert_ne!(said.exit_code, 70, "{command:?}");
            let text = format!("{}{}", said.stdout, said.stderr);
            let part = parts.iter().find(|part| text.contains(**part));
            leaks.extend(part.map(|part| format!("{part} by {command:?}: {text}")));
        }
        let kept = String::from_utf8_lossy(&kept(folder.path())).into_owned();
        // Two letters occur in any long file by chance.
        let part = parts.iter().find(|part| part.len() > 2 && kept.contains(**part));
        leaks.extend(part.map(|part| format!("{part} is kept after {password}")));
        // From the environment, too.
        for variable in ["DATABASE_URL", "SESSIONWATCH_CONFIG", "SESSIONWATCH_WRITE_URL", "USER"] {
            let variables = [(variable, url.as_str())];
            for command in [&["check"][..], &["cleanup", "expired", "main"]] {
                let empty = tempfile::tempdir().unwrap();
                let said = testkit::run_program_in(empty.path(), &variables, command);
                let text = format!("{}{}", said.stdout, said.stderr);
                let part = parts.iter().find(|part| text.contains(**part));
                leaks.extend(part.map(|part| format!("{part} by {variable} and {command:?}: {text}")));
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn the_error_for_a_malformed_url_says_how_to_encode_a_password() {
    for password in ["p@ss", "se?cret", "a@b/c"] {
        let url = format!("postgres://appuser:{password}@127.0.0.1:1/app");
        let said = testkit::run_program(&["check", &url, "--format", "json"]);
        assert_eq!(said.exit_code, 2, "{}", said.stderr);
        assert!(said.stderr.contains("must be percent-encoded (`@` as %40)"), "{}", said.stderr);
    }
    let misplaced = testkit::run_program(&["check", "--only", "postgres://appuser:pw@127.0.0.1:1/app"]);
    assert_eq!(misplaced.exit_code, 2);
    assert!(misplaced.stderr.contains("`--only` does not accept a database URL"), "{}", misplaced.stderr);
    let unknown = testkit::run_program(&["postgres://appuser:pw@127.0.0.1:1/app"]);
    assert_eq!(unknown.exit_code, 2);
    let shown = "unrecognized subcommand 'postgres://appuser:***@127.0.0.1:1/app'";
    assert!(unknown.stderr.contains(shown), "{}", unknown.stderr);
}

#[test]
fn text_that_is_no_credential_is_printed_unchanged() {
    let example = testkit::run_program(&["config", "example"]);
    assert_eq!(example.stdout, include_str!("../../../../example.toml"));
    let refused = testkit::run_program(&["check", "nonsense://host/database"]);
    assert!(refused.stderr.contains("postgres://USER:PASSWORD@HOST:PORT/DATABASE"), "{}", refused.stderr);
    assert_eq!(refused.exit_code, 2);
    let man = testkit::run_program(&["man"]);
    assert!(man.exit_code == 0 && !man.stdout.contains("***"), "{}", man.stdout);
}

/// Adds an account at a terminal with these answers. Returns the terminal's output, and `true` on success.
fn add_account(folder: &Path, answers: [&str; 2]) -> (String, bool) {
    let program = env!("CARGO_BIN_EXE_sessionwatch");
    let line = format!("tty; exec '{program}' accounts add ada --role admin");
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = String::new();
    for (prompt, answer) in ["New password: ", "Repeat the password: "].into_iter().zip(answers) {
        let mut byte = [0];
        while !shown.ends_with(prompt) {
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{shown}");
            shown.push(char::from(byte[0]));
        }
        let terminal = shown.lines().next().unwrap().trim().to_owned();
        // A terminal echoes input until the program turns that off.
        testkit::wait_until("the terminal shows nothing that is typed", || {
            let set = Command::new("stty").args(["-F", &terminal, "-a"]).output().unwrap();
            String::from_utf8_lossy(&set.stdout).split_whitespace().any(|word| word == "-echo")
        });
        writeln!(stdin, "{answer}").unwrap();
    }
    stdout.read_to_string(&mut shown).unwrap();
    (shown, child.wait().unwrap().success())
}

#[test]
fn a_typed_password_is_asked_for_twice_and_never_shown() {
    let folder = folder();
    let (shown, added) = add_account(folder.path(), [testkit::ACCOUNT_PASSWORD, testkit::ACCOUNT_PASSWORD]);
    assert!(added && !shown.contains("sentence"), "{shown}");
    let (shown, added) = add_account(folder.path(), [testkit::ACCOUNT_PASSWORD, "a sentence is another one"]);
    assert!(!added && shown.contains("the passwords do not match"), "{shown}");
    assert!(!shown.contains("sentence"), "{shown}");
}
