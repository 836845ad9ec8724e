//! Parses and authenticates posted payloads: entries of Vercel log drains, and plain log lines.
//!
//! A drain signs the request body with HMAC-SHA1, in hexadecimal, in `x-vercel-signature`; entries come as a JSON array
//! or one per line (<https://vercel.com/docs/drains>). A drain resends entries whose response was lost, so they are
//! deduplicated by ID.

use std::{borrow::Cow, io::Read as _};

use credentials::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_logs::{
    line_reader::{LogExcerpt, LogReader},
    log_event::LogEvent,
    matchers::Matchers,
};
use sha1::Sha1;
use sha2::Sha256;

use super::{LocatedLogEvent, log_batch::LogBatch};

/// The maximum size of a request body.
pub const MAX_REQUEST_BYTES: usize = 8 << 20;
/// The maximum size of a decompressed body, which bounds the damage of a compression bomb.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;
/// The maximum number of entries in an array.
const MAX_ENTRIES: u32 = 200_000;

/// The reason why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The signature or token is missing or invalid.
    #[error("missing or invalid signature or token")]
    Unauthorized,
    /// The request exceeds a size limit.
    #[error("the request exceeds 8 MiB, 64 MiB decompressed, or 200,000 entries: send smaller batches")]
    TooLarge,
    /// The body is compressed with an unsupported method, or is corrupt.
    #[error("cannot decompress the request: send gzip or uncompressed data")]
    UnsupportedEncoding,
    /// The body is not the expected JSON.
    #[error("the request is neither a JSON array of entries nor one JSON entry per line")]
    Malformed,
}

/// Verifies the signature of a body in constant time.
#[must_use]
pub fn is_valid_signature(secret: &Secret, body: &[u8], signature: &str) -> bool {
    // The error is returned as a mismatch: HMAC accepts keys of any length, so it does not occur.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.expose_bytes()) else { return false };
    mac.update(body);
    decode_sha1_hex(signature.trim()).is_some_and(|signature| mac.verify_slice(&signature).is_ok())
}

fn decode_sha1_hex(text: &str) -> Option<Vec<u8>> {
    // Checked first, so that slicing by two bytes can neither split a character nor run past the end.
    if text.len() != 40 || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// Verifies a token in constant time.
#[must_use]
pub fn is_valid_token(secret: &Secret, token: &str) -> bool {
    // Comparing MACs instead of the tokens hides the length of the secret too.
    let sum =
        |bytes: &[u8]| Hmac::<Sha256>::new_from_slice(b"sessionwatch").map(|mac| mac.chain_update(bytes));
    match (sum(secret.expose_bytes()), sum(token.as_bytes())) {
        (Ok(wanted), Ok(given)) => given.verify(&wanted.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

/// Decompresses a body according to its `Content-Encoding`.
///
/// # Errors
///
/// If the encoding is unsupported, the data is corrupt, or the result is too large.
pub fn unpack_body<'a>(body: &'a [u8], encoding: Option<&str>) -> Result<Cow<'a, [u8]>, IngestError> {
    match encoding.map(str::trim) {
        None | Some("" | "identity") => Ok(Cow::Borrowed(body)),
        Some("gzip" | "x-gzip") => {
            let mut bytes = Vec::new();
            // One byte more than allowed, to distinguish a body at the limit from a larger one.
            let mut source = flate2::read::MultiGzDecoder::new(body).take(MAX_UNPACKED_BYTES + 1);
            source.read_to_end(&mut bytes).map_err(|_| IngestError::UnsupportedEncoding)?;
            if bytes.len() as u64 > MAX_UNPACKED_BYTES {
                Err(IngestError::TooLarge)
            } else {
                Ok(Cow::Owned(bytes))
            }
        }
        Some(_) => Err(IngestError::UnsupportedEncoding),
    }
}

/// An entry of a log drain. Other fields are ignored.
#[derive(Debug, Deserialize)]
struct DrainEntry<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(default)]
    timestamp: Option<DrainTimestamp<'a>>,
    #[serde(borrow, default, rename = "requestId")]
    request: Option<Cow<'a, str>>,
}

