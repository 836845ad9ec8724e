//! Tests of the resulting values: defaults that depend on other keys, routing and schedules.

use std::path::Path;

use jiff::SignedDuration;
use sessionwatch_core::{alert::AlertPolicy, severity::Severity, timestamp_decoder::Decoder};
use sessionwatch_targets::{
    layout::storage_setting::ProfileSource,
    mapping::{Mapping, RevokeMethod},
    read_session::CustomValue,
};

use super::*;
use crate::schedule::Schedule;

const TARGET: &str = "[[target]]\nname = \"main\"\nurl = \"app.db\"\n";
const MAPPING: &str = "[target.mapping]\nsessions = \"auth.sessions\"\ntoken = \"t\"\nexpires = \"e\"\n\
                       decoder = \"epoch-ms\"\n";

fn config(text: &str) -> Config {
    Config::parse(Path::new("folder/sessionwatch.toml"), text).unwrap()
}

fn mapping(more: &str) -> Mapping {
    let config = config(&format!("{TARGET}{MAPPING}{more}\n"));
    let ProfileSource::Explicit(mapping) = config.targets[0].profile_source.clone() else {
        panic!("{config:?}")
    };
    *mapping
}

#[test]
fn the_creation_time_uses_the_decoder_of_the_expiry_by_default() {
    let created = |more: &str| mapping(&format!("created = \"c\"\n{more}")).created.unwrap().decoder;
    assert_eq!(created(""), Decoder::EpochMillis);
    assert_eq!(created("created_decoder = \"iso-text\""), Decoder::IsoText);
    assert_eq!(mapping("created_decoder = \"iso-text\"").created, None);
}

#[test]
fn sessions_are_revoked_as_the_mapping_says() {
    let flag = RevokeMethod::Flag { column: "active".into(), value: "it's".into() };
    for (more, revoke) in [
        ("", RevokeMethod::Delete),
        ("revoke = \"delete\"", RevokeMethod::Delete),
        ("revoke = \"expire\"", RevokeMethod::Expire),
        ("revoke = \"flag\"\nrevoke_column = \"active\"\nrevoke_value = \"it's\"", flag),
    ] {
        assert_eq!(mapping(more).revoke, revoke, "{more}");
    }
}

#[test]
fn a_server_needs_a_write_address_and_a_file_does_not() {
    let write_address = |url: &str, more: &str| {
        let target =
            config(&format!("[[target]]\nname = \"main\"\nurl = \"{url}\"\n{more}")).targets.remove(0);
        target.write_address.map(|address| address.to_string())
    };
    assert_eq!(write_address("app.db", "").as_deref(), Some("sqlite:folder/app.db"));
    assert_eq!(write_address("postgres://u@h/d", ""), None);
    assert!(
        write_address("postgres://u@h/d", "write_url = \"postgres://a@acting/d\"\n")
            .unwrap()
            .contains("acting")
    );
}

#[test]
fn autosuspend_defaults_by_host_and_can_be_overridden() {
    let suspends = |url: &str, more: &str| {
        config(&format!("[[target]]\nname = \"main\"\nurl = \"{url}\"\n{more}"))
            .targets
            .remove(0)
            .autosuspend_after
    };
    let neon = "postgres://u@ep-1.eu.aws.neon.tech/d";
    assert_eq!(suspends(neon, ""), Some(SignedDuration::from_mins(5)));
    assert_eq!(suspends(neon, "autosuspend_after = \"1h\"\n"), Some(SignedDuration::from_hours(1)));
    assert_eq!(suspends("postgres://u@h/d", ""), None);
}

#[test]
fn an_alert_section_changes_only_its_severity() {
    let rules = config(
        "[alerts.critical]\nrepeat_interval = \"0\"\n[alerts.high]\nfailure_threshold = 7\n\
         [alerts.low]\nrepeat_interval = \"1h\"\nfor = 1\n",
    )
    .checks;
    let usual = AlertPolicy::for_severity;
    let (critical, high, low) = (Severity::Critical, Severity::High, Severity::Low);
    assert_eq!(rules.alert_policy(critical), AlertPolicy { repeat_interval: None, ..usual(critical) });
    assert_eq!(rules.alert_policy(high), AlertPolicy { failure_threshold: 7, ..usual(high) });
    assert_eq!(rules.alert_policy(Severity::Medium), usual(Severity::Medium));
    let repeat_interval = Some(SignedDuration::from_hours(1));
    let pending_duration = SignedDuration::from_secs(1);
    assert_eq!(rules.alert_policy(low), AlertPolicy { repeat_interval, pending_duration, ..usual(low) });
}

