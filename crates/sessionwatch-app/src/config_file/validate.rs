//! Validates a file against its schema. Invalid entries are reported and removed, so that the rest can be read.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use serde_json::{Map, Value};
use sessionwatch_core::suggest::did_you_mean;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::ProblemCollector,
    schema::{SECRET_KEYWORD, TextFormat, describe_value},
    values::DURATION_FORMAT,
    values::parse_seconds,
};

/// Reports and removes every entry of a file that does not match the schema.
pub fn validate_document(
    document: &mut Spanned<DeTable<'_>>,
    schema: &Value,
    formats: &[TextFormat],
    problems: &mut ProblemCollector<'_>,
) {
    let start = document.span().start;
    SchemaValidator { formats, problems }.check_table(
        TableName { path: "", header: "" },
        schema,
        start..start,
        document.get_mut(),
    );
}

struct SchemaValidator<'a, 'p> {
    formats: &'a [TextFormat],
    problems: &'a mut ProblemCollector<'p>,
}

/// Names of one table in a file; empty at the top level.
#[derive(Clone, Copy)]
struct TableName<'a> {
    /// Dotted keys, such as `target.mapping`.
    path: &'a str,
    /// The line that opens the table, such as `[[target]]`, for messages.
    header: &'a str,
}

impl SchemaValidator<'_, '_> {
    /// Validates the entries of a table.
    fn check_table(
        &mut self,
        name: TableName<'_>,
        schema: &Value,
        span: Range<usize>,
        table: &mut DeTable<'_>,
    ) {
        let TableName { path, header } = name;
        // Noted before invalid entries are removed, so that they are not reported as missing too.
        let written: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
        let TableShape { properties, required, kind } = TableShape::for_table(schema, table);
        // Taken apart, so that only valid entries go back into the table.
        for (key, mut value) in std::mem::take(table) {
            let name = key.get_ref().as_ref();
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            // Keys of other kinds have no effect but are accepted, so that changing `kind` needs no other edit.
            match properties.get(name).or_else(|| schema["properties"].get(name)) {
                Some(schema) if self.check_value(&path, schema, &mut value) => drop(table.insert(key, value)),
                Some(_) => self.problems.mark_invalid(span.start, name),
                None => {
                    self.report_unknown_key(header, schema, &key);
                    // Possibly a misspelled secret key: hide the value.
                    self.problems.hide_span(value.span());
                }
            }
        }
        for key in required.iter().filter(|key| !written.iter().any(|written| written == *key)) {
            let description = properties.get(*key).and_then(|key| key["description"].as_str());
            let description = lowercase_first(description.unwrap_or_default());
            // A key that is required only for one kind is reported together with that kind.
            let is_always_required =
                schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == key));
            let message = match &kind {
                Some(kind) if !is_always_required => {
                    format!("kind = \"{kind}\" requires the key `{key}` ({description})")
                }
                _ => format!("missing required key `{key}` ({description})"),
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
                let name = TableName { path, header: &format!("[{path}]") };
                self.check_table(name, schema, span, table);
                return true;
            }
            let message = match schema["properties"].as_object().filter(|properties| is_group(properties)) {
                Some(properties) => {
                    let name = properties.keys().min().map(String::as_str).unwrap_or_default();
                    format!("`{path}` must contain only sections, such as [{path}.{name}]")
                }
                None => format!("must be a section: write [{path}], once"),
            };
            return self.report_mismatch(span, message);
        }
        if schema["items"]["type"] == "object" {
            return self.check_tables(path, &schema["items"], value);
        }
        let holds_secret = schema[SECRET_KEYWORD] == true;
        // Hidden before it is checked, so that no message about the value can show it.
        if holds_secret {
            self.problems.hide_span(span.clone());
        }
        match self.check_scalar(schema, value.get_ref()) {
            Err(hint) => {
                self.report_mismatch(span, format!("expected {}{hint}", describe_value(schema, self.formats)))
            }
            // Only secret keys are masked in output, so a password in any other key would be printed.
            Ok(()) if !holds_secret && contains_password(value.get_ref()) => {
                self.problems.hide_span(span.clone());
                let message = "contains an address with a password, and this key is not kept secret: \
                               use a `url` key for addresses";
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
                    let name = TableName { path, header: &format!("[[{path}]]") };
                    self.check_table(name, schema, span, table);
                }
            }
            return true;
        }
        self.report_mismatch(span, format!("must be a list of sections: write [[{path}]] for each entry"))
    }

    /// Checks a value that is not a table. The error is a hint: empty, or text that begins with a semicolon.
    fn check_scalar(&self, schema: &Value, value: &DeValue<'_>) -> Result<(), String> {
        if schema["format"] == DURATION_FORMAT {
            let seconds = match value {
                DeValue::String(text) => parse_seconds(text).ok(),
                other => parse_integer(other),
            };
            // The third alternative, where there is one, is zero: below the bounds, but still allowed.
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
        // The type is checked last, as formats and enumerations imply it.
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

    /// Reports an unknown key or section. The message names the table, so no path is recorded for the place.
    fn report_unknown_key(&mut self, header: &str, schema: &Value, key: &Spanned<Cow<'_, str>>) {
        let name = key.get_ref().as_ref();
        let Some(properties) = schema["properties"].as_object() else { return };
        let what = if is_group(properties) { "section" } else { "key" };
        let hint = did_you_mean(name, properties.keys().map(String::as_str));
        let place = if header.is_empty() { String::new() } else { format!(" in {header}") };
        self.problems.report(key.span(), format!("unknown {what} `{name}`{place}{hint}"));
    }

    fn report_mismatch(&mut self, span: Range<usize>, message: String) -> bool {
        self.problems.report(span, message);
        false
    }
}

/// Allowed and required keys of a table; for a table with a known `kind`, those of that kind.
struct TableShape<'s> {
    properties: &'s Map<String, Value>,
    required: Vec<&'s str>,
    kind: Option<String>,
}

impl<'s> TableShape<'s> {
    fn for_table(schema: &'s Value, table: &DeTable<'_>) -> Self {
        static NO_KEYS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        // Read before the entries are validated, since it decides which of them are allowed.
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

/// Returns `true` if all properties are sections.
fn is_group(properties: &Map<String, Value>) -> bool {
    properties.values().all(|property| property["type"] == "object")
}

fn parse_integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    // The text is without radix prefix and underscores; a negative number fails to parse, as no key accepts one.
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn parse_decimal(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}

/// Returns an empty error if there is no number, or it is outside the bounds of the schema.
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

fn contains_password(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => credentials::contains_credential(text),
        DeValue::Array(items) => items.iter().any(|item| contains_password(item.get_ref())),
        _ => false,
    }
}

fn lowercase_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
