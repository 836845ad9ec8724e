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

/// What happens to bytes from the server. Bytes to the server always pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    None,
    /// After so many the connection is cut, and new ones are refused service.
    CutAfter(usize),
    /// After so many nothing more passes, and the connection stays open.
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
    captured: Vec<u8>,
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
        let state = State { fault, from_server: 0, frozen: false, captured: Vec::new() };
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
    pub fn wait_until_frozen(&self) {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_while(state, |state| !state.frozen);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Every byte that passed, in both directions.
    #[must_use]
    pub fn captured(&self) -> Vec<u8> {
        self.shared.lock().captured.clone()
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
}

fn serve(shared: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", shared.upstream))?;
    let (to_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let requests = Arc::clone(shared);
    thread::spawn(move || {
        let _ = pump(client, to_server, |bytes| {
            requests.lock().captured.extend_from_slice(bytes);
            Some(bytes.len())
        });
    });
    let answers = Arc::clone(shared);
    thread::spawn(move || {
        let _ = pump(server, to_client, |bytes| {
            let passing = answers.admit(bytes.len())?;
            answers.lock().captured.extend_from_slice(&bytes[..passing]);
            Some(passing)
        });
    });
    Ok(())
}

/// Passes bytes on until one side ends, then ends both.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    mut admit: impl FnMut(&[u8]) -> Option<usize>,
) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let outcome = loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => count,
            Err(error) => break Err(error),
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let Some(passing) = admit(rest) else {
                let _ = from.shutdown(Shutdown::Both);
                return to.shutdown(Shutdown::Both);
            };
            to.write_all(&rest[..passing])?;
            rest = &rest[passing..];
        }
    };
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    outcome
}
