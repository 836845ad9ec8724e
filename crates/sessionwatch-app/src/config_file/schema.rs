//! JSON schemas derived from structs, reduced to the forms that TOML needs, and their description in words.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, IntoDeserializer as _},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value, json};

use super::values::{DURATION_FORMAT, format_seconds};

/// Schema keyword of a secret value, which is never displayed.
pub(super) const SECRET_KEYWORD: &str = "writeOnly";
/// Schema keyword for a default that is described in words, because it is not a fixed value.
pub(super) const DEFAULT_TEXT_KEYWORD: &str = "x-otherwise";
/// Schema keyword of a required key. Its field is an `Option` nevertheless: if the key is missing, the rest of the
/// section can still be checked.
const REQUIRED_KEYWORD: &str = "x-required";
/// Upper bound from which a number counts as unlimited in descriptions.
const UNBOUNDED_MAXIMUM: f64 = 1e12;

/// Custom string format, selected by the schema keyword `format`.
#[derive(Clone, Copy, Debug)]
pub struct TextFormat {
    /// Value of the keyword.
    pub name: &'static str,
    /// Describes the expected value as a noun phrase.
    pub describe: fn() -> String,
    /// Returns an error if the text does not match: a hint that begins with a semicolon, or an empty string.
    pub check: fn(&str) -> Result<(), String>,
}

/// Returns the schema of a struct without references and without `null`, which TOML does not have.
#[must_use]
pub fn schema_for<T: JsonSchema>() -> Value {
    // Inlined: the validator follows no references.
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify_schema(&mut schema);
    schema
}

/// Removes `null` types, merges constant variants into one `enum`, and joins the lines of descriptions.
fn simplify_schema(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    // schemars writes an optional enum as `anyOf` with null, and documented variants as `oneOf` with constants.
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(mut variants)) = object.remove(keyword) else { continue };
        variants.retain(|variant| variant["type"] != "null");
        if let [Value::Object(only)] = variants.as_slice() {
            let missing = only.iter().filter(|(key, _)| !object.contains_key(*key));
            let missing: Map<String, Value> =
                missing.map(|(key, value)| (key.clone(), value.clone())).collect();
            object.extend(missing);
        } else if let Some(words) = enum_words(&variants) {
            object.insert("type".into(), json!("string"));
            object.insert("enum".into(), words);
        } else {
            object.insert(keyword.into(), Value::Array(variants));
        }
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        let joined = text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
        *text = joined.trim_end_matches('.').to_owned();
    }
    // Titles repeat the Rust names, which mean nothing in an editor.
    object.remove("title");
    for value in object.values_mut() {
        match value {
            Value::Object(_) => simplify_schema(value),
            Value::Array(values) => values.iter_mut().for_each(simplify_schema),
            _ => {}
        }
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(simplify_schema);
        let is_required = |property: &mut Value| {
            property.as_object_mut().and_then(|property| property.remove(REQUIRED_KEYWORD)).is_some()
        };
        let required =
            properties.iter_mut().filter_map(|(name, property)| is_required(property).then(|| json!(name)));
        let mut required: Vec<Value> = required.collect();
        // Sorted, because a cargo feature of serde_json decides whether objects keep their order, and any crate in the
        // build can enable that feature.
        required.sort_by_key(Value::to_string);
        if !required.is_empty() {
            object.insert("required".into(), Value::Array(required));
        }
    }
}

/// Returns the words of an enumeration if every variant is a constant or a list of constants.
fn enum_words(variants: &[Value]) -> Option<Value> {
    let words = variants.iter().map(|variant| match (&variant["const"], &variant["enum"]) {
        (Value::String(word), _) => Some(vec![json!(word)]),
        (_, Value::Array(words)) => Some(words.clone()),
        _ => None,
    });
    words
        .collect::<Option<Vec<_>>>()
        .filter(|words| !words.is_empty())
        .map(|words| Value::Array(words.concat()))
}

/// Describes the values that a key accepts, as a noun phrase without an article.
#[must_use]
pub(super) fn describe_value(schema: &Value, formats: &[TextFormat]) -> String {
    if let Some(format) = formats.iter().find(|format| schema["format"] == format.name) {
        return (format.describe)();
    }
    if schema["format"] == DURATION_FORMAT {
        let seconds = &schema["oneOf"][1];
        let bound = |keyword: &str| format_seconds(seconds[keyword].as_u64().unwrap_or_default());
        return format!("duration (30s, 5m, 24h, 7d), {} to {}", bound("minimum"), bound("maximum"));
    }
    if let Value::Array(words) = &schema["enum"] {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return format!("one of \"{}\"", words.join("\", \""));
    }
    match schema["type"].as_str() {
        Some("boolean") => "true or false".into(),
        Some("integer") => format!("integer {}", format_bounds(schema)),
        Some("number") => format!("number {}", format_bounds(schema)),
        Some("array") => "list of strings".into(),
        _ => "string".into(),
    }
}

