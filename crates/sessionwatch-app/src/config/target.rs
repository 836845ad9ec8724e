//! `[[target]]`: a database that holds sessions.

mod address;
mod cleanup;
mod mapping;

use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{decoder::Decoder, local_time::MIN_GRACE, suggest::did_you_mean};
use sessionwatch_targets::{
    connect::ConnectOptions,
    layout::{
        LayoutRequest, known_layout::KnownLayout, profile_catalog::Profile, profile_source::ProfileSource,
    },
    limits::TimeLimits,
};

use super::section_reader::{RunInterval, SectionReader};
use crate::{
    config_file::{BoundedSeconds, ConfigProblem, SecretText, WithSpan},
    schedule::Schedule,
};

pub use self::cleanup::CleanupConfig;
pub(super) use self::{cleanup::CleanupSection, mapping::MappingSection};
pub use sessionwatch_targets::{
    address::{AddressError, TargetAddress},
    engine::EngineKind,
};

/// How long a whole run may take, and how long a lock is waited for, unless the configuration says otherwise.
const DEFAULT_RUN_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// A database that holds sessions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TargetSection {
    /// Its name in reports and on the command line.
    #[schemars(extend("x-required" = true), example = &"main")]
    pub(super) name: Option<WithSpan<String>>,
    /// Its address, as for the command line; ${NAME} stands for a variable of the environment.
    #[schemars(extend("x-otherwise" = "url_file"), example = &"${DATABASE_URL}")]
    url: Option<WithSpan<SecretText>>,
    /// A file that holds nothing but the address.
    #[schemars(extend("x-otherwise" = "url"), example = &"/run/secrets/database-url")]
    url_file: Option<WithSpan<String>>,
    /// How its sessions are stored.
    #[schemars(extend("x-otherwise" = "recognized by the columns"), example = &"authjs-prisma")]
    profile: Option<WithSpan<String>>,
    /// The table that holds them, where several could be meant; its columns are recognized.
    #[schemars(extend("x-otherwise" = "recognized by the columns"), example = &"public.sessions")]
    sessions: Option<WithSpan<String>>,
    /// Pull compact rows once, or aggregate in the database.
    engine: EngineName,
    /// Seconds that a whole run may take.
    #[schemars(range(min = 1, max = 600), extend("default" = 30))]
    timeout: Option<u64>,
    /// Seconds to wait for a lock.
    #[schemars(range(min = 1, max = 600), extend("default" = 2))]
    lock_timeout: Option<u64>,
    /// The address of a read replica, which is asked first; its lag is stated.
    #[schemars(extend("x-otherwise" = "not used"), example = &"${REPLICA_URL}")]
    replica_url: Option<WithSpan<SecretText>>,
    /// When `serve` runs checks: all of them by `interval`, and each night without trust in indexes; daily and weekly as in the
    /// guide; or rarely, and when told that the database is awake.
    schedule: SchedulePreset,
    /// Time between two runs of `serve`, each of which reads the table once; s, m, h and d are units.
    #[schemars(
        extend("x-otherwise" = "60s; 6h with schedule = \"scale-to-zero\""),
        example = RunInterval::new(60),
    )]
    interval: Option<WithSpan<RunInterval>>,
    /// Instead of `interval`: minute, hour, day of month, month, day of week, in the time zone of [serve].
    #[schemars(extend("x-otherwise" = "not used"), example = &"*/5 8-18 * * mon-fri")]
    cron: Option<WithSpan<String>>,
    /// Time without a query after which the database suspends itself; for the statement of what a schedule costs.
    #[schemars(
        extend("x-otherwise" = "5m for hosts of Neon, otherwise never"),
        example = BoundedSeconds::<1, 604_800>::new(300),
    )]
    autosuspend_after: Option<BoundedSeconds<1, 604_800>>,
    /// The address with the role that acts (cleanup, revoke, archive restore, incident); checks do not need it, a SQLite file
    /// needs none.
    #[schemars(extend("x-otherwise" = "not used: nothing can be ended"), example = &"${WRITE_DATABASE_URL}")]
    write_url: Option<WithSpan<SecretText>>,
    /// A file that holds nothing but that address.
    #[schemars(extend("x-otherwise" = "write_url"), example = &"/run/secrets/write-database-url")]
    write_url_file: Option<WithSpan<String>>,
    /// The tables and columns, where no profile fits; a `profile` beside it says which framework uses them.
    mapping: Option<WithSpan<MappingSection>>,
    /// Cleanup by `serve` itself; off unless switched on here.
    cleanup: Option<WithSpan<CleanupSection>>,
}

