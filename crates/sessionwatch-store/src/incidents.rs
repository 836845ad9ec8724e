//! Incidents with their timelines, and drills.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sessionwatch_core::{
    duration::saturating_micros,
    incident::{IncidentSeverity, StepRecord},
    timestamp::UtcTimestamp,
};

use crate::{StoreError, audit, row::StoreRow, transaction::Tx};

/// The state of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum IncidentState {
    /// Sessions are not revoked yet.
    Open,
    /// Sessions were revoked.
    Contained,
    /// Closed.
    Closed,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRecord {
    /// `INC-YYYYMMDD-NNN`.
    pub id: String,
    /// The target.
    pub target: String,
    /// The severity.
    pub severity: IncidentSeverity,
    /// The state.
    pub state: IncidentState,
    /// Time of opening.
    pub opened_at: UtcTimestamp,
    /// The person who opened the incident.
    pub opened_by: String,
    /// Time when sessions were last revoked.
    pub contained_at: Option<UtcTimestamp>,
    /// Time of closing.
    pub closed_at: Option<UtcTimestamp>,
    /// Report fields filled in by people, as a JSON object of texts.
    pub report_fields: String,
}

impl IncidentRecord {
    /// Returns a report field, or `None` if it is empty.
    #[must_use]
    pub fn report_field(&self, name: &str) -> Option<String> {
        // A damaged object is reported where the record is read, so no error is lost here.
        let fields: serde_json::Value = serde_json::from_str(&self.report_fields).ok()?;
        fields[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// An entry of an incident's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Time of the entry.
    pub at: UtcTimestamp,
    /// The person or program that acted.
    pub actor: String,
    /// The kind of entry, one of `TIMELINE_ENTRY_KINDS`.
    pub kind: String,
    /// The step's id; may be empty.
    pub step: String,
    /// The text shown to people.
    pub message: String,
    /// Further details, as JSON.
    pub detail: String,
}

/// A drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillRecord {
    /// Time of the drill.
    pub at: UtcTimestamp,
    /// The target's name.
    pub target: String,
    /// The person who ran the drill.
    pub actor: String,
    /// Time until the leak was detected, the sessions were revoked, and the result was verified.
    pub phase_durations: [SignedDuration; 3],
}

impl TimelineEntry {
    /// Returns the entry's details, parsed.
    ///
    /// # Errors
    ///
    /// If the stored text is not JSON.
    pub fn parse_detail(&self) -> Result<serde_json::Value, StoreError> {
        serde_json::from_str(&self.detail).map_err(|_| Self::undecodable_column("detail"))
    }

    /// Returns the error for an entry whose column this version cannot decode.
    #[must_use]
    pub fn undecodable_column(column: &str) -> StoreError {
        StoreError::Undecodable { table: "timeline_entries".into(), column: column.into() }
    }
}

const INCIDENT_COLUMNS: &str =
    "id, target, severity, state, opened_at, opened_by, contained_at, closed_at, fields";

/// The kinds of timeline entries.
const TIMELINE_ENTRY_KINDS: [&str; 13] = [
    "opened",
    "done",
    "skipped",
    "step-reopened",
    "note",
    "check-run",
    "evidence",
    "contained",
    "detected",
    "set",
    "reopened",
    "closed",
    "log-event",
];

impl IncidentState {
    /// Returns the name of the state in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Stores an incident or its new state.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_incident(db: Tx<'_>, incident: &IncidentRecord) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO incidents (id, target, severity, state, opened_at, opened_by, contained_at, closed_at, fields)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, state = excluded.state,
           contained_at = excluded.contained_at, closed_at = excluded.closed_at, fields = excluded.fields",
        &[
            (&incident.id).into(),
            (&incident.target).into(),
            incident.severity.name().into(),
            incident.state.name().into(),
            incident.opened_at.into(),
            (&incident.opened_by).into(),
            incident.contained_at.into(),
            incident.closed_at.into(),
            (&incident.report_fields).into(),
        ],
    )?;
    Ok(())
}

