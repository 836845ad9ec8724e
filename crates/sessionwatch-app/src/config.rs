//! Configuration: finds, reads and validates `sessionwatch.toml`. All problems are reported at once.
//!
//! Each section has a module: a struct for the section as written, the value built from it, and the validation between
//! them. The doc comment of a field documents its key in `config example` and `config reference`. The generic reader is
//! in [`config_file`].
//!
//! [`config_file`]: crate::config_file

pub mod logs;
pub mod oidc;
pub mod sections;
pub mod text_formats;

mod actions;
mod alerts;
mod check_schedules;
mod checks;
mod custom_check;
mod custom_log_check;
mod name_references;
mod routing;
mod section_reader;
mod serve;
mod target;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod section_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use sessionwatch_core::plural::format_count;
use sessionwatch_targets::layout::profile_catalog::{self, Profile};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::{
    actions::ActionsConfig,
    logs::LogsConfig,
    routing::{MaintenanceWindow, NotificationRoute, ScheduledReport},
    serve::ServeConfig,
    target::{
        AddressError, CleanupConfig, EngineKind, SchedulePreset, Target, TargetAddress, TargetSchedule,
    },
};
use self::{name_references::ConfigNames, section_reader::SectionReader, sections::ConfigFile};
use crate::{
    checks::CheckSettings,
    config_file::{self, ConfigProblem, ProblemCollector, UnresolvedSection, WithSpan},
    notify::channel,
    schedule::ScheduledChecks,
};

/// File in the current folder that is read if no other is given.
pub const DEFAULT_CONFIG_FILE: &str = "sessionwatch.toml";

/// Validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// File that was read; `None` for the defaults.
    pub file: Option<PathBuf>,
    /// Targets, in the order of the file.
    pub targets: Vec<Target>,
    /// Targets whose address refers to a missing variable or file. They fail only the commands that use them.
    pub unresolved_targets: Vec<UnresolvedSection>,
    /// Enabled checks, severities, thresholds and alert policies.
    pub checks: CheckSettings,
    /// Profiles: the built-in ones, then those of `profiles`.
    pub catalogue: Vec<Profile>,
    /// Settings of the daemon.
    pub serve: ServeConfig,
    /// Identity provider for logins.
    pub oidc: Option<oidc::OidcConfig>,
    /// Missing variable or file without which the identity provider cannot be used.
    pub oidc_unresolved: Option<ConfigProblem>,
    /// Safety limits and archive of plans.
    pub actions: ActionsConfig,
    /// Log sources and log checks.
    pub logs: LogsConfig,
}

/// Error of reading a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {0}")]
    Unreadable(PathBuf),
    /// The file has problems.
    #[error("{}{}{}", .0.summary_line(), indented_lines(&.0.problems), indented_lines(&.0.unresolved))]
    Invalid(Box<InvalidConfig>),
    /// The file is valid, but `serve` cannot run with it.
    #[error(
        "{} in {}:{}",
        problem_count_text(.problems.len()), file_label(.file.as_deref()), indented_lines(.problems)
    )]
    Unusable {
        /// The file; `None` for the defaults.
        file: Option<PathBuf>,
        /// Missing or unusable items, one message each.
        problems: Vec<String>,
    },
}

/// Configuration file with problems.
#[derive(Debug)]
pub struct InvalidConfig {
    /// The file.
    pub file: PathBuf,
    /// Problems, in the order of the file.
    pub problems: Vec<ConfigProblem>,
    /// Messages about missing or unusable items to which the valid part of the file refers.
    pub unresolved: Vec<String>,
    /// Valid part of the file.
    pub partial: Config,
}

impl InvalidConfig {
    fn summary_line(&self) -> String {
        format!(
            "{} in {}:",
            problem_count_text(self.problems.len() + self.unresolved.len()),
            self.file.display()
        )
    }
}

impl ConfigError {
    /// Renders the error with the affected lines of the file, for a terminal.
    #[must_use]
    pub fn render(&self, is_colored: bool) -> String {
        let Self::Invalid(invalid) = self else { return self.to_string() };
        let problems = invalid.problems.iter();
        let problems =
            problems.map(|problem| config_file::render_problem(problem, &invalid.file, is_colored) + "\n\n");
        format!(
            "{}\n\n{}{}",
            invalid.summary_line(),
            problems.collect::<String>(),
            indented_lines(&invalid.unresolved).trim_start()
        )
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            targets: vec![],
            unresolved_targets: vec![],
            checks: CheckSettings::default(),
            catalogue: profile_catalog::embedded_profiles(),
            serve: ServeConfig::default(),
            oidc: None,
            oidc_unresolved: None,
            actions: ActionsConfig::default(),
            logs: LogsConfig::default(),
        }
    }
}

