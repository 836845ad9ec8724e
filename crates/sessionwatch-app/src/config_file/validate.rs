//! Checks a file against its schema. What does not fit is reported and taken out, so that the rest can be read.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use serde_json::{Map, Value};
use sessionwatch_core::suggest::did_you_mean;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::ProblemCollector,
    schema::{DURATION_FORMAT, SECRET_KEYWORD, TextFormat, describe_value},
    values::parse_seconds,
};

/// Reports everything in a file that does not fit its schema, and takes it out.
pub fn validate_document(
    document: &mut Spanned<DeTable<'_>>,
    schema: &Value,
    formats: &[TextFormat],
    problems: &mut ProblemCollector<'_>,
) {
    let start = document.span().start;
    SchemaValidator { formats, problems }.check_table("", schema, start..start, document.get_mut());
}

struct SchemaValidator<'a, 'p> {
    formats: &'a [TextFormat],
    problems: &'a mut ProblemCollector<'p>,
}

impl SchemaValidator<'_, '_> {
    fn check_table(&mut self, path: &str, schema: &Value, span: Range<usize>, table: &mut DeTable<'_>) {
        let written: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
        let TableShape { properties, required, kind } = TableShape::for_table(schema, table);
        for (key, mut value) in std::mem::take(table) {
            let name = key.get_ref().as_ref();
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            // A key of another kind is of no use, but known.
            match properties.get(name).or_else(|| schema["properties"].get(name)) {
                Some(schema) if self.check_value(&path, schema, &mut value) => drop(table.insert(key, value)),
                Some(_) => self.problems.mark_invalid(span.start, name),
                None => {
                    self.report_unknown_key(&path, schema, &key);
                    self.problems.hide_span(value.span());
                }
            }
        }
        for key in required.iter().filter(|key| !written.iter().any(|written| written == *key)) {
            let about = properties.get(*key).and_then(|key| key["description"].as_str());
            let about = lowercase_first(about.unwrap_or_default());
            let is_always_required =
                schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == key));
            let message = match &kind {
                Some(kind) if !is_always_required => {
                    format!("with kind = \"{kind}\" it needs the key `{key}` ({about})")
                }
                _ => format!("the key `{key}` is missing ({about})"),
            };
            self.problems.report(span.clone(), message);
        }
    }

    /// Returns `false` if the value does not fit.
    fn check_value(&mut self, path: &str, schema: &Value, value: &mut Spanned<DeValue<'_>>) -> bool {
        let span = value.span();
        self.problems.record_path(span.start, path);
        if schema["type"] == "object" {
            if let DeValue::Table(table) = value.get_mut() {
                self.check_table(path, schema, span, table);
                return true;
            }
            let message = match schema["properties"].as_object().filter(|properties| is_group(properties)) {
                Some(properties) => {
                    let name = properties.keys().min().map(String::as_str).unwrap_or_default();
                    format!("`{path}` holds sections, such as [{path}.{name}]")
                }
                None => format!("write it as [{path}], once"),
            };
            return self.report_mismatch(span, message);
        }
        if schema["items"]["type"] == "object" {
            return self.check_tables(path, &schema["items"], value);
        }
        let holds_secret = schema[SECRET_KEYWORD] == true;
        if holds_secret {
            self.problems.hide_span(span.clone());
        }
        match self.check_scalar(schema, value.get_ref()) {
            Err(hint) => {
                self.report_mismatch(span, format!("must be {}{hint}", describe_value(schema, self.formats)))
            }
            Ok(()) if !holds_secret && contains_password(value.get_ref()) => {
                self.problems.hide_span(span.clone());
                let message =
                    "holds an address with a password, and would be shown: only `url` keys take addresses";
                self.report_mismatch(span, message.into())
            }
            Ok(()) => true,
        }
    }

    fn check_tables(&mut self, path: &str, schema: &Value, value: &mut Spanned<DeValue<'_>>) -> bool {
        let span = value.span();
        if let DeValue::Array(items) = value.get_mut()
            && items.iter().all(|item| item.get_ref().is_table())
        {
            for item in items.iter_mut() {
                let span = item.span();
                self.problems.record_path(span.start, path);
                if let DeValue::Table(table) = item.get_mut() {
                    self.check_table(path, schema, span, table);
                }
            }
            return true;
        }
        self.report_mismatch(span, format!("write it as [[{path}]], once for each"))
    }

    /// An error is a hint: empty, or it begins with a semicolon.
    fn check_scalar(&self, schema: &Value, value: &DeValue<'_>) -> Result<(), String> {
        if schema["format"] == DURATION_FORMAT {
            let seconds = match value {
                DeValue::String(text) => parse_seconds(text).ok(),
                other => parse_integer(other),
            };
            // The third alternative, where there is one, is zero: below the bounds, and allowed all the same.
            let is_allowed_zero = seconds == Some(0) && schema["oneOf"][2].is_object();
            return if is_allowed_zero {
                Ok(())
            } else {
                require_within_bounds(seconds, &schema["oneOf"][1])
            };
        }
        if let Value::Array(words) = &schema["enum"] {
            let DeValue::String(word) = value else { return Err(String::new()) };
            let words = || words.iter().filter_map(Value::as_str);
            return if words().any(|known| known == word) {
                Ok(())
            } else {
                Err(did_you_mean(word, words()))
            };
        }
        let is_of_type = match schema["type"].as_str() {
            Some("boolean") => value.is_bool(),
            Some("integer") => return require_within_bounds(parse_integer(value), schema),
            Some("number") => return require_within_bounds(parse_decimal(value), schema),
            Some("array") => {
                value.as_array().is_some_and(|items| items.iter().all(|item| item.get_ref().is_str()))
            }
            _ => value.is_str(),
        };
        let format = self.formats.iter().find(|format| schema["format"] == format.name);
        match (value.as_str(), format) {
            (Some(text), Some(format)) => (format.check)(text),
            _ if is_of_type => Ok(()),
            _ => Err(String::new()),
        }
    }

    /// Reports a key that there is not.
    fn report_unknown_key(&mut self, path: &str, schema: &Value, key: &Spanned<Cow<'_, str>>) {
        let name = key.get_ref().as_ref();
        self.problems.record_path(key.span().start, path);
        let Some(properties) = schema["properties"].as_object() else { return };
        let what = if is_group(properties) { "section" } else { "key" };
        let hint = did_you_mean(name, properties.keys().map(String::as_str));
        let message = format!("there is no such {what}{hint}");
        self.problems.report(key.span(), message);
    }

    fn report_mismatch(&mut self, span: Range<usize>, message: String) -> bool {
        self.problems.report(span, message);
        false
    }
}

