//! What the watch does with logs: it follows files, listens for syslog, keeps what drains send, and judges all of it.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use sessionwatch_core::{
    correlation::MatchKind,
    instant::{DAY, HOUR, Instant, SECOND},
};
use sessionwatch_logs::{grammar::Grammar, time::Clock as Reading};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinSet,
};

use super::{Shared, round};
use crate::{
    app::{
        LiveEvent,
        leadership::lease,
        network_places::{NetworkPlace, NetworkPlaces},
    },
    clock,
    config::{
        Config, Target,
        logs::{Kind, Source},
    },
    incident,
    logs::{
        follow::{Begin, Follower, Step},
        gaps::Gap,
        intake::{self, Batch},
        judge::{self, Table, View},
        syslog::{Keep, Senders, Syslog},
    },
    store::{
        Store, StoreError, incidents, layouts, reports,
        signals::{self, Kept},
        sources,
    },
    target::{
        connect::ConnectedTarget,
        error::TargetError,
        observe::{self, Line},
        sql::List,
    },
};

/// How often a file is asked whether it grew.
const GLANCE: Duration = Duration::from_millis(500);
/// How long to wait after something failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Batches that are taken apart and kept at the same time; of more the sender is told to come again.
const AT_ONCE: usize = 8;
/// Requests that may be on their way at the same time, of senders that have shown who they are.
const ARRIVING: usize = 32;
/// The same of senders that show it by a signature of the whole body, and so of strangers too.
const UNSIGNED_ARRIVING: usize = 32;
/// Those among them of one network.
const UNSIGNED_OF_ONE_NETWORK: usize = 8;
/// Signals that are judged at once.
const TOGETHER: u32 = 5_000;
/// How often it is judged where nothing new was read, in microseconds.
const RHYTHM: i64 = 60 * SECOND;
/// The same where other daemons may have read something.
const RHYTHM_SHARED: i64 = 2 * SECOND;
/// How long signals are kept, in microseconds.
const KEPT: i64 = 30 * DAY;
/// Sessions that begin as the signals say, of which more cannot be told apart.
const SESSIONS: usize = 50_000;
/// How long the table may take to say what an urgent signal is about.
const URGENT: Duration = Duration::from_millis(1_200);
/// Times in a minute that a table may be asked at once because of signals.
const LOOKUPS: usize = 5;
/// The same where nothing is urgent, but there is more than can be judged at once.
const BUSY_LOOKUPS: usize = 3;
/// Signals that an incident's timeline takes.
const ON_TIMELINE: usize = 200;

/// A source with what is looked for in it.
#[derive(Clone, Debug)]
pub(super) struct Listened {
    pub(super) source: Source,
    pub(super) grammar: Grammar,
}

/// What the parts that read and judge logs share.
#[derive(Debug)]
pub(super) struct Intake {
    sources: std::sync::RwLock<Arc<Vec<Listened>>>,
    permits: Semaphore,
    arriving: Semaphore,
    /// Requests on their way whose sender is not known yet, by network.
    unsigned: NetworkPlaces,
    /// Counts what is new and to be judged.
    news: watch::Sender<u64>,
}

impl Default for Intake {
    fn default() -> Self {
        let news = watch::Sender::new(0);
        let (permits, arriving) = (Semaphore::new(AT_ONCE), Semaphore::new(ARRIVING));
        let unsigned = NetworkPlaces::new(UNSIGNED_ARRIVING, UNSIGNED_OF_ONE_NETWORK);
        Self { sources: std::sync::RwLock::default(), permits, arriving, unsigned, news }
    }
}

/// Why a batch was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotKept {
    /// Too many are on their way.
    Busy,
    /// The store cannot be written, or its disk is full.
    Store,
}

impl Listened {
    /// What is looked for, where times that lack something are near an instant.
    pub(super) fn grammar_at(&self, now: Instant) -> Grammar {
        self.grammar.at(Reading { offset_us: self.source.offset_us(now), near: now })
    }
}

