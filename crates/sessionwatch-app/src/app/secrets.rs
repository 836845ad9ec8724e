//! Names that nobody guesses, and the hashes by which the store knows them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// A name that nobody guesses: 256 bits, in hexadecimal digits.
#[must_use]
pub fn random_token() -> String {
    let mut bytes = [0; 32];
    // It fails only where the system has no random numbers; then nobody may log in.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random numbers");
        std::process::abort();
    }
    encode_hex(&bytes)
}

/// Bytes in hexadecimal digits.
#[must_use]
pub fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 of something, in hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    encode_hex(&Sha256::digest(bytes))
}
