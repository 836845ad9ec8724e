//! What all use cases share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use sessionwatch_clock::Clock;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{Store, StoreError, db::Db};
use tokio::sync::{Notify, Semaphore, broadcast};

use super::{
    AppError,
    auth::AuthState,
    background::BackgroundTasks,
    connection_pool::ConnectionPool,
    leadership::{self, Leadership},
    plan_jobs::PlanJobs,
};
use crate::{
    blocking,
    config::{Config, Target},
};

/// People who may query databases at the same time.
const QUERY_LIMIT: usize = 4;
/// Pages that read the store at the same time, or write it: each takes a thread and files, and the others wait.
const STORE_LIMIT: usize = 8;
/// Events that a listener may lag behind.
const EVENT_CAPACITY: usize = 256;

/// Something that listeners may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// A look was kept.
    Looked {
        /// The target.
        target: String,
        /// When.
        at: Instant,
    },
    /// What logs say was judged.
    Judged {
        /// The target.
        target: String,
        /// When.
        at: Instant,
    },
    /// A plan was carried out, or could not be.
    Acted {
        /// The target.
        target: String,
    },
    /// A channel took messages, or did not.
    Delivered {
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
    pub leadership: Leadership,
    /// What logging in keeps in memory.
    pub auth: AuthState,
    /// What goes on though nobody waits for it.
    pub background: BackgroundTasks,
    /// Plans that people carry out on the dashboard.
    pub plan_jobs: Arc<PlanJobs>,
    /// What happens.
    pub events: broadcast::Sender<LiveEvent>,
    /// Connections to databases that wait for the next query.
    pub(super) connections: Arc<ConnectionPool>,
    /// How many people may query databases at the same time.
    pub(super) query_permits: Arc<Semaphore>,
    store_reads: Arc<Semaphore>,
    store_writes: Arc<Semaphore>,
    config: RwLock<Arc<Config>>,
    /// Who waits to hear that a database is awake, by target.
    wake_ups: RwLock<BTreeMap<String, Arc<Notify>>>,
    /// When this process runs the checks of a target next.
    next_runs: Mutex<BTreeMap<String, Instant>>,
}

impl AppState {
    /// Puts it together.
    #[must_use]
    pub fn new(store: Store, clock: Clock, leadership: Leadership, config: Config) -> Self {
        Self {
            store,
            clock,
            leadership,
            auth: AuthState::default(),
            background: BackgroundTasks::default(),
            plan_jobs: Arc::default(),
            events: broadcast::Sender::new(EVENT_CAPACITY),
            connections: Arc::default(),
            query_permits: Arc::new(Semaphore::new(QUERY_LIMIT)),
            store_reads: Arc::new(Semaphore::new(STORE_LIMIT)),
            store_writes: Arc::new(Semaphore::new(STORE_LIMIT)),
            config: RwLock::new(Arc::new(config)),
            wake_ups: RwLock::default(),
            next_runs: Mutex::default(),
        }
    }

    /// The same for one command, which leads nothing and waits for nobody.
    ///
    /// # Errors
    ///
    /// If the server that the store is on does not say what time it is.
    pub fn for_command(store: Store, config: Config) -> Result<Arc<Self>, StoreError> {
        let clock = store.clock(Clock::System)?;
        let leadership = Leadership::new(store.is_shared(), String::new());
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
    pub(crate) fn set_wake_ups(&self, wake_ups: BTreeMap<String, Arc<Notify>>) {
        *self.wake_ups.write().unwrap_or_else(PoisonError::into_inner) = wake_ups;
    }

    /// Tells that the database of a target is awake, or that something has just changed in it. Returns `true` if there is
    /// such a target.
    pub(crate) fn wake_target(&self, target: &str) -> bool {
        let wake_ups = self.wake_ups.read().unwrap_or_else(PoisonError::into_inner);
        wake_ups.get(target).inspect(|waiting| waiting.notify_one()).is_some()
    }

    /// Returns `true` if this process leads a target.
    #[must_use]
    pub fn leads(&self, target: &str) -> bool {
        self.leadership.term(&leadership::lease(target)).is_some()
    }

    /// Sets when this process runs the checks of a target next.
    pub(crate) fn set_next_run(&self, target: &str, at: Instant) {
        self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned(), at);
    }

    /// Forgets when that is, for a target that this process did not lead meanwhile.
    pub(crate) fn forget_next_run(&self, target: &str) {
        self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }

    /// When this process runs the checks of a target next; `None` if another one leads it.
    #[must_use]
    pub fn next_run(&self, target: &str) -> Option<Instant> {
        let next = self.next_runs.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied();
        next.filter(|_| self.leads(target))
    }

    /// Reads from the store, which may have to be waited for.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let app = Arc::clone(self);
        // It is given back when the work has ended, whether or not anybody still waits for it.
        let permit = Arc::clone(&app.store_reads).acquire_owned().await;
        let read = move || {
            let _permit = permit;
            app.store.read(work)
        };
        Ok(blocking::run_caught(read).await.ok_or(AppError::Internal("a read ended in a panic"))??)
    }

    /// Writes into the store, in one transaction, which may have to be waited for and begun anew.
    ///
    /// # Errors
    ///
    /// If the store does not answer: nothing was written.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AppError> {
        let app = Arc::clone(self);
        // It is given back when the work has ended, whether or not anybody still waits for it.
        let permit = Arc::clone(&app.store_writes).acquire_owned().await;
        let write = move || {
            let _permit = permit;
            app.store.write(work)
        };
        Ok(blocking::run_caught(write).await.ok_or(AppError::Internal("a write ended in a panic"))??)
    }
}
