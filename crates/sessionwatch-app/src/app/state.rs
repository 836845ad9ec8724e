//! What all use cases share.

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
    auth::AuthState,
    background::BackgroundTasks,
    connection_pool::ConnectionPool,
    leadership::{self, LeaseManager},
    plan_jobs::PlanJobs,
};
use crate::{
    blocking,
    config::{Config, Target},
};

/// People who may query databases at the same time.
const MAX_CONCURRENT_QUERIES: usize = 4;
/// Pages that read the store at the same time, or write it: each takes a thread and files, and the others wait.
const MAX_CONCURRENT_STORE_CALLS: usize = 8;
/// Events that a listener may lag behind.
const LIVE_EVENT_CAPACITY: usize = 256;

/// Something that listeners may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// A look was kept.
    RunFinished {
        /// The target.
        target: String,
        /// When.
        at: UtcTimestamp,
    },
    /// What logs say was judged.
    LogsEvaluated {
        /// The target.
        target: String,
        /// When.
        at: UtcTimestamp,
    },
    /// A plan was carried out, or could not be.
    TargetChanged {
        /// The target.
        target: String,
    },
    /// A channel took messages, or did not.
    DeliveryFinished {
        /// The channel.
        channel: String,
    },
    /// Logins to the dashboard ended, or accounts were removed.
    LoginsEnded,
}

/// What all use cases share.
#[derive(Debug)]
pub struct AppState {
    /// The store.
    pub store: Store,
    /// The time: that of the store's server, where the store is on one.
    pub clock: Clock,
    /// Which targets this process leads.
    pub lease_manager: LeaseManager,
    /// What logging in keeps in memory.
    pub auth: AuthState,
    /// What goes on though nobody waits for it.
    pub background: BackgroundTasks,
    /// Plans that people carry out on the dashboard.
    pub plan_jobs: Arc<PlanJobs>,
    /// What happens.
    pub events: broadcast::Sender<LiveEvent>,
    /// Connections to databases that wait for the next query.
    pub(super) connection_pool: Arc<ConnectionPool>,
    /// How many people may query databases at the same time.
    pub(super) query_permits: Arc<Semaphore>,
    read_permits: Arc<Semaphore>,
    write_permits: Arc<Semaphore>,
    config: RwLock<Arc<Config>>,
    /// Who waits to hear that a database is awake, by target.
    wake_notifiers: RwLock<BTreeMap<String, Arc<Notify>>>,
    /// When this process runs the checks of a target next.
    next_runs: Mutex<BTreeMap<String, UtcTimestamp>>,
}

impl AppState {
    /// Puts it together.
    #[must_use]
    pub fn new(store: Store, clock: Clock, leadership: LeaseManager, config: Config) -> Self {
        Self {
            store,
            clock,
            lease_manager: leadership,
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

    /// The same for one command, which leads nothing and waits for nobody.
    ///
    /// # Errors
    ///
    /// If the server that the store is on does not say what time it is.
    pub fn for_command(store: Store, config: Config) -> Result<Arc<Self>, StoreError> {
        let clock = store.shared_clock(Clock::System)?;
        let leadership = LeaseManager::new(store.is_shared(), String::new());
        Ok(Arc::new(Self::new(store, clock, leadership, config)))
    }

    /// The present configuration.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with another configuration.
    pub(crate) fn set_config(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The target of a name.
    ///
    /// # Errors
    ///
    /// If none is configured under that name.
    pub fn target(&self, name: &str) -> Result<Target, AppError> {
        let config = self.config();
        let found = config.targets.iter().find(|target| target.name == name);
        found.cloned().ok_or_else(|| AppError::NotFound(format!("There is no target “{name}”.")))
    }

    /// Tells whoever listens what happened.
    pub(crate) fn publish(&self, event: LiveEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Sets whom to tell that the database of a target is awake.
    pub(crate) fn set_wake_notifiers(&self, notifiers: BTreeMap<String, Arc<Notify>>) {
        *self.wake_notifiers.write().unwrap_or_else(PoisonError::into_inner) = notifiers;
    }

    /// Tells that the database of a target is awake, or that something has just changed in it. Returns `true` if there is
    /// such a target.
    pub(crate) fn wake_target(&self, target: &str) -> bool {
        let wake_ups = self.wake_notifiers.read().unwrap_or_else(PoisonError::into_inner);
        wake_ups.get(target).inspect(|waiting| waiting.notify_one()).is_some()
    }

    /// Returns `true` if this process leads a target.
    #[must_use]
    pub fn leads_target(&self, target: &str) -> bool {
        self.lease_manager.epoch(&leadership::target_lease_name(target)).is_some()
    }

    /// Sets when this process runs the checks of a target next.
    pub(crate) fn set_next_run(&self, target: &str, at: UtcTimestamp) {
        self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned(), at);
    }

    /// Forgets when that is, for a target that this process did not lead meanwhile.
    pub(crate) fn clear_next_run(&self, target: &str) {
        self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }

    /// When this process runs the checks of a target next; `None` if another one leads it.
    #[must_use]
    pub fn next_run_at(&self, target: &str) -> Option<UtcTimestamp> {
        let next = self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied();
        next.filter(|_| self.leads_target(target))
    }

    /// Reads from the store, which may have to be waited for.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn read_store<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let app = Arc::clone(self);
        // It is given back when the work has ended, whether or not anybody still waits for it.
        let permit = Arc::clone(&app.read_permits).acquire_owned().await;
        let read = move || {
            let _permit = permit;
            app.store.read(work)
        };
        Ok(blocking::run_catching(read).await.ok_or(AppError::Internal("a read ended in a panic"))??)
    }

    /// Writes into the store, in one transaction, which may have to be waited for and begun anew.
    ///
    /// # Errors
    ///
    /// If the store does not answer: nothing was written.
    pub async fn write_store<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let app = Arc::clone(self);
        // It is given back when the work has ended, whether or not anybody still waits for it.
        let permit = Arc::clone(&app.write_permits).acquire_owned().await;
        let write = move || {
            let _permit = permit;
            app.store.write(work)
        };
        Ok(blocking::run_catching(write).await.ok_or(AppError::Internal("a write ended in a panic"))??)
    }
}
