//! `[[target]]`: a database to monitor.

mod address;
mod cleanup;
mod mapping;

use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{local_time::MIN_GRACE, suggest::did_you_mean, timestamp_decoder::Decoder};
use sessionwatch_targets::{
    connect::ConnectOptions,
    layout::{
        LayoutRequest, known_layout::KnownLayout, profile_catalog::Profile, storage_setting::ProfileSource,
    },
    time_limits::TimeLimits,
};

use super::{
    name_references::report_duplicate_names,
    section_reader::{RunInterval, SectionReader},
};
use crate::{
    config_file::{BoundedSeconds, ConfigProblem, SecretText, UnresolvedSection, WithSpan},
    schedule::Schedule,
};

pub use self::cleanup::CleanupConfig;
pub(super) use self::{cleanup::CleanupSection, mapping::MappingSection};
pub use sessionwatch_targets::{
    address::{AddressError, TargetAddress},
    engine::EngineKind,
};

const DEFAULT_RUN_TIMEOUT: Duration = Duration::from_secs(30);
// A table that stays locked for longer is probably being migrated; the next run reads it.
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Database to monitor.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TargetSection {
    /// Name in reports and on the command line.
    #[schemars(extend("x-required" = true), example = &"main")]
    pub(super) name: Option<WithSpan<String>>,
    /// Address of the database; ${NAME} is replaced with the environment variable NAME. Required unless `url_file` is
    /// set.
    #[schemars(extend("x-otherwise" = "none"), example = &"${DATABASE_URL}")]
    url: Option<WithSpan<SecretText>>,
    /// File that contains only the address, instead of `url`.
    #[schemars(extend("x-otherwise" = "none"), example = &"/run/secrets/database-url")]
    url_file: Option<WithSpan<String>>,
    /// Profile that describes how the framework stores sessions.
    #[schemars(extend("x-otherwise" = "detected from the columns"), example = &"authjs-prisma")]
    profile: Option<WithSpan<String>>,
    /// Session table, if detection finds several candidates; its columns are still detected.
    #[schemars(extend("x-otherwise" = "detected from the columns"), example = &"public.sessions")]
    sessions: Option<WithSpan<String>>,
    /// Where to aggregate: "scan" streams compact rows and aggregates locally, "pushdown" aggregates in the database.
    engine: EngineName,
    /// Time limit of a check run, in seconds.
    #[schemars(range(min = 1, max = 600), extend("default" = 30))]
    timeout: Option<u64>,
    /// Time limit for waiting on a lock, in seconds.
    #[schemars(range(min = 1, max = 600), extend("default" = 2))]
    lock_timeout: Option<u64>,
    /// Address of a read replica, which is queried first; its lag is reported.
    #[schemars(extend("x-otherwise" = "none"), example = &"${REPLICA_URL}")]
    replica_url: Option<WithSpan<SecretText>>,
    /// Schedule of check runs: "default" runs all checks at `interval` and every night without trusting constraints;
    /// "guide" runs them daily and weekly as in the operator guide; "scale-to-zero" runs them rarely, and when
    /// notified that the database is awake.
    schedule: SchedulePreset,
    /// Time between two check runs of `serve`, each of which reads the table once.
    #[schemars(
        extend("x-otherwise" = "1m, or 6h with schedule = \"scale-to-zero\""),
        example = RunInterval::new(60),
    )]
    interval: Option<WithSpan<RunInterval>>,
    /// Cron expression instead of `interval` (minute, hour, day of month, month, day of week), in the time zone of
    /// [serve].
    #[schemars(extend("x-otherwise" = "none"), example = &"*/5 8-18 * * mon-fri")]
    cron: Option<WithSpan<String>>,
    /// Idle time after which the database suspends itself, used to estimate how long a schedule keeps it awake.
    #[schemars(
        extend("x-otherwise" = "5m on Neon, else never"),
        example = BoundedSeconds::<1, 604_800>::new(300),
    )]
    autosuspend_after: Option<BoundedSeconds<1, 604_800>>,
    /// Address with the write role, for cleanup, revoke, restore and incidents. Checks and SQLite files do not need it.
    #[schemars(extend("x-otherwise" = "none: monitoring only"), example = &"${ACT_DATABASE_URL}")]
    write_url: Option<WithSpan<SecretText>>,
    /// File that contains only the address with the write role, instead of `write_url`.
    #[schemars(extend("x-otherwise" = "none"), example = &"/run/secrets/act-database-url")]
    write_url_file: Option<WithSpan<String>>,
    /// Tables and columns, if no profile fits; `profile` may name the framework that uses them.
    mapping: Option<WithSpan<MappingSection>>,
    /// Automatic cleanup by `serve`; off by default.
    cleanup: Option<WithSpan<CleanupSection>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum EngineName {
    #[default]
    Scan,
    Pushdown,
}