impl Intake {
    /// The sources of the present configuration.
    pub(super) fn sources(&self) -> Arc<Vec<Listened>> {
        Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Listens to those of another configuration from now on.
    pub(super) fn set(&self, config: &Config) {
        let grammar = Grammar::new(config.logs.looked_for(), Reading::default());
        let listened = |source: &Source| Listened { source: source.clone(), grammar: grammar.clone() };
        let all = Arc::new(config.logs.sources.iter().map(listened).collect::<Vec<_>>());
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// Lets a request in that is on its way, if there are not too many.
pub(super) fn arrive(shared: &Shared) -> Result<SemaphorePermit<'_>, NotKept> {
    shared.intake.arriving.try_acquire().map_err(|_| NotKept::Busy)
}

/// Lets a request in that is on its way and whose sender is not known yet, if there are not too many, of its network or in all:
/// a slow sender takes no place from senders that have shown who they are, and few from other networks.
pub(super) fn arrive_unsigned(shared: &Shared, network: IpNet) -> Result<NetworkPlace, NotKept> {
    shared.intake.unsigned.take(network).ok_or(NotKept::Busy)
}

/// Lets a batch in, to be taken apart and kept, if there are not too many.
pub(super) fn admit(shared: &Shared) -> Result<SemaphorePermit<'_>, NotKept> {
    shared.intake.permits.try_acquire().map_err(|_| NotKept::Busy)
}

/// Keeps a batch, so that it is safe, or says why not.
pub(super) async fn write(shared: &Arc<Shared>, batch: Batch) -> Result<(), NotKept> {
    let to_write = Arc::clone(shared);
    let written = tokio::task::spawn_blocking(move || {
        let now = to_write.clock.now();
        let new = to_write.store.write(|db| intake::keep(db, &batch, now))?;
        Ok::<_, StoreError>((new, to_write.store.is_sheltered()))
    });
    match written.await {
        Ok(Ok((new, sheltered))) => {
            if new > 0 {
                shared.intake.news.send_modify(|count| *count = count.wrapping_add(1));
            }
            // What is in memory only is not safe.
            if sheltered { Err(NotKept::Store) } else { Ok(()) }
        }
        Ok(Err(error)) => {
            tracing::error!("what logs say could not be kept: {error}");
            Err(NotKept::Store)
        }
        Err(_) => Err(NotKept::Store),
    }
}

/// Reads and judges logs until it is asked to stop.
pub(super) async fn run(shared: Arc<Shared>, config: Arc<Config>, stopping: watch::Receiver<bool>) {
    let listened = shared.intake.sources();
    let tasks = tokio::task::LocalSet::new();
    let all = tasks.run_until(async {
        let mut running = start(&shared, &config, (&listened, &stopping));
        while let Some(ended) = running.join_next().await {
            if ended.is_err() {
                shared.fail("the reading of logs ended in a panic");
            }
        }
    });
    all.await;
}

/// Starts everything that reads and judges.
fn start(
    shared: &Arc<Shared>,
    config: &Arc<Config>,
    (listened, stopping): (&[Listened], &watch::Receiver<bool>),
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for one in listened.iter().cloned() {
        let (shared, stopping) = (Arc::clone(shared), stopping.clone());
        match one.source.kind.clone() {
            Kind::File(path) => drop(tasks.spawn_local(follow(shared, one, path, stopping))),
            Kind::Syslog { listen, senders } => {
                drop(tasks.spawn_local(listen_for_syslog(shared, one, (listen, senders), stopping)));
            }
            Kind::Vercel { .. } | Kind::Http(_) => {}
        }
    }
    let logged = |target: &&Target| config.logs.of(&target.name).next().is_some();
    for target in config.targets.iter().filter(logged) {
        let judging = Judging {
            shared: Arc::clone(shared),
            config: Arc::clone(config),
            target: target.clone(),
            lookups: VecDeque::new(),
        };
        tasks.spawn_local(judging.run(stopping.clone()));
    }
    tasks.spawn_local(forget(Arc::clone(shared), stopping.clone()));
    tasks
}

/// Forgets, every hour, what is too old.
async fn forget(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow() {
        let (now, passed) = (shared.clock.now(), shared.passed());
        if let Err(error) = shared.store.write(|db| signals::forget(db, passed.plus(-KEPT))) {
            tracing::error!("old signals are still kept: {error}");
        }
        let until = now.plus(HOUR);
        while shared.clock.now() < until && !*stopping.borrow() {
            tokio::select! {
                () = shared.clock.wait_until(until) => {}
                _ = stopping.changed() => {}
            }
        }
    }
}

/// Follows a file while this daemon leads the target.
async fn follow(shared: Arc<Shared>, listened: Listened, path: PathBuf, mut stopping: watch::Receiver<bool>) {
    let lease = lease(&listened.source.target);
    while !*stopping.borrow() {
        let term = tokio::select! {
            term = shared.leadership.lead(&lease) => term,
            _ = stopping.changed() => continue,
        };
        let following = Following {
            shared: Arc::clone(&shared),
            store: shared.leadership.fenced(&shared.store, &lease, term),
            term,
            listened: listened.clone(),
            path: path.clone(),
            stopping: stopping.clone(),
        };
        let followed = tokio::task::spawn_blocking(move || following.follow_for_a_day());
        let failed = match followed.await {
            Ok(Ok(()) | Err(StoreError::Fenced)) => None,
            Ok(Err(why)) => Some(why.to_string()),
            Err(_) => Some("reading ended in a panic".to_owned()),
        };
        if let Some(why) = failed {
            tracing::error!("a log cannot be read: {why}");
            tokio::select! {
                () = clock::pause(AGAIN) => {}
                _ = stopping.changed() => {}
            }
        }
    }
}

/// A file that is followed under one term.
struct Following {
    shared: Arc<Shared>,
    /// The store, for what is written under this term.
    store: Store,
    term: i64,
    listened: Listened,
    path: PathBuf,
    stopping: watch::Receiver<bool>,
}

impl Following {
    /// Follows the file until something fails, the lead is lost, or a day has passed: then the year may be another one.
    fn follow_for_a_day(&self) -> Result<(), StoreError> {
        let (shared, source) = (&self.shared, &self.listened.source);
        let begun = shared.clock.now();
        let grammar = self.listened.grammar_at(begun);
        let kept = self.store.read(|db| sources::get(db, &source.name))?;
        // What was logged before anybody watched is what `logs scan` is for.
        let begin = kept.and_then(|kept| kept.place).map_or(Begin::AtEnd, Begin::At);
        let mut follower =
            Follower::new(&self.path, &source.name, &grammar, begin).sparing(self.other_logs());
        let lease = lease(&source.target);
        let (mut missing, mut at, mut failing) = (false, None, None);
        loop {
            let stop = *self.stopping.borrow() || shared.leadership.term(&lease) != Some(self.term);
            // An entry that is open is read again from its beginning by whoever goes on.
            if stop || shared.clock.now().since(begun).abs() > DAY {
                return Ok(());
            }
            let step = match follower.step(std::time::Instant::now()) {
                Ok(step) => step,
                // What is open stays open: of a rotated file, it may be the only way to the rest.
                Err(error) => {
                    let why = Some(crate::logs::follow::cause(&error));
                    if failing != why {
                        tracing::error!(
                            source = source.name,
                            "cannot read {}: {}; this is tried again every 5 seconds",
                            self.path.display(),
                            why.as_deref().unwrap_or_default()
                        );
                        failing = why;
                    }
                    pause(&self.stopping, AGAIN);
                    continue;
                }
            };
            if failing.take().is_some() {
                tracing::info!(source = source.name, "{} can be read again", self.path.display());
            }
            for gap in &step.gaps {
                warn(source, gap);
            }
            if step.happened == Some("missing") && !missing {
                tracing::warn!(source = source.name, "{} is not there yet", self.path.display());
            }
            missing = step.happened == Some("missing");
            let more = step.more;
            if step.place != at || !step.found.is_empty() || !step.gaps.is_empty() {
                at.clone_from(&step.place);
                self.keep(step)?;
            }
            if !more {
                pause(&self.stopping, GLANCE);
            }
        }
    }

