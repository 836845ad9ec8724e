//! Certificates for tests: a CA, a server certificate for `localhost`, and an untrusted CA.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Certificate and key files of a TLS server.
#[derive(Debug)]
pub struct TestCertificates {
    folder: PathBuf,
}

impl TestCertificates {
    /// Creates the files in a folder.
    ///
    /// # Errors
    ///
    /// Fails if a certificate cannot be generated, or a file cannot be written.
    pub fn generate(folder: &Path) -> Result<Self> {
        let (authority, key) = new_authority("authority")?;
        let (stranger, stranger_key) = new_authority("stranger")?;
        let server_key = KeyPair::generate()?;
        let server = CertificateParams::new(["localhost".to_owned()])?
            .signed_by(&server_key, &Issuer::from_params(&authority, &key))?;
        let files = [
            ("authority.pem", authority.self_signed(&key)?.pem()),
            ("stranger.pem", stranger.self_signed(&stranger_key)?.pem()),
            ("server.pem", server.pem()),
            ("server.key", server_key.serialize_pem()),
        ];
        for (name, text) in files {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Certificate of the CA that signed the server's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// Certificate of a CA that did not.
    #[must_use]
    pub fn untrusted_authority(&self) -> PathBuf {
        self.folder.join("stranger.pem")
    }

    /// Certificate of the server.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// Private key of the server.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }
}

fn new_authority(name: &str) -> Result<(CertificateParams, KeyPair)> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok((params, KeyPair::generate()?))
}
