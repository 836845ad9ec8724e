//! The real Alertmanager, which groups alerts and tells a webhook what fires and what is resolved.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};

/// The longest that anybody waits for it to start, or to answer.
const ALERTMANAGER_TIMEOUT: Duration = Duration::from_secs(30);

/// An Alertmanager in a temporary folder. It ends with this value, or with this process, however that ends.
#[derive(Debug)]
pub struct AlertmanagerServer {
    port: u16,
    /// Closing its standard input stops Alertmanager and removes the folder.
    watchdog: Child,
}

impl AlertmanagerServer {
    /// Starts one that tells the webhook at that address within a second or two.
    ///
    /// # Errors
    ///
    /// If the program is missing or does not start, with what it said.
    pub fn start(webhook: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testkit-").tempdir()?.keep();
        // From here on, the folder is removed whatever happens.
        let mut alertmanager = Self { port: 0, watchdog: spawn_alertmanager(&folder, webhook)? };
        let log = alertmanager.watchdog.stderr.take().context("standard error is piped")?;
        alertmanager.port = read_listen_port(log)?;
        let answer = alertmanager.send_request("GET /-/ready HTTP/1.0\r\n\r\n")?;
        ensure!(answer.starts_with("HTTP/1.0 200 "), "Alertmanager is not ready: {answer}");
        Ok(alertmanager)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a request: the answer, as it came.
    fn send_request(&self, request: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ALERTMANAGER_TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for AlertmanagerServer {
    fn drop(&mut self) {
        // This closes the watchdog's standard input first. There is nobody to tell if it has ended before.
        let _ = self.watchdog.wait();
    }
}

/// Starts Alertmanager at a free port, and a shell that stops it as soon as this process lets go of the pipe.
fn spawn_alertmanager(folder: &Path, webhook: &str) -> Result<Child> {
    let configuration = folder.join("alertmanager.yml");
    let text = format!(
        "route:\n  receiver: webhook\n  group_by: [alertname]\n  group_wait: 1s\n  group_interval: 1s\n  repeat_interval: 1h\n\
         receivers:\n  - name: webhook\n    webhook_configs:\n      - url: {webhook:?}\n        send_resolved: true\n"
    );
    fs::write(&configuration, text)?;
    // The shell lets go of standard error, so that this ends with Alertmanager.
    let script =
        "folder=$1; shift; \"$@\" & exec 2>/dev/null; read -r _; kill -KILL $!; wait; rm -rf \"$folder\"";
    Command::new("setsid")
        .args(["sh", "-c", script, "watchdog"])
        .arg(folder)
        .args(["prometheus-alertmanager", "--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--storage.path={}", folder.join("data").display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("the watchdog cannot be started")
}

/// Reads the log until it names the port, and goes on reading lest Alertmanager be held up.
fn read_listen_port(log: ChildStderr) -> Result<u16> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // Nobody listens any more once the port is known.
            let _ = parse_listen_port(&line).map(|port| sender.send(Ok(port)));
            said.push_str(&line);
            said.push('\n');
        }
        let _ = sender.send(Err(said));
    });
    let port = receiver.recv_timeout(ALERTMANAGER_TIMEOUT).context("Alertmanager does not listen")?;
    port.map_err(|said| {
        anyhow!("Alertmanager does not start; is it installed by `cargo xtask setup`?\n{said}")
    })
}

/// The port in a line of the log such as `… msg="Listening on" address=127.0.0.1:9093`.
fn parse_listen_port(line: &str) -> Option<u16> {
    let (_, address) = line.split_once("\"Listening on\" address=127.0.0.1:")?;
    address.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::HttpSink;

    fn post(alertmanager: &AlertmanagerServer, times: &str) {
        let alerts = format!("[{{\"labels\": {{\"alertname\": \"Test\"}}{times}}}]");
        let answer = alertmanager.send_request(&format!(
            "POST /api/v2/alerts HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{alerts}",
            alerts.len()
        ));
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    }

    #[test]
    fn tells_the_webhook_what_fires_and_what_is_resolved_until_it_ends() {
        let sink = HttpSink::start(&[]).unwrap();
        let alertmanager = AlertmanagerServer::start(&sink.url()).unwrap();
        post(&alertmanager, "");
        let fired = &sink.wait_for_requests(1)[0];
        assert_eq!((fired.method.as_str(), fired.path.as_str()), ("POST", "/hook"));
        assert!(
            fired.body.contains("\"status\":\"firing\"") && fired.body.contains("Test"),
            "{}",
            fired.body
        );
        post(&alertmanager, ", \"endsAt\": \"2020-01-01T00:00:00Z\"");
        let resolved = &sink.wait_for_requests(2)[1].body;
        assert!(resolved.contains("\"status\":\"resolved\"") && !resolved.contains("firing"), "{resolved}");
        let port = alertmanager.port;
        assert_eq!(alertmanager.url(), format!("http://127.0.0.1:{port}"));
        drop(alertmanager);
        assert_eq!(TcpStream::connect(("127.0.0.1", port)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn passes_on_why_it_does_not_start() {
        let error = AlertmanagerServer::start("ftp://127.0.0.1/").unwrap_err().to_string();
        assert!(error.contains("unsupported scheme"), "{error}");
    }
}
