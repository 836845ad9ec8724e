//! The age format, version 1, with X25519 recipients (<https://age-encryption.org/v1>): a header with the file key,
//! wrapped for the recipient, and a payload encrypted with that key in chunks.
//!
//! All primitives come from the library that TLS uses too. The crate `age` does the same, but adds eighty more
//! crates, most of them for translations; tests compare both implementations.

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{self, PrivateKey, UnparsedPublicKey, X25519},
    error::Unspecified,
    hkdf::{HKDF_SHA256, Salt},
    hmac, rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// First line of an encrypted file.
const VERSION_LINE: &str = "age-encryption.org/v1\n";
/// HKDF info of the key that wraps the file key.
const WRAP_KEY_INFO: &str = "age-encryption.org/v1/X25519";
/// Prefix of the first line of a recipient stanza.
const STANZA_PREFIX: &str = "-> ";
/// Prefix of the last line of the header.
const MAC_PREFIX: &str = "---";
/// Line length of a stanza body; a shorter line is the last.
const BODY_LINE_LENGTH: usize = 64;
/// Length of the file key, in bytes.
const FILE_KEY_LENGTH: usize = 16;
/// Length of the salt of the payload key, in bytes.
const PAYLOAD_SALT_LENGTH: usize = 16;
/// Plaintext bytes in each chunk but the last.
const CHUNK_LENGTH: usize = 64 << 10;
/// Length of the authentication tag of each chunk, in bytes.
const TAG_LENGTH: usize = 16;
/// Upper bound of the length of a header with one recipient.
const HEADER_CAPACITY: usize = 512;

/// Public or private X25519 key.
pub(super) type X25519Key = [u8; 32];
/// Symmetric key of one file.
type FileKey = [u8; FILE_KEY_LENGTH];

/// Reasons why a file cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecryptError {
    /// The file is encrypted for other recipients.
    NotForThisKey,
    /// The file was modified or truncated.
    Damaged,
}

/// Derives the public key of a private key.
///
/// # Errors
///
/// If the library rejects the key.
pub(super) fn derive_public_key(private: &X25519Key) -> Result<X25519Key, Unspecified> {
    let public = load_private_key(private)?.compute_public_key()?;
    public.as_ref().try_into().map_err(|_| Unspecified)
}

/// Generates a private key.
///
/// # Errors
///
/// If the random source of the system fails.
pub(super) fn generate_private_key() -> Result<Zeroizing<X25519Key>, Unspecified> {
    random_bytes().map(Zeroizing::new)
}

/// Encrypts bytes for a public key.
///
/// # Errors
///
/// If the random source of the system fails, or the public key is unusable.
pub(super) fn encrypt(recipient: &X25519Key, plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let file_key: Zeroizing<FileKey> = Zeroizing::new(random_bytes()?);
    let chunks = plaintext.len().div_ceil(CHUNK_LENGTH).max(1);
    // Allocated once: chunks are encrypted in place, so a growing buffer would leave plaintext behind.
    let mut sealed = Vec::with_capacity(HEADER_CAPACITY + plaintext.len() + chunks * TAG_LENGTH);
    sealed.extend_from_slice(encode_header(recipient, &file_key)?.as_bytes());
    let salt = random_bytes::<PAYLOAD_SALT_LENGTH>()?;
    sealed.extend_from_slice(&salt);
    let key = derive_payload_key(&file_key, &salt)?;
    for number in 0..chunks {
        let chunk = &plaintext[number * CHUNK_LENGTH..plaintext.len().min((number + 1) * CHUNK_LENGTH)];
        let at = sealed.len();
        sealed.extend_from_slice(chunk);
        let nonce = chunk_nonce(number as u64, number + 1 == chunks);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut sealed[at..])?;
        sealed.extend_from_slice(tag.as_ref());
    }
    Ok(sealed)
}

