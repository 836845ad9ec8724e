//! The HTTP listener of the daemon, in plain text or with TLS.

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

/// Interval at which the certificate is read again, so that its renewal needs no reload command.
const CERTIFICATE_RELOAD_INTERVAL: Duration = Duration::from_secs(3_600);
/// Time that running responses get to finish on shutdown.
const GRACEFUL_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit for the headers of each request, including those on a kept-alive connection.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for the TLS handshake.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a request's headers.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// The maximum number of concurrent requests on one HTTP/2 connection.
const MAX_HTTP2_STREAMS: u32 = 32;

/// The active certificate, and the files that it comes from.
#[derive(Clone, Debug)]
pub(super) struct TlsCertificate {
    config: RustlsConfig,
    certificate: PathBuf,
    key: PathBuf,
}

/// Loads a certificate chain and its key from PEM files.
pub(super) fn load_tls_config(certificate: &Path, key: &Path) -> Result<ServerConfig, DaemonError> {
    let faulty = || DaemonError::Certificate(certificate.to_owned(), key.to_owned());
    let chain =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(|_| faulty())?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|_| faulty())?;
    // Passed explicitly: a process-wide default provider could be set by any other dependency.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|_| faulty())?;
    // HTTP/2 first, since the event stream would otherwise take one of a browser's six connections.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl TlsCertificate {
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, DaemonError> {
        let config = RustlsConfig::from_config(Arc::new(load_tls_config(certificate, key)?));
        Ok(Self { config, certificate: certificate.to_owned(), key: key.to_owned() })
    }

    /// Reads the files again; keeps the active certificate if that fails.
    pub(super) fn reload(&self) {
        match load_tls_config(&self.certificate, &self.key) {
            // Existing connections keep the old certificate; only new handshakes use this one.
            Ok(config) => self.config.reload_from_config(Arc::new(config)),
            Err(error) => {
                tracing::error!("cannot reload the TLS certificate, the current one stays active: {error}")
            }
        }
    }
}

/// Serves HTTP requests until `close` is cancelled.
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
            // The server future ends by itself after the graceful shutdown.
            std::future::pending::<()>().await;
        };
        let Some(certificate) = certificate else {
            // Browsers and Prometheus use HTTP/2 only over TLS.
            let mut server = server.acceptor(acceptor).http1_only();
            apply_connection_limits(server.http_builder());
            return tokio::select! {
                served = server.serve(service) => served,
                () = ending => Ok(()),
            };
        };
        let tls = RustlsAcceptor::new(certificate.config.clone()).handshake_timeout(TLS_HANDSHAKE_TIMEOUT);
        // The slot is taken before the handshake, so that stalled handshakes count against the limit.
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

fn apply_connection_limits(builder: &mut Builder<TokioExecutor>) {
    // Against slow header attacks: without a limit, a few idle clients could hold all slots.
    builder.http1().header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .max_concurrent_streams(MAX_HTTP2_STREAMS)
        // Pings detect clients that vanished without closing, whose slots would be held for hours.
        .keep_alive_interval(HEADER_READ_TIMEOUT)
        .keep_alive_timeout(HEADER_READ_TIMEOUT);
}
