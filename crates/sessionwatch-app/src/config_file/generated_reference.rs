//! Example file and reference page, generated from the schemas of the structs.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::schema::{DEFAULT_TEXT_KEYWORD, TextFormat, describe_value, field_names, schema_for};

/// Longest line on which a setting and its description share a line in the example.
const MAX_EXAMPLE_COLUMNS: usize = 100;
/// Longest line of a comment in the example.
const MAX_COMMENT_COLUMNS: usize = 120;

/// Documentation of a section.
#[derive(Clone, Debug)]
pub struct SectionSpec {
    path: String,
    /// The section is an array of tables, `[[path]]`.
    is_repeated: bool,
    /// Value of `kind` for which the keys are valid.
    kind: Option<&'static str>,
    description: String,
    keys: Vec<KeySpec>,
    uncommented_keys: &'static [&'static str],
}

#[derive(Clone, Debug)]
struct KeySpec {
    name: String,
    schema: Value,
    is_required: bool,
}

impl KeySpec {
    fn from_schema(schema: &Value, name: &str) -> Self {
        let required = schema["required"].as_array();
        let is_required = required.is_some_and(|required| required.iter().any(|key| key == name));
        Self { name: name.to_owned(), schema: schema["properties"][name].clone(), is_required }
    }

    /// Returns `true` if the key is a section, which has its own documentation.
    fn is_section(&self) -> bool {
        self.schema["type"] == "object" || self.schema["items"]["type"] == "object"
    }
}

impl SectionSpec {
    /// Documents a section that occurs at most once; the doc comment of `T` is its description.
    #[must_use]
    pub fn single<T: DeserializeOwned + JsonSchema>(path: impl Into<String>) -> Self {
        Self::from_schema(path, &schema_for::<T>(), field_names::<T>())
    }

    /// Documents a section that may occur several times, as `[[path]]`.
    #[must_use]
    pub fn repeated<T: DeserializeOwned + JsonSchema>(path: impl Into<String>) -> Self {
        Self::single::<T>(path).into_repeated()
    }

    /// Documents a section of that schema with the given keys, except those that are sections themselves.
    #[must_use]
    pub fn from_schema(path: impl Into<String>, schema: &Value, keys: &[impl AsRef<str>]) -> Self {
        let description = schema["description"].as_str().unwrap_or_default().to_owned();
        let keys = keys.iter().map(|name| KeySpec::from_schema(schema, name.as_ref()));
        let keys = keys.filter(|key| !key.is_section()).collect();
        Self { path: path.into(), is_repeated: false, kind: None, description, keys, uncommented_keys: &[] }
    }

    /// Makes the section an array of tables.
    #[must_use]
    pub fn into_repeated(self) -> Self {
        Self { is_repeated: true, ..self }
    }

    /// Restricts the section to that value of `kind`.
    #[must_use]
    pub fn with_kind(self, kind: &'static str) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// Replaces the description.
    #[must_use]
    pub fn with_description(self, description: impl Into<String>) -> Self {
        Self { description: description.into(), ..self }
    }

    /// Replaces the default of a key.
    #[must_use]
    pub fn with_default(mut self, key: &str, default: &Value) -> Self {
        for key in self.keys.iter_mut().filter(|known| known.name == key) {
            key.schema["default"] = default.clone();
        }
        self
    }

    /// Sets the keys that the example does not comment out.
    #[must_use]
    pub fn with_uncommented_keys(self, uncommented_keys: &'static [&'static str]) -> Self {
        Self { uncommented_keys, ..self }
    }

    /// Dotted path; empty for the top level of the file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn toml_header(&self) -> String {
        if self.is_repeated { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }

    fn markdown_heading(&self) -> String {
        match self.kind {
            _ if self.path.is_empty() => "Top level".to_owned(),
            Some(kind) => format!("`{}` with `kind = \"{kind}\"`", self.toml_header()),
            None => format!("`{}`", self.toml_header()),
        }
    }
}

/// Renders a configuration file with every key, commented out except for the sections' uncommented keys.
#[must_use]
pub fn render_example(sections: &[SectionSpec]) -> String {
    let mut text = String::from(
        "# sessionwatch configuration. Keys are optional unless marked (required). Commented-out values\n\
         # are the defaults, or examples where the comment names the default.\n",
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
    // A key without a default shows an example instead.
    let value = key.schema.get("default").unwrap_or(&key.schema["examples"][0]);
    let note = match key.schema[DEFAULT_TEXT_KEYWORD].as_str() {
        _ if key.is_required => " (required)".to_owned(),
        Some(words) => format!(" (default: {words})"),
        None => String::new(),
    };
    let comment = if is_uncommented { "" } else { "# " };
    let setting = format!("{comment}{} = {}", key.name, toml_literal(value));
    let description = format!("{}{note}", key.schema["description"].as_str().unwrap_or_default());
    if setting.len() + description.len() + 4 <= MAX_EXAMPLE_COLUMNS {
        let _ = writeln!(text, "{setting:<32}  # {description}");
    } else {
        write_comment(text, &format!("{description}:"));
        let _ = writeln!(text, "{setting}");
    }
}

/// Writes a comment on as many lines as it needs.
fn write_comment(text: &mut String, comment: &str) {
    let mut line = String::from("#");
    for word in comment.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > MAX_COMMENT_COLUMNS {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

fn toml_literal(value: &Value) -> String {
    // A value that TOML cannot express, such as null, becomes an empty string.
    toml::Value::try_from(value).map_or_else(|_| "\"\"".to_owned(), |value| value.to_string())
}

/// Renders the reference of all keys as Markdown.
#[must_use]
pub fn render_reference(sections: &[SectionSpec], formats: &[TextFormat]) -> String {
    let mut text = String::new();
    for section in sections {
        let title = section.markdown_heading();
        let description =
            if section.path.is_empty() { String::new() } else { format!("{}.\n\n", section.description) };
        let _ = write!(
            text,
            "\n### {title}\n\n{description}| Key | Value | Default | Description |\n|---|---|---|---|\n"
        );
        for key in &section.keys {
            let default = match (key.schema.get("default"), key.schema[DEFAULT_TEXT_KEYWORD].as_str()) {
                _ if key.is_required => "required".to_owned(),
                (Some(value), _) => format!("`{}`", toml_literal(value)),
                (None, words) => words.unwrap_or("none").to_owned(),
            };
            let description = key.schema["description"].as_str().unwrap_or_default();
            let value = describe_value(&key.schema, formats);
            let _ = writeln!(text, "| `{}` | {value} | {default} | {description} |", key.name);
        }
    }
    text
}
