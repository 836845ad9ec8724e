//! The log pipeline of the daemon: tails files, listens for syslog, stores batches from log drains, and evaluates log
//! events.

mod evaluator;
mod tail;

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use sessionwatch_core::{duration::saturating_micros, timestamp::UtcTimestamp};
use sessionwatch_logs::{matchers::Matchers, timestamps::TimestampDefaults as Reading};
use sessionwatch_store::StoreError;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{Semaphore, SemaphorePermit, watch},
};
use tokio_util::sync::CancellationToken;

use self::evaluator::LogEvaluator;
use super::{
    DaemonState,
    tasks::{TaskGroup, wait_to_retry},
};
use crate::{
    app::network_concurrency::{NetworkConcurrency, NetworkPermit},
    blocking,
    config::{
        Config,
        logs::{LogSourceConfig, LogSourceKind},
    },
    logs::{
        log_batch::{self, LogBatch},
        syslog::{LogBatchStore, SenderAllowlist, SyslogServer},
    },
};

/// Delay before a failed operation is retried.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// The maximum number of batches that are parsed and stored at the same time; further senders get status 503.
const MAX_CONCURRENT_BATCHES: usize = 8;
/// The maximum number of request bodies in flight from authenticated senders.
const MAX_INFLIGHT_REQUESTS: usize = 32;
/// The maximum number of request bodies in flight that are authenticated only once complete, and so may be from anyone.
const MAX_UNSIGNED_REQUESTS: usize = 32;
/// The maximum number of those from one network.
const MAX_UNSIGNED_REQUESTS_PER_NETWORK: usize = 8;

/// A log source with its line matchers.
#[derive(Clone, Debug)]
pub(super) struct IngestSource {
    pub(super) source: LogSourceConfig,
    pub(super) matchers: Matchers,
}

/// State shared by the tasks that read and evaluate logs.
#[derive(Debug)]
pub(super) struct IngestPipeline {
    sources: std::sync::RwLock<Arc<Vec<IngestSource>>>,
    batch_permits: Semaphore,
    request_permits: Semaphore,
    /// Request bodies in flight that are not authenticated yet, by network.
    unsigned_requests: NetworkConcurrency,
    /// Changes when there are new events to evaluate.
    new_events: watch::Sender<u64>,
}

impl Default for IngestPipeline {
    fn default() -> Self {
        let new_events = watch::Sender::new(0);
        let (batch_permits, request_permits) =
            (Semaphore::new(MAX_CONCURRENT_BATCHES), Semaphore::new(MAX_INFLIGHT_REQUESTS));
        let unsigned_requests =
            NetworkConcurrency::new(MAX_UNSIGNED_REQUESTS, MAX_UNSIGNED_REQUESTS_PER_NETWORK);
        Self {
            sources: std::sync::RwLock::default(),
            batch_permits,
            request_permits,
            unsigned_requests,
            new_events,
        }
    }
}

/// The reason for which a batch was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IngestRejection {
    /// Too many requests are in progress.
    Busy,
    /// The store cannot be written, or is in memory only because the disk is full.
    Store,
}

impl IngestSource {
    /// Returns the matchers, with timestamps that lack a year or zone completed relative to `now`.
    pub(super) fn matchers_at(&self, now: UtcTimestamp) -> Matchers {
        self.matchers.with_time_defaults(Reading {
            offset_us: saturating_micros(self.source.utc_offset_at(now)),
            reference: now,
        })
    }
}