/// A Unix time in milliseconds, as a number or as text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DrainTimestamp<'a> {
    Integer(i64),
    Float(f64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

impl DrainTimestamp<'_> {
    fn to_timestamp(&self) -> Option<UtcTimestamp> {
        #[expect(clippy::cast_possible_truncation, reason = "out-of-range values are rejected below")]
        let milliseconds = match self {
            Self::Integer(number) => *number,
            Self::Float(number) => *number as i64,
            Self::Text(text) => text.parse().ok()?,
        };
        UtcTimestamp::from_micros(milliseconds.checked_mul(1_000)?)
    }
}

/// Parses the entries of an array one by one; a parsed array would take many times the memory of the text.
fn read_entry_array<'a>(text: &'a [u8], take: &mut impl FnMut(DrainEntry<'a>)) -> Result<(), IngestError> {
    struct Entries<'t, T>(&'t mut T, &'t mut bool);
    impl<'a, T: FnMut(DrainEntry<'a>)> serde::de::Visitor<'a> for Entries<'_, T> {
        type Value = ();
        fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            text.write_str("an array of entries")
        }
        fn visit_seq<A: serde::de::SeqAccess<'a>>(self, mut entries: A) -> Result<(), A::Error> {
            let mut count = 0;
            while let Some(entry) = entries.next_element()? {
                count += 1;
                if count > MAX_ENTRIES {
                    *self.1 = true;
                    return Err(serde::de::Error::custom("too many entries"));
                }
                (self.0)(entry);
            }
            Ok(())
        }
    }
    let (mut is_too_large, mut reader) = (false, serde_json::Deserializer::from_slice(text));
    let read = serde::Deserializer::deserialize_seq(&mut reader, Entries(take, &mut is_too_large));
    // Data after the array would otherwise be accepted and ignored.
    let read = read.and_then(|()| reader.end());
    read.map_err(|_| if is_too_large { IngestError::TooLarge } else { IngestError::Malformed })
}

/// Returns the SHA-256 digest of a body as sent, which identifies a resent request.
#[must_use]
pub fn body_digest(body: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", const_hex::encode(Sha256::digest(body)))
}

/// Parses the entries of a log drain.
///
/// # Errors
///
/// If no entry can be parsed. Single lines that cannot be parsed are counted.
pub fn parse_drain_entries(
    body: &[u8],
    digest: &str,
    source: &str,
    target: &str,
    grammar: &Matchers,
) -> Result<LogBatch, IngestError> {
    let mut batch = LogBatch { source: source.into(), target: target.into(), ..LogBatch::default() };
    let mut reader = LogReader::new(grammar);
    let mut number = 0;
    let mut take = |entry: DrainEntry<'_>| {
        number += 1;
        let Some(message) = &entry.message else { return };
        let at = entry.timestamp.as_ref().and_then(DrainTimestamp::to_timestamp);
        let request = entry.request.map(Cow::into_owned);
        // An entry without ID is identified by the request's digest and its position, so that replaying a signed
        // request adds nothing.
        let id = entry.id.filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("{digest}#{number}"), Cow::into_owned);
        let mut sink = |event: LogEvent<'_>, place: LogExcerpt<'_>| {
            batch
                .events
                .push((Some(id.clone()), LocatedLogEvent::new(event, place, source, grammar.patterns())));
        };
        reader.read_entry(message.as_bytes(), at, request, &mut sink);
    };
    let mut faulty = 0;
    // Both forms are documented by Vercel, and which one is used depends on the settings of the drain.
    let begin = body.trim_ascii_start();
    if begin.first() == Some(&b'[') {
        read_entry_array(begin, &mut take)?;
    } else {
        let mut read = 0;
        for line in begin.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            match serde_json::from_slice(line) {
                Ok(entry) => {
                    read += 1;
                    take(entry);
                }
                Err(_) => faulty += 1,
            }
        }
        // One bad line does not reject a batch: the drain would send it again and again.
        if read == 0 && faulty > 0 {
            return Err(IngestError::Malformed);
        }
    }
    batch.counters = reader.counters();
    batch.dropped.push(("faulty", faulty));
    Ok(batch)
}