/// Configured target.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name in reports and on the command line.
    pub name: String,
    /// Address with the watch role.
    pub address: TargetAddress,
    /// Source of the layout: detection, a profile, a table or an explicit mapping.
    pub profile_source: ProfileSource,
    /// Layout recorded in the state store; a run that finds another table fails. `None` if the store has none.
    pub known_layout: Option<KnownLayout>,
    /// Engine that aggregates the session stats.
    pub engine: EngineKind,
    /// Time limits of a check run.
    pub limits: TimeLimits,
    /// Schedule of check runs in the daemon.
    pub schedule: TargetSchedule,
    /// Read replica, which is queried first.
    pub replica_address: Option<TargetAddress>,
    /// Idle time after which the database suspends itself; `None` if it never does.
    pub autosuspend_after: Option<SignedDuration>,
    /// Address with the write role; `None` if none is configured.
    pub write_address: Option<TargetAddress>,
    /// Problem that makes the configured write address unusable on this machine; `None` if the address is usable, or
    /// if none is configured. Checks do not need a write address.
    pub write_address_problem: Option<ConfigProblem>,
    /// Automatic cleanup by `serve`, if enabled.
    pub auto_cleanup: Option<CleanupConfig>,
    /// The target was given as an address and is not in the configuration.
    pub is_ad_hoc: bool,
    /// Value of `url` in a configuration, if the address was found in the environment because nobody named a target.
    pub default_config_value: Option<String>,
}

impl Target {
    /// Creates a target for an address that is not in the configuration.
    #[must_use]
    pub fn ad_hoc(address: TargetAddress) -> Self {
        Self {
            name: address.to_string(),
            address,
            profile_source: ProfileSource::Detect,
            known_layout: None,
            engine: EngineKind::Scan,
            limits: TimeLimits { timeout: DEFAULT_RUN_TIMEOUT, lock_timeout: DEFAULT_LOCK_TIMEOUT },
            schedule: TargetSchedule::default(),
            replica_address: None,
            autosuspend_after: None,
            write_address: None,
            write_address_problem: None,
            auto_cleanup: None,
            is_ad_hoc: true,
            default_config_value: None,
        }
    }

    /// Returns the options for connecting to the target's own address, not to its replica.
    #[must_use]
    pub fn connect_options<'a>(&'a self, profiles: &'a [Profile]) -> ConnectOptions<'a> {
        ConnectOptions {
            address: &self.address,
            layout: LayoutRequest {
                target: &self.name,
                source: &self.profile_source,
                known_layout: self.known_layout.as_ref(),
                profiles,
            },
            limits: self.limits,
            // Check runs that verify every row set this to `true`.
            ignore_constraints: false,
            fingerprint_key: None,
            reads_position: false,
            progress: None,
        }
    }
}

/// Schedule of check runs on a target.
#[derive(Clone, Debug, Default)]
pub struct TargetSchedule {
    /// Preset that groups the checks.
    pub preset: SchedulePreset,
    /// Schedule of the checks that have none from the preset or their own section.
    pub base: Option<Schedule>,
}

/// Preset of check schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulePreset {
    /// All checks often, and every night without trusting constraints.
    #[default]
    Default,
    /// Daily and weekly checks, as in the operator guide.
    Guide,
    /// All checks rarely, and when the daemon is notified that the database is awake.
    ScaleToZero,
}

/// Validates the targets and returns the usable and the unresolved ones.
pub(super) fn validate_targets(
    sections: &[WithSpan<TargetSection>],
    catalogue: &[Profile],
    reader: &mut SectionReader<'_, '_>,
) -> (Vec<Target>, Vec<UnresolvedSection>) {
    let (mut targets, mut unresolved) = (vec![], vec![]);
    report_duplicate_names(sections.iter().filter_map(|section| section.name.as_ref()), "target", reader);
    for section in sections {
        match validate_target(section, catalogue, reader) {
            Some(Ok(target)) => targets.push(target),
            Some(Err(missing)) => unresolved.push(missing),
            None => {}
        }
    }
    (targets, unresolved)
}