impl Config {
    /// Reads `file`; without one, `sessionwatch.toml` in the current folder if it exists, else the defaults.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has problems.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match file {
            Some(path) => path,
            None if Path::new(DEFAULT_CONFIG_FILE).is_file() => Path::new(DEFAULT_CONFIG_FILE),
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(file).map_err(|_| ConfigError::Unreadable(file.to_owned()))?;
        Self::parse(file, &text)
    }

    /// Checks that the addresses of all targets are resolved, or that of target `name`.
    ///
    /// # Errors
    ///
    /// If an address refers to a missing variable or file.
    pub fn require_resolved(&self, name: Option<&str>) -> Result<(), ConfigError> {
        let selected =
            self.unresolved_targets.iter().filter(|target| name.is_none_or(|name| target.name == name));
        let problems: Vec<ConfigProblem> = selected.map(|target| target.problem.clone()).collect();
        match &self.file {
            Some(file) if !problems.is_empty() => Err(ConfigError::Invalid(Box::new(InvalidConfig {
                file: file.clone(),
                problems,
                unresolved: vec![],
                partial: self.clone(),
            }))),
            _ => Ok(()),
        }
    }

    /// Returns the ids of all checks, whether enabled or not: on the session table, then on logs, custom ones last in
    /// each group.
    pub fn check_ids(&self) -> impl Iterator<Item = &str> {
        let custom = self.logs.custom_checks.iter().map(|custom| custom.pattern.name.as_str());
        self.checks
            .table_check_ids()
            .chain(crate::checks::LOG_CHECKS.iter().map(|check| check.id))
            .chain(custom)
    }

    /// Returns the ids of the checks that run. Log checks need a log source.
    #[must_use]
    pub fn enabled_check_ids(&self) -> Vec<&str> {
        // The checks on the session table come first.
        let table_checks = self.checks.table_check_ids().count();
        let running = if self.logs.sources.is_empty() { table_checks } else { usize::MAX };
        self.check_ids().take(running).filter(|id| self.checks.is_enabled(id)).collect()
    }

    /// Returns `true` if the daemon runs the check on the target.
    #[must_use]
    pub fn runs_check(&self, target: &Target, check: &str) -> bool {
        self.check_schedules(target).iter().any(|entry| entry.checks.contains(check))
            || self.runs_log_check(target, check)
    }

    /// Returns `true` if the daemon runs the log check on the target, which requires a log source.
    #[must_use]
    pub fn runs_log_check(&self, target: &Target, check: &str) -> bool {
        let builtin =
            crate::checks::LOG_CHECKS.iter().any(|known| known.id == check) && self.checks.is_enabled(check);
        let own = self.logs.custom_checks.iter().any(|own| own.pattern.name == check);
        (builtin || own) && self.logs.sources_for_target(&target.name).next().is_some()
    }

    /// Returns the checks that the daemon runs on the target, grouped by schedule.
    #[must_use]
    pub fn check_schedules(&self, target: &Target) -> Vec<ScheduledChecks> {
        check_schedules::schedule_checks(target, &self.checks, &self.serve.time_zone)
    }

    /// Parses the text of `file`. Paths in the text are relative to the folder of `file`.
    ///
    /// # Errors
    ///
    /// If the text has problems.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut reader = SectionReader {
            folder: file.parent().unwrap_or(Path::new(".")),
            zone: TimeZone::UTC,
            problems: ProblemCollector::new(text),
        };
        let mut config = Self::default();
        if let Some(document) = config_file::parse_document(text, &mut reader.problems) {
            config.read_sections(document, &mut reader);
        }
        config.file = Some(file.to_owned());
        let problems = reader.problems.into_problems();
        if problems.is_empty() {
            return Ok(config);
        }
        let invalid = InvalidConfig { file: file.to_owned(), problems, unresolved: vec![], partial: config };
        Err(ConfigError::Invalid(Box::new(invalid)))
    }

    fn read_sections(&mut self, mut document: Spanned<DeTable<'_>>, reader: &mut SectionReader<'_, '_>) {
        config_file::validate_document(
            &mut document,
            &sections::config_schema(),
            text_formats::TEXT_FORMATS,
            &mut reader.problems,
        );
        // The keys of these two depend on the check or the kind, so no single struct can hold them.
        let checks = document.get_mut().remove("checks");
        let channels = document.get_mut().remove("channel").map(spanned_tables).unwrap_or_default();
        let Some(file) = config_file::read_table::<ConfigFile>(document, &mut reader.problems) else {
            return;
        };
        reader.zone = reader.parse_time_zone(&file.serve.timezone).unwrap_or(TimeZone::UTC);
        let channels = channel::read_channels(channels, reader.folder, &mut reader.problems);
        // All names first: a section may refer to one that is defined later in the file.
        let names = collect_names(&file, &channels);
        self.read_profiles(&file.profiles, reader);
        (self.targets, self.unresolved_targets) =
            target::validate_targets(&file.target, &self.catalogue, reader);
        if let Some(checks) = checks.and_then(spanned_table) {
            checks::validate_checks(checks, &mut self.checks, &mut self.logs, reader);
        }
        file.alerts.validate(&mut self.checks);
        for check in &file.custom_check {
            check.validate(&names, &mut self.checks, reader);
        }
        self.serve = serve::validate_serve(&file.serve, reader);
        (self.serve.channels, self.serve.unresolved_channels) = (channels.usable, channels.unresolved);
        for channel in &mut self.serve.channels {
            channel.dashboard_url.clone_from(&self.serve.public_url);
        }
        self.serve.routes = file.route.iter().map(|route| route.validate(&names, reader)).collect();
        let maintenance = file.maintenance_window.iter();
        self.serve.maintenance_windows =
            maintenance.filter_map(|section| section.validate(&names, reader)).collect();
        let report = file.report.as_ref();
        self.serve.scheduled_report =
            report.and_then(|report| report.validate(&report.span(), &names, reader));
        match file
            .oidc
            .and_then(|section| oidc::validate_oidc(&section, file.serve.public_url.is_some(), reader))
        {
            Some(Ok(openid)) => self.oidc = Some(openid),
            Some(Err(missing)) => self.oidc_unresolved = Some(missing),
            None => {}
        }
        self.actions = file.actions.validate(reader);
        for pattern in &file.log_check {
            let pattern = custom_log_check::validate_custom_log_check(
                pattern,
                &self.logs.custom_checks,
                &names,
                reader,
            );
            self.logs.custom_checks.extend(pattern);
        }
        logs::validate_sources(&file.logs, &names, &mut self.logs, reader);
    }

    /// Adds the profiles of these files to the built-in ones.
    fn read_profiles(&mut self, files: &WithSpan<Vec<String>>, reader: &mut SectionReader<'_, '_>) {
        for file in files.iter() {
            let path = reader.folder.join(file);
            let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let profile = match std::fs::read_to_string(&path) {
                Err(_) => Err(format!("cannot read profile {}", path.display())),
                Ok(_) if self.catalogue.iter().any(|known| known.name == id) => {
                    Err(format!("duplicate profile `{id}`: rename the file"))
                }
                Ok(text) => Profile::parse(&id, &text).map_err(|error| error.to_string()),
            };
            match profile {
                Ok(profile) => self.catalogue.push(profile),
                Err(message) => reader.report_problem(files.span(), message),
            }
        }
    }
}

