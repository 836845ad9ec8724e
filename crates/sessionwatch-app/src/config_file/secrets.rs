//! Secrets of a configuration file: a string with `${NAME}` variables, or the path of a file that contains the secret.

use std::{borrow::Cow, fmt, path::Path};

use credentials::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::{ConfigProblem, ProblemCollector, WithSpan, schema::SECRET_KEYWORD};
use crate::environment;

/// String that may be a secret, as written in the file: `${NAME}` variables are not expanded yet.
#[derive(Clone)]
pub struct SecretText(Secret);

impl SecretText {
    /// Returns the text, which may be a secret.
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

/// The two alternative keys of a secret, `NAME` and `NAME_file`.
#[derive(Clone, Copy, Debug)]
pub struct SecretKeys<'a> {
    /// Key of the text; the key of the file has the suffix `_file`.
    pub name: &'static str,
    /// Value of `NAME`.
    pub text: Option<&'a WithSpan<SecretText>>,
    /// Value of `NAME_file`, a path.
    pub file: Option<&'a WithSpan<String>>,
}

/// Result of reading [`SecretKeys`].
#[derive(Clone, Debug)]
pub enum SecretLookup {
    /// Neither key is set.
    Absent,
    /// The keys are invalid, and the problem has been reported.
    Invalid,
    /// The secret.
    Found(WithSpan<Secret>),
    /// A variable is not set, or the file cannot be read. Kept apart from [`SecretLookup::Invalid`],
    /// because a command that does not need the secret can still run.
    Unresolved(ConfigProblem),
}

impl SecretKeys<'_> {
    /// Returns `true` if either key is set to a valid value.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.text.is_some() || self.file.is_some()
    }

    /// Reads the secret; paths are relative to `folder`. Reports a problem if both keys are set.
    pub fn read_secret(&self, folder: &Path, problems: &mut ProblemCollector<'_>) -> SecretLookup {
        let (span, found) = match (self.text, self.file) {
            // Not merged by precedence: a leftover key would silently win over the other.
            (Some(_), Some(file)) => {
                let name = self.name;
                problems.report(file.span(), format!("`{name}` and `{name}_file` are both set: remove one"));
                return SecretLookup::Invalid;
            }
            (Some(text), None) => (text.span(), environment::read_secret(Ok(text.expose()), folder)),
            (None, Some(file)) => {
                (file.span(), environment::read_secret(Err(folder.join(file.as_str())), folder))
            }
            (None, None) => return SecretLookup::Absent,
        };
        match found {
            Ok(secret) => SecretLookup::Found(WithSpan::new(span, secret)),
            Err(missing) => SecretLookup::Unresolved(problems.build_problem(&span, &missing)),
        }
    }
}

/// Reads the PEM file of additional certificate authorities that a section names; paths are relative to `folder`.
///
/// # Errors
///
/// If the file cannot be read, or contains no certificate.
pub fn read_authorities(
    file: Option<&WithSpan<String>>,
    folder: &Path,
    problems: &ProblemCollector<'_>,
) -> Result<Option<Vec<u8>>, ConfigProblem> {
    let Some(file) = file else { return Ok(None) };
    let read = read_certificates(&folder.join(file.as_str()));
    read.map(Some).map_err(|problem| problems.build_problem(&file.span(), &problem))
}

/// Reads a PEM file of certificates.
fn read_certificates(path: &Path) -> Result<Vec<u8>, String> {
    const PEM_CERTIFICATE_HEADER: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let pem = std::fs::read(path).map_err(|_| format!("cannot read {}", path.display()))?;
    // Searched and not parsed: a file of another format is the usual mistake.
    if pem.windows(PEM_CERTIFICATE_HEADER.len()).any(|part| part == PEM_CERTIFICATE_HEADER) {
        Ok(pem)
    } else {
        Err(format!("{} contains no PEM certificate", path.display()))
    }
}
