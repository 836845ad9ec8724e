//! The latest instant that has certainly passed, by which retention goes. See [`sessionwatch_core::retention`].

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, transaction::Tx};

/// Returns the instant that was confirmed last. Where none was, it is that of the newest entry, since that has passed;
/// `now` for a store without any.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_confirmed_time(db: Tx<'_>, now: UtcTimestamp) -> Result<UtcTimestamp, StoreError> {
    if let Some(row) = db.query_row("SELECT at FROM confirmed_time WHERE id = 1", &[])? {
        return row.read_timestamp(0);
    }
    let newest = "SELECT MAX(at) FROM (SELECT MAX(at) AS at FROM audit UNION ALL SELECT MAX(at) FROM events
                  UNION ALL SELECT MAX(at) FROM reports) AS newest";
    let newest = db.query_row(newest, &[])?.map_or(Ok(None), |row| row.read_optional_timestamp(0))?;
    Ok(newest.unwrap_or(now))
}

/// Keeps an instant that is confirmed.
///
/// # Errors
///
/// If it cannot be written.
pub fn upsert_confirmed_time(db: Tx<'_>, at: UtcTimestamp) -> Result<(), StoreError> {
    db.execute(
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
pub fn confirmed_retention_time(db: Tx<'_>, now: UtcTimestamp) -> Result<UtcTimestamp, StoreError> {
    Ok(find_confirmed_time(db, now)?.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit, tests::store_of_each_kind};
    use jiff::SignedDuration;

    #[test]
    fn what_is_confirmed_is_known_to_have_passed() {
        for store in store_of_each_kind() {
            let at = |seconds: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
            let passed = |now| store.read(|db| confirmed_retention_time(db, now)).unwrap();
            assert_eq!(passed(at(90_000)), at(90_000), "there is nothing to remove");
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
