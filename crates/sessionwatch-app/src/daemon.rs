//! The daemon: looks at every target in its rhythm, keeps what changes, tells whom it concerns, serves metrics.
//!
//! Tasks wait for what is due, on one runtime; each run, and all that asks the store, is on a thread for what blocks, so that
//! one that is slow or hangs delays no other. What is to be told is written with what it tells of, before anything is sent.

pub mod metrics;

mod cleaning;
mod commands;
mod connections;
mod delivery;
mod door;
mod hosts;
mod ingest;
mod logs;
mod pages;
mod record_run;
mod retention;
mod system;
mod tasks;
mod timekeeping;
mod watching;
mod weekly;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant as Monotonic},
};

use axum::Router;
use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{Place, Store, StoreError, censuses};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use self::{commands::Commands, metrics::Success, tasks::TaskGroup, watching::Watching};
use crate::{
    alerts,
    app::{
        AppState, failures,
        leadership::{self, Leadership, RENEWAL_INTERVAL},
    },
    blocking,
    config::{Config, ConfigError, Target},
    schedule,
};

pub use self::system::raise_open_files_limit;

/// How long the parts may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a store on a server is waited for once the daemon is to end.
const LAST_WORDS: Duration = Duration::from_secs(4);
/// Pages of metrics that are written at the same time.
const MEASURING: usize = 2;
/// How often the file of the store is compared with the one that is open.
const STORE_CHECK: Duration = Duration::from_secs(10);

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port.
    #[error("cannot listen on {0}: is another program there?")]
    Listen(std::net::SocketAddr),
    /// The certificate.
    #[error("cannot speak TLS by {0} and {1}: are they a certificate and its key, as PEM, that may be read?")]
    Certificate(std::path::PathBuf, std::path::PathBuf),
    /// The system refused a thread or a signal.
    #[error("the system refused what the daemon needs to run")]
    System(#[from] std::io::Error),
}

/// What is asked of a running daemon.
#[derive(Debug)]
pub enum Command {
    /// To end. Asked a second time, at once.
    Stop,
    /// To go on with another configuration that `serve` can run with, or to say why there is none.
    Reload(Box<Result<Config, ConfigError>>),
}

/// How people get to the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// By logging in, there.
    Open(String),
    /// By this link, which makes the first account.
    SetUp(String),
    /// Not at all: it can be reached from elsewhere, and nobody has an account.
    Closed,
}

/// The state of the daemon: what its tasks share.
#[derive(Debug)]
pub struct DaemonState {
    /// What all use cases share.
    pub app: Arc<AppState>,
    /// What is known of clocks.
    time: timekeeping::Timekeeper,
    /// When this daemon began.
    begun: Instant,
    /// What was seen and delivered last.
    pub latest: metrics::RuntimeMetrics,
    /// What fails at present, and was logged.
    failures_logged: failures::Logged,
    /// What logs bring.
    intake: logs::IngestPipeline,
    /// How many pages of metrics may be written at the same time.
    measuring: Arc<tokio::sync::Semaphore>,
    /// Something is to be delivered.
    nudges: watch::Sender<u64>,
    failures: mpsc::UnboundedSender<String>,
    /// Signs of life of the part that keeps the rhythms.
    beats: AtomicU64,
}

