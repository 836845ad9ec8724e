//! Intercepts COPY rows on the wire, before the driver sees them.
//!
//! The driver passes one message per row through a queue, which costs more than parsing the row. It also runs COPY
//! only as a named statement, which transaction poolers mix up. Here COPY is a simple query, and its rows go straight
//! from the receive buffer to a sink.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// Size of a read from the socket, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;
/// Size of the tag and length of a message, in bytes.
const MESSAGE_HEADER_BYTES: usize = 5;
/// Maximum message size in bytes. A longer message is not this protocol, or is useless.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Receives the rows of a COPY.
pub trait RowSink: std::fmt::Debug + Send + 'static {
    /// Receives the body of one `CopyData` message.
    fn push_row(&mut self, row: &[u8]);
}

/// Sink type of connections without COPY.
#[derive(Clone, Copy, Debug)]
pub enum NoRows {}

impl RowSink for NoRows {
    fn push_row(&mut self, _row: &[u8]) {
        match *self {}
    }
}

/// Slot for the current sink, empty unless a COPY is running. Clones share the slot.
#[derive(Debug)]
pub struct RowSinkSlot<K> {
    sink: Arc<Mutex<Option<K>>>,
    /// A row exceeded [`MAX_MESSAGE_BYTES`], which ended the connection.
    overflowed: Arc<AtomicBool>,
}

impl<K> Clone for RowSinkSlot<K> {
    fn clone(&self) -> Self {
        Self { sink: Arc::clone(&self.sink), overflowed: Arc::clone(&self.overflowed) }
    }
}

impl<K> Default for RowSinkSlot<K> {
    fn default() -> Self {
        Self { sink: Arc::default(), overflowed: Arc::default() }
    }
}

/// Stream whose COPY rows go to a sink.
#[derive(Debug)]
pub(crate) struct CopyInterceptor<S, K> {
    stream: S,
    sink_slot: RowSinkSlot<K>,
    /// Receive buffer; the bytes from `start` to `end` are not routed yet.
    received: Vec<u8>,
    start: usize,
    end: usize,
    /// Complete messages for the driver; those before `driver_buffer_pos` were delivered.
    driver_buffer: Vec<u8>,
    driver_buffer_pos: usize,
    lingers: bool,
}

impl<K> RowSinkSlot<K> {
    /// Sends all further rows to `sink`.
    pub fn put(&self, sink: K) {
        *self.lock_sink() = Some(sink);
    }

    /// Removes and returns the sink; `None` if the slot is empty.
    #[must_use]
    pub fn take(&self) -> Option<K> {
        self.lock_sink().take()
    }

    /// Returns whether the connection ended because of a row longer than [`MAX_MESSAGE_BYTES`].
    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::Relaxed)
    }

    fn lock_sink(&self) -> MutexGuard<'_, Option<K>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, K: RowSink> CopyInterceptor<S, K> {
    /// Intercepts a new connection, on which no protocol message was received yet.
    pub(crate) fn new(stream: S, sink_slot: RowSinkSlot<K>) -> Self {
        Self {
            stream,
            sink_slot,
            received: Vec::new(),
            start: 0,
            end: 0,
            driver_buffer: Vec::new(),
            driver_buffer_pos: 0,
            lingers: false,
        }
    }

    /// Creates a stream that closes only after the server has.
    pub(crate) fn new_lingering(stream: S) -> Self {
        // A pooler may still be forwarding a cancel request. PgBouncer 1.18 fails if the client does not wait, as
        // libpq does.
        Self { lingers: true, ..Self::new(stream, RowSinkSlot::default()) }
    }

    /// Routes received messages to the sink or to the driver.
    fn route_messages(&mut self) -> io::Result<()> {
        let mut sink = self.sink_slot.lock_sink();
        let overflowed = &self.sink_slot.overflowed;
        let length = |received: &[u8]| {
            let length = message_length(received);
            let is_row = matches!(received.first(), Some(b'd' | b'D'));
            if is_row && length.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::FileTooLarge) {
                overflowed.store(true, Ordering::Relaxed);
            }
            length
        };
        while let Some(length) = length(&self.received[self.start..self.end])? {
            let message = &self.received[self.start..self.start + length];
            self.start += length;
            match (message.first(), sink.as_mut()) {
                (Some(b'd'), Some(sink)) => sink.push_row(&message[MESSAGE_HEADER_BYTES..]),
                // The driver did not start this COPY, so it must not see `CopyOutResponse` and `CopyDone` either.
                (Some(b'H' | b'c'), Some(_)) => {}
                _ => self.driver_buffer.extend_from_slice(message),
            }
        }
        Ok(())
    }

    /// Moves unrouted bytes to the front and makes room for the next read.
    fn reserve_receive_space(&mut self) {
        self.received.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        // Grows for long messages.
        if self.received.len() < self.end + RECEIVE_BUFFER_BYTES / 2 {
            self.received.resize(self.end + RECEIVE_BUFFER_BYTES, 0);
        }
    }

    /// Delivers as many bytes as fit; returns `false` if there are none.
    fn copy_to_driver(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = &self.driver_buffer[self.driver_buffer_pos..];
        let fitting = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..fitting]);
        self.driver_buffer_pos += fitting;
        if self.driver_buffer_pos == self.driver_buffer.len() {
            self.driver_buffer.clear();
            self.driver_buffer_pos = 0;
        }
        fitting > 0
    }
}

