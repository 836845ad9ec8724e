//! The checks as they run: severity and threshold of each, in words, and where they come from.

use sessionwatch_core::{
    checks::{Baseline, CheckThresholds},
    duration::HOUR,
    plural::{format_count, format_number},
    severity::Severity,
};

use crate::{
    checks::{LOG_CHECKS, LogCheckKind, LogCheckLimit, TABLE_CHECKS, describe_check},
    config::Config,
};

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// Part of the check, and not configurable.
    BuiltIn,
    /// The default.
    Default,
    /// The configuration file.
    Configured,
    /// Neither a default nor a configured value, so that the check passes until one is set.
    Missing,
}

/// What a check is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckBasis {
    /// The session table.
    Table,
    /// Log events.
    Logs,
}

/// A check as it runs.
#[derive(Clone, Debug)]
pub struct EffectiveCheck {
    /// Id.
    pub id: String,
    /// The problem as a noun phrase; the id for a custom check.
    pub title: String,
    /// What the check is based on.
    pub basis: CheckBasis,
    /// `false` if the check does not run.
    pub is_enabled: bool,
    /// Severity of its alert.
    pub severity: Severity,
    /// When the check fails, as a noun phrase.
    pub fails_on: String,
    /// Where the threshold comes from.
    pub source: SettingSource,
}

/// Lists all checks under a configuration: those on sessions, those on log events, and custom ones.
#[must_use]
pub fn list_effective_checks(config: &Config) -> Vec<EffectiveCheck> {
    let mut checks = table_checks(config);
    checks.extend(config.checks.custom_checks.iter().map(|custom| EffectiveCheck {
        id: custom.id.clone(),
        title: custom.id.clone(),
        basis: CheckBasis::Table,
        is_enabled: true,
        severity: custom.severity,
        fails_on: format!("Value {}", custom.threshold),
        source: SettingSource::Configured,
    }));
    checks.extend(log_checks(config));
    checks.extend(config.logs.custom_checks.iter().map(|custom| EffectiveCheck {
        id: custom.pattern.name.clone(),
        title: custom.pattern.name.clone(),
        basis: CheckBasis::Logs,
        is_enabled: true,
        severity: custom.pattern.severity,
        fails_on: limit_text(custom.limit),
        source: SettingSource::Configured,
    }));
    checks
}

fn table_checks(config: &Config) -> Vec<EffectiveCheck> {
    let checks = TABLE_CHECKS.iter().map(|check| {
        let (fails_on, source) = describe_threshold(check.id, &config.checks.thresholds);
        EffectiveCheck {
            id: check.id.to_owned(),
            title: describe_check(check.id).title,
            basis: CheckBasis::Table,
            is_enabled: config.checks.is_enabled(check.id),
            severity: config.checks.table_check_severity(check),
            fails_on,
            source,
        }
    });
    checks.collect()
}

fn log_checks(config: &Config) -> Vec<EffectiveCheck> {
    let checks = LOG_CHECKS.iter().map(|check| {
        let is_idle_check = check.kind == LogCheckKind::IdleSource;
        let source = if is_idle_check {
            SettingSource::BuiltIn
        } else if config.logs.check_limits.get(check.id).is_some_and(|limit| *limit != check.limit) {
            SettingSource::Configured
        } else {
            SettingSource::Default
        };
        EffectiveCheck {
            id: check.id.to_owned(),
            title: describe_check(check.id).title,
            basis: CheckBasis::Logs,
            is_enabled: config.checks.is_enabled(check.id),
            severity: config.checks.log_check_severity(check),
            fails_on: if is_idle_check {
                "No lines at an hour that usually has some".into()
            } else {
                limit_text(config.logs.check_limit(check))
            },
            source,
        }
    });
    checks.collect()
}

/// Returns when a check on sessions fails, and where that comes from.
fn describe_threshold(id: &str, thresholds: &CheckThresholds) -> (String, SettingSource) {
    let default = CheckThresholds::default();
    match id {
        "duplicate-tokens" => {
            let max = thresholds.duplicate_tokens.max;
            (
                more_than(max, "duplicate token", "duplicate tokens"),
                setting_source(max == default.duplicate_tokens.max),
            )
        }
        "token-reassigned" => ("Any token that changes its user".into(), SettingSource::BuiltIn),
        "reappeared-sessions" => {
            let max = thresholds.reappeared_sessions.max;
            let text = more_than(max, "ended session that comes back", "ended sessions that come back");
            (text, setting_source(max == default.reappeared_sessions.max))
        }
        "orphaned-sessions" => {
            let max = thresholds.orphaned_sessions.max;
            let text = more_than(max, "orphaned session", "orphaned sessions");
            (text, setting_source(max == default.orphaned_sessions.max))
        }
        "creation-rate" => describe_baseline(thresholds.creation_rate, "new sessions in an hour"),
        "active-sessions" => describe_baseline(thresholds.active_sessions, "active sessions"),
        "expired-backlog" => {
            let own = &thresholds.expired_backlog;
            let age = format_count(own.max_age_days.into(), "day", "days");
            let most = match own.max {
                Some(max) => more_than(max, "expired session", "expired sessions"),
                None => "More than 100 expired sessions, if over 1 in 20 rows has expired".into(),
            };
            let text = format!("{most}, or any that expired over {age} ago");
            (text, setting_source(*own == default.expired_backlog))
        }
        "session-lifetime" => {
            let text = match thresholds.session_lifetime.max_days {
                Some(days) => {
                    format!("Any session that expires in over {}", format_count(days.into(), "day", "days"))
                }
                None => "Any session beyond the framework's lifetime plus 1 day".into(),
            };
            (text, setting_source(thresholds.session_lifetime == default.session_lifetime))
        }
        "slow-check-run" => {
            let budget = format_number(thresholds.slow_check_run.budget_ms.into());
            let text = format!("Over {budget} ms for every 10,000 sessions");
            (text, setting_source(thresholds.slow_check_run == default.slow_check_run))
        }
        _ => describe_user_threshold(id, thresholds),
    }
}