impl DaemonState {
    /// Something is to be delivered.
    fn nudge(&self) {
        self.nudges.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes in when an earlier process saw a target last.
    fn recall(&self, config: &Config, target: &Target) -> Result<(), StoreError> {
        if let Some(at) = self.app.store.read(|db| censuses::last_seen(db, &target.name))? {
            let until = schedule::current_until(&config.plan(target), at, SignedDuration::ZERO);
            self.latest.restore(&target.name, Success { at, until });
        }
        Ok(())
    }

    /// A part cannot go on, and without it nothing should.
    fn fail(&self, why: &str) {
        // A daemon that has stopped need not know.
        let _ = self.failures.send(why.to_owned());
    }

    /// Nothing that is written from now on would be found again: the daemon ends, and is started again on what is there.
    fn store_is_gone(&self, error: &StoreError) {
        self.fail(&error.to_string());
    }

    /// Ends the daemon if the file of the store is not the one that is open any more.
    async fn check_store_file(self: &Arc<Self>) {
        let state = Arc::clone(self);
        if let Err(error) = blocking::run(move || state.app.store.check_file()).await {
            self.store_is_gone(&error);
        }
    }

    fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// The daemon, running.
#[derive(Debug)]
pub struct Daemon {
    state: Arc<DaemonState>,
    parts: Parts,
    failed: mpsc::UnboundedReceiver<String>,
    listener: TcpListener,
    certificate: Option<door::Certificate>,
}

/// The tasks that do the work under one configuration.
#[derive(Debug)]
struct Parts {
    tasks: TaskGroup,
    /// What keeps the leases. It ends after the others: what they still write is written by a leader.
    leases: TaskGroup,
}

impl Daemon {
    /// Opens the store and the port, and starts looking and telling.
    ///
    /// # Errors
    ///
    /// If the store or the port cannot be had.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, DaemonError> {
        let place = config.serve.store.clone();
        let opening = move || {
            let store = open(&place)?;
            let clock = store.clock(clock)?;
            let time = timekeeping::Timekeeper::start(&store, &clock)?;
            Ok::<_, StoreError>((store, clock, time))
        };
        let (store, clock, time) = blocking::run(opening).await?;
        let listen = config.serve.listen;
        let listener = TcpListener::bind(listen).await.map_err(|_| DaemonError::Listen(listen))?;
        let certificate = match &config.serve.tls {
            Some((certificate, key)) => Some(door::Certificate::read(certificate, key)?),
            None => None,
        };
        let holder = config.serve.name.clone().unwrap_or_else(system::name);
        let leadership = Leadership::new(store.is_shared(), holder);
        let (failures, failed) = mpsc::unbounded_channel();
        let state = Arc::new(DaemonState {
            begun: clock.now(),
            time,
            app: Arc::new(AppState::new(store, clock, leadership, config)),
            latest: metrics::RuntimeMetrics::default(),
            failures_logged: failures::Logged::default(),
            intake: logs::IngestPipeline::default(),
            measuring: Arc::new(tokio::sync::Semaphore::new(MEASURING)),
            nudges: watch::Sender::new(0),
            failures,
            beats: AtomicU64::new(0),
        });
        let preparing = Arc::clone(&state);
        blocking::run(move || prepare(&preparing)).await?;
        let parts = Parts::start(&state);
        Ok(Self { state, parts, failed, listener, certificate })
    }

    /// What the parts share.
    #[must_use]
    pub fn state(&self) -> &Arc<DaemonState> {
        &self.state
    }

    /// How people get to the dashboard.
    ///
    /// # Errors
    ///
    /// If the store or the system does not say.
    pub async fn door(&self) -> Result<Door, DaemonError> {
        let address = self.address()?;
        let public = self.state.app.config().serve.public_url.clone();
        let public = public.unwrap_or_else(|| format!("{}://{address}", self.scheme()));
        let public = public.trim_end_matches('/');
        let accounts = blocking::read(&self.state.app.store, sessionwatch_store::accounts::list).await?;
        let someone = self.state.app.config().openid.is_some() || !accounts.is_empty();
        Ok(if someone {
            Door::Open(format!("{public}/"))
        } else if address.ip().is_loopback() {
            Door::SetUp(format!(
                "{public}/setup/{}",
                self.state.app.auth.create_setup_link(self.state.app.clock.now())
            ))
        } else {
            Door::Closed
        })
    }

    /// Whether TLS is spoken: `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// The address at which metrics are served.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves metrics and the dashboard, and does what is asked until that is to stop: whether all parts did their work to the end, and
    /// stopped in time. A part that ends by itself stops the others: half a watch would look like a whole one.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread to go on after a change of configuration.
    pub async fn serve(
        mut self,
        dashboard: Router,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Result<bool, DaemonError> {
        let mut commands = Commands::new(commands);
        let close = CancellationToken::new();
        let router = pages::router(Arc::clone(&self.state), dashboard);
        let pages = door::serve(self.listener, router, self.certificate.clone(), close.clone());
        let mut life = system::Life::start(Arc::clone(&self.state));
        let mut checks = tokio::time::interval(STORE_CHECK);
        let asked = loop {
            tokio::select! {
                _ = checks.tick() => self.state.check_store_file().await,
                command = commands.next() => match command {
                    Some(Command::Reload(config)) => {
                        if let Some(certificate) = &self.certificate {
                            certificate.renew();
                        }
                        let reloading = reload(&self.state, &mut commands, self.parts, *config);
                        self.parts = life.during(reloading).await;
                    }
                    Some(Command::Stop) | None => break true,
                },
                why = self.failed.recv() => {
                    let why = why.as_deref().unwrap_or("a part ended by itself");
                    tracing::error!("{why}: the daemon ends");
                    if self.state.app.store.check_file().is_err() {
                        life.during(delivery::announce_end(&self.state, why)).await;
                    }
                    break false;
                }
                () = life.next() => {}
            }
        };
        system::stopping();
        self.state.app.store.end_by(Monotonic::now() + LAST_WORDS);
        let stopped = tokio::select! {
            (parts, jobs) = async {
                // What people carry out goes on with the same command or page, from where it ended.
                tokio::join!(self.parts.stop(), tokio::time::timeout(STOP_TIMEOUT, self.state.app.background.stop()))
            } => parts && jobs.is_ok(),
            () = commands.asked_again() => false,
        };
        let state = Arc::clone(&self.state);
        blocking::run(move || state.app.store.settle()).await;
        // Nobody who waits for a page is waited for.
        close.cancel();
        pages.abort();
        Ok(asked && stopped)
    }
}

/// Why TLS cannot be spoken by a certificate and its key, if it cannot.
#[must_use]
pub fn certificate_problem(certificate: &Path, key: &Path) -> Option<String> {
    door::certified(certificate, key).err().map(|error| format!("serve: {error}"))
}

fn open(place: &Place) -> Result<Store, StoreError> {
    let store = Store::open(place)?;
    store.hold()?;
    Ok(store)
}

/// Goes on with another configuration, or with the present one if that is not in order.
async fn reload(
    state: &Arc<DaemonState>,
    commands: &mut Commands,
    parts: Parts,
    config: Result<Config, ConfigError>,
) -> Parts {
    system::reloading();
    let parts = match usable(state, config) {
        Some(config) => replace(state, commands, parts, config).await,
        None => parts,
    };
    system::ready();
    parts
}

/// The new configuration, if it is in order.
fn usable(state: &DaemonState, config: Result<Config, ConfigError>) -> Option<Config> {
    let present = state.app.config();
    state.latest.record_reload(config.is_ok());
    let refused = |why: &ConfigError| tracing::error!("the new configuration is not used: {why}");
    let mut config = config.inspect_err(refused).ok()?;
    let kept = |serve: &crate::config::Serve| (serve.listen, serve.store.clone(), serve.tls.clone());
    if kept(&config.serve) != kept(&present.serve) {
        tracing::warn!("`store`, `listen` and the files of TLS of [serve] change only with a restart");
        config.serve.listen = present.serve.listen;
        config.serve.tls = present.serve.tls.clone();
        config.serve.store = present.serve.store.clone();
    }
    Some(config)
}

async fn replace(state: &Arc<DaemonState>, commands: &mut Commands, parts: Parts, config: Config) -> Parts {
    if !parts.stop().await {
        tracing::warn!("a part did not stop in time, and ends by itself");
    }
    if commands.is_stop_asked() {
        // What would be started now would have to be stopped again.
        return Parts::idle(state);
    }
    state.app.set_config(config);
    let preparing = Arc::clone(state);
    if let Err(error) = blocking::run(move || prepare(&preparing)).await {
        tracing::error!("alerts of what is not watched any more stay until the next start: {error}");
    }
    let parts = Parts::start(state);
    tracing::info!("the new configuration is in use");
    parts
}

/// Brings what is kept into line with the configuration.
fn prepare(state: &DaemonState) -> Result<(), StoreError> {
    let config = state.app.config();
    state.latest.retain(&config);
    alerts::close_orphaned_alerts(&state.app.store, &config, state.app.clock.now())?;
    for target in &config.targets {
        state.recall(&config, target)?;
    }
    Ok(())
}

impl Parts {
    /// Without tasks.
    fn idle(state: &DaemonState) -> Self {
        let group = || TaskGroup::new(state.failures.clone());
        Self { tasks: group(), leases: group() }
    }

    fn start(state: &Arc<DaemonState>) -> Self {
        let (parts, config) = (Self::idle(state), state.app.config());
        let (tasks, of) = (&parts.tasks, config.targets.len());
        let watched = config.targets.iter().enumerate().map(|(number, target)| Watching {
            state: Arc::clone(state),
            config: Arc::clone(&config),
            target: target.clone(),
            place: (number, of),
            awake: Arc::new(Notify::new()),
            stop: tasks.token(),
        });
        let watched: Vec<Watching> = watched.collect();
        let wake_ups =
            watched.iter().map(|watching| (watching.target.name.clone(), Arc::clone(&watching.awake)));
        state.app.set_wake_ups(wake_ups.collect());
        for watching in watched {
            tasks.spawn("the watching of a target", watching.run());
        }
        if state.app.store.is_shared() {
            let names = config.targets.iter().map(|target| leadership::lease(&target.name));
            let leases = names.chain([leadership::DELIVERY.to_owned()]).collect();
            let keeping = keep_leases(Arc::clone(state), leases, parts.leases.token());
            parts.leases.spawn("the keeping of leases", keeping);
        }
        tasks.spawn("the keeping of time", timekeeping::run(Arc::clone(state), tasks.token()));
        state.intake.set(&config);
        logs::start(tasks, state, &config);
        cleaning::start(tasks, state, &config);
        tasks.spawn("the removal of what is too old", retention::run(Arc::clone(state), tasks.token()));
        tasks.spawn("the delivery", delivery::run(Arc::clone(state), config, tasks.token()));
        parts
    }

    /// Stops every task. Returns `true` if they did so in time, and none had ended in a panic.
    async fn stop(self) -> bool {
        let begun = Monotonic::now();
        let stopped = self.tasks.stop(STOP_TIMEOUT).await;
        let released = self.leases.stop(STOP_TIMEOUT.saturating_sub(begun.elapsed())).await;
        stopped && released
    }
}

/// Takes and renews leases until that is to stop, and then gives them up.
async fn keep_leases(state: Arc<DaemonState>, leases: Vec<String>, stop: CancellationToken) {
    let leases = Arc::new(leases);
    let mut ticks = tokio::time::interval(RENEWAL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (state, leases) = (Arc::clone(&state), Arc::clone(&leases));
        blocking::run(move || state.app.leadership.renew(&state.app.store, &leases)).await;
    }
    blocking::run(move || state.app.leadership.release(&state.app.store)).await;
}
