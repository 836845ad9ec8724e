//! Which channels a failing check would notify, by the routes of the configuration.

use sessionwatch_core::{
    checks::{CHANNEL_FAILING, TARGET_UNREACHABLE},
    severity::Severity,
    timestamp::UtcTimestamp,
};

use crate::{
    alerts::OPERATION_ALERT_SEVERITY,
    config::{Config, Target},
    effective_checks::{CheckBasis, EffectiveCheck, list_effective_checks},
};

/// Notifications of a check on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationPreview {
    /// Target name; that of the channel for `channel-failing`.
    pub target: String,
    /// Check ID.
    pub check: String,
    /// Severity of its alert.
    pub severity: Severity,
    /// Names of the channels that would be notified; empty if nobody would.
    pub channels: Vec<String>,
    /// A maintenance window holds the notification back now.
    pub is_in_maintenance: bool,
}

/// Lists the notifications of every check that runs, by target, and those of failing channels.
#[must_use]
pub fn preview_notifications(config: &Config, now: UtcTimestamp) -> Vec<NotificationPreview> {
    let checks: Vec<EffectiveCheck> =
        list_effective_checks(config).into_iter().filter(|check| check.is_enabled).collect();
    let mut previews = Vec::new();
    for target in &config.targets {
        let checks = checks.iter().filter(|check| runs_on_target(config, check, target));
        let alerts = std::iter::once((TARGET_UNREACHABLE, OPERATION_ALERT_SEVERITY))
            .chain(checks.map(|check| (check.id.as_str(), check.severity)));
        previews.extend(
            alerts.map(|(check, severity)| preview_notification(config, &target.name, check, severity, now)),
        );
    }
    previews.extend(config.serve.channels.iter().map(|failing| {
        let mut preview =
            preview_notification(config, &failing.name, CHANNEL_FAILING, OPERATION_ALERT_SEVERITY, now);
        // A channel that fails cannot say so itself.
        preview.channels.retain(|channel| *channel != failing.name);
        preview
    }));
    previews
}

fn preview_notification(
    config: &Config,
    target: &str,
    check: &str,
    severity: Severity,
    now: UtcTimestamp,
) -> NotificationPreview {
    let channels = config.serve.channels_for(target, check, severity);
    NotificationPreview {
        target: target.to_owned(),
        check: check.to_owned(),
        severity,
        channels: channels.iter().map(|channel| channel.name.clone()).collect(),
        is_in_maintenance: config.serve.is_in_maintenance(target, check, now),
    }
}

fn runs_on_target(config: &Config, check: &EffectiveCheck, target: &Target) -> bool {
    if check.basis == CheckBasis::Logs {
        return config.logs.sources_for_target(&target.name).next().is_some();
    }
    let custom = config.checks.custom_checks.iter().find(|custom| custom.id == check.id);
    custom.is_none_or(|custom| custom.targets.is_empty() || custom.targets.contains(&target.name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CONFIG: &str = r#"
        [[target]]
        name = "shop"
        url = "sqlite:shop.db"
        [[target]]
        name = "blog"
        url = "sqlite:blog.db"
        [[channel]]
        name = "chat"
        kind = "webhook"
        url = "https://example.org/chat"
        [[channel]]
        name = "pager"
        kind = "webhook"
        url = "https://example.org/pager"
        [[route]]
        channels = ["chat"]
        targets = ["shop"]
        [[route]]
        channels = ["pager", "chat"]
        severity = "critical"
        [[route]]
        channels = ["pager", "chat"]
        checks = ["channel-failing"]
        [[custom_check]]
        id = "carts"
        sql = "SELECT 1"
        threshold = "> 0"
        targets = ["blog"]
        [[maintenance_window]]
        cron = "0 0 * * *"
        duration = "1d"
        targets = ["blog"]
    "#;

    #[test]
    fn each_check_names_the_channels_of_its_routes() {
        let config = Config::parse(Path::new("sessionwatch.toml"), CONFIG).unwrap();
        let previews = preview_notifications(&config, UtcTimestamp::UNIX_EPOCH);
        let channels = |target: &str, check: &str| {
            let found =
                previews.iter().find(|one| (one.target.as_str(), one.check.as_str()) == (target, check));
            found.map(|one| (one.channels.join(" "), one.is_in_maintenance))
        };
        assert_eq!(channels("shop", "duplicate-tokens"), Some(("chat pager".into(), false)));
        assert_eq!(channels("shop", "expired-backlog"), Some(("chat".into(), false)));
        assert_eq!(channels("shop", TARGET_UNREACHABLE), Some(("chat".into(), false)));
        assert_eq!(channels("blog", "duplicate-tokens"), Some(("chat pager".into(), true)));
        assert_eq!(channels("blog", "expired-backlog"), Some((String::new(), true)));
        assert_eq!(channels("blog", "carts"), Some((String::new(), true)));
        // A failing channel is reported by the others.
        assert_eq!(channels("pager", CHANNEL_FAILING), Some(("chat".into(), false)));
        assert_eq!((channels("shop", "carts"), channels("shop", "log-errors")), (None, None));
    }
}