/// How facts are obtained, as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum EngineName {
    #[default]
    Scan,
    Pushdown,
}

/// A target as configured.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// Where it is.
    pub address: TargetAddress,
    /// How its sessions are stored.
    pub profile_source: ProfileSource,
    /// Where its sessions are known to be: another table is not believed. Nothing where no store says it.
    pub known_layout: Option<KnownLayout>,
    /// How facts are obtained.
    pub engine: EngineKind,
    /// Time limits.
    pub limits: TimeLimits,
    /// When the watch looks at it.
    pub schedule: TargetSchedule,
    /// A replica, which is looked at first.
    pub replica_address: Option<TargetAddress>,
    /// Microseconds without a query after which it suspends itself; nothing if it never does.
    pub autosuspend_after: Option<SignedDuration>,
    /// Where, and as whom, sessions are ended; nothing where that is not configured.
    pub write_address: Option<TargetAddress>,
    /// Why the configured address for ending sessions cannot be had on this machine; `None` if it can, or if none is
    /// configured. Checks do not need it.
    pub write_address_problem: Option<ConfigProblem>,
    /// How `serve` cleans up by itself, if it does.
    pub auto_cleanup: Option<CleanupConfig>,
    /// No configuration names it: it was given as an address.
    pub is_ad_hoc: bool,
}

impl Target {
    /// A target that no configuration names.
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
        }
    }

    /// How it is connected to, at its own address.
    #[must_use]
    pub fn connect_options<'a>(&'a self, catalogue: &'a [Profile]) -> ConnectOptions<'a> {
        ConnectOptions {
            address: &self.address,
            layout: LayoutRequest {
                target: &self.name,
                source: &self.profile_source,
                known_layout: self.known_layout.as_ref(),
                profiles: catalogue,
            },
            limits: self.limits,
            ignore_constraints: false,
            fingerprint_key: None,
            reads_position: false,
            progress: None,
        }
    }
}

/// When the watch looks at a target.
#[derive(Clone, Debug, Default)]
pub struct TargetSchedule {
    /// The checks that belong together.
    pub preset: SchedulePreset,
    /// When those are due that no preset or configuration says otherwise of.
    pub base: Option<Schedule>,
}

/// Checks that are due together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulePreset {
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
pub struct UnresolvedTarget {
    /// Its name.
    pub name: String,
    /// What is missing.
    pub problem: ConfigProblem,
}

/// The targets as used, and those whose address cannot be had at present.
pub(super) fn validate_targets(
    sections: &[WithSpan<TargetSection>],
    catalogue: &[Profile],
    reader: &mut SectionReader<'_, '_>,
) -> (Vec<Target>, Vec<UnresolvedTarget>) {
    let (mut targets, mut unresolved) = (Vec::<Target>::new(), Vec::<UnresolvedTarget>::new());
    for section in sections {
        let name = section.name.as_ref();
        let is_taken = |other: &str| name.is_some_and(|name| name.as_str() == other);
        if targets.iter().any(|target| is_taken(&target.name))
            || unresolved.iter().any(|target| is_taken(&target.name))
        {
            let span = WithSpan::span_or(name, &section.span());
            reader.report_problem(span, "another target has that name");
        }
        match validate_target(section, catalogue, reader) {
            Some(Ok(target)) => targets.push(target),
            Some(Err(missing)) => unresolved.push(missing),
            None => {}
        }
    }
    (targets, unresolved)
}

