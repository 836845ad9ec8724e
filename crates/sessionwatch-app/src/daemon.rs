//! The daemon: schedules check runs, stores results, sends notifications, serves HTTP.
//!
//! Schedulers are async tasks on one runtime. Every check run and every store access gets a blocking thread, so that a
//! slow or hung one delays no other. Notifications are committed together with the state change that caused them,
//! before anything is sent.

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
        AppState, failure_log,
        leadership::{self, LEASE_RENEWAL_INTERVAL, LeaseManager},
    },
    blocking,
    config::{Config, ConfigError, Target},
    schedule,
};

pub use self::{
    single_round::run_single_round, systemd::raise_open_files_limit, target_monitor::RoundResult,
};

/// Time limit for worker tasks to stop.
const WORKER_STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Deadline for statements to a PostgreSQL store during shutdown.
const STORE_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);
/// The number of `/metrics` responses that are rendered at the same time.
const MAX_CONCURRENT_SCRAPES: usize = 2;
/// Interval at which the path of the store is compared with the open file.
const STORE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The reason why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The listen address cannot be bound.
    #[error("cannot listen on {0}: the port may be in use; set another `listen` in [serve]")]
    Listen(std::net::SocketAddr),
    /// The TLS certificate or key cannot be loaded.
    #[error(
        "cannot load TLS certificate {0} with key {1}: check that both are readable PEM files that match"
    )]
    Certificate(std::path::PathBuf, std::path::PathBuf),
    /// The operating system refused a thread, socket or signal handler.
    #[error("the operating system refused a resource that the daemon needs")]
    System(#[from] std::io::Error),
}

/// A request to a running daemon.
#[derive(Debug)]
pub enum DaemonCommand {
    /// Shuts down; a second one shuts down without waiting.
    Stop,
    /// Reloads the configuration, or logs why the new one is invalid.
    Reload(Box<Result<Config, ConfigError>>),
}

/// The way into the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DashboardAccess {
    /// The URL at which accounts log in.
    Login(String),
    /// The setup link that creates the first account.
    SetupLink(String),
    /// None: no account exists, and a setup link is not offered on a public address.
    Unavailable,
}

/// State that the tasks of the daemon share.
#[derive(Debug)]
pub struct DaemonState {
    /// State of the application services.
    pub app: Arc<AppState>,
    timekeeper: timekeeping::Timekeeper,
    started_at: UtcTimestamp,
    /// Counters and last results, as served at `/metrics`.
    pub metrics: metrics::RuntimeMetrics,
    /// Current failures that have been logged, so that each is logged once.
    failures_logged: failure_log::FailureLog,
    ingest: logs::IngestPipeline,
    scrape_permits: Arc<tokio::sync::Semaphore>,
    /// Changes when messages were queued.
    delivery_wakeups: watch::Sender<u64>,
    fatal_errors: mpsc::UnboundedSender<String>,
    /// Counts the steps of the target monitors; the systemd watchdog observes it.
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
            let timekeeper = timekeeping::Timekeeper::start(&store, &clock)?;
            Ok::<_, StoreError>((store, clock, timekeeper))
        };
        let (store, clock, timekeeper) = blocking::run(opening).await?;
        // Unique among the daemons that share a store, or two of them would share their leases.
        let holder = config.serve.instance_name.clone().unwrap_or_else(systemd::default_instance_name);
        let leadership = LeaseManager::new(store.is_shared(), holder);
        let (fatal_errors, failed) = mpsc::unbounded_channel();
        let state = Arc::new(Self {
            started_at: clock.now(),
            timekeeper,
            app: Arc::new(AppState::new(store, clock, leadership, config)),
            metrics: metrics::RuntimeMetrics::default(),
            failures_logged: failure_log::FailureLog::default(),
            ingest: logs::IngestPipeline::default(),
            scrape_permits: Arc::new(tokio::sync::Semaphore::new(MAX_CONCURRENT_SCRAPES)),
            delivery_wakeups: watch::Sender::new(0),
            fatal_errors,
            heartbeats: AtomicU64::new(0),
        });
        Ok((state, failed))
    }

    fn wake_delivery(&self) {
        // A counter and not a flag: a worker that is busy delivering still sees that something new came.
        self.delivery_wakeups.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Restores the last successful check run of an earlier process, so that a restart does not report a target as
    /// stale.
    fn restore_last_success(&self, config: &Config, target: &Target) -> Result<(), StoreError> {
        if let Some(at) = self.app.store.read(|db| samples::last_success_at(db, &target.name))? {
            let until = schedule::fresh_until(&config.check_schedules(target), at, SignedDuration::ZERO);
            self.metrics.restore_success(&target.name, RunSuccess { at, valid_until: until });
        }
        Ok(())
    }

    /// Shuts the daemon down because of an unrecoverable failure.
    fn report_fatal(&self, why: &str) {
        // The receiver is gone only if the daemon has stopped already.
        let _ = self.fatal_errors.send(why.to_owned());
    }

    fn report_store_lost(&self, error: &StoreError) {
        // Writes would go to a file that no path leads to. A restart opens the file that is there now.
        self.report_fatal(&error.to_string());
    }

    /// Shuts the daemon down if the store's path no longer leads to the open file.
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

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    state: Arc<DaemonState>,
    workers: Workers,
    fatal_errors: mpsc::UnboundedReceiver<String>,
    listener: TcpListener,
    certificate: Option<listener::TlsCertificate>,
}

