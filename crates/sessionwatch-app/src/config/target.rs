//! `[[target]]`: a database that holds sessions.

mod address;
mod cleanup;
mod mapping;

use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sessionwatch_core::{decoder::Decoder, local_time::MIN_GRACE, suggest::nearest};
use sessionwatch_targets::{
    connect::ConnectOptions,
    layout::{LayoutRequest, catalogue::Profile, known_layout::KnownLayout, source::ProfileSource},
    limits::Limits,
};

use super::reading::{Every, Reading};
use crate::{
    config_file::{Problem, Seconds, SecretText, Written},
    schedule::Schedule,
};

pub use self::cleanup::Cleanup;
pub(super) use self::{cleanup::CleanupSection, mapping::MappingSection};
pub use sessionwatch_targets::{
    address::{Address, AddressError},
    engine::EngineKind,
};

/// How long a whole run may take, and how long a lock is waited for, unless the configuration says otherwise.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// A database that holds sessions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TargetSection {
    /// Its name in reports and on the command line.
    #[schemars(extend("x-required" = true), example = &"main")]
    pub(super) name: Option<Written<String>>,
    /// Its address, as for the command line; ${NAME} stands for a variable of the environment.
    #[schemars(extend("x-otherwise" = "url_file"), example = &"${DATABASE_URL}")]
    url: Option<Written<SecretText>>,
    /// A file that holds nothing but the address.
    #[schemars(extend("x-otherwise" = "url"), example = &"/run/secrets/database-url")]
    url_file: Option<Written<String>>,
    /// How its sessions are stored.
    #[schemars(extend("x-otherwise" = "recognized by the columns"), example = &"authjs-prisma")]
    profile: Option<Written<String>>,
    /// The table that holds them, where several could be meant; its columns are recognized.
    #[schemars(extend("x-otherwise" = "recognized by the columns"), example = &"public.sessions")]
    sessions: Option<Written<String>>,
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
    replica_url: Option<Written<SecretText>>,
    /// When `serve` runs checks: all of them by `every`, and each night without trust in indexes; daily and weekly as in the
    /// guide; or rarely, and when told that the database is awake.
    schedule: Preset,
    /// Time between two runs of `serve`, each of which reads the table once; s, m, h and d are units.
    #[schemars(
        extend("x-otherwise" = "60s; 6h with schedule = \"scale-to-zero\""),
        example = Every::new(60),
    )]
    every: Option<Written<Every>>,
    /// Instead of `every`: minute, hour, day of month, month, day of week, in the time zone of [serve].
    #[schemars(extend("x-otherwise" = "not used"), example = &"*/5 8-18 * * mon-fri")]
    cron: Option<Written<String>>,
    /// Time without a query after which the database suspends itself; for the statement of what a schedule costs.
    #[schemars(
        extend("x-otherwise" = "5m for hosts of Neon, otherwise never"),
        example = Seconds::<1, 604_800>::new(300),
    )]
    suspends_after: Option<Seconds<1, 604_800>>,
    /// The address with the role that acts (cleanup, revoke, archive restore, incident); checks do not need it, a SQLite file
    /// needs none.
    #[schemars(extend("x-otherwise" = "not used: nothing can be ended"), example = &"${ACT_DATABASE_URL}")]
    act_url: Option<Written<SecretText>>,
    /// A file that holds nothing but that address.
    #[schemars(extend("x-otherwise" = "act_url"), example = &"/run/secrets/act-database-url")]
    act_url_file: Option<Written<String>>,
    /// The tables and columns, where no profile fits; a `profile` beside it says which framework uses them.
    mapping: Option<Written<MappingSection>>,
    /// Cleanup by `serve` itself; off unless switched on here.
    cleanup: Option<Written<CleanupSection>>,
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
    pub suspends_after: Option<SignedDuration>,
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
    /// A target that no configuration names.
    #[must_use]
    pub fn ad_hoc(address: Address) -> Self {
        Self {
            name: address.to_string(),
            address,
            storage: ProfileSource::Detect,
            known: None,
            engine: EngineKind::Scan,
            limits: Limits { timeout: RUN_TIMEOUT, lock_timeout: LOCK_TIMEOUT },
            rhythm: Rhythm::default(),
            replica: None,
            suspends_after: None,
            act: None,
            act_missing: None,
            cleanup: None,
            ad_hoc: true,
        }
    }

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

/// When the watch looks at a target.
#[derive(Clone, Debug, Default)]
pub struct Rhythm {
    /// The checks that belong together.
    pub preset: Preset,
    /// When those are due that no preset or configuration says otherwise of.
    pub base: Option<Schedule>,
}

/// Checks that are due together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
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

/// The targets as used, and those whose address cannot be had at present.
pub(super) fn validate(
    sections: &[Written<TargetSection>],
    catalogue: &[Profile],
    reading: &mut Reading<'_, '_>,
) -> (Vec<Target>, Vec<Unresolved>) {
    let (mut targets, mut unresolved) = (Vec::<Target>::new(), Vec::<Unresolved>::new());
    for section in sections {
        let name = section.name.as_ref();
        let is_taken = |other: &str| name.is_some_and(|name| name.as_str() == other);
        if targets.iter().any(|target| is_taken(&target.name))
            || unresolved.iter().any(|target| is_taken(&target.name))
        {
            let span = Written::span_or(name, &section.span());
            reading.report(span, "another target has that name");
        }
        match target(section, catalogue, reading) {
            Some(Ok(target)) => targets.push(target),
            Some(Err(missing)) => unresolved.push(missing),
            None => {}
        }
    }
    (targets, unresolved)
}

