//! Reads the `[[channel]]` sections of the configuration. The keys of each kind are defined in the file of that kind.

use std::path::Path;

use credentials::Secret;
use serde_json::{Map, Value, json};
use toml::{Spanned, de::DeTable};

use super::{
    channel_kind::ChannelKind, channel_section::ChannelSection, channel_service::ChannelSource,
    template::MessageTemplate,
};
use crate::config_file::{
    self, ConfigProblem, ProblemCollector, SecretKeys, SecretLookup, UnresolvedSection, field_names,
    read_authorities, schema_for,
};

/// A configured notification channel.
#[derive(Clone, Debug)]
pub struct NotificationChannel {
    /// The name, as routes refer to it.
    pub name: String,
    /// The kind, with the settings of that kind.
    pub kind: ChannelKind,
    /// The destination. A secret: a webhook URL of a chat service is its only credential.
    pub url: Secret,
    /// Additional trusted certificate authorities, as PEM.
    pub ca_certificates: Option<Vec<u8>>,
    /// The message template; `None` for the default text.
    pub template: Option<MessageTemplate>,
    /// The public URL of the dashboard, to which messages link; `None` for no links.
    pub dashboard_url: Option<String>,
}

impl NotificationChannel {
    /// Returns the recipients, each of which gets its own message: the addresses of an email channel, else a single
    /// `None`.
    #[must_use]
    pub fn recipients(&self) -> Vec<Option<&str>> {
        match &self.kind {
            ChannelKind::Email(email) => email.to.iter().map(|address| Some(address.as_str())).collect(),
            _ => vec![None],
        }
    }
}

/// The channels of a configuration file.
#[derive(Debug, Default)]
pub struct ConfiguredChannels {
    /// Channels that can be used.
    pub usable: Vec<NotificationChannel>,
    /// Channels that refer to a missing variable or file.
    pub unresolved: Vec<UnresolvedSection>,
    /// The names of all channels, including invalid ones, so that a route to an invalid channel is not reported too.
    pub names: Vec<String>,
}

/// Reads the `[[channel]]` sections and reports their problems.
pub fn read_channels(
    sections: Vec<Spanned<DeTable<'_>>>,
    folder: &Path,
    problems: &mut ProblemCollector<'_>,
) -> ConfiguredChannels {
    let mut channels = ConfiguredChannels::default();
    for section in sections {
        let part = config_file::select_fields::<ChannelSection>(&section);
        let Some(common) = config_file::read_table::<ChannelSection>(part, problems) else { continue };
        // Without a name, there is nothing to report about; the missing key was reported already.
        let Some(name) = &common.name else { continue };
        if channels.names.contains(name) {
            problems.report(name.span(), "duplicate channel name");
        }
        channels.names.push(name.to_string());
        // Split, because each kind deserializes only the keys of its own.
        let own = config_file::exclude_fields::<ChannelSection>(&section);
        let source = ChannelSource { section: section.span(), folder, problems: &mut *problems };
        match build_channel(&common, own, source) {
            Some(Ok(channel)) => {
                channels.usable.push(NotificationChannel { name: name.to_string(), ..channel })
            }
            Some(Err(problem)) => {
                channels.unresolved.push(UnresolvedSection { name: name.to_string(), problem });
            }
            None => {}
        }
    }
    channels
}

/// Returns a channel, `None` if the section is invalid (already reported), or an error if it refers to a missing file
/// or variable.
fn build_channel(
    common: &ChannelSection,
    own: Spanned<DeTable<'_>>,
    mut source: ChannelSource<'_, '_, '_>,
) -> Option<Result<NotificationChannel, ConfigProblem>> {
    // Counted before, to detect whether this section adds problems of its own.
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
    // A `url` of the wrong type was reported already and is not missing.
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
        // A missing variable disables only this channel, so that the others still get their alerts.
        SecretLookup::Unresolved(missing) => return Some(Err(missing)),
        SecretLookup::Absent | SecretLookup::Invalid => Secret::from(facts.default_url.unwrap_or_default()),
    };
    let kind = match kind? {
        Ok(kind) => kind,
        Err(missing) => return Some(Err(missing)),
    };
    let ca_certificates = match read_authorities(common.ca_file.as_ref(), source.folder, source.problems) {
        Ok(ca_certificates) => ca_certificates,
        Err(missing) => return Some(Err(missing)),
    };
    // Checked last: the URL may come from a variable or file and is known only now.
    if !facts.schemes.iter().any(|scheme| url.expose().starts_with(scheme)) {
        let message = format!("the URL must start with {}", facts.schemes.join(" or "));
        source.problems.report(source.section.clone(), message);
        return None;
    }
    Some(Ok(NotificationChannel {
        name: String::new(),
        kind,
        url,
        ca_certificates,
        template,
        // Known only once the whole file is read.
        dashboard_url: None,
    }))
}

/// Returns the JSON Schema of the keys that every channel has, and their names in documented order.
#[must_use]
pub fn common_schema() -> (Value, &'static [&'static str]) {
    let mut schema = schema_for::<ChannelSection>();
    // From the list of kinds, so that editors suggest exactly what is accepted.
    schema["properties"]["kind"]["enum"] = json!(ChannelKind::NAMES);
    (schema, field_names::<ChannelSection>())
}

/// Returns the JSON Schema of a `[[channel]]` section: one of the kinds.
#[must_use]
pub fn channel_schema() -> Value {
    let (mut schema, _) = common_schema();
    let kinds = ChannelKind::kind_references();
    // Listed at the top level too: `additionalProperties` does not see the properties inside `oneOf`.
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
    // Typos in key names are shown by editors, as the program itself rejects them.
    schema["additionalProperties"] = json!(false);
    schema
}
