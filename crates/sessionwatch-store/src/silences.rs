//! Silences: alerts that send no notifications for a limited time.

use sessionwatch_core::{duration::SECOND, timestamp::UtcTimestamp};

use crate::{StoreError, row::StoreRow, transaction::Tx};

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilenceRecord {
    /// Id of the silence.
    pub id: i64,
    /// The silenced target; `None` for all.
    pub target: Option<String>,
    /// The silenced check; `None` for all.
    pub check: Option<String>,
    /// Silences only findings that concern just this user or token prefix; `None` for all findings.
    pub subject: Option<String>,
    /// End of the silence.
    pub ends_at: UtcTimestamp,
    /// The person who created the silence.
    pub created_by: String,
    /// The reason.
    pub note: String,
}

/// Creates a silence that starts at `now`. Returns its id.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_silence(db: Tx<'_>, silence: &SilenceRecord, now: UtcTimestamp) -> Result<i64, StoreError> {
    let id = db.next_id("silences")?;
    db.execute(
        "INSERT INTO silences (id, target, check_id, subject, until, owner, note, begun_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            id.into(),
            (&silence.target).into(),
            (&silence.check).into(),
            (&silence.subject).into(),
            silence.ends_at.into(),
            (&silence.created_by).into(),
            (&silence.note).into(),
            now.into(),
        ],
    )?;
    Ok(id)
}

/// Moves silences that start in the future to start at `now`, and their end by the same amount: the clock was ahead
/// when they were created.
///
/// # Errors
///
/// If the store cannot be written.
pub fn clamp_future_starts(db: Tx<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    db.execute(
        // The length is kept: a person chose the length, and not the end by a wrong clock.
        "UPDATE silences SET until = until - (begun_at - $1), begun_at = $1 WHERE begun_at > $2 AND ended_at IS NULL",
        &[now.into(), (now + SECOND).into()],
    )?;
    Ok(())
}

/// Expires a silence. Returns `false` if no silence of that id is active.
///
/// # Errors
///
/// If the store cannot be written.
pub fn expire_silence(db: Tx<'_>, id: i64, now: UtcTimestamp) -> Result<bool, StoreError> {
    // The same condition as for listing, so that only a silence that is shown can be ended.
    let query = "UPDATE silences SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL AND until > $2";
    Ok(db.execute(query, &[id.into(), now.into()])? > 0)
}

/// Returns the silences active at `now`, ordered by their end.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_active_silences(db: Tx<'_>, now: UtcTimestamp) -> Result<Vec<SilenceRecord>, StoreError> {
    let rows = db.query_rows(
        "SELECT id, target, check_id, subject, until, owner, note FROM silences
         WHERE until > $1 AND ended_at IS NULL ORDER BY until, id",
        &[now.into()],
    )?;
    let silence = |row: &StoreRow| {
        Ok(SilenceRecord {
            id: row.read_i64(0)?,
            target: row.read_optional_text(1)?,
            check: row.read_optional_text(2)?,
            subject: row.read_optional_text(3)?,
            ends_at: row.read_timestamp(4)?,
            created_by: row.read_text(5)?,
            note: row.read_text(6)?,
        })
    };
    rows.iter().map(silence).collect()
}

impl SilenceRecord {
    /// Returns `true` if the silence applies to a check on a target, regardless of its subject.
    #[must_use]
    pub fn covers(&self, target: &str, check: &str) -> bool {
        self.target.as_deref().is_none_or(|only| only == target)
            && self.check.as_deref().is_none_or(|only| only == check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;
    use jiff::SignedDuration;

    #[test]
    fn a_silence_created_while_the_clock_was_ahead_keeps_its_duration() {
        for store in store_of_each_kind() {
            let at = |minutes: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
            for begun in [10, 190] {
                let silence = SilenceRecord {
                    id: 0,
                    target: None,
                    check: None,
                    subject: None,
                    ends_at: at(begun + 120),
                    created_by: "ada".into(),
                    note: String::new(),
                };
                store.write(|db| insert_silence(db, &silence, at(begun))).unwrap();
            }
            store.write(|db| clamp_future_starts(db, at(20))).unwrap();
            let ends: Vec<UtcTimestamp> = store
                .read(|db| list_active_silences(db, at(20)))
                .unwrap()
                .iter()
                .map(|silence| silence.ends_at)
                .collect();
            assert_eq!(ends, [at(130), at(140)]);
        }
    }
}
