//! The confirmed time: the latest instant known to have passed, on which retention is based. See
//! [`sessionwatch_core::retention_clock`].

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, transaction::Tx};

/// Returns the confirmed time. If none was stored yet, returns the time of the newest entry in the store, or `now` for
/// an empty store.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_confirmed_time(db: Tx<'_>, now: UtcTimestamp) -> Result<UtcTimestamp, StoreError> {
    if let Some(row) = db.query_row("SELECT at FROM confirmed_time WHERE id = 1", &[])? {
        return row.read_timestamp(0);
    }
    let newest = "SELECT MAX(at) FROM (SELECT MAX(at) AS at FROM audit UNION ALL SELECT MAX(at) FROM events
                  UNION ALL SELECT MAX(at) FROM latest_reports) AS newest";
    // A store of an earlier version has no confirmed time, but what it recorded has passed.
    let newest = db.query_row(newest, &[])?.map_or(Ok(None), |row| row.read_optional_timestamp(0))?;
    Ok(newest.unwrap_or(now))
}

/// Stores the confirmed time.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_confirmed_time(db: Tx<'_>, at: UtcTimestamp) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO confirmed_time (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        &[at.into()],
    )?;
    Ok(())
}

/// Returns the earlier of the confirmed time and `now`. Retention counts from there, so that a clock that runs ahead
/// deletes nothing early.
///
/// # Errors
///
/// If the store cannot be read.
pub fn confirmed_retention_time(db: Tx<'_>, now: UtcTimestamp) -> Result<UtcTimestamp, StoreError> {
    Ok(find_confirmed_time(db, now)?.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit, tests::store_of_each_kind};
    use jiff::SignedDuration;

    #[test]
    fn retention_uses_the_confirmed_time_or_now_if_that_is_earlier() {
        for store in store_of_each_kind() {
            let at = |seconds: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            let passed = |now| store.read(|db| confirmed_retention_time(db, now)).unwrap();
            assert_eq!(passed(at(90_000)), at(90_000), "an empty store has nothing to prune");
            store
                .write(|db| {
                    audit::insert_audit_entry(
                        db,
                        audit::NewAuditEntry { actor: "ada", action: "x", detail: "{}" },
                        at(1_000),
                    )
                })
                .unwrap();
            assert_eq!([passed(at(900)), passed(at(90_000))], [at(900), at(1_000)]);
            store
                .write(|db| {
                    upsert_confirmed_time(db, at(50_000)).and_then(|()| upsert_confirmed_time(db, at(80_000)))
                })
                .unwrap();
            assert_eq!([passed(at(70_000)), passed(at(90_000))], [at(70_000), at(80_000)]);
        }
    }
}
