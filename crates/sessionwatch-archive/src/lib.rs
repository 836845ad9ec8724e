//! Encrypted copies of removed or changed rows, kept for restore. They use the age format
//! (<https://age-encryption.org/v1>): encrypted for a recipient, decrypted with the matching identity. Full rows
//! leave this crate only encrypted, or back into the table.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bech32::{Bech32, Hrp};
use sessionwatch_targets::{decrypted_rows::DamagedRows, full_rows::BatchPlaintext};
use zeroize::Zeroizing;

mod age_format;

use age_format::{DecryptError, X25519Key};

/// Prefix of the text of a recipient, before the `1`.
const RECIPIENT_PREFIX: Hrp = Hrp::parse_unchecked("age");
/// Prefix of the text of an identity, before the `1`; written in capitals.
const IDENTITY_PREFIX: Hrp = Hrp::parse_unchecked("age-secret-key-");

/// Errors of encryption, decryption and key files.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The text is not a recipient.
    #[error("`{0}` is not an age recipient: expected `age1…`, as printed by `age-keygen -y`")]
    InvalidRecipient(String),
    /// The text is a private key, which no message repeats.
    #[error(
        "this is a private key, not a recipient: keep it out of the configuration, \
         and write its `age1…` as printed by `age-keygen -y`"
    )]
    PrivateKeyAsRecipient,
    /// The identity file exists already.
    #[error("cannot create the identity file {0}: it already exists")]
    IdentityExists(PathBuf),
    /// The identity file cannot be written.
    #[error("cannot write the identity file {0}: check that the directory exists and is writable")]
    WriteIdentity(PathBuf),
    /// The identity file cannot be read.
    #[error(
        "cannot read an identity from {0}: expected a file with a line that begins with `AGE-SECRET-KEY-1`"
    )]
    ReadIdentity(PathBuf),
    /// The archive is encrypted for another recipient.
    #[error("the identity does not match the archive, which is encrypted for {0}")]
    WrongIdentity(String),
    /// The archive was modified or truncated.
    #[error("the archive is damaged: integrity check failed")]
    Damaged,
    /// The random source of the system or the encryption failed.
    #[error("cannot encrypt the rows")]
    SealFailed,
}

impl From<DamagedRows> for SealError {
    fn from(DamagedRows: DamagedRows) -> Self {
        Self::Damaged
    }
}

/// Public key for which archives are encrypted.
#[derive(Clone)]
pub struct Recipient(X25519Key);

/// Private key that decrypts archives.
pub struct Identity {
    private: Zeroizing<X25519Key>,
    public: X25519Key,
}