/// The target; nothing if its address is wrong, an error if what an address refers to is not there.
fn validate_target(
    section: &WithSpan<TargetSection>,
    catalogue: &[Profile],
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<Target, UnresolvedTarget>> {
    let name = section.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
    let storage = validate_profile_source(section, catalogue, reader);
    let unresolved = |problem| Some(Err(UnresolvedTarget { name: name.clone(), problem }));
    let url = match address::read_target_url(section, reader)? {
        Ok(url) => url,
        Err(problem) => return unresolved(problem),
    };
    let address = address::parse_address(&url, reader)?;
    // The machine that only checks need not have the secret of the role that acts.
    let (act, act_missing) = match address::read_write_address(section, &address, reader) {
        Ok(act) => (act, None),
        Err(problem) => (None, Some(problem)),
    };
    let replica = match address::read_replica_address(section, reader) {
        Ok(replica) => replica,
        Err(problem) => return unresolved(problem),
    };
    let acts = act.is_some() || act_missing.is_some();
    let cleanup =
        section.cleanup.as_ref().and_then(|cleanup| cleanup::validate_cleanup(cleanup, acts, reader));
    require_min_grace(section, cleanup.as_ref(), &storage, reader);
    Some(Ok(Target {
        name,
        address,
        profile_source: storage,
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
        replica_address: replica,
        autosuspend_after: autosuspend_after(section, url.expose()),
        write_address: act,
        write_address_problem: act_missing,
        auto_cleanup: cleanup,
        is_ad_hoc: false,
    }))
}

fn validate_schedule(section: &TargetSection, reader: &mut SectionReader<'_, '_>) -> TargetSchedule {
    let cron = section.cron.as_ref().map(|cron| ("cron", cron.span()));
    let written = cron.or(section.interval.as_ref().map(|interval| ("interval", interval.span())));
    if let (SchedulePreset::Guide, Some((key, span))) = (section.schedule, written) {
        let message = format!("`{key}` changes nothing with schedule = \"guide\": leave one of them out");
        reader.report_problem(span, message);
    }
    let interval = section.interval.as_ref().map(|interval| **interval);
    TargetSchedule { preset: section.schedule, base: reader.parse_schedule(interval, section.cron.as_ref()) }
}

/// Refuses a grace that is shorter than clocks can be apart, where the mapping says that the end names no time zone.
fn require_min_grace(
    section: &WithSpan<TargetSection>,
    cleanup: Option<&CleanupConfig>,
    storage: &ProfileSource,
    reader: &mut SectionReader<'_, '_>,
) {
    let (Some(cleanup), ProfileSource::Explicit(mapping)) = (cleanup, storage) else { return };
    if mapping.expires.decoder == Decoder::TimestampUtc && cleanup.grace < MIN_GRACE {
        let span = section.cleanup.as_ref().map_or(section.span(), cleanup::grace_span);
        let message = format!(
            "at least 14h: `{}` names no time zone; write decoder = \"timestamp-local:ZONE\" with that of the application to allow less",
            mapping.expires.column
        );
        reader.report_problem(span, message);
    }
}

/// Neon suspends after five minutes unless told otherwise: <https://neon.com/docs/introduction/scale-to-zero>.
fn autosuspend_after(section: &TargetSection, url: &str) -> Option<SignedDuration> {
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
        reader.report_problem(name.span(), format!("there is no profile `{}`{hint}", **name));
    }
    if let (Some(table), Some(mapping)) = (&section.sessions, &section.mapping)
        && mapping.sessions.as_ref().is_some_and(|other| *other != **table)
    {
        let message = "another table is written under [target.mapping]: leave this one out";
        reader.report_problem(table.span(), message);
    }
    let name = profile.map(|profile| profile.to_string());
    match (&section.sessions, &section.mapping) {
        (_, Some(mapping)) => {
            let known = catalogue.iter().find(|known| Some(&known.name) == name.as_ref());
            ProfileSource::Explicit(Box::new(mapping::validate_mapping(mapping, known, reader)))
        }
        (Some(table), None) => {
            ProfileSource::Table { table: mapping::parse_table_name(table), profile: name }
        }
        (None, None) => name.map_or(ProfileSource::Detect, ProfileSource::Profile),
    }
}
