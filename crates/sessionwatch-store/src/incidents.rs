//! Incidents: each with its timeline, and drills.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sessionwatch_core::{
    duration::saturating_micros,
    incident::{IncidentSeverity, StepRecord},
    timestamp::UtcTimestamp,
};

use crate::{StoreError, audit, row::StoreRow, transaction::Tx};

/// How far an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum IncidentState {
    /// Sessions are still to be ended.
    Open,
    /// They were.
    Contained,
    /// It is over.
    Closed,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRecord {
    /// `INC-YYYYMMDD-NNN`.
    pub id: String,
    /// The target.
    pub target: String,
    /// How bad it is.
    pub severity: IncidentSeverity,
    /// How far it is.
    pub state: IncidentState,
    /// When it was opened.
    pub opened_at: UtcTimestamp,
    /// By whom.
    pub opened_by: String,
    /// When sessions were ended last.
    pub contained_at: Option<UtcTimestamp>,
    /// When it was closed.
    pub closed_at: Option<UtcTimestamp>,
    /// What the report says besides, as JSON.
    pub report_fields: String,
}

impl IncidentRecord {
    /// What a person said under a name.
    #[must_use]
    pub fn report_field(&self, name: &str) -> Option<String> {
        let fields: serde_json::Value = serde_json::from_str(&self.report_fields).ok()?;
        fields[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// Something on the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    /// When.
    pub at: UtcTimestamp,
    /// Who.
    pub actor: String,
    /// What kind: `opened`, `done`, `skipped`, `note`, `look`, `evidence`, `contained`, `found`, `set`, `reopened`, `closed`, `signal`.
    pub kind: String,
    /// The step that it is about; may be empty.
    pub step: String,
    /// In words.
    pub message: String,
    /// The rest, as JSON.
    pub detail: String,
}

/// A drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillRecord {
    /// When.
    pub at: UtcTimestamp,
    /// Of which target.
    pub target: String,
    /// Who.
    pub actor: String,
    /// How long it took until the leak was found, the sessions were ended, and that was verified.
    pub phase_durations: [SignedDuration; 3],
}

impl TimelineEntry {
    /// Returns the rest of the entry.
    ///
    /// # Errors
    ///
    /// If it is no JSON.
    pub fn parse_detail(&self) -> Result<serde_json::Value, StoreError> {
        serde_json::from_str(&self.detail).map_err(|_| Self::undecodable_column("detail"))
    }

    /// The error of an entry whose column holds something else than this version wrote there.
    #[must_use]
    pub fn undecodable_column(column: &str) -> StoreError {
        StoreError::Undecodable { table: "incident_entries".into(), column: column.into() }
    }
}

const INCIDENT_COLUMNS: &str =
    "id, target, severity, state, opened_at, opened_by, contained_at, closed_at, fields";

/// The kinds of entries on a timeline.
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
    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Keeps an incident, or what has become of it.
///
/// # Errors
///
/// If it cannot be written.
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

/// Puts something on the timeline, and into the audit trail.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_timeline_entry(db: Tx<'_>, incident: &str, entry: &TimelineEntry) -> Result<(), StoreError> {
    let id = db.next_id("incident_entries")?;
    db.execute(
        "INSERT INTO incident_entries (id, incident, at, actor, kind, step, said, detail)
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

/// Returns the action under which the audit trail lists entries of that kind.
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
        _ => "incident.note_added",
    }
}

/// Changes an incident as it stands now, whatever somebody else has made of it meanwhile, and puts that on its timeline.
///
/// # Errors
///
/// If it cannot be read or written.
pub fn update_incident(
    db: Tx<'_>,
    id: &str,
    entry: &TimelineEntry,
    change: impl Fn(IncidentRecord) -> Result<IncidentRecord, StoreError>,
) -> Result<(), StoreError> {
    // Nothing is said of what is not there.
    let Some(incident) = find_incident(db, id)? else { return Ok(()) };
    upsert_incident(db, &change(incident)?)?;
    insert_timeline_entry(db, id, entry)
}

/// Every incident, latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_incidents(db: Tx<'_>) -> Result<Vec<IncidentRecord>, StoreError> {
    let query = format!("SELECT {INCIDENT_COLUMNS} FROM incidents ORDER BY opened_at DESC, id DESC");
    db.query_rows(&query, &[])?.iter().map(incident_from_row).collect()
}

/// The incident of an id.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_incident(db: Tx<'_>, id: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!("SELECT {INCIDENT_COLUMNS} FROM incidents WHERE id = $1");
    db.query_row(&query, &[id.into()])?.as_ref().map(incident_from_row).transpose()
}

