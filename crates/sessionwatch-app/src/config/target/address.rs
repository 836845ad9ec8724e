//! Addresses of a target: of the database, of its replica, and with the write role.

use credentials::Secret;
use sessionwatch_targets::address::TargetAddress;

use super::TargetSection;
use crate::{
    config::section_reader::SectionReader,
    config_file::{ConfigProblem, SecretKeys, SecretLookup, WithSpan},
};

/// Returns the address as text; `None` if the keys are invalid, an error if a variable or file is missing.
pub(super) fn read_target_url(
    section: &WithSpan<TargetSection>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<WithSpan<Secret>, ConfigProblem>> {
    let keys = SecretKeys { name: "url", text: section.url.as_ref(), file: section.url_file.as_ref() };
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(url) => Some(Ok(url)),
        SecretLookup::Unresolved(missing) => Some(Err(missing)),
        SecretLookup::Invalid => None,
        SecretLookup::Absent => {
            let span = section.span();
            // An invalid key was removed by the validation; reporting it as missing too would confuse.
            if !reader.problems.has_invalid_key(&span, &["url", "url_file"]) {
                reader.report_problem(span, "missing required key `url` or `url_file`");
            }
            None
        }
    }
}

/// Parses an address; reports a problem and returns `None` if it is invalid.
pub(super) fn parse_address(
    url: &WithSpan<Secret>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<TargetAddress> {
    let address = TargetAddress::parse(url.expose()).map(|address| address.resolved_in(reader.folder));
    address.map_err(|error| reader.report_problem(url.span(), error.to_string())).ok()
}

/// Returns the address of the replica, or an error if a variable or file is missing.
pub(super) fn read_replica_address(
    section: &TargetSection,
    reader: &mut SectionReader<'_, '_>,
) -> Result<Option<TargetAddress>, ConfigProblem> {
    let keys = SecretKeys { name: "replica_url", text: section.replica_url.as_ref(), file: None };
    read_optional_address(keys, reader)
}

/// Returns the address with the write role, or an error if a variable or file is missing.
pub(super) fn read_write_address(
    section: &TargetSection,
    address: &TargetAddress,
    reader: &mut SectionReader<'_, '_>,
) -> Result<Option<TargetAddress>, ConfigProblem> {
    let keys = SecretKeys {
        name: "write_url",
        text: section.write_url.as_ref(),
        file: section.write_url_file.as_ref(),
    };
    // Only if a key is set: an absent one falls back to the rules below.
    if keys.is_written() {
        return read_optional_address(keys, reader);
    }
    // SQLite has no roles: the address of a file also serves for writing.
    Ok(address.file_path().is_some().then(|| address.clone()))
}

fn read_optional_address(
    keys: SecretKeys<'_>,
    reader: &mut SectionReader<'_, '_>,
) -> Result<Option<TargetAddress>, ConfigProblem> {
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(url) => Ok(parse_address(&url, reader)),
        SecretLookup::Unresolved(missing) => Err(missing),
        SecretLookup::Absent | SecretLookup::Invalid => Ok(None),
    }
}
