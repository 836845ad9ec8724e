//! `[[target]]` as used.

use std::{path::Path, time::Duration};

use sessionwatch_rules::decoder::Decoder;

use super::{
    Storage, Target, environment,
    reader::{Node, Reader},
};
use crate::{
    profile::{
        catalogue::Profile,
        mapping::{InstantColumn, Mapping, TableName, UsersMapping},
    },
    suggest::nearest,
    target::{address::Address, observe::Engine, postgres::Limits},
};

const SECONDS_A_DAY: u64 = 86_400;

pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Node,
    (folder, catalogue): (&Path, &[Profile]),
) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for node in root.below("target") {
        let name = node.text("name").unwrap_or_default().to_owned();
        if targets.iter().any(|target| target.name == name) {
            reader.problem(node.at("name"), "target.name", "another target has that name".into());
        }
        let storage = storage(reader, node, catalogue);
        if let Some(address) = address(reader, node, folder) {
            let seconds = |key, otherwise| Duration::from_secs(node.whole(key).unwrap_or(otherwise));
            let engine =
                if node.text("engine") == Some("pushdown") { Engine::Pushdown } else { Engine::Scan };
            let limits = Limits { timeout: seconds("timeout", 30), lock_timeout: seconds("lock_timeout", 2) };
            targets.push(Target { name, address, storage, engine, limits });
        }
    }
    targets
}

fn address(reader: &mut Reader<'_>, node: &Node, folder: &Path) -> Option<Address> {
    let (key, url) = match (node.text("url"), node.text("url_file")) {
        (Some(_), Some(_)) => {
            let message = "url and url_file are both written: leave one out";
            reader.problem(node.at("url_file"), "target", message.into());
            return None;
        }
        (Some(url), None) => ("url", environment::expand(url, environment::variable)),
        (None, Some(file)) => {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).map_err(|_| format!("cannot read {}", path.display()));
            ("url_file", text.map(|text| text.trim().to_owned()))
        }
        (None, None) if node.has("url") || node.has("url_file") => return None,
        (None, None) => {
            reader.problem(node.at, "target", "the key `url` or `url_file` is missing".into());
            return None;
        }
    };
    let address = url.and_then(|url| Address::parse(&url).map_err(|error| error.to_string()));
    match address {
        Ok(Address::Sqlite(path)) => Some(Address::Sqlite(folder.join(path))),
        Ok(address) => Some(address),
        Err(message) => {
            reader.problem(node.at(key), &format!("target.{key}"), message);
            None
        }
    }
}

fn storage(reader: &mut Reader<'_>, node: &Node, catalogue: &[Profile]) -> Storage {
    match (node.text("profile"), node.below("mapping").first()) {
        (Some(_), Some(mapping)) => {
            let message = "profile and [target.mapping] are both written: leave one out";
            reader.problem(mapping.at, "target.mapping", message.into());
            Storage::Detect
        }
        (Some(profile), None) => {
            if catalogue.iter().all(|known| known.name != profile) {
                let hint = nearest(profile, catalogue.iter().map(|known| known.name.as_str()));
                let message = format!("there is no profile `{profile}`{hint}");
                reader.problem(node.at("profile"), "target.profile", message);
            }
            Storage::Profile(profile.to_owned())
        }
        (None, Some(node)) => Storage::Explicit(Box::new(mapping(reader, node))),
        (None, None) => Storage::Detect,
    }
}

/// Missing keys have been reported; what stands here in their place is never used.
fn mapping(reader: &mut Reader<'_>, node: &Node) -> Mapping {
    let text = |key: &str| node.text(key).map(str::to_owned);
    let decoder = |key: &str| node.text(key).and_then(Decoder::parse);
    let table = |key: &str| node.text(key).map(table_name);
    let expires = decoder("decoder").unwrap_or(Decoder::Timestamptz);
    let needs_user = node.text("users").is_some() && node.text("user").is_none();
    if needs_user {
        let message = "`users` needs `user`, the column that refers to them";
        reader.problem(node.at("users"), "target.mapping.users", message.into());
    }
    Mapping {
        profile: "custom".into(),
        sessions: table("sessions").unwrap_or(TableName { schema: None, name: String::new() }),
        id: text("id"),
        token: text("token").unwrap_or_default(),
        user: text("user"),
        expires: InstantColumn { column: text("expires").unwrap_or_default(), decoder: expires },
        created: text("created")
            .map(|column| InstantColumn { column, decoder: decoder("created_decoder").unwrap_or(expires) }),
        ip: text("ip"),
        agent: text("agent"),
        users: table("users").map(|table| UsersMapping {
            table,
            key: text("users_key").unwrap_or_else(|| "id".into()),
            display: node.texts("display"),
        }),
        accounts: table("accounts"),
        max_lifetime_s: node.whole("lifetime_days").map(|days| days * SECONDS_A_DAY),
    }
}

/// `schema.table`, or a table to be found along the search path.
fn table_name(text: &str) -> TableName {
    match text.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: text.to_owned() },
    }
}
