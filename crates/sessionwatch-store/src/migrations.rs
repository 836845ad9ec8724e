//! Schema migrations of the store.

use crate::{StoreError, transaction::Tx};

/// Every migration, oldest first.
pub(crate) const SCHEMA_MIGRATIONS: [&str; 14] = [
    include_str!("../migrations/20261124120000_first.sql"),
    include_str!("../migrations/20261124180000_history.sql"),
    include_str!("../migrations/20261125120000_acting.sql"),
    include_str!("../migrations/20261125130000_incident.sql"),
    include_str!("../migrations/20261125160000_logs.sql"),
    include_str!("../migrations/20261125200000_accounts.sql"),
    include_str!("../migrations/20261126120000_api.sql"),
    include_str!("../migrations/20261128230000_layouts.sql"),
    include_str!("../migrations/20261129040000_networks.sql"),
    include_str!("../migrations/20261129100000_clocks.sql"),
    include_str!("../migrations/20261129103000_gaps.sql"),
    include_str!("../migrations/20261130120000_terms.sql"),
    include_str!("../migrations/20261130200000_tables.sql"),
    include_str!("../migrations/20261201100000_unknown_results.sql"),
];
/// What a migration does on PostgreSQL alone, by the number of the migration.
const POSTGRES_PARTS: [(u32, &str); 1] =
    [(13, include_str!("../migrations/20261130200000_tables.postgres.sql"))];

/// Returns `true` if a file needs no migration. Always `false` for a server.
pub(crate) fn is_schema_current(db: Tx<'_>) -> Result<bool, StoreError> {
    // A server always goes through `migrate_to`, which creates the `migrations` table if missing.
    let Tx::Sqlite(_) = db else { return Ok(false) };
    if db.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'", &[])?.is_none() {
        return Ok(false);
    }
    Ok(find_applied_version(db)? == SCHEMA_MIGRATIONS.len())
}

/// Returns the number of the last applied migration, or 0.
fn find_applied_version(db: Tx<'_>) -> Result<usize, StoreError> {
    // The highest number and not a count, so that a gap would not run a migration again.
    let row = db.query_row("SELECT COALESCE(MAX(version), 0) FROM migrations", &[])?;
    let applied = row.map_or(Ok(0), |row| row.read_u64(0))?;
    Ok(usize::try_from(applied).unwrap_or(usize::MAX))
}

/// Applies the migrations up to number `up_to`.
pub(crate) fn migrate_to(db: Tx<'_>, up_to: usize) -> Result<(), StoreError> {
    // Outside the numbered migrations, because their state is kept in it.
    db.execute_batch("CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)")?;
    let applied = find_applied_version(db)?;
    // Refused: an older program would not understand what the newer one stores.
    if applied > SCHEMA_MIGRATIONS.len() {
        return Err(StoreError::NewerVersion { found: applied, known: SCHEMA_MIGRATIONS.len() });
    }
    for (version, migration) in (1..).zip(SCHEMA_MIGRATIONS).take(up_to).skip(applied) {
        // Migration and number commit together in the caller's transaction, on both databases.
        db.execute_batch(migration)?;
        if let (Tx::Postgres(_), Some((_, part))) =
            (db, POSTGRES_PARTS.iter().find(|(number, _)| *number == version))
        {
            db.execute_batch(part)?;
        }
        db.execute("INSERT INTO migrations (version) VALUES ($1)", &[i64::from(version).into()])?;
    }
    Ok(())
}

/// Applies all pending migrations.
pub(crate) fn migrate_to_latest(db: Tx<'_>) -> Result<(), StoreError> {
    migrate_to(db, SCHEMA_MIGRATIONS.len())
}
