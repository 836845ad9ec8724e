//! Connecting to a target: a read-only transaction, the instant of the run, and the layout of the sessions.

use std::{sync::LazyLock, time::Instant as Monotonic};

use sessionwatch_core::{
    checks::CheckThresholds,
    duration::saturating_micros,
    local_time::TimeZoneDoubts,
    stats::MIN_OUTLIER_SESSIONS,
    timestamp::{MICROS_PER_DAY, MICROS_PER_SECOND, UtcTimestamp},
};

use super::{
    address::TargetAddress,
    error::TargetError,
    layout::{self, Layout, LayoutRequest, TableActivity},
    limits::TimeLimits,
    read_session::{PooledConnection, ReadSession},
    scan_progress::ScanProgress,
    scope::QueryScope,
};

/// An open target whose sessions were recognized.
#[derive(Debug)]
pub struct ConnectedTarget {
    /// The session.
    pub session: ReadSession,
    /// How it stores sessions.
    pub layout: Layout,
    /// The key of the fingerprints.
    pub fingerprint_key: i64,
    /// The instant of the run, by the clock of the database.
    pub now: UtcTimestamp,
    /// When that was read from the database, by an even count.
    pub now_read_at: Monotonic,
    /// How far this copy had come; nothing if it was not asked, or does not say.
    pub position: Option<u64>,
}

/// How a target is connected to.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions<'a> {
    /// Which of its copies.
    pub address: &'a TargetAddress,
    /// What is known of how it stores sessions.
    pub layout: LayoutRequest<'a>,
    /// Time limits.
    pub limits: TimeLimits,
    /// Indexes are distrusted.
    pub ignore_constraints: bool,
    /// The key of fingerprints; nothing for that of this process.
    pub fingerprint_key: Option<i64>,
    /// How far the copy has come is asked.
    pub reads_position: bool,
    /// Who is told how far scans have come.
    pub progress: Option<&'a ScanProgress>,
}

impl ConnectedTarget {
    /// Connects and recognizes the sessions, within the target's time limit.
    ///
    /// # Errors
    ///
    /// If it cannot be reached in time, no session table is recognized, or its expiries cannot be read.
    pub async fn open_with_timeout(options: ConnectOptions<'_>) -> Result<Self, TargetError> {
        let limit = options.limits.timeout;
        match tokio::time::timeout(limit, Self::open(options)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TargetError::TimedOut(limit.as_secs())),
        }
    }

    /// The same over a connection that is there already; over a new one, if that is lost.
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
            Some(session) => Self::from_session(session, fingerprint_key(), options).await,
            None => Self::open_with_timeout(options).await,
        }
    }

    /// Connects and recognizes the sessions.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, no session table is recognized, or its expiries cannot be read.
    pub async fn open(options: ConnectOptions<'_>) -> Result<Self, TargetError> {
        let key = options.fingerprint_key.unwrap_or_else(fingerprint_key);
        let session =
            ReadSession::open(options.address, options.limits, options.ignore_constraints, key).await?;
        Self::from_session(session.with_progress(options.progress.cloned()), key, options).await
    }

    async fn from_session(
        session: ReadSession,
        key: i64,
        options: ConnectOptions<'_>,
    ) -> Result<Self, TargetError> {
        let asked = Monotonic::now();
        let now = session.server_time().await?;
        let now_read = asked + asked.elapsed() / 2;
        let position = if options.reads_position { session.replication_position().await? } else { None };
        let layout = Layout::detect(&session, options.layout, now).await?;
        Ok(Self { session, layout, fingerprint_key: key, now, now_read_at: now_read, position })
    }

    /// The columns of the end and of the creation that are not believed, and why.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn find_clock_doubts(&self, known: TableActivity) -> Result<TimeZoneDoubts, TargetError> {
        layout::find_clock_doubts(&self.session, &self.layout, self.now, known).await
    }

    /// What the verbs of the session refer to, under these thresholds.
    #[must_use]
    pub fn query_scope(&self, ignore_constraints: bool, thresholds: &CheckThresholds) -> QueryScope<'_> {
        let mapping = &self.layout.candidate.mapping;
        let default = || {
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
            notable_above: thresholds
                .user_session_excess
                .max
                .min(thresholds.rapid_creation.max_per_hour)
                .min(MIN_OUTLIER_SESSIONS),
            ignore_constraints,
        }
    }
}

/// A key that no two processes share, so that fingerprints mean nothing outside this one; within it, looks compare.
#[must_use]
pub fn fingerprint_key() -> i64 {
    static PROCESS_KEY: LazyLock<i64> = LazyLock::new(rand::random);
    *PROCESS_KEY
}