impl IngestPipeline {
    /// Returns the sources of the current configuration.
    pub(super) fn sources(&self) -> Arc<Vec<IngestSource>> {
        Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the sources with those of a new configuration.
    pub(super) fn set_sources(&self, config: &Config) {
        // Compiled once and cloned: the patterns are the same for all sources.
        let grammar = Matchers::new(config.logs.line_patterns(), Reading::default());
        let listened =
            |source: &LogSourceConfig| IngestSource { source: source.clone(), matchers: grammar.clone() };
        let all = Arc::new(config.logs.sources.iter().map(listened).collect::<Vec<_>>());
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// Admits a request body from an authenticated sender, unless too many are in flight.
pub(super) fn try_accept_request(state: &DaemonState) -> Result<SemaphorePermit<'_>, IngestRejection> {
    state.ingest.request_permits.try_acquire().map_err(|_| IngestRejection::Busy)
}

/// Admits a request body from an unauthenticated sender, unless too many are in flight in total or from its network. A
/// slow attacker thus takes no permit from authenticated senders, and few from other networks.
pub(super) fn try_accept_unsigned(
    state: &DaemonState,
    network: IpNet,
) -> Result<NetworkPermit, IngestRejection> {
    state.ingest.unsigned_requests.try_acquire(network).ok_or(IngestRejection::Busy)
}

/// Admits a batch to be parsed and stored, unless too many are in progress.
pub(super) fn try_accept_batch(state: &DaemonState) -> Result<SemaphorePermit<'_>, IngestRejection> {
    state.ingest.batch_permits.try_acquire().map_err(|_| IngestRejection::Busy)
}

/// Stores a batch durably.
pub(super) async fn write_batch(state: &Arc<DaemonState>, batch: LogBatch) -> Result<(), IngestRejection> {
    let to_write = Arc::clone(state);
    // Awaited by the sender: success is reported only for what a crash cannot lose.
    let written = blocking::run_catching(move || {
        let now = to_write.app.clock.now();
        let new = to_write.app.store.write(|db| log_batch::record_batch(db, &batch, now))?;
        // Asked after the write, since the write itself may have caused the fallback.
        Ok::<_, StoreError>((new, to_write.app.store.is_memory_fallback()))
    });
    match written.await {
        Some(Ok((new, is_in_memory))) => {
            // A repeated batch has no new events, and evaluating again would change nothing.
            if new > 0 {
                state.ingest.new_events.send_modify(|count| *count = count.wrapping_add(1));
            }
            // The sender should resend: events in memory are lost with the process.
            if is_in_memory { Err(IngestRejection::Store) } else { Ok(()) }
        }
        Some(Err(error)) => {
            tracing::error!("cannot store log events: {error}");
            Err(IngestRejection::Store)
        }
        None => Err(IngestRejection::Store),
    }
}

/// Starts the tasks that read and evaluate logs.
pub(super) fn spawn_log_tasks(tasks: &TaskGroup, state: &Arc<DaemonState>, config: &Arc<Config>) {
    let sources = state.ingest.sources();
    for source in sources.iter().cloned() {
        let (state, stop) = (Arc::clone(state), tasks.stop_token());
        match source.source.kind.clone() {
            LogSourceKind::File(path) => tasks.spawn("log tail", tail::run_tail(state, source, path, stop)),
            LogSourceKind::Syslog { listen, senders } => {
                let syslog = SyslogSource { state, source, address: listen, senders, stop };
                tasks.spawn("syslog", listen_for_syslog(syslog));
            }
            // These arrive over the HTTP listener.
            LogSourceKind::Vercel { .. } | LogSourceKind::Http(_) => {}
        }
    }
    // Only targets with log sources: for others, log checks would never have an event to evaluate.
    for target in
        config.targets.iter().filter(|target| config.logs.sources_for_target(&target.name).next().is_some())
    {
        let evaluator = LogEvaluator::new(state, config, target.clone());
        tasks.spawn("log evaluation", evaluator.run(tasks.stop_token()));
    }
}

/// Stores the batches of a syslog server.
#[derive(Clone, Debug)]
struct BatchSink(Arc<DaemonState>);

impl LogBatchStore for BatchSink {
    async fn store_batch(&self, batch: LogBatch) -> bool {
        write_batch(&self.0, batch).await.is_ok()
    }
}

/// A configured syslog source.
struct SyslogSource {
    state: Arc<DaemonState>,
    source: IngestSource,
    address: SocketAddr,
    senders: Vec<IpNet>,
    stop: CancellationToken,
}

/// Listens for syslog over TCP and UDP until stopped.
async fn listen_for_syslog(syslog: SyslogSource) {
    let SyslogSource { state, source, address, senders, stop } = syslog;
    let name = source.source.name.clone();
    while !stop.is_cancelled() {
        let bound = async {
            // Both or none, so that a source does not count as listening while half of its senders are refused.
            Ok::<_, std::io::Error>((TcpListener::bind(address).await?, UdpSocket::bind(address).await?))
        };
        match bound.await {
            Ok((tcp, udp)) => {
                // Compiled per start of the listener, as completing a date needs a recent reference time.
                let grammar = Arc::new(source.matchers_at(state.app.clock.now()));
                let names = (name.clone(), source.source.target.clone());
                let keep = BatchSink(Arc::clone(&state));
                let senders = SenderAllowlist::new(senders.clone());
                SyslogServer { names, matchers: grammar, batch_store: keep, senders, stop: stop.clone() }
                    .listen(tcp, udp)
                    .await;
            }
            Err(error) => {
                // The address may be taken by a daemon that is just stopping, so this is retried.
                tracing::error!(source = name, "cannot listen for syslog on {address}: {error}");
                wait_to_retry(RETRY_DELAY, &stop).await;
            }
        }
    }
}
