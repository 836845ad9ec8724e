//! The door of the daemon: its address, in the clear or by TLS.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::DaemonError;

/// How often the certificate is read again: whatever renews it need not tell.
const RENEWED: Duration = Duration::from_secs(3_600);
/// How long pages may take to be sent to their end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The certificate, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    config: RustlsConfig,
    files: (PathBuf, PathBuf),
}

/// Reads a certificate with its chain, and its key, both as PEM.
pub(super) fn certified(files: &(PathBuf, PathBuf)) -> Result<ServerConfig, DaemonError> {
    let faulty = || DaemonError::Certificate(files.0.clone(), files.1.clone());
    let chain = CertificateDer::pem_file_iter(&files.0).and_then(Iterator::collect).map_err(|_| faulty())?;
    let key = PrivateKeyDer::from_pem_file(&files.1).map_err(|_| faulty())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|_| faulty())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl Certificate {
    /// Reads it.
    pub(super) fn read(files: &(PathBuf, PathBuf)) -> Result<Self, DaemonError> {
        let config = RustlsConfig::from_config(Arc::new(certified(files)?));
        Ok(Self { config, files: files.clone() })
    }

    /// Reads it again; what it was stays where that fails.
    pub(super) fn renew(&self) {
        match certified(&self.files) {
            Ok(config) => self.config.reload_from_config(Arc::new(config)),
            Err(_) => tracing::error!("the certificate or its key cannot be read: the one before is used on"),
        }
    }
}

/// Serves pages until that is to end.
pub(super) fn serve(
    listener: TcpListener,
    router: Router,
    certificate: Option<Certificate>,
    mut closing: watch::Receiver<bool>,
) -> JoinHandle<std::io::Result<()>> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let Some(certificate) = certificate else {
        let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
            // The sender lives as long as the pages.
            let _ = closing.wait_for(|closed| *closed).await;
        });
        return tokio::spawn(serving.into_future());
    };
    tokio::spawn(async move {
        let handle = Handle::new();
        let server = axum_server::from_tcp_rustls(listener.into_std()?, certificate.config.clone())?;
        let serving = server.handle(handle.clone()).serve(service);
        let renewing = async {
            loop {
                crate::clock::pause(RENEWED).await;
                certificate.renew();
            }
        };
        let ending = async {
            let _ = closing.wait_for(|closed| *closed).await;
            handle.graceful_shutdown(Some(FAREWELL));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            served = serving => served,
            () = renewing => Ok(()),
            () = ending => Ok(()),
        }
    })
}
