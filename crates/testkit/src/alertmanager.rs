//! A real Alertmanager, which groups alerts and sends firing and resolved ones to a webhook.

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

/// Time limit for Alertmanager to start, and to respond.
const ALERTMANAGER_TIMEOUT: Duration = Duration::from_secs(30);

/// An Alertmanager process in a temporary folder. Dropping the value stops it, and so does the end of this process,
/// however that ends.
#[derive(Debug)]
pub struct AlertmanagerServer {
    port: u16,
    /// Closing its standard input stops Alertmanager and removes the folder.
    watchdog: Child,
}

impl AlertmanagerServer {
    /// Starts an Alertmanager that notifies the webhook URL within a second or two.
    ///
    /// # Errors
    ///
    /// Fails with the program's log if it is missing or does not start.
    pub fn start(webhook: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testkit-").tempdir()?.keep();
        // The watchdog owns the folder from here on, and removes it even if the start fails.
        let mut alertmanager = Self { port: 0, watchdog: spawn_alertmanager(&folder, webhook)? };
        let log = alertmanager.watchdog.stderr.take().context("standard error is piped")?;
        alertmanager.port = read_listen_port(log)?;
        let answer = alertmanager.send_request("GET /-/ready HTTP/1.0\r\n\r\n")?;
        ensure!(answer.starts_with("HTTP/1.0 200 "), "Alertmanager is not ready: {answer}");
        Ok(alertmanager)
    }

    /// Base URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a raw HTTP request and returns the raw response.
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
        // `wait` closes the watchdog's standard input first. A watchdog that has already ended is no error.
        let _ = self.watchdog.wait();
    }
}

/// Starts Alertmanager on a free port, under a shell that kills it as soon as this process closes the pipe.
fn spawn_alertmanager(folder: &Path, webhook: &str) -> Result<Child> {
    let configuration = folder.join("alertmanager.yml");
    let text = format!(
        "route:\n  receiver: webhook\n  group_by: [alertname]\n  group_wait: 1s\n  group_interval: 1s\
         \n  repeat_interval: 1h\n\
         receivers:\n  - name: webhook\n    webhook_configs:\n      - url: {webhook:?}\n        send_resolved: true\n"
    );
    fs::write(&configuration, text)?;
    // The shell closes its standard error, so that the pipe reaches its end when Alertmanager exits.
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
        .context("cannot start the watchdog")
}

/// Reads the log until it names the port. A thread reads the rest, or a full pipe would block Alertmanager.
fn read_listen_port(log: ChildStderr) -> Result<u16> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut log_text = String::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // The receiver is gone once the port is known.
            let _ = parse_listen_port(&line).map(|port| sender.send(Ok(port)));
            log_text.push_str(&line);
            log_text.push('\n');
        }
        let _ = sender.send(Err(log_text));
    });
    let port =
        receiver.recv_timeout(ALERTMANAGER_TIMEOUT).context("Alertmanager does not listen on a port")?;
    port.map_err(|log_text| {
        anyhow!("Alertmanager does not start; to install it: `cargo xtask setup`\n{log_text}")
    })
}

/// Parses the port of a log line such as `… msg="Listening on" address=127.0.0.1:9093`.
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
    fn sends_firing_and_resolved_alerts_to_the_webhook_until_it_is_dropped() {
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
    fn reports_why_it_does_not_start() {
        let error = AlertmanagerServer::start("ftp://127.0.0.1/").unwrap_err().to_string();
        assert!(error.contains("unsupported scheme"), "{error}");
    }
}
