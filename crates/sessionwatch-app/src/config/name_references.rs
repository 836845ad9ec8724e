//! Names defined in the file, and the resolution of references to them.

use std::collections::BTreeSet;

use sessionwatch_core::suggest::did_you_mean;

use super::section_reader::SectionReader;
use crate::{checks, config_file::WithSpan};

/// Names that other sections can refer to.
#[derive(Debug, Default)]
pub(super) struct ConfigNames {
    pub(super) channels: Vec<String>,
    pub(super) targets: Vec<String>,
    /// Ids of the custom SQL checks.
    pub(super) custom_checks: Vec<String>,
    /// Names of the custom log checks, which are check ids too.
    pub(super) log_patterns: Vec<String>,
}

impl ConfigNames {
    /// Returns the channel names of a list; reports unknown ones.
    pub(super) fn resolve_channels(
        &self,
        list: Option<&WithSpan<Vec<String>>>,
        reader: &mut SectionReader<'_, '_>,
    ) -> Vec<String> {
        let known = self.channels.iter().map(String::as_str);
        require_known_names(list, "channel", &known.collect::<Vec<_>>(), reader)
    }

    /// Returns the target names of a list; reports unknown ones.
    pub(super) fn resolve_targets(
        &self,
        list: Option<&WithSpan<Vec<String>>>,
        reader: &mut SectionReader<'_, '_>,
    ) -> Vec<String> {
        let known = self.targets.iter().map(String::as_str);
        require_known_names(list, "target", &known.collect::<Vec<_>>(), reader)
    }

    /// Returns the check ids of a list; reports unknown ones.
    pub(super) fn resolve_checks(
        &self,
        list: Option<&WithSpan<Vec<String>>>,
        reader: &mut SectionReader<'_, '_>,
    ) -> Vec<String> {
        let mut known: Vec<&str> = builtin_check_ids().collect();
        // These alerts come from the daemon itself and have no section of their own, but routes can name them.
        known.extend([checks::TARGET_UNREACHABLE, checks::CHANNEL_FAILING]);
        known.extend(self.custom_checks.iter().chain(&self.log_patterns).map(String::as_str));
        require_known_names(list, "check", &known, reader)
    }
}

/// Reports each name that an earlier section has too. Sections that cannot be used on this machine count as well: their
/// names would clash as soon as the missing variable is set.
pub(super) fn report_duplicate_names<'a>(
    names: impl Iterator<Item = &'a WithSpan<String>>,
    what: &str,
    reader: &mut SectionReader<'_, '_>,
) {
    let mut earlier = BTreeSet::new();
    for name in names {
        if !earlier.insert(name.as_str()) {
            reader.report_problem(name.span(), format!("duplicate {what} name `{}`", **name));
        }
    }
}

/// Returns the ids of the built-in checks of the session table and of logs.
pub(super) fn builtin_check_ids() -> impl Iterator<Item = &'static str> {
    checks::TABLE_CHECKS.iter().map(|check| check.id).chain(checks::LOG_CHECKS.iter().map(|check| check.id))
}

fn require_known_names(
    list: Option<&WithSpan<Vec<String>>>,
    what: &str,
    known: &[&str],
    reader: &mut SectionReader<'_, '_>,
) -> Vec<String> {
    let Some(list) = list else { return vec![] };
    for name in list.iter().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("unknown {what} `{name}`{}", did_you_mean(name, known.iter().copied()));
        reader.report_problem(list.span(), message);
    }
    // With unknown names: an empty list would match everything.
    list.to_vec()
}
