//! `[[channel]]`: the keys that every channel has. Those of its kind are in the file of that kind.

use std::{ops::Range, path::Path};

use credentials::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sessionwatch_core::instant::Instant;
use toml::{Spanned, de::DeTable};

use super::{DeliveryError, HttpRequest, NotificationBatch, kinds::Kind, template::Template};
use crate::config_file::{
    self, Lookup, Problems, SecretKeys, SecretText, Written, certificates, fields, schema_of,
};

/// A way to tell people.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct ChannelSection {
    /// Its name in routes.
    #[schemars(extend("x-required" = true), example = &"chat")]
    name: Option<Written<String>>,
    /// What is sent, and how.
    #[schemars(extend("x-required" = true), example = &"slack")]
    kind: Option<String>,
    /// Where it is sent; ${NAME} stands for a variable of the environment.
    #[schemars(extend("x-otherwise" = "url_file"), example = &"${SLACK_WEBHOOK_URL}")]
    url: Option<Written<SecretText>>,
    /// A file that holds nothing but the URL.
    #[schemars(extend("x-otherwise" = "url"), example = &"/run/secrets/slack-url")]
    url_file: Option<Written<String>>,
    /// A PEM file with certificate authorities to trust besides those of the system.
    #[schemars(extend("x-otherwise" = "those of the system alone"), example = &"company-ca.pem")]
    ca_file: Option<String>,
    /// The text for people, as a Jinja template.
    #[schemars(
        extend("x-otherwise" = "the usual text"),
        example = &"{{ notice }}: {{ check }} on {{ target }}: {{ summary }}",
    )]
    template: Option<Written<String>>,
}

/// A way to tell people.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What is sent, with what that needs.
    pub kind: Kind,
    /// Where to; of a chat, the address is a secret of its own.
    pub url: Secret,
    /// Certificate authorities to trust besides those of the system, as PEM.
    pub authorities: Option<Vec<u8>>,
    /// The text for people, where it is not the usual one.
    pub template: Option<Template>,
}

impl Channel {
    /// Whom it tells, each in a message of its own; nobody in particular, unless it is e-mail.
    #[must_use]
    pub fn recipients(&self) -> Vec<Option<&str>> {
        match &self.kind {
            Kind::Email(email) => email.to.iter().map(|address| Some(address.as_str())).collect(),
            _ => vec![None],
        }
    }
}

/// The channels of a file.
#[derive(Debug, Default)]
pub struct Channels {
    /// Those that can be used.
    pub usable: Vec<Channel>,
    /// Why others cannot be used at present, by their names.
    pub unresolved: Vec<(String, String)>,
    /// The names of all, of faulty ones too.
    pub names: Vec<String>,
}

/// What a kind of channel is. Each has a file of its own, and a line in [`Kind`].
pub(super) trait Service: Sized {
    /// The keys of its section besides those that every channel has.
    type Config: DeserializeOwned + JsonSchema;
    /// The word for it.
    const KIND: &'static str;
    /// Whether programs read what it sends, one alert at a time, rather than people.
    const IS_FOR_PROGRAMS: bool = false;
    /// Where it is sent where nothing else is said.
    const DEFAULT_URL: Option<&'static str> = None;
    /// How its addresses begin.
    const SCHEMES: &'static [&'static str] = &["https://", "http://"];

    /// What it needs, as used; nothing if what is written is wrong, an error if what it refers to is not there.
    fn new(config: Self::Config, source: &mut Source<'_, '_, '_>) -> Option<Result<Self, String>>;

    /// The request that tells the messages.
    ///
    /// # Errors
    ///
    /// If there is none.
    fn post(
        &self,
        channel: &Channel,
        told: &NotificationBatch<'_>,
        now: Instant,
    ) -> Result<HttpRequest, DeliveryError>;
}

/// What a channel is read from.
pub(super) struct Source<'a, 'p, 't> {
    /// Where its section stands.
    pub(super) section: Range<usize>,
    /// What the names of files are relative to.
    pub(super) folder: &'a Path,
    /// Everything that is wrong.
    pub(super) problems: &'p mut Problems<'t>,
}

impl Source<'_, '_, '_> {
    /// The secret that is written; nothing if it is wrong, an error if it is not there.
    pub(super) fn secret(
        &mut self,
        text: Option<&Written<SecretText>>,
        file: Option<&Written<String>>,
    ) -> Option<Result<Option<Secret>, String>> {
        match (SecretKeys { name: "secret", text, file }).look_up(self.folder, self.problems) {
            Lookup::Absent => Some(Ok(None)),
            Lookup::Refused => None,
            Lookup::Found(secret) => Some(Ok(Some(secret.into_inner()))),
            Lookup::Missing(missing) => Some(Err(missing.into_inner())),
        }
    }

    /// The secret, without which a channel of that kind cannot be.
    pub(super) fn required_secret(
        &mut self,
        text: Option<&Written<SecretText>>,
        file: Option<&Written<String>>,
    ) -> Option<Result<Secret, String>> {
        match self.secret(text, file)? {
            Ok(Some(secret)) => Some(Ok(secret)),
            Err(missing) => Some(Err(missing)),
            Ok(None) => {
                if !self.problems.was_refused(&self.section, &["secret", "secret_file"]) {
                    let message = "a channel of this kind needs the key `secret`";
                    self.problems.report(self.section.clone(), message);
                }
                None
            }
        }
    }
}

