//! The JSON schema of a struct, in the few forms that TOML needs, and what it says in words.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, IntoDeserializer as _},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value, json};

/// The keyword of a value that may be shown to nobody.
pub(super) const SECRET_KEYWORD: &str = "writeOnly";
/// The keyword for what holds where a key is not written and there is no default, in words.
pub(super) const DEFAULT_TEXT_KEYWORD: &str = "x-otherwise";
/// The keyword of a key that must be written. It is an `Option` all the same, so that everything else of a section can be
/// checked where it is missing.
const REQUIRED_KEYWORD: &str = "x-required";
/// The format of a time; its bounds are those of the number of seconds.
pub(super) const DURATION_FORMAT: &str = "duration";

/// Text of a form of its own, by the schema's keyword `format`.
#[derive(Clone, Copy, Debug)]
pub struct TextFormat {
    /// The keyword's value.
    pub name: &'static str,
    /// What it must be, in words.
    pub describe: fn() -> String,
    /// Returns an error that begins with a semicolon, or is empty, if the text is not of that form.
    pub check: fn(&str) -> Result<(), String>,
}

/// The schema of a struct without references, and without `null`, which TOML has not.
#[must_use]
pub fn schema_for<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify_schema(&mut schema);
    schema
}

/// Takes out what says that a value may be null, makes an enumeration of constants a list of words, and joins lines of
/// descriptions.
fn simplify_schema(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
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
        // Whether objects keep their order depends on what else is built.
        required.sort_by_key(Value::to_string);
        if !required.is_empty() {
            object.insert("required".into(), Value::Array(required));
        }
    }
}

/// The words of an enumeration whose variants are constants, or lists of them.
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

/// What a value must be, in words.
#[must_use]
pub(super) fn describe_value(schema: &Value, formats: &[TextFormat]) -> String {
    let bounds = |schema: &Value| {
        format!("from {} to {}", format_number(&schema["minimum"]), format_number(&schema["maximum"]))
    };
    if let Some(format) = formats.iter().find(|format| schema["format"] == format.name) {
        return (format.describe)();
    }
    if schema["format"] == DURATION_FORMAT {
        let seconds = &schema["oneOf"][1];
        let zero = if schema["oneOf"][2].is_object() { ", or \"0\"" } else { "" };
        return format!(
            "a time such as \"90s\", \"5m\", \"6h\" or \"1d\", {} seconds{zero}",
            bounds(seconds)
        );
    }
    if let Value::Array(words) = &schema["enum"] {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        return format!("one of \"{}\"", words.join("\", \""));
    }
    match schema["type"].as_str() {
        Some("boolean") => "true or false".into(),
        Some("integer") => format!("a whole number {}", bounds(schema)),
        Some("number") => format!("a number {}", bounds(schema)),
        Some("array") => "a list of texts, such as [\"one\", \"other\"]".into(),
        _ => "text in quotes".into(),
    }
}

/// A number without a fraction that says nothing.
fn format_number(number: &Value) -> String {
    number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
}

/// The names of a struct's fields as they are written, in their order.
#[must_use]
pub fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // The error is what ends it: there is nothing to deserialize.
    let _ = T::deserialize(FieldNamesDeserializer { fields: &mut fields, nested_field: None });
    fields
}

/// The names of the fields of a struct that is a field of another, in their order.
#[must_use]
pub fn nested_field_names<T: DeserializeOwned>(field: &str) -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    let _ = T::deserialize(FieldNamesDeserializer { fields: &mut fields, nested_field: Some(field) });
    fields
}

/// Learns the names of fields instead of deserializing.
struct FieldNamesDeserializer<'a> {
    fields: &'a mut &'static [&'static str],
    /// The field whose own fields are asked for.
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
        Err(de::Error::custom("only the names are asked for"))
    }

    fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

/// One entry: the field whose own fields are asked for.
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

    /// How it is.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Mood {
        /// It is well.
        Good,
        /// It is not.
        VeryBad,
    }

    /// What is written
    /// about it.
    #[derive(Deserialize, JsonSchema)]
    #[serde(default)]
    struct About {
        /// Who.
        #[schemars(extend("x-required" = true))]
        who: Option<WithSpan<String>>,
        /// How often.
        #[schemars(range(min = 1, max = 600))]
        often: Option<u64>,
        mood: Option<Mood>,
        every: Option<WithSpan<BoundedSeconds<60, 3_600>>>,
        share: f64,
    }

    impl Default for About {
        fn default() -> Self {
            Self { who: None, often: None, mood: None, every: None, share: 0.5 }
        }
    }

    #[derive(Deserialize)]
    struct Around {
        #[expect(dead_code, reason = "only its fields are asked for")]
        about: About,
    }

    #[test]
    fn a_schema_has_bounds_words_defaults_and_what_is_required() {
        let schema = schema_for::<About>();
        assert_eq!(schema["description"], "What is written about it");
        assert_eq!(schema["required"], json!(["who"]));
        let of = |key: &str| describe_value(&schema["properties"][key], &[]);
        assert_eq!(of("who"), "text in quotes");
        assert_eq!(of("often"), "a whole number from 1 to 600");
        assert_eq!(of("mood"), "one of \"good\", \"very-bad\"");
        assert_eq!(of("every"), "a time such as \"90s\", \"5m\", \"6h\" or \"1d\", from 60 to 3600 seconds");
        assert_eq!(schema["properties"]["share"]["default"], 0.5);
        assert!(schema["properties"]["often"].get("default").is_none());
        assert_eq!(field_names::<About>(), ["who", "often", "mood", "every", "share"]);
        assert_eq!(nested_field_names::<Around>("about"), field_names::<About>());
        assert!(nested_field_names::<Around>("other").is_empty());
    }
}