#[test]
fn a_custom_check_is_one_statement_without_its_semicolon() {
    let text = "[[custom_check]]\nid = \"mine\"\nsql = \"\"\"\n  SELECT ';' FROM a;;\n\"\"\"\n\
                value = \"first\"\nthreshold = \"!= 0\"\n";
    let rules = config(text).checks;
    let check = &rules.custom_checks[0];
    assert_eq!((check.sql.as_str(), check.value), ("SELECT ';' FROM a", CustomValue::FirstNumber));
    assert_eq!((check.severity, check.action.as_str()), (Severity::Medium, ""));
    assert!(check.targets.is_empty(), "a check without targets runs on all of them");
}

#[test]
fn a_log_source_uses_the_only_target() {
    let logs = "[[logs]]\nname = \"app\"\nfile = \"app.log\"\n";
    let one = config(&format!("{TARGET}{logs}"));
    assert_eq!(one.logs.sources[0].target, "main");
    assert_eq!(one.logs.sources_for_target("main").count(), 1);
    let two = format!("{TARGET}{}{logs}", TARGET.replace("main", "other"));
    assert_eq!(
        super::tests::problems(&two),
        ["7:1: logs: missing key `target`, the target whose sessions these lines refer to"]
    );
}

#[test]
fn the_issuer_has_no_trailing_slash() {
    let text = "[serve]\npublic_url = \"https://watch.example.org\"\n[oidc]\n\
                issuer = \"https://id.example.org/realm//\"\n\
                client_id = \"watch\"\nadmins = [\"ops\"]\nscopes = []\n";
    let openid = config(text).oidc.unwrap();
    assert_eq!(openid.issuer, "https://id.example.org/realm");
    assert_eq!(openid.scopes, ["openid", "profile", "email"]);
    assert!(openid.client_secret.is_none() && openid.viewers.is_empty());
}

const ROUTED: &str = "
[[channel]]
name = \"all\"
kind = \"slack\"
url = \"https://hooks.example.org/1\"
[[channel]]
name = \"pager\"
kind = \"slack\"
url = \"https://hooks.example.org/2\"
";

fn matching_channels(config: &Config, target: &str, check: &str, severity: Severity) -> Vec<String> {
    let channels = config.serve.channels_for(target, check, severity).into_iter();
    channels.map(|channel| channel.name.clone()).collect()
}

