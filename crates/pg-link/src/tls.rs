//! TLS with rustls, with libpq's levels of certificate checks.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::dsn::{Dsn, SslMode};

/// Reasons why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of trusted certificates is missing or unusable.
    #[error("cannot load certificates from the file in `sslrootcert`: it is unreadable or has none")]
    RootCert,
    /// The trusted certificates of the system are unusable.
    #[error("cannot load the trusted certificates of the system")]
    System,
}

/// Verifier that checks the certificate chain but not the host name, or neither.
#[derive(Debug)]
struct LenientVerifier {
    chain_verifier: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Dsn {
    /// Checks that TLS can be set up for the address, without opening a connection.
    ///
    /// # Errors
    ///
    /// If trusted certificates are needed and cannot be loaded.
    pub fn check_tls(&self) -> Result<(), TlsError> {
        tls_connector(self).map(drop)
    }
}

/// Creates the TLS connector for an address.
///
/// # Errors
///
/// If trusted certificates are needed and cannot be loaded.
pub(crate) fn tls_connector(dsn: &Dsn) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::System)?;
    let mut config = match (dsn.ssl_mode, &dsn.root_cert) {
        (SslMode::VerifyFull, None) => {
            builder.with_platform_verifier().map_err(|_| TlsError::System)?.with_no_client_auth()
        }
        (SslMode::VerifyFull, Some(path)) => {
            builder.with_root_certificates(load_root_certs(path)?).with_no_client_auth()
        }
        (mode, path) => {
            let chain_verifier = match (mode, path) {
                (SslMode::VerifyCa, Some(path)) => {
                    let roots = Arc::new(load_root_certs(path)?);
                    let verifier =
                        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                    Some(verifier.map_err(|_| TlsError::RootCert)?)
                }
                (SslMode::VerifyCa, None) => return Err(TlsError::RootCert),
                _ => None,
            };
            let lenient = Arc::new(LenientVerifier { chain_verifier, provider });
            builder.dangerous().with_custom_certificate_verifier(lenient).with_no_client_auth()
        }
    };
    // PostgreSQL 17 closes direct TLS connections without this ALPN protocol.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn load_root_certs(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|_| TlsError::RootCert)? {
        store.add(certificate.map_err(|_| TlsError::RootCert)?).map_err(|_| TlsError::RootCert)?;
    }
    if store.is_empty() { Err(TlsError::RootCert) } else { Ok(store) }
}

/// Describes why a certificate is not trusted.
#[must_use]
pub fn describe_certificate_error(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host name"
        }
        CertificateError::UnknownIssuer => "the server's certificate is not from a trusted authority",
        CertificateError::Revoked => "the server's certificate has been revoked",
        _ => "the server's certificate is not trusted",
    }
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain_verifier else {
            // Without certificate checks, encryption still protects against passive listeners.
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