fn describe_user_threshold(id: &str, thresholds: &CheckThresholds) -> (String, SettingSource) {
    let default = CheckThresholds::default();
    match id {
        "sessions-per-user" => (
            format!("More than {} active sessions per user on average", thresholds.sessions_per_user.max),
            setting_source(thresholds.sessions_per_user == default.sessions_per_user),
        ),
        "user-session-excess" => {
            let own = &thresholds.user_session_excess;
            let outliers = if own.outliers { ", or far more than other users" } else { "" };
            let text = format!("More than {} active sessions of one user{outliers}", format_number(own.max));
            (text, setting_source(*own == default.user_session_excess))
        }
        "rapid-creation" => {
            let max = thresholds.rapid_creation.max_per_hour;
            let text = format!("More than {} new sessions of one user in an hour", format_number(max));
            (text, setting_source(thresholds.rapid_creation == default.rapid_creation))
        }
        _ => (String::new(), SettingSource::BuiltIn),
    }
}

fn setting_source(is_default: bool) -> SettingSource {
    if is_default { SettingSource::Default } else { SettingSource::Configured }
}

/// Formats a maximum: `Any duplicate token` for zero, and `More than 3 duplicate tokens`.
fn more_than(max: u64, one: &str, many: &str) -> String {
    if max == 0 { format!("Any {one}") } else { format!("More than {}", format_count(max, one, many)) }
}

fn describe_baseline(baseline: Baseline, noun: &str) -> (String, SettingSource) {
    let below = baseline.min.map(|min| match min {
        1 => "no".to_owned(),
        min => format!("fewer than {}", format_number(min)),
    });
    let above = baseline.max.map(|max| format!("more than {}", format_number(max)));
    let bounds: Vec<String> = below.into_iter().chain(above).collect();
    if bounds.is_empty() {
        return (format!("Never: no baseline set for {noun}"), SettingSource::Missing);
    }
    let text = bounds.join(" or ");
    let (first, rest) = text.split_at(1);
    (format!("{}{rest} {noun}", first.to_uppercase()), SettingSource::Configured)
}

fn limit_text(limit: LogCheckLimit) -> String {
    let hours = limit.window.as_secs() / HOUR.as_secs();
    let window = match (hours, limit.window.as_mins()) {
        (1, _) => "in an hour".to_owned(),
        (2.., _) => format!("in {hours} hours"),
        (_, minutes) => format!("in {minutes} minutes"),
    };
    format!("{} {window}", more_than(limit.max, "such event", "such events"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn effective(config: &str, id: &str) -> (String, SettingSource) {
        let config = Config::parse(Path::new("sessionwatch.toml"), config).unwrap();
        let checks = list_effective_checks(&config);
        let check = checks.into_iter().find(|check| check.id == id).unwrap();
        (check.fails_on, check.source)
    }

    #[test]
    fn every_check_says_when_it_fails() {
        for check in list_effective_checks(&Config::default()) {
            assert!(check.fails_on.starts_with(|letter: char| letter.is_ascii_uppercase()), "{check:?}");
            assert!(!check.fails_on.ends_with('.'), "{check:?}");
        }
    }

    #[test]
    fn a_threshold_names_its_source() {
        let own = "[checks.orphaned-sessions]\nmax = 3\n[checks.active-sessions]\nmin = 50\nmax = 5000\n";
        for (config, id, text, source) in [
            ("", "orphaned-sessions", "More than 10 orphaned sessions", SettingSource::Default),
            (own, "orphaned-sessions", "More than 3 orphaned sessions", SettingSource::Configured),
            ("", "duplicate-tokens", "Any duplicate token", SettingSource::Default),
            ("", "active-sessions", "Never: no baseline set for active sessions", SettingSource::Missing),
            (
                own,
                "active-sessions",
                "Fewer than 50 or more than 5,000 active sessions",
                SettingSource::Configured,
            ),
        ] {
            assert_eq!(effective(config, id), (text.to_owned(), source), "{id}");
        }
    }
}