/// The target; nothing if its address is wrong, an error if what an address refers to is not there.
fn target(
    section: &Written<TargetSection>,
    catalogue: &[Profile],
    reading: &mut Reading<'_, '_>,
) -> Option<Result<Target, Unresolved>> {
    let name = section.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
    let storage = storage(section, catalogue, reading);
    let unresolved = |problem| Some(Err(Unresolved { name: name.clone(), problem }));
    let url = match address::url(section, reading)? {
        Ok(url) => url,
        Err(problem) => return unresolved(problem),
    };
    let address = address::parse(&url, reading)?;
    // The machine that only checks need not have the secret of the role that acts.
    let (act, act_missing) = match address::acting(section, &address, reading) {
        Ok(act) => (act, None),
        Err(problem) => (None, Some(problem)),
    };
    let replica = match address::replica(section, reading) {
        Ok(replica) => replica,
        Err(problem) => return unresolved(problem),
    };
    let acts = act.is_some() || act_missing.is_some();
    let cleanup = section.cleanup.as_ref().and_then(|cleanup| cleanup::validate(cleanup, acts, reading));
    check_grace(section, cleanup.as_ref(), &storage, reading);
    Some(Ok(Target {
        name,
        address,
        storage,
        known: None,
        engine: match section.engine {
            EngineName::Scan => EngineKind::Scan,
            EngineName::Pushdown => EngineKind::Pushdown,
        },
        limits: Limits {
            timeout: section.timeout.map_or(RUN_TIMEOUT, Duration::from_secs),
            lock_timeout: section.lock_timeout.map_or(LOCK_TIMEOUT, Duration::from_secs),
        },
        rhythm: rhythm(section, reading),
        replica,
        suspends_after: suspends_after(section, url.expose()),
        act,
        act_missing,
        cleanup,
        ad_hoc: false,
    }))
}

fn rhythm(section: &TargetSection, reading: &mut Reading<'_, '_>) -> Rhythm {
    let cron = section.cron.as_ref().map(|cron| ("cron", cron.span()));
    let written = cron.or(section.every.as_ref().map(|every| ("every", every.span())));
    if let (Preset::Guide, Some((key, span))) = (section.schedule, written) {
        let message = format!("`{key}` changes nothing with schedule = \"guide\": leave one of them out");
        reading.report(span, message);
    }
    let every = section.every.as_ref().map(|every| **every);
    Rhythm { preset: section.schedule, base: reading.schedule(every, section.cron.as_ref()) }
}

/// Refuses a grace that is shorter than clocks can be apart, where the mapping says that the end names no time zone.
fn check_grace(
    section: &Written<TargetSection>,
    cleanup: Option<&Cleanup>,
    storage: &ProfileSource,
    reading: &mut Reading<'_, '_>,
) {
    let (Some(cleanup), ProfileSource::Explicit(mapping)) = (cleanup, storage) else { return };
    if mapping.expires.decoder == Decoder::TimestampUtc && cleanup.grace < MIN_GRACE {
        let span = section.cleanup.as_ref().map_or(section.span(), cleanup::grace_span);
        let message = format!(
            "at least 14h: `{}` names no time zone; write decoder = \"timestamp-local:ZONE\" with that of the application to allow less",
            mapping.expires.column
        );
        reading.report(span, message);
    }
}

/// Neon suspends after five minutes unless told otherwise: <https://neon.com/docs/introduction/scale-to-zero>.
fn suspends_after(section: &TargetSection, url: &str) -> Option<SignedDuration> {
    let known = url.contains(".neon.tech").then_some(SignedDuration::from_mins(5));
    section.suspends_after.map(Seconds::duration).or(known)
}

fn storage(section: &TargetSection, catalogue: &[Profile], reading: &mut Reading<'_, '_>) -> ProfileSource {
    let profile = section.profile.as_ref();
    if let Some(name) = profile
        && catalogue.iter().all(|known| known.name != **name)
    {
        let hint = nearest(name, catalogue.iter().map(|known| known.name.as_str()));
        reading.report(name.span(), format!("there is no profile `{}`{hint}", **name));
    }
    if let (Some(table), Some(mapping)) = (&section.sessions, &section.mapping)
        && mapping.sessions.as_ref().is_some_and(|other| *other != **table)
    {
        let message = "another table is written under [target.mapping]: leave this one out";
        reading.report(table.span(), message);
    }
    let name = profile.map(|profile| profile.to_string());
    match (&section.sessions, &section.mapping) {
        (_, Some(mapping)) => {
            let known = catalogue.iter().find(|known| Some(&known.name) == name.as_ref());
            ProfileSource::Explicit(Box::new(mapping::validate(mapping, known, reading)))
        }
        (Some(table), None) => ProfileSource::Table { table: mapping::table_name(table), profile: name },
        (None, None) => name.map_or(ProfileSource::Detect, ProfileSource::Profile),
    }
}