/// Decrypts a file with a private key.
///
/// # Errors
///
/// If the file is encrypted for other recipients, or was modified.
pub(super) fn decrypt(private: &X25519Key, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let (header, payload) = AgeHeader::parse(sealed).ok_or(DecryptError::Damaged)?;
    let public = derive_public_key(private).map_err(|_| DecryptError::Damaged)?;
    let unwrapped =
        header.wrapped_keys.iter().find_map(|wrapped| wrapped.unwrap_file_key(private, &public).ok());
    let file_key = unwrapped.ok_or(DecryptError::NotForThisKey)?;
    let is_header = hmac::verify(
        &derive_mac_key(&file_key).map_err(|_| DecryptError::Damaged)?,
        header.authenticated_bytes,
        &header.mac,
    );
    is_header.map_err(|_| DecryptError::Damaged)?;
    decrypt_payload(&file_key, payload).ok_or(DecryptError::Damaged)
}

fn decrypt_payload(file_key: &FileKey, payload: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (salt, chunks) = payload.split_at_checked(PAYLOAD_SALT_LENGTH)?;
    let key = derive_payload_key(file_key, salt).ok()?;
    // Allocated once, because a growing buffer would leave copies of the plaintext in memory.
    let mut plaintext = Zeroizing::new(vec![0; chunks.len()]);
    let mut length = 0;
    let count = chunks.len().div_ceil(CHUNK_LENGTH + TAG_LENGTH);
    for (number, chunk) in chunks.chunks(CHUNK_LENGTH + TAG_LENGTH).enumerate() {
        let (ciphertext, tag) = chunk.split_at_checked(chunk.len().checked_sub(TAG_LENGTH)?)?;
        // Only an empty payload has an empty chunk.
        if ciphertext.is_empty() && number > 0 {
            return None;
        }
        let opened = &mut plaintext[length..length + ciphertext.len()];
        let nonce = chunk_nonce(number as u64, number + 1 == count);
        key.open_separate_gather(nonce, Aad::empty(), ciphertext, tag, opened).ok()?;
        length += ciphertext.len();
    }
    plaintext.truncate(length);
    (count > 0).then_some(plaintext)
}

/// Encodes the header for one recipient.
fn encode_header(recipient: &X25519Key, file_key: &FileKey) -> Result<String, Unspecified> {
    let ephemeral = generate_private_key()?;
    let share = derive_public_key(&ephemeral)?;
    let key = derive_wrap_key(&ephemeral, recipient, &share, recipient)?;
    // Includes room for the tag: the key is encrypted in place and no copy of it is left.
    let mut wrapped = Vec::with_capacity(FILE_KEY_LENGTH + TAG_LENGTH);
    wrapped.extend_from_slice(file_key);
    key.seal_in_place_append_tag(zero_nonce(), Aad::empty(), &mut wrapped)?;
    let (share, wrapped) = (STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(wrapped));
    let mut header = format!("{VERSION_LINE}{STANZA_PREFIX}X25519 {share}\n{wrapped}\n{MAC_PREFIX}");
    let mac = hmac::sign(&derive_mac_key(file_key)?, header.as_bytes());
    header.push_str(&format!(" {}\n", STANDARD_NO_PAD.encode(mac)));
    Ok(header)
}

/// Parsed header.
struct AgeHeader<'a> {
    /// File key, wrapped for each X25519 recipient.
    wrapped_keys: Vec<WrappedKey>,
    /// Bytes authenticated by the MAC.
    authenticated_bytes: &'a [u8],
    mac: Vec<u8>,
}

/// File key wrapped for one recipient.
struct WrappedKey {
    ephemeral_share: X25519Key,
    ciphertext: [u8; FILE_KEY_LENGTH + TAG_LENGTH],
}

impl<'a> AgeHeader<'a> {
    /// Parses the header and returns it with the payload. Recipients of other types are skipped.
    fn parse(sealed: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut lines = HeaderLines { rest: sealed.strip_prefix(VERSION_LINE.as_bytes())? };
        let mut wrapped_keys = vec![];
        loop {
            let before = lines.rest;
            let line = lines.next_line()?;
            if let Some(stanza) = line.strip_prefix(STANZA_PREFIX) {
                let ciphertext = lines.read_body()?;
                let mut arguments = stanza.split(' ');
                if arguments.next() == Some("X25519") {
                    let ephemeral_share = decode_key(arguments.next()?)?;
                    let ciphertext = ciphertext.try_into().ok()?;
                    arguments
                        .next()
                        .is_none()
                        .then(|| wrapped_keys.push(WrappedKey { ephemeral_share, ciphertext }))?;
                }
                continue;
            }
            let mac = line.strip_prefix(MAC_PREFIX)?.strip_prefix(' ')?;
            let mac = STANDARD_NO_PAD.decode(mac).ok()?;
            let authenticated_bytes = &sealed[..sealed.len() - before.len() + MAC_PREFIX.len()];
            return Some((Self { wrapped_keys, authenticated_bytes, mac }, lines.rest));
        }
    }
}

