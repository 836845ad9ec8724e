//! The wire: how a connection is opened and encrypted, by libpq's rules for `sslmode`.
//!
//! The driver is told to start with TLS at once and is given this connector, which first asks the server, as the mode
//! wants it. So the same tap lies above plain and encrypted connections.

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
    task::JoinHandle,
};
use tokio_postgres::{
    Client, NoTls, Socket,
    config::{Host, SslNegotiation},
    error::SqlState,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    dsn::{Dsn, SslMode},
    tap::{Outlet, Tap},
    tls,
};
use crate::target::error::TargetError;

/// The request to encrypt: its length, and the code that stands in place of a protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// An open connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) driver: JoinHandle<()>,
    pub(super) outlet: Outlet,
    pub(super) encrypted: bool,
    /// Opens the connection that asks to cancel; nothing for a local socket.
    pub(super) canceller: Option<Connector>,
}

/// Whether to encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    Never,
    IfOffered,
    Always,
}

/// Opens the stream of a connection.
#[derive(Clone)]
pub(super) struct Connector {
    encryption: Encryption,
    /// TLS starts at once, without asking.
    direct: bool,
    rustls: Option<MakeRustlsConnect>,
    host: String,
    /// Where rows go; nothing for the connection that asks to cancel.
    outlet: Option<Outlet>,
    encrypted: Arc<AtomicBool>,
}

/// A plain or encrypted connection.
pub(super) enum Stream {
    Plain(Socket),
    Encrypted(Box<Rustls>),
}

/// The server offers no TLS.
#[derive(Debug, thiserror::Error)]
#[error("the server offers no TLS")]
pub(super) struct NoTlsOffered;

/// Opens a connection.
pub(super) async fn connect(dsn: &Dsn) -> Result<Wire, TargetError> {
    if let Some(Host::Unix(folder)) = dsn.config.get_hosts().first() {
        return connect_local(dsn, folder).await;
    }
    let (first, second) = match dsn.ssl_mode {
        SslMode::Disable => (Encryption::Never, None),
        SslMode::Allow => (Encryption::Never, Some(Encryption::Always)),
        SslMode::Prefer => (Encryption::IfOffered, Some(Encryption::Never)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Encryption::Always, None),
    };
    match (connect_remote(dsn, first).await?, second) {
        (Ok(wire), _) => Ok(wire),
        (Err(error), Some(second)) if may_try_otherwise(&error) => {
            // If that fails too, the first failure is the one to tell.
            connect_remote(dsn, second).await?.or(Err(super::connect_error(&error)))
        }
        (Err(error), _) => Err(super::connect_error(&error)),
    }
}

/// Whether the server or TLS refused this way of connecting, so that the other may succeed.
fn may_try_otherwise(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        None => super::cause::<rustls::Error>(error).is_some(),
    }
}

async fn connect_remote(
    dsn: &Dsn,
    encryption: Encryption,
) -> Result<Result<Wire, tokio_postgres::Error>, TargetError> {
    let outlet = Outlet::default();
    let encrypted = Arc::new(AtomicBool::new(false));
    let connector = Connector {
        encryption,
        direct: dsn.config.get_ssl_negotiation() == SslNegotiation::Direct,
        rustls: if encryption == Encryption::Never { None } else { Some(tls::connector(dsn)?) },
        host: String::new(),
        outlet: Some(outlet.clone()),
        encrypted: Arc::clone(&encrypted),
    };
    let mut config = dsn.config.clone();
    config.ssl_mode(tokio_postgres::config::SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    Ok(config.connect(connector.clone()).await.map(|(client, connection)| {
        let driver = tokio::spawn(async move {
            // A broken connection is reported by the query that met it.
            let _ = connection.await;
        });
        let encrypted = encrypted.load(Ordering::Relaxed);
        let canceller = Some(Connector { outlet: None, ..connector });
        Wire { client, driver, outlet, encrypted, canceller }
    }))
}

/// A local socket, which is never encrypted.
async fn connect_local(dsn: &Dsn, folder: &Path) -> Result<Wire, TargetError> {
    let outlet = Outlet::default();
    let port = dsn.config.get_ports().first().copied().unwrap_or(5432);
    let socket = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await.map_err(|error| {
        let absent = TargetError::Connect("no server listens on that local socket");
        TargetError::too_many_files(&error).unwrap_or(absent)
    })?;
    let mut config = dsn.config.clone();
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    let (client, connection) = config
        .connect_raw(Tap::new(socket, outlet.clone()), NoTls)
        .await
        .map_err(|error| super::connect_error(&error))?;
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Wire { client, driver, outlet, encrypted: false, canceller: None })
}

impl Connector {
    async fn open(mut self, mut socket: Socket) -> io::Result<Tap<Stream>> {
        let offered = match self.encryption {
            Encryption::Never => false,
            _ => self.direct || offered(&mut socket).await?,
        };
        let stream = match &mut self.rustls {
            Some(rustls) if offered => {
                let tls = MakeTlsConnect::<Socket>::make_tls_connect(rustls, &self.host);
                let stream = tls.map_err(io::Error::other)?.connect(socket).await?;
                self.encrypted.store(true, Ordering::Relaxed);
                Stream::Encrypted(Box::new(stream))
            }
            _ if self.encryption == Encryption::Always => return Err(io::Error::other(NoTlsOffered)),
            _ => Stream::Plain(socket),
        };
        Ok(match self.outlet {
            Some(outlet) => Tap::new(stream, outlet),
            None => Tap::lingering(stream),
        })
    }
}

async fn offered(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    // One byte and no more: what an attacker puts behind it would otherwise be taken for the server's.
    let mut answer = [0];
    socket.read_exact(&mut answer).await?;
    match answer[0] {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("encryption", &self.encryption).finish_non_exhaustive()
    }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Tap<Stream>;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Self> {
        Ok(Self { host: host.to_owned(), ..self.clone() })
    }
}

impl TlsConnect<Socket> for Connector {
    type Stream = Tap<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Tap<Stream>>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.open(socket))
    }
}

impl AsyncRead for Stream {
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

impl AsyncWrite for Stream {
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

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Plain(_) => ChannelBinding::none(),
            Self::Encrypted(stream) => stream.channel_binding(),
        }
    }
}
