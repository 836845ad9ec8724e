//! `[[channel]]` as used.

use std::path::Path;

use super::reader::{Node, Reader};
use crate::{
    environment,
    notify::{
        channel::{Channel, Kind},
        template::Template,
    },
    secret::Secret,
};

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
