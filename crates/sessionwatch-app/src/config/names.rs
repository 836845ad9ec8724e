//! Everything in a file that has a name, and complaints about names that nothing has.

use sessionwatch_core::suggest::did_you_mean;

use super::section_reader::SectionReader;
use crate::{checks, config_file::WithSpan};

/// Everything that has a name.
#[derive(Debug, Default)]
pub(super) struct ConfigNames {
    pub(super) channels: Vec<String>,
    pub(super) targets: Vec<String>,
    /// The ids of the operator's checks in SQL.
    pub(super) custom_checks: Vec<String>,
    /// The names of the operator's patterns of log lines, which are checks too.
    pub(super) log_patterns: Vec<String>,
}

impl ConfigNames {
    /// The names of channels in a list.
    pub(super) fn resolve_channels(
        &self,
        list: Option<&WithSpan<Vec<String>>>,
        reader: &mut SectionReader<'_, '_>,
    ) -> Vec<String> {
        let known = self.channels.iter().map(String::as_str);
        require_known_names(list, "channel", &known.collect::<Vec<_>>(), reader)
    }

    /// The names of targets in a list.
    pub(super) fn resolve_targets(
        &self,
        list: Option<&WithSpan<Vec<String>>>,
        reader: &mut SectionReader<'_, '_>,
    ) -> Vec<String> {
        let known = self.targets.iter().map(String::as_str);
        require_known_names(list, "target", &known.collect::<Vec<_>>(), reader)
    }

    /// The ids of checks in a list.
    pub(super) fn resolve_checks(
        &self,
        list: Option<&WithSpan<Vec<String>>>,
        reader: &mut SectionReader<'_, '_>,
    ) -> Vec<String> {
        let mut known: Vec<&str> = builtin_check_ids().collect();
        known.extend([checks::TARGET_UNREACHABLE, checks::CHANNEL_FAILING]);
        known.extend(self.custom_checks.iter().chain(&self.log_patterns).map(String::as_str));
        require_known_names(list, "check", &known, reader)
    }
}

/// The ids of the checks that are built in.
pub(super) fn builtin_check_ids() -> impl Iterator<Item = &'static str> {
    checks::TABLE_CHECKS.iter().map(|check| check.id).chain(checks::LOG_CHECKS.iter().map(|check| check.id))
}

/// The names of a list, after a complaint about each that is not known.
fn require_known_names(
    list: Option<&WithSpan<Vec<String>>>,
    what: &str,
    known: &[&str],
    reader: &mut SectionReader<'_, '_>,
) -> Vec<String> {
    let Some(list) = list else { return vec![] };
    for name in list.iter().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("there is no {what} `{name}`{}", did_you_mean(name, known.iter().copied()));
        reader.report_problem(list.span(), message);
    }
    list.to_vec()
}
