//! The address of a database where neither the command line nor the configuration names one: `DATABASE_URL` and its
//! relatives, `.env` files, and the variables and files of libpq.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sessionwatch_targets::address::{AddressError, TargetAddress, is_prisma_proxy_url};

use crate::environment::{VARIABLE_FILES, read_variable, read_variable_file};

/// Variables that hold an address, the most usual first. Prisma has the direct one in `DIRECT_URL`.
const ADDRESS_VARIABLES: [&str; 3] = ["DATABASE_URL", "DIRECT_URL", "POSTGRES_URL"];
/// Variables of libpq that name a server or a database.
const LIBPQ_VARIABLES: [&str; 5] = ["PGHOST", "PGHOSTADDR", "PGDATABASE", "PGUSER", "PGSERVICE"];

/// The reason why there is no default address.
#[derive(Debug)]
pub enum NoAddress {
    /// Nothing names one.
    Missing,
    /// The one that is named cannot be used.
    Invalid {
        /// The variable, and the file it is in.
        source: String,
        /// Why not.
        error: AddressError,
    },
}

/// A default address, and how a configuration refers to it.
#[derive(Clone, Debug)]
pub struct DefaultAddress {
    /// Address.
    pub address: TargetAddress,
    /// Value of `url` in a configuration: the variable that holds the address, or the address without its password.
    pub config_value: String,
}

/// A text that may be the address.
#[derive(Debug)]
struct AddressCandidate {
    /// The variable, and the file it is in.
    source: String,
    text: String,
    config_value: String,
}

/// Returns the first usable address of the environment, `.env.local` and `.env`, or that of libpq's variables.
///
/// # Errors
///
/// Returns an error if nothing names an address, or the first one cannot be used.
pub fn find_default_address() -> Result<DefaultAddress, NoAddress> {
    let candidates = list_candidates();
    credentials::register_secrets(candidates.iter().map(|candidate| candidate.text.clone()));
    let mut found = choose_address(candidates)?;
    add_stored_password(&mut found.address);
    Ok(found)
}

/// Returns the first address. Only one of a Prisma proxy is skipped, since another variable holds the address of the
/// database behind it. Any other unusable address is an error: the next one may belong to another database.
fn choose_address(candidates: Vec<AddressCandidate>) -> Result<DefaultAddress, NoAddress> {
    let mut proxy = None;
    for AddressCandidate { source, text, config_value } in candidates {
        match TargetAddress::parse(&text) {
            Ok(address) => return Ok(DefaultAddress { address, config_value }),
            Err(error) => {
                let invalid = NoAddress::Invalid { source, error };
                if !is_prisma_proxy_url(&text) {
                    return Err(proxy.unwrap_or(invalid));
                }
                proxy.get_or_insert(invalid);
            }
        }
    }
    Err(proxy.unwrap_or(NoAddress::Missing))
}

fn list_candidates() -> Vec<AddressCandidate> {
    let mut candidates = Vec::new();
    let candidate = |name: &str, source: String, text: String| AddressCandidate {
        source,
        text,
        config_value: format!("${{{name}}}"),
    };
    let variable = |name: &&str| Some(candidate(name, (*name).to_owned(), read_variable(name)?));
    candidates.extend(ADDRESS_VARIABLES.iter().filter_map(variable));
    for file in VARIABLE_FILES {
        let Some(variables) = read_variable_file(Path::new(file)) else { continue };
        let variable = |name: &&str| {
            let value = variables.get(*name).filter(|value| !value.is_empty())?;
            Some(candidate(name, format!("{name} of {file}"), value.clone()))
        };
        candidates.extend(ADDRESS_VARIABLES.iter().filter_map(variable));
    }
    if LIBPQ_VARIABLES.iter().any(|name| read_variable(name).is_some()) {
        let service = read_service();
        let setting =
            |variable: &str, key: &str| read_variable(variable).or_else(|| service.get(key).cloned());
        let without_password =
            |variable: &str, key: &str| if key == "password" { None } else { setting(variable, key) };
        candidates.extend(libpq_address(&setting).zip(libpq_address(&without_password)).map(
            |(text, config_value)| AddressCandidate {
                source: "the PG* variables".to_owned(),
                text,
                config_value,
            },
        ));
    }
    candidates
}

/// Builds a URL from the settings of libpq, by the name of the variable and the key in a service file.
fn libpq_address(setting: &dyn Fn(&str, &str) -> Option<String>) -> Option<String> {
    let user =
        setting("PGUSER", "user").or_else(|| read_variable("LOGNAME")).or_else(|| read_variable("USER"))?;
    let host = setting("PGHOST", "host").or_else(|| setting("PGHOSTADDR", "hostaddr"));
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    let database = setting("PGDATABASE", "dbname").unwrap_or_else(|| user.clone());
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let password = setting("PGPASSWORD", "password").map(|password| format!(":{}", encoded(&password)));
    let port = setting("PGPORT", "port").map(|port| format!(":{port}"));
    // A folder is that of a socket, and an IPv6 address stands in brackets.
    let host = match host.as_str() {
        socket if socket.starts_with('/') => encoded(socket),
        address if address.contains(':') => format!("[{address}]"),
        _ => host,
    };
    let parameters = [
        ("sslmode", setting("PGSSLMODE", "sslmode")),
        ("sslrootcert", setting("PGSSLROOTCERT", "sslrootcert")),
        ("options", setting("PGOPTIONS", "options")),
    ];
    let parameters: Vec<String> = parameters
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?))))
        .collect();
    let parameters = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    Some(format!(
        "postgres://{}{}@{host}{}/{}{parameters}",
        encoded(&user),
        password.unwrap_or_default(),
        port.unwrap_or_default(),
        encoded(&database)
    ))
}

