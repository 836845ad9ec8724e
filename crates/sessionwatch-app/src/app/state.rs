//! Shared state of all use cases.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use sessionwatch_clock::Clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{Store, StoreError, transaction::Tx};
use tokio::sync::{Notify, Semaphore, broadcast};

use super::{
    AppError,
    auth_state::AuthState,
    background::BackgroundTasks,
    connection_pool::ConnectionPool,
    leadership::{self, LeaseManager},
    plan_jobs::PlanJobs,
};
use crate::{
    blocking,
    config::{Config, Target},
};

// A dashboard with many viewers must not load the monitored databases.
const MAX_CONCURRENT_QUERIES: usize = 4;
// Each call takes a thread and file descriptors. Reads and writes have separate permits.
const MAX_CONCURRENT_STORE_CALLS: usize = 8;
/// Number of events by which a receiver may lag before it loses some.
const LIVE_EVENT_CAPACITY: usize = 256;

/// Event for open dashboard pages and API clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// The results of a check run were stored.
    RunFinished {
        /// Target name.
        target: String,
        /// Time of the run.
        at: UtcTimestamp,
    },
    /// The log checks of a target were evaluated.
    LogsEvaluated {
        /// Target name.
        target: String,
        /// Time of the evaluation.
        at: UtcTimestamp,
    },
    /// An action on a target succeeded or failed.
    TargetChanged {
        /// Target name.
        target: String,
    },
    /// A delivery to a channel succeeded or failed.
    DeliveryFinished {
        /// Channel name.
        channel: String,
    },
    /// Login sessions ended, or accounts were deleted.
    LoginsEnded,
}

/// Shared state of all use cases.
#[derive(Debug)]
pub struct AppState {
    /// State store.
    pub store: Store,
    /// Clock; for a shared store, that of its server, so that all daemons agree on the time.
    pub clock: Clock,
    /// Leases held by this process.
    pub lease_manager: LeaseManager,
    /// In-memory state of authentication.
    pub auth: AuthState,
    /// Tasks that outlive a request.
    pub background: BackgroundTasks,
    /// Plans that are applied from the dashboard or the API.
    pub plan_jobs: Arc<PlanJobs>,
    /// Sender of live events.
    pub events: broadcast::Sender<LiveEvent>,
    pub(super) connection_pool: Arc<ConnectionPool>,
    pub(super) query_permits: Arc<Semaphore>,
    read_permits: Arc<Semaphore>,
    write_permits: Arc<Semaphore>,
    config: RwLock<Arc<Config>>,
    /// Wakes the monitors of targets, by target name.
    wake_notifiers: RwLock<BTreeMap<String, Arc<Notify>>>,
    /// Time of the next check run in this process, by target name.
    next_runs: Mutex<BTreeMap<String, UtcTimestamp>>,
}

impl AppState {
    /// Creates the state.
    #[must_use]
    pub fn new(store: Store, clock: Clock, lease_manager: LeaseManager, config: Config) -> Self {
        Self {
            store,
            clock,
            lease_manager,
            auth: AuthState::default(),
            background: BackgroundTasks::default(),
            plan_jobs: Arc::default(),
            events: broadcast::Sender::new(LIVE_EVENT_CAPACITY),
            connection_pool: Arc::default(),
            query_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_QUERIES)),
            read_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_STORE_CALLS)),
            write_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_STORE_CALLS)),
            config: RwLock::new(Arc::new(config)),
            wake_notifiers: RwLock::default(),
            next_runs: Mutex::default(),
        }
    }

    /// Creates the state for a single command, which holds no leases.
    ///
    /// # Errors
    ///
    /// If the time of the store's server cannot be read.
    pub fn for_command(store: Store, config: Config) -> Result<Arc<Self>, StoreError> {
        let clock = store.shared_clock(Clock::System)?;
        // A command never renews a lease, so the name of the holder is not used.
        let leadership = LeaseManager::new(store.is_shared(), String::new());
        Ok(Arc::new(Self::new(store, clock, leadership, config)))
    }

    /// Returns the current configuration.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration.
    pub(crate) fn set_config(&self, config: Config) {
        // The lock is held only to swap the pointer; requests in progress keep their old configuration.
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Returns the configured target with that name.
    ///
    /// # Errors
    ///
    /// If no target has that name.
    pub fn target(&self, name: &str) -> Result<Target, AppError> {
        let config = self.config();
        let found = config.targets.iter().find(|target| target.name == name);
        found.cloned().ok_or_else(|| AppError::NotFound(format!("Target “{name}” not found.")))
    }

    /// Sends a live event to all receivers.
    pub(crate) fn publish(&self, event: LiveEvent) {
        // Fails if there is no receiver, that is, no open page.
        let _ = self.events.send(event);
    }

    /// Sets the notifiers that wake the monitors, by target name.
    pub(crate) fn set_wake_notifiers(&self, notifiers: BTreeMap<String, Arc<Notify>>) {
        *self.wake_notifiers.write().unwrap_or_else(PoisonError::into_inner) = notifiers;
    }

    /// Triggers a check run, because the database of a target is awake or has just changed. Returns `false` if the
    /// target does not exist.
    pub(crate) fn wake_target(&self, target: &str) -> bool {
        let notifiers = self.wake_notifiers.read().unwrap_or_else(PoisonError::into_inner);
        notifiers.get(target).inspect(|notifier| notifier.notify_one()).is_some()
    }

    /// Returns `true` if this process holds the lease of a target.
    #[must_use]
    pub fn leads_target(&self, target: &str) -> bool {
        self.lease_manager.epoch(&leadership::target_lease_name(target)).is_some()
    }

    /// Sets the time of the next check run of a target in this process.
    pub(crate) fn set_next_run(&self, target: &str, at: UtcTimestamp) {
        // A panic elsewhere does not corrupt a map of timestamps, so poisoning is ignored.
        self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned(), at);
    }

    /// Clears the time of the next check run, for a target whose lease this process has lost.
    pub(crate) fn clear_next_run(&self, target: &str) {
        self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }

    /// Returns the time of the next check run of a target; `None` if another process holds its lease.
    #[must_use]
    pub fn next_run_at(&self, target: &str) -> Option<UtcTimestamp> {
        let next = self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied();
        // A lost lease leaves the entry behind until the monitor notices, so leadership is checked as well.
        next.filter(|_| self.leads_target(target))
    }

    /// Reads from the state store on a blocking thread. Waits for a permit if too many calls are running.
    ///
    /// # Errors
    ///
    /// If the state store is unavailable.
    pub async fn read_store<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let app = Arc::clone(self);
        // Moved into the closure: a caller that goes away must not release the permit while the thread is still
        // working.
        let permit = Arc::clone(&app.read_permits).acquire_owned().await;
        let read = move || {
            let _permit = permit;
            app.store.read(work)
        };
        Ok(blocking::run_catching(read).await.ok_or(AppError::Internal("a read panicked"))??)
    }

    /// Writes to the state store in one transaction on a blocking thread. Waits for a permit if too many calls are
    /// running.
    /// `work` can run several times, because a transaction that conflicts with another one is retried.
    ///
    /// # Errors
    ///
    /// If the state store is unavailable; nothing was written.
    pub async fn write_store<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let app = Arc::clone(self);
        // Separate from reads: a slow writer must not keep pages from being shown.
        let permit = Arc::clone(&app.write_permits).acquire_owned().await;
        let write = move || {
            let _permit = permit;
            app.store.write(work)
        };
        Ok(blocking::run_catching(write).await.ok_or(AppError::Internal("a write panicked"))??)
    }
}
