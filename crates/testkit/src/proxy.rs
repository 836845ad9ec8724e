//! A TCP proxy that loses, holds up and remembers what passes through it.

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

/// The longest that anybody waits for a freeze to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to bytes from the server. Bytes to the server pass, unless a freeze has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    None,
    /// After so many the connection is cut, and new ones are refused service.
    CutAfter(usize),
    /// After so many nothing passes in either direction, and connections stay open, whoever closes them: a black hole.
    FreezeAfter(usize),
    /// Each piece waits that long.
    Delay(Duration),
}

/// A proxy before one port of this machine. It ends with this value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    from_server: usize,
    frozen: bool,
    /// What passed to the server, and what passed to the client: apart, so that nothing is torn where they take turns.
    asked: Vec<u8>,
    answered: Vec<u8>,
}

impl Proxy {
    /// Starts a proxy before that port.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn start(upstream: u16, fault: Fault) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = State { fault, from_server: 0, frozen: false, asked: vec![], answered: vec![] };
        let shared = Arc::new(Shared {
            upstream,
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
                // A client that cannot be served is dropped, as by a network.
                let _ = serve(&accepting, client);
            }
        });
        Ok(Self { port, shared })
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, counting anew.
    pub fn set(&self, fault: Fault) {
        let mut state = self.shared.lock();
        (state.fault, state.from_server, state.frozen) = (fault, 0, false);
        self.shared.changed.notify_all();
    }

    /// Waits until a freeze has begun.
    ///
    /// # Panics
    ///
    /// If none does.
    pub fn wait_until_frozen(&self) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !state.frozen);
        assert!(waited.unwrap_or_else(PoisonError::into_inner).0.frozen, "no freeze has begun");
    }

    /// Whether a freeze has begun.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.shared.lock().frozen
    }

    /// Every byte that passed: those to the server, then those to the client.
    #[must_use]
    pub fn captured(&self) -> Vec<u8> {
        let state = self.shared.lock();
        [&state.asked[..], &state.answered].concat()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.set(Fault::CutAfter(0));
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may pass of so many bytes from the server; nothing when the connection is to be cut. Waits out a freeze.
    fn admit(&self, count: usize) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let left = |limit: usize| limit.saturating_sub(state.from_server).min(count);
            let passing = match state.fault {
                Fault::None => count,
                Fault::CutAfter(limit) => match left(limit) {
                    0 => return None,
                    passing => passing,
                },
                Fault::FreezeAfter(limit) => left(limit),
                Fault::Delay(time) => {
                    let waited = self
                        .changed
                        .wait_timeout_while(state, time, |state| state.fault == Fault::Delay(time));
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    count
                }
            };
            if passing > 0 {
                state.from_server += passing;
                return Some(passing);
            }
            state.frozen = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits out a freeze: then neither what a client says nor the end of a connection gets through.
    fn thaw(&self) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), |state| state.frozen);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(shared: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", shared.upstream))?;
    let (to_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let requests = Arc::clone(shared);
    thread::spawn(move || {
        let admit = |bytes: &[u8]| {
            requests.thaw().asked.extend_from_slice(bytes);
            Some(bytes.len())
        };
        pump(&requests, client, to_server, admit);
    });
    let answers = Arc::clone(shared);
    thread::spawn(move || {
        let admit = |bytes: &[u8]| {
            let passing = answers.admit(bytes.len())?;
            answers.lock().answered.extend_from_slice(&bytes[..passing]);
            Some(passing)
        };
        pump(&answers, server, to_client, admit);
    });
    Ok(())
}

/// Passes bytes on until one side ends, then ends both.
fn pump(
    shared: &Shared,
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
    drop(shared.thaw());
    // The other direction may have closed them before.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    /// A server that says a thousand bytes to whoever comes, and then listens to the end: what it heard comes by the
    /// channel.
    fn speaker() -> (u16, Receiver<Vec<u8>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                client.write_all(&[b'x'; 1000]).unwrap();
                let mut heard = Vec::new();
                // A connection may also break.
                let _ = client.read_to_end(&mut heard);
                let _ = sender.send(heard);
            }
        });
        (port, receiver)
    }

    fn client(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port())).unwrap()
    }

    #[test]
    fn passes_records_and_cuts() {
        let (port, heard) = speaker();
        let proxy = Proxy::start(port, Fault::None).unwrap();
        let mut whole = client(&proxy);
        whole.write_all(b"question").unwrap();
        whole.read_exact(&mut [0; 1000]).unwrap();
        drop(whole);
        assert_eq!(heard.recv().unwrap(), b"question");
        let captured = proxy.captured();
        assert_eq!(captured.len(), 1008);
        assert!(captured.windows(8).any(|part| part == b"question"));
        proxy.set(Fault::CutAfter(300));
        let mut some = Vec::new();
        // The end may be an abrupt one.
        let _ = client(&proxy).read_to_end(&mut some);
        assert_eq!(some.len(), 300);
    }

    #[test]
    fn a_black_hole_swallows_both_directions_and_the_end_until_it_is_restored() {
        let (port, heard) = speaker();
        let proxy = Proxy::start(port, Fault::FreezeAfter(300)).unwrap();
        let mut lost = client(&proxy);
        lost.read_exact(&mut [0; 300]).unwrap();
        proxy.wait_until_frozen();
        lost.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(lost.read(&mut [0; 1]).is_err(), "neither a byte nor an end comes");
        lost.write_all(b"goodbye").unwrap();
        drop(lost);
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "nor does the end go");
        proxy.set(Fault::None);
        heard.recv_timeout(PATIENCE).unwrap();
    }
}
