//! The configuration file: found, read and turned into what the program uses. Everything wrong is reported at once.

pub mod keys;
pub mod logs;
pub mod reference;

mod actions;
mod channels;
pub mod openid;
mod plan;
mod reader;
mod rules;
mod serve;
mod targets;

use std::path::{Path, PathBuf};

use self::reader::{Node, Reader};
pub use self::{
    actions::Actions,
    logs::Logs,
    reader::Problem,
    reader::seconds,
    serve::{Maintenance, Route, Serve, WeeklyReport},
};
use crate::{
    checks::{self, Rules},
    profile::{
        catalogue::{self, Profile},
        known_layout::KnownLayout,
        source::ProfileSource,
    },
    schedule::{Entry, Schedule},
    target::{
        address::Address, connect::ConnectOptions, engine::EngineKind, layout::LayoutRequest, limits::Limits,
    },
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

/// A target as configured.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// How its sessions are stored.
    pub storage: ProfileSource,
    /// Where its sessions are known to be: another table is not believed. Nothing where no store says it.
    pub known: Option<KnownLayout>,
    /// How facts are obtained.
    pub engine: EngineKind,
    /// Time limits.
    pub limits: Limits,
    /// When the watch looks at it.
    pub rhythm: Rhythm,
    /// A replica, which is looked at first.
    pub replica: Option<Address>,
    /// Microseconds without a query after which it suspends itself; nothing if it never does.
    pub suspends_after: Option<i64>,
    /// Where, and as whom, sessions are ended; nothing where that is not configured.
    pub act: Option<Address>,
    /// Why the configured address for ending sessions cannot be had on this machine; `None` if it can, or if none is
    /// configured. Checks do not need it.
    pub act_missing: Option<Problem>,
    /// How `serve` cleans up by itself, if it does.
    pub cleanup: Option<Cleanup>,
    /// No configuration names it: it was given as an address.
    pub ad_hoc: bool,
}

impl Target {
    /// How it is connected to, at its own address.
    #[must_use]
    pub fn connect_options<'a>(&'a self, catalogue: &'a [Profile]) -> ConnectOptions<'a> {
        ConnectOptions {
            address: &self.address,
            layout: LayoutRequest {
                target: &self.name,
                source: &self.storage,
                known: self.known.as_ref(),
                catalogue,
            },
            limits: self.limits,
            deep: false,
            key: None,
            placed: false,
            progress: None,
        }
    }
}

/// How the watch removes expired rows by itself.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// How long ago a row must have ended, in microseconds.
    pub grace_us: i64,
    /// When.
    pub schedule: Schedule,
    /// Above so many rows it is left to a person.
    pub max_rows: u64,
    /// Above this share of the table, from 0 to 1, it is left to a person.
    pub max_share: f64,
    /// Whether it may change other tables, and run triggers and rules.
    pub side_effects: bool,
}

/// When the watch looks at a target.
#[derive(Clone, Debug, Default)]
pub struct Rhythm {
    /// The checks that belong together.
    pub preset: Preset,
    /// When those are due that no preset or configuration says otherwise of.
    pub base: Option<Schedule>,
}

/// Checks that are due together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// All of them often, and each night without trust in indexes.
    #[default]
    Default,
    /// The daily and weekly ones of the operator's guide.
    Guide,
    /// All of them rarely, and when the database is said to be awake.
    ScaleToZero,
}

