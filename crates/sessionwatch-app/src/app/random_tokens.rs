//! Random tokens, and the hashes under which they are stored.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Returns a random token of 256 bits, in hexadecimal. Aborts the process if the system has no random numbers.
#[must_use]
pub fn random_token() -> String {
    let mut bytes = [0; 32];
    // A predictable token would let anyone log in, so the process must not continue.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("cannot read random numbers from the system");
        std::process::abort();
    }
    encode_hex(&bytes)
}

/// Encodes bytes in lowercase hexadecimal.
#[must_use]
pub fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the SHA-256 hash of bytes, in hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    encode_hex(&Sha256::digest(bytes))
}
