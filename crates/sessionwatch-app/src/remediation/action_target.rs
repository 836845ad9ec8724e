//! What changes need to know about a target, read once before its rows are changed.

use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_targets::{
    connect::ConnectedTarget, layout::Layout, mapping::Mapping, read_session::PooledConnection,
    scope::QueryScope, sql::RowKeyKind,
};

use super::{
    ActionContext, ActionError,
    planning_session::{PlanningSession, require_certain_table},
};

/// Facts about a target that changes need, read without keeping a transaction open.
pub(super) struct ActionTarget {
    pub(super) layout: Layout,
    pub(super) key: i64,
    /// Instant that time conditions refer to.
    pub(super) now: UtcTimestamp,
    /// Current time by the clock of the target.
    pub(super) observed_at: UtcTimestamp,
    /// Kind of locator that identifies a row.
    pub(super) addressing: RowKeyKind,
}

impl ActionTarget {
    /// Reads the target as the watch role, and closes the connection.
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

    /// Reads the target as the watch role. Returns the connection for another transaction, if it is still usable.
    pub(super) async fn load_with_connection(
        context: ActionContext<'_>,
        now: Option<UtcTimestamp>,
    ) -> Result<(Self, Option<PooledConnection>), ActionError> {
        let PlanningSession { connected, addressing } = PlanningSession::open(context).await?;
        if let Err(error) = require_certain_table(&connected) {
            connected.session.close().await;
            return Err(error);
        }
        let observed_at = connected.now;
        let now = now.unwrap_or(observed_at);
        let ConnectedTarget { session, layout, fingerprint_key, .. } = connected;
        let idle = session.release().await;
        Ok((Self { layout, key: fingerprint_key, now, observed_at, addressing }, idle))
    }

    /// Returns the scope of queries.
    pub(super) fn scope(&self) -> QueryScope<'_> {
        QueryScope::without_thresholds(&self.layout, self.key, self.now)
    }

    pub(super) fn mapping(&self) -> &Mapping {
        &self.layout.candidate.mapping
    }
}
