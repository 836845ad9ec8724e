//! The keys of `[[channel]]` that every channel has, and the section of each kind.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel_service::ChannelService;
use crate::config_file::{SecretText, WithSpan, field_names, schema_for};

/// A way to tell people.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct ChannelSection {
    /// Its name in routes.
    #[schemars(extend("x-required" = true), example = &"chat")]
    pub(super) name: Option<WithSpan<String>>,
    /// What is sent, and how.
    #[schemars(extend("x-required" = true), example = &"slack")]
    pub(super) kind: Option<String>,
    /// Where it is sent; ${NAME} stands for a variable of the environment.
    #[schemars(extend("x-otherwise" = "url_file"), example = &"${SLACK_WEBHOOK_URL}")]
    pub(super) url: Option<WithSpan<SecretText>>,
    /// A file that holds nothing but the URL.
    #[schemars(extend("x-otherwise" = "url"), example = &"/run/secrets/slack-url")]
    pub(super) url_file: Option<WithSpan<String>>,
    /// A PEM file with certificate authorities to trust besides those of the system.
    #[schemars(extend("x-otherwise" = "those of the system alone"), example = &"company-ca.pem")]
    pub(super) ca_file: Option<String>,
    /// The text for people, as a Jinja template.
    #[schemars(
        extend("x-otherwise" = "the usual text"),
        example = &"{{ notice }}: {{ check }} on {{ target }}: {{ summary }}",
    )]
    pub(super) template: Option<WithSpan<String>>,
}

/// The section of a kind, as it is documented.
#[derive(Clone, Debug)]
pub struct KindReference {
    /// The word for it.
    pub kind: &'static str,
    /// The schema of its section.
    pub schema: Value,
    /// Its keys in their order; nothing but the name, the kind and the address where it has none of its own.
    pub keys: Vec<String>,
}

impl KindReference {
    /// The section of a kind.
    pub(super) fn for_service<S: ChannelService>() -> Self {
        let mut schema = schema_for::<ChannelSection>();
        let own = schema_for::<S::Config>();
        let properties = &mut schema["properties"];
        properties["kind"]["const"] = json!(S::KIND_NAME);
        properties["kind"]["examples"] = json!([S::KIND_NAME]);
        properties["name"]["examples"] = json!([S::KIND_NAME]);
        properties["url"]["examples"] = json!([format!("${{{}_URL}}", S::KIND_NAME.to_uppercase())]);
        if let Some(url) = S::DEFAULT_URL {
            properties["url"]["default"] = json!(url);
        }
        if let (Some(all), Some(own)) = (properties.as_object_mut(), own["properties"].as_object()) {
            all.extend(own.clone());
        }
        let required = [&schema["required"], &own["required"]];
        let required: Vec<Value> =
            required.into_iter().flat_map(Value::as_array).flatten().cloned().collect();
        schema["required"] = json!(required);
        schema["description"] = own["description"].clone();
        let keys = ["name", "kind", "url"].iter().chain(field_names::<S::Config>());
        Self { kind: S::KIND_NAME, schema, keys: keys.map(|key| (*key).to_owned()).collect() }
    }

    /// Whether it has keys of its own.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        self.keys.len() > 3
    }
}