/// Formats the bounds of a number: `1 to 600`, or `≥ 0` if the upper bound is only there to catch typing errors.
fn format_bounds(schema: &Value) -> String {
    let minimum = format_number(&schema["minimum"]);
    match schema["maximum"].as_f64() {
        Some(maximum) if maximum < UNBOUNDED_MAXIMUM => format!("{minimum} to {maximum}"),
        _ => format!("≥ {minimum}"),
    }
}

/// Formats a number without a trailing `.0`.
fn format_number(number: &Value) -> String {
    number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
}

/// Returns the serialized names of a struct's fields, in declaration order.
#[must_use]
pub fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // Always an error: the deserializer stops as soon as it has the names.
    let _ = T::deserialize(FieldNamesDeserializer { fields: &mut fields, nested_field: None });
    fields
}

/// Returns the field names of the struct in field `field` of `T`, in declaration order; empty if there is no such
/// field.
#[must_use]
pub fn nested_field_names<T: DeserializeOwned>(field: &str) -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    let _ = T::deserialize(FieldNamesDeserializer { fields: &mut fields, nested_field: Some(field) });
    fields
}

/// Deserializer that records the field names of a struct and then fails. Serde passes them to `deserialize_struct`,
/// so no second list of keys has to be kept in sync with the structs.
struct FieldNamesDeserializer<'a> {
    fields: &'a mut &'static [&'static str],
    /// Field to descend into before recording.
    nested_field: Option<&'a str>,
}

impl<'de> Deserializer<'de> for FieldNamesDeserializer<'_> {
    type Error = de::value::Error;

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if self.nested_field.is_some() {
            return visitor.visit_map(self);
        }
        *self.fields = fields;
        Err(de::Error::custom("field names recorded"))
    }

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Map with one entry, the field to descend into.
impl<'de> de::MapAccess<'de> for FieldNamesDeserializer<'_> {
    type Error = de::value::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        self.nested_field.take().map(|field| seed.deserialize(field.into_deserializer())).transpose()
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        seed.deserialize(FieldNamesDeserializer { fields: self.fields, nested_field: None })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{
        super::{BoundedSeconds, WithSpan},
        *,
    };

    /// Log level.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Level {
        /// Warnings.
        Warn,
        /// Everything.
        VeryVerbose,
    }

    /// Settings of
    /// a sample.
    #[derive(Deserialize, JsonSchema)]
    #[serde(default)]
    struct Sample {
        /// Name.
        #[schemars(extend("x-required" = true))]
        name: Option<WithSpan<String>>,
        /// Number of attempts.
        #[schemars(range(min = 1, max = 600))]
        attempts: Option<u64>,
        /// Number of rows.
        #[schemars(range(max = 1_000_000_000_000_u64))]
        rows: Option<u64>,
        level: Option<Level>,
        delay: Option<WithSpan<BoundedSeconds<60, 3_600>>>,
        share: f64,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { name: None, attempts: None, rows: None, level: None, delay: None, share: 0.5 }
        }
    }

    #[derive(Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only its field names are used")]
        sample: Sample,
    }

    #[test]
    fn a_schema_has_bounds_words_defaults_and_required_keys() {
        let schema = schema_for::<Sample>();
        assert_eq!(schema["description"], "Settings of a sample");
        assert_eq!(schema["required"], json!(["name"]));
        let kind = |key: &str| describe_value(&schema["properties"][key], &[]);
        assert_eq!(kind("name"), "string");
        assert_eq!(kind("attempts"), "integer 1 to 600");
        assert_eq!(kind("rows"), "integer ≥ 0");
        assert_eq!(kind("level"), "one of \"warn\", \"very-verbose\"");
        assert_eq!(kind("delay"), "duration (30s, 5m, 24h, 7d), 1m to 1h");
        assert_eq!(schema["properties"]["share"]["default"], 0.5);
        assert!(schema["properties"]["attempts"].get("default").is_none());
        assert_eq!(field_names::<Sample>(), ["name", "attempts", "rows", "level", "delay", "share"]);
        assert_eq!(nested_field_names::<Outer>("sample"), field_names::<Sample>());
        assert!(nested_field_names::<Outer>("other").is_empty());
    }
}
