//! The addresses of a target: of the database, of its replica, and of the role that acts.

use credentials::Secret;
use sessionwatch_targets::address::TargetAddress;

use super::TargetSection;
use crate::{
    config::section_reader::SectionReader,
    config_file::{ConfigProblem, SecretKeys, SecretLookup, WithSpan},
};

/// The address as text; nothing if what is written is wrong, an error if what it refers to is not there.
pub(super) fn read_target_url(
    section: &WithSpan<TargetSection>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<WithSpan<Secret>, ConfigProblem>> {
    let keys = SecretKeys { name: "url", text: section.url.as_ref(), file: section.url_file.as_ref() };
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(url) => Some(Ok(url)),
        SecretLookup::Unresolved(missing) => {
            Some(Err(reader.problems.build_problem(&missing.span(), &missing)))
        }
        SecretLookup::Invalid => None,
        SecretLookup::Absent => {
            let span = section.span();
            if !reader.problems.has_invalid_key(&span, &["url", "url_file"]) {
                reader.report_problem(span, "the key `url` or `url_file` is missing");
            }
            None
        }
    }
}

/// Where that is; nothing if it is wrong.
pub(super) fn parse_address(
    url: &WithSpan<Secret>,
    reader: &mut SectionReader<'_, '_>,
) -> Option<TargetAddress> {
    let address = TargetAddress::parse(url.expose()).map(|address| address.resolved_in(reader.folder));
    address.map_err(|error| reader.report_problem(url.span(), error.to_string())).ok()
}

/// The address of the replica; an error if what it refers to is not there.
pub(super) fn read_replica_address(
    section: &TargetSection,
    reader: &mut SectionReader<'_, '_>,
) -> Result<Option<TargetAddress>, ConfigProblem> {
    let keys = SecretKeys { name: "replica_url", text: section.replica_url.as_ref(), file: None };
    read_optional_address(keys, reader)
}

/// Where, and as whom, sessions are ended; an error if what it refers to is not there. A file needs nobody else.
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
    if keys.is_written() {
        return read_optional_address(keys, reader);
    }
    Ok(address.file_path().is_some().then(|| address.clone()))
}

fn read_optional_address(
    keys: SecretKeys<'_>,
    reader: &mut SectionReader<'_, '_>,
) -> Result<Option<TargetAddress>, ConfigProblem> {
    match keys.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(url) => Ok(parse_address(&url, reader)),
        SecretLookup::Unresolved(missing) => Err(reader.problems.build_problem(&missing.span(), &missing)),
        SecretLookup::Absent | SecretLookup::Invalid => Ok(None),
    }
}
