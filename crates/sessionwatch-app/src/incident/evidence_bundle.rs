//! Evidence of an incident: one encrypted tar file with findings, leaked rows, timeline, audit log and log events,
//! and a manifest with the checksum of each part.

use std::{collections::BTreeMap, io::Read as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sessionwatch_archive::Recipient;
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::CheckVerdict, duration::DAY, period::Period, session_stats::Measured, timestamp::UtcTimestamp,
};
use sessionwatch_store::{
    StoreError, audit,
    incidents::{IncidentRecord, TimelineEntry},
    log_events::{self, LogEventRecord, LogEventSearch},
};
use sessionwatch_targets::row_selection::LeakRow;
use sha2::{Digest as _, Sha256};

use crate::{
    api_types,
    logs::log_event_json,
    remediation::{self, ActionContext, ActionError},
};

/// Maximum number of leaked rows, in the evidence and in the list of affected users.
pub(super) const MAX_EVIDENCE_ROWS: usize = 100_000;
/// Maximum number of audit log entries and log events.
const MAX_EVIDENCE_ENTRIES: u32 = 100_000;
/// Part with the leaked rows.
const ROWS_PART_NAME: &str = "rows.ndjson";
/// Part that lists the others.
const MANIFEST_PART_NAME: &str = "manifest.json";

/// Version of the manifest. Version 1 did not list missing parts.
const MANIFEST_VERSION: u64 = 2;

/// Error of verifying an evidence file.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The file is not an evidence file, or is truncated.
    #[error("not an evidence file, or truncated")]
    Unreadable,
    /// A part differs from the manifest.
    #[error("the part `{0}` does not match its checksum")]
    Changed(String),
    /// A part is missing, or is not listed in the manifest.
    #[error("the part `{0}` is missing, or is not listed in the manifest")]
    Missing(String),
    /// Several entries have the same name.
    #[error("the part `{0}` occurs more than once")]
    Duplicate(String),
    /// The file was written by a newer version.
    #[error(
        "the evidence was written by a newer sessionwatch (manifest version {0}): verify it with that version"
    )]
    Newer(u64),
}

/// Parts of an evidence file, by name.
pub type EvidenceParts = BTreeMap<String, Vec<u8>>;

/// Part that could not be read, or not completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceGap {
    /// Name of the part.
    pub part: String,
    /// Reason.
    pub why: String,
}

/// Gathered evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvidenceBundle {
    /// Parts, including the manifest.
    pub parts: EvidenceParts,
    /// Missing parts; empty if the evidence is complete.
    pub gaps: Vec<EvidenceGap>,
}

/// Verified evidence file.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedEvidence {
    /// Manifest.
    pub manifest: Value,
    /// Parts that were missing when it was written; empty if the evidence is complete.
    pub gaps: Vec<EvidenceGap>,
}

/// Describes missing parts, grouped by reason.
#[must_use]
pub fn describe_gaps(gaps: &[EvidenceGap]) -> String {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for EvidenceGap { part, why } in gaps {
        match by_reason.iter_mut().find(|(reason, _)| *reason == why.as_str()) {
            Some((_, parts)) => parts.push(part),
            None => by_reason.push((why, vec![part])),
        }
    }
    let phrases = by_reason.iter().map(|(why, parts)| format!("{}: {why}", parts.join(", ")));
    phrases.collect::<Vec<_>>().join("; ")
}

impl EvidenceBundle {
    fn insert_part(&mut self, part: &str, bytes: Vec<u8>) {
        self.parts.insert(part.to_owned(), bytes);
    }

    fn record_gap(&mut self, part: &str, why: impl ToString) {
        self.gaps.push(EvidenceGap { part: part.to_owned(), why: why.to_string() });
    }

    /// Inserts values, one per line, or records a gap: a read error, or a list that was cut at `most`.
    fn insert_lines(&mut self, part: &str, read: Result<Vec<Value>, StoreError>, most: u32) {
        match read {
            Ok(values) => {
                if values.len() >= most as usize {
                    self.record_gap(
                        part,
                        format!("only the latest {most} entries are included; there may be more"),
                    );
                }
                self.insert_part(part, encode_lines(&values));
            }
            Err(error) => self.record_gap(part, error),
        }
    }
}

