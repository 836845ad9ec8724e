//! The tap: takes the rows of a COPY out of what a server sends, before the driver sees them.
//!
//! The driver hands over one message a row, through a queue, which costs more than reading the row. It also sends a COPY
//! only as a named statement, which transaction poolers mix up. With the tap, a COPY is an ordinary simple query whose
//! rows go straight from the receive buffer into the ledger.

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

use super::scan::Collector;
use crate::{archive::whole::Whole, target::error::TargetError};

/// Bytes that are received at once.
const CHUNK: usize = 128 * 1024;
/// Tag and length of a message.
const HEADER: usize = 5;
/// No message of a look is nearly as long; a longer one is not this protocol.
const LONGEST: usize = 64 * 1024 * 1024;

/// Where a tap puts rows: empty unless a scan is running.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlet {
    taker: Arc<Mutex<Option<Taker>>>,
    /// A row was longer than any use for it, which ended the connection.
    overflowed: Arc<AtomicBool>,
}

/// What takes rows in.
#[derive(Debug)]
pub(super) enum Taker {
    /// A scan, into the ledger.
    Scan(Box<Collector>),
    /// Whole rows, for the archive.
    Whole(Whole),
}

impl Taker {
    #[inline]
    fn row(&mut self, message: &[u8]) {
        match self {
            Self::Scan(collector) => collector.row(message),
            Self::Whole(whole) => whole.push(message),
        }
    }
}

/// A connection whose COPY rows go to an outlet.
#[derive(Debug)]
pub(super) struct Tap<S> {
    stream: S,
    outlet: Outlet,
    /// Received, and not yet sorted, between `start` and `end`.
    received: Vec<u8>,
    start: usize,
    end: usize,
    /// Complete messages for the driver; up to `passed`, handed over.
    passing: Vec<u8>,
    passed: usize,
    lingers: bool,
}

impl Outlet {
    /// Rows go to `taker` from now on.
    pub(super) fn open(&self, taker: Taker) {
        *self.lock() = Some(taker);
    }

    /// Takes back what took rows in.
    pub(super) fn close(&self) -> Option<Taker> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Taker>> {
        self.taker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a failed query means, if the connection ended because of a row that was too long.
    pub(super) fn explained(&self, error: TargetError) -> TargetError {
        match error {
            TargetError::Lost if self.overflowed.load(Ordering::Relaxed) => {
                TargetError::AnswerTooLarge(LONGEST >> 20)
            }
            error => error,
        }
    }
}

impl<S> Tap<S> {
    /// A tap on a connection on which nothing but the protocol has been received yet.
    pub(super) fn new(stream: S, outlet: Outlet) -> Self {
        Self {
            stream,
            outlet,
            received: Vec::new(),
            start: 0,
            end: 0,
            passing: Vec::new(),
            passed: 0,
            lingers: false,
        }
    }

    /// Closes only after the other side has. A pooler may still be passing on what was asked of it, and PgBouncer 1.18
    /// ends with an error if whoever asked it to cancel a query does not wait, as libpq does.
    pub(super) fn lingering(stream: S) -> Self {
        Self { lingers: true, ..Self::new(stream, Outlet::default()) }
    }

    /// Sorts what was received into rows and messages for the driver.
    fn sort(&mut self) -> io::Result<()> {
        let mut outlet = self.outlet.lock();
        let overflowed = &self.outlet.overflowed;
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
            match (message.first(), outlet.as_mut()) {
                (Some(b'd'), Some(taker)) => taker.row(&message[HEADER..]),
                (Some(b'H' | b'c'), Some(_)) => {}
                _ => self.passing.extend_from_slice(message),
            }
        }
        Ok(())
    }

    /// Room for what comes next: what is not sorted yet moves to the front, and a long message gets a longer buffer.
    fn make_room(&mut self) {
        self.received.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.received.len() < self.end + CHUNK / 2 {
            self.received.resize(self.end + CHUNK, 0);
        }
    }

    /// Hands over as much as fits; false if there was nothing.
    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = &self.passing[self.passed..];
        let fitting = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..fitting]);
        self.passed += fitting;
        if self.passed == self.passing.len() {
            self.passing.clear();
            self.passed = 0;
        }
        fitting > 0
    }
}

/// The length of the message at the start of `bytes`, once all of it is there.
fn message_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(length) = bytes.get(1..HEADER).and_then(|length| length.try_into().ok()) else {
        return Ok(None);
    };
    // The length counts itself, but not the tag.
    match usize::try_from(i32::from_be_bytes(length)) {
        Ok(length) if (4..LONGEST).contains(&length) => Ok((bytes.len() > length).then_some(length + 1)),
        Ok(LONGEST..) => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

impl<S: AsyncRead + Unpin> Tap<S> {
    /// Receives what there is: how many bytes, none at the end.
    fn receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(&mut self.received[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
        let came = room.filled().len();
        self.end += came;
        Poll::Ready(Ok(came))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = &mut *self;
        while !tap.hand_over(buffer) {
            let came = ready!(tap.receive(context))?;
            if came == 0 {
                break;
            }
            tap.sort()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<S> {
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
        // Nothing is expected but the end, be it an orderly one or not.
        while self.lingers && matches!(ready!(self.receive(context)), Ok(1..)) {
            self.start = self.end;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
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

    /// What the driver sees of `sent`, which arrives in pieces of that size.
    fn passed(sent: &[u8], piece: usize, collector: Option<Collector>) -> (io::Result<Vec<u8>>, Outlet) {
        let outlet = Outlet::default();
        collector.into_iter().for_each(|collector| outlet.open(Taker::Scan(Box::new(collector))));
        let mut builder = tokio_test::io::Builder::new();
        for piece in sent.chunks(piece) {
            builder.read(piece);
        }
        let mut tap = Tap::new(builder.build(), outlet.clone());
        let mut seen = Vec::new();
        let outcome = tokio_test::block_on(tap.read_to_end(&mut seen));
        (outcome.map(|_| seen), outlet)
    }

    #[test]
    fn rows_leave_the_stream_and_everything_else_stays_however_it_is_cut() {
        let (notice, done) = (message(b'N', b"notice"), message(b'C', b"COPY 2\0"));
        let rows = [message(b'H', &[1]), message(b'd', &[0xff; 300]), message(b'c', b"")].concat();
        let sent = [&notice[..], &rows, &done].concat();
        for piece in [1, 2, 5, 7, 299, 4_096] {
            let (seen, outlet) = passed(&sent, piece, Some(Collector::refusing()));
            assert_eq!(seen.unwrap(), [&notice[..], &done].concat(), "{piece}");
            let Some(Taker::Scan(collector)) = outlet.close() else { unreachable!("it was put there") };
            assert!(collector.has_failed());
            assert_eq!(passed(&sent, piece, None).0.unwrap(), sent, "{piece}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        for length in [[0xff; 4], [0, 0, 0, 3]] {
            let sent = [&[b'd'][..], &length, &[0; 20]].concat();
            assert_eq!(passed(&sent, 25, None).0.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn a_row_that_is_too_long_is_told_from_a_lost_connection() {
        for (tag, is_row) in [(b'd', true), (b'D', true), (b'N', false)] {
            let sent = [&[tag][..], &[0x7f, 0, 0, 0], &[0; 20]].concat();
            let (seen, outlet) = passed(&sent, 25, None);
            assert_eq!(seen.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
            let explained = outlet.explained(TargetError::Lost);
            assert_eq!(matches!(explained, TargetError::AnswerTooLarge(64)), is_row, "{explained}");
        }
    }
}
