//! The addresses of a target: of the database, of its replica, and of the role that acts.

use credentials::Secret;
use sessionwatch_targets::address::Address;

use super::TargetSection;
use crate::{
    config::reading::Reading,
    config_file::{Lookup, Problem, SecretKeys, Written},
};

/// The address as text; nothing if what is written is wrong, an error if what it refers to is not there.
pub(super) fn url(
    section: &Written<TargetSection>,
    reading: &mut Reading<'_, '_>,
) -> Option<Result<Written<Secret>, Problem>> {
    let keys = SecretKeys { name: "url", text: section.url.as_ref(), file: section.url_file.as_ref() };
    match keys.look_up(reading.folder, &mut reading.problems) {
        Lookup::Found(url) => Some(Ok(url)),
        Lookup::Missing(missing) => Some(Err(reading.problems.describe(&missing.span(), &missing))),
        Lookup::Refused => None,
        Lookup::Absent => {
            let span = section.span();
            if !reading.problems.was_refused(&span, &["url", "url_file"]) {
                reading.report(span, "the key `url` or `url_file` is missing");
            }
            None
        }
    }
}

/// Where that is; nothing if it is wrong.
pub(super) fn parse(url: &Written<Secret>, reading: &mut Reading<'_, '_>) -> Option<Address> {
    let address = Address::parse(url.expose()).map(|address| address.in_folder(reading.folder));
    address.map_err(|error| reading.report(url.span(), error.to_string())).ok()
}

/// The address of the replica; an error if what it refers to is not there.
pub(super) fn replica(
    section: &TargetSection,
    reading: &mut Reading<'_, '_>,
) -> Result<Option<Address>, Problem> {
    let keys = SecretKeys { name: "replica_url", text: section.replica_url.as_ref(), file: None };
    look_up(keys, reading)
}

/// Where, and as whom, sessions are ended; an error if what it refers to is not there. A file needs nobody else.
pub(super) fn acting(
    section: &TargetSection,
    address: &Address,
    reading: &mut Reading<'_, '_>,
) -> Result<Option<Address>, Problem> {
    let keys =
        SecretKeys { name: "act_url", text: section.act_url.as_ref(), file: section.act_url_file.as_ref() };
    if keys.is_written() {
        return look_up(keys, reading);
    }
    Ok(address.file().is_some().then(|| address.clone()))
}

fn look_up(keys: SecretKeys<'_>, reading: &mut Reading<'_, '_>) -> Result<Option<Address>, Problem> {
    match keys.look_up(reading.folder, &mut reading.problems) {
        Lookup::Found(url) => Ok(parse(&url, reading)),
        Lookup::Missing(missing) => Err(reading.problems.describe(&missing.span(), &missing)),
        Lookup::Absent | Lookup::Refused => Ok(None),
    }
}