impl WrappedKey {
    fn unwrap_file_key(
        &self,
        private: &X25519Key,
        public: &X25519Key,
    ) -> Result<Zeroizing<FileKey>, Unspecified> {
        let key = derive_wrap_key(private, &self.ephemeral_share, &self.ephemeral_share, public)?;
        let mut file_key = Zeroizing::new([0; FILE_KEY_LENGTH]);
        let (ciphertext, tag) = self.ciphertext.split_at(FILE_KEY_LENGTH);
        key.open_separate_gather(zero_nonce(), Aad::empty(), ciphertext, tag, &mut file_key[..])?;
        Ok(file_key)
    }
}

/// Reader of header lines.
struct HeaderLines<'a> {
    rest: &'a [u8],
}

impl<'a> HeaderLines<'a> {
    fn next_line(&mut self) -> Option<&'a str> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&self.rest[..end]).ok()?;
        self.rest = &self.rest[end + 1..];
        Some(line)
    }

    /// Reads the body of a stanza.
    fn read_body(&mut self) -> Option<Vec<u8>> {
        let mut text = String::new();
        loop {
            let line = self.next_line()?;
            text.push_str(line);
            if line.len() != BODY_LINE_LENGTH {
                return if line.len() < BODY_LINE_LENGTH { STANDARD_NO_PAD.decode(text).ok() } else { None };
            }
        }
    }
}

/// Derives the key that wraps the file key, from one side's private key and the other side's public key.
fn derive_wrap_key(
    private: &X25519Key,
    other: &X25519Key,
    share: &X25519Key,
    recipient: &X25519Key,
) -> Result<LessSafeKey, Unspecified> {
    let other = UnparsedPublicKey::new(&X25519, other);
    agreement::agree(&load_private_key(private)?, other, Unspecified, |shared| {
        derive_cipher(shared, &[&share[..], recipient].concat(), WRAP_KEY_INFO)
    })
}

fn derive_payload_key(file_key: &FileKey, salt: &[u8]) -> Result<LessSafeKey, Unspecified> {
    derive_cipher(file_key, salt, "payload")
}

fn derive_mac_key(file_key: &FileKey) -> Result<hmac::Key, Unspecified> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &derive_key(file_key, &[], "header")?[..]))
}

fn derive_cipher(secret: &[u8], salt: &[u8], info: &str) -> Result<LessSafeKey, Unspecified> {
    Ok(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &derive_key(secret, salt, info)?[..])?))
}

/// Derives 32 bytes by HKDF with SHA-256 (RFC 5869).
fn derive_key(secret: &[u8], salt: &[u8], info: &str) -> Result<Zeroizing<X25519Key>, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info.as_bytes()], HKDF_SHA256)?
        .fill(&mut key[..])?;
    Ok(key)
}

fn load_private_key(private: &X25519Key) -> Result<PrivateKey, Unspecified> {
    PrivateKey::from_private_key(&X25519, private).map_err(|_| Unspecified)
}

/// Creates the nonce of a chunk: its number in 11 bytes, and a flag for the last chunk.
fn chunk_nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(nonce)
}

fn zero_nonce() -> Nonce {
    // Safe because each wrapping key encrypts only once.
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn random_bytes<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}

