//! What the daemon does with logs: it follows files, listens for syslog, keeps what drains send, and evaluates all of it.

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
    app::network_limiter::{NetworkLimiter, NetworkPermit},
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

/// How long to wait after something failed.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Batches that are taken apart and kept at the same time; of more the sender is told to come again.
const MAX_CONCURRENT_BATCHES: usize = 8;
/// Requests that may be on their way at the same time, of senders that have shown who they are.
const MAX_INFLIGHT_REQUESTS: usize = 32;
/// The same of senders that show it by a signature of the whole body, and so of strangers too.
const MAX_UNSIGNED_REQUESTS: usize = 32;
/// Those among them of one network.
const MAX_UNSIGNED_REQUESTS_PER_NETWORK: usize = 8;

/// A source with what is looked for in it.
#[derive(Clone, Debug)]
pub(super) struct IngestSource {
    pub(super) source: LogSourceConfig,
    pub(super) matchers: Matchers,
}

/// What the parts that read and judge logs share.
#[derive(Debug)]
pub(super) struct IngestPipeline {
    sources: std::sync::RwLock<Arc<Vec<IngestSource>>>,
    batch_permits: Semaphore,
    request_permits: Semaphore,
    /// Requests on their way whose sender is not known yet, by network.
    unsigned_requests: NetworkLimiter,
    /// Counts what is new and to be judged.
    new_events: watch::Sender<u64>,
}

impl Default for IngestPipeline {
    fn default() -> Self {
        let news = watch::Sender::new(0);
        let (permits, arriving) =
            (Semaphore::new(MAX_CONCURRENT_BATCHES), Semaphore::new(MAX_INFLIGHT_REQUESTS));
        let unsigned = NetworkLimiter::new(MAX_UNSIGNED_REQUESTS, MAX_UNSIGNED_REQUESTS_PER_NETWORK);
        Self {
            sources: std::sync::RwLock::default(),
            batch_permits: permits,
            request_permits: arriving,
            unsigned_requests: unsigned,
            new_events: news,
        }
    }
}

/// Why a batch was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IngestRejection {
    /// Too many are on their way.
    Busy,
    /// The store cannot be written, or its disk is full.
    Store,
}

impl IngestSource {
    /// What is looked for, where times that lack something are near an instant.
    pub(super) fn matchers_at(&self, now: UtcTimestamp) -> Matchers {
        self.matchers.with_time_defaults(Reading {
            offset_us: saturating_micros(self.source.utc_offset_at(now)),
            reference: now,
        })
    }
}

