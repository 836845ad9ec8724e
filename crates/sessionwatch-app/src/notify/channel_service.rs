//! What a kind of channel is.

use std::{ops::Range, path::Path};

use credentials::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{DeliveryError, HttpRequest, NotificationBatch};
use crate::config_file::{ProblemCollector, SecretKeys, SecretLookup, SecretText, WithSpan};

/// What a kind of channel is. Each has a file of its own, and a line in `Kind`.
pub(super) trait ChannelService: Sized {
    /// The keys of its section besides those that every channel has.
    type Config: DeserializeOwned + JsonSchema;
    /// The word for it.
    const KIND_NAME: &'static str;
    /// Whether programs read what it sends, one alert at a time, rather than people.
    const IS_FOR_PROGRAMS: bool = false;
    /// Where it is sent where nothing else is said.
    const DEFAULT_URL: Option<&'static str> = None;
    /// How its addresses begin.
    const URL_SCHEMES: &'static [&'static str] = &["https://", "http://"];

    /// What it needs, as used; nothing if what is written is wrong, an error if what it refers to is not there.
    fn new(config: Self::Config, source: &mut ChannelSource<'_, '_, '_>) -> Option<Result<Self, String>>;

    /// The request that tells the messages to what has that address.
    ///
    /// # Errors
    ///
    /// If there is none.
    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        now: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError>;
}

/// What a channel is read from.
pub(super) struct ChannelSource<'a, 'p, 't> {
    /// Where its section stands.
    pub(super) section: Range<usize>,
    /// What the names of files are relative to.
    pub(super) folder: &'a Path,
    /// Everything that is wrong.
    pub(super) problems: &'p mut ProblemCollector<'t>,
}

impl ChannelSource<'_, '_, '_> {
    /// The secret that is written; nothing if it is wrong, an error if it is not there.
    pub(super) fn optional_secret(
        &mut self,
        text: Option<&WithSpan<SecretText>>,
        file: Option<&WithSpan<String>>,
    ) -> Option<Result<Option<Secret>, String>> {
        match (SecretKeys { name: "secret", text, file }).read_secret(self.folder, self.problems) {
            SecretLookup::Absent => Some(Ok(None)),
            SecretLookup::Invalid => None,
            SecretLookup::Found(secret) => Some(Ok(Some(secret.into_inner()))),
            SecretLookup::Unresolved(missing) => Some(Err(missing.into_inner())),
        }
    }

    /// The secret, without which a channel of that kind cannot be.
    pub(super) fn required_secret(
        &mut self,
        text: Option<&WithSpan<SecretText>>,
        file: Option<&WithSpan<String>>,
    ) -> Option<Result<Secret, String>> {
        match self.optional_secret(text, file)? {
            Ok(Some(secret)) => Some(Ok(secret)),
            Err(missing) => Some(Err(missing)),
            Ok(None) => {
                if !self.problems.has_invalid_key(&self.section, &["secret", "secret_file"]) {
                    let message = "a channel of this kind needs the key `secret`";
                    self.problems.report(self.section.clone(), message);
                }
                None
            }
        }
    }
}

/// The keys of a kind that needs none of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct NoKeys {}

/// What is known of a kind without a channel of it.
#[derive(Clone, Debug)]
pub(super) struct KindDefaults {
    pub(super) default_url: Option<&'static str>,
    pub(super) schemes: &'static [&'static str],
}