/// Gathers the evidence: a new check run, the leaked rows, and the recorded history. A part that cannot be read is left
/// out and listed in the gaps, so that the rest is not lost.
///
/// # Errors
///
/// Fails if the findings recorded at the opening cannot be decoded.
pub async fn gather_evidence(
    context: ActionContext<'_>,
    incident: &IncidentRecord,
    timeline: &[TimelineEntry],
) -> Result<EvidenceBundle, ActionError> {
    let mut bundle = EvidenceBundle::default();
    let OpeningEvidence { opening, never_taken } = insert_opening(timeline, &mut bundle)?;
    let unknown = rerun_checks(context, opening.as_ref(), &mut bundle).await;
    match remediation::find_leaked_rows(context, MAX_EVIDENCE_ROWS).await {
        Ok(affected) => {
            bundle.insert_part(
                ROWS_PART_NAME,
                encode_lines(&affected.rows.iter().map(leak_row_json).collect::<Vec<_>>()),
            );
            affected.gaps.iter().for_each(|why| bundle.record_gap(ROWS_PART_NAME, why));
        }
        Err(error) => bundle.record_gap(ROWS_PART_NAME, error),
    }
    let now = context.clock.now();
    let happened =
        |entry: &TimelineEntry| api_types::to_json_value(api_types::TimelineEntryDto::from_record(entry));
    bundle.insert_part(
        "timeline.ndjson",
        encode_lines(&timeline.iter().map(happened).collect::<Result<Vec<_>, _>>()?),
    );
    let audit_document =
        |entry: &audit::AuditEntry| api_types::to_json_value(api_types::AuditEntryDto::from_record(entry));
    let trail = context.store.read(|db| {
        // If the clock was set back since, entries or the opening itself have a later time than now.
        let entries = audit::list_audit_entries_between(
            db,
            Period { from: incident.opened_at.min(now), to: UtcTimestamp::MAX },
            MAX_EVIDENCE_ENTRIES,
        )?;
        Ok((entries.iter().map(audit_document).collect::<Result<Vec<_>, _>>()?, audit::find_latest_hash(db)?))
    });
    let (trail, head) = match trail {
        Ok((entries, head)) => (Ok(entries), json!(head)),
        Err(error) => (Err(error), Value::Null),
    };
    bundle.insert_lines("audit.ndjson", trail, MAX_EVIDENCE_ENTRIES);
    let events = collect_log_events(context, incident, now, &mut bundle);
    // The manifest comes last, since it lists the checksums of the other parts.
    let sums: Vec<Value> = bundle
        .parts
        .iter()
        .map(|(name, bytes)| json!({ "name": name, "bytes": bytes.len(), "sha256": sha256_hex(bytes) }))
        .collect();
    let manifest = json!({
        "schema": MANIFEST_VERSION,
        "incident": incident.id,
        "target": incident.target,
        "severity": incident.severity.name(),
        "written_at": clock::format_rfc3339(now),
        "written_by": context.actor,
        "complete": bundle.gaps.is_empty(),
        "missing": bundle.gaps,
        "never_taken": never_taken,
        "unknown_checks": unknown,
        "audit_head": head,
        "log_events": events,
        "parts": sums,
    });
    bundle.insert_part(MANIFEST_PART_NAME, encode_document(&manifest));
    Ok(bundle)
}

/// Evidence recorded when the incident was opened.
struct OpeningEvidence {
    /// Report of the check run at the opening.
    opening: Option<Value>,
    /// Names of parts that were never recorded.
    never_taken: Vec<&'static str>,
}

/// Inserts what was recorded when the incident was opened.
fn insert_opening(
    timeline: &[TimelineEntry],
    bundle: &mut EvidenceBundle,
) -> Result<OpeningEvidence, ActionError> {
    let entry = timeline.iter().find(|entry| entry.kind == "check-run");
    let opening: Option<Value> = entry.map(TimelineEntry::parse_detail).transpose()?;
    let mut never_taken = Vec::new();
    match &opening {
        Some(opening) => bundle.insert_part("findings-before.json", encode_document(opening)),
        None => never_taken.push("findings-before.json"),
    }
    match opening.as_ref().map(|opening| &opening["stats"]) {
        Some(stats) if !stats.is_null() => bundle.insert_part("stats-before.json", encode_document(stats)),
        // The check run at the opening failed, and cannot be repeated for that time.
        _ => never_taken.push("stats-before.json"),
    }
    Ok(OpeningEvidence { opening, never_taken })
}

