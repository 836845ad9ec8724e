//! The daemon: looks at every target in its rhythm, keeps what changes, tells whom it concerns, serves metrics.
//!
//! Each target has a thread of its own, so that one that is slow or hangs delays no other. What is to be told is written
//! with what it tells of, before anything is sent.

pub mod deliver;
pub mod metrics;
pub mod round;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
    time::MissedTickBehavior,
};

use crate::{
    clock,
    config::{Config, Target},
    look::{self, Memory, Request},
    store::{Store, StoreError, outbox},
};

/// How long the parts may take to stop.
const STOPPING: Duration = Duration::from_secs(8);
/// First looks are spread over so long, that many targets do not ask at once.
const SPLAY: Duration = Duration::from_secs(20);
/// How often the outbox is looked at without being told to.
const DELIVERY: Duration = Duration::from_secs(5);

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port.
    #[error("cannot listen on {0}: is another program there?")]
    Listen(std::net::SocketAddr),
    /// The system refused a thread or a signal.
    #[error("the system refused what the daemon needs to run")]
    System(#[from] std::io::Error),
    /// TLS could not be set up for delivery.
    #[error("HTTPS cannot be set up for the channels")]
    Https,
}

/// What the parts share.
#[derive(Debug)]
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// The memory.
    pub store: Store,
    /// What was seen last.
    pub latest: metrics::Latest,
    /// Something is to be delivered.
    pub nudge: Notify,
}

/// The daemon, running.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    ended: mpsc::UnboundedReceiver<()>,
    listener: TcpListener,
}

/// Tells the daemon that a thread has ended, however it ended.
struct End(mpsc::UnboundedSender<()>);

impl Drop for End {
    fn drop(&mut self) {
        // A daemon that has stopped need not know.
        let _ = self.0.send(());
    }
}

impl Daemon {
    /// Opens the store and the port, and starts looking and telling.
    ///
    /// # Errors
    ///
    /// If the store or the port cannot be had.
    pub async fn start(config: Config) -> Result<Self, DaemonError> {
        let store = Store::open(&config.serve.store)?;
        let listen = config.serve.listen;
        let listener = TcpListener::bind(listen).await.map_err(|_| DaemonError::Listen(listen))?;
        let client = deliver::client().map_err(|_| DaemonError::Https)?;
        let shared =
            Arc::new(Shared { config, store, latest: metrics::Latest::default(), nudge: Notify::new() });
        let (stop, stopping) = watch::channel(false);
        let (end, ended) = mpsc::unbounded_channel();
        let mut threads = Vec::new();
        let count = u32::try_from(shared.config.targets.len()).unwrap_or(u32::MAX).max(1);
        for (number, target) in (0u32..).zip(shared.config.targets.clone()) {
            let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
            // A single target is looked at at once.
            let delay = SPLAY.min(target.every) * number / count;
            let name = format!("watch {}", target.name);
            let end = End(end.clone());
            threads.push(thread(name, end, move || watch_target(shared, target, delay, stopping))?);
        }
        let delivering = Arc::clone(&shared);
        threads.push(thread("deliver".into(), End(end), move || deliver_all(delivering, client, stopping))?);
        Ok(Self { shared, threads, stop, ended, listener })
    }

    /// The address at which metrics are served.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves metrics until `shutdown`, then stops every part: whether all of them did their work to the end, and stopped
    /// in time. A part that ends by itself stops the others: half a watch would look like a whole one.
    ///
    /// # Errors
    ///
    /// If the port fails.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<bool, DaemonError> {
        let router = metrics::router(Arc::clone(&self.shared));
        let (asked, mut ended) = (Arc::new(AtomicBool::new(false)), self.ended);
        let noted = Arc::clone(&asked);
        let until = async move {
            tokio::select! {
                () = shutdown => noted.store(true, Ordering::Relaxed),
                _ = ended.recv() => tracing::error!("a part of the daemon ended by itself"),
            }
        };
        axum::serve(self.listener, router).with_graceful_shutdown(until).await?;
        // Without anybody who listens there is nobody left to stop.
        let _ = self.stop.send(true);
        let joined =
            tokio::task::spawn_blocking(move || self.threads.into_iter().all(|thread| thread.join().is_ok()));
        let stopped = matches!(tokio::time::timeout(STOPPING, joined).await, Ok(Ok(true)));
        Ok(stopped && asked.load(Ordering::Relaxed))
    }
}