/// The incident of a target that is not closed.
///
/// # Errors
///
/// If that cannot be read.
pub fn find_open_incident(db: Tx<'_>, target: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!(
        "SELECT {INCIDENT_COLUMNS} FROM incidents WHERE target = $1 AND state <> 'closed' ORDER BY opened_at DESC"
    );
    db.query_row(&query, &[target.into()])?.as_ref().map(incident_from_row).transpose()
}

/// The incident of a target that is not closed; otherwise the one that was opened last.
///
/// # Errors
///
/// If that cannot be read.
pub fn find_latest_incident(db: Tx<'_>, target: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!(
        "SELECT {INCIDENT_COLUMNS} FROM incidents WHERE target = $1\n\
         ORDER BY CASE WHEN state = 'closed' THEN 1 ELSE 0 END, opened_at DESC LIMIT 1"
    );
    db.query_row(&query, &[target.into()])?.as_ref().map(incident_from_row).transpose()
}

/// The incident of a target that was closed after sessions were ended: the one in which they were ended last.
///
/// # Errors
///
/// If that cannot be read.
pub fn find_closed_after_containment(db: Tx<'_>, target: &str) -> Result<Option<IncidentRecord>, StoreError> {
    let query = format!(
        "SELECT {INCIDENT_COLUMNS} FROM incidents WHERE target = $1 AND state = 'closed' AND contained_at IS NOT NULL\n\
         ORDER BY contained_at DESC LIMIT 1"
    );
    db.query_row(&query, &[target.into()])?.as_ref().map(incident_from_row).transpose()
}

/// When sessions of a target were ended last in the course of an incident.
///
/// # Errors
///
/// If that cannot be read.
pub fn last_contained_at(db: Tx<'_>, target: &str) -> Result<Option<UtcTimestamp>, StoreError> {
    let row = db.query_row("SELECT MAX(contained_at) FROM incidents WHERE target = $1", &[target.into()])?;
    row.map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// The timeline of an incident, oldest first.
///
/// # Errors
///
/// If it cannot be read.
pub fn list_timeline(db: Tx<'_>, incident: &str) -> Result<Vec<TimelineEntry>, StoreError> {
    let rows = db.query_rows(
        "SELECT at, actor, kind, step, said, detail FROM incident_entries WHERE incident = $1 ORDER BY id",
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

/// What a timeline says of the steps: what was said last of each counts, and what happened before it was opened anew
/// does not.
#[must_use]
pub fn collect_step_records(timeline: &[TimelineEntry]) -> Vec<StepRecord> {
    let mut recorded: Vec<StepRecord> = Vec::new();
    for entry in timeline {
        match entry.kind.as_str() {
            // Whatever was found out before is not known any more.
            "reopened" => {
                recorded.retain(|done| matches!(done.step.as_str(), "confirm" | "team" | "way-back"))
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

/// Keeps a drill.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_drill(db: Tx<'_>, drill: &DrillRecord) -> Result<(), StoreError> {
    let id = db.next_id("drills")?;
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

/// The drills, latest first.
///
/// # Errors
///
/// If they cannot be read.
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
        report_fields: read_report_fields(row, 8)?,
    })
}

/// What the report says besides, by name: texts.
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
        let [actor, said, detail] = ["ada", "x", "{}"].map(str::to_owned);
        TimelineEntry { at: at(2), actor, kind: kind.into(), step: step.into(), message: said, detail }
    }

    #[test]
    fn an_incident_its_timeline_and_drills_are_kept() {
        for store in store_of_each_kind() {
            let mut kept = IncidentRecord {
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
                    upsert_incident(db, &kept)
                        .and_then(|()| insert_timeline_entry(db, &kept.id, &entry("opened", "")))
                })
                .unwrap();
            assert_eq!(store.read(|db| find_open_incident(db, "app")).unwrap(), Some(kept.clone()));
            assert_eq!(store.read(|db| list_timeline(db, &kept.id)).unwrap(), [entry("opened", "")]);
            assert_eq!(store.read(audit::verify_chain).unwrap(), audit::ChainStatus::Intact(1));
            (kept.state, kept.closed_at) = (IncidentState::Closed, Some(at(3)));
            store.write(|db| upsert_incident(db, &kept)).unwrap();
            assert_eq!(store.read(|db| find_open_incident(db, "app")).unwrap(), None);
            assert_eq!(store.read(list_incidents).unwrap(), [kept]);
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
    fn opened_anew_what_was_found_out_before_does_not_count() {
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
