//! A local TCP server with a thread per connection. Callers provide the protocol.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Result;

/// A TCP server. Dropping the value stops it and closes its connections.
#[derive(Debug)]
pub(crate) struct TcpServer {
    port: u16,
    ended: Arc<AtomicBool>,
    /// Returns the accepted connections when it ends.
    accepting: Option<JoinHandle<Vec<Weak<TcpStream>>>>,
}

impl TcpServer {
    /// Serves connections to a port; 0 means any free port.
    pub(crate) fn start(
        port: u16,
        serve: impl Fn(&TcpStream) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let port = listener.local_addr()?.port();
        let ended = Arc::new(AtomicBool::new(false));
        let (serve, stopping) = (Arc::new(serve), Arc::clone(&ended));
        let accepting = thread::spawn(move || {
            let mut accepted = Vec::new();
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::Relaxed) {
                    break;
                }
                let (stream, serve) = (Arc::new(stream), Arc::clone(&serve));
                accepted.push(Arc::downgrade(&stream));
                thread::spawn(move || {
                    // An error means that the client disconnected or sent malformed data; the connection is closed.
                    let _ = serve(&stream);
                });
            }
            accepted
        });
        Ok(Self { port, ended, accepting: Some(accepting) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The listener blocks in `accept`: a connection wakes it, and it sees `ended`.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let accepted = self.accepting.take().and_then(|accepting| accepting.join().ok()).unwrap_or_default();
        for stream in accepted.iter().filter_map(Weak::upgrade) {
            // The client may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
