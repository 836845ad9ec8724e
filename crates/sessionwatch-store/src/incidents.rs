//! Incidents: each with its timeline, and drills.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sessionwatch_core::{
    duration::whole_micros,
    incident::{IncidentSeverity, StepRecord},
    instant::Instant,
};

use crate::{StoreError, audit, db::Db, row::Row};

/// How far an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// Sessions are still to be ended.
    Open,
    /// They were.
    Contained,
    /// It is over.
    Closed,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// `INC-YYYYMMDD-NNN`.
    pub id: String,
    /// The target.
    pub target: String,
    /// How bad it is.
    pub grade: IncidentSeverity,
    /// How far it is.
    pub state: State,
    /// When it was opened.
    pub opened_at: Instant,
    /// By whom.
    pub opened_by: String,
    /// When sessions were ended last.
    pub contained_at: Option<Instant>,
    /// When it was closed.
    pub closed_at: Option<Instant>,
    /// What the report says besides, as JSON.
    pub fields: String,
}

impl Incident {
    /// What a person said under a name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        let fields: serde_json::Value = serde_json::from_str(&self.fields).ok()?;
        fields[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// Something on the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// Who.
    pub actor: String,
    /// What kind: `opened`, `done`, `skipped`, `note`, `look`, `evidence`, `contained`, `found`, `set`, `reopened`, `closed`, `signal`.
    pub kind: String,
    /// The step that it is about; may be empty.
    pub step: String,
    /// In words.
    pub said: String,
    /// The rest, as JSON.
    pub detail: String,
}

/// A drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drill {
    /// When.
    pub at: Instant,
    /// Of which target.
    pub target: String,
    /// Who.
    pub actor: String,
    /// How long it took until the leak was found, the sessions were ended, and that was verified.
    pub took: [SignedDuration; 3],
}

impl Entry {
    /// Returns the rest of the entry.
    ///
    /// # Errors
    ///
    /// If it is no JSON.
    pub fn document(&self) -> Result<serde_json::Value, StoreError> {
        serde_json::from_str(&self.detail).map_err(|_| Self::undecodable("detail"))
    }

    /// The error of an entry whose column holds something else than this version wrote there.
    #[must_use]
    pub fn undecodable(column: &str) -> StoreError {
        StoreError::Undecodable { table: "incident_entries".into(), column: column.into() }
    }
}

const COLUMNS: &str = "id, target, severity, state, opened_at, opened_by, contained_at, closed_at, fields";

/// The kinds of entries on a timeline.
const KINDS: [&str; 13] = [
    "opened",
    "done",
    "skipped",
    "step-reopened",
    "note",
    "look",
    "evidence",
    "contained",
    "found",
    "set",
    "reopened",
    "closed",
    "signal",
];

impl State {
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
pub fn put(db: Db<'_>, incident: &Incident) -> Result<(), StoreError> {
    db.run(
        "INSERT INTO incidents (id, target, severity, state, opened_at, opened_by, contained_at, closed_at, fields)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, state = excluded.state,
           contained_at = excluded.contained_at, closed_at = excluded.closed_at, fields = excluded.fields",
        &[
            (&incident.id).into(),
            (&incident.target).into(),
            incident.grade.name().into(),
            incident.state.name().into(),
            incident.opened_at.into(),
            (&incident.opened_by).into(),
            incident.contained_at.into(),
            incident.closed_at.into(),
            (&incident.fields).into(),
        ],
    )?;
    Ok(())
}

/// Puts something on the timeline, and into the audit trail.
///
/// # Errors
///
/// If it cannot be written.
pub fn add(db: Db<'_>, incident: &str, entry: &Entry) -> Result<(), StoreError> {
    let id = db.next_id("incident_entries")?;
    db.run(
        "INSERT INTO incident_entries (id, incident, at, actor, kind, step, said, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            id.into(),
            incident.into(),
            entry.at.into(),
            (&entry.actor).into(),
            (&entry.kind).into(),
            (&entry.step).into(),
            (&entry.said).into(),
            (&entry.detail).into(),
        ],
    )?;
    let detail = serde_json::json!({ "incident": incident, "step": entry.step, "said": entry.said });
    audit::add(
        db,
        audit::NewEntry {
            actor: &entry.actor,
            action: &format!("incident-{}", entry.kind),
            detail: &detail.to_string(),
        },
        entry.at,
    )
}