/// The worker tasks of one configuration.
#[derive(Debug)]
struct Workers {
    tasks: TaskGroup,
    /// Lease renewal. Stops after the other tasks, whose last writes need a valid lease.
    leases: TaskGroup,
}

impl Daemon {
    /// Opens the store and the listener, and starts the worker tasks.
    ///
    /// # Errors
    ///
    /// If the store cannot be opened, the address cannot be bound, or the TLS certificate cannot be loaded.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, DaemonError> {
        let (listen, tls) = (config.serve.listen, config.serve.tls.clone());
        let (state, fatal_errors) = DaemonState::open(config, clock).await?;
        // After the store is locked, so that a second daemon fails on the lock, whose message explains more.
        let listener = TcpListener::bind(listen).await.map_err(|_| DaemonError::Listen(listen))?;
        let certificate = match &tls {
            Some((certificate, key)) => Some(listener::TlsCertificate::load(certificate, key)?),
            None => None,
        };
        let preparing = Arc::clone(&state);
        // Before the workers start: they must not race with the closing of orphaned alerts.
        blocking::run(move || sync_with_config(&preparing)).await?;
        let workers = Workers::start(&state);
        Ok(Self { state, workers, fatal_errors, listener, certificate })
    }

    /// Returns the state that the tasks share.
    #[must_use]
    pub fn state(&self) -> &Arc<DaemonState> {
        &self.state
    }

    /// Returns the way into the dashboard.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or the listener's address is unavailable.
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
            // On a public address, the first visitor with the link would become admin.
            DashboardAccess::SetupLink(format!(
                "{public}/setup/{}",
                self.state.app.auth.create_setup_link(self.state.app.clock.now())
            ))
        } else {
            DashboardAccess::Unavailable
        })
    }

    /// Returns `https` if TLS is configured, else `http`.
    #[must_use]
    pub fn url_scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// Returns the bound address of the listener.
    ///
    /// # Errors
    ///
    /// If the operating system does not report it.
    pub fn listen_address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves HTTP and executes commands until asked to stop. Returns `true` if the daemon was asked to stop and all
    /// tasks finished in time, `false` after a fatal error, a timeout or a second stop.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a resource.
    pub async fn serve(
        mut self,
        dashboard: Router,
        commands: mpsc::UnboundedReceiver<DaemonCommand>,
    ) -> Result<bool, DaemonError> {
        // Wrapped, so that a stop that arrives during a reload is noticed before the workers start again.
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
                        // Reloading waits for running checks, so the watchdog must be served meanwhile.
                        let reloading = reload_config(&self.state, &mut commands, self.workers, *config);
                        self.workers = life.run_with_keepalive(reloading).await;
                    }
                    Some(DaemonCommand::Stop) | None => break true,
                },
                // One failed task stops the daemon: running on without it would look healthy from outside.
                why = self.fatal_errors.recv() => {
                    let why = why.as_deref().unwrap_or("a task ended unexpectedly");
                    tracing::error!("{why}: shutting down");
                    // Only for a lost store: after any other failure, the next daemon sends the outbox.
                    if self.state.app.store.verify_file_identity().is_err() {
                        life.run_with_keepalive(delivery::announce_shutdown(&self.state, why)).await;
                    }
                    break false;
                }
                () = life.tick() => {}
            }
        };
        systemd::notify_stopping();
        // PostgreSQL may be unreachable, and systemd kills a service that does not stop in time.
        self.state.app.store.set_deadline(Monotonic::now() + STORE_SHUTDOWN_TIMEOUT);
        let stopped = tokio::select! {
            (parts, jobs) = async {
                // An interrupted plan can be resumed with the same command or page.
                let jobs = self.state.app.background.stop();
                tokio::join!(self.workers.stop(), tokio::time::timeout(WORKER_STOP_TIMEOUT, jobs))
            } => parts && jobs.is_ok(),
            () = commands.wait_for_second_stop() => false,
        };
        let state = Arc::clone(&self.state);
        blocking::run(move || state.app.store.flush_memory_fallback()).await;
        // Requests in flight are dropped: a slow client must not delay the shutdown.
        close.cancel();
        pages.abort();
        Ok(asked && stopped)
    }
}

