//! Fuzz target for redaction: a secret under its key, in a URL or on its own is removed, whatever text surrounds it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sessionwatch_logs::redact;

/// Texts with a secret, and the part of the secret that must be removed.
const PLANTED_SECRET: [(&str, &str); 6] = [
    (" sessionToken: 'f47ac10b-58cc-4372-a567-0e02b2c3d479' ", "58cc-4372"),
    (" \"password\": \"correct horse battery staple\" ", "battery staple"),
    (" postgres://app:p@ss@word9@db/x ", "ss@word9"),
    (" 1f2e3d4c5b6a7988 ", "5b6a7988"),
    (" 918273645509182736455091827364 ", "5509182736"),
    (" otp=991823 ", "991823"),
];

fuzz_target!(|bytes: &[u8]| {
    let _ = redact::redact_text(bytes, 300);
    // The first byte of the input is the position of the secret.
    let (first, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (usize::from(*first), rest));
    let at = first.min(rest.len());
    for (text, secret) in PLANTED_SECRET {
        // On a new line, after an `x`: the input before may end in an unfinished color escape, which swallows a letter.
        let planted = [&rest[..at], b"\n x ", text.as_bytes(), b"\n", &rest[at..]].concat();
        assert!(!redact::redact_text(&planted, 10_000).contains(secret));
    }
});