/// Changes an incident as it stands now, whatever somebody else has made of it meanwhile, and puts that on its timeline.
///
/// # Errors
///
/// If it cannot be read or written.
pub fn change(
    db: Db<'_>,
    id: &str,
    entry: &Entry,
    change: impl Fn(Incident) -> Result<Incident, StoreError>,
) -> Result<(), StoreError> {
    // Nothing is said of what is not there.
    let Some(incident) = get(db, id)? else { return Ok(()) };
    put(db, &change(incident)?)?;
    add(db, id, entry)
}

/// Every incident, latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(db: Db<'_>) -> Result<Vec<Incident>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM incidents ORDER BY opened_at DESC, id DESC");
    db.rows(&query, &[])?.iter().map(incident).collect()
}

/// The incident of an id.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, id: &str) -> Result<Option<Incident>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM incidents WHERE id = $1");
    db.row(&query, &[id.into()])?.as_ref().map(incident).transpose()
}

/// The incident of a target that is not closed.
///
/// # Errors
///
/// If that cannot be read.
pub fn current(db: Db<'_>, target: &str) -> Result<Option<Incident>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM incidents WHERE target = $1 AND state <> 'closed' ORDER BY opened_at DESC"
    );
    db.row(&query, &[target.into()])?.as_ref().map(incident).transpose()
}

/// The incident of a target that is not closed; otherwise the one that was opened last.
///
/// # Errors
///
/// If that cannot be read.
pub fn latest(db: Db<'_>, target: &str) -> Result<Option<Incident>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM incidents WHERE target = $1\n\
         ORDER BY CASE WHEN state = 'closed' THEN 1 ELSE 0 END, opened_at DESC LIMIT 1"
    );
    db.row(&query, &[target.into()])?.as_ref().map(incident).transpose()
}

/// The incident of a target that was closed after sessions were ended: the one in which they were ended last.
///
/// # Errors
///
/// If that cannot be read.
pub fn closed_after_containment(db: Db<'_>, target: &str) -> Result<Option<Incident>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM incidents WHERE target = $1 AND state = 'closed' AND contained_at IS NOT NULL\n\
         ORDER BY contained_at DESC LIMIT 1"
    );
    db.row(&query, &[target.into()])?.as_ref().map(incident).transpose()
}

/// When sessions of a target were ended last in the course of an incident.
///
/// # Errors
///
/// If that cannot be read.
pub fn last_contained(db: Db<'_>, target: &str) -> Result<Option<Instant>, StoreError> {
    let row = db.row("SELECT MAX(contained_at) FROM incidents WHERE target = $1", &[target.into()])?;
    row.map_or(Ok(None), |row| row.maybe_instant(0))
}

/// The timeline of an incident, oldest first.
///
/// # Errors
///
/// If it cannot be read.
pub fn timeline(db: Db<'_>, incident: &str) -> Result<Vec<Entry>, StoreError> {
    let rows = db.rows(
        "SELECT at, actor, kind, step, said, detail FROM incident_entries WHERE incident = $1 ORDER BY id",
        &[incident.into()],
    )?;
    let entry = |row: &Row| {
        Ok(Entry {
            at: row.instant(0)?,
            actor: row.text(1)?,
            kind: row.name(2, |kind| KINDS.contains(&kind))?,
            step: row.text(3)?,
            said: row.text(4)?,
            detail: row.json(5)?,
        })
    };
    rows.iter().map(entry).collect()
}