fn decode_key(text: &str) -> Option<X25519Key> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        iter::once,
        str::FromStr as _,
    };

    use age::{secrecy::ExposeSecret as _, x25519};
    use proptest::prelude::*;

    use super::*;
    use crate::Identity;

    /// Returns the same key for both implementations.
    fn identities() -> (x25519::Identity, Zeroizing<X25519Key>) {
        let theirs = x25519::Identity::generate();
        let ours = Identity::parse(theirs.to_string().expose_secret()).unwrap();
        (theirs, ours.private)
    }

    fn age_encrypt(recipients: &[x25519::Identity], plaintext: &[u8]) -> Vec<u8> {
        let recipients: Vec<x25519::Recipient> = recipients.iter().map(x25519::Identity::to_public).collect();
        let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let mut sealed = vec![];
        let mut writer =
            age::Encryptor::with_recipients(recipients).unwrap().wrap_output(&mut sealed).unwrap();
        writer.write_all(plaintext).unwrap();
        writer.finish().unwrap();
        sealed
    }

    fn age_decrypt(identity: &x25519::Identity, sealed: &[u8]) -> Vec<u8> {
        let decryptor = age::Decryptor::new_buffered(sealed).unwrap();
        let mut plaintext = vec![];
        decryptor.decrypt(once(identity as _)).unwrap().read_to_end(&mut plaintext).unwrap();
        plaintext
    }

    fn plaintext(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn files_are_compatible_with_the_age_crate_in_both_directions() {
        let (theirs, ours) = identities();
        let public = derive_public_key(&ours).unwrap();
        for length in [0, 1, CHUNK_LENGTH - 1, CHUNK_LENGTH, CHUNK_LENGTH + 1, 2 * CHUNK_LENGTH, 200_000] {
            let plaintext = plaintext(length);
            let sealed = encrypt(&public, &plaintext).unwrap();
            let room = HEADER_CAPACITY + length + length.div_ceil(CHUNK_LENGTH).max(1) * TAG_LENGTH;
            assert!(sealed.len() <= room, "plaintext is left where a buffer grew");
            assert_eq!(age_decrypt(&theirs, &sealed), plaintext, "{length}");
            assert_eq!(*decrypt(&ours, &sealed).unwrap(), plaintext, "{length}");
            let (other, _) = identities();
            let sealed = age_encrypt(&[other, theirs.clone()], &plaintext);
            assert_eq!(*decrypt(&ours, &sealed).unwrap(), plaintext, "{length}");
        }
    }

    #[test]
    fn files_for_other_recipients_cannot_be_decrypted() {
        let ((other, _), (_, ours)) = (identities(), identities());
        let sealed = age_encrypt(&[other], b"rows");
        assert_eq!(decrypt(&ours, &sealed), Err(DecryptError::NotForThisKey));
    }

    #[test]
    fn every_modification_and_truncation_is_detected() {
        let (_, ours) = identities();
        let sealed = encrypt(&derive_public_key(&ours).unwrap(), &plaintext(2 * CHUNK_LENGTH)).unwrap();
        let ends = (0..400).chain(sealed.len() - 40..sealed.len());
        for at in ends.chain((400..sealed.len()).step_by(4_099)) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(decrypt(&ours, &changed).is_err(), "changed at {at}");
            assert!(decrypt(&ours, &sealed[..at]).is_err(), "cut to {at}");
        }
        let header = sealed.windows(4).position(|part| part == b"\n---").unwrap() + 1;
        let payload = header + sealed[header..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let chunk = CHUNK_LENGTH + TAG_LENGTH;
        let first = payload + PAYLOAD_SALT_LENGTH;
        let without_last = &sealed[..first + chunk];
        let swapped = [&sealed[..first], &sealed[first + chunk..], &sealed[first..first + chunk]].concat();
        for forged in [without_last, &swapped, &[&sealed[..], b"more"].concat(), &sealed[..first], b""] {
            assert_eq!(decrypt(&ours, forged), Err(DecryptError::Damaged));
        }
    }

    #[test]
    fn a_low_order_public_key_is_rejected() {
        assert!(encrypt(&[0; 32], b"rows").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in any::<Vec<u8>>(), header in ".{0,200}") {
            let (_, ours) = identities();
            let made_up = [VERSION_LINE.as_bytes(), STANZA_PREFIX.as_bytes(), header.as_bytes(), &bytes].concat();
            prop_assert!(decrypt(&ours, &made_up).is_err());
            prop_assert!(decrypt(&ours, &bytes).is_err());
        }
    }

    #[test]
    fn key_texts_are_compatible_with_the_age_crate() {
        let (theirs, _) = identities();
        let text = theirs.to_string();
        let ours = Identity::parse(text.expose_secret()).unwrap();
        assert_eq!(ours.recipient().to_string(), theirs.to_public().to_string());
        assert_eq!(ours.to_text().as_str(), text.expose_secret());
        assert!(x25519::Identity::from_str(&Identity::generate().unwrap().to_text()).is_ok());
    }
}
