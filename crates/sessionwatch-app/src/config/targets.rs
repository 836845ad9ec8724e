//! `[[target]]` as used.

use std::{path::Path, time::Duration};

use jiff::tz::TimeZone;
use sessionwatch_core::{decoder::Decoder, instant::SECOND, local_time::MIN_GRACE, safety_limit::MOST};

use super::{
    Cleanup, Preset, Problem, Rhythm, Target, Unresolved, plan,
    reader::{Node, Reader},
};
use crate::{
    environment,
    profile::{
        catalogue::Profile,
        explicit,
        mapping::{InstantColumn, Mapping, Revoke, TableName, UsersMapping},
        source::ProfileSource,
    },
    schedule::Schedule,
    secret::Secret,
    suggest::nearest,
    target::{address::Address, engine::EngineKind, limits::Limits},
};

const SECONDS_A_DAY: u64 = 86_400;
/// When the watch cleans up, where it does and nothing else is said.
const NIGHTLY: &str = "17 3 * * *";

/// The targets, and those whose address cannot be had at present.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Node,
    (folder, catalogue, zone): (&Path, &[Profile], &TimeZone),
) -> (Vec<Target>, Vec<Unresolved>) {
    let (mut targets, mut unresolved) = (Vec::<Target>::new(), Vec::<Unresolved>::new());
    for node in root.below("target") {
        let name = node.text("name").unwrap_or_default().to_owned();
        let taken = |other: &str| other == name;
        if targets.iter().any(|target| taken(&target.name))
            || unresolved.iter().any(|target| taken(&target.name))
        {
            reader.problem(node.at("name"), "target.name", "another target has that name".into());
        }
        let storage = storage(reader, node, catalogue);
        let url = match url(reader, node, folder) {
            None => continue,
            Some(Ok(url)) => url,
            Some(Err(problem)) => {
                unresolved.push(Unresolved { name, problem });
                continue;
            }
        };
        if let Some(address) = address(reader, node, (folder, &url)) {
            let seconds = |key, otherwise| Duration::from_secs(node.whole(key).unwrap_or(otherwise));
            let engine =
                if node.text("engine") == Some("pushdown") { EngineKind::Pushdown } else { EngineKind::Scan };
            let limits = Limits { timeout: seconds("timeout", 30), lock_timeout: seconds("lock_timeout", 2) };
            // The machine that only checks need not have the secret of the role that acts.
            let (act, act_missing) = match acting(reader, node, (folder, &address)) {
                Ok(act) => (act, None),
                Err(problem) => (None, Some(problem)),
            };
            let replica = match replica(reader, node, folder) {
                Ok(replica) => replica,
                Err(problem) => {
                    unresolved.push(Unresolved { name, problem });
                    continue;
                }
            };
            let cleanup = cleanup(reader, node, (zone, act.is_some() || act_missing.is_some()));
            keeps_time(reader, node, (cleanup.as_ref(), &storage));
            let rhythm = rhythm(reader, node, zone);
            let suspends_after = suspends_after(node, url.expose());
            targets.push(Target {
                ad_hoc: false,
                cleanup,
                name,
                address,
                storage,
                known: None,
                engine,
                limits,
                rhythm,
                replica,
                suspends_after,
                act,
                act_missing,
            });
        }
    }
    (targets, unresolved)
}

fn rhythm(reader: &mut Reader<'_>, node: &Node, zone: &TimeZone) -> Rhythm {
    let preset = match node.text("schedule") {
        Some("guide") => Preset::Guide,
        Some("scale-to-zero") => Preset::ScaleToZero,
        _ => Preset::Default,
    };
    let written = if node.has("cron") { "cron" } else { "every" };
    if preset == Preset::Guide && node.has(written) {
        let message = format!("`{written}` changes nothing with schedule = \"guide\": leave one of them out");
        reader.problem(node.at(written), &format!("target.{written}"), message);
    }
    Rhythm { preset, base: plan::schedule(reader, node, ("target", zone)) }
}

