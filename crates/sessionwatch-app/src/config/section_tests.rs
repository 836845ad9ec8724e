//! Exact messages of each section with their place, and the values on both sides of each limit.

use super::tests::problems;

const TARGET: &str = "[[target]]\nname = \"main\"\nurl = \"app.db\"\n";
const MAPPING: &str = "[target.mapping]\nsessions = \"s\"\ntoken = \"t\"\nexpires = \"e\"\n";
const DECODER: &str = "decoder = \"timestamp-utc\"\n";
const DURATION: &str = "expected duration (30s, 5m, 24h, 7d),";

/// Asserts the only problem of each text.
fn assert_problems(sections: &[(String, String)]) {
    for (text, problem) in sections {
        assert_eq!(problems(text), [problem.as_str()], "{text}");
    }
}

fn below(before: &str, sections: &[(&str, &str)]) -> Vec<(String, String)> {
    let below = sections.iter().map(|(text, problem)| (format!("{before}{text}\n"), (*problem).to_owned()));
    below.collect()
}

#[test]
fn invalid_keys_of_a_target_are_reported() {
    assert_problems(&below(
        TARGET,
        &[
            ("timeout = 0", "4:11: target.timeout: expected integer 1 to 600"),
            ("lock_timeout = \"2s\"", "4:16: target.lock_timeout: expected integer 1 to 600"),
            (
                "engine = \"scna\"",
                "4:10: target.engine: expected one of \"scan\", \"pushdown\" (did you mean `scan`?)",
            ),
            (
                "schedule = \"guide\"\ncron = \"0 6 * * *\"",
                "5:8: target.cron: `cron` has no effect with schedule = \"guide\": remove one of them",
            ),
            (
                "interval = \"5m\"\nschedule = \"guide\"",
                "4:12: target.interval: `interval` has no effect with schedule = \"guide\": remove one of them",
            ),
            ("shedule = \"guide\"", "4:1: unknown key `shedule` in [[target]] (did you mean `schedule`?)"),
            ("write_url_file = 3", "4:18: target.write_url_file: expected string"),
            ("[target.cleanup]\nexpired = \"yes\"", "5:11: target.cleanup.expired: expected true or false"),
        ],
    ));
}

#[test]
fn conflicting_keys_of_a_mapping_are_reported() {
    assert_problems(&below(
        &format!("{TARGET}{MAPPING}"),
        &[
            (
                "decoder = \"epoch_s\"",
                "8:11: target.mapping.decoder: expected one of \"timestamptz\", \"timestamp-utc\", \"epoch-s\", \
                 \"epoch-ms\", \"iso-text\", \"epoch-ms-or-iso\", or \"timestamp-local:ZONE\" with a time zone such as \
                 America/New_York (did you mean `epoch-s`?)",
            ),
            (
                "decoder = \"timestamp-local:Europe/Atlantis\"",
                "8:11: target.mapping.decoder: expected one of \"timestamptz\", \"timestamp-utc\", \"epoch-s\", \
                 \"epoch-ms\", \"iso-text\", \"epoch-ms-or-iso\", or \"timestamp-local:ZONE\" with a time zone such as \
                 America/New_York; unknown time zone",
            ),
        ],
    ));
    assert_problems(&below(
        &format!("{TARGET}{MAPPING}{DECODER}"),
        &[
            (
                "users = \"people\"",
                "9:9: target.mapping.users: `users` requires `user`, the column that refers to the users table",
            ),
            (
                "revoke = \"flag\"\nrevoke_column = \"active\"",
                "9:10: target.mapping.revoke: revoke = \"flag\" requires `revoke_column` and `revoke_value`",
            ),
            (
                "revoke = \"expire\"\nrevoke_column = \"active\"",
                "10:17: target.mapping.revoke_column: has no effect without revoke = \"flag\"",
            ),
            (
                "revoke_value = \"false\"",
                "9:16: target.mapping.revoke_value: has no effect without revoke = \"flag\"",
            ),
            ("lifetime_days = 0", "9:17: target.mapping.lifetime_days: expected integer 1 to 36500"),
        ],
    ));
    let elsewhere = format!("{TARGET}sessions = \"other\"\n{MAPPING}{DECODER}");
    assert_eq!(
        problems(&elsewhere),
        ["4:12: target.sessions: conflicts with `sessions` in [target.mapping]: remove one of them"]
    );
    assert!(problems(&elsewhere.replace("\"other\"", "\"s\"")).is_empty());
}

