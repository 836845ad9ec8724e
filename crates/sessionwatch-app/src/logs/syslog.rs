//! Syslog server over TCP (RFC 6587, octet-counted or newline-separated messages) and UDP (RFC 5426, one message per
//! datagram).

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ipnet::IpNet;
use sessionwatch_logs::{
    line_reader::{LogExcerpt, LogReader, ReadCounters},
    log_event::LogEvent,
    matchers::Matchers,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{LocatedLogEvent, log_batch::LogBatch};

/// The maximum size of a message; the rest of a longer one is dropped.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// The maximum number of concurrent connections.
const MAX_CONNECTIONS: usize = 64;
/// Delay for which datagrams are collected into one batch.
const BATCH_DELAY: Duration = Duration::from_millis(200);
/// The maximum number of datagrams in a batch.
const MAX_BATCH_MESSAGES: usize = 2_000;
/// The maximum number of datagrams queued while a batch is stored.
const MAX_QUEUED_DATAGRAMS: usize = 20_000;

/// Stores batches.
pub trait LogBatchStore: Clone + Send + Sync + 'static {
    /// Stores a batch. Returns `true` if it is stored durably.
    fn store_batch(&self, batch: LogBatch) -> impl Future<Output = bool> + Send;
}

/// The networks that may send.
#[derive(Clone, Debug)]
pub struct SenderAllowlist {
    /// Empty to allow all senders.
    networks: Arc<[IpNet]>,
    /// Rejected datagrams and connections since the last batch, and in total.
    refused: Arc<(AtomicU64, AtomicU64)>,
}

impl SenderAllowlist {
    /// Creates an allowlist; an empty one allows all senders.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self { networks: networks.into(), refused: Arc::default() }
    }

    /// Returns `true` if an address may send. Counts and logs a rejection.
    fn check_sender(&self, sender: SocketAddr, source: &str) -> bool {
        // A dual-stack socket reports IPv4 senders as mapped addresses, which no configured network
        // contains.
        let address = sender.ip().to_canonical();
        if self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&address)) {
            return true;
        }
        let (since_kept, in_all) = &*self.refused;
        since_kept.fetch_add(1, Ordering::Relaxed);
        let count = in_all.fetch_add(1, Ordering::Relaxed) + 1;
        // Logged at powers of two, so that a flood does not fill the log.
        if count.is_power_of_two() {
            tracing::warn!(source, count, "rejected syslog from {address}: the address is not in `senders`");
        }
        false
    }

    /// Returns the number of rejections since the last call.
    fn take_refused_count(&self) -> u64 {
        // Reset with each batch, so that the numbers in the store add up.
        self.refused.0.swap(0, Ordering::Relaxed)
    }
}

/// A syslog server for one log source.
#[derive(Clone, Debug)]
pub struct SyslogServer<K> {
    /// Names of the source and the target.
    pub names: (String, String),
    /// The line matchers.
    pub matchers: Arc<Matchers>,
    /// Stores the batches.
    pub batch_store: K,
    /// The networks that may send.
    pub senders: SenderAllowlist,
    /// Stops the server.
    pub stop: CancellationToken,
}

/// Splits a TCP stream into messages.
#[derive(Debug, Default)]
struct MessageBuffer {
    bytes: Vec<u8>,
    /// Remaining bytes of an overlong message to drop; `u64::MAX` to drop up to the next line break.
    skip: Option<u64>,
    overlong: u64,
}

impl MessageBuffer {
    /// Returns the next complete message; `None` if more bytes are needed.
    fn next_message(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(left) = self.skip {
                let end = if left == u64::MAX {
                    memchr::memchr(b'\n', &self.bytes).map(|end| end + 1)
                } else {
                    usize::try_from(left).ok().filter(|left| *left <= self.bytes.len())
                };
                let Some(end) = end else {
                    let passed = self.bytes.len() as u64;
                    self.skip = Some(if left == u64::MAX { left } else { left - passed });
                    self.bytes.clear();
                    return None;
                };
                self.bytes.drain(..end);
                self.skip = None;
            }
            // RFC 6587: a message starts with its length and a space, or else ends with a line break.
            let digits = self.bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let counted = digits > 0 && digits < 10 && self.bytes.get(digits) == Some(&b' ');
            if counted {
                let count = std::str::from_utf8(&self.bytes[..digits]).ok()?.parse::<usize>().ok()?;
                let begin = digits + 1;
                let taken = count.min(MAX_MESSAGE_BYTES);
                if self.bytes.len() < begin + taken {
                    return None;
                }
                let message = self.bytes[begin..begin + taken].to_vec();
                self.bytes.drain(..begin + taken);
                if count > taken {
                    self.overlong += 1;
                    self.skip = Some((count - taken) as u64);
                }
                return Some(message);
            }
            let (message, rest) = match memchr::memchr(b'\n', &self.bytes) {
                Some(end) => (self.bytes[..end].to_vec(), end + 1),
                None if self.bytes.len() >= MAX_MESSAGE_BYTES => {
                    self.overlong += 1;
                    self.skip = Some(u64::MAX);
                    (self.bytes[..MAX_MESSAGE_BYTES].to_vec(), self.bytes.len())
                }
                None => return None,
            };
            self.bytes.drain(..rest);
            if !message.is_empty() {
                return Some(message);
            }
        }
    }
}

