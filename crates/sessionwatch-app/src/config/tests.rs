//! Tests of the configuration file as a whole.

use super::*;

pub(super) fn problems(text: &str) -> Vec<String> {
    match Config::parse(Path::new("folder/sessionwatch.toml"), text) {
        Ok(_) => vec![],
        Err(ConfigError::Invalid(faulty)) => faulty.problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = Config::parse(Path::new(DEFAULT_CONFIG_FILE), "").unwrap();
    assert_eq!(config.checks, CheckSettings::default());
    assert!(config.targets.is_empty());
}

#[test]
fn all_problems_are_reported_at_once_with_place_and_fix() {
    let text = "
profile = []
[checks.orphaned-session]
max = 3
[checks.expired-backlog]
max = -1
max_age_days = \"seven\"
[checks.duplicate-tokens]
severity = \"criticl\"
[[target]]
url = \"postgres://u:hunter2@h/d?sslmod=x\"
[target.mapping]
sessions = \"s\"
[[custom_check]]
id = \"Mine\"
sql = \"SELECT 1\"
threshold = \"=> 3\"
targets = [\"mian\"]
[[target]]
name = \"main\"
url = \"postgres://u@h/d\"
url_file = \"x\"
profile = \"authjs-prism\"
";
    let found = problems(text);
    for (line, part) in [
        (2, "unknown key `profile` (did you mean `profiles`?)"),
        (3, "unknown section `orphaned-session` in [checks] (did you mean `orphaned-sessions`?)"),
        (6, "checks.expired-backlog.max: expected integer ≥ 0"),
        (7, "expected integer 1 to 36500"),
        (9, "did you mean `critical`?"),
        (10, "target: missing required key `name`"),
        (11, "target.url: invalid PostgreSQL address: unknown parameter `sslmod`"),
        (12, "target.mapping: missing required key `token`"),
        (12, "target.mapping: missing required key `decoder`"),
        (15, "lowercase letters, digits and hyphens"),
        (17, "must be a comparison (>, >="),
        (18, "unknown target `mian` (did you mean `main`?)"),
        (22, "`url` and `url_file` are both set"),
        (23, "unknown profile `authjs-prism` (did you mean `authjs-prisma`?)"),
    ] {
        let reported =
            found.iter().any(|problem| problem.starts_with(&format!("{line}:")) && problem.contains(part));
        assert!(reported, "line {line}, `{part}` is missing in {found:#?}");
    }
    assert!(!found.concat().contains("hunter2"));
}

/// Daemon configuration with many problems.
const INVALID_DAEMON: &str = "
[[target]]
name = \"main\"
url = \"app.db\"
cron = \"every day\"
[[target]]
name = \"main\"
url = \"app.db\"
schedule = \"guide\"
interval = \"30s\"
[[target]]
name = \"third\"
url = \"app.db\"
interval = \"5m\"
cron = \"0 6 * * *\"
[checks.active-sessions]
cron = \"0 0 31 2 *\"
[alerts.critical]
failure_threshold = 0
[serve]
store = \"mysql://u:hunter2@h/d\"
listen = \"9797\"
timezone = \"Europe/Atlantis\"
[report]
channels = [\"caht\"]
[[maintenance_window]]
cron = \"61 * * * *\"
duration = \"1h\"
checks = [\"dup\"]
[[channel]]
name = \"chat\"
kind = \"slack\"
url = \"https://x/hunter2\"
template = \"{{ chekc }}\"
[[channel]]
name = \"chat\"
kind = \"telegram\"
[[channel]]
name = \"mail\"
kind = \"email\"
url = \"https://mail.example\"
from = \"nobody\"
to = [\"ops@example.org\"]
[[channel]]
name = \"pager\"
kind = \"pagerdutty\"
[[logs]]
name = \"app\"
file = \"app.log\"
[[logs]]
name = \"app\"
target = \"mian\"
kind = \"syslog\"
[[logs]]
name = \"drain\"
target = \"main\"
kind = \"vercel\"
secret = \"hunter2\"
[[logs]]
name = \"posted\"
target = \"main\"
kind = \"http\"
timezone = \"Europe/Atlantis\"
[[logs]]
name = \"system\"
target = \"main\"
kind = \"syslog\"
listen = \"5514\"
[[log_check]]
name = \"target-unreachable\"
regex = \"(\"
[[log_check]]
name = \"Any\"
regex = \"[0-9]+\"
";

#[test]
fn debug_output_contains_no_secret() {
    let text = "[serve]\npublic_url = \"https://watch.example.org\"\nstore = \"postgres://u:hunter2@h/d\"\n\
        [oidc]\nissuer = \"https://id.example.org\"\nclient_id = \"watch\"\nclient_secret = \"hunter2\"\n\
        admins = [\"ops\"]\n\
        [[target]]\nname = \"main\"\nurl = \"postgres://u:hunter2@h/d\"\nwrite_url = \"postgres://a:hunter2@h/d\"\n\
        [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"https://h/hunter2\"\nsecret = \"hunter2\"\n\
        [[logs]]\nname = \"drain\"\ntarget = \"main\"\nkind = \"vercel\"\nsecret = \"hunter2-hunter2-hunter2\"\n";
    let config = Config::parse(Path::new(DEFAULT_CONFIG_FILE), text).unwrap();
    assert_eq!((config.targets.len(), config.serve.channels.len(), config.logs.sources.len()), (1, 1, 1));
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let misplaced = "[[target]]\nname = \"postgres://u:hunter2@h/d\"\nurl = \"postgres://u:p@h/d\"\n";
    let found = problems(misplaced);
    assert!(found[0].contains("contains an address with a password"), "{found:?}");
}

#[test]
fn sections_that_cannot_be_used_here_still_take_their_names() {
    let source = |secret: &str| format!("[[logs]]\nname = \"web\"\nkind = \"http\"\nsecret = \"{secret}\"\n");
    let target = |url: &str| format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\n");
    let missing = "${SESSIONWATCH_TEST_UNSET}";
    let sources = format!("{}{}{}", target("app.db"), source(missing), source("0123456789abcdef"));
    assert_eq!(problems(&sources), ["9:8: logs.name: duplicate log source name `web`"]);
    let targets = format!("{}{}", target(missing), target("app.db"));
    assert_eq!(problems(&targets), ["5:8: target.name: duplicate target name `app`"]);
}

#[test]
fn all_problems_of_the_daemon_are_reported() {
    let found = problems(INVALID_DAEMON);
    for (line, part) in [
        (5, "must be minute, hour, day of month, month and day of week"),
        (7, "duplicate target name"),
        (10, "expected duration"),
        (15, "`interval` and `cron` are both set"),
        (17, "never matches a date"),
        (19, "expected integer 1 to 1000"),
        (21, "must be a file path or postgres://"),
        (22, "expected IP address and port"),
        (23, "must be an IANA time zone name"),
        (25, "unknown channel `caht` (did you mean `chat`?)"),
        (27, "must be minute, hour"),
        (29, "unknown check `dup`"),
        (34, "must be a Jinja template"),
        (36, "duplicate channel name"),
        (35, "requires the key `chat`"),
        (42, "must be an email address such as"),
        (46, "did you mean `pagerduty`?"),
        (47, "missing key `target`"),
        (52, "unknown target `mian` (did you mean `main`?)"),
        (58, "too short: must have at least 16 characters"),
        (63, "must be an IANA time zone name"),
        (68, "expected IP address and port"),
        (70, "duplicate check ID `target-unreachable`"),
        (71, "invalid regex"),
        (73, "lowercase letters, digits and hyphens"),
        (74, "add a `literal` that every matching line contains"),
    ] {
        let reported =
            found.iter().any(|problem| problem.starts_with(&format!("{line}:")) && problem.contains(part));
        assert!(reported, "line {line}, `{part}` is missing in {found:#?}");
    }
    assert!(!found.concat().contains("hunter2"), "{found:?}");
}

#[test]
fn invalid_toml_is_reported_with_its_place() {
    let found = problems("[[target]]\nname = \"x\nurl = 3\n");
    assert!(found[0].starts_with("2:") && found[0].contains("invalid TOML"), "{found:?}");
    assert!(problems("target = 3")[0].contains("write [[target]] for each entry"));
    assert!(problems("checks = 3")[0].contains("must contain only sections"));
    assert!(
        problems("[[checks.active-sessions]]\nmax = 1")[0].contains("write [checks.active-sessions], once")
    );
}

#[test]
fn values_of_the_file_are_used() {
    let text = r#"
[checks.sessions-per-user]
max = 2
severity = "low"
[checks.active-sessions]
enabled = false
[checks.session-lifetime]
max_days = 2
[[target]]
name = "main"
url = "postgres://u@h/d"
engine = "pushdown"
timeout = 5
[target.mapping]
sessions = "auth.sessions"
token = "t"
expires = "e"
decoder = "epoch-s"
user = "u"
users = "people"
display = ["mail"]
[[custom_check]]
id = "mine"
sql = "SELECT 1"
"#;
    let config = Config::parse(Path::new(DEFAULT_CONFIG_FILE), text).unwrap();
    assert_eq!(config.checks.thresholds.sessions_per_user.max, 2.0);
    assert_eq!(config.checks.thresholds.session_lifetime.max_days, Some(2));
    assert!(!config.checks.is_enabled("active-sessions") && config.checks.is_enabled("sessions-per-user"));
    assert_eq!(config.checks.custom_checks[0].max_rows, 100_000);
    let target = &config.targets[0];
    assert_eq!(
        (target.engine, target.limits.timeout.as_secs()),
        (sessionwatch_targets::engine::EngineKind::Pushdown, 5)
    );
    let sessionwatch_targets::layout::storage_setting::ProfileSource::Explicit(mapping) =
        &target.profile_source
    else {
        panic!("{target:?}")
    };
    assert_eq!(mapping.sessions.schema.as_deref(), Some("auth"));
    assert_eq!(mapping.users.as_ref().map(|users| users.key.as_str()), Some("id"));
}

fn rendered(text: &str) -> String {
    Config::parse(Path::new("sessionwatch.toml"), text).unwrap_err().render(false)
}

#[test]
fn the_terminal_shows_and_underlines_the_line() {
    let shown = rendered("[checks.orphaned-sessions]\nmax = -1\n");
    for part in [
        "1 problem in sessionwatch.toml:",
        "error: checks.orphaned-sessions.max: expected integer ≥ 0",
        "--> sessionwatch.toml:2:7",
        "2 | max = -1",
        "  |       ^^",
    ] {
        assert!(shown.contains(part), "`{part}` is missing in\n{shown}");
    }
}

#[test]
fn the_terminal_shows_no_secret() {
    for text in [
        // In a secret key: alone, on one line with other keys, and over several lines.
        "[[target]]\nname = \"a\"\nurl = \"postgres://u:hunter2@h/d?sslmod=x\"\n",
        "target = [{ nam = \"a\", url = \"postgres://u:hunter2@h/d\", engine = \"scna\" }]\n",
        "[[logs]]\nname = \"a\"\nkind = \"http\"\nsecret = \"\"\"\nhunter2\"\"\"\n",
        // In an unknown key, or a key that is not secret.
        "[oidc]\nclient_secrt = \"hunter2\"\n",
        "[[target]]\nname = \"postgres://u:hunter2@h/d\"\nurl = \"postgres://u:p@h/d\"\n",
        "[serve]\nstore = [\"hunter2\"]\n",
        // In a file that is not TOML.
        "[oidc]\nclient_secret = \"hunter2\nadmins = []\n",
    ] {
        let shown = rendered(text);
        assert!(shown.contains("--> sessionwatch.toml:") && !shown.contains("hunter2"), "{shown}");
    }
    // The rest of the line is shown.
    let shown = rendered("[oidc]\nclient_secrt = \"hunter2\"\n");
    assert!(shown.contains("2 | client_secrt = …"), "{shown}");
}

#[test]
fn enabled_checks_include_log_checks_once_a_source_is_configured() {
    let enabled = |text: &str| {
        let config = Config::parse(Path::new("sessionwatch.toml"), text).unwrap();
        config.enabled_check_ids().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let target = "[[target]]\nname = \"main\"\nurl = \"app.db\"\n";
    assert!(enabled(target).iter().all(|id| !id.starts_with("log-")), "without a source, no log check runs");
    let source = "[checks.token-in-log]\nenabled = false\n\
                  [[logs]]\nname = \"web\"\ntarget = \"main\"\nfile = \"web.log\"\n";
    let all = enabled(&format!("{target}{source}"));
    assert!(all.iter().any(|id| id == "log-user-mismatch"), "{all:?}");
    assert!(all.iter().all(|id| id != "token-in-log"), "{all:?}");
    assert_eq!(all[..all.len() - 6], enabled(target), "checks on the session table come first");
}
