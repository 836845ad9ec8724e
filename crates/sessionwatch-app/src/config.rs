//! The configuration file: found, read and turned into what the program uses. Everything wrong is reported at once.
//!
//! Each section has a file: its struct as it is written, what that is turned into, and the checks in between. What is
//! documented of a key is the documentation of its field. How a file is read and checked is in [`config_file`].
//!
//! [`config_file`]: crate::config_file

pub mod file;
pub mod formats;
pub mod logs;
pub mod openid;

mod actions;
mod alerts;
mod checks;
mod custom_check;
mod log_patterns;
mod names;
mod plan;
mod reading;
mod routing;
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
use sessionwatch_targets::layout::catalogue::{self, Profile};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::{
    actions::Actions,
    logs::Logs,
    routing::{Maintenance, Route, WeeklyReport},
    serve::Serve,
    target::{Address, AddressError, Cleanup, EngineKind, Preset, Rhythm, Target, Unresolved},
};
use self::{file::File, names::Names, reading::Reading};
use crate::{
    checks::Rules,
    config_file::{self, Problem, Problems, Written},
    notify::channel,
    schedule::Entry,
};

/// The file that is read when none is named.
pub const FILE: &str = "sessionwatch.toml";

/// A configuration, ready for use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it came from; nothing for the defaults.
    pub file: Option<PathBuf>,
    /// The targets, in the order of the file.
    pub targets: Vec<Target>,
    /// Targets whose address cannot be had at present: they matter only where they are meant.
    pub unresolved: Vec<Unresolved>,
    /// Which checks run, and their thresholds.
    pub rules: Rules,
    /// Every profile: those built in, then the operator's.
    pub catalogue: Vec<Profile>,
    /// The watch.
    pub serve: Serve,
    /// A provider of identities, by which people log in.
    pub openid: Option<openid::OpenId>,
    /// Why that cannot be used at present.
    pub openid_unresolved: Option<String>,
    /// How far actions may reach.
    pub actions: Actions,
    /// The application's logs.
    pub logs: Logs,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {0}")]
    Unreadable(PathBuf),
    /// The file has problems.
    #[error("{}{}{}", .0.title(), lines(&.0.problems), lines(&.0.obstacles))]
    Faulty(Box<Faulty>),
    /// The file can be read, but `serve` cannot run with it.
    #[error("{} in {}:{}", count(.problems.len()), place(.file.as_deref()), lines(.problems))]
    Unusable {
        /// The file; `None` for the defaults.
        file: Option<PathBuf>,
        /// Everything that is missing, or cannot be used.
        problems: Vec<String>,
    },
}

/// A file that has problems.
#[derive(Debug)]
pub struct Faulty {
    /// The file.
    pub file: PathBuf,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// What the rest of the file refers to and is missing, or cannot be used.
    pub obstacles: Vec<String>,
    /// What could be read of it.
    pub partial: Config,
}

impl Faulty {
    /// How much is wrong, and where.
    fn title(&self) -> String {
        format!("{} in {}:", count(self.problems.len() + self.obstacles.len()), self.file.display())
    }
}

impl ConfigError {
    /// The error with the lines that it is about, for a terminal.
    #[must_use]
    pub fn render(&self, is_colored: bool) -> String {
        let Self::Faulty(faulty) = self else { return self.to_string() };
        let problems = faulty.problems.iter();
        let problems =
            problems.map(|problem| config_file::render(problem, &faulty.file, is_colored) + "\n\n");
        format!(
            "{}\n\n{}{}",
            faulty.title(),
            problems.collect::<String>(),
            lines(&faulty.obstacles).trim_start()
        )
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            targets: vec![],
            unresolved: vec![],
            rules: Rules::default(),
            catalogue: catalogue::embedded(),
            serve: Serve::default(),
            openid: None,
            openid_unresolved: None,
            actions: Actions::default(),
            logs: Logs::default(),
        }
    }
}

impl Config {
    /// Reads the named file; without one, `sessionwatch.toml` of the current folder if it is there, else the defaults.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or anything in it is wrong.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match named {
            Some(path) => path,
            None if Path::new(FILE).is_file() => Path::new(FILE),
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
    pub fn resolved(&self, name: Option<&str>) -> Result<(), ConfigError> {
        let meant = self.unresolved.iter().filter(|target| name.is_none_or(|name| target.name == name));
        let problems: Vec<Problem> = meant.map(|target| target.problem.clone()).collect();
        match &self.file {
            Some(file) if !problems.is_empty() => Err(ConfigError::Faulty(Box::new(Faulty {
                file: file.clone(),
                problems,
                obstacles: vec![],
                partial: self.clone(),
            }))),
            _ => Ok(()),
        }
    }

    /// Whether the watch makes a check of a target.
    #[must_use]
    pub fn makes(&self, target: &Target, check: &str) -> bool {
        self.plan(target).iter().any(|entry| entry.checks.contains(check)) || self.judges(target, check)
    }

