//! Redaction: a token that stands under its key is never left whole, whatever stands around it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sessionwatch_logs::redact;

const TOKEN: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";

fuzz_target!(|bytes: &[u8]| {
    let _ = redact::text(bytes, 300);
    // The first byte says where the token is put.
    let (first, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (usize::from(*first), rest));
    let at = first.min(rest.len());
    let planted = [&rest[..at], b" sessionToken: '", TOKEN.as_bytes(), b"' ", &rest[at..]].concat();
    assert!(!redact::text(&planted, 10_000).contains(&TOKEN[8..]));
});