/// A thread that does the work on a runtime of its own, where it may also compute and wait for a file.
fn thread<F: Future<Output = ()>>(
    name: String,
    end: End,
    work: impl FnOnce() -> F + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        let _end = end;
        runtime.block_on(work());
    })
}

/// Looks at one target in its rhythm; ticks that were missed are left out.
async fn watch_target(
    shared: Arc<Shared>,
    target: Target,
    delay: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + delay, target.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut memory = Memory::default();
    loop {
        tokio::select! {
            () = next_look(&mut ticks, (&shared, &target), &mut memory) => {}
            // A look that is under way is dropped: nothing of it is kept, and the database ends its query.
            _ = stopping.changed() => return,
        }
    }
}

async fn next_look(
    ticks: &mut tokio::time::Interval,
    (shared, target): (&Shared, &Target),
    memory: &mut Memory,
) {
    ticks.tick().await;
    look_once(shared, target, memory).await;
}

async fn look_once(shared: &Shared, target: &Target, memory: &mut Memory) {
    let (catalogue, rules) = (shared.config.catalogue.as_slice(), &shared.config.rules);
    let report =
        look::look(Request { target, catalogue, rules, deep: false, only: &[], memory: Some(memory) }).await;
    let now = clock::now();
    shared.latest.put(&target.name, &report);
    match round::keep(&shared.store, &report, &shared.config.serve, now) {
        Ok(told) => {
            memory.keep(report);
            tracing::debug!(target = target.name, told, "looked");
            if told > 0 {
                shared.nudge.notify_one();
            }
        }
        // Watching goes on: the next look finds the same, and tells it then.
        Err(error) => tracing::error!(target = target.name, "what was seen could not be kept: {error}"),
    }
}

/// Delivers what is due, when there is something new and from time to time.
async fn deliver_all(shared: Arc<Shared>, client: reqwest::Client, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(DELIVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = next_delivery(&mut ticks, &shared, &client) => {}
            // A delivery that is under way is dropped, and made again by the next daemon, with the same key.
            _ = stopping.changed() => return,
        }
    }
}

async fn next_delivery(ticks: &mut tokio::time::Interval, shared: &Shared, client: &reqwest::Client) {
    tokio::select! {
        _ = ticks.tick() => {}
        () = shared.nudge.notified() => {}
    }
    deliver_due(shared, client).await;
}

async fn deliver_due(shared: &Shared, client: &reqwest::Client) {
    const AT_ONCE: u32 = 50;
    let due = match shared.store.read(|connection| outbox::due(connection, clock::now(), AT_ONCE)) {
        Ok(due) => due,
        Err(error) => return tracing::error!("the outbox cannot be read: {error}"),
    };
    for message in due {
        let outcome = deliver::deliver(client, &shared.config.serve.channels, &message, clock::now()).await;
        if let Err(failure) = &outcome {
            tracing::warn!(
                channel = message.channel,
                attempts = message.attempts + 1,
                "not delivered: {failure}"
            );
        }
        let kept = shared.store.write(|transaction| match &outcome {
            Ok(()) => outbox::delivered(transaction, message.id),
            Err(failure) => {
                let why = failure.to_string();
                outbox::failed(transaction, &message, (&why, failure.retry_after()), clock::now())
            }
        });
        if let Err(error) = kept {
            // It is delivered again later, with the same key.
            tracing::error!("a delivery could not be noted: {error}");
        }
    }
}