/// Runs the checks again. Returns the unknown checks, each with the reason.
async fn rerun_checks(
    context: ActionContext<'_>,
    opening: Option<&Value>,
    bundle: &mut EvidenceBundle,
) -> Vec<Value> {
    let report = super::run_full_check(context).await;
    let found = report.to_json();
    bundle.insert_part("findings-now.json", encode_document(&found));
    match &report.observation {
        Ok(seen) => {
            bundle.insert_part("stats-now.json", encode_document(&found["stats"]));
            // The users table was readable at the opening and no longer is: it may have been dropped.
            let before = opening.map_or(&Value::Null, |opening| &opening["stats"]["orphaned"]);
            if let (Measured::Unknown(why), false) = (&seen.stats.orphaned, before.is_null()) {
                bundle.record_gap(
                    "stats-now.json",
                    format!(
                        "orphaned sessions were counted at the opening, and \
                     cannot be counted now: {why}"
                    ),
                );
            }
        }
        Err(error) => {
            bundle.record_gap("findings-now.json", error);
            bundle.record_gap("stats-now.json", error);
        }
    }
    let unknown = report.results.iter().filter_map(|outcome| match &outcome.outcome.verdict {
        CheckVerdict::Unknown(reason) => Some(json!({ "check": outcome.id, "reason": reason })),
        _ => None,
    });
    unknown.collect()
}

fn encode_lines(values: &[Value]) -> Vec<u8> {
    values.iter().map(|value| format!("{value}\n")).collect::<String>().into_bytes()
}

fn encode_document(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn leak_row_json(row: &LeakRow) -> Value {
    json!({
        "fingerprint": row.fingerprint, "token_prefix": row.token_prefix, "id": row.id, "user": row.user,
        "expires_at": row.expires_us.and_then(UtcTimestamp::from_micros).map(clock::format_rfc3339),
    })
}

/// Inserts the log events since a day before the opening. Returns the manifest entry about log sources.
fn collect_log_events(
    context: ActionContext<'_>,
    incident: &IncidentRecord,
    now: UtcTimestamp,
    bundle: &mut EvidenceBundle,
) -> Value {
    const LOG_EVENTS_PART_NAME: &str = "log-events.ndjson";
    let target = &context.target.name;
    let sources: Vec<&str> =
        context.config.logs.sources_for_target(target).map(|source| source.name.as_str()).collect();
    if sources.is_empty() {
        bundle.insert_part(LOG_EVENTS_PART_NAME, vec![]);
        return json!("no log source is configured");
    }
    let period = Period { from: incident.opened_at.min(now) - DAY, to: UtcTimestamp::MAX };
    let search = LogEventSearch { limit: MAX_EVIDENCE_ENTRIES, ..LogEventSearch::default() };
    let events = context.store.read(|db| log_events::search_log_events(db, target, period, &search));
    let documents =
        |found: Vec<LogEventRecord>| found.iter().rev().map(log_event_json).collect::<Result<Vec<_>, _>>();
    let events = events.and_then(documents);
    let count = events.as_ref().ok().map(Vec::len);
    bundle.insert_lines(LOG_EVENTS_PART_NAME, events, MAX_EVIDENCE_ENTRIES);
    // No events from a source that is not read do not mean that nothing happened.
    let idle =
        super::log_sources::describe_idle_sources(context).unwrap_or_else(|error| vec![error.to_string()]);
    json!({ "sources": sources, "from": clock::format_rfc3339(period.from), "count": count, "idle_sources": idle })
}

/// State of the evidence of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvidenceStatus {
    /// No evidence was written.
    Missing,
    /// Incomplete evidence was written, with a description.
    Incomplete(String),
    /// Complete evidence was written, with a description.
    Complete(String),
}

/// Returns the state of the evidence, by the timeline since the incident or the step was last opened. Complete evidence
/// stays complete, whatever is written after it.
///
/// # Errors
///
/// Fails if an entry of the timeline cannot be decoded.
pub fn evidence_status(timeline: &[TimelineEntry]) -> Result<EvidenceStatus, StoreError> {
    let reopens = |entry: &TimelineEntry| {
        entry.kind == "reopened" || entry.kind == "step-reopened" && entry.step == "evidence"
    };
    let since = timeline.iter().rposition(reopens).unwrap_or(0);
    let mut frozen = EvidenceStatus::Missing;
    for entry in timeline.iter().skip(since).filter(|entry| entry.kind == "evidence") {
        let is_complete = match &entry.parse_detail()?["complete"] {
            Value::Bool(is_complete) => *is_complete,
            // Older versions did not record completeness.
            Value::Null => false,
            _ => return Err(TimelineEntry::undecodable_column("detail")),
        };
        match (is_complete, &frozen) {
            (true, _) => frozen = EvidenceStatus::Complete(entry.message.clone()),
            (false, EvidenceStatus::Complete(_)) => {}
            (false, _) => frozen = EvidenceStatus::Incomplete(entry.message.clone()),
        }
    }
    Ok(frozen)
}