/// Adds an entry to the timeline and to the audit log.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_timeline_entry(db: Tx<'_>, incident: &str, entry: &TimelineEntry) -> Result<(), StoreError> {
    // Ids order the timeline: several entries may have the same time.
    let id = db.next_id("timeline_entries")?;
    db.execute(
        "INSERT INTO timeline_entries (id, incident, at, actor, kind, step, said, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            id.into(),
            incident.into(),
            entry.at.into(),
            (&entry.actor).into(),
            (&entry.kind).into(),
            (&entry.step).into(),
            (&entry.message).into(),
            (&entry.detail).into(),
        ],
    )?;
    // In the same transaction, so that the timeline cannot claim what the audit log does not know.
    let detail = serde_json::json!({ "incident": incident, "step": entry.step, "text": entry.message });
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry {
            actor: &entry.actor,
            action: audit_action(&entry.kind),
            detail: &detail.to_string(),
        },
        entry.at,
    )
}

/// Returns the audit action for a kind of timeline entry.
fn audit_action(kind: &str) -> &'static str {
    match kind {
        "opened" => "incident.opened",
        "reopened" => "incident.reopened",
        "contained" => "incident.contained",
        "closed" => "incident.closed",
        "done" => "incident.step_done",
        "skipped" => "incident.step_skipped",
        "detected" => "incident.step_detected",
        "step-reopened" => "incident.step_reopened",
        "set" => "incident.field_set",
        "evidence" => "incident.evidence_exported",
        "check-run" => "incident.checks_run",
        "log-event" => "incident.log_event_added",
        // Also for kinds of newer versions: the entry must reach the audit log in any case.
        _ => "incident.note_added",
    }
}

/// Counts incidents that are not closed.
///
/// # Errors
///
/// If the store cannot be read.
pub fn count_open_incidents(db: Tx<'_>) -> Result<u64, StoreError> {
    let row = db.query_row("SELECT COUNT(*) FROM incidents WHERE state <> 'closed'", &[])?;
    row.map_or(Ok(0), |row| row.read_u64(0))
}

/// Applies a change to the incident's current state, including changes by others meanwhile, and adds a timeline entry.
///
/// # Errors
///
/// If the store cannot be read or written.
pub fn update_incident(
    db: Tx<'_>,
    id: &str,
    entry: &TimelineEntry,
    change: impl Fn(IncidentRecord) -> Result<IncidentRecord, StoreError>,
) -> Result<(), StoreError> {
    // No timeline entry without an incident.
    let Some(incident) = find_incident(db, id)? else { return Ok(()) };
    // Applied to the state read here and not to the caller's copy, which may be minutes old.
    upsert_incident(db, &change(incident)?)?;
    insert_timeline_entry(db, id, entry)
}

/// Returns all incidents, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_incidents(db: Tx<'_>) -> Result<Vec<IncidentRecord>, StoreError> {
    let query = format!("SELECT {INCIDENT_COLUMNS} FROM incidents ORDER BY opened_at DESC, id DESC");
    db.query_rows(&query, &[])?.iter().map(incident_from_row).collect()
}

/// Returns an incident by its id.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_incident(db: Tx<'_>, id: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!("SELECT {INCIDENT_COLUMNS} FROM incidents WHERE id = $1");
    db.query_row(&query, &[id.into()])?.as_ref().map(incident_from_row).transpose()
}

/// Returns a target's incident that is not closed.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_open_incident(db: Tx<'_>, target: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!(
        "SELECT {INCIDENT_COLUMNS} FROM incidents WHERE target = $1 AND state <> 'closed' ORDER BY opened_at DESC"
    );
    db.query_row(&query, &[target.into()])?.as_ref().map(incident_from_row).transpose()
}

