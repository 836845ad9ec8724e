//! A target as acting sees it: by the key of the store, and with a name for each row.

use sessionwatch_rules::instant::Instant;

use super::{ActError, Context};
use crate::{
    open::{Access, Opened, fingerprint_key, open_at},
    profile::{
        mapping::Mapping,
        schema::{Dialect, Schema, TableKind},
    },
    store::ledgers,
    target::{
        address::Address,
        error::TargetError,
        sql::{self, Sql},
    },
};

/// The target as plans see it: marks are made with the key of the store, and rows have a name.
pub(super) struct View {
    pub(super) opened: Opened,
    /// Whether rows are named by their places.
    pub(super) placed: bool,
}

impl View {
    /// Opens the target with the credentials of the watch.
    pub(super) async fn open(context: Context<'_>) -> Result<Self, ActError> {
        let key = context.store.write(|db| ledgers::key(db, fingerprint_key()))?;
        let target = context.target;
        let access = Access { address: &target.address, deep: false, key: Some(key), placed: false };
        let limit = target.limits.timeout;
        let opening = tokio::time::timeout(limit, open_at(target, &context.config.catalogue, access));
        let opened = opening.await.map_err(|_| TargetError::TimedOut(limit.as_secs()))??;
        let placed = is_placed(&opened).await?;
        Ok(Self { opened, placed })
    }

    pub(super) fn sql<'a>(&'a self, context: Context<'a>) -> Sql<'a> {
        self.opened.sql(false, &context.config.rules.settings)
    }
}

/// Whether rows can be named by where they stand.
async fn is_placed(opened: &Opened) -> Result<bool, TargetError> {
    let sessions = &opened.candidate.mapping.sessions;
    let table = opened.schema.table(sessions);
    if opened.schema.dialect == Dialect::Sqlite {
        return Ok(table.is_some_and(|table| !table.without_rowid));
    }
    // In a partitioned table, a place may be taken in each part; what is no table has none.
    if table.is_none_or(|table| table.kind != TableKind::Table) {
        return Ok(false);
    }
    let name = sql::string(Dialect::Postgres, &sql::table(sessions));
    let rows =
        opened.session.fetch(&format!(
            "SELECT has_column_privilege({name}, 'ctid', 'SELECT') AND has_column_privilege({name}, 'xmin', 'SELECT')"
        )).await?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("t"))
}

impl View {
    /// What has to be done besides, where ending rows does not end every log-in.
    pub(super) fn force_out(&self, context: Context<'_>) -> Vec<String> {
        let mapping = &self.opened.candidate.mapping;
        let profile = context.config.catalogue.iter().find(|profile| profile.name == mapping.profile);
        profile.map(crate::profile::catalogue::Profile::advice).unwrap_or_default()
    }
}

/// What has to be known of a target to act on it; no transaction is kept open meanwhile.
pub(super) struct Known {
    pub(super) schema: Schema,
    pub(super) mapping: Mapping,
    pub(super) key: i64,
    /// The instant to which conditions refer.
    pub(super) now: Instant,
    /// The instant of the look, by the clock of the target.
    pub(super) seen: Instant,
    pub(super) placed: bool,
}

impl Known {
    /// Looks at the target with the credentials of the watch.
    pub(super) async fn of(context: Context<'_>, now: Option<Instant>) -> Result<Self, ActError> {
        let View { opened, placed } = View::open(context).await?;
        let seen = opened.now;
        let now = now.unwrap_or(seen);
        let crate::open::Opened { session, schema, candidate, key, .. } = opened;
        session.close().await;
        Ok(Self { schema, mapping: candidate.mapping, key, now, seen, placed })
    }

    pub(super) fn sql(&self) -> Sql<'_> {
        let (mapping, schema, key, now) = (&self.mapping, &self.schema, self.key, self.now);
        Sql { mapping, schema, key, now, max_lifetime_us: None, deep: false, pasted: false }
    }

    pub(super) fn key(&self) -> i64 {
        self.key
    }
}

/// Where, and as whom, a target is acted on.
///
/// # Errors
///
/// If no credentials for that are known.
pub fn address<'a>(context: Context<'a>) -> Result<&'a Address, ActError> {
    let target = context.target;
    match (&target.act, &target.address) {
        (Some(address), _) => Ok(address),
        // A file has no roles, and whoever gave an address gave it for this.
        (None, address @ Address::Sqlite(_)) => Ok(address),
        (None, address) if target.ad_hoc => Ok(address),
        (None, _) => Err(ActError::NoCredentials(target.name.clone())),
    }
}