/// The keys that a table may have and must have; where it has a `kind`, those of its kind.
struct TableShape<'s> {
    properties: &'s Map<String, Value>,
    required: Vec<&'s str>,
    kind: Option<String>,
}

impl<'s> TableShape<'s> {
    fn for_table(schema: &'s Value, table: &DeTable<'_>) -> Self {
        static NO_KEYS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        let kind = table.get("kind").and_then(|kind| kind.get_ref().as_str());
        let mut variants = schema["oneOf"].as_array().into_iter().flatten();
        let variant = variants.find(|variant| {
            let word = variant["properties"]["kind"]["const"].as_str();
            word.is_some() && word == kind
        });
        let shape = variant.unwrap_or(schema);
        Self {
            properties: shape["properties"].as_object().unwrap_or(&NO_KEYS),
            required: shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
            kind: variant.and(kind).map(str::to_owned),
        }
    }
}

/// Whether it holds nothing but sections.
fn is_group(properties: &Map<String, Value>) -> bool {
    properties.values().all(|property| property["type"] == "object")
}

fn parse_integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn parse_decimal(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}

/// Whether there is a number within the bounds of the schema.
fn require_within_bounds<N: PartialOrd + serde::de::DeserializeOwned>(
    number: Option<N>,
    schema: &Value,
) -> Result<(), String> {
    let bound = |keyword: &str| serde_json::from_value::<N>(schema[keyword].clone()).ok();
    let is_within = number.is_some_and(|number| {
        bound("minimum").is_none_or(|min| min <= number) && bound("maximum").is_none_or(|max| number <= max)
    });
    if is_within { Ok(()) } else { Err(String::new()) }
}

/// Whether somebody wrote an address with a password where it would be shown.
fn contains_password(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => credentials::contains_credential(text),
        DeValue::Array(items) => items.iter().any(|item| contains_password(item.get_ref())),
        _ => false,
    }
}

fn lowercase_first(about: &str) -> String {
    let mut letters = about.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