impl Recipient {
    /// Parses `age1…`.
    ///
    /// # Errors
    ///
    /// If the text is not a recipient.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let text = text.trim();
        if text.to_ascii_lowercase().contains(IDENTITY_PREFIX.as_str()) {
            return Err(SealError::PrivateKeyAsRecipient);
        }
        let key = parse_key(text, RECIPIENT_PREFIX).filter(|_| text.starts_with("age1"));
        key.map(|key| Self(*key)).ok_or_else(|| SealError::InvalidRecipient(text.to_owned()))
    }

    /// Encrypts bytes.
    ///
    /// # Errors
    ///
    /// If the random source of the system fails.
    pub fn seal(&self, bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        age_format::encrypt(&self.0, bytes).map_err(|_| SealError::SealFailed)
    }

    /// Encrypts rows.
    ///
    /// # Errors
    ///
    /// If the random source of the system fails.
    pub fn seal_rows(&self, batch: &BatchPlaintext<'_>) -> Result<Vec<u8>, SealError> {
        batch.with_plaintext(|plaintext| self.seal(plaintext))
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32, _>(f, RECIPIENT_PREFIX, &self.0).map_err(|_| std::fmt::Error)
    }
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl Identity {
    /// Creates an identity in a new file with mode 0600. An existing file is never overwritten.
    ///
    /// # Errors
    ///
    /// If the file exists or cannot be written, or the random source of the system fails.
    pub fn create_file(path: &Path) -> Result<Self, SealError> {
        let identity = Self::generate()?;
        let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = open.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => SealError::IdentityExists(path.to_owned()),
            _ => SealError::WriteIdentity(path.to_owned()),
        })?;
        let text = Zeroizing::new(format!(
            "# Private key for sessionwatch archives. Store it away from the archives.\n# public key: {}\n{}\n",
            identity.recipient(),
            *identity.to_text()
        ));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|_| SealError::WriteIdentity(path.to_owned()))?;
        Ok(identity)
    }

    /// Creates an identity in memory only, for archives that need not be decrypted later.
    ///
    /// # Errors
    ///
    /// If the random source of the system fails.
    pub fn generate() -> Result<Self, SealError> {
        let private = age_format::generate_private_key().map_err(|_| SealError::SealFailed)?;
        Self::from_private_key(private).ok_or(SealError::SealFailed)
    }

    /// Reads an identity file written by this program or by `age-keygen`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has no identity.
    pub fn read_file(path: &Path) -> Result<Self, SealError> {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|_| SealError::ReadIdentity(path.to_owned()))?;
        text.lines().find_map(Self::parse).ok_or_else(|| SealError::ReadIdentity(path.to_owned()))
    }

    /// Parses `AGE-SECRET-KEY-1…`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::from_private_key(parse_key(text, IDENTITY_PREFIX).filter(|_| text.starts_with("AGE"))?)
    }

    fn from_private_key(private: Zeroizing<X25519Key>) -> Option<Self> {
        let public = age_format::derive_public_key(&private).ok()?;
        Some(Self { private, public })
    }

    /// Formats the identity as [`Identity::parse`] reads it.
    fn to_text(&self) -> Zeroizing<String> {
        // Allocated once, because a growing string would leave copies of the key in memory.
        let mut text = Zeroizing::new(String::with_capacity(128));
        // Writing to a String cannot fail, and the length is within the limit of Bech32.
        let _ = bech32::encode_upper_to_fmt::<Bech32, _>(&mut *text, IDENTITY_PREFIX, &self.private[..]);
        text
    }

    /// Returns the recipient that matches this identity.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.public)
    }

    /// Decrypts an archive. `recipient` is only used in the error message.
    ///
    /// # Errors
    ///
    /// If the archive is encrypted for another recipient, or was modified.
    pub fn open(&self, sealed: &[u8], recipient: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        age_format::decrypt(&self.private, sealed).map_err(|error| match error {
            DecryptError::NotForThisKey => SealError::WrongIdentity(recipient.to_owned()),
            DecryptError::Damaged => SealError::Damaged,
        })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity(of {})", self.recipient())
    }
}

fn parse_key(text: &str, prefix: Hrp) -> Option<Zeroizing<X25519Key>> {
    let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32>(text).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    let mut bytes = checked.byte_iter();
    key.iter_mut().try_for_each(|to| bytes.next().map(|byte| *to = byte))?;
    (checked.hrp() == prefix && bytes.next().is_none()).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use sessionwatch_targets::full_rows::{DependentRows, FullRows};

    use super::*;

    #[test]
    fn archives_open_with_the_matching_identity_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let identity = Identity::create_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Identity::create_file(&path), Err(SealError::IdentityExists(_))));
        let recipient = Recipient::parse(&identity.recipient().to_string()).unwrap();
        let mut full_rows = FullRows::default();
        full_rows.push(b"(0,1)\t7\t1\ta\tfirst-token\n(0,2)\t7\t2\tb\ttwo\n(0,3)\t7\t3\tc\tthree\n");
        let headers = full_rows.parse_headers().unwrap();
        let mut rows = FullRows::default();
        rows.push(b"(0,3)\t7\t9\tx\n(0,1)\t7\t8\ty\n");
        let carts = DependentRows::new(rows, |head| usize::try_from(head.locator - 1).ok());
        let carts = carts.unwrap();
        let sessions = [headers[0].clone(), headers[2].clone()];
        let batch = BatchPlaintext {
            header: "about",
            full_rows: &full_rows,
            sessions: &sessions,
            dependents: &[carts],
        };
        let sealed = recipient.seal_rows(&batch).unwrap();
        // Long enough that random bytes do not contain it by chance.
        assert!(!sealed.windows(11).any(|part| part == b"first-token"));
        let name = recipient.to_string();
        let again = Identity::read_file(&path).unwrap();
        assert_eq!(
            again.open(&sealed, &name).unwrap().as_slice(),
            b"about\na\tfirst-token\nc\tthree\n\\.\n2\tx\n0\ty\n"
        );
        let other = Identity::create_file(&folder.path().join("other")).unwrap();
        assert!(matches!(other.open(&sealed, &name), Err(SealError::WrongIdentity(_))));
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(again.open(&damaged, &name), Err(SealError::Damaged)));
        assert!(matches!(again.open(&sealed[..20], &name), Err(SealError::Damaged)));
        assert!(!format!("{again:?}").contains("SECRET"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(Identity::read_file(&path), Err(SealError::ReadIdentity(_))));
        assert!(matches!(Recipient::parse("age1x"), Err(SealError::InvalidRecipient(_))));
    }
}

#[cfg(test)]
mod key_tests;