/// A target whose address refers to a variable that is not set, or to a file that cannot be read.
#[derive(Clone, Debug)]
pub struct Unresolved {
    /// Its name.
    pub name: String,
    /// What is missing.
    pub problem: Problem,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {0}")]
    Unreadable(PathBuf),
    /// The file has problems.
    #[error("{} in {}:{}{}", count(.problems.len() + .obstacles.len()), .file.display(), lines(.problems), lines(.obstacles))]
    Faulty {
        /// The file.
        file: PathBuf,
        /// Everything that is wrong, in the order of the file.
        problems: Vec<Problem>,
        /// What could be read of it.
        partial: Box<Config>,
        /// What the rest of the file refers to and is missing, or cannot be used.
        obstacles: Vec<String>,
    },
    /// The file can be read, but `serve` cannot run with it.
    #[error("{} in {}:{}", count(.problems.len()), place(.file.as_deref()), lines(.problems))]
    Unusable {
        /// The file; `None` for the defaults.
        file: Option<PathBuf>,
        /// Everything that is missing, or cannot be used.
        problems: Vec<String>,
    },
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
            Some(file) if !problems.is_empty() => Err(ConfigError::Faulty {
                file: file.clone(),
                problems,
                partial: Box::new(self.clone()),
                obstacles: vec![],
            }),
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
        let builtin = checks::LOG_CHECKS.iter().any(|known| known.id == check) && self.rules.enabled(check);
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
        let mut reader = Reader::new(text);
        let root = reader.read();
        let folder = file.parent().unwrap_or(Path::new("."));
        let catalogue = profiles(&mut reader, &root, folder);
        let zone = plan::zone(&mut reader, &root);
        let (targets, unresolved) = targets::read(&mut reader, &root, (folder, &catalogue, &zone));
        let rules = rules::read(&mut reader, &root, &zone);
        let serve = serve::read(&mut reader, &root, (folder, &zone));
        let (openid, openid_unresolved) = match openid::read(&mut reader, &root, folder) {
            Some(Err(missing)) => (None, Some(missing)),
            found => (found.and_then(Result::ok), None),
        };
        let actions = actions::read(&mut reader, &root, folder);
        let logs = logs::read(&mut reader, &root, folder);
        let problems = reader.into_problems();
        let config = Self {
            file: Some(file.to_owned()),
            targets,
            unresolved,
            rules,
            catalogue,
            serve,
            openid,
            openid_unresolved,
            actions,
            logs,
        };
        if problems.is_empty() {
            return Ok(config);
        }
        let partial = Box::new(config);
        Err(ConfigError::Faulty { file: file.to_owned(), problems, partial, obstacles: vec![] })
    }
}

