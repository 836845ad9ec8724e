//! What is said of each section, word for word and with its place, and the values on both sides of each limit.

use super::tests::problems;

const TARGET: &str = "[[target]]\nname = \"main\"\nurl = \"app.db\"\n";
const MAPPING: &str = "[target.mapping]\nsessions = \"s\"\ntoken = \"t\"\nexpires = \"e\"\n";
const DECODER: &str = "decoder = \"timestamp-utc\"\n";
const TIME: &str = "must be a time such as \"90s\", \"5m\", \"6h\" or \"1d\",";

/// What is wrong with sections, each of which has one fault.
fn assert_said(sections: &[(String, String)]) {
    for (text, said) in sections {
        assert_eq!(problems(text), [said.as_str()], "{text}");
    }
}

fn below(before: &str, sections: &[(&str, &str)]) -> Vec<(String, String)> {
    let below = sections.iter().map(|(text, said)| (format!("{before}{text}\n"), (*said).to_owned()));
    below.collect()
}

#[test]
fn a_target_says_which_of_its_keys_cannot_be() {
    assert_said(&below(
        TARGET,
        &[
            ("timeout = 0", "4:11: target.timeout: must be a whole number from 1 to 600"),
            ("lock_timeout = \"2s\"", "4:16: target.lock_timeout: must be a whole number from 1 to 600"),
            (
                "engine = \"scna\"",
                "4:10: target.engine: must be one of \"scan\", \"pushdown\"; did you mean `scan`?",
            ),
            (
                "schedule = \"guide\"\ncron = \"0 6 * * *\"",
                "5:8: target.cron: `cron` changes nothing with schedule = \"guide\": leave one of them out",
            ),
            (
                "interval = \"5m\"\nschedule = \"guide\"",
                "4:12: target.interval: `interval` changes nothing with schedule = \"guide\": leave one of them out",
            ),
            ("shedule = \"guide\"", "4:1: target.shedule: there is no such key; did you mean `schedule`?"),
            ("write_url_file = 3", "4:18: target.write_url_file: must be text in quotes"),
            ("[target.cleanup]\nexpired = \"yes\"", "5:11: target.cleanup.expired: must be true or false"),
        ],
    ));
}

#[test]
fn a_mapping_says_what_does_not_fit_together() {
    assert_said(&below(
        &format!("{TARGET}{MAPPING}"),
        &[
            (
                "decoder = \"epoch_s\"",
                "8:11: target.mapping.decoder: must be one of \"timestamptz\", \"timestamp-utc\", \"epoch-s\", \
                 \"epoch-ms\", \"iso-text\", \"epoch-ms-or-iso\", or \"timestamp-local:ZONE\" with a time zone such as \
                 America/New_York; did you mean `epoch-s`?",
            ),
            (
                "decoder = \"timestamp-local:Europe/Atlantis\"",
                "8:11: target.mapping.decoder: must be one of \"timestamptz\", \"timestamp-utc\", \"epoch-s\", \
                 \"epoch-ms\", \"iso-text\", \"epoch-ms-or-iso\", or \"timestamp-local:ZONE\" with a time zone such as \
                 America/New_York; no time zone of that name is known",
            ),
        ],
    ));
    assert_said(&below(
        &format!("{TARGET}{MAPPING}{DECODER}"),
        &[
            (
                "users = \"people\"",
                "9:9: target.mapping.users: `users` needs `user`, the column that refers to them",
            ),
            (
                "revoke = \"flag\"\nrevoke_column = \"active\"",
                "9:10: target.mapping.revoke: revoke = \"flag\" needs `revoke_column` and `revoke_value`",
            ),
            (
                "revoke = \"expire\"\nrevoke_column = \"active\"",
                "10:17: target.mapping.revoke_column: is of use only with revoke = \"flag\"",
            ),
            (
                "revoke_value = \"false\"",
                "9:16: target.mapping.revoke_value: is of use only with revoke = \"flag\"",
            ),
            (
                "lifetime_days = 0",
                "9:17: target.mapping.lifetime_days: must be a whole number from 1 to 36500",
            ),
        ],
    ));
    let elsewhere = format!("{TARGET}sessions = \"other\"\n{MAPPING}{DECODER}");
    assert_eq!(
        problems(&elsewhere),
        ["4:12: target.sessions: another table is written under [target.mapping]: leave this one out"]
    );
    assert!(problems(&elsewhere.replace("\"other\"", "\"s\"")).is_empty());
}

