//! Silences: what is not told for a while.

use sessionwatch_core::{duration::SECOND, timestamp::UtcTimestamp};

use crate::{StoreError, row::StoreRow, transaction::Tx};

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilenceRecord {
    /// Its number.
    pub id: i64,
    /// Of this target; nothing for all.
    pub target: Option<String>,
    /// Of this check; nothing for all.
    pub check: Option<String>,
    /// Of findings that are about nothing but this user or token prefix; nothing for all.
    pub subject: Option<String>,
    /// Its end.
    pub ends_at: UtcTimestamp,
    /// Who asked for it.
    pub created_by: String,
    /// Why.
    pub note: String,
}

/// Begins a silence at `now`. Returns its number.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_silence(db: Tx<'_>, silence: &SilenceRecord, now: UtcTimestamp) -> Result<i64, StoreError> {
    let id = db.next_id("silences")?;
    db.execute(
        "INSERT INTO silences (id, target, check_id, subject, until, owner, note, begun_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
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

/// Lets silences that seem to begin in the future begin at `now`, and end as much earlier: the clock was ahead by which
/// they began.
///
/// # Errors
///
/// If it cannot be written.
pub fn clamp_future_starts(db: Tx<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    db.execute(
        "UPDATE silences SET until = until - (begun_at - $1), begun_at = $1 WHERE begun_at > $2 AND ended_at IS NULL",
        &[now.into(), (now + SECOND).into()],
    )?;
    Ok(())
}

/// Ends a silence: whether it held.
///
/// # Errors
///
/// If it cannot be written.
pub fn expire_silence(db: Tx<'_>, id: i64, now: UtcTimestamp) -> Result<bool, StoreError> {
    let query = "UPDATE silences SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL AND until > $2";
    Ok(db.execute(query, &[id.into(), now.into()])? > 0)
}

/// The silences that hold at an instant.
///
/// # Errors
///
/// If they cannot be read.
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
    /// Whether it holds for a check on a target, whomever that is about.
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
    fn a_silence_of_a_clock_that_was_ahead_lasts_as_long_as_it_was_meant_to() {
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
