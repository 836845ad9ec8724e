//! Silences: what is not told for a while.

use sessionwatch_core::{duration::SECOND, instant::Instant};

use crate::{StoreError, db::Db, row::Row};

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// Of this target; nothing for all.
    pub target: Option<String>,
    /// Of this check; nothing for all.
    pub check: Option<String>,
    /// Of findings that are about nothing but this user or token prefix; nothing for all.
    pub subject: Option<String>,
    /// Its end.
    pub until: Instant,
    /// Who asked for it.
    pub owner: String,
    /// Why.
    pub note: String,
}

/// Begins a silence at `now`. Returns its number.
///
/// # Errors
///
/// If it cannot be written.
pub fn begin(db: Db<'_>, silence: &Silence, now: Instant) -> Result<i64, StoreError> {
    let id = db.next_id("silences")?;
    db.run(
        "INSERT INTO silences (id, target, check_id, subject, until, owner, note, begun_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            id.into(),
            (&silence.target).into(),
            (&silence.check).into(),
            (&silence.subject).into(),
            silence.until.into(),
            (&silence.owner).into(),
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
pub fn rebase(db: Db<'_>, now: Instant) -> Result<(), StoreError> {
    db.run(
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
pub fn end(db: Db<'_>, id: i64, now: Instant) -> Result<bool, StoreError> {
    let query = "UPDATE silences SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL AND until > $2";
    Ok(db.run(query, &[id.into(), now.into()])? > 0)
}

/// The silences that hold at an instant.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(db: Db<'_>, now: Instant) -> Result<Vec<Silence>, StoreError> {
    let rows = db.rows(
        "SELECT id, target, check_id, subject, until, owner, note FROM silences
         WHERE until > $1 AND ended_at IS NULL ORDER BY until, id",
        &[now.into()],
    )?;
    let silence = |row: &Row| {
        Ok(Silence {
            id: row.int(0)?,
            target: row.maybe_text(1)?,
            check: row.maybe_text(2)?,
            subject: row.maybe_text(3)?,
            until: row.instant(4)?,
            owner: row.text(5)?,
            note: row.text(6)?,
        })
    };
    rows.iter().map(silence).collect()
}

impl Silence {
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
    use crate::tests::both;
    use jiff::SignedDuration;

    #[test]
    fn a_silence_of_a_clock_that_was_ahead_lasts_as_long_as_it_was_meant_to() {
        for store in both() {
            let at = |minutes: i64| Instant::UNIX_EPOCH + SignedDuration::from_mins(minutes);
            for begun in [10, 190] {
                let silence = Silence {
                    id: 0,
                    target: None,
                    check: None,
                    subject: None,
                    until: at(begun + 120),
                    owner: "ada".into(),
                    note: String::new(),
                };
                store.write(|db| begin(db, &silence, at(begun))).unwrap();
            }
            store.write(|db| rebase(db, at(20))).unwrap();
            let ends: Vec<Instant> =
                store.read(|db| list(db, at(20))).unwrap().iter().map(|silence| silence.until).collect();
            assert_eq!(ends, [at(130), at(140)]);
        }
    }
}
