//! Connections for plans: the target read with the store's fingerprint key, and with a locator for each row.

use sessionwatch_store::fingerprint_key;
use sessionwatch_targets::{
    connect::{ConnectOptions, ConnectedTarget, fingerprint_key},
    error::TargetError,
    layout::{known_layout::KnownLayout, profile_catalog::Profile},
    row_selection::RowKeySupport,
    scope::QueryScope,
    sql::RowKeyKind,
};

use super::{ActionContext, ActionError};
use crate::target_layouts;

/// Read-only connection to a target for planning.
pub(super) struct PlanningSession {
    pub(super) connected: ConnectedTarget,
    /// Kind of locator that identifies a row.
    pub(super) addressing: RowKeyKind,
}

impl PlanningSession {
    /// Connects as the watch role.
    pub(super) async fn open(context: ActionContext<'_>) -> Result<Self, ActionError> {
        // The key is written only if missing, so that a read-only store works too.
        let key = match context.store.read(fingerprint_key::find_fingerprint_key)? {
            Some(key) => key,
            None => {
                context.store.write(|db| fingerprint_key::ensure_fingerprint_key(db, fingerprint_key()))?
            }
        };
        let mut target = context.target.clone();
        target_layouts::set_known_layout(context.store, &mut target)?;
        let target = &target;
        let catalogue = &context.config.catalogue;
        let options = ConnectOptions { fingerprint_key: Some(key), ..target.connect_options(catalogue) };
        let limit = target.limits.timeout;
        // A hanging connection attempt must not exceed the time limit of a check run.
        let opening = tokio::time::timeout(limit, ConnectedTarget::open(options));
        let connected = opening.await.map_err(|_| TargetError::TimedOut(limit.as_secs()))??;
        // With the layout remembered, later runs notice if another table is detected.
        if target.known_layout.is_none() && connected.layout.is_certain() {
            let layout = KnownLayout::from_mapping(&connected.layout.candidate.mapping);
            context.store.write(|db| {
                target_layouts::record_detected_layout(db, target, &layout, context.clock.now())
            })?;
        }
        let addressing = detect_addressing(&connected).await?;
        Ok(Self { connected, addressing })
    }

    pub(super) fn scope(&self, context: ActionContext<'_>) -> QueryScope<'_> {
        self.connected.query_scope(false, &context.config.checks.thresholds)
    }
}

/// Returns the kind of locator that identifies a row of the session table.
async fn detect_addressing(opened: &ConnectedTarget) -> Result<RowKeyKind, ActionError> {
    let table = || opened.layout.candidate.mapping.sessions.name.clone();
    match opened.session.find_row_key(&opened.layout).await? {
        RowKeySupport::Unique(addressing) => Ok(addressing),
        RowKeySupport::ExtraChildColumns(child) => Err(ActionError::MoreColumns { table: table(), child }),
        RowKeySupport::Unsupported => Err(ActionError::NoRowIdentifier(table())),
    }
}

impl PlanningSession {
    /// Returns how to end logins that survive the deletion of their rows.
    pub(super) fn forced_logout_note(&self, context: ActionContext<'_>) -> Option<String> {
        self.profile_text(context, |profile| &profile.force_out)
    }

    /// Returns the effect of deleting a row on the framework.
    pub(super) fn revocation_effects(&self, context: ActionContext<'_>) -> Option<String> {
        self.profile_text(context, |profile| &profile.effects)
    }

    fn profile_text(&self, context: ActionContext<'_>, of: impl Fn(&Profile) -> &String) -> Option<String> {
        let mapping = &self.connected.layout.candidate.mapping;
        let profile = context.config.catalogue.iter().find(|profile| profile.name == mapping.profile);
        profile.map(of).filter(|text| !text.is_empty()).cloned()
    }
}

/// Rejects a table that may be the wrong one, until the configuration names it.
pub(super) fn require_certain_table(opened: &ConnectedTarget) -> Result<(), ActionError> {
    match &opened.layout.uncertainty {
        Some(doubt) => Err(ActionError::Uncertain(Box::new(doubt.clone()))),
        None => Ok(()),
    }
}