/// Returns the length of the first message, once it is complete.
fn message_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(length) = bytes.get(1..MESSAGE_HEADER_BYTES).and_then(|length| length.try_into().ok()) else {
        return Ok(None);
    };
    // The length counts itself, but not the tag.
    match usize::try_from(i32::from_be_bytes(length)) {
        Ok(length) if (4..MAX_MESSAGE_BYTES).contains(&length) => {
            Ok((bytes.len() > length).then_some(length + 1))
        }
        Ok(MAX_MESSAGE_BYTES..) => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

impl<S: AsyncRead + Unpin, K: RowSink> CopyInterceptor<S, K> {
    /// Receives available bytes and returns their number, 0 at the end of the stream.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.reserve_receive_space();
        let mut room = ReadBuf::new(&mut self.received[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
        let count = room.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + Unpin, K: RowSink> AsyncRead for CopyInterceptor<S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.copy_to_driver(buffer) {
            let count = ready!(this.poll_receive(context))?;
            if count == 0 {
                break;
            }
            this.route_messages()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, K: RowSink> AsyncWrite for CopyInterceptor<S, K> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only the end of the stream is expected, whether orderly or not.
        while self.lingers && matches!(ready!(self.poll_receive(context)), Ok(1..)) {
            self.start = self.end;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin, K: RowSink> TlsStream for CopyInterceptor<S, K> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag][..], &length, body].concat()
    }

    #[derive(Debug, Default)]
    struct KeptRows(Vec<Vec<u8>>);

    impl RowSink for KeptRows {
        fn push_row(&mut self, row: &[u8]) {
            self.0.push(row.to_vec());
        }
    }

    /// Returns the bytes that the driver sees of `sent`, which arrives in pieces of `piece` bytes.
    fn read_through(
        sent: &[u8],
        piece: usize,
        sink: Option<KeptRows>,
    ) -> (io::Result<Vec<u8>>, RowSinkSlot<KeptRows>) {
        let rows = RowSinkSlot::default();
        sink.into_iter().for_each(|sink| rows.put(sink));
        let mut builder = tokio_test::io::Builder::new();
        for piece in sent.chunks(piece) {
            builder.read(piece);
        }
        let mut interceptor = CopyInterceptor::new(builder.build(), rows.clone());
        let mut seen = Vec::new();
        let outcome = tokio_test::block_on(interceptor.read_to_end(&mut seen));
        (outcome.map(|_| seen), rows)
    }

    #[test]
    fn only_rows_leave_the_stream_however_it_is_split() {
        let (notice, done) = (message(b'N', b"notice"), message(b'C', b"COPY 2\0"));
        let rows = [message(b'H', &[1]), message(b'd', &[0xff; 300]), message(b'c', b"")].concat();
        let sent = [&notice[..], &rows, &done].concat();
        for piece in [1, 2, 5, 7, 299, 4_096] {
            let (seen, slot) = read_through(&sent, piece, Some(KeptRows::default()));
            assert_eq!(seen.unwrap(), [&notice[..], &done].concat(), "{piece}");
            assert_eq!(slot.take().unwrap().0, [vec![0xff; 300]], "{piece}");
            assert_eq!(read_through(&sent, piece, None).0.unwrap(), sent, "{piece}");
        }
    }

    #[test]
    fn impossible_lengths_are_errors() {
        for length in [[0xff; 4], [0, 0, 0, 3]] {
            let sent = [&[b'd'][..], &length, &[0; 20]].concat();
            assert_eq!(read_through(&sent, 25, None).0.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn an_overlong_row_is_distinguished_from_a_lost_connection() {
        for (tag, is_row) in [(b'd', true), (b'D', true), (b'N', false)] {
            let sent = [&[tag][..], &[0x7f, 0, 0, 0], &[0; 20]].concat();
            let (seen, slot) = read_through(&sent, 25, None);
            assert_eq!(seen.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
            assert_eq!(slot.has_overflowed(), is_row);
        }
    }
}
