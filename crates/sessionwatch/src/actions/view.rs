//! A target as acting sees it: by the key of the store, and with a name for each row.

use sessionwatch_core::instant::Instant;

use super::{ActError, Context};
use crate::{
    profile::{
        catalogue::Profile,
        known_layout::KnownLayout,
        mapping::Mapping,
        schema::{Dialect, Schema, TableKind},
    },
    store::ledgers,
    target::{
        address::Address,
        connect::{ConnectOptions, ConnectedTarget, fingerprint_key},
        error::TargetError,
        sql::{self, Addressing, Sql},
    },
    target_layouts,
};

/// The target as plans see it: marks are made with the key of the store, and rows have a name.
pub(super) struct View {
    pub(super) opened: ConnectedTarget,
    /// What is unique to a row.
    pub(super) addressing: Addressing,
}

impl View {
    /// Opens the target with the credentials of the watch.
    pub(super) async fn open(context: Context<'_>) -> Result<Self, ActError> {
        // What only reads needs no store that may be written.
        let key = match context.store.read(ledgers::present_key)? {
            Some(key) => key,
            None => context.store.write(|db| ledgers::key(db, fingerprint_key()))?,
        };
        let mut target = context.target.clone();
        target_layouts::locate(context.store, &mut target)?;
        let target = &target;
        let catalogue = &context.config.catalogue;
        let options = ConnectOptions { key: Some(key), ..target.connect_options(catalogue) };
        let limit = target.limits.timeout;
        let opening = tokio::time::timeout(limit, ConnectedTarget::open(options));
        let opened = opening.await.map_err(|_| TargetError::TimedOut(limit.as_secs()))??;
        if target.known.is_none() && opened.layout.is_certain() {
            let layout = KnownLayout::of(&opened.layout.candidate.mapping);
            context.store.write(|db| target_layouts::keep(db, target, &layout, context.clock.now()))?;
        }
        let addressing = addressing(&opened).await?;
        Ok(Self { opened, addressing })
    }

    pub(super) fn sql<'a>(&'a self, context: Context<'a>) -> Sql<'a> {
        self.opened.sql(false, &context.config.rules.thresholds)
    }
}

/// What is unique to a row of the sessions.
async fn addressing(opened: &ConnectedTarget) -> Result<Addressing, ActError> {
    let sessions = &opened.layout.candidate.mapping.sessions;
    let found = opened.layout.schema.table(sessions);
    if opened.layout.schema.dialect == Dialect::Sqlite {
        let has_rowid = found.is_some_and(|table| !table.without_rowid);
        return Ok(if has_rowid { Addressing::Place } else { Addressing::Id });
    }
    // Views have no places. Plans of what is no table are refused.
    if !found.is_some_and(|table| matches!(table.kind, TableKind::Table | TableKind::Partitioned)) {
        return Ok(Addressing::Id);
    }
    let name = sql::string(Dialect::Postgres, &sql::table(sessions));
    let query = format!(
        "WITH RECURSIVE heaps(oid) AS (SELECT {name}::regclass::oid UNION\n  \
         SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN heaps ON i.inhparent = heaps.oid)\n\
         SELECT c.relkind = 'r' AND NOT c.relhassubclass AND COALESCE(m.amname = 'heap', false),\n  \
         c.relkind = 'r' AND c.relhassubclass,\n  \
         pg_catalog.has_column_privilege(c.oid, 'ctid', 'SELECT') AND pg_catalog.has_column_privilege(c.oid, 'xmin', 'SELECT'),\n  \
         pg_catalog.has_column_privilege(c.oid, 'ctid', 'SELECT') AND pg_catalog.has_column_privilege(c.oid, 'tableoid', 'SELECT'),\n  \
         (SELECT k.relname FROM heaps JOIN pg_catalog.pg_class AS k ON k.oid = heaps.oid\n  \
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.oid AND a.attnum > 0 AND NOT a.attisdropped\n  \
         WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute AS p WHERE p.attrelid = c.oid AND p.attname = a.attname AND p.attnum > 0 AND NOT p.attisdropped)\n  \
         ORDER BY k.relname LIMIT 1)\n\
         FROM pg_catalog.pg_class AS c LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam WHERE c.oid = {name}::regclass"
    );
    let rows = opened.session.fetch(&query).await?;
    let row = rows.first().ok_or(TargetError::Lost)?;
    let is = |at: usize| row.get(at).and_then(|cell| cell.as_deref()) == Some("t");
    let (one_heap, inherited, places, heaps) = (is(0), is(1), is(2), is(3));
    if let Some(Some(child)) = row.get(4) {
        return Err(ActError::MoreColumns { table: sessions.name.clone(), child: child.clone() });
    }
    match (one_heap, places, heaps) {
        (true, true, _) => Ok(Addressing::Place),
        (false, _, true) => Ok(Addressing::HeapAndPlace),
        // A unique index does not reach the tables that inherit.
        (false, ..) if inherited => Err(ActError::Nameless(sessions.name.clone())),
        _ => Ok(Addressing::Id),
    }
}

impl View {
    /// What ends log-ins where removing rows does not.
    pub(super) fn force_out(&self, context: Context<'_>) -> Option<String> {
        self.text(context, |profile| &profile.force_out)
    }

    /// What removing a row does to the framework.
    pub(super) fn effects(&self, context: Context<'_>) -> Option<String> {
        self.text(context, |profile| &profile.effects)
    }

    fn text(&self, context: Context<'_>, of: impl Fn(&Profile) -> &String) -> Option<String> {
        let mapping = &self.opened.layout.candidate.mapping;
        let profile = context.config.catalogue.iter().find(|profile| profile.name == mapping.profile);
        profile.map(of).filter(|text| !text.is_empty()).cloned()
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
    /// What is unique to a row.
    pub(super) addressing: Addressing,
}

impl Known {
    /// Looks at the target with the credentials of the watch.
    pub(super) async fn of(context: Context<'_>, now: Option<Instant>) -> Result<Self, ActError> {
        let View { opened, addressing } = View::open(context).await?;
        if let Err(error) = super::making::certain_table(&opened) {
            opened.session.close().await;
            return Err(error);
        }
        let seen = opened.now;
        let now = now.unwrap_or(seen);
        let ConnectedTarget { session, layout, key, .. } = opened;
        session.close().await;
        let (schema, mapping) = (layout.schema, layout.candidate.mapping);
        Ok(Self { schema, mapping, key, now, seen, addressing })
    }

    pub(super) fn sql(&self) -> Sql<'_> {
        let (mapping, schema, key, now) = (&self.mapping, &self.schema, self.key, self.now);
        Sql { mapping, schema, key, now, max_lifetime_us: None, notable_above: 0, deep: false, pasted: false }
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
    if let Some(problem) = &target.act_missing {
        let problem = problem.message.clone();
        return Err(ActError::CredentialsMissing { target: target.name.clone(), problem });
    }
    match (&target.act, &target.address) {
        (Some(address), _) => Ok(address),
        // A file has no roles, and whoever gave an address gave it for this.
        (None, address @ Address::Sqlite(_)) => Ok(address),
        (None, address) if target.ad_hoc => Ok(address),
        (None, _) => Err(ActError::NoCredentials(target.name.clone())),
    }
}