#[test]
fn an_expiry_without_a_time_zone_needs_a_grace_of_14_hours() {
    let cleanup = |decoder: &str, more: &str| {
        problems(&format!(
            "{TARGET}{MAPPING}decoder = \"{decoder}\"\n[target.cleanup]\nexpired = true\n{more}\n"
        ))
    };
    let message = "must be at least 14h because `e` has no time zone: for a shorter grace, set \
                   decoder = \"timestamp-local:ZONE\" with the application's time zone";
    let refused = cleanup("timestamp-utc", "grace = 50399");
    assert_eq!(refused, [format!("11:9: target.cleanup.grace: {message}")]);
    for (decoder, more) in [
        ("timestamp-utc", "grace = \"14h\""),
        ("timestamp-utc", ""),
        ("timestamptz", "grace = \"1h\""),
        ("timestamp-local:Europe/Berlin", "grace = \"1h\""),
    ] {
        assert_eq!(cleanup(decoder, more), Vec::<String>::new(), "{decoder} {more}");
    }
}

#[test]
fn invalid_keys_of_the_daemon_are_reported() {
    assert_problems(&below(
        "[serve]\n",
        &[
            ("retention_days = 0", "2:18: serve.retention_days: expected integer 1 to 36500"),
            (
                "listen = \"localhost:9797\"",
                "2:10: serve.listen: expected IP address and port, such as \"127.0.0.1:9797\"",
            ),
            (
                "public_url = \"watch.example.org\"",
                "2:14: serve.public_url: must start with https:// or http://, such as \"https://watch.example.org\"",
            ),
            ("tls_key = \"key.pem\"", "1:1: serve: `tls_certificate` and `tls_key` must be set together"),
            (
                "trusted_proxies = [\"10.0.0.1\", \"10.0.0.0/33\"]",
                "2:19: serve.trusted_proxies: `10.0.0.0/33` is not an IP address or a network such as \"10.0.0.0/8\"",
            ),
            (
                "allowed_hosts = [\"*\", \"a_b.c-d\", \"watch:443\"]",
                "2:17: serve.allowed_hosts: `watch:443` is not a host name: use one without scheme and port, \
                 such as \"watch.example.org\"",
            ),
            (
                "timezone = \"Berlin\"",
                "2:12: serve.timezone: must be an IANA time zone name, such as \"Europe/Berlin\"",
            ),
            (
                "store = \"mysql://u:hunter2@h/d\"",
                "2:9: serve.store: must be a file path or postgres://USER:PASSWORD@HOST/DATABASE",
            ),
        ],
    ));
}

#[test]
fn invalid_keys_of_alerts_checks_and_actions_are_reported() {
    assert_problems(&below(
        "",
        &[
            ("[alerts.criticl]", "1:9: unknown section `criticl` in [alerts] (did you mean `critical`?)"),
            ("[alerts]\nhigh = 3", "2:8: alerts.high: must be a section: write [alerts.high], once"),
            (
                "[alerts.low]\nrepeat_interval = \"59s\"",
                &format!("2:19: alerts.low.repeat_interval: {DURATION} 1m to 7d"),
            ),
            (
                "[checks.active-sessions]\nmin = 5\nmax = 4",
                "1:1: checks.active-sessions: min (5) is greater than max (4)",
            ),
            (
                "[checks.active-sessions]\ninterval = \"5m\"\ncron = \"0 6 * * *\"",
                "3:8: checks.active-sessions.cron: `interval` and `cron` are both set: remove one",
            ),
            ("[actions]\nmax_active_share = 1.1", "2:20: actions.max_active_share: expected number 0 to 1"),
            (
                "[actions]\narchive_recipient = \"age1nobody\"",
                "2:21: actions.archive_recipient: `age1nobody` is not an age recipient: expected `age1…`, \
                 as printed by \
                 `age-keygen -y`",
            ),
        ],
    ));
}