/// The built-in profiles and those of the files that are named.
fn profiles(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Vec<Profile> {
    let mut catalogue = catalogue::embedded();
    for file in root.texts("profiles") {
        let path = folder.join(&file);
        let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let profile = match std::fs::read_to_string(&path) {
            Err(_) => Err(format!("cannot read the profile {}", path.display())),
            Ok(_) if catalogue.iter().any(|known| known.name == id) => {
                Err(format!("there is a profile `{id}` already: give the file another name"))
            }
            Ok(text) => Profile::parse(&id, &text).map_err(|error| error.to_string()),
        };
        match profile {
            Ok(profile) => catalogue.push(profile),
            Err(message) => reader.problem(root.at("profiles"), "profiles", message),
        }
    }
    catalogue
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match Config::parse(Path::new("folder/sessionwatch.toml"), text) {
            Ok(_) => vec![],
            Err(ConfigError::Faulty { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = Config::parse(Path::new(FILE), "").unwrap();
        assert_eq!(config.rules, Rules::default());
        assert!(config.targets.is_empty());
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_place_and_remedy() {
        let text = "
profile = []
[checks.orphaned-session]
max = 3
[checks.expired-backlog]
max = -1
max_age_days = \"seven\"
[checks.duplicate-tokens]
severity = \"criticl\"
[[target]]
url = \"postgres://u:hunter2@h/d?sslmod=x\"
[target.mapping]
sessions = \"s\"
[[check]]
id = \"Mine\"
sql = \"SELECT 1\"
threshold = \"=> 3\"
targets = [\"mian\"]
[[target]]
name = \"main\"
url = \"postgres://u@h/d\"
url_file = \"x\"
profile = \"authjs-prism\"
";
        let found = problems(text);
        for (line, part) in [
            (2, "profile: there is no such key; did you mean `profiles`?"),
            (3, "did you mean `orphaned-sessions`?"),
            (6, "checks.expired-backlog.max: must be a whole number from 0 to"),
            (7, "must be a whole number from 1 to 36500"),
            (9, "did you mean `critical`?"),
            (10, "target: the key `name` is missing"),
            (11, "target.url: faulty PostgreSQL address: unknown parameter `sslmod`"),
            (12, "target.mapping: the key `token` is missing"),
            (12, "target.mapping: the key `decoder` is missing"),
            (15, "small letters, digits and hyphens"),
            (17, "must be >, >="),
            (18, "there is no target `mian`; did you mean `main`?"),
            (22, "url and url_file are both written"),
            (23, "there is no profile `authjs-prism`; did you mean `authjs-prisma`?"),
        ] {
            let said = found
                .iter()
                .any(|problem| problem.starts_with(&format!("{line}:")) && problem.contains(part));
            assert!(said, "line {line}, `{part}` is missing in {found:#?}");
        }
        assert!(!found.concat().contains("hunter2"));
    }

    /// A watch with something wrong on many a line.
    const FAULTY_WATCH: &str = "
[[target]]
name = \"main\"
url = \"app.db\"
cron = \"every day\"
[[target]]
name = \"main\"
url = \"app.db\"
schedule = \"guide\"
every = \"30s\"
[[target]]
name = \"third\"
url = \"app.db\"
every = \"5m\"
cron = \"0 6 * * *\"
[checks.active-sessions]
cron = \"0 0 31 2 *\"
[alerts.critical]
pending_looks = 0
[serve]
store = \"mysql://u:hunter2@h/d\"
listen = \"9797\"
timezone = \"Europe/Atlantis\"
[report]
channels = [\"caht\"]
[[maintenance]]
cron = \"61 * * * *\"
lasts = \"1h\"
checks = [\"dup\"]
[[channel]]
name = \"chat\"
kind = \"slack\"
url = \"https://x/hunter2\"
template = \"{{ chekc }}\"
[[channel]]
name = \"chat\"
kind = \"telegram\"
[[channel]]
name = \"mail\"
kind = \"email\"
url = \"https://mail.example\"
from = \"nobody\"
to = [\"ops@example.org\"]
[[channel]]
name = \"pager\"
kind = \"pagerdutty\"
[[logs]]
name = \"app\"
file = \"app.log\"
[[logs]]
name = \"app\"
target = \"mian\"
kind = \"syslog\"
[[logs]]
name = \"drain\"
target = \"main\"
kind = \"vercel\"
secret = \"hunter2\"
[[logs]]
name = \"posted\"
target = \"main\"
kind = \"http\"
timezone = \"Europe/Atlantis\"
[[logs]]
name = \"system\"
target = \"main\"
kind = \"syslog\"
listen = \"5514\"
[[log_pattern]]
name = \"blind\"
regex = \"(\"
[[log_pattern]]
name = \"Any\"
regex = \"[0-9]+\"
";

    #[test]
    fn no_secret_is_in_what_debug_shows() {
        let text = "[serve]\npublic_url = \"https://watch.example.org\"\nstore = \"postgres://u:hunter2@h/d\"\n\
            [openid]\nissuer = \"https://id.example.org\"\nclient_id = \"watch\"\nclient_secret = \"hunter2\"\nadmins = [\"ops\"]\n\
            [[target]]\nname = \"main\"\nurl = \"postgres://u:hunter2@h/d\"\nact_url = \"postgres://a:hunter2@h/d\"\n\
            [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"https://h/hunter2\"\nsecret = \"hunter2\"\n\
            [[logs]]\nname = \"drain\"\ntarget = \"main\"\nkind = \"vercel\"\nsecret = \"hunter2-hunter2-hunter2\"\n";
        let config = Config::parse(Path::new(FILE), text).unwrap();
        assert_eq!((config.targets.len(), config.serve.channels.len(), config.logs.sources.len()), (1, 1, 1));
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let misplaced = "[[target]]\nname = \"postgres://u:hunter2@h/d\"\nurl = \"postgres://u:p@h/d\"\n";
        let said = problems(misplaced);
        assert!(said[0].contains("holds an address with a password"), "{said:?}");
    }

    #[test]
    fn everything_wrong_with_the_watch_is_said_too() {
        let found = problems(FAULTY_WATCH);
        for (line, part) in [
            (5, "must be minute, hour, day of month, month and day of week"),
            (7, "another target has that name"),
            (10, "must be a time such as"),
            (15, "every and cron are both written"),
            (17, "names no instant that ever comes"),
            (19, "must be a whole number from 1"),
            (21, "must be the path of a file, or postgres://"),
            (22, "must be an IP address and a port"),
            (23, "must be the IANA name of a time zone"),
            (25, "there is no channel `caht`; did you mean `chat`?"),
            (27, "must be minute, hour"),
            (29, "there is no check `dup`"),
            (34, "must be a Jinja template"),
            (36, "another channel has that name"),
            (35, "needs the key `chat`"),
            (42, "must be an address such as"),
            (46, "did you mean `pagerduty`?"),
            (47, "must name the target whose sessions these lines are about"),
            (52, "there is no target `mian`; did you mean `main`?"),
            (58, "must have at least 16 characters"),
            (63, "must be the IANA name of a time zone"),
            (68, "must be an IP address and a port"),
            (70, "a check has that name already"),
            (71, "the regex cannot be read"),
            (73, "small letters, digits and hyphens"),
            (74, "add a `literal` that every such line contains"),
        ] {
            let said = found
                .iter()
                .any(|problem| problem.starts_with(&format!("{line}:")) && problem.contains(part));
            assert!(said, "line {line}, `{part}` is missing in {found:#?}");
        }
        assert!(!found.concat().contains("hunter2"), "{found:?}");
    }

    #[test]
    fn what_is_not_toml_is_said_with_its_place() {
        let found = problems("[[target]]\nname = \"x\nurl = 3\n");
        assert!(found[0].starts_with("2:") && found[0].contains("not TOML"), "{found:?}");
        assert!(problems("target = 3")[0].contains("write it as [[target]]"));
        assert!(problems("checks = 3")[0].contains("holds sections"));
        assert!(
            problems("[[checks.active-sessions]]\nmax = 1")[0]
                .contains("write it as [checks.active-sessions]")
        );
    }

    #[test]
    fn what_is_written_is_used() {
        let text = r#"
[checks.sessions-per-user]
max = 2
severity = "low"
[checks.active-sessions]
enabled = false
[checks.session-lifetime]
max_days = 2
[[target]]
name = "main"
url = "postgres://u@h/d"
engine = "pushdown"
timeout = 5
[target.mapping]
sessions = "auth.sessions"
token = "t"
expires = "e"
decoder = "epoch-s"
user = "u"
users = "people"
display = ["mail"]
[[check]]
id = "mine"
sql = "SELECT 1"
"#;
        let config = Config::parse(Path::new(FILE), text).unwrap();
        assert_eq!(config.rules.thresholds.sessions_per_user.max, 2.0);
        assert_eq!(config.rules.thresholds.session_lifetime.max_days, Some(2));
        assert!(!config.rules.enabled("active-sessions") && config.rules.enabled("sessions-per-user"));
        assert_eq!(config.rules.custom[0].max_rows, 100_000);
        let target = &config.targets[0];
        assert_eq!((target.engine, target.limits.timeout.as_secs()), (EngineKind::Pushdown, 5));
        let ProfileSource::Explicit(mapping) = &target.storage else { panic!("{target:?}") };
        assert_eq!(mapping.sessions.schema.as_deref(), Some("auth"));
        assert_eq!(mapping.users.as_ref().map(|users| users.key.as_str()), Some("id"));
    }
}
