//! The daemon: looks at every target in its rhythm, keeps what changes, tells whom it concerns, serves metrics.
//!
//! Tasks wait for what is due, on one runtime; each run, and all that asks the store, is on a thread for what blocks, so that
//! one that is slow or hangs delays no other. What is to be told is written with what it tells of, before anything is sent.

pub mod metrics;

mod auto_cleanup;
mod commands;
mod connections;
mod delivery;
mod host_validation;
mod http;
mod ingest;
mod listener;
mod logs;
mod record_run;
mod retention;
mod scheduled_report;
mod single_round;
mod systemd;
mod target_monitor;
mod tasks;
mod timekeeping;

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
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{Store, StoreError, StoreLocation, samples};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use self::{commands::CommandQueue, metrics::RunSuccess, target_monitor::TargetMonitor, tasks::TaskGroup};
use crate::{
    alerts,
    app::{
        AppState, failures,
        leadership::{self, LEASE_RENEWAL_INTERVAL, LeaseManager},
    },
    blocking,
    config::{Config, ConfigError, Target},
    schedule,
};

pub use self::{
    single_round::{RoundResult, run_single_round},
    systemd::raise_open_files_limit,
};

/// How long the parts may take to stop.
const WORKER_STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a store on a server is waited for once the daemon is to end.
const STORE_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);
/// Pages of metrics that are written at the same time.
const MAX_CONCURRENT_SCRAPES: usize = 2;
/// How often the file of the store is compared with the one that is open.
const STORE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

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
pub enum DaemonCommand {
    /// To end. Asked a second time, at once.
    Stop,
    /// To go on with another configuration that `serve` can run with, or to say why there is none.
    Reload(Box<Result<Config, ConfigError>>),
}

/// How people get to the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DashboardAccess {
    /// By logging in, there.
    Login(String),
    /// By this link, which makes the first account.
    SetupLink(String),
    /// Not at all: it can be reached from elsewhere, and nobody has an account.
    Unavailable,
}

/// The state of the daemon: what its tasks share.
#[derive(Debug)]
pub struct DaemonState {
    /// What all use cases share.
    pub app: Arc<AppState>,
    /// What is known of clocks.
    timekeeper: timekeeping::Timekeeper,
    /// When this daemon began.
    started_at: UtcTimestamp,
    /// What was seen and delivered last.
    pub metrics: metrics::RuntimeMetrics,
    /// What fails at present, and was logged.
    failures_logged: failures::FailureLog,
    /// What logs bring.
    ingest: logs::IngestPipeline,
    /// How many pages of metrics may be written at the same time.
    scrape_permits: Arc<tokio::sync::Semaphore>,
    /// Something is to be delivered.
    delivery_wakeups: watch::Sender<u64>,
    fatal_errors: mpsc::UnboundedSender<String>,
    /// Signs of life of the part that keeps the rhythms.
    heartbeats: AtomicU64,
}

impl DaemonState {
    /// Opens the state store of a configuration. Beside the state, returns the reasons for which the daemon has to end.
    async fn open(
        config: Config,
        clock: Clock,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<String>), DaemonError> {
        let place = config.serve.store.clone();
        let opening = move || {
            let store = open_store(&place)?;
            let clock = store.shared_clock(clock)?;
            let time = timekeeping::Timekeeper::start(&store, &clock)?;
            Ok::<_, StoreError>((store, clock, time))
        };
        let (store, clock, time) = blocking::run(opening).await?;
        let holder = config.serve.instance_name.clone().unwrap_or_else(systemd::default_instance_name);
        let leadership = LeaseManager::new(store.is_shared(), holder);
        let (failures, failed) = mpsc::unbounded_channel();
        let state = Arc::new(Self {
            started_at: clock.now(),
            timekeeper: time,
            app: Arc::new(AppState::new(store, clock, leadership, config)),
            metrics: metrics::RuntimeMetrics::default(),
            failures_logged: failures::FailureLog::default(),
            ingest: logs::IngestPipeline::default(),
            scrape_permits: Arc::new(tokio::sync::Semaphore::new(MAX_CONCURRENT_SCRAPES)),
            delivery_wakeups: watch::Sender::new(0),
            fatal_errors: failures,
            heartbeats: AtomicU64::new(0),
        });
        Ok((state, failed))
    }

