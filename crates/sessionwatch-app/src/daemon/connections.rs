//! How many connections the pages hold open at once. Some open files are left to check runs and the store whatever comes;
//! where all places are taken, whoever has waited longest without a request makes room.

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

/// The most connections at once.
const MAX_CONNECTIONS: u64 = 1_024;
/// Open files that are left to everything else.
const RESERVED_OPEN_FILES: u64 = 256;
/// Of few open files, the share that connections may take: one in so many.
const SHARE: u64 = 4;

/// Connections that are open, by when they came.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    from: Option<IpAddr>,
    /// Requests that were begun, and those that are not answered yet.
    begun: u64,
    running: u64,
    /// Closes the connection when it is dropped.
    _close: oneshot::Sender<()>,
}

impl Connections {
    /// As many as the limit of open files allows.
    pub(super) fn new() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.unwrap_or(u64::MAX);
        let limit = files.saturating_sub(RESERVED_OPEN_FILES).max(files / SHARE).clamp(1, MAX_CONNECTIONS);
        Self { open: Arc::default(), limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Takes a place, and makes room for that if need be.
    fn take(&self, from: Option<IpAddr>) -> Place {
        let (close, closed) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.held.len() >= self.limit && open.make_room() {}
        let number = open.next;
        open.next += 1;
        open.held.insert(number, Held { from, begun: 0, running: 0, _close: close });
        drop(open);
        Place { number, open: Arc::clone(&self.open), closed, is_closed: false }
    }
}

impl Open {
    /// Closes a connection: of the address with the most, the one that came first, and rather one without a request than
    /// one that waits for the next, and rather that than one that waits for an answer. Returns `false` if there is none.
    fn make_room(&mut self) -> bool {
        let mut counts = BTreeMap::<Option<IpAddr>, usize>::new();
        for held in self.held.values() {
            *counts.entry(held.from).or_default() += 1;
        }
        let Some(crowd) = counts.into_iter().max_by_key(|(_, count)| *count).map(|(from, _)| from) else {
            return false;
        };
        let of_crowd = self.held.iter().filter(|(_, held)| held.from == crowd);
        let first = of_crowd.min_by_key(|(number, held)| (held.running > 0, held.begun > 0, **number));
        let first = first.map(|(number, _)| *number);
        first.is_some_and(|number| self.held.remove(&number).is_some())
    }
}

/// A place among the connections, until it is dropped.
#[derive(Debug)]
struct Place {
    number: u64,
    open: Arc<Mutex<Open>>,
    /// Ends when somebody else was given the place.
    closed: oneshot::Receiver<()>,
    is_closed: bool,
}

impl Place {
    fn poll_closed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // Once it has ended, it is not to be asked again.
        self.is_closed = self.is_closed || Pin::new(&mut self.closed).poll(context).is_ready();
        if self.is_closed { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&self.number);
    }
}

/// Accepts connections that take a place.
#[derive(Clone, Debug)]
pub(super) struct Acceptor(pub(super) Connections);

impl<S: Send + 'static> Accept<TcpStream, S> for Acceptor {
    type Stream = Connection;
    type Service = Requests<S>;
    type Future = std::future::Ready<io::Result<(Connection, Requests<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let from = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
        let place = self.0.take(from);
        let (number, open) = (place.number, Arc::clone(&place.open));
        std::future::ready(Ok((Connection { stream, place }, Requests { service, number, open })))
    }
}

/// A connection that ends when its place is given to another one.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    place: Place,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.place.poll_closed(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.place.poll_closed(context)?;
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
        self.place.poll_closed(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Notes what is asked over a connection.
#[derive(Clone, Debug)]
pub(super) struct Requests<S> {
    service: S,
    number: u64,
    open: Arc<Mutex<Open>>,
}

/// A request that is not answered yet, until it is dropped.
struct Running {
    number: u64,
    open: Arc<Mutex<Open>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = open.held.get_mut(&self.number) {
            held.running -= 1;
        }
    }
}

impl<S, B> Service<Request<B>> for Requests<S>
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
            self.open.lock().unwrap_or_else(PoisonError::into_inner).held.get_mut(&self.number)
        {
            held.begun += 1;
            held.running += 1;
        }
        let running = Running { number: self.number, open: Arc::clone(&self.open) };
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
    fn who_waits_longest_of_the_largest_crowd_makes_room() {
        let connections = Connections { open: Arc::default(), limit: 3 };
        let from = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let is_closed =
            |place: &mut Place| place.closed.try_recv() != Err(oneshot::error::TryRecvError::Empty);
        let (mut single, mut first, mut second) =
            (connections.take(from(9)), connections.take(from(1)), connections.take(from(1)));
        connections.open.lock().unwrap().held.get_mut(&first.number).unwrap().begun = 1;
        let mut third = connections.take(from(1));
        assert!(is_closed(&mut second) && !is_closed(&mut first) && !is_closed(&mut single));
        let running =
            connections.open.lock().unwrap().held.get_mut(&third.number).map(|held| held.running = 1);
        assert!(running.is_some());
        let _fourth = connections.take(from(7));
        assert!(is_closed(&mut first) && !is_closed(&mut third) && !is_closed(&mut single));
        drop(third);
        let mut fifth = connections.take(from(1));
        assert!(!is_closed(&mut single) && !is_closed(&mut fifth));
        assert_eq!(connections.open.lock().unwrap().held.len(), 3);
    }
}