/// What a timeline says of the steps: what was said last of each counts, and what happened before it was opened anew
/// does not.
#[must_use]
pub fn recorded(timeline: &[Entry]) -> Vec<StepRecord> {
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
pub fn add_drill(db: Db<'_>, drill: &Drill) -> Result<(), StoreError> {
    let id = db.next_id("drills")?;
    let [detected, contained, verified] = drill.took.map(whole_micros);
    db.run(
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
pub fn drills(db: Db<'_>) -> Result<Vec<Drill>, StoreError> {
    let rows = db.rows(
        "SELECT at, target, actor, detected_us, contained_us, verified_us FROM drills ORDER BY id DESC",
        &[],
    )?;
    let drill = |row: &Row| {
        Ok(Drill {
            at: row.instant(0)?,
            target: row.text(1)?,
            actor: row.text(2)?,
            took: [row.duration(3)?, row.duration(4)?, row.duration(5)?],
        })
    };
    rows.iter().map(drill).collect()
}

fn incident(row: &Row) -> Result<Incident, StoreError> {
    Ok(Incident {
        id: row.text(0)?,
        target: row.text(1)?,
        grade: row.parsed(2)?,
        state: row.parsed(3)?,
        opened_at: row.instant(4)?,
        opened_by: row.text(5)?,
        contained_at: row.maybe_instant(6)?,
        closed_at: row.maybe_instant(7)?,
        fields: fields(row, 8)?,
    })
}

/// What the report says besides, by name: texts.
fn fields(row: &Row, at: usize) -> Result<String, StoreError> {
    let text = row.json_object(at)?;
    serde_json::from_str::<BTreeMap<String, String>>(&text).map_err(|_| row.unreadable(at))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::both;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros).unwrap()
    }

    fn entry(kind: &str, step: &str) -> Entry {
        let [actor, said, detail] = ["ada", "x", "{}"].map(str::to_owned);
        Entry { at: at(2), actor, kind: kind.into(), step: step.into(), said, detail }
    }

    #[test]
    fn an_incident_its_timeline_and_drills_are_kept() {
        for store in both() {
            let mut kept = Incident {
                id: "INC-20260131-001".into(),
                target: "app".into(),
                grade: IncidentSeverity::P0,
                state: State::Open,
                opened_at: at(1),
                opened_by: "ada".into(),
                contained_at: None,
                closed_at: None,
                fields: "{}".into(),
            };
            store.write(|db| put(db, &kept).and_then(|()| add(db, &kept.id, &entry("opened", "")))).unwrap();
            assert_eq!(store.read(|db| current(db, "app")).unwrap(), Some(kept.clone()));
            assert_eq!(store.read(|db| timeline(db, &kept.id)).unwrap(), [entry("opened", "")]);
            assert_eq!(store.read(audit::verify).unwrap(), audit::Trail::Whole(1));
            (kept.state, kept.closed_at) = (State::Closed, Some(at(3)));
            store.write(|db| put(db, &kept)).unwrap();
            assert_eq!(store.read(|db| current(db, "app")).unwrap(), None);
            assert_eq!(store.read(list).unwrap(), [kept]);
            let drill = Drill {
                at: at(4),
                target: "app".into(),
                actor: "ada".into(),
                took: [1, 2, 3].map(SignedDuration::from_micros),
            };
            store.write(|db| add_drill(db, &drill)).unwrap();
            assert_eq!(store.read(drills).unwrap(), [drill]);
        }
    }

    #[test]
    fn opened_anew_what_was_found_out_before_does_not_count() {
        let timeline = [("done", "confirm"), ("skipped", "verify"), ("note", ""), ("done", "verify")]
            .map(|(kind, step)| entry(kind, step));
        let verified = StepRecord { step: "verify".into(), skipped: false };
        assert_eq!(recorded(&timeline)[1..], [verified]);
        let taken_back = [&timeline[..], &[entry("step-reopened", "verify")]].concat();
        assert!(recorded(&taken_back).iter().all(|done| done.step != "verify"));
        let again = [&timeline[..], &[entry("reopened", "")]].concat();
        assert_eq!(recorded(&again).len(), 1);
    }
}