/// The address of the replica; an error if what it refers to is not there.
fn replica(reader: &mut Reader<'_>, node: &Node, folder: &Path) -> Result<Option<Address>, Problem> {
    const KEY: &str = "replica_url";
    let Some(written) = node.text(KEY) else { return Ok(None) };
    let place = format!("target.{KEY}");
    let url = environment::secret(Ok(written));
    let url = url.map_err(|message| reader.describe(node.at(KEY), &place, message))?;
    match Address::parse(url.expose()) {
        Ok(Address::Sqlite(path)) => Ok(Some(Address::Sqlite(folder.join(path)))),
        Ok(address) => Ok(Some(address)),
        Err(error) => {
            reader.problem(node.at(KEY), &place, error.to_string());
            Ok(None)
        }
    }
}

/// Where, and as whom, sessions are ended; an error if what it refers to is not there. A file needs nobody else.
fn acting(
    reader: &mut Reader<'_>,
    node: &Node,
    (folder, address): (&Path, &Address),
) -> Result<Option<Address>, Problem> {
    let (key, url) = match (node.text("act_url"), node.text("act_url_file")) {
        (Some(_), Some(_)) => {
            let message = "act_url and act_url_file are both written: leave one out";
            reader.problem(node.at("act_url_file"), "target", message.into());
            return Ok(None);
        }
        (Some(url), None) => ("act_url", environment::secret(Ok(url))),
        (None, Some(file)) => ("act_url_file", environment::secret(Err(folder.join(file)))),
        (None, None) => {
            return Ok(matches!(address, Address::Sqlite(_)).then(|| address.clone()));
        }
    };
    let place = format!("target.{key}");
    let url = url.map_err(|message| reader.describe(node.at(key), &place, message))?;
    match Address::parse(url.expose()) {
        Ok(Address::Sqlite(path)) => Ok(Some(Address::Sqlite(folder.join(path)))),
        Ok(address) => Ok(Some(address)),
        Err(error) => {
            reader.problem(node.at(key), &place, error.to_string());
            Ok(None)
        }
    }
}

/// How the watch cleans up by itself; nothing unless it is switched on.
fn cleanup(reader: &mut Reader<'_>, node: &Node, (zone, acts): (&TimeZone, bool)) -> Option<Cleanup> {
    let node = node.below("cleanup").first()?;
    let schedule = plan::schedule(reader, node, ("target.cleanup", zone));
    if node.flag("expired") != Some(true) {
        return None;
    }
    if !acts {
        let message = "cleaning up needs `act_url` or `act_url_file`, the address with the role that acts";
        reader.problem(node.at("expired"), "target.cleanup", message.into());
    }
    let grace = i64::try_from(node.whole("grace").unwrap_or(86_400)).unwrap_or(86_400);
    let nightly = || Schedule::cron(NIGHTLY, zone).unwrap_or(Schedule::Every(86_400 * SECOND));
    Some(Cleanup {
        grace_us: grace * SECOND,
        schedule: schedule.unwrap_or_else(nightly),
        max_rows: node.whole("max_rows").unwrap_or(1_000_000),
        max_share: node.decimal("max_share").unwrap_or(MOST),
        side_effects: node.flag("side_effects").unwrap_or(false),
    })
}

/// Refuses a grace that is shorter than clocks can be apart, where the mapping says that the end names no time zone.
fn keeps_time(reader: &mut Reader<'_>, node: &Node, (cleanup, storage): (Option<&Cleanup>, &ProfileSource)) {
    let (Some(cleanup), ProfileSource::Explicit(mapping)) = (cleanup, storage) else { return };
    if mapping.expires.decoder == Decoder::TimestampUtc && cleanup.grace_us < MIN_GRACE {
        let at = node.below("cleanup").first().map_or(node.at, |node| node.at("grace"));
        let message = format!(
            "at least 14h: `{}` names no time zone; write decoder = \"timestamp-local:ZONE\" with that of the application to allow less",
            mapping.expires.column
        );
        reader.problem(at, "target.cleanup.grace", message);
    }
}

/// How sessions are ended.
fn revoke(reader: &mut Reader<'_>, node: &Node) -> Revoke {
    let (column, value) = (node.text("revoke_column"), node.text("revoke_value"));
    match (node.text("revoke"), column, value) {
        (Some("flag"), Some(column), Some(value)) => {
            return Revoke::Flag { column: column.to_owned(), value: value.to_owned() };
        }
        (Some("flag"), ..) => {
            let message = "revoke = \"flag\" needs `revoke_column` and `revoke_value`";
            reader.problem(node.at("revoke"), "target.mapping.revoke", message.into());
        }
        (_, None, None) => {}
        _ => {
            let key = if column.is_some() { "revoke_column" } else { "revoke_value" };
            let message = "is of use only with revoke = \"flag\"";
            reader.problem(node.at(key), &format!("target.mapping.{key}"), message.into());
        }
    }
    if node.text("revoke") == Some("expire") { Revoke::Expire } else { Revoke::Delete }
}

