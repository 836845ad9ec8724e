//! A target as acting sees it: by the key of the store, and with a name for each row.

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::snapshots;
use sessionwatch_targets::{
    address::TargetAddress,
    capabilities::Capability,
    connect::{ConnectOptions, ConnectedTarget, fingerprint_key},
    error::TargetError,
    layout::{Layout, known_layout::KnownLayout, profile_catalog::Profile},
    mapping::Mapping,
    read_session::PooledConnection,
    row_selection::RowKeySupport,
    scope::QueryScope,
    sql::RowKeyKind,
};

use super::{ActionContext, ActionError};
use crate::target_layouts;

/// The target as plans see it: marks are made with the key of the store, and rows have a name.
pub(super) struct PlanningSession {
    pub(super) connected: ConnectedTarget,
    /// What is unique to a row.
    pub(super) addressing: RowKeyKind,
}

impl PlanningSession {
    /// Opens the target with the credentials of the watch.
    pub(super) async fn open(context: ActionContext<'_>) -> Result<Self, ActionError> {
        // What only reads needs no store that may be written.
        let key = match context.store.read(snapshots::find_fingerprint_key)? {
            Some(key) => key,
            None => context.store.write(|db| snapshots::ensure_fingerprint_key(db, fingerprint_key()))?,
        };
        let mut target = context.target.clone();
        target_layouts::set_known_layout(context.store, &mut target)?;
        let target = &target;
        let catalogue = &context.config.catalogue;
        let options = ConnectOptions { fingerprint_key: Some(key), ..target.connect_options(catalogue) };
        let limit = target.limits.timeout;
        let opening = tokio::time::timeout(limit, ConnectedTarget::open(options));
        let opened = opening.await.map_err(|_| TargetError::TimedOut(limit.as_secs()))??;
        if target.known_layout.is_none() && opened.layout.is_certain() {
            let layout = KnownLayout::from_mapping(&opened.layout.candidate.mapping);
            context.store.write(|db| {
                target_layouts::record_detected_layout(db, target, &layout, context.clock.now())
            })?;
        }
        let addressing = detect_addressing(&opened).await?;
        Ok(Self { connected: opened, addressing })
    }

    pub(super) fn scope(&self, context: ActionContext<'_>) -> QueryScope<'_> {
        self.connected.query_scope(false, &context.config.checks.thresholds)
    }
}

/// What is unique to a row of the sessions.
async fn detect_addressing(opened: &ConnectedTarget) -> Result<RowKeyKind, ActionError> {
    let table = || opened.layout.candidate.mapping.sessions.name.clone();
    match opened.session.find_row_key(&opened.layout).await? {
        RowKeySupport::Unique(addressing) => Ok(addressing),
        RowKeySupport::ExtraChildColumns(child) => Err(ActionError::MoreColumns { table: table(), child }),
        RowKeySupport::Unsupported => Err(ActionError::NoRowIdentifier(table())),
    }
}

impl PlanningSession {
    /// What ends log-ins where removing rows does not.
    pub(super) fn forced_logout_note(&self, context: ActionContext<'_>) -> Option<String> {
        self.profile_text(context, |profile| &profile.force_out)
    }

    /// What removing a row does to the framework.
    pub(super) fn revocation_effects(&self, context: ActionContext<'_>) -> Option<String> {
        self.profile_text(context, |profile| &profile.effects)
    }

    fn profile_text(&self, context: ActionContext<'_>, of: impl Fn(&Profile) -> &String) -> Option<String> {
        let mapping = &self.connected.layout.candidate.mapping;
        let profile = context.config.catalogue.iter().find(|profile| profile.name == mapping.profile);
        profile.map(of).filter(|text| !text.is_empty()).cloned()
    }
}

/// What has to be known of a target to act on it; no transaction is kept open meanwhile.
pub(super) struct ActionTarget {
    pub(super) layout: Layout,
    pub(super) key: i64,
    /// The instant to which conditions refer.
    pub(super) now: UtcTimestamp,
    /// The instant of the run, by the clock of the target.
    pub(super) observed_at: UtcTimestamp,
    /// What is unique to a row.
    pub(super) addressing: RowKeyKind,
}

impl ActionTarget {
    /// Reads it from the target with the credentials of the watch, and closes the connection.
    pub(super) async fn load(
        context: ActionContext<'_>,
        now: Option<UtcTimestamp>,
    ) -> Result<Self, ActionError> {
        let (known, idle) = Self::load_with_connection(context, now).await?;
        if let Some(idle) = idle {
            idle.close().await;
        }
        Ok(known)
    }

    /// The same, with the connection for another transaction, if there is one.
    pub(super) async fn load_with_connection(
        context: ActionContext<'_>,
        now: Option<UtcTimestamp>,
    ) -> Result<(Self, Option<PooledConnection>), ActionError> {
        let PlanningSession { connected: opened, addressing } = PlanningSession::open(context).await?;
        if let Err(error) = require_certain_table(&opened) {
            opened.session.close().await;
            return Err(error);
        }
        let seen = opened.now;
        let now = now.unwrap_or(seen);
        let ConnectedTarget { session, layout, fingerprint_key: key, .. } = opened;
        let idle = session.release().await;
        Ok((Self { layout, key, now, observed_at: seen, addressing }, idle))
    }

    /// What the verbs of a session refer to.
    pub(super) fn scope(&self) -> QueryScope<'_> {
        QueryScope::without_thresholds(&self.layout, self.key, self.now)
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
pub fn write_address<'a>(context: ActionContext<'a>) -> Result<&'a TargetAddress, ActionError> {
    let target = context.target;
    if let Some(problem) = &target.write_address_problem {
        let problem = problem.message.clone();
        return Err(ActionError::CredentialsMissing { target: target.name.clone(), problem });
    }
    // Where there are no roles, nobody else is needed; and whoever gave an address gave it for this.
    let has_roles = target.address.capabilities().supports(Capability::Roles);
    match &target.write_address {
        Some(address) => Ok(address),
        None if target.is_ad_hoc || !has_roles => Ok(&target.address),
        None => Err(ActionError::NoCredentials(target.name.clone())),
    }
}

/// Refuses a table that may be the wrong one, until the configuration names it.
pub(super) fn require_certain_table(opened: &ConnectedTarget) -> Result<(), ActionError> {
    match &opened.layout.uncertainty {
        Some(doubt) => Err(ActionError::Uncertain(Box::new(doubt.clone()))),
        None => Ok(()),
    }
}
