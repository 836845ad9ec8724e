//! Message templates: the `template` key of a channel.

use minijinja::{Environment, UndefinedBehavior, Value, value::Serde};
use serde_json::{Value as Json, json};

use super::NotificationMessage;
use crate::sanitize::sanitize_text;

const TEMPLATE_NAME: &str = "template";

/// A parsed Jinja template.
#[derive(Clone)]
pub struct MessageTemplate(Environment<'static>);

/// An invalid template: line number and reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a Jinja template: line {0}: {1}")]
pub struct TemplateError(usize, String);

impl MessageTemplate {
    /// Parses a template and renders a sample with it.
    ///
    /// # Errors
    ///
    /// If the syntax is invalid, or a variable is unknown.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        // A misspelled variable fails when the configuration is read rather than when an alert fires.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment
            .add_template_owned(TEMPLATE_NAME, text.to_owned())
            .map_err(|error| TemplateError(error.line().unwrap_or(1), error.kind().to_string()))?;
        let template = Self(environment);
        let sample = NotificationMessage {
            schema: 2,
            key: String::new(),
            notice: "test".into(),
            target: String::new(),
            check: String::new(),
            severity: String::new(),
            summary: String::new(),
            since: None,
            at: String::new(),
            finding: None,
            possible_duplicate: false,
            text: None,
        };
        match template.render(&[sample]) {
            Ok(_) => Ok(template),
            Err(message) => Err(TemplateError(1, message)),
        }
    }

    /// Renders the template for messages that are delivered together; the first one provides the scalar variables.
    ///
    /// # Errors
    ///
    /// If the template uses an undefined value.
    pub fn render(&self, messages: &[NotificationMessage]) -> Result<String, String> {
        let Some(first) = messages.first() else { return Ok(String::new()) };
        let targets: Vec<&str> = messages.iter().map(|message| message.target.as_str()).collect();
        let names = json!({
            "notice": first.notice, "word": first.status_word(), "check": first.check, "severity": first.severity,
            "target": targets.join(", "), "targets": targets, "summary": first.summary,
            "since": first.since, "at": first.at,
            "action": first.recommended_action().unwrap_or_default(),
            "possible_duplicate": messages.iter().any(|message| message.possible_duplicate),
            "text": first.text, "messages": messages,
        });
        let names = sanitize_json(names, "");
        let template = self.0.get_template(TEMPLATE_NAME).map_err(|error| error.kind().to_string())?;
        template.render(Value::from(Serde(names))).map_err(|error| error.kind().to_string())
    }
}

/// Replaces control characters in every string, so that no name adds a line. Line breaks in `text`, a report's body,
/// are kept.
fn sanitize_json(value: Json, name: &str) -> Json {
    match value {
        Json::String(text) if name == "text" => {
            Json::String(text.split('\n').map(sanitize_text).collect::<Vec<_>>().join("\n"))
        }
        Json::String(text) => Json::String(sanitize_text(&text)),
        Json::Array(items) => items.into_iter().map(|item| sanitize_json(item, name)).collect(),
        Json::Object(items) => {
            items.into_iter().map(|(key, item)| (key.clone(), sanitize_json(item, &key))).collect()
        }
        other => other,
    }
}

impl std::fmt::Debug for MessageTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::message;

    #[test]
    fn a_template_renders_and_rejects_unknown_variables() {
        let template = MessageTemplate::parse(
            "{{ word }}: {{ check }} on {{ target }}{% if possible_duplicate %} again{% endif %}",
        )
        .unwrap();
        let rendered = template
            .render(&[message("a"), NotificationMessage { possible_duplicate: true, ..message("b") }])
            .unwrap();
        assert_eq!(rendered, "Failing: duplicate-tokens on a, b again");
        assert_eq!(MessageTemplate::parse("\n{{ check").unwrap_err().0, 2);
        assert!(MessageTemplate::parse("{{ chekc }}").unwrap_err().to_string().contains("undefined"));
    }
}