/// Returns a target's incident that is not closed, otherwise the one opened last.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_latest_incident(db: Tx<'_>, target: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!(
        "SELECT {INCIDENT_COLUMNS} FROM incidents WHERE target = $1\n\
         ORDER BY CASE WHEN state = 'closed' THEN 1 ELSE 0 END, opened_at DESC LIMIT 1"
    );
    db.query_row(&query, &[target.into()])?.as_ref().map(incident_from_row).transpose()
}

/// Returns the closed incident in which a target's sessions were revoked last.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_closed_after_containment(db: Tx<'_>, target: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!(
        "SELECT {INCIDENT_COLUMNS} FROM incidents WHERE target = $1 AND state = 'closed' AND contained_at IS NOT NULL\n\
         ORDER BY contained_at DESC LIMIT 1"
    );
    db.query_row(&query, &[target.into()])?.as_ref().map(incident_from_row).transpose()
}

/// Returns the time when a target's sessions were last revoked in an incident.
///
/// # Errors
///
/// If the store cannot be read.
pub fn last_contained_at(db: Tx<'_>, target: &str) -> Result<Option<UtcTimestamp>, StoreError> {
    // Closed incidents count as well: close monitoring continues after closing.
    let row = db.query_row("SELECT MAX(contained_at) FROM incidents WHERE target = $1", &[target.into()])?;
    row.map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// Returns the timeline of an incident, oldest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_timeline(db: Tx<'_>, incident: &str) -> Result<Vec<TimelineEntry>, StoreError> {
    let rows = db.query_rows(
        "SELECT at, actor, kind, step, said, detail FROM timeline_entries WHERE incident = $1 ORDER BY id",
        &[incident.into()],
    )?;
    let entry = |row: &StoreRow| {
        Ok(TimelineEntry {
            at: row.read_timestamp(0)?,
            actor: row.read_text(1)?,
            kind: row.read_known_text(2, |kind| TIMELINE_ENTRY_KINDS.contains(&kind))?,
            step: row.read_text(3)?,
            message: row.read_text(4)?,
            detail: row.read_json_text(5)?,
        })
    };
    rows.iter().map(entry).collect()
}

/// Returns the last record of each step. Reopening an incident or a step discards earlier records.
#[must_use]
pub fn collect_step_records(timeline: &[TimelineEntry]) -> Vec<StepRecord> {
    let mut recorded: Vec<StepRecord> = Vec::new();
    // In the order of the timeline, so that later entries override earlier ones.
    for entry in timeline {
        match entry.kind.as_str() {
            // A reopened incident is investigated again; only the preparatory steps stay done.
            "reopened" => {
                recorded.retain(|done| matches!(done.step.as_str(), "confirm" | "team" | "rollback"))
            }
            "step-reopened" => recorded.retain(|done| done.step != entry.step),
            "done" | "skipped" => {
                recorded.retain(|done| done.step != entry.step);
                recorded.push(StepRecord { step: entry.step.clone(), skipped: entry.kind == "skipped" });
            }
            _ => {}
        }
    }
    recorded
}

/// Stores a drill.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_drill(db: Tx<'_>, drill: &DrillRecord) -> Result<(), StoreError> {
    let id = db.next_id("drills")?;
    // Integers, because a floating-point duration would differ between the databases.
    let [detected, contained, verified] = drill.phase_durations.map(saturating_micros);
    db.execute(
        "INSERT INTO drills (id, at, target, actor, detected_us, contained_us, verified_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            id.into(),
            drill.at.into(),
            (&drill.target).into(),
            (&drill.actor).into(),
            detected.into(),
            contained.into(),
            verified.into(),
        ],
    )?;
    Ok(())
}

/// Returns all drills, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_drills(db: Tx<'_>) -> Result<Vec<DrillRecord>, StoreError> {
    let rows = db.query_rows(
        "SELECT at, target, actor, detected_us, contained_us, verified_us FROM drills ORDER BY id DESC",
        &[],
    )?;
    let drill = |row: &StoreRow| {
        Ok(DrillRecord {
            at: row.read_timestamp(0)?,
            target: row.read_text(1)?,
            actor: row.read_text(2)?,
            phase_durations: [row.read_duration(3)?, row.read_duration(4)?, row.read_duration(5)?],
        })
    };
    rows.iter().map(drill).collect()
}

