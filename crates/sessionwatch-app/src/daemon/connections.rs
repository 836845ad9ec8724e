//! Limits the open HTTP connections. File descriptors are reserved for check runs and the store; at the limit, a new
//! connection evicts the one that has been idle longest.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::extract::Request;
use axum_server::accept::Accept;
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
};
use tower_service::Service;

/// The maximum number of connections.
const MAX_CONNECTIONS: u64 = 1_024;
/// File descriptors reserved for everything else.
const RESERVED_OPEN_FILES: u64 = 256;
/// If few descriptors are allowed, connections may take one in this many.
const OPEN_FILES_DIVISOR: u64 = 4;

/// Tracks open connections in order of arrival.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimiter {
    table: Arc<Mutex<ConnectionTable>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    next_id: u64,
    connections: BTreeMap<u64, OpenConnection>,
}

#[derive(Debug)]
struct OpenConnection {
    client_ip: Option<IpAddr>,
    started_requests: u64,
    running_requests: u64,
    /// Closes the connection when dropped.
    _close: oneshot::Sender<()>,
}

impl ConnectionLimiter {
    /// Derives the limit from the process's limit of open files.
    pub(super) fn new() -> Self {
        // Unlimited is reported as `None`.
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.unwrap_or(u64::MAX);
        let limit = files
            .saturating_sub(RESERVED_OPEN_FILES)
            .max(files / OPEN_FILES_DIVISOR)
            // At least one, or a tight limit would make the daemon unreachable.
            .clamp(1, MAX_CONNECTIONS);
        Self { table: Arc::default(), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Takes a slot, and evicts another connection if none is free.
    fn acquire(&self, client_ip: Option<IpAddr>) -> ConnectionSlot {
        let (close, closed) = oneshot::channel();
        // Evicting and taking happen under one lock, so that no other connection takes the freed slot.
        let mut open = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        while open.connections.len() >= self.limit && open.evict_connection() {}
        let id = open.next_id;
        open.next_id += 1;
        open.connections.insert(
            id,
            OpenConnection { client_ip, started_requests: 0, running_requests: 0, _close: close },
        );
        drop(open);
        ConnectionSlot { id, table: Arc::clone(&self.table), closed, is_closed: false }
    }
}

impl ConnectionTable {
    /// Closes a connection of the client with the most connections. Returns `false` if there is none.
    fn evict_connection(&mut self) -> bool {
        let mut counts = BTreeMap::<Option<IpAddr>, usize>::new();
        for held in self.connections.values() {
            *counts.entry(held.client_ip).or_default() += 1;
        }
        // The largest client pays: a flood from one address evicts only its own connections.
        let Some(crowd) = counts.into_iter().max_by_key(|(_, count)| *count).map(|(from, _)| from) else {
            return false;
        };
        let of_crowd = self.connections.iter().filter(|(_, held)| held.client_ip == crowd);
        // Evict first connections that sent no request, then keep-alive connections, then those with a running request;
        // within each group, the oldest.
        let first = of_crowd
            .min_by_key(|(number, held)| (held.running_requests > 0, held.started_requests > 0, **number));
        let first = first.map(|(number, _)| *number);
        first.is_some_and(|number| self.connections.remove(&number).is_some())
    }
}

/// A slot in the connection table, freed when dropped.
#[derive(Debug)]
struct ConnectionSlot {
    id: u64,
    table: Arc<Mutex<ConnectionTable>>,
    /// Resolves when the connection is evicted.
    closed: oneshot::Receiver<()>,
    is_closed: bool,
}

impl ConnectionSlot {
    fn poll_closed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // A oneshot receiver panics if polled again after it has resolved.
        self.is_closed = self.is_closed || Pin::new(&mut self.closed).poll(context).is_ready();
        // Aborted, not a clean end, so that the server does not treat the request as complete.
        if self.is_closed { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).connections.remove(&self.id);
    }
}

/// Accepts connections and gives each a slot.
#[derive(Clone, Debug)]
pub(super) struct LimitedAcceptor(pub(super) ConnectionLimiter);

impl<S: Send + 'static> Accept<TcpStream, S> for LimitedAcceptor {
    type Stream = LimitedConnection;
    type Service = RequestTracker<S>;
    type Future = std::future::Ready<io::Result<(LimitedConnection, RequestTracker<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // IPv4-mapped IPv6 addresses count as the same client.
        let from = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
        let slot = self.0.acquire(from);
        let (connection_id, open) = (slot.id, Arc::clone(&slot.table));
        std::future::ready(Ok((
            LimitedConnection { stream, slot },
            RequestTracker { service, connection_id, table: open },
        )))
    }
}

/// A connection that fails its next read or write once it is evicted.
#[derive(Debug)]
pub(super) struct LimitedConnection {
    stream: TcpStream,
    slot: ConnectionSlot,
}

impl AsyncRead for LimitedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.slot.poll_closed(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for LimitedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.slot.poll_closed(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.slot.poll_closed(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Counts the requests of a connection.
#[derive(Clone, Debug)]
pub(super) struct RequestTracker<S> {
    service: S,
    connection_id: u64,
    table: Arc<Mutex<ConnectionTable>>,
}

/// Guard of a running request; counts it as finished when dropped.
struct RunningRequest {
    connection_id: u64,
    table: Arc<Mutex<ConnectionTable>>,
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        let mut open = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = open.connections.get_mut(&self.connection_id) {
            held.running_requests -= 1;
        }
    }
}

impl<S, B> Service<Request<B>> for RequestTracker<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(held) =
            self.table.lock().unwrap_or_else(PoisonError::into_inner).connections.get_mut(&self.connection_id)
        {
            held.started_requests += 1;
            held.running_requests += 1;
        }
        // A guard: requests that are dropped halfway, for example by a reset, are counted down too.
        let running = RunningRequest { connection_id: self.connection_id, table: Arc::clone(&self.table) };
        let answer = self.service.call(request);
        Box::pin(async move {
            let _running = running;
            answer.await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_connection_of_the_busiest_client_is_evicted() {
        let connections = ConnectionLimiter { table: Arc::default(), limit: 3 };
        let from = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let is_closed =
            |place: &mut ConnectionSlot| place.closed.try_recv() != Err(oneshot::error::TryRecvError::Empty);
        let (mut single, mut first, mut second) =
            (connections.acquire(from(9)), connections.acquire(from(1)), connections.acquire(from(1)));
        connections.table.lock().unwrap().connections.get_mut(&first.id).unwrap().started_requests = 1;
        let mut third = connections.acquire(from(1));
        assert!(is_closed(&mut second) && !is_closed(&mut first) && !is_closed(&mut single));
        let running = connections
            .table
            .lock()
            .unwrap()
            .connections
            .get_mut(&third.id)
            .map(|held| held.running_requests = 1);
        assert!(running.is_some());
        let _fourth = connections.acquire(from(7));
        assert!(is_closed(&mut first) && !is_closed(&mut third) && !is_closed(&mut single));
        drop(third);
        let mut fifth = connections.acquire(from(1));
        assert!(!is_closed(&mut single) && !is_closed(&mut fifth));
        assert_eq!(connections.table.lock().unwrap().connections.len(), 3);
    }
}
