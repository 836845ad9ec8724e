//! Generic reader for configuration files: parses TOML into structs and reports all problems at once.
//!
//! A file is parsed once into a tree with byte spans. The tree is validated against the JSON schema derived from the
//! structs; invalid entries are reported and removed. The rest is deserialized, and later checks report with the spans
//! kept by [`WithSpan`] values. This module knows nothing about the actual sections and keys.

mod generated_reference;
mod problem;
mod schema;
mod secrets;
mod snippet;
mod validate;
mod values;

pub use self::{
    generated_reference::{SectionSpec, render_example, render_reference},
    problem::{ConfigProblem, ProblemCollector, SourceExcerpt, UnresolvedSection},
    schema::{TextFormat, field_names, nested_field_names, schema_for},
    secrets::{SecretKeys, SecretLookup, SecretText, read_authorities},
    snippet::render_problem,
    validate::validate_document,
    values::{BoundedSeconds, WithSpan, ZeroOrBoundedSeconds, parse_seconds},
};

use serde::de::DeserializeOwned;
use toml::{Spanned, de::DeTable};

/// Parses the text of a file. Returns `None` if the text is not valid TOML.
#[must_use]
pub fn parse_document<'a>(
    text: &'a str,
    problems: &mut ProblemCollector<'a>,
) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.report(span, format!("invalid TOML: {}", error.message()));
    }
    if errors.is_empty() {
        return Some(document);
    }
    // A recovered tree would be a guess, so it is dropped. Without a tree, secrets cannot be located: hide every line.
    problems.hide_span(0..text.len());
    None
}

/// Deserializes a validated table. Returns `None`, and reports a problem, if that fails.
pub fn read_table<T: DeserializeOwned>(
    table: Spanned<DeTable<'_>>,
    problems: &mut ProblemCollector<'_>,
) -> Option<T> {
    let span = table.span();
    match T::deserialize(toml::Deserializer::from(table)) {
        Ok(value) => Some(value),
        Err(error) => {
            // The deserializer's own message may quote the value, which may be a secret.
            problems.report(error.span().unwrap_or(span), "invalid value");
            None
        }
    }
}

/// Returns the entries of a table whose keys are fields of `T`, for a section that is split over several structs.
#[must_use]
pub fn select_fields<'a, T: DeserializeOwned>(table: &Spanned<DeTable<'a>>) -> Spanned<DeTable<'a>> {
    let fields = field_names::<T>();
    filter_keys(table, |key| fields.contains(&key))
}

/// Returns the entries of a table whose keys are not fields of `T`.
#[must_use]
pub fn exclude_fields<'a, T: DeserializeOwned>(table: &Spanned<DeTable<'a>>) -> Spanned<DeTable<'a>> {
    let fields = field_names::<T>();
    filter_keys(table, |key| !fields.contains(&key))
}

fn filter_keys<'a>(table: &Spanned<DeTable<'a>>, is_meant: impl Fn(&str) -> bool) -> Spanned<DeTable<'a>> {
    let entries = table.get_ref().iter().filter(|(key, _)| is_meant(key.get_ref()));
    Spanned::new(table.span(), entries.map(|(key, value)| (key.clone(), value.clone())).collect())
}