fn collect_names(file: &ConfigFile, channels: &channel::ConfiguredChannels) -> ConfigNames {
    let name = |name: &Option<WithSpan<String>>| name.as_ref().map(|name| name.to_string());
    ConfigNames {
        channels: channels.names.clone(),
        targets: file.target.iter().filter_map(|target| name(&target.name)).collect(),
        custom_checks: file.custom_check.iter().filter_map(|check| name(&check.id)).collect(),
        log_patterns: file.log_check.iter().filter_map(|pattern| name(&pattern.name)).collect(),
    }
}

fn spanned_table(value: Spanned<DeValue<'_>>) -> Option<Spanned<DeTable<'_>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Some(Spanned::new(span, table)),
        _ => None,
    }
}

fn spanned_tables(value: Spanned<DeValue<'_>>) -> Vec<Spanned<DeTable<'_>>> {
    match value.into_inner() {
        DeValue::Array(items) => items.into_iter().filter_map(spanned_table).collect(),
        _ => vec![],
    }
}

fn problem_count_text(problems: usize) -> String {
    format_count(u64::try_from(problems).unwrap_or(u64::MAX), "problem", "problems")
}

fn file_label(file: Option<&Path>) -> String {
    file.map_or_else(|| "the defaults (no configuration file)".into(), |file| file.display().to_string())
}

fn indented_lines(problems: &[impl std::fmt::Display]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