#[test]
fn an_end_without_a_zone_needs_a_grace_of_fourteen_hours() {
    let cleanup = |decoder: &str, more: &str| {
        problems(&format!(
            "{TARGET}{MAPPING}decoder = \"{decoder}\"\n[target.cleanup]\nexpired = true\n{more}\n"
        ))
    };
    let said = "at least 14h: `e` names no time zone; write decoder = \"timestamp-local:ZONE\" with that of the \
                application to allow less";
    let refused = cleanup("timestamp-utc", "grace = 50399");
    assert_eq!(refused, [format!("11:9: target.cleanup.grace: {said}")]);
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
fn the_watch_says_which_of_its_keys_cannot_be() {
    assert_said(&below(
        "[serve]\n",
        &[
            ("retention_days = 0", "2:18: serve.retention_days: must be a whole number from 1 to 36500"),
            (
                "listen = \"localhost:9797\"",
                "2:10: serve.listen: must be an IP address and a port, such as \"127.0.0.1:9797\"",
            ),
            (
                "public_url = \"watch.example.org\"",
                "2:14: serve.public_url: must begin with https:// or http://, such as \"https://watch.example.org\"",
            ),
            ("tls_key = \"key.pem\"", "1:1: serve: tls_certificate and tls_key belong together: write both"),
            (
                "trusted_proxies = [\"10.0.0.1\", \"10.0.0.0/33\"]",
                "2:19: serve.trusted_proxies: `10.0.0.0/33` is no address or network, such as \"10.0.0.0/8\"",
            ),
            (
                "allowed_hosts = [\"*\", \"a_b.c-d\", \"watch:443\"]",
                "2:17: serve.allowed_hosts: `watch:443` is no host name without a port, such as \"watch.example.org\"",
            ),
            (
                "timezone = \"Berlin\"",
                "2:12: serve.timezone: must be the IANA name of a time zone, such as \"Europe/Berlin\"",
            ),
            (
                "store = \"mysql://u:hunter2@h/d\"",
                "2:9: serve.store: must be the path of a file, or postgres://USER:PASSWORD@HOST/DATABASE",
            ),
        ],
    ));
}

#[test]
fn alerts_checks_and_actions_say_which_of_their_keys_cannot_be() {
    assert_said(&below(
        "",
        &[
            ("[alerts.criticl]", "1:9: alerts.criticl: there is no such section; did you mean `critical`?"),
            ("[alerts]\nhigh = 3", "2:8: alerts.high: write it as [alerts.high], once"),
            (
                "[alerts.low]\nrepeat_interval = \"59s\"",
                &format!("2:19: alerts.low.repeat_interval: {TIME} from 60 to 604800 seconds, or \"0\""),
            ),
            (
                "[checks.active-sessions]\nmin = 5\nmax = 4",
                "1:1: checks.active-sessions: min (5) is above max (4)",
            ),
            (
                "[checks.active-sessions]\ninterval = \"5m\"\ncron = \"0 6 * * *\"",
                "3:8: checks.active-sessions.cron: interval and cron are both written: leave one out",
            ),
            (
                "[actions]\nmax_active_share = 1.1",
                "2:20: actions.max_active_share: must be a number from 0 to 1",
            ),
            (
                "[actions]\narchive_recipient = \"age1nobody\"",
                "2:21: actions.archive_recipient: `age1nobody` is not a recipient of the age format: one begins with \
                 `age1` and is what `age-keygen -y` prints",
            ),
        ],
    ));
}

#[test]
fn checks_of_ones_own_say_what_is_wrong_with_them() {
    let check = |more: &str| format!("[[custom_check]]\nid = \"mine\"\nsql = \"SELECT 1\"\n{more}");
    assert_said(&below(
        "",
        &[
            (
                "[[custom_check]]\nid = \"target-unreachable\"\nsql = \"SELECT 1\"\n[[log_check]]\nname = \"target-unreachable\"\nliteral = \"failed\"",
                "5:8: log_check.name: a check has that name already",
            ),
            (
                "[[custom_check]]\nid = \"active-sessions\"\nsql = \"SELECT 1\"",
                "2:6: custom_check.id: another check has that id",
            ),
            (&check(&check("")), "5:6: custom_check.id: another check has that id"),
            (
                &check("threshold = \"about 3\""),
                "4:13: custom_check.threshold: must be >, >=, <, <=, = or != and a number, such as \"> 0\"",
            ),
            (
                &check("max_rows = 0"),
                "4:12: custom_check.max_rows: must be a whole number from 1 to 10000000",
            ),
            (
                "[[custom_check]]\nid = \"\"\nsql = \"SELECT 1\"",
                "2:6: custom_check.id: must be small letters, digits and hyphens, such as \"suspended-users\"",
            ),
            ("[[log_check]]\nname = \"x\"", "1:1: log_check: must have a literal, a regex, or both"),
        ],
    ));
}

#[test]
fn a_provider_of_identities_says_what_it_lacks() {
    let openid = |more: &str| format!("[oidc]\nclient_id = \"watch\"\n{more}");
    let public = "[serve]\npublic_url = \"https://watch.example.org\"\n";
    assert_said(&[
        (
            openid("issuer = \"https://id.example.org\"\nadmins = [\"ops\"]\n"),
            "1:1: oidc: the provider has to know where to send people back to: write `public_url` in [serve]"
                .into(),
        ),
        (
            format!("{public}{}", openid("issuer = \"https://id.example.org\"\nviewers = []\n")),
            "3:1: oidc: nobody may log in: name groups under `viewers`, `responders` or `admins`".into(),
        ),
        (
            format!("{public}{}", openid("issuer = \"http://id.example.org\"\nadmins = [\"ops\"]\n")),
            "5:10: oidc.issuer: must begin with https://; http:// is for providers on this machine".into(),
        ),
    ]);
}

#[test]
fn the_values_at_each_limit_are_taken_and_those_beyond_are_not() {
    let cleanup = format!("{TARGET}[target.cleanup]\n");
    for (section, key, taken, refused) in [
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
        for value in taken {
            assert_eq!(
                problems(&format!("{section}{key} = {value}\n")),
                Vec::<String>::new(),
                "{key} = {value}"
            );
        }
        for value in refused {
            let said = problems(&format!("{section}{key} = {value}\n"));
            assert!(
                said.len() == 1 && said[0].contains(&format!(".{key}: must be ")),
                "{key} = {value}: {said:?}"
            );
        }
    }
}
