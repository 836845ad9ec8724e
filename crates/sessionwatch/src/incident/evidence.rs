//! The evidence of an incident: one sealed file with what was seen, what was done, and the sums of its parts.

use std::{
    collections::BTreeMap, fmt::Write as _, io::Read as _, os::unix::fs::OpenOptionsExt as _, path::Path,
};

use serde_json::{Value, json};
use sessionwatch_rules::instant::{DAY, Instant};
use sha2::{Digest as _, Sha256};

use crate::{
    actions::{ActError, Context, affected},
    archive::sealing::Recipient,
    clock, documents,
    store::{
        audit,
        incidents::{Entry, Incident},
        signals::{self, Kept, Search},
    },
};

/// Rows of each kind that are evidence.
const ROWS: usize = 100_000;
/// Entries of the audit trail.
const ENTRIES: u32 = 100_000;
/// The part that names the others.
const MANIFEST: &str = "manifest.json";

/// Why a bundle cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// It is no bundle.
    #[error("that is not a bundle of evidence, or it was cut")]
    Unreadable,
    /// A part is not what the manifest says.
    #[error("the part `{0}` is not what was written")]
    Changed(String),
    /// A part is missing, or one is there that should not be.
    #[error("the part `{0}` is missing, or is not named in the manifest")]
    Missing(String),
}

/// The parts of a bundle, by name.
pub type Parts = BTreeMap<String, Vec<u8>>;

/// Gathers the evidence: a fresh look, the rows that show a leak, and what was recorded.
///
/// # Errors
///
/// If the target or the store fails.
pub async fn gather(
    context: Context<'_>,
    (incident, timeline): (&Incident, &[Entry]),
) -> Result<Parts, ActError> {
    let report = super::look(context).await;
    let opening = timeline.iter().find(|entry| entry.kind == "look");
    let opening: Value =
        opening.and_then(|entry| serde_json::from_str(&entry.detail).ok()).unwrap_or(Value::Null);
    let now = context.clock.now();
    let (entries, head) = context
        .store
        .read(|db| Ok((audit::between(db, (incident.opened_at, now.plus(1)), ENTRIES)?, audit::head(db)?)))?;
    let (signals, read) = signals_of(context, (incident, now))?;
    let rows = match &report.seen {
        Ok(_) => affected(context, ROWS).await?,
        Err(_) => vec![],
    };
    let lines =
        |values: Vec<Value>| values.iter().map(|value| format!("{value}\n")).collect::<String>().into_bytes();
    let entry = |entry: &audit::Entry| documents::json(documents::Deed::of(entry));
    let happened = |entry: &Entry| documents::json(documents::Entry::of(entry));
    let row = |row: &affected::Row| {
        json!({
            "fingerprint": row.fingerprint, "token_prefix": row.prefix, "id": row.id, "user": row.user,
            "expires_at": row.expires.and_then(Instant::from_micros).map(clock::rfc3339),
        })
    };
    let document = |value: &Value| format!("{value:#}\n").into_bytes();
    let mut parts = Parts::from([
        ("rows.ndjson".into(), lines(rows.iter().map(row).collect())),
        ("census-before.json".into(), document(&opening["census"])),
        ("census-now.json".into(), document(&report.json()["census"])),
        ("findings-before.json".into(), document(&opening)),
        ("findings-now.json".into(), document(&report.json())),
        ("signals.ndjson".into(), lines(signals.iter().map(Kept::json).collect())),
        ("timeline.ndjson".into(), lines(timeline.iter().map(happened).collect())),
        ("audit.ndjson".into(), lines(entries.iter().map(entry).collect())),
    ]);
    let sums: Vec<Value> = parts
        .iter()
        .map(|(name, bytes)| json!({ "name": name, "bytes": bytes.len(), "sha256": sum(bytes) }))
        .collect();
    let manifest = json!({
        "schema": 1,
        "incident": incident.id,
        "target": incident.target,
        "severity": incident.grade.name(),
        "written_at": clock::rfc3339(now),
        "written_by": context.actor,
        "audit_head": head,
        "signals": read,
        "parts": sums,
    });
    parts.insert(MANIFEST.into(), document(&manifest));
    Ok(parts)
}