    /// Whether the watch makes a check of what a target's logs say.
    #[must_use]
    pub fn judges(&self, target: &Target, check: &str) -> bool {
        let builtin =
            crate::checks::LOG_CHECKS.iter().any(|known| known.id == check) && self.rules.enabled(check);
        let own = self.logs.patterns.iter().any(|own| own.pattern.name == check);
        (builtin || own) && self.logs.of(&target.name).next().is_some()
    }

    /// The checks that the watch makes of a target, by their schedules.
    #[must_use]
    pub fn plan(&self, target: &Target) -> Vec<Entry> {
        plan::entries(target, &self.rules, &self.serve.zone)
    }

    /// Reads the text of a file; `file` names it, and is what other paths are relative to.
    ///
    /// # Errors
    ///
    /// If anything in it is wrong.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut reading = Reading {
            folder: file.parent().unwrap_or(Path::new(".")),
            zone: TimeZone::UTC,
            problems: Problems::new(text),
        };
        let mut config = Self::default();
        if let Some(document) = config_file::parse(text, &mut reading.problems) {
            config.read(document, &mut reading);
        }
        config.file = Some(file.to_owned());
        let problems = reading.problems.into_list();
        if problems.is_empty() {
            return Ok(config);
        }
        let faulty = Faulty { file: file.to_owned(), problems, obstacles: vec![], partial: config };
        Err(ConfigError::Faulty(Box::new(faulty)))
    }

    /// Reads every section that is written.
    fn read(&mut self, mut document: Spanned<DeTable<'_>>, reading: &mut Reading<'_, '_>) {
        config_file::check(&mut document, &file::schema(), formats::FORMATS, &mut reading.problems);
        let checks = document.get_mut().remove("checks");
        let channels = document.get_mut().remove("channel").map(tables).unwrap_or_default();
        let Some(file) = config_file::read::<File>(document, &mut reading.problems) else { return };
        reading.zone = reading.time_zone(&file.serve.timezone).unwrap_or(TimeZone::UTC);
        let channels = channel::read(channels, reading.folder, &mut reading.problems);
        let names = names(&file, &channels);
        self.read_profiles(&file.profiles, reading);
        (self.targets, self.unresolved) = target::validate(&file.target, &self.catalogue, reading);
        if let Some(checks) = checks.and_then(table) {
            checks::validate(checks, &mut self.rules, &mut self.logs, reading);
        }
        file.alerts.validate(&mut self.rules);
        for check in &file.check {
            check.validate(&names, &mut self.rules, reading);
        }
        self.serve = serve::validate(&file.serve, reading);
        (self.serve.channels, self.serve.unresolved) = (channels.usable, channels.unresolved);
        self.serve.routes = file.route.iter().map(|route| route.validate(&names, reading)).collect();
        let maintenance = file.maintenance.iter();
        self.serve.maintenance =
            maintenance.filter_map(|section| section.validate(&names, reading)).collect();
        let report = file.report.as_ref();
        self.serve.report = report.and_then(|report| report.validate(&report.span(), &names, reading));
        match file
            .openid
            .and_then(|section| openid::validate(&section, file.serve.public_url.is_some(), reading))
        {
            Some(Ok(openid)) => self.openid = Some(openid),
            Some(Err(missing)) => self.openid_unresolved = Some(missing),
            None => {}
        }
        self.actions = file.actions.validate(reading);
        for pattern in &file.log_pattern {
            let pattern = log_patterns::validate(pattern, &self.logs.patterns, &names, reading);
            self.logs.patterns.extend(pattern);
        }
        for source in &file.logs {
            logs::validate(source, &names, &mut self.logs, reading);
        }
    }

    /// Adds the profiles of the files that are named to those that are built in.
    fn read_profiles(&mut self, files: &Written<Vec<String>>, reading: &mut Reading<'_, '_>) {
        for file in files.iter() {
            let path = reading.folder.join(file);
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
                Err(message) => reading.report(files.span(), message),
            }
        }
    }
}

/// Everything in a file that has a name.
fn names(file: &File, channels: &channel::Channels) -> Names {
    let name = |name: &Option<Written<String>>| name.as_ref().map(|name| name.to_string());
    Names {
        channels: channels.names.clone(),
        targets: file.target.iter().filter_map(|target| name(&target.name)).collect(),
        custom_checks: file.check.iter().filter_map(|check| name(&check.id)).collect(),
        log_patterns: file.log_pattern.iter().filter_map(|pattern| name(&pattern.name)).collect(),
    }
}

/// A table with its place.
fn table(value: Spanned<DeValue<'_>>) -> Option<Spanned<DeTable<'_>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Some(Spanned::new(span, table)),
        _ => None,
    }
}

/// The tables of a list, each with its place.
fn tables(value: Spanned<DeValue<'_>>) -> Vec<Spanned<DeTable<'_>>> {
    match value.into_inner() {
        DeValue::Array(items) => items.into_iter().filter_map(table).collect(),
        _ => vec![],
    }
}

fn count(problems: usize) -> String {
    if problems == 1 { "one problem".into() } else { format!("{problems} problems") }
}

fn place(file: Option<&Path>) -> String {
    file.map_or_else(|| "the defaults, since no file is named".into(), |file| file.display().to_string())
}

fn lines(problems: &[impl std::fmt::Display]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
