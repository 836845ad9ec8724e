//! The example file, the JSON schema and the reference page, made from the list of keys.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sessionwatch_core::zone::LOCAL;

use super::keys::{DECODERS, Key, Kind, Otherwise, SECTIONS, Section};

/// Columns of text in the example.
const WIDTH: usize = 100;

/// A file with every key, commented out but for one target.
#[must_use]
pub fn example() -> String {
    let mut text = String::from(
        "# Configuration of sessionwatch. Every key is optional unless marked; what is commented out is the default.\n",
    );
    for section in SECTIONS {
        if !section.path.is_empty() {
            let (open, close) = if section.repeated { ("[[", "]]") } else { ("[", "]") };
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, "\n# {}.\n", section.about);
            let mark = if section.path == "target" { "" } else { "# " };
            let _ = writeln!(text, "{mark}{open}{}{close}", section.path);
        } else {
            text.push('\n');
        }
        for key in section.keys {
            example_key(&mut text, section, key);
        }
    }
    text
}

fn example_key(text: &mut String, section: &Section, key: &Key) {
    let (value, note) = match key.otherwise {
        Otherwise::Value(value) => (value, String::new()),
        Otherwise::Words(words, value) => (value, format!(" (otherwise: {words})")),
        Otherwise::Required(value) => (value, " (required)".to_owned()),
    };
    let shown = section.path == "target" && ["name", "url"].contains(&key.name);
    let comment = if shown { "" } else { "# " };
    let setting = format!("{comment}{} = {value}", key.name);
    let about = format!("{}{note}", key.about);
    if setting.len() + about.len() + 4 <= WIDTH {
        let _ = writeln!(text, "{setting:<32}  # {about}");
    } else {
        let _ = writeln!(text, "# {about}:\n{setting}");
    }
}

/// The JSON schema of the file, for editors.
#[must_use]
pub fn schema() -> Value {
    let mut root = section_schema(Section::find("").unwrap_or(&SECTIONS[0]));
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Configuration of sessionwatch");
    root
}

fn section_schema(section: &Section) -> Value {
    let mut properties: Map<String, Value> =
        section.keys.iter().map(|key| (key.name.to_owned(), key_schema(key))).collect();
    for name in section.below() {
        let path = if section.path.is_empty() { name.to_owned() } else { format!("{}.{name}", section.path) };
        let below = match Section::find(&path) {
            Some(below) if below.repeated => json!({ "type": "array", "items": section_schema(below) }),
            Some(below) => section_schema(below),
            None => group_schema(&path),
        };
        properties.insert(name.to_owned(), below);
    }
    let required: Vec<&str> = section
        .keys
        .iter()
        .filter(|key| matches!(key.otherwise, Otherwise::Required(_)))
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object", "description": section.about, "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

fn group_schema(path: &str) -> Value {
    let prefix = format!("{path}.");
    let children = SECTIONS.iter().filter_map(|section| Some((section.path.strip_prefix(&prefix)?, section)));
    let properties: Map<String, Value> =
        children.map(|(name, section)| (name.to_owned(), section_schema(section))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn key_schema(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Span(min, max) => json!({
            "oneOf": [{ "type": "string", "pattern": "^[0-9]+ *[smhd]$" }, { "type": "integer", "minimum": min, "maximum": max }],
        }),
        Kind::Decimal(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Decoder => json!({
            "oneOf": [{ "type": "string", "enum": DECODERS }, { "type": "string", "pattern": format!("^{LOCAL}.+$") }],
        }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
    };
    schema["description"] = json!(key.about);
    if let Otherwise::Value(value) = key.otherwise {
        schema["default"] = toml_value(value);
    }
    schema
}

/// A literal of the list of keys, as JSON.
fn toml_value(literal: &str) -> Value {
    let table: Option<toml::Table> = toml::from_str(&format!("value = {literal}")).ok();
    let value = table.and_then(|mut table| table.remove("value"));
    value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or(Value::Null)
}

/// The page of all keys.
#[must_use]
pub fn page() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let title = match (section.path, section.repeated) {
            ("", _) => "Top of the file".to_owned(),
            (path, true) => format!("`[[{path}]]`"),
            (path, false) => format!("`[{path}]`"),
        };
        let about = if section.path.is_empty() { String::new() } else { format!("{}.\n\n", section.about) };
        let _ = write!(text, "\n### {title}\n\n{about}| key | value | otherwise | |\n|---|---|---|---|\n");
        for key in section.keys {
            let otherwise = match key.otherwise {
                Otherwise::Value(value) => format!("`{value}`"),
                Otherwise::Words(words, _) => words.to_owned(),
                Otherwise::Required(_) => "required".to_owned(),
            };
            let _ = writeln!(text, "| `{}` | {} | {otherwise} | {} |", key.name, key.kind, key.about);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{checks, config::Config};

    #[test]
    fn every_key_of_the_example_is_accepted_and_says_the_default() {
        // Everything is switched on but what excludes something else.
        let uncommented: String = example()
            .lines()
            .filter(|line| {
                let key = line.trim_start_matches("# ").split(' ').next().unwrap_or_default();
                let out =
                    ["url_file", "act_url_file", "store_file", "secret_file", "ca_file", "profile", "every"];
                !out.contains(&key) && !key.starts_with("revoke_")
            })
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if rest.starts_with('[')
                        || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
                {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let text =
            uncommented.replace("${DATABASE_URL}", "postgres://u@h/d").replace("${REPLICA_URL}", "r.db");
        let text = text.replace("${ACT_DATABASE_URL}", "postgres://a@h/d");
        let config =
            Config::parse(Path::new("x.toml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut thresholds = config.rules.thresholds.clone();
        // Without their keys there is no policy, no baseline, and a limit that grows with the table.
        (thresholds.session_lifetime.max_days, thresholds.expired_backlog.max) = (None, None);
        (thresholds.active_sessions, thresholds.creation_rate) = Default::default();
        assert_eq!(thresholds, sessionwatch_core::checks::Thresholds::default());
        for check in checks::TABLE_CHECKS {
            assert_eq!(config.rules.severity(&check), check.severity, "{}", check.id);
        }
        for check in checks::LOG_CHECKS {
            assert_eq!(config.rules.log_severity(&check), check.severity, "{}", check.id);
            assert_eq!(config.logs.limit(&check), check.limit, "{}", check.id);
        }
    }

    #[test]
    fn every_check_has_a_section() {
        let ids = checks::TABLE_CHECKS
            .iter()
            .map(|check| check.id)
            .chain(checks::LOG_CHECKS.iter().map(|check| check.id));
        for id in ids {
            assert!(Section::find(&format!("checks.{id}")).is_some(), "{id}");
        }
    }

    #[test]
    fn the_example_and_the_page_in_the_repository_are_these() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap_or_default();
        assert_eq!(
            read("example.toml"),
            example(),
            "write it anew: sessionwatch config example > example.toml"
        );
        assert!(
            read("docs/configuration.md").starts_with("# Configuration\n")
                && read("docs/configuration.md").ends_with(&page()),
            "write the end of docs/configuration.md anew: sessionwatch config reference"
        );
    }

    #[test]
    fn the_schema_knows_what_is_required_and_what_is_default() {
        let schema = schema();
        assert_eq!(schema["properties"]["target"]["items"]["required"], json!(["name"]));
        let checks = &schema["properties"]["checks"]["properties"];
        assert_eq!(checks["orphaned-sessions"]["properties"]["max"]["default"], 10);
        assert_eq!(schema["additionalProperties"], false);
    }
}
