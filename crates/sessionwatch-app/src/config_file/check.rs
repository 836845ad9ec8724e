//! Checks a file against its schema. What does not fit is reported and taken out, so that the rest can be read.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use serde_json::{Map, Value};
use sessionwatch_core::suggest::nearest;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::Problems,
    schema::{DURATION, Format, HOLDS_SECRET, described},
    written::parse_seconds,
};

/// Reports everything in a file that does not fit its schema, and takes it out.
pub fn check(
    document: &mut Spanned<DeTable<'_>>,
    schema: &Value,
    formats: &[Format],
    problems: &mut Problems<'_>,
) {
    let start = document.span().start;
    Checker { formats, problems }.table("", schema, start..start, document.get_mut());
}

struct Checker<'a, 'p> {
    formats: &'a [Format],
    problems: &'a mut Problems<'p>,
}

impl Checker<'_, '_> {
    fn table(&mut self, path: &str, schema: &Value, span: Range<usize>, table: &mut DeTable<'_>) {
        let written: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
        let Shape { properties, required, kind } = Shape::of(schema, table);
        for (key, mut value) in std::mem::take(table) {
            let name = key.get_ref().as_ref();
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            // A key of another kind is of no use, but known.
            match properties.get(name).or_else(|| schema["properties"].get(name)) {
                Some(schema) if self.value(&path, schema, &mut value) => drop(table.insert(key, value)),
                Some(_) => self.problems.refuse(span.start, name),
                None => {
                    self.unknown(&path, schema, &key);
                    self.problems.hide(value.span());
                }
            }
        }
        for key in required.iter().filter(|key| !written.iter().any(|written| written == *key)) {
            let about = properties.get(*key).and_then(|key| key["description"].as_str());
            let about = lower(about.unwrap_or_default());
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
    fn value(&mut self, path: &str, schema: &Value, value: &mut Spanned<DeValue<'_>>) -> bool {
        let span = value.span();
        self.problems.name(span.start, path);
        if schema["type"] == "object" {
            if let DeValue::Table(table) = value.get_mut() {
                self.table(path, schema, span, table);
                return true;
            }
            let message = match schema["properties"].as_object().filter(|properties| is_group(properties)) {
                Some(properties) => {
                    let name = properties.keys().min().map(String::as_str).unwrap_or_default();
                    format!("`{path}` holds sections, such as [{path}.{name}]")
                }
                None => format!("write it as [{path}], once"),
            };
            return self.refuse(span, message);
        }
        if schema["items"]["type"] == "object" {
            return self.tables(path, &schema["items"], value);
        }
        let holds_secret = schema[HOLDS_SECRET] == true;
        if holds_secret {
            self.problems.hide(span.clone());
        }
        match self.scalar(schema, value.get_ref()) {
            Err(hint) => self.refuse(span, format!("must be {}{hint}", described(schema, self.formats))),
            Ok(()) if !holds_secret && holds_password(value.get_ref()) => {
                self.problems.hide(span.clone());
                let message =
                    "holds an address with a password, and would be shown: only `url` keys take addresses";
                self.refuse(span, message.into())
            }
            Ok(()) => true,
        }
    }

    fn tables(&mut self, path: &str, schema: &Value, value: &mut Spanned<DeValue<'_>>) -> bool {
        let span = value.span();
        if let DeValue::Array(items) = value.get_mut()
            && items.iter().all(|item| item.get_ref().is_table())
        {
            for item in items.iter_mut() {
                let span = item.span();
                self.problems.name(span.start, path);
                if let DeValue::Table(table) = item.get_mut() {
                    self.table(path, schema, span, table);
                }
            }
            return true;
        }
        self.refuse(span, format!("write it as [[{path}]], once for each"))
    }

    /// An error is a hint: empty, or it begins with a semicolon.
    fn scalar(&self, schema: &Value, value: &DeValue<'_>) -> Result<(), String> {
        if schema["format"] == DURATION {
            let seconds = match value {
                DeValue::String(text) => parse_seconds(text).ok(),
                other => whole(other),
            };
            return fits(seconds, &schema["oneOf"][1]);
        }
        if let Value::Array(words) = &schema["enum"] {
            let DeValue::String(word) = value else { return Err(String::new()) };
            let words = || words.iter().filter_map(Value::as_str);
            return if words().any(|known| known == word) { Ok(()) } else { Err(nearest(word, words())) };
        }
        let is_of_type = match schema["type"].as_str() {
            Some("boolean") => value.is_bool(),
            Some("integer") => return fits(whole(value), schema),
            Some("number") => return fits(decimal(value), schema),
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
    fn unknown(&mut self, path: &str, schema: &Value, key: &Spanned<Cow<'_, str>>) {
        let name = key.get_ref().as_ref();
        self.problems.name(key.span().start, path);
        let Some(properties) = schema["properties"].as_object() else { return };
        let what = if is_group(properties) { "section" } else { "key" };
        let hint = nearest(name, properties.keys().map(String::as_str));
        let message = format!("there is no such {what}{hint}");
        self.problems.report(key.span(), message);
    }

    fn refuse(&mut self, span: Range<usize>, message: String) -> bool {
        self.problems.report(span, message);
        false
    }
}

/// The keys that a table may have and must have; where it has a `kind`, those of its kind.
struct Shape<'s> {
    properties: &'s Map<String, Value>,
    required: Vec<&'s str>,
    kind: Option<String>,
}

impl<'s> Shape<'s> {
    fn of(schema: &'s Value, table: &DeTable<'_>) -> Self {
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

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn decimal(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}

/// Whether there is a number within the bounds of the schema.
fn fits<N: PartialOrd + serde::de::DeserializeOwned>(
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
fn holds_password(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => credentials::is_in(text),
        DeValue::Array(items) => items.iter().any(|item| holds_password(item.get_ref())),
        _ => false,
    }
}

fn lower(about: &str) -> String {
    let mut letters = about.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
