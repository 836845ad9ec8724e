//! `[[channel]]`: the channels of a file. The keys of a kind are in the file of that kind.

use std::path::Path;

use credentials::Secret;
use serde_json::{Map, Value, json};
use toml::{Spanned, de::DeTable};

use super::{kinds::Kind, section::ChannelSection, service::Source, template::Template};
use crate::config_file::{self, Lookup, Problems, SecretKeys, certificates, fields, schema_of};

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
