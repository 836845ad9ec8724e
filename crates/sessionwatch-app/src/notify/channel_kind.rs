//! The kinds of channels, listed once.

use credentials::Secret;
use sessionwatch_core::timestamp::UtcTimestamp;
use toml::{Spanned, de::DeTable};

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    alertmanager::Alertmanager,
    channel_service::{ChannelService, ChannelSource, KindDefaults},
    discord::Discord,
    email::Email,
    ntfy::Ntfy,
    pagerduty::PagerDuty,
    section::KindReference,
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
        pub enum ChannelKind {
            $($(#[$about])* $kind($kind),)*
        }

        impl ChannelKind {
            /// The words for all kinds.
            pub const NAMES: &[&str] = &[$($kind::KIND_NAME,)*];

            /// The word for it.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $kind::KIND_NAME,)*
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
            pub fn kind_references() -> Vec<KindReference> {
                vec![$(KindReference::for_service::<$kind>(),)*]
            }

            /// What is known of the kind of that name.
            pub(super) fn kind_defaults(name: &str) -> Option<KindDefaults> {
                $(if name == $kind::KIND_NAME {
                    return Some(KindDefaults { default_url: $kind::DEFAULT_URL, schemes: $kind::URL_SCHEMES });
                })*
                None
            }

            /// What a kind needs; nothing if what is written is wrong, an error if what it refers to is not there.
            pub(super) fn from_section(
                name: &str,
                own: Spanned<DeTable<'_>>,
                source: &mut ChannelSource<'_, '_, '_>,
            ) -> Option<Result<Self, String>> {
                $(if name == $kind::KIND_NAME {
                    let config = config_file::read_table(own, source.problems)?;
                    return Some($kind::new(config, source)?.map(Self::$kind));
                })*
                None
            }

            /// The request that tells the messages.
            pub(super) fn build_request(
                &self,
                url: &Secret,
                batch: &NotificationBatch<'_>,
                now: UtcTimestamp,
            ) -> Result<HttpRequest, DeliveryError> {
                match self {
                    $(Self::$kind(service) => service.build_request(url, batch, now),)*
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
