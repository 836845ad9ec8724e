//! What a kind of channel is.

use std::{ops::Range, path::Path};

use credentials::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use sessionwatch_core::instant::Instant;

use super::{DeliveryError, HttpRequest, NotificationBatch};
use crate::config_file::{Lookup, Problems, SecretKeys, SecretText, Written};

/// What a kind of channel is. Each has a file of its own, and a line in `Kind`.
pub(super) trait Service: Sized {
    /// The keys of its section besides those that every channel has.
    type Config: DeserializeOwned + JsonSchema;
    /// The word for it.
    const KIND: &'static str;
    /// Whether programs read what it sends, one alert at a time, rather than people.
    const IS_FOR_PROGRAMS: bool = false;
    /// Where it is sent where nothing else is said.
    const DEFAULT_URL: Option<&'static str> = None;
    /// How its addresses begin.
    const SCHEMES: &'static [&'static str] = &["https://", "http://"];

    /// What it needs, as used; nothing if what is written is wrong, an error if what it refers to is not there.
    fn new(config: Self::Config, source: &mut Source<'_, '_, '_>) -> Option<Result<Self, String>>;

    /// The request that tells the messages to what has that address.
    ///
    /// # Errors
    ///
    /// If there is none.
    fn post(
        &self,
        url: &Secret,
        told: &NotificationBatch<'_>,
        now: Instant,
    ) -> Result<HttpRequest, DeliveryError>;
}

/// What a channel is read from.
pub(super) struct Source<'a, 'p, 't> {
    /// Where its section stands.
    pub(super) section: Range<usize>,
    /// What the names of files are relative to.
    pub(super) folder: &'a Path,
    /// Everything that is wrong.
    pub(super) problems: &'p mut Problems<'t>,
}

impl Source<'_, '_, '_> {
    /// The secret that is written; nothing if it is wrong, an error if it is not there.
    pub(super) fn secret(
        &mut self,
        text: Option<&Written<SecretText>>,
        file: Option<&Written<String>>,
    ) -> Option<Result<Option<Secret>, String>> {
        match (SecretKeys { name: "secret", text, file }).look_up(self.folder, self.problems) {
            Lookup::Absent => Some(Ok(None)),
            Lookup::Refused => None,
            Lookup::Found(secret) => Some(Ok(Some(secret.into_inner()))),
            Lookup::Missing(missing) => Some(Err(missing.into_inner())),
        }
    }

    /// The secret, without which a channel of that kind cannot be.
    pub(super) fn required_secret(
        &mut self,
        text: Option<&Written<SecretText>>,
        file: Option<&Written<String>>,
    ) -> Option<Result<Secret, String>> {
        match self.secret(text, file)? {
            Ok(Some(secret)) => Some(Ok(secret)),
            Err(missing) => Some(Err(missing)),
            Ok(None) => {
                if !self.problems.was_refused(&self.section, &["secret", "secret_file"]) {
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
pub(super) struct Facts {
    pub(super) default_url: Option<&'static str>,
    pub(super) schemes: &'static [&'static str],
}