/// The keys of a kind that needs none of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct NoKeys {}

/// Reads the sections of a checked file.
pub fn read(sections: Vec<Spanned<DeTable<'_>>>, folder: &Path, problems: &mut Problems<'_>) -> Channels {
    let mut channels = Channels::default();
    for section in sections {
        let part = config_file::part::<ChannelSection>(&section);
        let Some(common) = config_file::read::<ChannelSection>(part, problems) else { continue };
        let Some(name) = &common.name else { continue };
        if channels.names.contains(name) {
            problems.report(name.span(), "another channel has that name");
        }
        channels.names.push(name.to_string());
        let own = config_file::without::<ChannelSection>(&section);
        let source = Source { section: section.span(), folder, problems: &mut *problems };
        match channel(&common, own, source) {
            Some(Ok(channel)) => channels.usable.push(Channel { name: name.to_string(), ..channel }),
            Some(Err(missing)) => channels.unresolved.push((name.to_string(), missing)),
            None => {}
        }
    }
    channels
}

/// A channel; nothing if what is written is wrong, an error if what it refers to is not there.
fn channel(
    common: &ChannelSection,
    own: Spanned<DeTable<'_>>,
    mut source: Source<'_, '_, '_>,
) -> Option<Result<Channel, String>> {
    let before = source.problems.count();
    let word = common.kind.as_deref()?;
    let keys = SecretKeys { name: "url", text: common.url.as_ref(), file: common.url_file.as_ref() };
    let url = keys.look_up(source.folder, source.problems);
    let kind = Kind::read(word, own, &mut source);
    let template = common.template.as_ref().and_then(|text| {
        let template = Template::parse(text);
        template.map_err(|error| source.problems.report(text.span(), error.to_string())).ok()
    });
    let facts = Kind::facts(word)?;
    let is_lacking = matches!(url, Lookup::Absent)
        && facts.default_url.is_none()
        && !source.problems.was_refused(&source.section, &["url", "url_file"]);
    if is_lacking {
        source.problems.report(source.section.clone(), "the key `url` or `url_file` is missing");
    }
    if source.problems.count() > before || source.problems.was_refused(&source.section, &["url", "url_file"])
    {
        return None;
    }
    let url = match url {
        Lookup::Found(url) => url.into_inner(),
        Lookup::Missing(missing) => return Some(Err(missing.into_inner())),
        Lookup::Absent | Lookup::Refused => Secret::from(facts.default_url.unwrap_or_default()),
    };
    let kind = match kind? {
        Ok(kind) => kind,
        Err(missing) => return Some(Err(missing)),
    };
    let authorities = common.ca_file.as_ref().map(|file| certificates(&source.folder.join(file)));
    let authorities = match authorities.transpose() {
        Ok(authorities) => authorities,
        Err(missing) => return Some(Err(missing)),
    };
    if !facts.schemes.iter().any(|scheme| url.expose().starts_with(scheme)) {
        let message = format!("the URL must begin with {}", facts.schemes.join(" or "));
        source.problems.report(source.section.clone(), message);
        return None;
    }
    Some(Ok(Channel { name: String::new(), kind, url, authorities, template }))
}

/// What is known of a kind without a channel of it.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) default_url: Option<&'static str>,
    pub(super) schemes: &'static [&'static str],
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
    pub(super) fn of<S: Service>() -> Self {
        let mut schema = schema_of::<ChannelSection>();
        let own = schema_of::<S::Config>();
        let properties = &mut schema["properties"];
        properties["kind"]["const"] = json!(S::KIND);
        properties["kind"]["examples"] = json!([S::KIND]);
        properties["name"]["examples"] = json!([S::KIND]);
        properties["url"]["examples"] = json!([format!("${{{}_URL}}", S::KIND.to_uppercase())]);
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
        let keys = ["name", "kind", "url"].iter().chain(fields::<S::Config>());
        Self { kind: S::KIND, schema, keys: keys.map(|key| (*key).to_owned()).collect() }
    }

    /// Whether it has keys of its own.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        self.keys.len() > 3
    }
}

/// The keys that every channel has, as they are documented.
#[must_use]
pub fn common() -> (Value, &'static [&'static str]) {
    let mut schema = schema_of::<ChannelSection>();
    schema["properties"]["kind"]["enum"] = json!(Kind::NAMES);
    (schema, fields::<ChannelSection>())
}

/// The schema of a section: any of the kinds.
#[must_use]
pub fn schema() -> Value {
    let (mut schema, _) = common();
    let kinds = Kind::references();
    let all: Map<String, Value> = kinds
        .iter()
        .filter_map(|kind| kind.schema["properties"].as_object())
        .flatten()
        .fold(Map::new(), |mut all, (key, property)| {
            all.entry(key.clone()).or_insert_with(|| property.clone());
            all
        });
    if let Some(properties) = schema["properties"].as_object_mut() {
        for (key, property) in all {
            properties.entry(key).or_insert(property);
        }
    }
    schema["oneOf"] = kinds.into_iter().map(|kind| kind.schema).collect();
    schema["additionalProperties"] = json!(false);
    schema
}