/// Packs the parts into a tar file.
///
/// # Errors
///
/// Fails if memory runs out.
pub fn pack_evidence(parts: &EvidenceParts, now: UtcTimestamp) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(jiff::Timestamp::from(now).as_second()).unwrap_or(0));
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    builder.into_inner()
}

/// Encrypts packed evidence to a recipient, and writes it to a new file with mode 0600.
///
/// # Errors
///
/// Fails if the file exists or cannot be written.
pub fn write_evidence(path: &Path, packed: &[u8], recipient: &Recipient) -> Result<(), ActionError> {
    use std::io::Write as _;
    let sealed = recipient.seal(packed)?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let unwritable = |_| ActionError::Unwritable(path.to_owned());
    let mut file = file.map_err(unwritable)?;
    file.write_all(&sealed).and_then(|()| file.sync_all()).map_err(|error| {
        // A partial file would look like evidence. If removing it fails too, the error is the same.
        let _ = std::fs::remove_file(path);
        unwritable(error)
    })
}

/// Verifies every part of an evidence file against its manifest.
///
/// # Errors
///
/// Fails if a part was changed, removed, added or duplicated, or the manifest cannot be read.
pub fn verify_evidence(packed: &[u8]) -> Result<VerifiedEvidence, EvidenceError> {
    let mut parts = EvidenceParts::new();
    let mut archive = tar::Archive::new(packed);
    for entry in archive.entries().map_err(|_| EvidenceError::Unreadable)? {
        let mut entry = entry.map_err(|_| EvidenceError::Unreadable)?;
        let name = entry.path().map_err(|_| EvidenceError::Unreadable)?.display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|_| EvidenceError::Unreadable)?;
        // Only the last entry of a name would be verified, while a reader of the file may show another one.
        if parts.insert(name.clone(), bytes).is_some() {
            return Err(EvidenceError::Duplicate(name));
        }
    }
    let manifest = parts.remove(MANIFEST_PART_NAME).ok_or(EvidenceError::Unreadable)?;
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|_| EvidenceError::Unreadable)?;
    let gaps = manifest_gaps(&manifest, &parts)?;
    for named in manifest["parts"].as_array().ok_or(EvidenceError::Unreadable)? {
        let name = named["name"].as_str().ok_or(EvidenceError::Unreadable)?.to_owned();
        let bytes = parts.remove(&name).ok_or_else(|| EvidenceError::Missing(name.clone()))?;
        if named["sha256"] != sha256_hex(&bytes) {
            return Err(EvidenceError::Changed(name));
        }
    }
    match parts.into_keys().next() {
        // A part that the manifest does not list was added later.
        Some(name) => Err(EvidenceError::Missing(name)),
        None => Ok(VerifiedEvidence { manifest, gaps }),
    }
}

