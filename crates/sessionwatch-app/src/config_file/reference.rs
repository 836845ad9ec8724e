//! The example file and the reference page, made from the schemas of the structs.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::schema::{DEFAULT_TEXT_KEYWORD, TextFormat, describe_value, field_names, schema_for};

/// Columns of text in the example.
const MAX_EXAMPLE_COLUMNS: usize = 100;

/// A section as it is documented.
#[derive(Clone, Debug)]
pub struct SectionSpec {
    path: String,
    /// Written as `[[path]]`, any number of times.
    is_repeated: bool,
    /// The value of `kind` that it is about.
    kind: Option<&'static str>,
    description: String,
    keys: Vec<KeySpec>,
    /// Keys that the example does not comment out.
    uncommented_keys: &'static [&'static str],
}

/// A key as it is documented.
#[derive(Clone, Debug)]
struct KeySpec {
    name: String,
    schema: Value,
    is_required: bool,
}

impl KeySpec {
    /// A key of a section of that schema.
    fn from_schema(schema: &Value, name: &str) -> Self {
        let required = schema["required"].as_array();
        let is_required = required.is_some_and(|required| required.iter().any(|key| key == name));
        Self { name: name.to_owned(), schema: schema["properties"][name].clone(), is_required }
    }

    /// Whether a section of its own documents it.
    fn is_section(&self) -> bool {
        self.schema["type"] == "object" || self.schema["items"]["type"] == "object"
    }
}

impl SectionSpec {
    /// A section that is written once at most; what it is for is the struct's documentation.
    #[must_use]
    pub fn single<T: DeserializeOwned + JsonSchema>(path: impl Into<String>) -> Self {
        Self::from_schema(path, &schema_for::<T>(), field_names::<T>())
    }

    /// A section that is written as often as needed.
    #[must_use]
    pub fn repeated<T: DeserializeOwned + JsonSchema>(path: impl Into<String>) -> Self {
        Self::single::<T>(path).into_repeated()
    }

    /// A section of that schema, with these of its keys. Sections below it are not among them.
    #[must_use]
    pub fn from_schema(path: impl Into<String>, schema: &Value, keys: &[impl AsRef<str>]) -> Self {
        let about = schema["description"].as_str().unwrap_or_default().to_owned();
        let keys = keys.iter().map(|name| KeySpec::from_schema(schema, name.as_ref()));
        let keys = keys.filter(|key| !key.is_section()).collect();
        Self {
            path: path.into(),
            is_repeated: false,
            kind: None,
            description: about,
            keys,
            uncommented_keys: &[],
        }
    }

    /// Written as often as needed.
    #[must_use]
    pub fn into_repeated(self) -> Self {
        Self { is_repeated: true, ..self }
    }

    /// Where `kind` has that value.
    #[must_use]
    pub fn with_kind(self, kind: &'static str) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// With another text on what it is for.
    #[must_use]
    pub fn with_description(self, about: impl Into<String>) -> Self {
        Self { description: about.into(), ..self }
    }

    /// With another default of a key.
    #[must_use]
    pub fn with_default(mut self, key: &str, default: &Value) -> Self {
        for key in self.keys.iter_mut().filter(|known| known.name == key) {
            key.schema["default"] = default.clone();
        }
        self
    }

    /// With keys that the example does not comment out.
    #[must_use]
    pub fn with_uncommented_keys(self, shown: &'static [&'static str]) -> Self {
        Self { uncommented_keys: shown, ..self }
    }

    /// Its dotted path; empty for the top of the file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn toml_header(&self) -> String {
        if self.is_repeated { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }

    /// Its heading on the page.
    fn markdown_heading(&self) -> String {
        match self.kind {
            _ if self.path.is_empty() => "Top of the file".to_owned(),
            Some(kind) => format!("`{}` with `kind = \"{kind}\"`", self.toml_header()),
            None => format!("`{}`", self.toml_header()),
        }
    }
}

/// A file with every key, commented out but for those that are shown.
#[must_use]
pub fn render_example(sections: &[SectionSpec]) -> String {
    let mut text = String::from(
        "# Configuration of sessionwatch. Every key is optional unless marked; what is commented out is the default.\n",
    );
    for section in sections {
        text.push('\n');
        if !section.path.is_empty() {
            let mark = if section.uncommented_keys.is_empty() { "# " } else { "" };
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, "# {}.\n{mark}{}\n", section.description, section.toml_header());
        }
        for key in &section.keys {
            write_example_key(&mut text, key, section.uncommented_keys.contains(&key.name.as_str()));
        }
    }
    text
}

fn write_example_key(text: &mut String, key: &KeySpec, is_uncommented: bool) {
    let value = key.schema.get("default").unwrap_or(&key.schema["examples"][0]);
    let note = match key.schema[DEFAULT_TEXT_KEYWORD].as_str() {
        _ if key.is_required => " (required)".to_owned(),
        Some(words) => format!(" (otherwise: {words})"),
        None => String::new(),
    };
    let comment = if is_uncommented { "" } else { "# " };
    let setting = format!("{comment}{} = {}", key.name, toml_literal(value));
    let about = format!("{}{note}", key.schema["description"].as_str().unwrap_or_default());
    if setting.len() + about.len() + 4 <= MAX_EXAMPLE_COLUMNS {
        let _ = writeln!(text, "{setting:<32}  # {about}");
    } else {
        let _ = writeln!(text, "# {about}:\n{setting}");
    }
}

/// A value as TOML.
fn toml_literal(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| "\"\"".to_owned(), |value| value.to_string())
}

/// The page of all keys.
#[must_use]
pub fn render_reference(sections: &[SectionSpec], formats: &[TextFormat]) -> String {
    let mut text = String::new();
    for section in sections {
        let title = section.markdown_heading();
        let about =
            if section.path.is_empty() { String::new() } else { format!("{}.\n\n", section.description) };
        let _ = write!(text, "\n### {title}\n\n{about}| key | value | otherwise | |\n|---|---|---|---|\n");
        for key in &section.keys {
            let otherwise = match (key.schema.get("default"), key.schema[DEFAULT_TEXT_KEYWORD].as_str()) {
                _ if key.is_required => "required".to_owned(),
                (Some(value), _) => format!("`{}`", toml_literal(value)),
                (None, words) => words.unwrap_or("none").to_owned(),
            };
            let about = key.schema["description"].as_str().unwrap_or_default();
            let value = describe_value(&key.schema, formats);
            let _ = writeln!(text, "| `{}` | {value} | {otherwise} | {about} |", key.name);
        }
    }
    text
}
