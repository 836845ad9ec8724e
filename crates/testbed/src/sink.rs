//! A sink: an HTTP server that keeps what it is sent, and answers as it is told to.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// An HTTP server for tests.
#[derive(Debug)]
pub struct Sink {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    /// Answers still to give, the first one first; then 200.
    answers: Vec<String>,
}

impl Sink {
    /// Starts a sink whose first answers are these status lines with headers, such as `503 Busy\r\nRetry-After: 1`.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn start(answers: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        shared.lock().answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // What does not speak HTTP gets no answer.
                let _ = answer(&serving, stream);
            }
        });
        Ok(Self { port, shared })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Waits until so many requests have arrived, for half a minute at most: all that have.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let patience = Duration::from_secs(30);
        let state = self.shared.lock();
        let waited =
            self.shared.changed.wait_timeout_while(state, patience, |state| state.received.len() < count);
        waited.unwrap_or_else(PoisonError::into_inner).0.received.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(shared: &Shared, mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut headers = Vec::new();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").context("a body of known length")?;
    let mut body = vec![0; length.1.parse()?];
    reader.read_exact(&mut body)?;
    let mut state = shared.lock();
    state.received.push(Received { headers, body: String::from_utf8_lossy(&body).into_owned() });
    let status = if state.answers.is_empty() { "200 OK".to_owned() } else { state.answers.remove(0) };
    shared.changed.notify_all();
    drop(state);
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(())
}