    /// Something is to be delivered.
    fn wake_delivery(&self) {
        self.delivery_wakeups.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes in when an earlier process saw a target last.
    fn restore_last_success(&self, config: &Config, target: &Target) -> Result<(), StoreError> {
        if let Some(at) = self.app.store.read(|db| samples::last_success_at(db, &target.name))? {
            let until = schedule::fresh_until(&config.check_schedules(target), at, SignedDuration::ZERO);
            self.metrics.restore_success(&target.name, RunSuccess { at, valid_until: until });
        }
        Ok(())
    }

    /// A part cannot go on, and without it nothing should.
    fn report_fatal(&self, why: &str) {
        // A daemon that has stopped need not know.
        let _ = self.fatal_errors.send(why.to_owned());
    }

    /// Nothing that is written from now on would be found again: the daemon ends, and is started again on what is there.
    fn report_store_lost(&self, error: &StoreError) {
        self.report_fatal(&error.to_string());
    }

    /// Ends the daemon if the file of the store is not the one that is open any more.
    async fn check_store_file(self: &Arc<Self>) {
        let state = Arc::clone(self);
        if let Err(error) = blocking::run(move || state.app.store.verify_file_identity()).await {
            self.report_store_lost(&error);
        }
    }

    fn record_heartbeat(&self) {
        self.heartbeats.fetch_add(1, Ordering::Relaxed);
    }
}

/// The daemon, running.
#[derive(Debug)]
pub struct Daemon {
    state: Arc<DaemonState>,
    workers: Workers,
    fatal_errors: mpsc::UnboundedReceiver<String>,
    listener: TcpListener,
    certificate: Option<listener::TlsCertificate>,
}

/// The tasks that do the work under one configuration.
#[derive(Debug)]
struct Workers {
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
        let (listen, tls) = (config.serve.listen, config.serve.tls.clone());
        let (state, failed) = DaemonState::open(config, clock).await?;
        let listener = TcpListener::bind(listen).await.map_err(|_| DaemonError::Listen(listen))?;
        let certificate = match &tls {
            Some((certificate, key)) => Some(listener::TlsCertificate::load(certificate, key)?),
            None => None,
        };
        let preparing = Arc::clone(&state);
        blocking::run(move || sync_with_config(&preparing)).await?;
        let parts = Workers::start(&state);
        Ok(Self { state, workers: parts, fatal_errors: failed, listener, certificate })
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
    pub async fn dashboard_access(&self) -> Result<DashboardAccess, DaemonError> {
        let address = self.listen_address()?;
        let public = self.state.app.config().serve.public_url.clone();
        let public = public.unwrap_or_else(|| format!("{}://{address}", self.url_scheme()));
        let public = public.trim_end_matches('/');
        let accounts =
            blocking::read_store(&self.state.app.store, sessionwatch_store::accounts::list_accounts).await?;
        let someone = self.state.app.config().oidc.is_some() || !accounts.is_empty();
        Ok(if someone {
            DashboardAccess::Login(format!("{public}/"))
        } else if address.ip().is_loopback() {
            DashboardAccess::SetupLink(format!(
                "{public}/setup/{}",
                self.state.app.auth.create_setup_link(self.state.app.clock.now())
            ))
        } else {
            DashboardAccess::Unavailable
        })
    }