/// Returns the missing parts listed by a manifest.
fn manifest_gaps(manifest: &Value, parts: &EvidenceParts) -> Result<Vec<EvidenceGap>, EvidenceError> {
    match manifest["schema"].as_u64().ok_or(EvidenceError::Unreadable)? {
        // Version 1 has empty session stats if the target could not be read, and then no rows either.
        1 => {
            let is_empty = parts.get("census-now.json").is_none_or(|stats| stats.trim_ascii() == b"null");
            let why = "the target could not be read when the evidence was written, by a \
                 version that did not record this";
            let gap = |part: &str| EvidenceGap { part: part.to_owned(), why: why.to_owned() };
            Ok(if is_empty { ["census-now.json", ROWS_PART_NAME].map(gap).to_vec() } else { vec![] })
        }
        MANIFEST_VERSION => {
            let missing = Vec::<EvidenceGap>::deserialize(&manifest["missing"]);
            let missing = missing.map_err(|_| EvidenceError::Unreadable)?;
            let agrees = manifest["complete"].as_bool() == Some(missing.is_empty());
            if agrees { Ok(missing) } else { Err(EvidenceError::Unreadable) }
        }
        newer => Err(EvidenceError::Newer(newer)),
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    const_hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_reported_for_every_manifest_version() {
        let verified = |manifest: Value, stats: &str| {
            let mut manifest = manifest;
            manifest["parts"] =
                json!([{ "name": "census-now.json", "sha256": sha256_hex(stats.as_bytes()) }]);
            let parts = EvidenceParts::from([
                ("census-now.json".to_owned(), stats.as_bytes().to_vec()),
                (MANIFEST_PART_NAME.to_owned(), manifest.to_string().into_bytes()),
            ]);
            verify_evidence(&pack_evidence(&parts, UtcTimestamp::MIN).unwrap())
                .map(|verified| describe_gaps(&verified.gaps))
        };
        let gap = json!([{ "part": "rows.ndjson", "why": "cut" }, { "part": "a", "why": "cut" }]);
        let gaps = verified(json!({ "schema": 2, "complete": false, "missing": gap }), "{}").unwrap();
        assert_eq!(gaps, "rows.ndjson, a: cut");
        let contradicts = json!({ "schema": 2, "complete": true, "missing": gap });
        assert!(matches!(verified(contradicts, "{}"), Err(EvidenceError::Unreadable)));
        assert!(matches!(verified(json!({ "schema": 2 }), "{}"), Err(EvidenceError::Unreadable)));
        assert!(matches!(verified(json!({ "schema": 3 }), "{}"), Err(EvidenceError::Newer(3))));
        assert_eq!(verified(json!({ "schema": 1 }), "{}").unwrap(), "");
        assert!(
            verified(json!({ "schema": 1 }), "null\n").unwrap().starts_with("census-now.json, rows.ndjson: ")
        );
    }

    #[test]
    fn complete_evidence_stays_complete_until_the_step_or_the_incident_is_reopened() {
        let entry = |kind: &str, message: &str, detail: Value| TimelineEntry {
            at: UtcTimestamp::MIN,
            actor: "ada".into(),
            kind: kind.into(),
            step: "evidence".into(),
            message: message.into(),
            detail: detail.to_string(),
        };
        let written =
            |message: &str, complete: Value| entry("evidence", message, json!({ "complete": complete }));
        // It is unknown whether a file of an older version is complete.
        let old = entry("evidence", "old", json!({ "file": "x" }));
        let mut timeline = vec![old];
        assert_eq!(evidence_status(&[]).unwrap(), EvidenceStatus::Missing);
        assert_eq!(evidence_status(&timeline).unwrap(), EvidenceStatus::Incomplete("old".into()));
        timeline.extend([written("whole", json!(true)), written("part", json!(false))]);
        assert_eq!(evidence_status(&timeline).unwrap(), EvidenceStatus::Complete("whole".into()));
        timeline.push(entry("step-reopened", "by mistake", json!({})));
        assert_eq!(evidence_status(&timeline).unwrap(), EvidenceStatus::Missing);
        timeline.push(written("odd", json!("yes")));
        assert!(matches!(evidence_status(&timeline), Err(StoreError::Undecodable { .. })));
    }

    #[test]
    fn a_changed_removed_added_or_duplicated_part_is_found() {
        let pack = |parts: &EvidenceParts| pack_evidence(parts, UtcTimestamp::MIN).unwrap();
        let manifest = json!({
            "schema": 2, "complete": true, "missing": [], "parts": [{ "name": "a", "sha256": sha256_hex(b"one") }],
        });
        let parts = EvidenceParts::from([
            ("a".to_owned(), b"one".to_vec()),
            (MANIFEST_PART_NAME.to_owned(), manifest.to_string().into_bytes()),
        ]);
        assert_eq!(verify_evidence(&pack(&parts)).unwrap(), VerifiedEvidence { manifest, gaps: vec![] });
        let with = |name: &str, bytes: &[u8]| {
            let mut parts = parts.clone();
            parts.insert(name.into(), bytes.to_vec());
            pack(&parts)
        };
        assert!(
            matches!(verify_evidence(&with("a", b"two")), Err(EvidenceError::Changed(name)) if name == "a")
        );
        assert!(
            matches!(verify_evidence(&with("b", b"two")), Err(EvidenceError::Missing(name)) if name == "b")
        );
        let mut without = parts.clone();
        without.remove("a");
        assert!(matches!(verify_evidence(&pack(&without)), Err(EvidenceError::Missing(name)) if name == "a"));
        let mut twice = tar::Builder::new(Vec::new());
        let append = |builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes).unwrap();
        };
        append(&mut twice, "a", b"forged");
        for (name, bytes) in &parts {
            append(&mut twice, name, bytes);
        }
        let twice = twice.into_inner().unwrap();
        assert!(matches!(verify_evidence(&twice), Err(EvidenceError::Duplicate(name)) if name == "a"));
        for cut in [0, 100, 600, 1_030] {
            assert!(matches!(verify_evidence(&pack(&parts)[..cut]), Err(EvidenceError::Unreadable)), "{cut}");
        }
    }
}
