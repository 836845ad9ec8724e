//! A channel: what is sent, where to, and with what.

use super::template::Template;
use crate::secret::Secret;

/// A way to tell people.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What is sent.
    pub kind: Kind,
    /// Where to; of a chat, the address is a secret of its own.
    pub url: Secret,
    /// A key or token, as the kind needs it.
    pub secret: Option<Secret>,
    /// The chat of Telegram.
    pub chat: Option<String>,
    /// The sender of e-mail.
    pub from: Option<String>,
    /// The recipients of e-mail.
    pub to: Vec<String>,
    /// Certificate authorities to trust besides those of the system, as PEM.
    pub authorities: Option<Vec<u8>>,
    /// The text for people, where it is not the usual one.
    pub template: Option<Template>,
}

/// What is sent over a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON, signed.
    Webhook,
    /// A message for Slack.
    Slack,
    /// A message for Discord.
    Discord,
    /// A card for Microsoft Teams.
    Teams,
    /// A message of a Telegram bot.
    Telegram,
    /// E-mail.
    Email,
    /// An event of PagerDuty.
    PagerDuty,
    /// Alerts for Prometheus' Alertmanager.
    Alertmanager,
    /// A message over ntfy.
    Ntfy,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Teams => "teams",
            Self::Telegram => "telegram",
            Self::Email => "email",
            Self::PagerDuty => "pagerduty",
            Self::Alertmanager => "alertmanager",
            Self::Ntfy => "ntfy",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "webhook" => Self::Webhook,
            "slack" => Self::Slack,
            "discord" => Self::Discord,
            "teams" => Self::Teams,
            "telegram" => Self::Telegram,
            "email" => Self::Email,
            "pagerduty" => Self::PagerDuty,
            "alertmanager" => Self::Alertmanager,
            "ntfy" => Self::Ntfy,
            _ => return None,
        })
    }

    /// Whether programs read what it sends, one alert at a time, rather than people.
    #[must_use]
    pub fn is_for_programs(self) -> bool {
        matches!(self, Self::Webhook | Self::PagerDuty | Self::Alertmanager)
    }

    /// Where it is sent where nothing else is said.
    pub(crate) fn usual_url(self) -> Option<&'static str> {
        match self {
            Self::Telegram => Some("https://api.telegram.org"),
            Self::PagerDuty => Some("https://events.pagerduty.com/v2/enqueue"),
            _ => None,
        }
    }

    /// How its addresses begin.
    pub(crate) fn schemes(self) -> &'static [&'static str] {
        if self == Self::Email { &["smtps://", "smtp://"] } else { &["https://", "http://"] }
    }

    /// The keys that it cannot do without.
    pub(crate) fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Telegram => &["secret", "chat"],
            Self::PagerDuty => &["secret"],
            Self::Email => &["from", "to"],
            _ => &[],
        }
    }
}