    /// The files of the other sources.
    fn other_logs(&self) -> Vec<PathBuf> {
        let sources = self.shared.intake.sources();
        let files = sources.iter().filter_map(|listened| match &listened.source.kind {
            Kind::File(path) if *path != self.path => Some(path.clone()),
            _ => None,
        });
        files.collect()
    }

    /// Keeps what a step gave.
    fn keep(&self, step: Step) -> Result<(), StoreError> {
        let source = &self.listened.source;
        // Entries whose end is missing are counted as `truncated`.
        let happened = step.happened.and_then(|happened| match happened {
            "truncated" => Some("truncations"),
            "rotated" => Some("rotated"),
            _ => None,
        });
        let dropped = happened.map(|happened| (happened, 1));
        let is_gap = !step.gaps.is_empty();
        let batch = Batch {
            source: source.name.clone(),
            target: source.target.clone(),
            counters: step.counters,
            found: step.found.into_iter().map(|found| (None, found)).collect(),
            dropped: dropped.into_iter().chain([("lost_bytes", step.lost_bytes)]).collect(),
            place: step.place,
            gaps: step.gaps,
            digest: None,
        };
        let now = self.shared.clock.now();
        let new = self.store.write(|db| intake::keep(db, &batch, now))?;
        if new > 0 || is_gap {
            self.shared.intake.news.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }
}

/// Says that lines may be missing.
fn warn(source: &Source, gap: &Gap) {
    let (file, why) = (&gap.file, gap.cause.words());
    match gap.bytes {
        Some(bytes) => tracing::warn!(source = source.name, bytes, "log lines may be missing: {file}: {why}"),
        None => tracing::warn!(source = source.name, "log lines may be missing: {file}: {why}"),
    }
}

/// Waits for some time, or until it is to stop.
fn pause(stopping: &watch::Receiver<bool>, time: Duration) {
    let mut stopping = stopping.clone();
    tokio::runtime::Handle::current().block_on(async {
        let _ = tokio::time::timeout(time, stopping.wait_for(|stop| *stop)).await;
    });
}

/// Keeps what syslog brings, for as long as it takes.
#[derive(Clone, Debug)]
struct Keeper(Arc<Shared>);

impl Keep for Keeper {
    async fn keep(&self, batch: Batch) -> bool {
        write(&self.0, batch).await.is_ok()
    }
}

/// Listens for syslog.
async fn listen_for_syslog(
    shared: Arc<Shared>,
    listened: Listened,
    (address, senders): (std::net::SocketAddr, Vec<IpNet>),
    mut stopping: watch::Receiver<bool>,
) {
    let name = listened.source.name.clone();
    while !*stopping.borrow() {
        let bound = async {
            Ok::<_, std::io::Error>((TcpListener::bind(address).await?, UdpSocket::bind(address).await?))
        };
        match bound.await {
            Ok((tcp, udp)) => {
                let grammar = Arc::new(listened.grammar_at(shared.clock.now()));
                let names = (name.clone(), listened.source.target.clone());
                let keep = Keeper(Arc::clone(&shared));
                let senders = Senders::new(senders.clone());
                Syslog { names, grammar, keep, senders, stopping: stopping.clone() }.listen(tcp, udp).await;
            }
            Err(_) => {
                tracing::error!(source = name, "cannot listen on {address}: is another program there?");
                tokio::select! {
                    () = clock::pause(AGAIN) => {}
                    _ = stopping.changed() => {}
                }
            }
        }
    }
}

/// Judges the signals of a target.
struct Judging {
    shared: Arc<Shared>,
    config: Arc<Config>,
    target: Target,
    /// When the table was asked, lately.
    lookups: VecDeque<Instant>,
}

impl Judging {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let lease = lease(&self.target.name);
        let mut news = self.shared.intake.news.subscribe();
        while !*stopping.borrow() {
            let term = tokio::select! {
                term = self.shared.leadership.lead(&lease) => term,
                _ = stopping.changed() => continue,
            };
            news.mark_unchanged();
            let begun = self.shared.clock.now();
            match self.judge(term, begun).await {
                Ok(more) if more => continue,
                Ok(_) => {}
                Err(StoreError::Fenced) => continue,
                Err(error) => {
                    tracing::error!(target = self.target.name, "what logs say could not be judged: {error}");
                    clock::pause(AGAIN).await;
                }
            }
            let rhythm = if self.shared.store.is_shared() { RHYTHM_SHARED } else { RHYTHM };
            let until = begun.plus(rhythm);
            while self.shared.clock.now() < until && !*stopping.borrow() {
                tokio::select! {
                    () = self.shared.clock.wait_until(until) => {}
                    _ = news.changed() => break,
                    _ = stopping.changed() => {}
                }
            }
        }
    }

