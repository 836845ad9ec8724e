//! Opens connections, encrypted by libpq's rules for `sslmode`.
//!
//! The driver is configured for direct TLS and given a connector that negotiates encryption by the mode first. This
//! puts the same interceptor on top of plain and encrypted connections.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::UnixStream,
};
use tokio_postgres::{
    Client, NoTls, Socket,
    config::{Host, SslNegotiation},
    error::SqlState,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    copy_interceptor::{CopyInterceptor, RowSink, RowSinkSlot},
    dsn::{Dsn, SslMode},
    error::{
        ConnectError, ConnectFailure, NoTlsOffered, classify_connect_error, find_cause,
        is_too_many_open_files,
    },
    tls,
};

/// `SSLRequest` message: its length, and the code in place of a protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Open connection whose COPY rows can be sent to a sink of type `K`.
#[derive(Debug)]
pub struct PgConnection<K> {
    client: Client,
    // Aborted with the connection, so that a cancelled query leaves no task behind.
    driver: AbortOnDropHandle<()>,
    sink_slot: RowSinkSlot<K>,
    encrypted: bool,
    /// Opens the connection for a cancel request; `None` for a local socket.
    canceler: Option<TlsNegotiator<K>>,
}

impl<K: RowSink> PgConnection<K> {
    /// Connects, with encryption by the address.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or rejects the connection, or TLS cannot be set up.
    pub async fn open(dsn: &Dsn) -> Result<Self, ConnectError> {
        open_connection(dsn).await
    }

    /// Returns the client of the driver.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the slot for a sink of COPY rows.
    #[must_use]
    pub fn row_sink_slot(&self) -> &RowSinkSlot<K> {
        &self.sink_slot
    }

    /// Returns whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Returns whether the connection is over TCP rather than a local socket.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.canceler.is_some()
    }

    /// Returns whether the connection is known to be closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Sends a cancel request over a separate connection, at most once, and waits until the server closes that
    /// connection, like libpq. Does nothing over a local socket.
    pub async fn cancel_query(&mut self) {
        if let Some(negotiator) = self.canceler.take() {
            // The server never replies to a cancel request; it only closes the connection.
            let _ = self.client.cancel_token().cancel_query(negotiator).await;
        }
    }

    /// Closes the connection and waits until it is closed.
    pub async fn close(self) {
        drop(self.client);
        let _ = self.driver.await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EncryptionMode {
    Never,
    IfOffered,
    Always,
}

/// Negotiates the encryption of a connection.
struct TlsNegotiator<K> {
    encryption: EncryptionMode,
    /// Start TLS without an `SSLRequest`.
    direct_tls: bool,
    rustls: Option<MakeRustlsConnect>,
    host: String,
    /// Destination of rows; `None` for the connection of a cancel request.
    sink_slot: Option<RowSinkSlot<K>>,
    encrypted: Arc<AtomicBool>,
}

/// Plain or encrypted connection.
pub(crate) enum MaybeTlsStream {
    Plain(Socket),
    Encrypted(Box<RustlsStream>),
}

async fn open_connection<K: RowSink>(dsn: &Dsn) -> Result<PgConnection<K>, ConnectError> {
    if let Some(Host::Unix(folder)) = dsn.config.get_hosts().first() {
        return connect_local(dsn, folder).await;
    }
    let (first, second) = match dsn.ssl_mode {
        SslMode::Disable => (EncryptionMode::Never, None),
        SslMode::Allow => (EncryptionMode::Never, Some(EncryptionMode::Always)),
        SslMode::Prefer => (EncryptionMode::IfOffered, Some(EncryptionMode::Never)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (EncryptionMode::Always, None),
    };
    match (connect_remote(dsn, first).await?, second) {
        (Ok(wire), _) => Ok(wire),
        (Err(error), Some(second)) if allows_encryption_fallback(&error) => {
            // If the fallback fails too, the first error is reported: it belongs to the preferred mode.
            connect_remote(dsn, second).await?.or(Err(classify_connect_error(&error)))
        }
        (Err(error), _) => Err(classify_connect_error(&error)),
    }
}

/// Returns whether the server or TLS rejected this encryption mode, so that the other may succeed.
fn allows_encryption_fallback(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        None => find_cause::<rustls::Error>(error).is_some(),
    }
}

async fn connect_remote<K: RowSink>(
    dsn: &Dsn,
    encryption: EncryptionMode,
) -> Result<Result<PgConnection<K>, tokio_postgres::Error>, ConnectError> {
    let rows = RowSinkSlot::default();
    let encrypted = Arc::new(AtomicBool::new(false));
    let negotiator = TlsNegotiator {
        encryption,
        direct_tls: dsn.config.get_ssl_negotiation() == SslNegotiation::Direct,
        rustls: if encryption == EncryptionMode::Never { None } else { Some(tls::tls_connector(dsn)?) },
        host: String::new(),
        sink_slot: Some(rows.clone()),
        encrypted: Arc::clone(&encrypted),
    };
    let mut config = dsn.config.clone();
    // Makes the driver call our connector at once instead of negotiating TLS itself.
    config.ssl_mode(tokio_postgres::config::SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    Ok(config.connect(negotiator.clone()).await.map(|(client, connection)| {
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // The running query reports a broken connection.
            let _ = connection.await;
        }));
        let encrypted = encrypted.load(Ordering::Relaxed);
        let canceler = Some(TlsNegotiator { sink_slot: None, ..negotiator });
        PgConnection { client, driver, sink_slot: rows, encrypted, canceler }
    }))
}

