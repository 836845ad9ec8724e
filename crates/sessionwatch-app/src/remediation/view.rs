//! A target as acting sees it: by the key of the store, and with a name for each row.

use sessionwatch_core::instant::Instant;
use sessionwatch_store::ledgers;
use sessionwatch_targets::{
    address::Address,
    capabilities::Capability,
    connect::{ConnectOptions, ConnectedTarget, fingerprint_key},
    error::TargetError,
    layout::{Layout, catalogue::Profile, known_layout::KnownLayout},
    mapping::Mapping,
    read_session::PooledConnection,
    scope::Scope,
    selecting::RowNames,
    sql::Addressing,
};

use super::{ActError, Context};
use crate::target_layouts;

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

    pub(super) fn scope(&self, context: Context<'_>) -> Scope<'_> {
        self.opened.scope(false, &context.config.rules.thresholds)
    }
}

/// What is unique to a row of the sessions.
async fn addressing(opened: &ConnectedTarget) -> Result<Addressing, ActError> {
    let table = || opened.layout.candidate.mapping.sessions.name.clone();
    match opened.session.row_names(&opened.layout).await? {
        RowNames::By(addressing) => Ok(addressing),
        RowNames::MoreColumns(child) => Err(ActError::MoreColumns { table: table(), child }),
        RowNames::Nothing => Err(ActError::Nameless(table())),
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
    pub(super) layout: Layout,
    pub(super) key: i64,
    /// The instant to which conditions refer.
    pub(super) now: Instant,
    /// The instant of the run, by the clock of the target.
    pub(super) seen: Instant,
    /// What is unique to a row.
    pub(super) addressing: Addressing,
}

impl Known {
    /// Reads it from the target with the credentials of the watch, and closes the connection.
    pub(super) async fn of(context: Context<'_>, now: Option<Instant>) -> Result<Self, ActError> {
        let (known, idle) = Self::keeping_connection(context, now).await?;
        if let Some(idle) = idle {
            idle.close().await;
        }
        Ok(known)
    }

    /// The same, with the connection for another transaction, if there is one.
    pub(super) async fn keeping_connection(
        context: Context<'_>,
        now: Option<Instant>,
    ) -> Result<(Self, Option<PooledConnection>), ActError> {
        let View { opened, addressing } = View::open(context).await?;
        if let Err(error) = certain_table(&opened) {
            opened.session.close().await;
            return Err(error);
        }
        let seen = opened.now;
        let now = now.unwrap_or(seen);
        let ConnectedTarget { session, layout, key, .. } = opened;
        let idle = session.rest().await;
        Ok((Self { layout, key, now, seen, addressing }, idle))
    }

    /// What the verbs of a session refer to.
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope::of_rows(&self.layout, self.key, self.now)
    }

    /// How the sessions are stored.
    pub(super) fn mapping(&self) -> &Mapping {
        &self.layout.candidate.mapping
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
    // Where there are no roles, nobody else is needed; and whoever gave an address gave it for this.
    let has_roles = target.address.capabilities().supports(Capability::Roles);
    match &target.act {
        Some(address) => Ok(address),
        None if target.ad_hoc || !has_roles => Ok(&target.address),
        None => Err(ActError::NoCredentials(target.name.clone())),
    }
}

/// Refuses a table that may be the wrong one, until the configuration names it.
pub(super) fn certain_table(opened: &ConnectedTarget) -> Result<(), ActError> {
    match &opened.layout.doubt {
        Some(doubt) => Err(ActError::Uncertain(Box::new(doubt.clone()))),
        None => Ok(()),
    }
}
