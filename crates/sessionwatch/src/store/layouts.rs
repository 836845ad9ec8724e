//! Layouts: the table in which the sessions of each target were recognized.

use sessionwatch_core::instant::Instant;

use super::{Store, StoreError, audit, db::Db};
use crate::{
    config::Target,
    profile::{known_layout::KnownLayout, mapping::Mapping, source::ProfileSource},
    target::error::TargetError,
};

/// What is kept of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The target.
    pub target: String,
    /// Where the target was then, without a password.
    pub address: String,
    /// What the configuration said about its tables then.
    pub configured: String,
    /// Where its sessions were.
    pub layout: KnownLayout,
    /// Since when.
    pub at: Instant,
    /// Who confirmed it; `None` for the first that was recognized.
    pub confirmed_by: Option<String>,
}

/// Returns what is kept of a target.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, target: &str) -> Result<Option<Kept>, StoreError> {
    let row = db.row(
        "SELECT address, configured, layout, at, confirmed_by FROM layouts WHERE target = $1",
        &[target.into()],
    )?;
    row.map(|row| {
        Ok(Kept {
            target: target.to_owned(),
            address: row.text(0)?,
            configured: row.text(1)?,
            layout: row.decoded(2, |text| serde_json::from_str(text).ok())?,
            at: row.instant(3)?,
            confirmed_by: row.maybe_text(4)?,
        })
    })
    .transpose()
}

/// Returns where the sessions of a target are known to be; `None` before a first look, and where the configuration has
/// changed since: whoever changes that has confirmed what it leads to.
///
/// # Errors
///
/// If it cannot be read.
pub fn known(db: Db<'_>, target: &Target) -> Result<Option<KnownLayout>, StoreError> {
    let kept = get(db, &target.name)?.filter(|kept| is_of(kept, target));
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

/// Returns everything that is kept.
///
/// # Errors
///
/// If it cannot be read.
pub fn list(db: Db<'_>) -> Result<Vec<Kept>, StoreError> {
    let mut all = Vec::new();
    for row in db.rows("SELECT target FROM layouts ORDER BY target", &[])? {
        all.extend(get(db, &row.text(0)?)?);
    }
    Ok(all)
}

fn is_of(kept: &Kept, target: &Target) -> bool {
    kept.address == target.address.to_string() && kept.configured == configured(&target.storage)
}

/// Keeps where the sessions of a target were recognized, unless that is known.
///
/// # Errors
///
/// If it cannot be written.
pub fn keep(db: Db<'_>, target: &Target, layout: &KnownLayout, now: Instant) -> Result<(), StoreError> {
    let before = get(db, &target.name)?;
    if before.as_ref().is_some_and(|kept| is_of(kept, target)) {
        return Ok(());
    }
    if let Some(before) = before.filter(|before| before.layout != *layout) {
        note(db, (target, "the configuration"), (Some(&before.layout), layout), now)?;
    }
    put(db, target, (layout, None), now)
}

/// Confirms that the sessions of a target are there from now on; returns where they were before.
///
/// # Errors
///
/// If it cannot be written.
pub fn confirm(
    db: Db<'_>,
    (target, actor): (&Target, &str),
    layout: &KnownLayout,
    now: Instant,
) -> Result<Option<KnownLayout>, StoreError> {
    let before = match get(db, &target.name) {
        Ok(kept) => kept.map(|kept| kept.layout),
        // What cannot be decoded is what is to be replaced.
        Err(StoreError::Undecodable { .. }) => None,
        Err(error) => return Err(error),
    };
    note(db, (target, actor), (before.as_ref(), layout), now)?;
    put(db, target, (layout, Some(actor)), now)?;
    Ok(before)
}

fn put(
    db: Db<'_>,
    target: &Target,
    (layout, confirmed_by): (&KnownLayout, Option<&str>),
    now: Instant,
) -> Result<(), StoreError> {
    let (address, configured) = (target.address.to_string(), configured(&target.storage));
    let text = serde_json::to_string(layout).map_err(|_| StoreError::Unwritable("a layout"))?;
    db.run(
        "INSERT INTO layouts (target, address, configured, layout, at, confirmed_by) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (target) DO UPDATE SET address = excluded.address, configured = excluded.configured,
           layout = excluded.layout, at = excluded.at, confirmed_by = excluded.confirmed_by",
        &[
            target.name.as_str().into(),
            address.as_str().into(),
            configured.as_str().into(),
            text.as_str().into(),
            now.into(),
            (&confirmed_by.map(str::to_owned)).into(),
        ],
    )?;
    Ok(())
}

fn note(
    db: Db<'_>,
    (target, actor): (&Target, &str),
    (before, after): (Option<&KnownLayout>, &KnownLayout),
    now: Instant,
) -> Result<(), StoreError> {
    let detail = serde_json::json!({ "target": target.name, "before": before, "after": after });
    audit::add(db, (actor, "session-table-confirmed"), &detail.to_string(), now)
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

    use super::*;
    use crate::{
        config::Rhythm,
        store::tests::both,
        target::{address::Address, observe::Engine, postgres::Limits},
    };

    fn target(storage: ProfileSource) -> Target {
        Target {
            name: "app".into(),
            address: Address::Sqlite(PathBuf::from("app.db")),
            storage,
            known: None,
            engine: Engine::Scan,
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

    #[test]
    fn a_layout_is_kept_until_it_is_confirmed_or_configured_anew() {
        let at = |second: i64| Instant::from_micros(second * 1_000_000).unwrap();
        let layout = |table: &str| KnownLayout {
            table: table.into(),
            token: "t".into(),
            user: None,
            expires: "e".into(),
        };
        let target = target(ProfileSource::Detect);
        for store in both() {
            let known = |target: &Target| store.read(|db| known(db, target)).unwrap();
            assert_eq!(known(&target), None);
            for table in ["a", "b"] {
                store.write(|db| keep(db, &target, &layout(table), at(1))).unwrap();
                assert_eq!(known(&target), Some(layout("a")));
            }
            let before = store.write(|db| confirm(db, (&target, "ada"), &layout("b"), at(2))).unwrap();
            assert_eq!((before, known(&target)), (Some(layout("a")), Some(layout("b"))));
            let named = Target { storage: ProfileSource::Profile("authjs".into()), ..target.clone() };
            assert_eq!(known(&named), None);
            store.write(|db| keep(db, &named, &layout("c"), at(3))).unwrap();
            assert_eq!((known(&named), known(&target)), (Some(layout("c")), None));
            store.write(|db| db.run("UPDATE layouts SET layout = '{}'", &[])).unwrap();
            assert!(matches!(store.read(|db| super::known(db, &named)), Err(StoreError::Undecodable { .. })));
            store.write(|db| confirm(db, (&named, "ada"), &layout("c"), at(4))).unwrap();
            assert_eq!(known(&named), Some(layout("c")));
        }
    }
}
