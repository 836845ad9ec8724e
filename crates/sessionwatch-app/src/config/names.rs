//! Everything in a file that has a name, and complaints about names that nothing has.

use sessionwatch_core::suggest::nearest;

use super::reading::Reading;
use crate::{checks, config_file::Written};

/// Everything that has a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) channels: Vec<String>,
    pub(super) targets: Vec<String>,
    /// The ids of the operator's checks in SQL.
    pub(super) custom_checks: Vec<String>,
    /// The names of the operator's patterns of log lines, which are checks too.
    pub(super) log_patterns: Vec<String>,
}

impl Names {
    /// The names of channels in a list.
    pub(super) fn channels(
        &self,
        list: Option<&Written<Vec<String>>>,
        reading: &mut Reading<'_, '_>,
    ) -> Vec<String> {
        let known = self.channels.iter().map(String::as_str);
        known_of(list, "channel", &known.collect::<Vec<_>>(), reading)
    }

    /// The names of targets in a list.
    pub(super) fn targets(
        &self,
        list: Option<&Written<Vec<String>>>,
        reading: &mut Reading<'_, '_>,
    ) -> Vec<String> {
        let known = self.targets.iter().map(String::as_str);
        known_of(list, "target", &known.collect::<Vec<_>>(), reading)
    }

    /// The ids of checks in a list.
    pub(super) fn checks(
        &self,
        list: Option<&Written<Vec<String>>>,
        reading: &mut Reading<'_, '_>,
    ) -> Vec<String> {
        let mut known: Vec<&str> = builtin_checks().collect();
        known.extend([checks::TARGET_UNREACHABLE, checks::CHANNEL_FAILING]);
        known.extend(self.custom_checks.iter().chain(&self.log_patterns).map(String::as_str));
        known_of(list, "check", &known, reading)
    }
}

/// The ids of the checks that are built in.
pub(super) fn builtin_checks() -> impl Iterator<Item = &'static str> {
    checks::TABLE_CHECKS.iter().map(|check| check.id).chain(checks::LOG_CHECKS.iter().map(|check| check.id))
}

/// The names of a list, after a complaint about each that is not known.
fn known_of(
    list: Option<&Written<Vec<String>>>,
    what: &str,
    known: &[&str],
    reading: &mut Reading<'_, '_>,
) -> Vec<String> {
    let Some(list) = list else { return vec![] };
    for name in list.iter().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("there is no {what} `{name}`{}", nearest(name, known.iter().copied()));
        reading.report(list.span(), message);
    }
    list.to_vec()
}