/// Neon suspends after five minutes unless told otherwise: <https://neon.com/docs/introduction/scale-to-zero>.
fn suspends_after(node: &Node, url: &str) -> Option<i64> {
    let known = url.contains(".neon.tech").then_some(300);
    let seconds = node.whole("suspends_after").or(known)?;
    Some(i64::try_from(seconds).unwrap_or(i64::MAX / SECOND) * SECOND)
}

/// The address as text; nothing if what is written is wrong, an error if what it refers to is not there.
fn url(reader: &mut Reader<'_>, node: &Node, folder: &Path) -> Option<Result<Secret, Problem>> {
    let (key, url) = match (node.text("url"), node.text("url_file")) {
        (Some(_), Some(_)) => {
            let message = "url and url_file are both written: leave one out";
            reader.problem(node.at("url_file"), "target", message.into());
            return None;
        }
        (Some(url), None) => ("url", environment::secret(Ok(url))),
        (None, Some(file)) => ("url_file", environment::secret(Err(folder.join(file)))),
        (None, None) => {
            if !node.has("url") && !node.has("url_file") {
                reader.problem(node.at, "target", "the key `url` or `url_file` is missing".into());
            }
            return None;
        }
    };
    Some(url.map_err(|message| reader.describe(node.at(key), &format!("target.{key}"), message)))
}

fn address(reader: &mut Reader<'_>, node: &Node, (folder, url): (&Path, &Secret)) -> Option<Address> {
    match Address::parse(url.expose()) {
        Ok(Address::Sqlite(path)) => Some(Address::Sqlite(folder.join(path))),
        Ok(address) => Some(address),
        Err(error) => {
            let key = if node.has("url") { "url" } else { "url_file" };
            reader.problem(node.at(key), &format!("target.{key}"), error.to_string());
            None
        }
    }
}

fn storage(reader: &mut Reader<'_>, node: &Node, catalogue: &[Profile]) -> ProfileSource {
    let profile = node.text("profile");
    if let Some(profile) = profile
        && catalogue.iter().all(|known| known.name != profile)
    {
        let hint = nearest(profile, catalogue.iter().map(|known| known.name.as_str()));
        let message = format!("there is no profile `{profile}`{hint}");
        reader.problem(node.at("profile"), "target.profile", message);
    }
    let (table, below) = (node.text("sessions"), node.below("mapping").first());
    if let (Some(table), Some(below)) = (table, below)
        && below.text("sessions").is_some_and(|other| other != table)
    {
        let message = "another table is written under [target.mapping]: leave this one out";
        reader.problem(node.at("sessions"), "target.sessions", message.into());
    }
    match (table, below) {
        (_, Some(below)) => {
            let known = catalogue.iter().find(|known| Some(known.name.as_str()) == profile);
            ProfileSource::Explicit(Box::new(mapping(reader, below, known)))
        }
        (Some(table), None) => {
            ProfileSource::Table { table: table_name(table), profile: profile.map(str::to_owned) }
        }
        (None, None) => {
            profile.map_or(ProfileSource::Detect, |profile| ProfileSource::Profile(profile.to_owned()))
        }
    }
}

/// Missing keys have been reported; what stands here in their place is never used.
fn mapping(reader: &mut Reader<'_>, node: &Node, profile: Option<&Profile>) -> Mapping {
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
        profile: profile.map_or(explicit::PROFILE, |profile| profile.name.as_str()).to_owned(),
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
        revoke: revoke(reader, node),
        deleted: None,
        token_prefix: text("token_prefix"),
        impersonator: None,
        max_lifetime_s: node
            .whole("lifetime_days")
            .or(profile.map(|profile| profile.max_lifetime_days))
            .map(|days| days * SECONDS_A_DAY),
    }
}

/// `schema.table`, or a table to be found along the search path.
fn table_name(text: &str) -> TableName {
    match text.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: text.to_owned() },
    }
}
