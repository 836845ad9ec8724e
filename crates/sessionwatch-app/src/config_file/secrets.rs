//! Secrets that are written in a file, each as a text with variables or as the name of a file that holds nothing else.

use std::{borrow::Cow, fmt, path::Path};

use credentials::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::{ProblemCollector, WithSpan, schema::SECRET_KEYWORD};
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
        json_schema!({ "type": "string", SECRET_KEYWORD: true })
    }
}

/// The two keys in which a secret may be written.
#[derive(Clone, Copy, Debug)]
pub struct SecretKeys<'a> {
    /// The name of the key that holds the text; that of the file ends in `_file`.
    pub name: &'static str,
    /// The text.
    pub text: Option<&'a WithSpan<SecretText>>,
    /// The file.
    pub file: Option<&'a WithSpan<String>>,
}

/// What comes of [`SecretKeys`].
#[derive(Clone, Debug)]
pub enum SecretLookup {
    /// Neither key is written.
    Absent,
    /// What is written is wrong, which has been reported.
    Invalid,
    /// The secret.
    Found(WithSpan<Secret>),
    /// What it refers to is not there at present.
    Unresolved(WithSpan<String>),
}

impl SecretKeys<'_> {
    /// Whether either key is written, with a good value.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.text.is_some() || self.file.is_some()
    }

    /// The secret that is written; files are relative to the folder.
    pub fn read_secret(&self, folder: &Path, problems: &mut ProblemCollector<'_>) -> SecretLookup {
        let (span, found) = match (self.text, self.file) {
            (Some(_), Some(file)) => {
                let name = self.name;
                problems
                    .report(file.span(), format!("{name} and {name}_file are both written: leave one out"));
                return SecretLookup::Invalid;
            }
            (Some(text), None) => (text.span(), environment::read_secret(Ok(text.expose()))),
            (None, Some(file)) => (file.span(), environment::read_secret(Err(folder.join(file.as_str())))),
            (None, None) => return SecretLookup::Absent,
        };
        match found {
            Ok(secret) => SecretLookup::Found(WithSpan::new(span, secret)),
            Err(missing) => SecretLookup::Unresolved(WithSpan::new(span, missing)),
        }
    }
}

/// A file of certificates in PEM form.
///
/// # Errors
///
/// If it cannot be read, or holds no certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<u8>, String> {
    const PEM_CERTIFICATE_HEADER: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let pem = std::fs::read(path).map_err(|_| format!("cannot read {}", path.display()))?;
    if pem.windows(PEM_CERTIFICATE_HEADER.len()).any(|part| part == PEM_CERTIFICATE_HEADER) {
        Ok(pem)
    } else {
        Err(format!("{} holds no certificate in PEM form", path.display()))
    }
}