/// Returns the reason why a TLS certificate and key cannot be used; `None` if they can.
#[must_use]
pub fn certificate_problem(certificate: &Path, key: &Path) -> Option<String> {
    listener::load_tls_config(certificate, key).err().map(|error| format!("serve: {error}"))
}

fn open_store(place: &StoreLocation) -> Result<Store, StoreError> {
    let store = Store::open(place)?;
    // Exclusive: two daemons on one file would both send each notification.
    store.lock_exclusive()?;
    Ok(store)
}

/// Applies a new configuration, or keeps the current one if the new one is invalid.
async fn reload_config(
    state: &Arc<DaemonState>,
    commands: &mut CommandQueue,
    parts: Workers,
    config: Result<Config, ConfigError>,
) -> Workers {
    // systemd waits for `READY=1` after this, so both are sent even if the reload fails.
    systemd::notify_reloading();
    let parts = match validate_reload(state, config) {
        Some(config) => apply_config(state, commands, parts, config).await,
        None => parts,
    };
    systemd::notify_ready();
    parts
}

/// Returns the new configuration, with the settings of `[serve]` that need a restart unchanged; `None` if it is
/// invalid.
fn validate_reload(state: &DaemonState, config: Result<Config, ConfigError>) -> Option<Config> {
    let present = state.app.config();
    state.metrics.record_reload(config.is_ok());
    let refused = |why: &ConfigError| {
        tracing::error!("new configuration rejected, the current one stays active: {why}")
    };
    let mut config = config.inspect_err(refused).ok()?;
    let fixed = |serve: &crate::config::ServeConfig| (serve.listen, serve.store.clone(), serve.tls.clone());
    if fixed(&config.serve) != fixed(&present.serve) {
        tracing::warn!(
            "changes to `store`, `listen`, `tls_certificate` and `tls_key` in [serve] take effect after a restart"
        );
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
        tracing::warn!("a worker task did not stop in time and was left running");
    }
    if commands.check_stop_requested() {
        // Workers started now would be stopped at once.
        return Workers::empty(state);
    }
    state.app.set_config(config);
    let preparing = Arc::clone(state);
    if let Err(error) = blocking::run(move || sync_with_config(&preparing)).await {
        tracing::error!(
            "cannot resolve the alerts of removed targets and checks: {error}; the next start tries again"
        );
    }
    let parts = Workers::start(state);
    tracing::info!("new configuration active");
    parts
}

/// Aligns metrics and alerts with the configured targets, checks and channels.
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
    fn empty(state: &DaemonState) -> Self {
        let group = || TaskGroup::new(state.fatal_errors.clone());
        Self { tasks: group(), leases: group() }
    }

    fn start(state: &Arc<DaemonState>) -> Self {
        let (workers, config) = (Self::empty(state), state.app.config());
        let (tasks, of) = (&workers.tasks, config.targets.len());
        let monitors = config.targets.iter().enumerate().map(|(number, target)| TargetMonitor {
            state: Arc::clone(state),
            config: Arc::clone(&config),
            target: target.clone(),
            position: (number, of),
            wake: Arc::new(Notify::new()),
            stop: tasks.stop_token(),
        });
        let monitors: Vec<TargetMonitor> = monitors.collect();
        let wake_ups =
            monitors.iter().map(|monitor| (monitor.target.name.clone(), Arc::clone(&monitor.wake)));
        state.app.set_wake_notifiers(wake_ups.collect());
        for monitor in monitors {
            tasks.spawn("target monitor", monitor.run());
        }
        if state.app.store.is_shared() {
            let names = config.targets.iter().map(|target| leadership::target_lease_name(&target.name));
            let leases = names.chain([leadership::DELIVERY_LEASE.to_owned()]).collect();
            let keeping = run_lease_renewal(Arc::clone(state), leases, workers.leases.stop_token());
            workers.leases.spawn("lease renewal", keeping);
        }
        tasks.spawn("timekeeping", timekeeping::run(Arc::clone(state), tasks.stop_token()));
        state.ingest.set_sources(&config);
        logs::spawn_log_tasks(tasks, state, &config);
        auto_cleanup::spawn_cleanups(tasks, state, &config);
        tasks.spawn("retention", retention::run(Arc::clone(state), tasks.stop_token()));
        tasks.spawn("delivery", delivery::run(Arc::clone(state), config, tasks.stop_token()));
        workers
    }

    /// Stops all tasks. Returns `true` if they stopped in time and none panicked.
    async fn stop(self) -> bool {
        let begun = Monotonic::now();
        let stopped = self.tasks.stop(WORKER_STOP_TIMEOUT).await;
        let released = self.leases.stop(WORKER_STOP_TIMEOUT.saturating_sub(begun.elapsed())).await;
        stopped && released
    }
}

/// Acquires and renews leases until stopped, then releases them.
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