impl<K: LogBatchStore> SyslogServer<K> {
    /// Serves connections and datagrams until stopped.
    pub async fn listen(self, tcp: TcpListener, udp: UdpSocket) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let accepting = async {
            loop {
                // Before accepting: at the limit, further senders wait in the kernel's queue.
                let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
                let accepted = tokio::select! {
                    accepted = tcp.accept() => accepted,
                    () = self.stop.cancelled() => return,
                };
                match accepted {
                    Ok((_, sender)) if !self.senders.check_sender(sender, &self.names.0) => {}
                    Ok((stream, _)) => {
                        let this = self.clone();
                        tokio::spawn(async move {
                            this.serve_connection(stream).await;
                            drop(permit);
                        });
                    }
                    // Too many open files, or the client disconnected. The delay prevents a busy loop.
                    Err(_) => {
                        self.stop.run_until_cancelled(sessionwatch_clock::sleep(BATCH_DELAY)).await;
                    }
                }
            }
        };
        tokio::join!(accepting, self.serve_datagrams(udp));
        // Waits for all connections, which stop by the same token, so that their last messages are stored.
        let _ = connections.acquire_many(u32::try_from(MAX_CONNECTIONS).unwrap_or(1)).await;
    }

    /// Reads a connection until it ends. Reading pauses until each batch is stored, so that TCP slows down the sender.
    async fn serve_connection(&self, mut stream: TcpStream) {
        let (mut messages, mut reader) = (MessageBuffer::default(), LogReader::new(&self.matchers));
        let (mut buffer, mut before) = (vec![0; 64 << 10], ReadCounters::default());
        loop {
            let mut ended = tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => true,
                    Ok(read) => {
                        messages.bytes.extend_from_slice(&buffer[..read]);
                        false
                    }
                },
                () = self.stop.cancelled() => true,
            };
            let mut found = vec![];
            while let Some(message) = messages.next_message() {
                self.read_message(&mut reader, &message, &mut found);
            }
            for _ in 0..std::mem::take(&mut messages.overlong) {
                reader.count_overlong_line();
            }
            if ended {
                // A sender may end its last message by closing the connection.
                let rest = std::mem::take(&mut messages.bytes);
                if messages.skip.is_none() && !rest.is_empty() {
                    self.read_message(&mut reader, &rest, &mut found);
                }
            }
            // A multi-line entry may continue in the next message.
            if ended || !reader.has_pending_entry() {
                let mut sink = self.event_sink(&mut found);
                reader.finish(&mut sink);
            }
            let counters = reader.counters();
            if counters != before {
                // A connection whose batch cannot be stored is closed, so that the sender keeps its
                // messages.
                ended |= !self.store_events(found, counters.since(before), vec![]).await;
            }
            before = counters;
            if ended {
                return;
            }
        }
    }

    /// Receives datagrams. Drops and counts them while the queue is full, since UDP has no backpressure.
    async fn serve_datagrams(&self, socket: UdpSocket) {
        let (mut waiting, mut dropped) = (VecDeque::new(), 0);
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        let mut keeping: Option<std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>>> = None;
        let mut due = tokio::time::Instant::now();
        loop {
            let busy = keeping.is_some();
            tokio::select! {
                received = socket.recv_from(&mut buffer) => if let Ok((length, sender)) = received
                    && self.senders.check_sender(sender, &self.names.0)
                {
                    // From the first datagram, so that none waits longer than the delay.
                    if waiting.is_empty() {
                        due = tokio::time::Instant::now() + BATCH_DELAY;
                    }
                    if waiting.len() < MAX_QUEUED_DATAGRAMS {
                        waiting.push_back(buffer[..length].to_vec());
                    } else {
                        dropped += 1;
                    }
                },
                stored = async {
                    match &mut keeping {
                        Some(keeping) => keeping.await,
                        None => std::future::pending().await,
                    }
                } => {
                    keeping = None;
                    if !stored {
                        tracing::warn!(source = self.names.0, "lost syslog datagrams: cannot write the store");
                    }
                }
                // One batch at a time: the store serializes writers anyway, and the queue absorbs a burst.
                () = tokio::time::sleep_until(due), if !busy && !waiting.is_empty() => {
                    keeping = Some(self.store_datagrams(&mut waiting, std::mem::take(&mut dropped)));
                }
                () = self.stop.cancelled() => break,
            }
        }
        if let Some(keeping) = keeping {
            keeping.await;
        }
        // On a stop, what has been received is stored, since UDP senders will not send it again.
        while !waiting.is_empty() {
            self.store_datagrams(&mut waiting, std::mem::take(&mut dropped)).await;
        }
    }

    /// Stores a batch of queued datagrams.
    fn store_datagrams(
        &self,
        waiting: &mut VecDeque<Vec<u8>>,
        dropped: u64,
    ) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        // A reader per batch: datagrams of different senders must not be joined into one entry.
        let (mut reader, mut found) = (LogReader::new(&self.matchers), vec![]);
        for message in waiting.drain(..waiting.len().min(MAX_BATCH_MESSAGES)) {
            self.read_message(&mut reader, &message, &mut found);
        }
        let mut sink = self.event_sink(&mut found);
        reader.finish(&mut sink);
        drop(sink);
        Box::pin(self.store_events(found, reader.counters(), vec![("datagrams", dropped)]))
    }

    fn event_sink<'a>(
        &'a self,
        found: &'a mut Vec<(Option<String>, LocatedLogEvent)>,
    ) -> impl FnMut(LogEvent<'_>, LogExcerpt<'_>) + 'a {
        |event, place| {
            found.push((None, LocatedLogEvent::new(event, place, &self.names.0, self.matchers.patterns())))
        }
    }

    fn read_message(
        &self,
        reader: &mut LogReader<'_>,
        message: &[u8],
        found: &mut Vec<(Option<String>, LocatedLogEvent)>,
    ) {
        let mut sink = self.event_sink(found);
        // A message may contain line breaks that the application logged.
        reader.read_block(message, 0, true, &mut sink);
    }

    async fn store_events(
        &self,
        events: Vec<(Option<String>, LocatedLogEvent)>,
        counters: ReadCounters,
        mut dropped: Vec<(&'static str, u64)>,
    ) -> bool {
        // With whichever batch comes next, as a rejected sender has none of its own.
        dropped.push(("refused", self.senders.take_refused_count()));
        let (source, target) = self.names.clone();
        self.batch_store
            .store_batch(LogBatch { source, target, counters, events, dropped, ..LogBatch::default() })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[&[u8]]) -> (Vec<String>, u64) {
        let (mut messages, mut found) = (MessageBuffer::default(), vec![]);
        for part in parts {
            messages.bytes.extend_from_slice(part);
            while let Some(message) = messages.next_message() {
                found.push(String::from_utf8_lossy(&message).chars().take(20).collect());
            }
        }
        (found, messages.overlong)
    }

    #[test]
    fn messages_are_octet_counted_or_end_at_a_line_break() {
        let all = ["<1>one", "<2>two\nlines", "<3>three"].map(str::to_owned).to_vec();
        let stream = b"6 <1>one12 <2>two\nlines<3>three\n\n";
        assert_eq!(cut(&[stream]), (all.clone(), 0));
        for end in 0..stream.len() {
            assert_eq!(cut(&[&stream[..end], &stream[end..]]), (all.clone(), 0), "{end}");
        }
    }

    #[test]
    fn an_overlong_message_is_truncated_and_the_next_one_is_found() {
        let long = [b"200000 ".to_vec(), vec![b'x'; 200_000], b"6 <1>one".to_vec()].concat();
        let endless = [vec![b'x'; 200_000], b"\n<1>one\n".to_vec()].concat();
        for stream in [long, endless] {
            let parts: Vec<&[u8]> = stream.chunks(10_000).collect();
            let (found, overlong) = cut(&parts);
            assert_eq!((found.len(), found[1].as_str(), overlong), (2, "<1>one", 1));
        }
    }
}
