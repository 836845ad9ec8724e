//! An HTTP server that records requests and sends scripted responses.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, ensure};

use crate::{inbox::Inbox, tcp_server::TcpServer};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Method, such as `POST`.
    pub method: String,
    /// Path with query, such as `/hook`.
    pub path: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

/// An HTTP server for tests. Dropping the value stops it.
#[derive(Debug)]
pub struct HttpSink {
    server: TcpServer,
    shared: Arc<HttpSinkState>,
}

#[derive(Debug)]
struct HttpSinkState {
    received: Inbox<ReceivedRequest>,
    responses: Mutex<ResponsePlan>,
    gate: Mutex<ResponseGate>,
    gate_changed: Condvar,
}

/// Decides which requests get a response: the first `immediate` ones at once, later ones only in full batches.
#[derive(Debug)]
struct ResponseGate {
    arrived: usize,
    immediate: usize,
    batch_size: usize,
}

impl ResponseGate {
    fn is_open_for(&self, number: usize) -> bool {
        let more = self.arrived.saturating_sub(self.immediate);
        number <= self.immediate || number <= self.immediate + more - more % self.batch_size
    }
}

#[derive(Debug)]
enum ResponsePlan {
    /// No response, and connections stay open.
    Never,
    /// These responses in order, then 200.
    Scripted(Vec<String>),
}

impl HttpSink {
    /// Starts a sink with scripted responses: status lines and headers, such as `503 Busy\r\nRetry-After: 1`. Later
    /// requests get 200.
    ///
    /// # Errors
    ///
    /// Fails if the sink cannot listen on a port.
    pub fn start(answers: &[&str]) -> Result<Self> {
        Self::start_at_port(0, answers)
    }

    /// Starts a sink on a given port, such as the port of a stopped sink.
    ///
    /// # Errors
    ///
    /// Fails if the sink cannot listen on the port.
    pub fn start_at_port(port: u16, answers: &[&str]) -> Result<Self> {
        Self::start_with_plan(
            port,
            ResponsePlan::Scripted(answers.iter().map(|answer| (*answer).to_owned()).collect()),
        )
    }

    /// Starts a sink that reads requests and never responds.
    ///
    /// # Errors
    ///
    /// Fails if the sink cannot listen on a port.
    pub fn start_unresponsive() -> Result<Self> {
        Self::start_with_plan(0, ResponsePlan::Never)
    }

    fn start_with_plan(port: u16, responses: ResponsePlan) -> Result<Self> {
        let gate = Mutex::new(ResponseGate { arrived: 0, immediate: 0, batch_size: 1 });
        let (received, responses, gate_changed) = (Inbox::new(), Mutex::new(responses), Condvar::new());
        let shared = Arc::new(HttpSinkState { received, responses, gate, gate_changed });
        let serving = Arc::clone(&shared);
        let server = TcpServer::start(port, move |stream| serve_connection(&serving, stream))?;
        Ok(Self { server, shared })
    }

    /// From now on responds to the next `immediate` requests at once, and to later ones whenever `batch_size` of them
    /// wait.
    pub fn respond_in_batches(&self, immediate: usize, batch_size: usize) {
        let mut gate = self.shared.lock_gate();
        (gate.immediate, gate.batch_size) = (gate.arrived + immediate, batch_size);
        self.shared.gate_changed.notify_all();
    }

    /// Responds to every request at once, waiting ones included.
    pub fn respond_immediately(&self) {
        let mut gate = self.shared.lock_gate();
        (gate.immediate, gate.batch_size) = (gate.arrived, 1);
        self.shared.gate_changed.notify_all();
    }

    /// URL of the sink, with the path `/hook`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port())
    }

    /// Port that the sink listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Returns all requests that have arrived so far.
    #[must_use]
    pub fn received_requests(&self) -> Vec<ReceivedRequest> {
        self.shared.received.to_vec()
    }

    /// Waits until `count` requests have arrived, for two minutes at most, and returns all that have.
    #[must_use]
    pub fn wait_for_requests(&self, count: usize) -> Vec<ReceivedRequest> {
        self.shared.received.wait_for_count(count)
    }

    /// Stops listening, closes open connections, and returns all requests that have arrived.
    pub fn stop(self) -> Vec<ReceivedRequest> {
        drop(self.server);
        self.shared.received.to_vec()
    }
}

impl HttpSinkState {
    fn lock_gate(&self) -> MutexGuard<'_, ResponseGate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the gate is open for the request that has just arrived.
    fn wait_for_gate(&self) {
        let mut gate = self.lock_gate();
        gate.arrived += 1;
        let number = gate.arrived;
        self.gate_changed.notify_all();
        drop(self.gate_changed.wait_while(gate, |gate| !gate.is_open_for(number)));
    }

