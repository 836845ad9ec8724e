//! The configuration file: found, read and turned into what the program uses. Everything wrong is reported at once.
//!
//! Each section has a file: its struct as it is written, what that is turned into, and the checks in between. What is
//! documented of a key is the documentation of its field. How a file is read and checked is in [`config_file`].
//!
//! [`config_file`]: crate::config_file

pub mod file;
pub mod formats;
pub mod logs;
pub mod oidc;

mod actions;
mod alerts;
mod checks;
mod custom_check;
mod custom_log_check;
mod names;
mod routing;
mod schedules;
mod section_reader;
mod serve;
mod target;

#[cfg(test)]
mod section_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
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
        UnresolvedTarget,
    },
};
use self::{file::ConfigFile, names::ConfigNames, section_reader::SectionReader};
use crate::{
    checks::CheckSettings,
    config_file::{self, ConfigProblem, ProblemCollector, WithSpan},
    notify::channel,
    schedule::ScheduledChecks,
};

/// The file that is read when none is named.
pub const DEFAULT_CONFIG_FILE: &str = "sessionwatch.toml";

/// A configuration, ready for use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it came from; nothing for the defaults.
    pub file: Option<PathBuf>,
    /// The targets, in the order of the file.
    pub targets: Vec<Target>,
    /// Targets whose address cannot be had at present: they matter only where they are meant.
    pub unresolved_targets: Vec<UnresolvedTarget>,
    /// Which checks run, and their thresholds.
    pub checks: CheckSettings,
    /// Every profile: those built in, then the operator's.
    pub catalogue: Vec<Profile>,
    /// The watch.
    pub serve: ServeConfig,
    /// A provider of identities, by which people log in.
    pub oidc: Option<oidc::OidcConfig>,
    /// Why that cannot be used at present.
    pub oidc_unresolved: Option<String>,
    /// How far actions may reach.
    pub actions: ActionsConfig,
    /// The application's logs.
    pub logs: LogsConfig,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {0}")]
    Unreadable(PathBuf),
    /// The file has problems.
    #[error("{}{}{}", .0.summary_line(), indented_lines(&.0.problems), indented_lines(&.0.unresolved))]
    Invalid(Box<InvalidConfig>),
    /// The file can be read, but `serve` cannot run with it.
    #[error("{} in {}:{}", problem_count_text(.problems.len()), file_label(.file.as_deref()), indented_lines(.problems))]
    Unusable {
        /// The file; `None` for the defaults.
        file: Option<PathBuf>,
        /// Everything that is missing, or cannot be used.
        problems: Vec<String>,
    },
}

/// A file that has problems.
#[derive(Debug)]
pub struct InvalidConfig {
    /// The file.
    pub file: PathBuf,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<ConfigProblem>,
    /// What the rest of the file refers to and is missing, or cannot be used.
    pub unresolved: Vec<String>,
    /// What could be read of it.
    pub partial: Config,
}

impl InvalidConfig {
    /// How much is wrong, and where.
    fn summary_line(&self) -> String {
        format!(
            "{} in {}:",
            problem_count_text(self.problems.len() + self.unresolved.len()),
            self.file.display()
        )
    }
}

