//! The known layout of each target: the table in which its sessions were detected, and when a different one is
//! accepted.

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    Store, StoreError,
    layouts::{self, LayoutChange},
    transaction::Tx,
};
use sessionwatch_targets::{
    error::TargetError,
    layout::{known_layout::KnownLayout, storage_setting::ProfileSource},
    mapping::Mapping,
};

use crate::config::Target;

/// The stored layout of a target.
pub type LayoutRecord = layouts::StoredLayout<KnownLayout>;

/// Returns the known layout of a target; `None` before the first run, and after its address or tables were changed in
/// the configuration, which counts as confirmation of the new layout.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_known_layout(db: Tx<'_>, target: &Target) -> Result<Option<KnownLayout>, StoreError> {
    let record = layouts::find_layout(db, &target.name)?.filter(|record| is_current(record, target));
    Ok(record.map(|record| record.layout))
}

/// Sets the known layout of a target from the store.
///
/// # Errors
///
/// If the store cannot be read; the target must not be checked then, since any table would be accepted.
pub fn set_known_layout(store: &Store, target: &mut Target) -> Result<(), TargetError> {
    let layout = store.read(|db| find_known_layout(db, target));
    target.known_layout = layout.map_err(|error| TargetError::KnownLayoutUnavailable(error.to_string()))?;
    Ok(())
}

fn is_current(record: &LayoutRecord, target: &Target) -> bool {
    record.address == target.address.to_string()
        && record.configured_tables == profile_source_key(&target.profile_source)
}

/// Stores the detected layout of a target, unless a current one is known.
///
/// # Errors
///
/// If the store cannot be written.
pub fn record_detected_layout(
    db: Tx<'_>,
    target: &Target,
    layout: &KnownLayout,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    let before: Option<LayoutRecord> = layouts::find_layout(db, &target.name)?;
    if before.as_ref().is_some_and(|record| is_current(record, target)) {
        return Ok(());
    }
    if let Some(before) = before.filter(|before| before.layout != *layout) {
        let actor = "the configuration";
        let change =
            LayoutChange { target: &target.name, actor, before: Some(&before.layout), after: layout };
        layouts::audit_layout_change(db, change, now)?;
    }
    layouts::upsert_layout(db, &build_record(target, layout, now))
}

/// Confirms a new layout of a target, and records that in the audit log. Returns the previous layout.
///
/// # Errors
///
/// If the store cannot be written.
pub fn confirm_layout(
    db: Tx<'_>,
    target: &Target,
    actor: &str,
    layout: &KnownLayout,
    now: UtcTimestamp,
) -> Result<Option<KnownLayout>, StoreError> {
    let before = match layouts::find_layout(db, &target.name) {
        Ok(record) => record.map(|record: LayoutRecord| record.layout),
        // A stored layout that cannot be decoded is replaced.
        Err(StoreError::Undecodable { .. }) => None,
        Err(error) => return Err(error),
    };
    let change = LayoutChange { target: &target.name, actor, before: before.as_ref(), after: layout };
    layouts::audit_layout_change(db, change, now)?;
    let record = LayoutRecord { confirmed_by: Some(actor.to_owned()), ..build_record(target, layout, now) };
    layouts::upsert_layout(db, &record)?;
    Ok(before)
}

fn build_record(target: &Target, layout: &KnownLayout, now: UtcTimestamp) -> LayoutRecord {
    LayoutRecord {
        target: target.name.clone(),
        address: target.address.to_string(),
        configured_tables: profile_source_key(&target.profile_source),
        layout: layout.clone(),
        recognized_at: now,
        confirmed_by: None,
    }
}

/// Returns the table settings of a target as text, to detect changes of the configuration.
fn profile_source_key(storage: &ProfileSource) -> String {
    match storage {
        ProfileSource::Detect => String::new(),
        ProfileSource::Profile(profile) => format!("profile {profile}"),
        ProfileSource::Table { table, profile } => {
            format!("table {table} profile {}", profile.as_deref().unwrap_or_default())
        }
        ProfileSource::Explicit(mapping) => {
            let Mapping { profile, .. } = &**mapping;
            format!("mapping {} profile {profile}", KnownLayout::from_mapping(mapping))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use pg_link::Dsn;
    use sessionwatch_store::StoreLocation;

    use super::*;
    use crate::config::TargetSchedule;
    use sessionwatch_targets::{address::TargetAddress, engine::EngineKind, time_limits::TimeLimits};

    fn target(profile_source: ProfileSource) -> Target {
        Target {
            name: "app".into(),
            address: TargetAddress::from_file_path(PathBuf::from("app.db")),
            profile_source,
            known_layout: None,
            engine: EngineKind::Scan,
            limits: TimeLimits { timeout: Duration::from_secs(1), lock_timeout: Duration::from_secs(1) },
            schedule: TargetSchedule::default(),
            replica_address: None,
            autosuspend_after: None,
            write_address: None,
            write_address_problem: None,
            auto_cleanup: None,
            is_ad_hoc: false,
            default_config_value: None,
        }
    }

    /// Opens a SQLite and a PostgreSQL store, with the folder and the database that hold them.
    fn open_both_backends() -> (tempfile::TempDir, testkit::Database<'static>, [Store; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let file = Store::open(&StoreLocation::File(folder.path().join("store.db"))).unwrap();
        let database = testkit::shared_server().create_database(None).unwrap();
        let dsn = Dsn::parse(&database.url("postgres")).unwrap();
        let server = Store::open(&StoreLocation::Server(Box::new(dsn))).unwrap();
        (folder, database, [file, server])
    }

    #[test]
    fn a_layout_is_kept_until_another_is_confirmed_or_configured() {
        let at = |second: i64| UtcTimestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second);
        let layout = |table: &str| KnownLayout {
            table: table.into(),
            token: "t".into(),
            user: None,
            expires: "e".into(),
        };
        let target = target(ProfileSource::Detect);
        let (_folder, _database, stores) = open_both_backends();
        for store in stores {
            let known = |target: &Target| store.read(|db| find_known_layout(db, target)).unwrap();
            assert_eq!(known(&target), None);
            for table in ["a", "b"] {
                store.write(|db| record_detected_layout(db, &target, &layout(table), at(1))).unwrap();
                assert_eq!(known(&target), Some(layout("a")));
            }
            let before = store.write(|db| confirm_layout(db, &target, "ada", &layout("b"), at(2))).unwrap();
            assert_eq!((before, known(&target)), (Some(layout("a")), Some(layout("b"))));
            let named = Target { profile_source: ProfileSource::Profile("authjs".into()), ..target.clone() };
            assert_eq!(known(&named), None);
            store.write(|db| record_detected_layout(db, &named, &layout("c"), at(3))).unwrap();
            assert_eq!((known(&named), known(&target)), (Some(layout("c")), None));
            store.write(|db| db.execute("UPDATE layouts SET layout = '{}'", &[])).unwrap();
            assert!(matches!(
                store.read(|db| super::find_known_layout(db, &named)),
                Err(StoreError::Undecodable { .. })
            ));
            store.write(|db| confirm_layout(db, &named, "ada", &layout("c"), at(4))).unwrap();
            assert_eq!(known(&named), Some(layout("c")));
        }
    }
}
