//! `[[channel]]` as used.

use std::path::Path;

use super::{
    environment,
    reader::{Node, Reader},
};
use crate::{notify::template::Template, secret::Secret};

/// A way to tell people.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What is sent.
    pub kind: Kind,
    /// Where to; of a chat, the address is a secret of its own.
    pub url: Secret,
    /// A key or token, as the kind needs it.
    pub secret: Option<Secret>,
    /// The chat of Telegram.
    pub chat: Option<String>,
    /// The sender of e-mail.
    pub from: Option<String>,
    /// The recipients of e-mail.
    pub to: Vec<String>,
    /// Certificate authorities to trust besides those of the system, as PEM.
    pub authorities: Option<Vec<u8>>,
    /// The text for people, where it is not the usual one.
    pub template: Option<Template>,
}

/// What is sent over a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON, signed.
    Webhook,
    /// A message for Slack.
    Slack,
    /// A message for Discord.
    Discord,
    /// A card for Microsoft Teams.
    Teams,
    /// A message of a Telegram bot.
    Telegram,
    /// E-mail.
    Email,
    /// An event of PagerDuty.
    PagerDuty,
    /// Alerts for Prometheus' Alertmanager.
    Alertmanager,
    /// A message over ntfy.
    Ntfy,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Teams => "teams",
            Self::Telegram => "telegram",
            Self::Email => "email",
            Self::PagerDuty => "pagerduty",
            Self::Alertmanager => "alertmanager",
            Self::Ntfy => "ntfy",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "webhook" => Self::Webhook,
            "slack" => Self::Slack,
            "discord" => Self::Discord,
            "teams" => Self::Teams,
            "telegram" => Self::Telegram,
            "email" => Self::Email,
            "pagerduty" => Self::PagerDuty,
            "alertmanager" => Self::Alertmanager,
            "ntfy" => Self::Ntfy,
            _ => return None,
        })
    }

    /// Whether programs read what it sends, one alert at a time, rather than people.
    #[must_use]
    pub fn is_for_programs(self) -> bool {
        matches!(self, Self::Webhook | Self::PagerDuty | Self::Alertmanager)
    }

    /// Where it is sent where nothing else is said.
    fn usual_url(self) -> Option<&'static str> {
        match self {
            Self::Telegram => Some("https://api.telegram.org"),
            Self::PagerDuty => Some("https://events.pagerduty.com/v2/enqueue"),
            _ => None,
        }
    }

    /// How its addresses begin.
    fn schemes(self) -> &'static [&'static str] {
        if self == Self::Email { &["smtps://", "smtp://"] } else { &["https://", "http://"] }
    }

    /// The keys that it cannot do without.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Telegram => &["secret", "chat"],
            Self::PagerDuty => &["secret"],
            Self::Email => &["from", "to"],
            _ => &[],
        }
    }
}

/// The channels, and why others cannot be used at present, by their names.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Node,
    folder: &Path,
) -> (Vec<Channel>, Vec<(String, String)>) {
    let (mut channels, mut unresolved) = (Vec::<Channel>::new(), Vec::<(String, String)>::new());
    for node in root.below("channel") {
        let Some(name) = node.text("name").map(str::to_owned) else { continue };
        // One that is faulty has its name all the same.
        let first = root.below("channel").iter().find(|other| other.text("name") == Some(&name));
        if first.is_some_and(|first| first.at != node.at) {
            reader.problem(node.at("name"), "channel.name", "another channel has that name".into());
        }
        match channel(reader, node, (folder, &name)) {
            Some(Ok(channel)) => channels.push(channel),
            Some(Err(problem)) => unresolved.push((name, problem)),
            None => {}
        }
    }
    (channels, unresolved)
}

/// A channel; nothing if what is written is wrong, an error if what it refers to is not there.
fn channel(
    reader: &mut Reader<'_>,
    node: &Node,
    (folder, name): (&Path, &str),
) -> Option<Result<Channel, String>> {
    let kind = node.text("kind").and_then(Kind::parse)?;
    let mut sound = true;
    let mut problem = |reader: &mut Reader<'_>, at, key: &str, message: String| {
        reader.problem(at, key, message);
        sound = false;
    };
    for (key, file) in [("url", "url_file"), ("secret", "secret_file")] {
        if node.has(key) && node.has(file) {
            let message = format!("{key} and {file} are both written: leave one out");
            problem(reader, node.at(file), "channel", message);
        }
    }
    if kind.usual_url().is_none() && !node.has("url") && !node.has("url_file") {
        problem(reader, node.at, "channel", "the key `url` or `url_file` is missing".into());
    }
    for key in kind.needs().iter().filter(|key| !node.has(key) && !node.has(&format!("{key}_file"))) {
        problem(reader, node.at, "channel", format!("a channel of this kind needs the key `{key}`"));
    }
    let from = node.text("from").map(str::to_owned);
    let to = node.texts("to");
    for key in misaddressed(from.as_ref(), &to) {
        let message = "must be an address such as \"ops@example.org\" or \"Ops <ops@example.org>\"";
        problem(reader, node.at(key), &format!("channel.{key}"), message.into());
    }
    let template = node.text("template").map(Template::parse).transpose();
    if let Err(error) = &template {
        problem(reader, node.at("template"), "channel.template", error.to_string());
    }
    let secret = |key: &str, file: &str| {
        let file = node.text(file).map(|file| folder.join(file));
        node.text(key).map(Ok).or(file.map(Err)).map(environment::secret).transpose()
    };
    let authorities = node.text("ca_file").map(|file| certificates(&folder.join(file)));
    let found = (|| {
        let url = secret("url", "url_file")?.or(kind.usual_url().map(Secret::from)).unwrap_or_default();
        Ok::<_, String>((url, secret("secret", "secret_file")?, authorities.transpose()?))
    })();
    let (url, secret, authorities) = match found {
        Ok(found) => found,
        Err(missing) => return sound.then_some(Err(missing)),
    };
    if sound && !kind.schemes().iter().any(|scheme| url.expose().starts_with(scheme)) {
        let message = format!("the URL must begin with {}", kind.schemes().join(" or "));
        reader.problem(node.at, "channel", message);
        return None;
    }
    let chat = node.text("chat").map(str::to_owned);
    let channel = Channel {
        name: name.to_owned(),
        kind,
        url,
        secret,
        chat,
        from,
        to,
        authorities,
        template: template.ok()?,
    };
    sound.then_some(Ok(channel))
}

/// The keys of addresses that are none.
fn misaddressed<'a>(from: Option<&'a String>, to: &'a [String]) -> impl Iterator<Item = &'static str> + 'a {
    let addresses = from.into_iter().map(|address| ("from", address));
    let addresses = addresses.chain(to.iter().map(|address| ("to", address)));
    let bad = |(_, address): &(_, &String)| address.parse::<lettre::message::Mailbox>().is_err();
    addresses.filter(bad).map(|(key, _)| key)
}

/// A file of certificates in PEM form.
pub(super) fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let pem = std::fs::read(path).map_err(|_| format!("cannot read {}", path.display()))?;
    if pem.windows(BEGIN.len()).any(|part| part == BEGIN) {
        Ok(pem)
    } else {
        Err(format!("{} holds no certificate in PEM form", path.display()))
    }
}