    /// Judges what is new, and every check anew: whether there is more.
    async fn judge(&mut self, term: i64, now: Instant) -> Result<bool, StoreError> {
        let target = self.target.name.clone();
        let waiting = self.shared.store.read(|db| signals::unjudged(db, &target, TOGETHER))?;
        let allowed = if waiting.iter().any(is_bad) {
            LOOKUPS
        } else if waiting.len() == TOGETHER as usize {
            BUSY_LOOKUPS
        } else {
            1
        };
        let joined = match self.table(&waiting, (allowed, now)).await {
            // Nothing of it is urgent: it waits until the table may be asked again.
            None => vec![],
            Some(table) => {
                let table = table.as_ref().map_err(String::as_str);
                waiting.iter().map(|signal| (signal, judge::joined(signal, table))).collect()
            }
        };
        let bad: Vec<&Kept> = waiting.iter().filter(|signal| is_bad(signal)).collect();
        // What was critical before sessions were ended is no reason to begin again.
        let critical = joined.iter().any(|(signal, (fit, _))| {
            *fit == Some(MatchKind::Contradicting)
                || signal.severity.as_deref() == Some("critical") && signals::is_confirmed(&signal.kind, *fit)
        });
        let shared = Arc::clone(&self.shared);
        let store = shared.leadership.fenced(&shared.store, &lease(&target), term);
        let told = store.write(|db| {
            for (signal, (fit, detail)) in &joined {
                let fit = fit.map(MatchKind::name);
                signals::judge(db, signal.id, fit, &detail.to_string())?;
            }
            let judged = judge::outcomes(db, View { config: &self.config, target: &target, now })?;
            let told = round::keep_logs(db, &target, &judged, (&self.config, now))?;
            if let Some(why) = incident::emergency_in_logs(&judged).filter(|_| critical) {
                incident::reopen(db, &target, &why, now)?;
            }
            // After that, so that the line is on the timeline of the incident that it reopened.
            if !joined.is_empty() {
                note(db, &target, (&bad, now))?;
            }
            Ok(told)
        })?;
        if told > 0 {
            shared.nudge();
        }
        if !joined.is_empty() {
            shared.publish(LiveEvent::Judged { target, at: now });
        }
        Ok(!joined.is_empty() && waiting.len() == TOGETHER as usize)
    }