/// Parses posted log lines. `name` is the request's idempotency key, if it has one.
#[must_use]
pub fn parse_posted_lines(
    body: &[u8],
    source: &str,
    target: &str,
    grammar: &Matchers,
    name: Option<&str>,
) -> LogBatch {
    let mut batch = LogBatch { source: source.into(), target: target.into(), ..LogBatch::default() };
    let mut reader = LogReader::new(grammar);
    let mut sink = |event: LogEvent<'_>, place: LogExcerpt<'_>| {
        let found = LocatedLogEvent::new(event, place, source, grammar.patterns());
        batch.events.push((name.map(str::to_owned), found));
    };
    // The body is complete, so the last line need not end with a line break.
    reader.read_block(body, 0, true, &mut sink);
    reader.finish(&mut sink);
    batch.counters = reader.counters();
    batch
}

#[cfg(test)]
mod tests {
    use sessionwatch_logs::timestamps::TimestampDefaults;

    use super::*;

    fn read(body: &str) -> Result<Vec<String>, IngestError> {
        let grammar = Matchers::new(vec![], TimestampDefaults::default());
        let batch = parse_drain_entries(body.as_bytes(), "digest", "vercel", "main", &grammar)?;
        let summary = |(id, found): &(Option<String>, LocatedLogEvent)| {
            format!("{} {} {:?}", id.as_deref().unwrap_or("-"), found.name(), found.event.request_id)
        };
        Ok(batch.events.iter().map(summary).collect())
    }

    #[test]
    fn arrays_and_lines_are_parsed() {
        let entry = concat!(
            r#"{"id":"1","timestamp":1795608000123,"message":"[AUTH-ADAPTER] Session created {\n userId: 7 }","#,
            r#""requestId":"r","proxy":{"path":"/"}}"#,
        );
        let other = r#"{"id":"2","timestamp":"1795608000123","source":"static"}"#;
        let expected = vec![r#"1 created Some("r")"#.to_owned()];
        assert_eq!(read(&format!("[{entry},{other}]")), Ok(expected.clone()));
        assert_eq!(read(&format!("{entry}\n{other}\n")), Ok(expected.clone()));
        assert_eq!(read(&format!("{entry}\nnonsense\n")), Ok(expected));
        for faulty in ["nonsense", "[{]", "{\"id\":", "[1]"] {
            assert_eq!(read(faulty), Err(IngestError::Malformed), "{faulty}");
        }
        let unnamed = concat!(
            r#"{"message":"[AUTH-ADAPTER] Session created { userId: 7 }"},"#,
            r#"{"id":"","message":"[AUTH-ADAPTER] Session created { userId: 7 }"}"#,
        );
        let expected = ["digest#1 created None", "digest#2 created None"].map(str::to_owned);
        assert_eq!(read(&format!("[{unnamed}]")), Ok(expected.to_vec()));
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read(&format!("[{}{{}}]", "{},".repeat(200_000))), Err(IngestError::TooLarge));
        assert_eq!(read(&format!("[{}{{}}]", "{},".repeat(199_999))), Ok(vec![]));
    }

    #[test]
    fn only_valid_signatures_and_tokens_are_accepted() {
        let secret = Secret::new("0123456789abcdef");
        // `printf body | openssl dgst -sha1 -hmac 0123456789abcdef`
        let right = "061a1737902505c77871cd134518a7d38f82fadc";
        assert!(is_valid_signature(&secret, b"body", right));
        assert!(!is_valid_signature(&secret, b"body.", right));
        assert!(!is_valid_signature(&secret, b"body", &right.replace('0', "1")));
        assert!(!is_valid_signature(&secret, b"body", &right[..38]));
        assert!(!is_valid_signature(&secret, b"body", ""));
        assert!(!is_valid_signature(&secret, b"body", &"é".repeat(20)));
        assert!(is_valid_token(&secret, "0123456789abcdef"));
        assert!(!is_valid_token(&secret, "0123456789abcde") && !is_valid_token(&secret, ""));
    }

    #[test]
    fn compression_bombs_are_rejected() {
        use std::io::Write as _;
        let pack = |bytes: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        };
        assert_eq!(unpack_body(&pack(b"hello"), Some("gzip")).unwrap().as_ref(), b"hello");
        let bomb = pack(&vec![0; 65 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(unpack_body(&bomb, Some("gzip")), Err(IngestError::TooLarge));
        assert_eq!(unpack_body(b"hello", Some("gzip")), Err(IngestError::UnsupportedEncoding));
        assert_eq!(unpack_body(b"hello", Some("br")), Err(IngestError::UnsupportedEncoding));
    }
}
