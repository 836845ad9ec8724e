//! The door of the daemon: its address, in the clear or by TLS.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};
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

impl Certificate {
    /// Reads it.
    pub(super) async fn read(files: &(PathBuf, PathBuf)) -> Result<Self, DaemonError> {
        // It fails only where one is installed already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = RustlsConfig::from_pem_file(&files.0, &files.1).await;
        let faulty = |_| DaemonError::Certificate(files.0.clone(), files.1.clone());
        Ok(Self { config: config.map_err(faulty)?, files: files.clone() })
    }

    /// Reads it again; what it was stays where that fails.
    pub(super) async fn renew(&self) {
        if self.config.reload_from_pem_file(&self.files.0, &self.files.1).await.is_err() {
            tracing::error!("the certificate or its key cannot be read: the one before is used on");
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
                certificate.renew().await;
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
