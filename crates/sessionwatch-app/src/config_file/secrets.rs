//! Secrets that are written in a file, each as a text with variables or as the name of a file that holds nothing else.

use std::{borrow::Cow, fmt, path::Path};

use credentials::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::{Problems, Written, schema::HOLDS_SECRET};
use crate::environment;

/// A text that may be a secret, as written: `${NAME}` stands for a variable of the environment.
#[derive(Clone)]
pub struct SecretText(Secret);

impl SecretText {
    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::from(text)))
    }
}

impl JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", HOLDS_SECRET: true })
    }
}

/// The two keys in which a secret may be written.
#[derive(Clone, Copy, Debug)]
pub struct SecretKeys<'a> {
    /// The name of the key that holds the text; that of the file ends in `_file`.
    pub name: &'static str,
    /// The text.
    pub text: Option<&'a Written<SecretText>>,
    /// The file.
    pub file: Option<&'a Written<String>>,
}

/// What comes of [`SecretKeys`].
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Neither key is written.
    Absent,
    /// What is written is wrong, which has been reported.
    Refused,
    /// The secret.
    Found(Written<Secret>),
    /// What it refers to is not there at present.
    Missing(Written<String>),
}

impl SecretKeys<'_> {
    /// Whether either key is written, with a good value.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.text.is_some() || self.file.is_some()
    }

    /// The secret that is written; files are relative to the folder.
    pub fn look_up(&self, folder: &Path, problems: &mut Problems<'_>) -> Lookup {
        let (span, found) = match (self.text, self.file) {
            (Some(_), Some(file)) => {
                let name = self.name;
                problems
                    .report(file.span(), format!("{name} and {name}_file are both written: leave one out"));
                return Lookup::Refused;
            }
            (Some(text), None) => (text.span(), environment::secret(Ok(text.expose()))),
            (None, Some(file)) => (file.span(), environment::secret(Err(folder.join(file.as_str())))),
            (None, None) => return Lookup::Absent,
        };
        match found {
            Ok(secret) => Lookup::Found(Written::new(span, secret)),
            Err(missing) => Lookup::Missing(Written::new(span, missing)),
        }
    }
}

/// A file of certificates in PEM form.
///
/// # Errors
///
/// If it cannot be read, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let pem = std::fs::read(path).map_err(|_| format!("cannot read {}", path.display()))?;
    if pem.windows(BEGIN.len()).any(|part| part == BEGIN) {
        Ok(pem)
    } else {
        Err(format!("{} holds no certificate in PEM form", path.display()))
    }
}
