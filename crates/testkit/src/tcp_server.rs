//! A server on one port of this machine, with a thread for each connection. What it says is not here.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Result;

/// A server. It ends with this value, and its connections with it.
#[derive(Debug)]
pub(crate) struct TcpServer {
    port: u16,
    ended: Arc<AtomicBool>,
    /// In the end, it hands over the connections that it accepted.
    accepting: Option<JoinHandle<Vec<Weak<TcpStream>>>>,
}

impl TcpServer {
    /// Serves connections to that port, to any free one where it is 0.
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
                    // Who leaves, or speaks another language, is not answered.
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
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let accepted = self.accepting.take().and_then(|accepting| accepting.join().ok()).unwrap_or_default();
        for stream in accepted.iter().filter_map(Weak::upgrade) {
            // The client may have closed it before.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
