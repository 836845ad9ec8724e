//! What the daemon does with logs: it follows files, listens for syslog, keeps what drains send, and evaluates all of it.

mod evaluator;
mod tail;

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use sessionwatch_core::{duration::whole_micros, instant::Instant};
use sessionwatch_logs::{matchers::Matchers, time::Clock as Reading};
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
    app::network_places::{NetworkPlace, NetworkPlaces},
    blocking,
    config::{
        Config,
        logs::{Kind, Source},
    },
    logs::{
        intake::{self, Batch},
        syslog::{Keep, Senders, Syslog},
    },
};

/// How long to wait after something failed.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Batches that are taken apart and kept at the same time; of more the sender is told to come again.
const BATCHES_AT_ONCE: usize = 8;
/// Requests that may be on their way at the same time, of senders that have shown who they are.
const REQUESTS_AT_ONCE: usize = 32;
/// The same of senders that show it by a signature of the whole body, and so of strangers too.
const UNSIGNED_REQUESTS_AT_ONCE: usize = 32;
/// Those among them of one network.
const UNSIGNED_REQUESTS_OF_ONE_NETWORK: usize = 8;

/// A source with what is looked for in it.
#[derive(Clone, Debug)]
pub(super) struct LogSource {
    pub(super) source: Source,
    pub(super) grammar: Matchers,
}

/// What the parts that read and judge logs share.
#[derive(Debug)]
pub(super) struct IngestPipeline {
    sources: std::sync::RwLock<Arc<Vec<LogSource>>>,
    permits: Semaphore,
    arriving: Semaphore,
    /// Requests on their way whose sender is not known yet, by network.
    unsigned: NetworkPlaces,
    /// Counts what is new and to be judged.
    news: watch::Sender<u64>,
}

impl Default for IngestPipeline {
    fn default() -> Self {
        let news = watch::Sender::new(0);
        let (permits, arriving) = (Semaphore::new(BATCHES_AT_ONCE), Semaphore::new(REQUESTS_AT_ONCE));
        let unsigned = NetworkPlaces::new(UNSIGNED_REQUESTS_AT_ONCE, UNSIGNED_REQUESTS_OF_ONE_NETWORK);
        Self { sources: std::sync::RwLock::default(), permits, arriving, unsigned, news }
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

impl LogSource {
    /// What is looked for, where times that lack something are near an instant.
    pub(super) fn grammar_at(&self, now: Instant) -> Matchers {
        self.grammar.at(Reading { offset_us: whole_micros(self.source.offset(now)), near: now })
    }
}

impl IngestPipeline {
    /// The sources of the present configuration.
    pub(super) fn sources(&self) -> Arc<Vec<LogSource>> {
        Arc::clone(&self.sources.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Listens to those of another configuration from now on.
    pub(super) fn set(&self, config: &Config) {
        let grammar = Matchers::new(config.logs.looked_for(), Reading::default());
        let listened = |source: &Source| LogSource { source: source.clone(), grammar: grammar.clone() };
        let all = Arc::new(config.logs.sources.iter().map(listened).collect::<Vec<_>>());
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// Lets a request in that is on its way, if there are not too many.
pub(super) fn arrive(state: &DaemonState) -> Result<SemaphorePermit<'_>, IngestRejection> {
    state.intake.arriving.try_acquire().map_err(|_| IngestRejection::Busy)
}

/// Lets a request in that is on its way and whose sender is not known yet, if there are not too many, of its network or in all:
/// a slow sender takes no place from senders that have shown who they are, and few from other networks.
pub(super) fn arrive_unsigned(state: &DaemonState, network: IpNet) -> Result<NetworkPlace, IngestRejection> {
    state.intake.unsigned.take(network).ok_or(IngestRejection::Busy)
}

/// Lets a batch in, to be taken apart and kept, if there are not too many.
pub(super) fn admit(state: &DaemonState) -> Result<SemaphorePermit<'_>, IngestRejection> {
    state.intake.permits.try_acquire().map_err(|_| IngestRejection::Busy)
}

/// Keeps a batch, so that it is safe, or says why not.
pub(super) async fn write(state: &Arc<DaemonState>, batch: Batch) -> Result<(), IngestRejection> {
    let to_write = Arc::clone(state);
    let written = blocking::run_caught(move || {
        let now = to_write.app.clock.now();
        let new = to_write.app.store.write(|db| intake::keep(db, &batch, now))?;
        Ok::<_, StoreError>((new, to_write.app.store.is_sheltered()))
    });
    match written.await {
        Some(Ok((new, sheltered))) => {
            if new > 0 {
                state.intake.news.send_modify(|count| *count = count.wrapping_add(1));
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
pub(super) fn start(tasks: &TaskGroup, state: &Arc<DaemonState>, config: &Arc<Config>) {
    let sources = state.intake.sources();
    for source in sources.iter().cloned() {
        let (state, stop) = (Arc::clone(state), tasks.token());
        match source.source.kind.clone() {
            Kind::File(path) => tasks.spawn("the reading of a log", tail::run(state, source, path, stop)),
            Kind::Syslog { listen, senders } => {
                let syslog = SyslogSource { state, source, address: listen, senders, stop };
                tasks.spawn("the reading of syslog", listen_for_syslog(syslog));
            }
            Kind::Vercel { .. } | Kind::Http(_) => {}
        }
    }
    for target in config.targets.iter().filter(|target| config.logs.of(&target.name).next().is_some()) {
        let evaluator = LogEvaluator::new(state, config, target.clone());
        tasks.spawn("the evaluation of logs", evaluator.run(tasks.token()));
    }
}

/// Keeps what syslog brings, for as long as it takes.
#[derive(Clone, Debug)]
struct BatchSink(Arc<DaemonState>);

impl Keep for BatchSink {
    async fn keep(&self, batch: Batch) -> bool {
        write(&self.0, batch).await.is_ok()
    }
}

/// Where syslog is listened for.
struct SyslogSource {
    state: Arc<DaemonState>,
    source: LogSource,
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
                let grammar = Arc::new(source.grammar_at(state.app.clock.now()));
                let names = (name.clone(), source.source.target.clone());
                let keep = BatchSink(Arc::clone(&state));
                let senders = Senders::new(senders.clone());
                Syslog { names, grammar, keep, senders, stop: stop.clone() }.listen(tcp, udp).await;
            }
            Err(_) => {
                tracing::error!(source = name, "cannot listen on {address}: is another program there?");
                wait_to_retry(RETRY_DELAY, &stop).await;
            }
        }
    }
}