#[test]
fn without_routes_every_channel_matches_and_with_routes_the_matching_ones() {
    let unrouted = config(ROUTED);
    assert_eq!(matching_channels(&unrouted, "main", "target-unreachable", Severity::Low), ["all", "pager"]);
    let routes = "
[[route]]
channels = [\"pager\", \"all\"]
severity = \"critical\"
[[route]]
channels = [\"all\"]
severity = \"medium\"
targets = [\"main\"]
checks = [\"active-sessions\"]
";
    let routed = config(&format!("{TARGET}{ROUTED}{routes}"));
    for (target, check, severity, channels) in [
        // Each channel once, in the order of the file.
        ("main", "active-sessions", Severity::Critical, vec!["all", "pager"]),
        ("other", "orphaned-sessions", Severity::Critical, vec!["all", "pager"]),
        ("main", "active-sessions", Severity::High, vec!["all"]),
        ("main", "active-sessions", Severity::Medium, vec!["all"]),
        ("main", "active-sessions", Severity::Low, vec![]),
        ("main", "orphaned-sessions", Severity::High, vec![]),
        ("other", "active-sessions", Severity::High, vec![]),
    ] {
        assert_eq!(
            matching_channels(&routed, target, check, severity),
            channels,
            "{target} {check} {severity:?}"
        );
    }
}

#[test]
fn a_maintenance_window_includes_its_start_and_excludes_its_end() {
    let text = format!(
        "{TARGET}[serve]\ntimezone = \"Europe/Berlin\"\n[[maintenance_window]]\ncron = \"0 2 * * *\"\n\
         duration = \"2h\"\n\
         targets = [\"main\"]\nchecks = [\"active-sessions\"]\n"
    );
    let serve = config(&text).serve;
    let in_maintenance = |target: &str, check: &str, at: &str| {
        serve.is_in_maintenance(target, check, sessionwatch_clock::parse_rfc3339(at).unwrap())
    };
    // In winter, 02:00 in Berlin is 01:00 UTC.
    for (at, expected) in [
        ("2026-01-10T00:59:59.999999Z", false),
        ("2026-01-10T01:00:00Z", true),
        ("2026-01-10T02:59:59.999999Z", true),
        ("2026-01-10T03:00:00Z", false),
        // In summer, 02:00 in Berlin is 00:00 UTC.
        ("2026-07-10T00:00:00Z", true),
        ("2026-07-10T02:00:00Z", false),
    ] {
        assert_eq!(in_maintenance("main", "active-sessions", at), expected, "{at}");
    }
    assert!(!in_maintenance("other", "active-sessions", "2026-01-10T01:30:00Z"));
    assert!(!in_maintenance("main", "orphaned-sessions", "2026-01-10T01:30:00Z"));
}

/// Returns the check groups of the target: interval in seconds or cron expression, `ignore_constraints`, and check ids.
fn plan(text: &str) -> Vec<(String, bool, Vec<String>)> {
    let config = config(text);
    let entries = config.check_schedules(&config.targets[0]).into_iter();
    let shown = |schedule: Schedule| match schedule {
        Schedule::Every(distance) => format!("{}s", distance.as_secs()),
        Schedule::Cron(cron, _) => cron.pattern.to_string(),
    };
    entries
        .map(|entry| (shown(entry.schedule), entry.ignore_constraints, entry.checks.into_iter().collect()))
        .collect()
}

#[test]
fn all_checks_run_every_minute_and_every_night_without_trusting_constraints() {
    let plan = plan(TARGET);
    let [(often, false, checks), (nightly, true, deep)] = plan.as_slice() else { panic!("{plan:?}") };
    assert_eq!((often.as_str(), nightly.as_str()), ("60s", "0 3 * * *"));
    assert_eq!(checks, deep);
    assert_eq!(checks.len(), crate::checks::TABLE_CHECKS.len());
}

#[test]
fn guide_schedule_runs_three_checks_daily_and_the_others_weekly() {
    let plan = plan(&format!("{TARGET}schedule = \"guide\"\n"));
    let [(daily, false, few), (weekly, false, others)] = plan.as_slice() else { panic!("{plan:?}") };
    assert_eq!((daily.as_str(), weekly.as_str()), ("0 6 * * *", "30 6 * * 1"));
    assert_eq!(few, &["duplicate-tokens", "orphaned-sessions", "sessions-per-user"]);
    assert!(
        others.iter().all(|check| !few.contains(check)) && others.contains(&"expired-backlog".to_owned())
    );
}

#[test]
fn checks_have_own_schedules_and_run_only_on_their_targets() {
    let text = format!(
        "{TARGET}schedule = \"scale-to-zero\"\n{}[checks.active-sessions]\ninterval = \"5m\"\n\
         [checks.orphaned-sessions]\n\
         enabled = false\n[[custom_check]]\nid = \"mine\"\nsql = \"SELECT 1\"\ncron = \"0 1 * * *\"\n\
         [[custom_check]]\nid = \"others\"\n\
         sql = \"SELECT 1\"\ntargets = [\"other\"]\n",
        TARGET.replace("main", "other")
    );
    let plan = plan(&text);
    let of =
        |schedule: &str| plan.iter().find(|entry| entry.0 == schedule).map(|entry| entry.2.clone()).unwrap();
    assert_eq!(of("300s"), ["active-sessions"]);
    assert_eq!(of("0 1 * * *"), ["mine"]);
    let rarely = of("21600s");
    for absent in ["active-sessions", "orphaned-sessions", "mine", "others"] {
        assert!(!rarely.contains(&absent.to_owned()), "{absent}");
    }
    assert_eq!(plan.len(), 3, "no nightly run wakes the database");
}
