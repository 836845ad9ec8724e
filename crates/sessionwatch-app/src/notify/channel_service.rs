//! The trait that each kind of channel implements, and helpers to read its settings.

use std::{ops::Range, path::Path};

use credentials::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{DeliveryError, HttpRequest, NotificationBatch};
use crate::config_file::{ConfigProblem, ProblemCollector, SecretKeys, SecretLookup, SecretText, WithSpan};

/// A kind of channel. Each implementation has its own file and an entry in `ChannelKind`.
pub(super) trait ChannelService: Sized {
    /// The keys of the section, in addition to those that every channel has.
    type Config: DeserializeOwned + JsonSchema;
    /// The value of `kind` in the configuration.
    const KIND_NAME: &'static str;
    /// `true` if programs rather than people read the messages. Such messages carry one alert each.
    const IS_FOR_PROGRAMS: bool = false;
    /// The URL if none is configured; `None` if one is required.
    const DEFAULT_URL: Option<&'static str> = None;
    /// Allowed URL schemes.
    const URL_SCHEMES: &'static [&'static str] = &["https://", "http://"];

    /// Builds the service from its keys. Returns `None` if they are invalid (already reported), or an error if they
    /// refer to a missing file or variable.
    fn new(
        config: Self::Config,
        source: &mut ChannelSource<'_, '_, '_>,
    ) -> Option<Result<Self, ConfigProblem>>;

    /// Builds the request that delivers a batch to `url`.
    ///
    /// # Errors
    ///
    /// If the kind is not delivered over HTTP, or the message cannot be serialized.
    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        now: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError>;
}

/// The context in which a channel section is read.
pub(super) struct ChannelSource<'a, 'p, 't> {
    /// The section's byte range in the file.
    pub(super) section: Range<usize>,
    /// The folder that relative file names refer to.
    pub(super) folder: &'a Path,
    /// Collects the problems of the file.
    pub(super) problems: &'p mut ProblemCollector<'t>,
}

impl ChannelSource<'_, '_, '_> {
    /// Reads the optional key `secret` or `secret_file`. Returns `None` if the keys are invalid (already reported), or
    /// an error if they refer to a missing file or variable.
    pub(super) fn optional_secret(
        &mut self,
        text: Option<&WithSpan<SecretText>>,
        file: Option<&WithSpan<String>>,
    ) -> Option<Result<Option<Secret>, ConfigProblem>> {
        match (SecretKeys { name: "secret", text, file }).read_secret(self.folder, self.problems) {
            SecretLookup::Absent => Some(Ok(None)),
            SecretLookup::Invalid => None,
            SecretLookup::Found(secret) => Some(Ok(Some(secret.into_inner()))),
            SecretLookup::Unresolved(missing) => Some(Err(missing)),
        }
    }

    /// Reads the required key `secret` or `secret_file`, as [`Self::optional_secret`] does, and reports it if missing.
    pub(super) fn required_secret(
        &mut self,
        text: Option<&WithSpan<SecretText>>,
        file: Option<&WithSpan<String>>,
    ) -> Option<Result<Secret, ConfigProblem>> {
        match self.optional_secret(text, file)? {
            Ok(Some(secret)) => Some(Ok(secret)),
            Err(missing) => Some(Err(missing)),
            Ok(None) => {
                // A `secret` of the wrong type was reported already and is not missing.
                if !self.problems.has_invalid_key(&self.section, &["secret", "secret_file"]) {
                    let message = "the key `secret` or `secret_file` is missing";
                    self.problems.report(self.section.clone(), message);
                }
                None
            }
        }
    }
}

/// The settings of a kind without keys of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct NoKeys {}

/// Defaults of a kind that apply before its section is read.
#[derive(Clone, Debug)]
pub(super) struct KindDefaults {
    pub(super) default_url: Option<&'static str>,
    pub(super) schemes: &'static [&'static str],
}