    /// Records a request, and returns the response to it, or `None` if there is none.
    fn record_request(&self, request: ReceivedRequest) -> Option<String> {
        // One lock for both, so that the first recorded request gets the first response.
        let mut answers = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        self.received.push(request);
        match &mut *answers {
            ResponsePlan::Never => None,
            ResponsePlan::Scripted(left) if left.is_empty() => Some("200 OK".to_owned()),
            ResponsePlan::Scripted(left) => Some(left.remove(0)),
        }
    }
}

fn serve_connection(shared: &HttpSinkState, mut stream: &TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let request = read_request(&mut reader)?;
    if let Some(status) = shared.record_request(request) {
        shared.wait_for_gate();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    } else {
        // Blocks until the client gives up, or the sink stops.
        io::copy(&mut reader, &mut io::sink())?;
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> Result<ReceivedRequest> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = words.next().zip(words.next()).context("the request line is malformed")?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    ensure!(header("transfer-encoding").is_none(), "the body has no Content-Length");
    let length = header("content-length").map_or(Ok(0), |length| length.parse())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(ReceivedRequest { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read},
        time::Duration,
    };

    use super::*;

    const REQUEST: &str = "POST /hook?a=1 HTTP/1.1\r\nX-Kind: test\r\nContent-Length: 5\r\n\r\nhello";

    fn connect(port: u16) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends the rest of a request, and returns the status line of the response.
    fn finish(mut stream: &TcpStream, rest: &str) -> String {
        stream.write_all(rest.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn records_requests_and_sends_responses_in_order() {
        let sink = HttpSink::start(&["503 Busy"]).unwrap();
        assert!(sink.received_requests().is_empty());
        assert_eq!(finish(&connect(sink.port()), REQUEST), "HTTP/1.1 503 Busy");
        assert_eq!(finish(&connect(sink.port()), "GET /x HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK");
        let [posted, got] = &sink.received_requests()[..] else { panic!("{:?}", sink.received_requests()) };
        assert_eq!((posted.method.as_str(), posted.path.as_str()), ("POST", "/hook?a=1"));
        assert_eq!(posted.headers[0], ("x-kind".to_owned(), "test".to_owned()));
        assert_eq!(posted.body, "hello");
        assert_eq!((got.method.as_str(), got.path.as_str(), got.body.as_str()), ("GET", "/x", ""));
    }

    #[test]
    fn a_slow_client_does_not_block_others() {
        let sink = HttpSink::start(&[]).unwrap();
        let slow = connect(sink.port());
        let (begin, rest) = REQUEST.split_at(30);
        (&slow).write_all(begin.as_bytes()).unwrap();
        assert_eq!(finish(&connect(sink.port()), REQUEST), "HTTP/1.1 200 OK");
        assert_eq!(sink.received_requests().len(), 1);
        assert_eq!(finish(&slow, rest), "HTTP/1.1 200 OK");
        assert_eq!(sink.received_requests().len(), 2);
    }

    #[test]
    fn an_unresponsive_sink_records_a_request_and_keeps_its_connection_open() {
        let sink = HttpSink::start_unresponsive().unwrap();
        let mut client = connect(sink.port());
        client.write_all(REQUEST.as_bytes()).unwrap();
        assert_eq!(sink.wait_for_requests(1)[0].body, "hello");
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let waited = client.read(&mut [0; 1]).unwrap_err().kind();
        assert!(matches!(waited, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{waited}");
        drop(sink);
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "the connection ends with the sink");
    }

    #[test]
    fn responds_in_batches() {
        let sink = HttpSink::start(&[]).unwrap();
        sink.respond_in_batches(1, 2);
        assert_eq!(finish(&connect(sink.port()), REQUEST), "HTTP/1.1 200 OK");
        let mut waiting = connect(sink.port());
        waiting.write_all(REQUEST.as_bytes()).unwrap();
        assert_eq!(sink.wait_for_requests(2).len(), 2);
        waiting.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(waiting.read(&mut [0; 1]).is_err(), "the request waits for a second one");
        assert_eq!(finish(&connect(sink.port()), REQUEST), "HTTP/1.1 200 OK");
        waiting.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(finish(&waiting, ""), "HTTP/1.1 200 OK");
        sink.respond_in_batches(0, 2);
        let held = connect(sink.port());
        (&held).write_all(REQUEST.as_bytes()).unwrap();
        assert_eq!(sink.wait_for_requests(4).len(), 4);
        sink.respond_immediately();
        assert_eq!(finish(&held, ""), "HTTP/1.1 200 OK");
    }

    #[test]
    fn restarts_on_the_port_of_a_stopped_sink() {
        let sink = HttpSink::start(&[]).unwrap();
        let port = sink.port();
        finish(&connect(port), REQUEST);
        assert_eq!(sink.stop().len(), 1);
        assert_eq!(TcpStream::connect(("127.0.0.1", port)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let back = HttpSink::start_at_port(port, &["503 Busy"]).unwrap();
        assert_eq!(finish(&connect(port), REQUEST), "HTTP/1.1 503 Busy");
        assert_eq!(back.received_requests().len(), 1);
    }
}