impl ConfigError {
    /// The error with the lines that it is about, for a terminal.
    #[must_use]
    pub fn render(&self, is_colored: bool) -> String {
        let Self::Invalid(faulty) = self else { return self.to_string() };
        let problems = faulty.problems.iter();
        let problems =
            problems.map(|problem| config_file::render_problem(problem, &faulty.file, is_colored) + "\n\n");
        format!(
            "{}\n\n{}{}",
            faulty.summary_line(),
            problems.collect::<String>(),
            indented_lines(&faulty.unresolved).trim_start()
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
    /// Reads the named file; without one, `sessionwatch.toml` of the current folder if it is there, else the defaults.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or anything in it is wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match file {
            Some(path) => path,
            None if Path::new(DEFAULT_CONFIG_FILE).is_file() => Path::new(DEFAULT_CONFIG_FILE),
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(file).map_err(|_| ConfigError::Unreadable(file.to_owned()))?;
        Self::parse(file, &text)
    }

    /// Makes sure that the address of every target can be had, or of the one that is named.
    ///
    /// # Errors
    ///
    /// If one cannot.
    pub fn require_resolved(&self, name: Option<&str>) -> Result<(), ConfigError> {
        let meant =
            self.unresolved_targets.iter().filter(|target| name.is_none_or(|name| target.name == name));
        let problems: Vec<ConfigProblem> = meant.map(|target| target.problem.clone()).collect();
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

    /// Whether the watch makes a check of a target.
    #[must_use]
    pub fn runs_check(&self, target: &Target, check: &str) -> bool {
        self.check_schedules(target).iter().any(|entry| entry.checks.contains(check))
            || self.runs_log_check(target, check)
    }

    /// Whether the watch makes a check of what a target's logs say.
    #[must_use]
    pub fn runs_log_check(&self, target: &Target, check: &str) -> bool {
        let builtin =
            crate::checks::LOG_CHECKS.iter().any(|known| known.id == check) && self.checks.is_enabled(check);
        let own = self.logs.custom_checks.iter().any(|own| own.pattern.name == check);
        (builtin || own) && self.logs.sources_for_target(&target.name).next().is_some()
    }

    /// The checks that the watch makes of a target, by their schedules.
    #[must_use]
    pub fn check_schedules(&self, target: &Target) -> Vec<ScheduledChecks> {
        schedules::schedule_checks(target, &self.checks, &self.serve.time_zone)
    }

    /// Reads the text of a file; `file` names it, and is what other paths are relative to.
    ///
    /// # Errors
    ///
    /// If anything in it is wrong.
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
        let faulty = InvalidConfig { file: file.to_owned(), problems, unresolved: vec![], partial: config };
        Err(ConfigError::Invalid(Box::new(faulty)))
    }

    /// Reads every section that is written.
    fn read_sections(&mut self, mut document: Spanned<DeTable<'_>>, reader: &mut SectionReader<'_, '_>) {
        config_file::validate_document(
            &mut document,
            &file::config_schema(),
            formats::TEXT_FORMATS,
            &mut reader.problems,
        );
        let checks = document.get_mut().remove("checks");
        let channels = document.get_mut().remove("channel").map(spanned_tables).unwrap_or_default();
        let Some(file) = config_file::read_table::<ConfigFile>(document, &mut reader.problems) else {
            return;
        };
        reader.zone = reader.parse_time_zone(&file.serve.timezone).unwrap_or(TimeZone::UTC);
        let channels = channel::read_channels(channels, reader.folder, &mut reader.problems);
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
        for source in &file.logs {
            logs::validate_source(source, &names, &mut self.logs, reader);
        }
    }

    /// Adds the profiles of the files that are named to those that are built in.
    fn read_profiles(&mut self, files: &WithSpan<Vec<String>>, reader: &mut SectionReader<'_, '_>) {
        for file in files.iter() {
            let path = reader.folder.join(file);
            let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let profile = match std::fs::read_to_string(&path) {
                Err(_) => Err(format!("cannot read the profile {}", path.display())),
                Ok(_) if self.catalogue.iter().any(|known| known.name == id) => {
                    Err(format!("there is a profile `{id}` already: give the file another name"))
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

/// Everything in a file that has a name.
fn collect_names(file: &ConfigFile, channels: &channel::ConfiguredChannels) -> ConfigNames {
    let name = |name: &Option<WithSpan<String>>| name.as_ref().map(|name| name.to_string());
    ConfigNames {
        channels: channels.names.clone(),
        targets: file.target.iter().filter_map(|target| name(&target.name)).collect(),
        custom_checks: file.custom_check.iter().filter_map(|check| name(&check.id)).collect(),
        log_patterns: file.log_check.iter().filter_map(|pattern| name(&pattern.name)).collect(),
    }
}

/// A table with its place.
fn spanned_table(value: Spanned<DeValue<'_>>) -> Option<Spanned<DeTable<'_>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Some(Spanned::new(span, table)),
        _ => None,
    }
}

/// The tables of a list, each with its place.
fn spanned_tables(value: Spanned<DeValue<'_>>) -> Vec<Spanned<DeTable<'_>>> {
    match value.into_inner() {
        DeValue::Array(items) => items.into_iter().filter_map(spanned_table).collect(),
        _ => vec![],
    }
}

fn problem_count_text(problems: usize) -> String {
    if problems == 1 { "one problem".into() } else { format!("{problems} problems") }
}

fn file_label(file: Option<&Path>) -> String {
    file.map_or_else(|| "the defaults, since no file is named".into(), |file| file.display().to_string())
}

fn indented_lines(problems: &[impl std::fmt::Display]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
