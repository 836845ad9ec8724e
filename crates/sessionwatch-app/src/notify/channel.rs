//! `[[channel]]`: the channels of a file. The keys of a kind are in the file of that kind.

use std::path::Path;

use credentials::Secret;
use serde_json::{Map, Value, json};
use toml::{Spanned, de::DeTable};

use super::{
    channel_kind::ChannelKind, channel_service::ChannelSource, section::ChannelSection,
    template::MessageTemplate,
};
use crate::config_file::{
    self, ProblemCollector, SecretKeys, SecretLookup, field_names, read_certificates, schema_for,
};

/// A way to tell people.
#[derive(Clone, Debug)]
pub struct NotificationChannel {
    /// Its name.
    pub name: String,
    /// What is sent, with what that needs.
    pub kind: ChannelKind,
    /// Where to; of a chat, the address is a secret of its own.
    pub url: Secret,
    /// Certificate authorities to trust besides those of the system, as PEM.
    pub ca_certificates: Option<Vec<u8>>,
    /// The text for people, where it is not the usual one.
    pub template: Option<MessageTemplate>,
}

impl NotificationChannel {
    /// Whom it tells, each in a message of its own; nobody in particular, unless it is e-mail.
    #[must_use]
    pub fn recipients(&self) -> Vec<Option<&str>> {
        match &self.kind {
            ChannelKind::Email(email) => email.to.iter().map(|address| Some(address.as_str())).collect(),
            _ => vec![None],
        }
    }
}

/// The channels of a file.
#[derive(Debug, Default)]
pub struct ConfiguredChannels {
    /// Those that can be used.
    pub usable: Vec<NotificationChannel>,
    /// Why others cannot be used at present, by their names.
    pub unresolved: Vec<(String, String)>,
    /// The names of all, of faulty ones too.
    pub names: Vec<String>,
}

/// Reads the sections of a checked file.
pub fn read_channels(
    sections: Vec<Spanned<DeTable<'_>>>,
    folder: &Path,
    problems: &mut ProblemCollector<'_>,
) -> ConfiguredChannels {
    let mut channels = ConfiguredChannels::default();
    for section in sections {
        let part = config_file::select_fields::<ChannelSection>(&section);
        let Some(common) = config_file::read_table::<ChannelSection>(part, problems) else { continue };
        let Some(name) = &common.name else { continue };
        if channels.names.contains(name) {
            problems.report(name.span(), "another channel has that name");
        }
        channels.names.push(name.to_string());
        let own = config_file::exclude_fields::<ChannelSection>(&section);
        let source = ChannelSource { section: section.span(), folder, problems: &mut *problems };
        match build_channel(&common, own, source) {
            Some(Ok(channel)) => {
                channels.usable.push(NotificationChannel { name: name.to_string(), ..channel })
            }
            Some(Err(missing)) => channels.unresolved.push((name.to_string(), missing)),
            None => {}
        }
    }
    channels
}

/// A channel; nothing if what is written is wrong, an error if what it refers to is not there.
fn build_channel(
    common: &ChannelSection,
    own: Spanned<DeTable<'_>>,
    mut source: ChannelSource<'_, '_, '_>,
) -> Option<Result<NotificationChannel, String>> {
    let before = source.problems.count();
    let word = common.kind.as_deref()?;
    let keys = SecretKeys { name: "url", text: common.url.as_ref(), file: common.url_file.as_ref() };
    let url = keys.read_secret(source.folder, source.problems);
    let kind = ChannelKind::from_section(word, own, &mut source);
    let template = common.template.as_ref().and_then(|text| {
        let template = MessageTemplate::parse(text);
        template.map_err(|error| source.problems.report(text.span(), error.to_string())).ok()
    });
    let facts = ChannelKind::kind_defaults(word)?;
    let is_lacking = matches!(url, SecretLookup::Absent)
        && facts.default_url.is_none()
        && !source.problems.has_invalid_key(&source.section, &["url", "url_file"]);
    if is_lacking {
        source.problems.report(source.section.clone(), "the key `url` or `url_file` is missing");
    }
    if source.problems.count() > before
        || source.problems.has_invalid_key(&source.section, &["url", "url_file"])
    {
        return None;
    }
    let url = match url {
        SecretLookup::Found(url) => url.into_inner(),
        SecretLookup::Unresolved(missing) => return Some(Err(missing.into_inner())),
        SecretLookup::Absent | SecretLookup::Invalid => Secret::from(facts.default_url.unwrap_or_default()),
    };
    let kind = match kind? {
        Ok(kind) => kind,
        Err(missing) => return Some(Err(missing)),
    };
    let authorities = common.ca_file.as_ref().map(|file| read_certificates(&source.folder.join(file)));
    let authorities = match authorities.transpose() {
        Ok(authorities) => authorities,
        Err(missing) => return Some(Err(missing)),
    };
    if !facts.schemes.iter().any(|scheme| url.expose().starts_with(scheme)) {
        let message = format!("the URL must begin with {}", facts.schemes.join(" or "));
        source.problems.report(source.section.clone(), message);
        return None;
    }
    Some(Ok(NotificationChannel { name: String::new(), kind, url, ca_certificates: authorities, template }))
}

/// The keys that every channel has, as they are documented.
#[must_use]
pub fn common_schema() -> (Value, &'static [&'static str]) {
    let mut schema = schema_for::<ChannelSection>();
    schema["properties"]["kind"]["enum"] = json!(ChannelKind::NAMES);
    (schema, field_names::<ChannelSection>())
}

/// The schema of a section: any of the kinds.
#[must_use]
pub fn channel_schema() -> Value {
    let (mut schema, _) = common_schema();
    let kinds = ChannelKind::kind_references();
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