    /// Whether TLS is spoken: `https` or `http`.
    #[must_use]
    pub fn url_scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// The address at which metrics are served.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn listen_address(&self) -> std::io::Result<std::net::SocketAddr> {
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
        commands: mpsc::UnboundedReceiver<DaemonCommand>,
    ) -> Result<bool, DaemonError> {
        let mut commands = CommandQueue::new(commands);
        let close = CancellationToken::new();
        let router = http::build_router(Arc::clone(&self.state), dashboard);
        let pages = listener::spawn_server(self.listener, router, self.certificate.clone(), close.clone());
        let mut life = systemd::SystemdWatchdog::start(Arc::clone(&self.state));
        let mut checks = tokio::time::interval(STORE_CHECK_INTERVAL);
        let asked = loop {
            tokio::select! {
                _ = checks.tick() => self.state.check_store_file().await,
                command = commands.next_command() => match command {
                    Some(DaemonCommand::Reload(config)) => {
                        if let Some(certificate) = &self.certificate {
                            certificate.reload();
                        }
                        let reloading = reload_config(&self.state, &mut commands, self.workers, *config);
                        self.workers = life.run_with_keepalive(reloading).await;
                    }
                    Some(DaemonCommand::Stop) | None => break true,
                },
                why = self.fatal_errors.recv() => {
                    let why = why.as_deref().unwrap_or("a part ended by itself");
                    tracing::error!("{why}: the daemon ends");
                    if self.state.app.store.verify_file_identity().is_err() {
                        life.run_with_keepalive(delivery::announce_shutdown(&self.state, why)).await;
                    }
                    break false;
                }
                () = life.tick() => {}
            }
        };
        systemd::notify_stopping();
        self.state.app.store.set_deadline(Monotonic::now() + STORE_SHUTDOWN_TIMEOUT);
        let stopped = tokio::select! {
            (parts, jobs) = async {
                // What people carry out goes on with the same command or page, from where it ended.
                tokio::join!(self.workers.stop(), tokio::time::timeout(WORKER_STOP_TIMEOUT, self.state.app.background.stop()))
            } => parts && jobs.is_ok(),
            () = commands.wait_for_second_stop() => false,
        };
        let state = Arc::clone(&self.state);
        blocking::run(move || state.app.store.flush_memory_fallback()).await;
        // Nobody who waits for a page is waited for.
        close.cancel();
        pages.abort();
        Ok(asked && stopped)
    }
}

/// Why TLS cannot be spoken by a certificate and its key, if it cannot.
#[must_use]
pub fn certificate_problem(certificate: &Path, key: &Path) -> Option<String> {
    listener::load_tls_config(certificate, key).err().map(|error| format!("serve: {error}"))
}

fn open_store(place: &StoreLocation) -> Result<Store, StoreError> {
    let store = Store::open(place)?;
    store.lock_exclusive()?;
    Ok(store)
}

/// Goes on with another configuration, or with the present one if that is not in order.
async fn reload_config(
    state: &Arc<DaemonState>,
    commands: &mut CommandQueue,
    parts: Workers,
    config: Result<Config, ConfigError>,
) -> Workers {
    systemd::notify_reloading();
    let parts = match validate_reload(state, config) {
        Some(config) => apply_config(state, commands, parts, config).await,
        None => parts,
    };
    systemd::notify_ready();
    parts
}

/// The new configuration, if it is in order.
fn validate_reload(state: &DaemonState, config: Result<Config, ConfigError>) -> Option<Config> {
    let present = state.app.config();
    state.metrics.record_reload(config.is_ok());
    let refused = |why: &ConfigError| tracing::error!("the new configuration is not used: {why}");
    let mut config = config.inspect_err(refused).ok()?;
    let kept = |serve: &crate::config::ServeConfig| (serve.listen, serve.store.clone(), serve.tls.clone());
    if kept(&config.serve) != kept(&present.serve) {
        tracing::warn!("`store`, `listen` and the files of TLS of [serve] change only with a restart");
        config.serve.listen = present.serve.listen;
        config.serve.tls = present.serve.tls.clone();
        config.serve.store = present.serve.store.clone();
    }
    Some(config)
}