fn incident_from_row(row: &StoreRow) -> Result<IncidentRecord, StoreError> {
    Ok(IncidentRecord {
        id: row.read_text(0)?,
        target: row.read_text(1)?,
        severity: row.parse_text(2)?,
        state: row.parse_text(3)?,
        opened_at: row.read_timestamp(4)?,
        opened_by: row.read_text(5)?,
        contained_at: row.read_optional_timestamp(6)?,
        closed_at: row.read_optional_timestamp(7)?,
        // Checked on reading, so that a report never shows an incomplete set of fields.
        report_fields: read_report_fields(row, 8)?,
    })
}

/// Reads report fields: a JSON object whose values are all texts.
fn read_report_fields(row: &StoreRow, at: usize) -> Result<String, StoreError> {
    let text = row.read_json_object_text(at)?;
    serde_json::from_str::<BTreeMap<String, String>>(&text).map_err(|_| row.undecodable_column(at))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    fn at(micros: i64) -> UtcTimestamp {
        UtcTimestamp::from_micros(micros).unwrap()
    }

    fn entry(kind: &str, step: &str) -> TimelineEntry {
        let [actor, message, detail] = ["ada", "x", "{}"].map(str::to_owned);
        TimelineEntry { at: at(2), actor, kind: kind.into(), step: step.into(), message, detail }
    }

    #[test]
    fn incidents_timelines_and_drills_are_stored() {
        for store in store_of_each_kind() {
            let mut incident = IncidentRecord {
                id: "INC-20260131-001".into(),
                target: "app".into(),
                severity: IncidentSeverity::P0,
                state: IncidentState::Open,
                opened_at: at(1),
                opened_by: "ada".into(),
                contained_at: None,
                closed_at: None,
                report_fields: "{}".into(),
            };
            store
                .write(|db| {
                    upsert_incident(db, &incident)
                        .and_then(|()| insert_timeline_entry(db, &incident.id, &entry("opened", "")))
                })
                .unwrap();
            assert_eq!(store.read(|db| find_open_incident(db, "app")).unwrap(), Some(incident.clone()));
            assert_eq!(store.read(|db| list_timeline(db, &incident.id)).unwrap(), [entry("opened", "")]);
            assert_eq!(store.read(audit::verify_chain).unwrap(), audit::ChainStatus::Intact(1));
            (incident.state, incident.closed_at) = (IncidentState::Closed, Some(at(3)));
            store.write(|db| upsert_incident(db, &incident)).unwrap();
            assert_eq!(store.read(|db| find_open_incident(db, "app")).unwrap(), None);
            assert_eq!(store.read(list_incidents).unwrap(), [incident]);
            let drill = DrillRecord {
                at: at(4),
                target: "app".into(),
                actor: "ada".into(),
                phase_durations: [1, 2, 3].map(SignedDuration::from_micros),
            };
            store.write(|db| insert_drill(db, &drill)).unwrap();
            assert_eq!(store.read(list_drills).unwrap(), [drill]);
        }
    }

    #[test]
    fn reopening_discards_earlier_step_records() {
        let timeline = [("done", "confirm"), ("skipped", "verify"), ("note", ""), ("done", "verify")]
            .map(|(kind, step)| entry(kind, step));
        let verified = StepRecord { step: "verify".into(), skipped: false };
        assert_eq!(collect_step_records(&timeline)[1..], [verified]);
        let taken_back = [&timeline[..], &[entry("step-reopened", "verify")]].concat();
        assert!(collect_step_records(&taken_back).iter().all(|done| done.step != "verify"));
        let again = [&timeline[..], &[entry("reopened", "")]].concat();
        assert_eq!(collect_step_records(&again).len(), 1);
    }
}
