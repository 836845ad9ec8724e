//! The kinds of channels, listed once.

use credentials::Secret;
use sessionwatch_core::instant::Instant;
use toml::{Spanned, de::DeTable};

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    alertmanager::Alertmanager,
    discord::Discord,
    email::Email,
    ntfy::Ntfy,
    pagerduty::PagerDuty,
    section::KindReference,
    service::{Facts, Service, Source},
    slack::Slack,
    teams::Teams,
    telegram::Telegram,
    webhook::Webhook,
};
use crate::config_file;

/// Makes the list of kinds, and what is done by kind.
macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident,)*) => {
        /// What is sent over a channel.
        #[derive(Clone, Debug)]
        pub enum Kind {
            $($(#[$about])* $kind($kind),)*
        }

        impl Kind {
            /// The words for all kinds.
            pub const NAMES: &[&str] = &[$($kind::KIND,)*];

            /// The word for it.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $kind::KIND,)*
                }
            }

            /// Whether programs read what it sends, one alert at a time, rather than people.
            #[must_use]
            pub const fn is_for_programs(&self) -> bool {
                match self {
                    $(Self::$kind(_) => $kind::IS_FOR_PROGRAMS,)*
                }
            }

            /// The section of each, as it is documented.
            #[must_use]
            pub fn references() -> Vec<KindReference> {
                vec![$(KindReference::of::<$kind>(),)*]
            }

            /// What is known of the kind of that name.
            pub(super) fn facts(name: &str) -> Option<Facts> {
                $(if name == $kind::KIND {
                    return Some(Facts { default_url: $kind::DEFAULT_URL, schemes: $kind::SCHEMES });
                })*
                None
            }

            /// What a kind needs; nothing if what is written is wrong, an error if what it refers to is not there.
            pub(super) fn read(
                name: &str,
                own: Spanned<DeTable<'_>>,
                source: &mut Source<'_, '_, '_>,
            ) -> Option<Result<Self, String>> {
                $(if name == $kind::KIND {
                    let config = config_file::read(own, source.problems)?;
                    return Some($kind::new(config, source)?.map(Self::$kind));
                })*
                None
            }

            /// The request that tells the messages.
            pub(super) fn post(
                &self,
                url: &Secret,
                told: &NotificationBatch<'_>,
                now: Instant,
            ) -> Result<HttpRequest, DeliveryError> {
                match self {
                    $(Self::$kind(service) => service.post(url, told, now),)*
                }
            }
        }
    };
}

kinds! {
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
