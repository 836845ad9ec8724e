//! Configuration files: TOML is read into structs, and everything that is wrong with it is reported at once.
//!
//! A file is parsed once into a tree with places. The tree is checked against the JSON schema that is derived from the
//! structs; what does not fit is reported and taken out. What is left is deserialized, and later checks report with the
//! places that [`WithSpan`] values keep. Which sections and keys there are is not known here.

mod problem;
mod reference;
mod schema;
mod secrets;
mod snippet;
mod validate;
mod values;

pub use self::{
    problem::{ConfigProblem, ProblemCollector, SourceExcerpt},
    reference::{SectionSpec, render_example, render_reference},
    schema::{TextFormat, field_names, nested_field_names, schema_for},
    secrets::{SecretKeys, SecretLookup, SecretText, read_certificates},
    snippet::render_problem,
    validate::validate_document,
    values::{BoundedSeconds, WithSpan, ZeroOrBoundedSeconds, parse_seconds},
};

use serde::de::DeserializeOwned;
use toml::{Spanned, de::DeTable};

/// Reads the text of a file; nothing if it is not TOML, since whatever was made of the rest would be a guess.
#[must_use]
pub fn parse_document<'a>(
    text: &'a str,
    problems: &mut ProblemCollector<'a>,
) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.report(span, format!("this is not TOML: {}", error.message()));
    }
    if errors.is_empty() {
        return Some(document);
    }
    // Nobody knows which of it is a secret.
    problems.hide_span(0..text.len());
    None
}

/// Makes a value of a checked table.
///
/// A table that passed the check can be deserialized; where that fails all the same, it is reported without a value.
pub fn read_table<T: DeserializeOwned>(
    table: Spanned<DeTable<'_>>,
    problems: &mut ProblemCollector<'_>,
) -> Option<T> {
    let span = table.span();
    match T::deserialize(toml::Deserializer::from(table)) {
        Ok(value) => Some(value),
        Err(error) => {
            problems.report(error.span().unwrap_or(span), "cannot be read");
            None
        }
    }
}

/// The keys of a table that are those of a struct, for a section that is made of several.
#[must_use]
pub fn select_fields<'a, T: DeserializeOwned>(table: &Spanned<DeTable<'a>>) -> Spanned<DeTable<'a>> {
    let fields = field_names::<T>();
    filter_keys(table, |key| fields.contains(&key))
}

/// The keys of a table that are not those of a struct.
#[must_use]
pub fn exclude_fields<'a, T: DeserializeOwned>(table: &Spanned<DeTable<'a>>) -> Spanned<DeTable<'a>> {
    let fields = field_names::<T>();
    filter_keys(table, |key| !fields.contains(&key))
}

fn filter_keys<'a>(table: &Spanned<DeTable<'a>>, is_meant: impl Fn(&str) -> bool) -> Spanned<DeTable<'a>> {
    let entries = table.get_ref().iter().filter(|(key, _)| is_meant(key.get_ref()));
    Spanned::new(table.span(), entries.map(|(key, value)| (key.clone(), value.clone())).collect())
}
