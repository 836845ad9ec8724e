//! The list of channel kinds; [`ChannelKind`] and its dispatch are generated from it.

use credentials::Secret;
use sessionwatch_core::timestamp::UtcTimestamp;
use toml::{Spanned, de::DeTable};

use super::{
    DeliveryError, HttpRequest, NotificationBatch,
    alertmanager::Alertmanager,
    channel_section::KindReference,
    channel_service::{ChannelService, ChannelSource, KindDefaults},
    discord::Discord,
    email::Email,
    ntfy::Ntfy,
    pagerduty::PagerDuty,
    slack::Slack,
    teams::Teams,
    telegram::Telegram,
    webhook::Webhook,
};
use crate::config_file::{self, ConfigProblem};

/// Generates [`ChannelKind`] and its methods from the list of services.
macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident,)*) => {
        /// The kind of a channel, with its settings.
        #[derive(Clone, Debug)]
        pub enum ChannelKind {
            $($(#[$about])* $kind($kind),)*
        }

        impl ChannelKind {
            /// The names of all kinds, as written in the configuration.
            pub const NAMES: &[&str] = &[$($kind::KIND_NAME,)*];

            /// Returns the name of the kind, as written in the configuration.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $kind::KIND_NAME,)*
                }
            }

            /// Returns `true` if programs rather than people read the messages. Such messages carry one alert each.
            #[must_use]
            pub const fn is_for_programs(&self) -> bool {
                match self {
                    $(Self::$kind(_) => $kind::IS_FOR_PROGRAMS,)*
                }
            }

            /// Returns the reference documentation of each kind.
            #[must_use]
            pub fn kind_references() -> Vec<KindReference> {
                vec![$(KindReference::for_service::<$kind>(),)*]
            }

            /// Returns the default URL and URL schemes of a kind; `None` for an unknown name.
            pub(super) fn kind_defaults(name: &str) -> Option<KindDefaults> {
                $(if name == $kind::KIND_NAME {
                    return Some(KindDefaults { default_url: $kind::DEFAULT_URL, schemes: $kind::URL_SCHEMES });
                })*
                None
            }

            /// Reads the settings of a kind. Returns `None` if they are invalid (already reported), or an error if they
            /// refer to a missing file or variable.
            pub(super) fn from_section(
                name: &str,
                own: Spanned<DeTable<'_>>,
                source: &mut ChannelSource<'_, '_, '_>,
            ) -> Option<Result<Self, ConfigProblem>> {
                $(if name == $kind::KIND_NAME {
                    let config = config_file::read_table(own, source.problems)?;
                    return Some($kind::new(config, source)?.map(Self::$kind));
                })*
                None
            }

            /// Builds the request that delivers a batch.
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
    /// A webhook that receives JSON, optionally signed.
    Webhook,
    /// A Slack incoming webhook.
    Slack,
    /// A Discord webhook.
    Discord,
    /// A Microsoft Teams workflow.
    Teams,
    /// A Telegram bot.
    Telegram,
    /// Email over SMTP.
    Email,
    /// A PagerDuty service.
    PagerDuty,
    /// Prometheus Alertmanager.
    Alertmanager,
    /// An ntfy topic.
    Ntfy,
}
