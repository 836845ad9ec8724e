//! Collected output, and the search for secrets in it.

use aho_corasick::AhoCorasick;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Output and its origin.
#[derive(Default)]
pub(super) struct Outcome(Vec<(String, Vec<u8>)>);

impl Outcome {
    pub(super) fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    /// Finds every secret in the output, in any encoding.
    pub(super) fn leaks(&self, secrets: &[String]) -> Vec<String> {
        let mut needles: Vec<(String, &str)> = vec![];
        for secret in secrets {
            needles.extend(written(secret).into_iter().map(|needle| (needle, secret.as_str())));
        }
        let search = AhoCorasick::new(needles.iter().map(|(needle, _)| needle)).unwrap();
        let mut leaks = vec![];
        for (place, bytes) in &self.0 {
            let found = search.find_overlapping_iter(bytes).map(|found| found.pattern().as_usize());
            let mut found: Vec<usize> = found.collect();
            found.sort_unstable();
            found.dedup();
            leaks.extend(
                found.iter().map(|at| format!("{} as {} in {place}", needles[*at].1, needles[*at].0)),
            );
        }
        leaks
    }
}

/// Encodings of a secret: plain, hexadecimal, percent-encoded, and base64 at each of three byte offsets.
fn written(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter.to_string()
        } else {
            format!("%{:02X}", u32::from(letter))
        }
    };
    let json = Value::from(secret).to_string();
    let mut ways = vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        secret.chars().map(percent).collect(),
        secret.replace(' ', "+"),
        json.trim_matches('"').to_owned(),
    ];
    for before in 0..3_usize {
        let bytes = [&[0].repeat(before), secret.as_bytes()].concat();
        let encoded = STANDARD.encode(&bytes);
        let (from, to) = ([0, 2, 3][before], bytes.len() * 8 / 6);
        if let Some(inner) = encoded.get(from..to).filter(|inner| inner.len() >= 6) {
            ways.extend([inner.to_owned(), inner.replace('+', "-").replace('/', "_")]);
        }
    }
    ways
}
