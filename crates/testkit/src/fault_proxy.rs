//! A TCP proxy that can cut, freeze and delay connections, and records the bytes that pass.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// Time limit for a freeze to begin.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(60);

/// Fault applied to bytes from the server. Bytes to the server pass, unless a freeze has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    /// No fault.
    None,
    /// Cuts the connection after this many bytes; new connections are cut at once.
    CutAfter(usize),
    /// A black hole: after this many bytes nothing passes in either direction, not even the end of a connection.
    FreezeAfter(usize),
    /// Delays each chunk by this time.
    Delay(Duration),
}

/// A proxy in front of a local port. Dropping the value stops it and cuts its connections.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    shared: Arc<ProxyShared>,
}

#[derive(Debug)]
struct ProxyShared {
    upstream_port: u16,
    state: Mutex<ProxyState>,
    changed: Condvar,
    ended: AtomicBool,
}

#[derive(Debug)]
struct ProxyState {
    fault: NetworkFault,
    server_bytes_passed: usize,
    frozen: bool,
    // Two buffers, so that interleaved directions do not split each other's messages.
    client_bytes: Vec<u8>,
    server_bytes: Vec<u8>,
}

impl FaultProxy {
    /// Starts a proxy in front of a local port.
    ///
    /// # Errors
    ///
    /// Fails if the proxy cannot listen on a port.
    pub fn start(upstream_port: u16, fault: NetworkFault) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = ProxyState {
            fault,
            server_bytes_passed: 0,
            frozen: false,
            client_bytes: vec![],
            server_bytes: vec![],
        };
        let shared = Arc::new(ProxyShared {
            upstream_port,
            state: Mutex::new(state),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    break;
                }
                // If the server is down, the client's connection is closed.
                let _ = proxy_connection(&accepting, client);
            }
        });
        Ok(Self { port, shared })
    }

    /// Port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Replaces the fault, and restarts its byte count. Ends a freeze.
    pub fn set_fault(&self, fault: NetworkFault) {
        let mut state = self.shared.lock_state();
        (state.fault, state.server_bytes_passed, state.frozen) = (fault, 0, false);
        self.shared.changed.notify_all();
    }

    /// Waits until a freeze has begun.
    ///
    /// # Panics
    ///
    /// Panics if no freeze begins within a minute.
    pub fn wait_until_frozen(&self) {
        let state = self.shared.lock_state();
        let waited = self.shared.changed.wait_timeout_while(state, FREEZE_TIMEOUT, |state| !state.frozen);
        assert!(waited.unwrap_or_else(PoisonError::into_inner).0.frozen, "no freeze has begun");
    }

    /// Returns `true` while connections are frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.shared.lock_state().frozen
    }

    /// Returns every byte that passed: first those to the server, then those to the client.
    #[must_use]
    pub fn captured_bytes(&self) -> Vec<u8> {
        let state = self.shared.lock_state();
        [&state.client_bytes[..], &state.server_bytes].concat()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.set_fault(NetworkFault::CutAfter(0));
        // The listener blocks in `accept`: a connection wakes it, and it sees `ended`.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl ProxyShared {
    fn lock_state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many of `count` bytes from the server may pass, or `None` to cut the connection. Blocks during a
    /// freeze.
    fn admit_server_bytes(&self, count: usize) -> Option<usize> {
        let mut state = self.lock_state();
        loop {
            let left = |limit: usize| limit.saturating_sub(state.server_bytes_passed).min(count);
            let passing = match state.fault {
                NetworkFault::None => count,
                NetworkFault::CutAfter(limit) => match left(limit) {
                    0 => return None,
                    passing => passing,
                },
                NetworkFault::FreezeAfter(limit) => left(limit),
                NetworkFault::Delay(time) => {
                    let waited = self
                        .changed
                        .wait_timeout_while(state, time, |state| state.fault == NetworkFault::Delay(time));
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    count
                }
            };
            if passing > 0 {
                state.server_bytes_passed += passing;
                return Some(passing);
            }
            state.frozen = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks during a freeze, in which neither bytes from clients nor the end of a connection pass.
    fn wait_while_frozen(&self) -> MutexGuard<'_, ProxyState> {
        let waited = self.changed.wait_while(self.lock_state(), |state| state.frozen);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn proxy_connection(shared: &Arc<ProxyShared>, client: TcpStream) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", shared.upstream_port))?;
    let (to_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let requests = Arc::clone(shared);
    thread::spawn(move || {
        let admit = |bytes: &[u8]| {
            requests.wait_while_frozen().client_bytes.extend_from_slice(bytes);
            Some(bytes.len())
        };
        forward_bytes(&requests, client, to_server, admit);
    });
    let answers = Arc::clone(shared);
    thread::spawn(move || {
        let admit = |bytes: &[u8]| {
            let passing = answers.admit_server_bytes(bytes.len())?;
            answers.lock_state().server_bytes.extend_from_slice(&bytes[..passing]);
            Some(passing)
        };
        forward_bytes(&answers, server, to_client, admit);
    });
    Ok(())
}

/// Forwards bytes until one side closes, then closes both.
fn forward_bytes(
    shared: &ProxyShared,
    mut from: TcpStream,
    mut to: TcpStream,
    mut admit: impl FnMut(&[u8]) -> Option<usize>,
) {
    let mut buffer = [0; 16 * 1024];
    'open: while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let Some(passing) = admit(rest) else { break 'open };
            if to.write_all(&rest[..passing]).is_err() {
                break 'open;
            }
            rest = &rest[passing..];
        }
    }
    drop(shared.wait_while_frozen());
    // The other direction may have closed them already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    /// Starts a server that sends 1,000 bytes to each client, then reads to the end. The channel yields the bytes read.
    fn start_server() -> (u16, Receiver<Vec<u8>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                client.write_all(&[b'x'; 1000]).unwrap();
                let mut read = Vec::new();
                // The connection may also be reset.
                let _ = client.read_to_end(&mut read);
                let _ = sender.send(read);
            }
        });
        (port, receiver)
    }

    fn client(proxy: &FaultProxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port())).unwrap()
    }

    #[test]
    fn passes_records_and_cuts() {
        let (port, received) = start_server();
        let proxy = FaultProxy::start(port, NetworkFault::None).unwrap();
        let mut whole = client(&proxy);
        whole.write_all(b"question").unwrap();
        whole.read_exact(&mut [0; 1000]).unwrap();
        drop(whole);
        assert_eq!(received.recv().unwrap(), b"question");
        let captured = proxy.captured_bytes();
        assert_eq!(captured.len(), 1008);
        assert!(captured.windows(8).any(|part| part == b"question"));
        proxy.set_fault(NetworkFault::CutAfter(300));
        let mut some = Vec::new();
        // The connection may be reset instead of closed.
        let _ = client(&proxy).read_to_end(&mut some);
        assert_eq!(some.len(), 300);
    }

    #[test]
    fn a_black_hole_swallows_both_directions_and_the_end_until_it_is_restored() {
        let (port, received) = start_server();
        let proxy = FaultProxy::start(port, NetworkFault::FreezeAfter(300)).unwrap();
        let mut lost = client(&proxy);
        lost.read_exact(&mut [0; 300]).unwrap();
        proxy.wait_until_frozen();
        lost.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(lost.read(&mut [0; 1]).is_err(), "no byte and no end of the connection arrives");
        lost.write_all(b"goodbye").unwrap();
        drop(lost);
        assert!(
            received.recv_timeout(Duration::from_millis(50)).is_err(),
            "the server does not see the end of the connection"
        );
        proxy.set_fault(NetworkFault::None);
        received.recv_timeout(FREEZE_TIMEOUT).unwrap();
    }
}
