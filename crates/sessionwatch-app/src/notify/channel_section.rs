//! The keys of `[[channel]]` that every kind shares, and the reference documentation of each kind.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel_service::ChannelService;
use crate::config_file::{SecretText, WithSpan, field_names, schema_for};

/// A notification channel.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct ChannelSection {
    /// Name, used in routes.
    #[schemars(extend("x-required" = true), example = &"chat")]
    pub(super) name: Option<WithSpan<String>>,
    /// Kind of channel.
    #[schemars(extend("x-required" = true), example = &"slack")]
    pub(super) kind: Option<String>,
    /// Destination URL; ${NAME} is replaced by an environment variable.
    #[schemars(extend("x-otherwise" = "url_file"), example = &"${SLACK_WEBHOOK_URL}")]
    pub(super) url: Option<WithSpan<SecretText>>,
    /// File that contains only the URL.
    #[schemars(extend("x-otherwise" = "url"), example = &"/run/secrets/slack-url")]
    pub(super) url_file: Option<WithSpan<String>>,
    /// PEM file of additional trusted certificate authorities.
    #[schemars(extend("x-otherwise" = "those of the system alone"), example = &"company-ca.pem")]
    pub(super) ca_file: Option<WithSpan<String>>,
    /// Message text, as a Jinja template.
    #[schemars(
        extend("x-otherwise" = "the usual text"),
        example = &"{{ notice }}: {{ check }} on {{ target }}: {{ summary }}",
    )]
    pub(super) template: Option<WithSpan<String>>,
}

/// The reference documentation of a channel kind.
#[derive(Clone, Debug)]
pub struct KindReference {
    /// The value of `kind`.
    pub kind: &'static str,
    /// The JSON Schema of the section.
    pub schema: Value,
    /// The keys in documented order: `name`, `kind`, `url`, and those of the kind.
    pub keys: Vec<String>,
}

impl KindReference {
    /// Builds the reference of a service.
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

    /// Returns `true` if the kind has keys of its own.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        // `name`, `kind` and `url` are always there.
        self.keys.len() > 3
    }
}
