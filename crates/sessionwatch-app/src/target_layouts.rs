//! The table in which the sessions of each target were recognized, and when another one is believed.

use sessionwatch_core::instant::Instant;
use sessionwatch_store::{
    Store, StoreError,
    db::Db,
    layouts::{self, LayoutChange},
};
use sessionwatch_targets::{
    error::TargetError,
    layout::{known_layout::KnownLayout, source::ProfileSource},
    mapping::Mapping,
};

use crate::config::Target;

/// What is kept of a target.
pub type KeptLayout = layouts::Kept<KnownLayout>;

/// Returns where the sessions of a target are known to be; `None` before a first look, and where the configuration has
/// changed since: whoever changes that has confirmed what it leads to.
///
/// # Errors
///
/// If it cannot be read.
pub fn known(db: Db<'_>, target: &Target) -> Result<Option<KnownLayout>, StoreError> {
    let kept = layouts::get(db, &target.name)?.filter(|kept| is_of(kept, target));
    Ok(kept.map(|kept| kept.layout))
}

/// Adds to a target what is known of where its sessions are.
///
/// # Errors
///
/// If the store cannot say it: then no table is to be believed.
pub fn locate(store: &Store, target: &mut Target) -> Result<(), TargetError> {
    let kept = store.read(|db| known(db, target));
    target.known = kept.map_err(|error| TargetError::Unlocated(error.to_string()))?;
    Ok(())
}

fn is_of(kept: &KeptLayout, target: &Target) -> bool {
    kept.address == target.address.to_string() && kept.configured == configured(&target.storage)
}

/// Keeps where the sessions of a target were recognized, unless that is known.
///
/// # Errors
///
/// If it cannot be written.
pub fn keep(db: Db<'_>, target: &Target, layout: &KnownLayout, now: Instant) -> Result<(), StoreError> {
    let before: Option<KeptLayout> = layouts::get(db, &target.name)?;
    if before.as_ref().is_some_and(|kept| is_of(kept, target)) {
        return Ok(());
    }
    if let Some(before) = before.filter(|before| before.layout != *layout) {
        let actor = "the configuration";
        let change =
            LayoutChange { target: &target.name, actor, before: Some(&before.layout), after: layout };
        layouts::audit_change(db, change, now)?;
    }
    layouts::put(db, &to_keep(target, layout, now))
}

/// Confirms that the sessions of a target are there from now on; returns where they were before.
///
/// # Errors
///
/// If it cannot be written.
pub fn confirm(
    db: Db<'_>,
    target: &Target,
    actor: &str,
    layout: &KnownLayout,
    now: Instant,
) -> Result<Option<KnownLayout>, StoreError> {
    let before = match layouts::get(db, &target.name) {
        Ok(kept) => kept.map(|kept: KeptLayout| kept.layout),
        // What cannot be decoded is what is to be replaced.
        Err(StoreError::Undecodable { .. }) => None,
        Err(error) => return Err(error),
    };
    let change = LayoutChange { target: &target.name, actor, before: before.as_ref(), after: layout };
    layouts::audit_change(db, change, now)?;
    let kept = KeptLayout { confirmed_by: Some(actor.to_owned()), ..to_keep(target, layout, now) };
    layouts::put(db, &kept)?;
    Ok(before)
}

fn to_keep(target: &Target, layout: &KnownLayout, now: Instant) -> KeptLayout {
    KeptLayout {
        target: target.name.clone(),
        address: target.address.to_string(),
        configured: configured(&target.storage),
        layout: layout.clone(),
        at: now,
        confirmed_by: None,
    }
}

/// What the configuration says about the tables of a target.
fn configured(storage: &ProfileSource) -> String {
    match storage {
        ProfileSource::Detect => String::new(),
        ProfileSource::Profile(profile) => format!("profile {profile}"),
        ProfileSource::Table { table, profile } => {
            format!("table {table} profile {}", profile.as_deref().unwrap_or_default())
        }
        ProfileSource::Explicit(mapping) => {
            let Mapping { profile, .. } = &**mapping;
            format!("mapping {} profile {profile}", KnownLayout::of(mapping))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use pg_link::Dsn;
    use sessionwatch_store::Place;

    use super::*;
    use crate::config::Rhythm;
    use sessionwatch_targets::{address::Address, engine::EngineKind, limits::Limits};

    fn target(storage: ProfileSource) -> Target {
        Target {
            name: "app".into(),
            address: Address::of_file(PathBuf::from("app.db")),
            storage,
            known: None,
            engine: EngineKind::Scan,
            limits: Limits { timeout: Duration::from_secs(1), lock_timeout: Duration::from_secs(1) },
            rhythm: Rhythm::default(),
            replica: None,
            suspends_after: None,
            act: None,
            act_missing: None,
            cleanup: None,
            ad_hoc: false,
        }
    }

    /// A store of each kind, and the folder of the one that is a file.
    fn both() -> (tempfile::TempDir, [Store; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let file = Store::open(&Place::File(folder.path().join("store.db"))).unwrap();
        let database = testkit::shared().database(None).unwrap();
        let dsn = Dsn::parse(&database.url("postgres")).unwrap();
        (folder, [file, Store::open(&Place::Server(Box::new(dsn))).unwrap()])
    }

    #[test]
    fn a_layout_is_kept_until_it_is_confirmed_or_configured_anew() {
        let at = |second: i64| Instant::UNIX_EPOCH + jiff::SignedDuration::from_secs(second);
        let layout = |table: &str| KnownLayout {
            table: table.into(),
            token: "t".into(),
            user: None,
            expires: "e".into(),
        };
        let target = target(ProfileSource::Detect);
        let (_folder, stores) = both();
        for store in stores {
            let known = |target: &Target| store.read(|db| known(db, target)).unwrap();
            assert_eq!(known(&target), None);
            for table in ["a", "b"] {
                store.write(|db| keep(db, &target, &layout(table), at(1))).unwrap();
                assert_eq!(known(&target), Some(layout("a")));
            }
            let before = store.write(|db| confirm(db, &target, "ada", &layout("b"), at(2))).unwrap();
            assert_eq!((before, known(&target)), (Some(layout("a")), Some(layout("b"))));
            let named = Target { storage: ProfileSource::Profile("authjs".into()), ..target.clone() };
            assert_eq!(known(&named), None);
            store.write(|db| keep(db, &named, &layout("c"), at(3))).unwrap();
            assert_eq!((known(&named), known(&target)), (Some(layout("c")), None));
            store.write(|db| db.run("UPDATE layouts SET layout = '{}'", &[])).unwrap();
            assert!(matches!(store.read(|db| super::known(db, &named)), Err(StoreError::Undecodable { .. })));
            store.write(|db| confirm(db, &named, "ada", &layout("c"), at(4))).unwrap();
            assert_eq!(known(&named), Some(layout("c")));
        }
    }
}