impl IngestPipeline {
    /// The sources of the present configuration.
    pub(super) fn sources(&self) -> Arc<Vec<IngestSource>> {
        Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Listens to those of another configuration from now on.
    pub(super) fn set_sources(&self, config: &Config) {
        let grammar = Matchers::new(config.logs.line_patterns(), Reading::default());
        let listened =
            |source: &LogSourceConfig| IngestSource { source: source.clone(), matchers: grammar.clone() };
        let all = Arc::new(config.logs.sources.iter().map(listened).collect::<Vec<_>>());
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// Lets a request in that is on its way, if there are not too many.
pub(super) fn try_accept_request(state: &DaemonState) -> Result<SemaphorePermit<'_>, IngestRejection> {
    state.ingest.request_permits.try_acquire().map_err(|_| IngestRejection::Busy)
}

/// Lets a request in that is on its way and whose sender is not known yet, if there are not too many, of its network or in all:
/// a slow sender takes no place from senders that have shown who they are, and few from other networks.
pub(super) fn try_accept_unsigned(
    state: &DaemonState,
    network: IpNet,
) -> Result<NetworkPermit, IngestRejection> {
    state.ingest.unsigned_requests.try_acquire(network).ok_or(IngestRejection::Busy)
}

/// Lets a batch in, to be taken apart and kept, if there are not too many.
pub(super) fn try_accept_batch(state: &DaemonState) -> Result<SemaphorePermit<'_>, IngestRejection> {
    state.ingest.batch_permits.try_acquire().map_err(|_| IngestRejection::Busy)
}

/// Keeps a batch, so that it is safe, or says why not.
pub(super) async fn write_batch(state: &Arc<DaemonState>, batch: LogBatch) -> Result<(), IngestRejection> {
    let to_write = Arc::clone(state);
    let written = blocking::run_catching(move || {
        let now = to_write.app.clock.now();
        let new = to_write.app.store.write(|db| log_batch::record_batch(db, &batch, now))?;
        Ok::<_, StoreError>((new, to_write.app.store.is_memory_fallback()))
    });
    match written.await {
        Some(Ok((new, sheltered))) => {
            if new > 0 {
                state.ingest.new_events.send_modify(|count| *count = count.wrapping_add(1));
            }
            // What is in memory only is not safe.
            if sheltered { Err(IngestRejection::Store) } else { Ok(()) }
        }
        Some(Err(error)) => {
            tracing::error!("what logs say could not be kept: {error}");
            Err(IngestRejection::Store)
        }
        None => Err(IngestRejection::Store),
    }
}

/// Starts everything that reads and evaluates logs.
pub(super) fn spawn_log_tasks(tasks: &TaskGroup, state: &Arc<DaemonState>, config: &Arc<Config>) {
    let sources = state.ingest.sources();
    for source in sources.iter().cloned() {
        let (state, stop) = (Arc::clone(state), tasks.stop_token());
        match source.source.kind.clone() {
            LogSourceKind::File(path) => {
                tasks.spawn("the reading of a log", tail::run_tail(state, source, path, stop))
            }
            LogSourceKind::Syslog { listen, senders } => {
                let syslog = SyslogSource { state, source, address: listen, senders, stop };
                tasks.spawn("the reading of syslog", listen_for_syslog(syslog));
            }
            LogSourceKind::Vercel { .. } | LogSourceKind::Http(_) => {}
        }
    }
    for target in
        config.targets.iter().filter(|target| config.logs.sources_for_target(&target.name).next().is_some())
    {
        let evaluator = LogEvaluator::new(state, config, target.clone());
        tasks.spawn("the evaluation of logs", evaluator.run(tasks.stop_token()));
    }
}

/// Keeps what syslog brings, for as long as it takes.
#[derive(Clone, Debug)]
struct BatchSink(Arc<DaemonState>);

impl LogBatchStore for BatchSink {
    async fn store_batch(&self, batch: LogBatch) -> bool {
        write_batch(&self.0, batch).await.is_ok()
    }
}

/// Where syslog is listened for.
struct SyslogSource {
    state: Arc<DaemonState>,
    source: IngestSource,
    address: SocketAddr,
    senders: Vec<IpNet>,
    stop: CancellationToken,
}

/// Listens for syslog until that is to stop.
async fn listen_for_syslog(syslog: SyslogSource) {
    let SyslogSource { state, source, address, senders, stop } = syslog;
    let name = source.source.name.clone();
    while !stop.is_cancelled() {
        let bound = async {
            Ok::<_, std::io::Error>((TcpListener::bind(address).await?, UdpSocket::bind(address).await?))
        };
        match bound.await {
            Ok((tcp, udp)) => {
                let grammar = Arc::new(source.matchers_at(state.app.clock.now()));
                let names = (name.clone(), source.source.target.clone());
                let keep = BatchSink(Arc::clone(&state));
                let senders = SenderAllowlist::new(senders.clone());
                SyslogServer { names, matchers: grammar, batch_store: keep, senders, stop: stop.clone() }
                    .listen(tcp, udp)
                    .await;
            }
            Err(_) => {
                tracing::error!(source = name, "cannot listen on {address}: is another program there?");
                wait_to_retry(RETRY_DELAY, &stop).await;
            }
        }
    }
}