#[test]
fn invalid_custom_checks_are_reported() {
    let check = |more: &str| format!("[[custom_check]]\nid = \"mine\"\nsql = \"SELECT 1\"\n{more}");
    assert_problems(&below(
        "",
        &[
            (
                "[[custom_check]]\nid = \"mine\"\nsql = \"SELECT 1\"\n[[log_check]]\nname = \"mine\"\n\
                 literal = \"failed\"",
                "5:8: log_check.name: duplicate check ID `mine`",
            ),
            (
                "[[custom_check]]\nid = \"target-unreachable\"\nsql = \"SELECT 1\"",
                "2:6: custom_check.id: duplicate check ID `target-unreachable`",
            ),
            (
                "[[custom_check]]\nid = \"active-sessions\"\nsql = \"SELECT 1\"",
                "2:6: custom_check.id: duplicate check ID `active-sessions`",
            ),
            (&check(&check("")), "5:6: custom_check.id: duplicate check ID `mine`"),
            (
                &check("threshold = \"about 3\""),
                "4:13: custom_check.threshold: must be a comparison (>, >=, <, <=, = or !=) and a number, \
                 such as \"> 0\"",
            ),
            (&check("max_rows = 0"), "4:12: custom_check.max_rows: expected integer 1 to 10000000"),
            (&check("max_rows = 0"), "4:12: custom_check.max_rows: expected integer 1 to 10000000"),
            (
                "[[custom_check]]\nid = \"\"\nsql = \"SELECT 1\"",
                "2:6: custom_check.id: must contain only lowercase letters, digits and hyphens, such as \
                 \"suspended-users\"",
            ),
            ("[[log_check]]\nname = \"x\"", "1:1: log_check: must have a literal, a regex, or both"),
        ],
    ));
}

#[test]
fn an_incomplete_identity_provider_is_reported() {
    let openid = |more: &str| format!("[oidc]\nclient_id = \"watch\"\n{more}");
    let public = "[serve]\npublic_url = \"https://watch.example.org\"\n";
    assert_problems(&[
        (
            openid("issuer = \"https://id.example.org\"\nadmins = [\"ops\"]\n"),
            "1:1: oidc: requires `public_url` in [serve]: the provider redirects users to this URL after login"
                .into(),
        ),
        (
            format!("{public}{}", openid("issuer = \"https://id.example.org\"\nviewers = []\n")),
            "3:1: oidc: no user can log in: list claim values in `viewers`, `responders` or `admins`".into(),
        ),
        (
            format!("{public}{}", openid("issuer = \"http://id.example.org\"\nadmins = [\"ops\"]\n")),
            "5:10: oidc.issuer: must start with https:// (http:// is allowed only for a provider \
             on this machine)".into(),
        ),
    ]);
}

#[test]
fn values_at_each_limit_are_accepted_and_values_beyond_are_rejected() {
    let cleanup = format!("{TARGET}[target.cleanup]\n");
    for (section, key, accepted, rejected) in [
        (TARGET, "timeout", ["1", "600"], ["0", "601"]),
        (TARGET, "lock_timeout", ["1", "600"], ["0", "601"]),
        (TARGET, "interval", ["\"60s\"", "\"7d\""], ["\"59s\"", "604801"]),
        (TARGET, "autosuspend_after", ["1", "\"7d\""], ["0", "604801"]),
        (&cleanup, "grace", ["\"1h\"", "\"90d\""], ["\"59m\"", "7776001"]),
        (&cleanup, "max_rows", ["1", "1000000000"], ["0", "1000000001"]),
        (&cleanup, "max_share", ["0", "1.0"], ["-0.1", "1.01"]),
        ("[serve]\n", "retention_days", ["1", "36500"], ["0", "36501"]),
        ("[alerts.high]\n", "failure_threshold", ["1", "1000"], ["0", "1001"]),
        ("[alerts.high]\n", "for", ["1", "\"7d\""], ["0", "\"8d\""]),
        ("[alerts.high]\n", "success_threshold", ["1", "1000"], ["0", "1001"]),
        ("[actions]\n", "max_active_share", ["0.0", "1"], ["-0.01", "nan"]),
        ("[actions]\n", "max_rows", ["0", "1000000000000"], ["-1", "1000000000001"]),
        ("[actions]\n", "plan_ttl", ["60", "\"1d\""], ["59", "86401"]),
        ("[actions]\n", "archive_retention", ["\"1h\"", "315360000"], ["3599", "315360001"]),
        ("[checks.active-sessions]\n", "min", ["0", "1000000000000"], ["-1", "1000000000001"]),
    ] {
        for value in accepted {
            assert_eq!(
                problems(&format!("{section}{key} = {value}\n")),
                Vec::<String>::new(),
                "{key} = {value}"
            );
        }
        for value in rejected {
            let found = problems(&format!("{section}{key} = {value}\n"));
            assert!(
                found.len() == 1 && found[0].contains(&format!(".{key}: expected ")),
                "{key} = {value}: {found:?}"
            );
        }
    }
}