    /// The sessions that signals are about; nothing while the table should not be asked, or why it does not say.
    async fn table(
        &mut self,
        waiting: &[Kept],
        (allowed, now): (usize, Instant),
    ) -> Option<Result<Table, String>> {
        let urgent = allowed == LOOKUPS;
        let prefixes: Vec<String> = waiting.iter().filter_map(|signal| signal.prefix.clone()).collect();
        if prefixes.is_empty() {
            return Some(Ok(Table::default()));
        }
        self.lookups.retain(|at| now.since(*at).abs() < RHYTHM);
        if self.lookups.len() >= allowed {
            let why = format!("the table was asked {LOOKUPS} times in a minute because of signals");
            return urgent.then_some(Err(why));
        }
        self.lookups.push_back(now);
        let mut target = self.target.clone();
        if let Err(error) = layouts::locate(&self.shared.store, &mut target) {
            return urgent.then_some(Err(error.to_string()));
        }
        if urgent {
            target.limits.timeout = target.limits.timeout.min(URGENT);
        }
        let asked = tokio::time::timeout(target.limits.timeout, lookup(&self.config, &target, &prefixes));
        let lines = match asked.await {
            Ok(Ok(lines)) if lines.len() >= SESSIONS => {
                return Some(Err("too many sessions begin like that".into()));
            }
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => return Some(Err(format!("the table cannot be asked: {error}"))),
            Err(_) => return Some(Err("the table did not answer in time".into())),
        };
        let last = match self.shared.store.read(|db| reports::document(db, &target.name)) {
            Ok(last) => last,
            Err(error) => return Some(Err(error.to_string())),
        };
        // Before the first look, and after one that failed, no more of them are known than these.
        let known = last.and_then(|(_, report)| report["census"]["sessions"].as_u64());
        let sessions = known.unwrap_or(lines.len() as u64);
        Some(Ok(Table { lines, sessions }))
    }
}

fn is_bad(signal: &Kept) -> bool {
    matches!(signal.severity.as_deref(), Some("high" | "critical"))
}

/// The sessions whose tokens begin so.
async fn lookup(config: &Config, target: &Target, prefixes: &[String]) -> Result<Vec<Line>, TargetError> {
    let wanted: BTreeSet<String> = prefixes.iter().flat_map(|prefix| judge::shown_as(prefix)).collect();
    let prefixes: Vec<String> = wanted.into_iter().collect();
    let opened = ConnectedTarget::open_in_time(target.connect_options(&config.catalogue)).await?;
    let sql = opened.sql(false, &config.rules.thresholds);
    let list = List { prefixes: &prefixes, ..List::all(SESSIONS) };
    let lines = observe::list(&opened.session, &sql, list).await;
    opened.session.close().await;
    lines
}

/// Puts bad signals on the timeline of the incident that is open.
fn note(
    db: crate::store::db::Db<'_>,
    target: &str,
    (bad, now): (&[&Kept], Instant),
) -> Result<(), StoreError> {
    let Some(current) = incidents::current(db, target)? else { return Ok(()) };
    let before = incidents::timeline(db, &current.id)?.iter().filter(|entry| entry.kind == "signal").count();
    for signal in bad.iter().take(ON_TIMELINE.saturating_sub(before)) {
        // What it was joined to was written a moment ago.
        let known = signals::get(db, signal.id)?;
        let signal = known.as_ref().unwrap_or(signal);
        incidents::add(db, &current.id, &incident::of_signal(signal, now))?;
    }
    Ok(())
}
