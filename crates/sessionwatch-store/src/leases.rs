//! Leases: leader election between daemons that share a store. A lease that is not renewed expires; the next holder
//! gets a new epoch, and writes under an older epoch are rejected (fencing).

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, transaction::Tx};

/// Time until a lease expires unless it is renewed.
pub const LEASE_DURATION: SignedDuration = SignedDuration::from_secs(6);

/// Acquires or renews a lease. Returns its epoch, or `None` while another daemon holds it. Uses the server's clock.
///
/// # Errors
///
/// If the store cannot be written.
pub fn acquire_lease(db: Tx<'_>, name: &str, holder: &str) -> Result<Option<i64>, StoreError> {
    // The server's clock: daemons with different clocks would disagree about the expiry.
    let now = current_timestamp(db)?;
    let row = db.query_row(
        "INSERT INTO leases (name, holder, term, until) VALUES ($1, $2, 1, $3)
         ON CONFLICT (name) DO UPDATE SET term = leases.term + CASE WHEN leases.holder = excluded.holder \
         THEN 0 ELSE 1 END,
           holder = excluded.holder, until = excluded.until
         WHERE leases.holder = excluded.holder OR leases.until <= $4 OR leases.until > $5
         RETURNING term",
        &[
            name.into(),
            holder.into(),
            (now + LEASE_DURATION).into(),
            now.into(),
            // No lease is that long: the server's clock was ahead when the lease was renewed, and was set back since.
            (now + 2 * LEASE_DURATION).into(),
        ],
    )?;
    row.map(|row| row.read_i64(0)).transpose()
}

/// The holder and epoch of a lease, under which a daemon writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFence {
    /// The name of the lease.
    pub lease: String,
    /// The holder.
    pub holder: String,
    /// The epoch.
    pub epoch: i64,
}

/// Verifies that a lease still has this holder and epoch.
///
/// # Errors
///
/// If another daemon has acquired the lease.
pub fn verify_epoch(db: Tx<'_>, fence: &LeaseFence) -> Result<(), StoreError> {
    // Not by time: as long as nobody else has acquired the lease, writing is safe.
    let query = "SELECT 1 FROM leases WHERE name = $1 AND holder = $2 AND term = $3";
    match db
        .query_row(query, &[fence.lease.as_str().into(), fence.holder.as_str().into(), fence.epoch.into()])?
    {
        Some(_) => Ok(()),
        None => Err(StoreError::LeaseLost),
    }
}

/// Releases all leases of a holder, so that others can acquire them at once.
///
/// # Errors
///
/// If the store cannot be written.
pub fn release_leases(db: Tx<'_>, holder: &str) -> Result<(), StoreError> {
    // Set to the past and not deleted: the epoch must continue, or old writes could pass the fence.
    db.execute("UPDATE leases SET until = 0 WHERE holder = $1", &[holder.into()])?;
    Ok(())
}

/// Returns the server's time, which all daemons share; for a file, the time of this machine.
///
/// # Errors
///
/// If the server cannot be reached.
pub fn current_timestamp(db: Tx<'_>) -> Result<UtcTimestamp, StoreError> {
    match db {
        Tx::Sqlite(_) => Ok(sessionwatch_clock::now()),
        Tx::Postgres(_) => {
            // `clock_timestamp()`, because `now()` stands still during a transaction.
            let query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
            db.query_row(query, &[])?
                .map_or(Err(StoreError::Server("it returned no time")), |row| row.read_timestamp(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pg_link::Dsn;

    use crate::{Store, StoreLocation, tests::store_of_each_kind};

    #[test]
    fn a_writer_frozen_in_a_transaction_does_not_block_a_takeover() {
        let database = testkit::shared_server().create_database(None).unwrap();
        let dsn = Dsn::parse(&database.url("postgres")).unwrap();
        let [frozen, other] =
            [(); 2].map(|()| Store::open(&StoreLocation::Server(Box::new(dsn.clone()))).unwrap());
        let fence = LeaseFence { lease: "app".into(), holder: "one".into(), epoch: 1 };
        frozen.write(|db| acquire_lease(db, "app", "one").and_then(|_| release_leases(db, "one"))).unwrap();
        let outcome = frozen.with_fence(fence.clone()).write(|db| {
            assert_eq!(other.write(|db| acquire_lease(db, "app", "two")).unwrap(), Some(2));
            release_leases(db, "two")
        });
        let message = outcome.unwrap_err().to_string();
        assert!(
            message.contains("idle for more than 4 s") || message.contains("connection was lost"),
            "{message}"
        );
        assert!(matches!(
            frozen.with_fence(fence).write(|db| release_leases(db, "two")),
            Err(StoreError::LeaseLost)
        ));
    }

    #[test]
    fn a_lock_timeout_is_reported_as_such() {
        let database = testkit::shared_server().create_database(None).unwrap();
        let dsn = Dsn::parse(&database.url("postgres")).unwrap();
        let [slow, other] =
            [(); 2].map(|()| Store::open(&StoreLocation::Server(Box::new(dsn.clone()))).unwrap());
        let refused = slow.write(|db| {
            let waiting = std::thread::scope(|scope| {
                let waiting = scope.spawn(|| other.write(|db| release_leases(db, "other")));
                while !waiting.is_finished() {
                    db.query_rows("SELECT pg_sleep(1)", &[])?;
                }
                waiting.join().unwrap()
            });
            Ok(waiting.unwrap_err().to_string())
        });
        let message = refused.unwrap();
        assert!(message.contains("write lock for more than 9 s") && !message.contains("schema"), "{message}");
    }

    #[test]
    fn a_lease_has_one_holder_until_it_expires_and_an_old_epoch_is_rejected() {
        for store in store_of_each_kind() {
            let take = |holder: &str| store.write(|db| acquire_lease(db, "app", holder)).unwrap();
            let fence =
                |holder: &str, epoch| LeaseFence { lease: "app".into(), holder: holder.into(), epoch };
            let guard = |holder: &str, epoch| store.read(|db| verify_epoch(db, &fence(holder, epoch)));
            assert_eq!(take("one"), Some(1));
            assert_eq!(take("two"), None);
            assert_eq!(take("one"), Some(1));
            store.write(|db| release_leases(db, "one")).unwrap();
            guard("one", 1).unwrap();
            assert_eq!(take("two"), Some(2));
            assert!(matches!(guard("one", 1), Err(StoreError::LeaseLost)));
            guard("two", 2).unwrap();
            assert_eq!(take("one"), None);
            let note = |db: Tx<'_>| db.execute("UPDATE leases SET until = 7", &[]);
            assert!(matches!(store.with_fence(fence("one", 1)).write(note), Err(StoreError::LeaseLost)));
            assert_eq!(store.with_fence(fence("two", 2)).write(note).unwrap(), 1);
            // The server's clock was an hour ahead, and is set back.
            let ahead = store.read(current_timestamp).unwrap() + SignedDuration::from_hours(1);
            store.write(|db| db.execute("UPDATE leases SET until = $1", &[ahead.into()])).unwrap();
            assert_eq!(take("one"), Some(3));
        }
    }
}