/// What the logs said from the day before the incident on, and which logs were read.
fn signals_of(
    context: Context<'_>,
    (incident, now): (&Incident, Instant),
) -> Result<(Vec<Kept>, Value), ActError> {
    let target = &context.target.name;
    let sources: Vec<&str> = context.config.logs.of(target).map(|source| source.name.as_str()).collect();
    if sources.is_empty() {
        return Ok((vec![], json!("no source of log lines is configured")));
    }
    let period = (incident.opened_at.plus(-DAY), now.plus(1));
    let search = Search { limit: ENTRIES, ..Search::default() };
    let mut signals = context.store.read(|db| signals::search(db, target, period, &search))?;
    signals.reverse();
    let read = json!({ "sources": sources, "from": clock::rfc3339(period.0), "count": signals.len() });
    Ok((signals, read))
}

/// The parts as one file.
///
/// # Errors
///
/// If there is no memory for it.
pub fn pack(parts: &Parts, now: Instant) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now.micros() / 1_000_000).unwrap_or(0));
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    builder.into_inner()
}

/// Writes a new file that only its owner may read, sealed if there is a recipient.
///
/// # Errors
///
/// If it is there, or cannot be written.
pub fn write(path: &Path, packed: &[u8], recipient: &Recipient) -> Result<(), ActError> {
    use std::io::Write as _;
    let sealed = recipient.seal(packed)?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(&sealed).and_then(|()| file.sync_all()));
    written.map_err(|_| ActError::Unwritable(path.to_owned()))
}

/// Makes sure that every part of a bundle is what its manifest says: the manifest.
///
/// # Errors
///
/// If one is not.
pub fn verify(packed: &[u8]) -> Result<Value, EvidenceError> {
    let mut parts = Parts::new();
    let mut archive = tar::Archive::new(packed);
    for entry in archive.entries().map_err(|_| EvidenceError::Unreadable)? {
        let mut entry = entry.map_err(|_| EvidenceError::Unreadable)?;
        let name = entry.path().map_err(|_| EvidenceError::Unreadable)?.display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|_| EvidenceError::Unreadable)?;
        parts.insert(name, bytes);
    }
    let manifest = parts.remove(MANIFEST).ok_or(EvidenceError::Unreadable)?;
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|_| EvidenceError::Unreadable)?;
    for named in manifest["parts"].as_array().ok_or(EvidenceError::Unreadable)? {
        let name = named["name"].as_str().unwrap_or_default().to_owned();
        let bytes = parts.remove(&name).ok_or_else(|| EvidenceError::Missing(name.clone()))?;
        if named["sha256"] != sum(&bytes) {
            return Err(EvidenceError::Changed(name));
        }
    }
    match parts.into_keys().next() {
        Some(name) => Err(EvidenceError::Missing(name)),
        None => Ok(manifest),
    }
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_was_changed_removed_or_added_shows() {
        let pack = |parts: &Parts| pack(parts, Instant::MIN).unwrap();
        let manifest = json!({ "parts": [{ "name": "a", "sha256": sum(b"one") }] });
        let parts = Parts::from([
            ("a".to_owned(), b"one".to_vec()),
            (MANIFEST.to_owned(), manifest.to_string().into_bytes()),
        ]);
        assert_eq!(verify(&pack(&parts)).unwrap(), manifest);
        let with = |name: &str, bytes: &[u8]| {
            let mut parts = parts.clone();
            parts.insert(name.into(), bytes.to_vec());
            pack(&parts)
        };
        assert!(matches!(verify(&with("a", b"two")), Err(EvidenceError::Changed(name)) if name == "a"));
        assert!(matches!(verify(&with("b", b"two")), Err(EvidenceError::Missing(name)) if name == "b"));
        let mut without = parts.clone();
        without.remove("a");
        assert!(matches!(verify(&pack(&without)), Err(EvidenceError::Missing(name)) if name == "a"));
        for cut in [0, 100, 600, 1_030] {
            assert!(matches!(verify(&pack(&parts)[..cut]), Err(EvidenceError::Unreadable)), "{cut}");
        }
    }
}