/// Connects over a local socket, which is never encrypted.
async fn connect_local<K: RowSink>(dsn: &Dsn, folder: &Path) -> Result<PgConnection<K>, ConnectError> {
    let rows = RowSinkSlot::default();
    let port = dsn.config.get_ports().first().copied().unwrap_or(5432);
    let socket = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await.map_err(|error| {
        if is_too_many_open_files(&error) {
            return ConnectError::TooManyOpenFiles;
        }
        ConnectError::Failed(ConnectFailure::NoSocket)
    })?;
    let mut config = dsn.config.clone();
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    let (client, connection) = config
        .connect_raw(CopyInterceptor::new(socket, rows.clone()), NoTls)
        .await
        .map_err(|error| classify_connect_error(&error))?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    Ok(PgConnection { client, driver, sink_slot: rows, encrypted: false, canceler: None })
}

impl<K> Clone for TlsNegotiator<K> {
    fn clone(&self) -> Self {
        Self {
            encryption: self.encryption,
            direct_tls: self.direct_tls,
            rustls: self.rustls.clone(),
            host: self.host.clone(),
            sink_slot: self.sink_slot.clone(),
            encrypted: Arc::clone(&self.encrypted),
        }
    }
}

impl<K: RowSink> TlsNegotiator<K> {
    async fn negotiate_stream(
        mut self,
        mut socket: Socket,
    ) -> io::Result<CopyInterceptor<MaybeTlsStream, K>> {
        let offered = match self.encryption {
            EncryptionMode::Never => false,
            _ => self.direct_tls || request_tls(&mut socket).await?,
        };
        let stream = match &mut self.rustls {
            Some(rustls) if offered => {
                let tls = MakeTlsConnect::<Socket>::make_tls_connect(rustls, &self.host);
                let stream = tls.map_err(io::Error::other)?.connect(socket).await?;
                self.encrypted.store(true, Ordering::Relaxed);
                MaybeTlsStream::Encrypted(Box::new(stream))
            }
            _ if self.encryption == EncryptionMode::Always => return Err(io::Error::other(NoTlsOffered)),
            _ => MaybeTlsStream::Plain(socket),
        };
        Ok(match self.sink_slot {
            Some(rows) => CopyInterceptor::new(stream, rows),
            None => CopyInterceptor::new_lingering(stream),
        })
    }
}

async fn request_tls(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    // Reads exactly one byte: bytes injected behind it by an attacker would otherwise count as encrypted
    // (CVE-2021-23222).
    let mut answer = [0];
    socket.read_exact(&mut answer).await?;
    match answer[0] {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

impl<K> std::fmt::Debug for TlsNegotiator<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsNegotiator").field("encryption", &self.encryption).finish_non_exhaustive()
    }
}

impl<K: RowSink> MakeTlsConnect<Socket> for TlsNegotiator<K> {
    type Stream = CopyInterceptor<MaybeTlsStream, K>;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Self> {
        Ok(Self { host: host.to_owned(), ..self.clone() })
    }
}

impl<K: RowSink> TlsConnect<Socket> for TlsNegotiator<K> {
    type Stream = CopyInterceptor<MaybeTlsStream, K>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<CopyInterceptor<MaybeTlsStream, K>>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.negotiate_stream(socket))
    }
}

impl AsyncRead for MaybeTlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for MaybeTlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

impl TlsStream for MaybeTlsStream {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Plain(_) => ChannelBinding::none(),
            Self::Encrypted(stream) => stream.channel_binding(),
        }
    }
}
