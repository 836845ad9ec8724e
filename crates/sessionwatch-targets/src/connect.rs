//! Connecting to a target: a read-only transaction, the time of the check run, and the layout of the
//! sessions.

use std::{sync::LazyLock, time::Instant as Monotonic};

use sessionwatch_core::{
    checks::CheckThresholds,
    duration::saturating_micros,
    local_time::TimeZoneDoubts,
    session_stats::MIN_OUTLIER_SESSIONS,
    timestamp::{MICROS_PER_DAY, MICROS_PER_SECOND, UtcTimestamp},
};

use super::{
    address::TargetAddress,
    error::TargetError,
    layout::{self, Layout, LayoutRequest, TableActivity},
    read_session::{PooledConnection, ReadSession},
    scan_progress::ScanProgress,
    scope::QueryScope,
    time_limits::TimeLimits,
};

/// An open target whose session table was detected.
#[derive(Debug)]
pub struct ConnectedTarget {
    /// Open read-only session.
    pub session: ReadSession,
    /// Layout of its sessions.
    pub layout: Layout,
    /// Key of the fingerprints.
    pub fingerprint_key: i64,
    /// Time of the check run, by the clock of the database.
    pub now: UtcTimestamp,
    /// Local monotonic time at which the database clock was read.
    pub now_read_at: Monotonic,
    /// Replication position of this server in bytes of WAL; `None` if it was not requested, or the server
    /// does not report one.
    pub position: Option<u64>,
}

/// Options for connecting to a target.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions<'a> {
    /// Address of the server to use: the primary or a replica.
    pub address: &'a TargetAddress,
    /// Known facts about how the target stores sessions.
    pub layout: LayoutRequest<'a>,
    /// Time limits.
    pub limits: TimeLimits,
    /// Read every row instead of trusting unique indexes and foreign keys.
    pub ignore_constraints: bool,
    /// Key of the fingerprints, or `None` for the key of this process.
    pub fingerprint_key: Option<i64>,
    /// Read the replication position too.
    pub reads_position: bool,
    /// Receives the progress of scans.
    pub progress: Option<&'a ScanProgress>,
}

impl ConnectedTarget {
    /// Connects and detects the session table, within the target's time limit.
    ///
    /// # Errors
    ///
    /// If the target cannot be reached in time, no session table is found, or the expiry times cannot be
    /// decoded.
    pub async fn open_with_timeout(options: ConnectOptions<'_>) -> Result<Self, TargetError> {
        let limit = options.limits.timeout;
        match tokio::time::timeout(limit, Self::open(options)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TargetError::TimedOut(limit.as_secs())),
        }
    }

    /// Works like [`Self::open_with_timeout`] over an existing connection, or over a new one if that is lost.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectedTarget::open_with_timeout`].
    pub async fn reuse_connection(
        idle: Option<PooledConnection>,
        options: ConnectOptions<'_>,
    ) -> Result<Self, TargetError> {
        let Some(idle) = idle else { return Self::open_with_timeout(options).await };
        match ReadSession::resume_connection(idle, options.address, options.limits).await {
            // No time limit around this call: the limits set inside the transaction apply.
            Some(session) => Self::from_session(session, fingerprint_key(), options).await,
            None => Self::open_with_timeout(options).await,
        }
    }

    /// Connects and detects the session table.
    ///
    /// # Errors
    ///
    /// If the target cannot be reached, no session table is found, or the expiry times cannot be decoded.
    pub async fn open(options: ConnectOptions<'_>) -> Result<Self, TargetError> {
        let key = options.fingerprint_key.unwrap_or_else(fingerprint_key);
        let session =
            ReadSession::open(options.address, options.limits, options.ignore_constraints, key).await?;
        Self::from_session(session.with_progress(options.progress.cloned()), key, options).await
    }

    async fn from_session(
        session: ReadSession,
        fingerprint_key: i64,
        options: ConnectOptions<'_>,
    ) -> Result<Self, TargetError> {
        let asked = Monotonic::now();
        // The server read its clock between sending and receiving: half a round trip is the best estimate.
        let now = session.server_time().await?;
        let now_read_at = asked + asked.elapsed() / 2;
        let position = if options.reads_position { session.replication_position().await? } else { None };
        // Detection runs in the same transaction as the checks, so both see the same tables.
        let layout = Layout::detect(&session, options.layout, now).await?;
        Ok(Self { session, layout, fingerprint_key, now, now_read_at, position })
    }

    /// Returns why the expiry and creation times may be in a different time zone than assumed, for each column.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_clock_doubts(&self, known: TableActivity) -> Result<TimeZoneDoubts, TargetError> {
        layout::find_clock_doubts(&self.session, &self.layout, self.now, known).await
    }

    /// Builds the scope of queries under these thresholds.
    #[must_use]
    pub fn query_scope(&self, ignore_constraints: bool, thresholds: &CheckThresholds) -> QueryScope<'_> {
        let mapping = &self.layout.candidate.mapping;
        let default = || {
            // Without a configured limit, the framework's own lifetime counts, with a day of tolerance.
            let seconds = i64::try_from(mapping.max_lifetime_s?).ok()?;
            Some(seconds * MICROS_PER_SECOND + MICROS_PER_DAY)
        };
        QueryScope {
            layout: &self.layout,
            fingerprint_key: self.fingerprint_key,
            now: self.now,
            max_lifetime_us: thresholds
                .session_lifetime
                .max_lifetime()
                .map(saturating_micros)
                .or_else(default),
            // The smallest of all per-user limits, so that no check misses a user.
            notable_above: thresholds
                .user_session_excess
                .max
                .min(thresholds.rapid_creation.max_per_hour)
                .min(MIN_OUTLIER_SESSIONS),
            ignore_constraints,
        }
    }
}

/// Returns the random key of this process. No two processes share one, so fingerprints cannot be compared
/// outside this process, while those of all its check runs can.
#[must_use]
pub fn fingerprint_key() -> i64 {
    static PROCESS_KEY: LazyLock<i64> = LazyLock::new(rand::random);
    *PROCESS_KEY
}
