//! `[checks.*]` and `[[check]]` as used.

use jiff::tz::TimeZone;
use sessionwatch_core::{
    alert::AlertPolicy,
    checks::{
        Baseline, Thresholds,
        custom::{Comparison, NotAThreshold, Threshold},
    },
    instant::SECOND,
    severity::Severity,
};

use super::{
    plan,
    reader::{Node, Reader},
};
use crate::{
    checks::{self, Custom, Rules},
    suggest::nearest,
    target::read_session::CustomValue,
};

pub(super) fn read(reader: &mut Reader<'_>, root: &Node, zone: &TimeZone) -> Rules {
    let targets: Vec<&str> = root.below("target").iter().filter_map(|target| target.text("name")).collect();
    let mut rules = Rules::default();
    for check in checks::TABLE_CHECKS {
        if let Some(node) = root.below(&format!("checks.{}", check.id)).first() {
            if node.flag("enabled") == Some(false) {
                rules.disabled.insert(check.id);
            }
            if let Some(severity) = node.text("severity").and_then(Severity::parse) {
                rules.severities.insert(check.id, severity);
            }
            set(&mut rules.thresholds, check.id, node);
            let place = format!("checks.{}", check.id);
            if let Some(schedule) = plan::schedule(reader, node, (&place, zone)) {
                rules.schedules.insert(check.id.to_owned(), schedule);
            }
        }
    }
    for check in checks::LOG_CHECKS {
        if let Some(node) = root.below(&format!("checks.{}", check.id)).first() {
            if node.flag("enabled") == Some(false) {
                rules.disabled.insert(check.id);
            }
            if let Some(severity) = node.text("severity").and_then(Severity::parse) {
                rules.severities.insert(check.id, severity);
            }
        }
    }
    let thresholds = &rules.thresholds;
    for (place, min, max) in [
        ("checks.active-sessions", thresholds.active_sessions.min, thresholds.active_sessions.max),
        ("checks.creation-rate", thresholds.creation_rate.min, thresholds.creation_rate.max),
    ] {
        let Some((min, max)) = min.zip(max) else { continue };
        if let Some(node) = root.below(place).first().filter(|_| min > max) {
            reader.problem(node.at, place, format!("min ({min}) is above max ({max})"));
        }
    }
    policies(root, &mut rules);
    for node in root.below("check") {
        if let Some(custom) = custom(reader, node, (&targets, &rules.custom)) {
            if let Some(schedule) = plan::schedule(reader, node, ("check", zone)) {
                rules.schedules.insert(custom.id.clone(), schedule);
            }
            rules.custom.push(custom);
        }
    }
    rules
}

/// `[alerts.*]`: how alerts of each severity behave.
fn policies(root: &Node, rules: &mut Rules) {
    for severity in [Severity::Low, Severity::Medium, Severity::High, Severity::Critical] {
        let Some(node) = root.below(&format!("alerts.{}", severity.name())).first().cloned() else {
            continue;
        };
        let usual = AlertPolicy::of(severity);
        let looks = |key: &str, otherwise| {
            node.whole(key).and_then(|looks| u32::try_from(looks).ok()).unwrap_or(otherwise)
        };
        let span = |key: &str| {
            node.whole(key).and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| seconds * SECOND)
        };
        let repeat = span("repeat_after").or(usual.repeat_after_us);
        let policy = AlertPolicy {
            pending_looks: looks("pending_looks", usual.pending_looks),
            pending_us: span("pending_for").unwrap_or(usual.pending_us),
            clear_looks: looks("clear_looks", usual.clear_looks),
            repeat_after_us: if node.flag("repeat") == Some(false) { None } else { repeat },
        };
        rules.policies.insert(severity, policy);
    }
}

fn set(thresholds: &mut Thresholds, id: &str, node: &Node) {
    let whole = |key: &str, field: &mut u64| {
        if let Some(value) = node.whole(key) {
            *field = value;
        }
    };
    let small = |key: &str| node.whole(key).and_then(|value| u32::try_from(value).ok());
    match id {
        "duplicate-tokens" => whole("max", &mut thresholds.duplicate_tokens.max),
        "orphaned-sessions" => whole("max", &mut thresholds.orphaned_sessions.max),
        "sessions-per-user" => {
            let max = &mut thresholds.sessions_per_user.max;
            *max = node.decimal("max").unwrap_or(*max);
        }
        "user-session-excess" => {
            let excess = &mut thresholds.user_session_excess;
            whole("max", &mut excess.max);
            excess.outliers = node.flag("outliers").unwrap_or(excess.outliers);
        }
        "rapid-creation" => {
            whole("max_per_hour", &mut thresholds.rapid_creation.max_per_hour);
        }
        "revived-sessions" => whole("max", &mut thresholds.revived_sessions.max),
        "creation-rate" => {
            thresholds.creation_rate = Baseline { min: node.whole("min"), max: node.whole("max") };
        }
        "expired-backlog" => {
            let backlog = &mut thresholds.expired_backlog;
            backlog.max = node.whole("max");
            backlog.max_age_days = small("max_age_days").unwrap_or(backlog.max_age_days);
        }
        "active-sessions" => {
            thresholds.active_sessions = Baseline { min: node.whole("min"), max: node.whole("max") };
        }
        "session-lifetime" => thresholds.session_lifetime.max_days = small("max_days"),
        "slow-observation" => {
            let budget_ms = &mut thresholds.slow_observation.budget_ms;
            *budget_ms = small("budget_ms").unwrap_or(*budget_ms);
        }
        _ => {}
    }
}

fn custom(reader: &mut Reader<'_>, node: &Node, (targets, before): (&[&str], &[Custom])) -> Option<Custom> {
    let id = node.text("id")?.to_owned();
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if id.is_empty() || !id.chars().all(plain) {
        let message = "must be small letters, digits and hyphens, such as \"suspended-users\"";
        reader.problem(node.at("id"), "check.id", message.into());
    }
    if checks::TABLE_CHECKS.iter().any(|check| check.id == id)
        || checks::LOG_CHECKS.iter().any(|check| check.id == id)
        || before.iter().any(|check| check.id == id)
    {
        reader.problem(node.at("id"), "check.id", "another check has that id".into());
    }
    let threshold = node.text("threshold").unwrap_or("> 0").parse();
    if let Err(error @ NotAThreshold) = &threshold {
        reader.problem(node.at("threshold"), "check.threshold", error.to_string());
    }
    let named = node.texts("targets");
    for name in &named {
        if !targets.contains(&name.as_str()) {
            let hint = nearest(name, targets.iter().copied());
            let message = format!("there is no target `{name}`{hint}");
            reader.problem(node.at("targets"), "check.targets", message);
        }
    }
    Some(Custom {
        id,
        // One statement, which stands inside another: a semicolon at its end would end that.
        sql: node.text("sql")?.trim().trim_end_matches(';').to_owned(),
        value: if node.text("value") == Some("first") { CustomValue::First } else { CustomValue::Rows },
        threshold: threshold.unwrap_or_else(|NotAThreshold| default_threshold()),
        max_rows: node.whole("max_rows").unwrap_or(100_000),
        severity: node.text("severity").and_then(Severity::parse).unwrap_or(Severity::Medium),
        action: node.text("action").unwrap_or_default().to_owned(),
        targets: named,
    })
}

fn default_threshold() -> Threshold {
    Threshold { comparison: Comparison::Above, number: 0.0 }
}
