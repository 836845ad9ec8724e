//! Leases: who does what, where several daemons share a store. A lease that is not renewed runs out, and whoever takes it
//! then gets a new term; what the holder of an older term still writes is refused.

use sessionwatch_rules::instant::{Instant, SECOND};

use super::{StoreError, db::Db};

/// How long a lease holds without being renewed, in microseconds.
pub const HOLDS: i64 = 6 * SECOND;

/// Takes or renews a lease: its term, or nothing while somebody else has it. The clock is the server's.
///
/// # Errors
///
/// If it cannot be written.
pub fn take(db: Db<'_>, name: &str, holder: &str) -> Result<Option<i64>, StoreError> {
    let now = now(db)?;
    let row = db.row(
        "INSERT INTO leases (name, holder, term, until) VALUES ($1, $2, 1, $3)
         ON CONFLICT (name) DO UPDATE SET term = leases.term + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END,
           holder = excluded.holder, until = excluded.until
         WHERE leases.holder = excluded.holder OR leases.until <= $4
         RETURNING term",
        &[name.into(), holder.into(), now.plus(HOLDS).into(), now.into()],
    )?;
    row.map(|row| row.int(0)).transpose()
}

/// Makes sure that a lease is still of that holder and term.
///
/// # Errors
///
/// If somebody else has taken it.
pub fn guard(db: Db<'_>, name: &str, (holder, term): (&str, i64)) -> Result<(), StoreError> {
    let query = "SELECT 1 FROM leases WHERE name = $1 AND holder = $2 AND term = $3";
    match db.row(query, &[name.into(), holder.into(), term.into()])? {
        Some(_) => Ok(()),
        None => Err(StoreError::Fenced),
    }
}

/// Gives all leases of a holder up, for others to take at once.
///
/// # Errors
///
/// If it cannot be written.
pub fn release(db: Db<'_>, holder: &str) -> Result<(), StoreError> {
    db.run("UPDATE leases SET until = 0 WHERE holder = $1", &[holder.into()])?;
    Ok(())
}

/// The server's clock, which all daemons share.
fn now(db: Db<'_>) -> Result<Instant, StoreError> {
    match db {
        Db::File(_) => Ok(crate::clock::now()),
        Db::Server(_) => {
            let query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
            db.row(query, &[])?
                .map_or(Err(StoreError::Server("it does not say what time it is")), |row| row.instant(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::both;

    #[test]
    fn one_holds_it_until_it_runs_out_and_the_old_term_is_refused() {
        for store in both() {
            let take = |holder: &str| store.write(|db| take(db, "app", holder)).unwrap();
            let guard = |holder: &str, term| store.read(|db| guard(db, "app", (holder, term)));
            assert_eq!(take("one"), Some(1));
            assert_eq!(take("two"), None);
            assert_eq!(take("one"), Some(1));
            store.write(|db| release(db, "one")).unwrap();
            guard("one", 1).unwrap();
            assert_eq!(take("two"), Some(2));
            assert!(matches!(guard("one", 1), Err(StoreError::Fenced)));
            guard("two", 2).unwrap();
            assert_eq!(take("one"), None);
        }
    }
}
