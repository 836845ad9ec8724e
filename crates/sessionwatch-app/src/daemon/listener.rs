//! The door of the daemon: its address, in the clear or by TLS.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    DaemonError,
    connections::{ConnectionLimiter, LimitedAcceptor},
};

/// How often the certificate is read again: whatever renews it need not tell.
const CERTIFICATE_RELOAD_INTERVAL: Duration = Duration::from_secs(3_600);
/// How long pages may take to be sent to their end.
const GRACEFUL_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the headers of a request may take to arrive, also the next ones over a connection.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the handshake of TLS may take.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request's headers.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Requests at once over one connection of HTTP/2.
const MAX_HTTP2_STREAMS: u32 = 32;

/// The certificate, and where it is.
#[derive(Clone, Debug)]
pub(super) struct TlsCertificate {
    config: RustlsConfig,
    certificate: PathBuf,
    key: PathBuf,
}

/// Reads a certificate with its chain, and its key, both as PEM.
pub(super) fn load_tls_config(certificate: &Path, key: &Path) -> Result<ServerConfig, DaemonError> {
    let faulty = || DaemonError::Certificate(certificate.to_owned(), key.to_owned());
    let chain =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(|_| faulty())?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|_| faulty())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|_| faulty())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl TlsCertificate {
    /// Reads it.
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, DaemonError> {
        let config = RustlsConfig::from_config(Arc::new(load_tls_config(certificate, key)?));
        Ok(Self { config, certificate: certificate.to_owned(), key: key.to_owned() })
    }

    /// Reads it again; what it was stays where that fails.
    pub(super) fn reload(&self) {
        match load_tls_config(&self.certificate, &self.key) {
            Ok(config) => self.config.reload_from_config(Arc::new(config)),
            Err(_) => tracing::error!("the certificate or its key cannot be read: the one before is used on"),
        }
    }
}

/// Serves pages until that is to end.
pub(super) fn spawn_server(
    listener: TcpListener,
    router: Router,
    certificate: Option<TlsCertificate>,
    close: CancellationToken,
) -> JoinHandle<std::io::Result<()>> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move {
        let (handle, acceptor) = (Handle::new(), LimitedAcceptor(ConnectionLimiter::new()));
        let server = axum_server::from_tcp(listener.into_std()?)?
            .handle(handle.clone())
            .first_request_timeout(HEADER_READ_TIMEOUT);
        let ending = async {
            close.cancelled().await;
            handle.graceful_shutdown(Some(GRACEFUL_SHUTDOWN_TIMEOUT));
            std::future::pending::<()>().await;
        };
        let Some(certificate) = certificate else {
            let mut server = server.acceptor(acceptor).http1_only();
            apply_connection_limits(server.http_builder());
            return tokio::select! {
                served = server.serve(service) => served,
                () = ending => Ok(()),
            };
        };
        let tls = RustlsAcceptor::new(certificate.config.clone()).handshake_timeout(TLS_HANDSHAKE_TIMEOUT);
        let mut server = server.acceptor(tls.acceptor(acceptor));
        apply_connection_limits(server.http_builder());
        let renewing = async {
            loop {
                sessionwatch_clock::sleep(CERTIFICATE_RELOAD_INTERVAL).await;
                certificate.reload();
            }
        };
        tokio::select! {
            served = server.serve(service) => served,
            () = renewing => Ok(()),
            () = ending => Ok(()),
        }
    })
}

/// Limits what a connection may take.
fn apply_connection_limits(builder: &mut Builder<TokioExecutor>) {
    builder.http1().header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .max_concurrent_streams(MAX_HTTP2_STREAMS)
        .keep_alive_interval(HEADER_READ_TIMEOUT)
        .keep_alive_timeout(HEADER_READ_TIMEOUT);
}
