//! The latest instant that has certainly passed, by which retention goes. See [`sessionwatch_core::retention`].

use sessionwatch_core::instant::Instant;

use crate::{StoreError, db::Db};

/// Returns the instant that was confirmed last. Where none was, it is that of the newest entry, since that has passed;
/// `now` for a store without any.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, now: Instant) -> Result<Instant, StoreError> {
    if let Some(row) = db.row("SELECT at FROM confirmed_time WHERE id = 1", &[])? {
        return row.instant(0);
    }
    let newest = "SELECT MAX(at) FROM (SELECT MAX(at) AS at FROM audit UNION ALL SELECT MAX(at) FROM events
                  UNION ALL SELECT MAX(at) FROM reports) AS newest";
    let newest = db.row(newest, &[])?.map_or(Ok(None), |row| row.maybe_instant(0))?;
    Ok(newest.unwrap_or(now))
}

/// Keeps an instant that is confirmed.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, at: Instant) -> Result<(), StoreError> {
    db.run(
        "INSERT INTO confirmed_time (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        &[at.into()],
    )?;
    Ok(())
}

/// Returns an instant that has certainly passed, not later than `now`: what is too old by it may be removed.
///
/// # Errors
///
/// If it cannot be read.
pub fn passed(db: Db<'_>, now: Instant) -> Result<Instant, StoreError> {
    Ok(get(db, now)?.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit, tests::both};
    use jiff::SignedDuration;

    #[test]
    fn what_is_confirmed_is_known_to_have_passed() {
        for store in both() {
            let at = |seconds: i64| Instant::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            let passed = |now| store.read(|db| passed(db, now)).unwrap();
            assert_eq!(passed(at(90_000)), at(90_000), "there is nothing to remove");
            store
                .write(|db| {
                    audit::add(db, audit::NewEntry { actor: "ada", action: "x", detail: "{}" }, at(1_000))
                })
                .unwrap();
            assert_eq!([passed(at(900)), passed(at(90_000))], [at(900), at(1_000)]);
            store.write(|db| put(db, at(50_000)).and_then(|()| put(db, at(80_000)))).unwrap();
            assert_eq!([passed(at(70_000)), passed(at(90_000))], [at(70_000), at(80_000)]);
        }
    }
}