/// Returns `None` if the address is invalid, and an error if an address refers to a missing variable or file.
fn validate_target(
    section: &WithSpan<TargetSection>,
    catalogue: &[Profile],
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<Target, UnresolvedSection>> {
    let name = section.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
    let profile_source = validate_profile_source(section, catalogue, reader);
    let unresolved = |problem| Some(Err(UnresolvedSection { name: name.clone(), problem }));
    let url = match address::read_target_url(section, reader)? {
        Ok(url) => url,
        Err(problem) => return unresolved(problem),
    };
    // Relative files are resolved against the configuration, not the current folder.
    let address = address::parse_address(&url, reader)?;
    // A machine that only runs checks does not need the secret of the write role.
    let (write_address, write_address_problem) = match address::read_write_address(section, &address, reader)
    {
        Ok(address) => (address, None),
        Err(problem) => (None, Some(problem)),
    };
    let replica_address = match address::read_replica_address(section, reader) {
        Ok(replica_address) => replica_address,
        Err(problem) => return unresolved(problem),
    };
    let has_write_address = write_address.is_some() || write_address_problem.is_some();
    let auto_cleanup = section
        .cleanup
        .as_ref()
        .and_then(|auto_cleanup| cleanup::validate_cleanup(auto_cleanup, has_write_address, reader));
    require_min_grace(section, auto_cleanup.as_ref(), &profile_source, reader);
    Some(Ok(Target {
        name,
        address,
        profile_source,
        known_layout: None,
        engine: match section.engine {
            EngineName::Scan => EngineKind::Scan,
            EngineName::Pushdown => EngineKind::Pushdown,
        },
        limits: TimeLimits {
            timeout: section.timeout.map_or(DEFAULT_RUN_TIMEOUT, Duration::from_secs),
            lock_timeout: section.lock_timeout.map_or(DEFAULT_LOCK_TIMEOUT, Duration::from_secs),
        },
        schedule: validate_schedule(section, reader),
        replica_address,
        autosuspend_after: autosuspend_after(section, url.expose()),
        write_address,
        write_address_problem,
        auto_cleanup,
        is_ad_hoc: false,
        default_config_value: None,
    }))
}

fn validate_schedule(section: &TargetSection, reader: &mut SectionReader<'_, '_>) -> TargetSchedule {
    let cron = section.cron.as_ref().map(|cron| ("cron", cron.span()));
    let written = cron.or(section.interval.as_ref().map(|interval| ("interval", interval.span())));
    // The operator guide prescribes its own times, so a setting that is ignored must be reported.
    if let (SchedulePreset::Guide, Some((key, span))) = (section.schedule, written) {
        let message = format!("`{key}` has no effect with schedule = \"guide\": remove one of them");
        reader.report_problem(span, message);
    }
    let interval = section.interval.as_ref().map(|interval| **interval);
    TargetSchedule { preset: section.schedule, base: reader.parse_schedule(interval, section.cron.as_ref()) }
}

/// Rejects a grace period below `MIN_GRACE` if the expiry column has no time zone.
fn require_min_grace(
    section: &WithSpan<TargetSection>,
    cleanup: Option<&CleanupConfig>,
    storage: &ProfileSource,
    reader: &mut SectionReader<'_, '_>,
) {
    // Only an explicit mapping names the decoder here; detected layouts are checked at the time of the cleanup.
    let (Some(cleanup), ProfileSource::Explicit(mapping)) = (cleanup, storage) else { return };
    // Local times read as UTC can be wrong by as much as the largest UTC offset.
    if mapping.expires.decoder == Decoder::TimestampUtc && cleanup.grace < MIN_GRACE {
        let span = section.cleanup.as_ref().map_or(section.span(), cleanup::grace_span);
        let message = format!(
            "must be at least 14h because `{}` has no time zone: for a shorter grace, set \
             decoder = \"timestamp-local:ZONE\" with the application's time zone",
            mapping.expires.column
        );
        reader.report_problem(span, message);
    }
}

fn autosuspend_after(section: &TargetSection, url: &str) -> Option<SignedDuration> {
    // Neon's default is five minutes: <https://neon.com/docs/introduction/scale-to-zero>.
    let known = url.contains(".neon.tech").then_some(SignedDuration::from_mins(5));
    section.autosuspend_after.map(BoundedSeconds::to_duration).or(known)
}

fn validate_profile_source(
    section: &TargetSection,
    catalogue: &[Profile],
    reader: &mut SectionReader<'_, '_>,
) -> ProfileSource {
    let profile = section.profile.as_ref();
    if let Some(name) = profile
        && catalogue.iter().all(|known| known.name != **name)
    {
        let hint = did_you_mean(name, catalogue.iter().map(|known| known.name.as_str()));
        reader.report_problem(name.span(), format!("unknown profile `{}`{hint}", **name));
    }
    if let (Some(table), Some(mapping)) = (&section.sessions, &section.mapping)
        && mapping.sessions.as_ref().is_some_and(|other| *other != **table)
    {
        let message = "conflicts with `sessions` in [target.mapping]: remove one of them";
        reader.report_problem(table.span(), message);
    }
    let name = profile.map(|profile| profile.to_string());
    match (&section.sessions, &section.mapping) {
        (_, Some(mapping)) => {
            // Looked up again, because an unknown profile was only reported above.
            let known = catalogue.iter().find(|known| Some(&known.name) == name.as_ref());
            ProfileSource::Explicit(Box::new(mapping::validate_mapping(mapping, known, reader)))
        }
        (Some(table), None) => {
            ProfileSource::Table { table: mapping::parse_table_name(table), profile: name }
        }
        (None, None) => name.map_or(ProfileSource::Detect, ProfileSource::Profile),
    }
}