/// Returns the settings of the service that `PGSERVICE` names; none if there is no such service.
fn read_service() -> BTreeMap<String, String> {
    let Some(name) = read_variable("PGSERVICE") else { return BTreeMap::new() };
    let file = read_variable("PGSERVICEFILE").map(PathBuf::from);
    let file = file.or_else(|| Some(home_folder()?.join(".pg_service.conf")));
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    parse_service(&text, &name)
}

fn parse_service(text: &str, name: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim);
    let section = lines.skip_while(|line| *line != format!("[{name}]")).skip(1);
    let settings = section.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    let setting = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    settings.filter_map(setting).collect()
}

/// Adds the password that libpq would use to an address without one: `PGPASSWORD`, else that of `~/.pgpass`.
pub fn add_stored_password(address: &mut TargetAddress) {
    let Some(dsn) = address.server_dsn_mut() else { return };
    let Some(key) = dsn.password_key() else { return };
    let stored = || find_password(&read_password_file()?, &key);
    if let Some(password) = read_variable("PGPASSWORD").or_else(stored) {
        credentials::register_secrets(std::iter::once(password.clone()));
        dsn.set_password(&password);
    }
}

/// Returns the text of the password file, unless others may read it: libpq ignores it then, too.
fn read_password_file() -> Option<String> {
    let file = read_variable("PGPASSFILE").map(PathBuf::from);
    let file = file.or_else(|| Some(home_folder()?.join(".pgpass")))?;
    if !is_private(&file) {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

#[cfg(unix)]
fn is_private(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
fn is_private(file: &Path) -> bool {
    file.is_file()
}

fn home_folder() -> Option<PathBuf> {
    read_variable("HOME").map(PathBuf::from)
}

/// Returns the password of the first line that matches host, port, database and user.
fn find_password(text: &str, wanted: &[String; 4]) -> Option<String> {
    let matches = |line: &&str| {
        let fields = split_fields(line);
        fields.len() == 5 && fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted)
    };
    let line = text.lines().filter(|line| !line.starts_with('#')).find(matches)?;
    split_fields(line).pop()
}

/// Splits a line at colons. A backslash keeps the character that follows.
fn split_fields(line: &str) -> Vec<String> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => field.extend(characters.next()),
            ':' if fields.len() < 4 => fields.push(std::mem::take(&mut field)),
            _ => field.push(character),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_a_prisma_proxy_is_skipped() {
        let choose = |addresses: &[&str]| {
            let candidate = |(at, text): (usize, &&str)| AddressCandidate {
                source: at.to_string(),
                text: (*text).to_owned(),
                config_value: String::new(),
            };
            choose_address(addresses.iter().enumerate().map(candidate).collect())
        };
        let direct = "postgres://u@h/direct";
        assert!(choose(&["prisma+postgres://accelerate.example/?api_key=k", direct]).is_ok());
        let source = |chosen: Result<DefaultAddress, NoAddress>| match chosen {
            Err(NoAddress::Invalid { source, .. }) => source,
            other => panic!("{other:?}"),
        };
        // A typo must not lead to the next database.
        assert_eq!(source(choose(&["postgres://u@h/d?sslmod=require", direct])), "0");
        assert_eq!(source(choose(&["mysql://u@h/d", direct])), "0");
        assert_eq!(source(choose(&["prisma://accelerate.example", "nonsense://h"])), "0");
        assert!(matches!(choose(&[]), Err(NoAddress::Missing)));
    }

    #[test]
    fn builds_an_address_from_libpq_settings() {
        let service = parse_service(
            "[a]\nhost=x\n[app]\n# c\nhost=/run/pg\nuser=me\nsslmode=require\n[b]\nport=1\n",
            "app",
        );
        let address = libpq_address(&|_, key| service.get(key).cloned()).unwrap();
        assert_eq!(address, "postgres://me@%2Frun%2Fpg/me?sslmode=require");
        let settings =
            [("user", "u@x"), ("host", "::1"), ("port", "5433"), ("dbname", "d"), ("password", "p:w")];
        let setting = |_: &str, key: &str| {
            settings.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
        };
        let address = libpq_address(&setting).unwrap();
        assert_eq!(address, "postgres://u%40x:p%3Aw@[::1]:5433/d");
        assert!(TargetAddress::parse(&address).is_ok());
    }

    #[test]
    fn finds_passwords_as_libpq_does() {
        let text = "# db:*:*:*:no\ndb:5432:app:bob:first\ndb:*:*:ann:a\\:b\n*:*:*:*:any:more\n";
        let find = |host: &str, user: &str| {
            let wanted = [host, "5432", "app", user].map(str::to_owned);
            find_password(text, &wanted)
        };
        assert_eq!(find("db", "bob").as_deref(), Some("first"));
        assert_eq!(find("db", "ann").as_deref(), Some("a:b"));
        assert_eq!(find("elsewhere", "bob").as_deref(), Some("any:more"));
    }
}