async fn apply_config(
    state: &Arc<DaemonState>,
    commands: &mut CommandQueue,
    parts: Workers,
    config: Config,
) -> Workers {
    if !parts.stop().await {
        tracing::warn!("a part did not stop in time, and ends by itself");
    }
    if commands.check_stop_requested() {
        // What would be started now would have to be stopped again.
        return Workers::empty(state);
    }
    state.app.set_config(config);
    let preparing = Arc::clone(state);
    if let Err(error) = blocking::run(move || sync_with_config(&preparing)).await {
        tracing::error!("alerts of what is not watched any more stay until the next start: {error}");
    }
    let parts = Workers::start(state);
    tracing::info!("the new configuration is in use");
    parts
}

/// Brings what is kept into line with the configuration.
fn sync_with_config(state: &DaemonState) -> Result<(), StoreError> {
    let config = state.app.config();
    state.metrics.retain_configured(&config);
    alerts::close_orphaned_alerts(&state.app.store, &config, state.app.clock.now())?;
    for target in &config.targets {
        state.restore_last_success(&config, target)?;
    }
    Ok(())
}

impl Workers {
    /// Without tasks.
    fn empty(state: &DaemonState) -> Self {
        let group = || TaskGroup::new(state.fatal_errors.clone());
        Self { tasks: group(), leases: group() }
    }

    fn start(state: &Arc<DaemonState>) -> Self {
        let (parts, config) = (Self::empty(state), state.app.config());
        let (tasks, of) = (&parts.tasks, config.targets.len());
        let watched = config.targets.iter().enumerate().map(|(number, target)| TargetMonitor {
            state: Arc::clone(state),
            config: Arc::clone(&config),
            target: target.clone(),
            position: (number, of),
            wake: Arc::new(Notify::new()),
            stop: tasks.stop_token(),
        });
        let watched: Vec<TargetMonitor> = watched.collect();
        let wake_ups =
            watched.iter().map(|watching| (watching.target.name.clone(), Arc::clone(&watching.wake)));
        state.app.set_wake_notifiers(wake_ups.collect());
        for watching in watched {
            tasks.spawn("the watching of a target", watching.run());
        }
        if state.app.store.is_shared() {
            let names = config.targets.iter().map(|target| leadership::target_lease_name(&target.name));
            let leases = names.chain([leadership::DELIVERY_LEASE.to_owned()]).collect();
            let keeping = run_lease_renewal(Arc::clone(state), leases, parts.leases.stop_token());
            parts.leases.spawn("the keeping of leases", keeping);
        }
        tasks.spawn("the keeping of time", timekeeping::run(Arc::clone(state), tasks.stop_token()));
        state.ingest.set_sources(&config);
        logs::spawn_log_tasks(tasks, state, &config);
        auto_cleanup::spawn_cleanups(tasks, state, &config);
        tasks.spawn("the removal of what is too old", retention::run(Arc::clone(state), tasks.stop_token()));
        tasks.spawn("the delivery", delivery::run(Arc::clone(state), config, tasks.stop_token()));
        parts
    }

    /// Stops every task. Returns `true` if they did so in time, and none had ended in a panic.
    async fn stop(self) -> bool {
        let begun = Monotonic::now();
        let stopped = self.tasks.stop(WORKER_STOP_TIMEOUT).await;
        let released = self.leases.stop(WORKER_STOP_TIMEOUT.saturating_sub(begun.elapsed())).await;
        stopped && released
    }
}

/// Takes and renews leases until that is to stop, and then gives them up.
async fn run_lease_renewal(state: Arc<DaemonState>, leases: Vec<String>, stop: CancellationToken) {
    let leases = Arc::new(leases);
    let mut ticks = tokio::time::interval(LEASE_RENEWAL_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (state, leases) = (Arc::clone(&state), Arc::clone(&leases));
        blocking::run(move || state.app.lease_manager.renew_leases(&state.app.store, &leases)).await;
    }
    blocking::run(move || state.app.lease_manager.release_leases(&state.app.store)).await;
}
