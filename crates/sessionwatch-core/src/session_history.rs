//! Session history: the state kept between check runs, from which the next run derives what changed.
//!
//! A session is first seen by the run that finds it, so it was created some time since the previous run. If that is
//! more than an hour ago, only the matching share counts toward an hour. Ended sessions are remembered for a week, at
//! most the latest half million, to detect those that reappear.

mod encoding;
mod format_v1;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

pub use self::encoding::HistoryError;

use crate::{
    duration::{DAY, HOUR},
    session_stats::Histogram,
    snapshot::{SessionSnapshot, SnapshotDiff, SnapshotEntries, UserTotal},
    timestamp::{UtcTimestamp, as_micros},
};

/// Retention of ended sessions.
const ENDED_RETENTION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Maximum number of ended sessions kept.
// Half a million entries take about 8 MB in the state store.
const MAX_ENDED_SESSIONS: usize = 500_000;

/// State kept between check runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionHistory {
    /// Hash of everything besides the token that a fingerprint depends on. Other tables or another key start a new
    /// history.
    layout_hash: u64,
    snapshot: SnapshotEntries,
    recent: RecentHistory,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecentHistory {
    #[serde(with = "as_micros")]
    last_run_at: UtcTimestamp,
    #[serde(with = "as_micros")]
    first_run_at: UtcTimestamp,
    new_sessions: VecDeque<NewSessions>,
    /// Peak number of sessions created per hour, by the hour of the run (hours since 1970).
    hourly_peaks: BTreeMap<i64, f64>,
    /// Sorted by fingerprint.
    ended: Vec<EndedSession>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct EndedSession {
    #[serde(with = "postcard::fixint::le")]
    fingerprint: u64,
    // A plain integer, because half a million of these are stored.
    ended_at_us: i64,
}

/// Sessions first seen in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NewSessions {
    #[serde(with = "as_micros")]
    seen_at: UtcTimestamp,
    /// Time since the previous run.
    #[serde(with = "crate::duration::as_micros")]
    interval: SignedDuration,
    count: u64,
    /// Number of sessions by existing user.
    users: BTreeMap<String, u64>,
}

/// Changes since the previous run.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionChanges {
    /// Number of new tokens, without those that sessionwatch restored.
    pub created: u64,
    /// Number of tokens whose expiry changed.
    pub extended: u64,
    /// Number of tokens that are gone.
    pub ended: u64,
    /// Fingerprints of tokens whose user changed.
    pub reassigned: Vec<u64>,
    /// Fingerprints of ended tokens that reappeared, without those that sessionwatch restored.
    pub reappeared: Vec<u64>,
    /// The tokens of `reappeared`, with the times at which they were found to have ended.
    ended_before: Vec<EndedSession>,
    /// Number of sessions first seen in the last hour.
    pub created_last_hour: u64,
    /// Existing users by number of sessions first seen in the last hour; users without one are left out.
    pub created_per_user: Histogram,
    /// The users of `created_per_user`, those with the most sessions first, ties by id.
    pub top_creators: Vec<UserTotal>,
    /// Most sessions first seen in any hour of the last day; `None` within the first day of history.
    pub busiest_hour: Option<u64>,
    recent: RecentHistory,
}

impl SessionChanges {
    /// Removes the sessions that sessionwatch itself restored after they had ended: they neither reappeared nor are
    /// new. `last_restored_at` returns the time of the latest restore of a token, by its fingerprint.
    pub fn exclude_restored(&mut self, last_restored_at: impl Fn(u64) -> Option<UtcTimestamp>) {
        // A session that was restored, ended again and is back now did reappear.
        let is_restored = |session: &EndedSession| {
            last_restored_at(session.fingerprint).is_some_and(|at| at.micros() >= session.ended_at_us)
        };
        let (restored, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ended_before).into_iter().partition(is_restored);
        self.created = self.created.saturating_sub(restored.len() as u64);
        self.reappeared = others.iter().map(|session| session.fingerprint).collect();
        self.ended_before = others;
    }
}

#[cfg(test)]
impl SessionChanges {
    /// Returns changes without any session.
    pub(crate) fn empty() -> Self {
        Self {
            created: 0,
            extended: 0,
            ended: 0,
            reassigned: Vec::new(),
            reappeared: Vec::new(),
            ended_before: Vec::new(),
            created_last_hour: 0,
            created_per_user: Histogram::new(),
            top_creators: Vec::new(),
            busiest_hour: None,
            recent: RecentHistory {
                last_run_at: UtcTimestamp::MIN,
                first_run_at: UtcTimestamp::MIN,
                new_sessions: VecDeque::new(),
                hourly_peaks: BTreeMap::new(),
                ended: Vec::new(),
            },
        }
    }
}

/// Timestamps of a check run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTimestamps {
    /// Wall time of the run.
    pub now: UtcTimestamp,
    /// Time that has certainly passed. Sessions that ended more than a week before it are forgotten.
    pub confirmed: UtcTimestamp,
}

/// Comparison of a check run with the previous one.
#[derive(Clone, Copy, Debug)]
pub enum Comparison<'a> {
    /// Not possible, for this reason.
    Impossible(&'static str),
    /// Not possible, because this is the first run.
    FirstRun,
    /// The changes since the previous run.
    Since(&'a SessionChanges),
}

impl SessionHistory {
    /// Returns `true` if the previous run found a session, or one ended in the last week.
    #[must_use]
    pub fn had_sessions(&self) -> bool {
        !self.recent.ended.is_empty() || self.snapshot.buckets.iter().any(|bucket| !bucket.is_empty())
    }

    /// Creates the history after a run. `changes` is the result of [`SessionHistory::compare_snapshot`], `None` for a
    /// first run.
    #[must_use]
    pub fn from_run(
        layout_hash: u64,
        session_snapshot: SessionSnapshot,
        now: UtcTimestamp,
        changes: Option<SessionChanges>,
    ) -> Self {
        let first = RecentHistory {
            last_run_at: now,
            first_run_at: now,
            new_sessions: VecDeque::new(),
            hourly_peaks: BTreeMap::new(),
            ended: vec![],
        };
        Self {
            layout_hash,
            snapshot: session_snapshot.into_entries(),
            recent: changes.map_or(first, |changes| changes.recent),
        }
    }

    /// Compares a snapshot with the previous run. Returns `None` if their layouts differ.
    ///
    /// `is_other_copy` says that the two were read from different copies of the database. One of them may lag, so no
    /// difference is reported.
    #[must_use]
    pub fn compare_snapshot(
        &self,
        session_snapshot: &SessionSnapshot,
        layout_hash: u64,
        timestamps: RunTimestamps,
        is_other_copy: bool,
    ) -> Option<SessionChanges> {
        let now = timestamps.now;
        if layout_hash != self.layout_hash {
            return None;
        }
        let snapshot = session_snapshot.entries();
        let difference =
            if is_other_copy { SnapshotDiff::default() } else { snapshot.diff_from(&self.snapshot) };
        let mut recent = self.recent.clone();
        recent.clamp_and_prune(timestamps);
        let created: Vec<u64> = difference.created.iter().map(|(token, _)| *token).collect();
        let ended_before = recent.take_reappeared(&created);
        recent.record_ended(&difference.ended, now);
        let missing = session_snapshot.missing_users();
        let mut users = BTreeMap::new();
        for user in difference.created.iter().filter_map(|(_, user)| *user) {
            // Users whose sessions are orphans do not exist, so they are not reported as creators.
            if missing.binary_search(&user).is_err() {
                *users.entry(snapshot.user_ids.user_id(user).to_text()).or_default() += 1;
            }
        }
        recent.record_new(NewSessions {
            seen_at: now,
            interval: now.duration_since(recent.last_run_at),
            count: created.len() as u64,
            users,
        });
        recent.last_run_at = now;
        let (created_last_hour, per_user) = recent.new_in_last_hour();
        recent.record_peak(timestamps, created_last_hour);
        let busiest = recent.peak_of_last_day(now);
        let mut top_creators: Vec<UserTotal> =
            per_user.into_iter().map(|(user, sessions)| UserTotal { user, sessions }).collect();
        top_creators
            .sort_by(|one, other| other.sessions.cmp(&one.sessions).then_with(|| one.user.cmp(&other.user)));
        let mut created_per_user = Histogram::new();
        for holder in &top_creators {
            *created_per_user.entry(holder.sessions).or_default() += 1;
        }
        Some(SessionChanges {
            created: created.len() as u64,
            extended: difference.extended,
            ended: difference.ended.len() as u64,
            reassigned: difference.reassigned,
            reappeared: ended_before.iter().map(|session| session.fingerprint).collect(),
            ended_before,
            created_last_hour: round_down(created_last_hour),
            created_per_user,
            top_creators,
            busiest_hour: (now.duration_since(recent.first_run_at) >= DAY).then(|| round_down(busiest)),
            recent,
        })
    }

    /// Returns the time of the last run.
    #[must_use]
    pub fn last_run_at(&self) -> UtcTimestamp {
        self.recent.last_run_at
    }

    /// Encodes the history. It holds fingerprints and user ids, but no token.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encoding::encode_history(self)
    }

    /// Decodes a stored history, including those written by earlier versions.
    ///
    /// # Errors
    ///
    /// If the bytes are damaged, malformed or of an unsupported format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HistoryError> {
        encoding::decode_history(bytes)
    }
}

fn hours_since_epoch(at: UtcTimestamp) -> i64 {
    at.duration_since(UtcTimestamp::UNIX_EPOCH).as_hours()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded down")]
fn round_down(count: f64) -> u64 {
    count as u64
}

impl RecentHistory {
    /// Prunes expired entries, and moves times in the future to `now`.
    fn clamp_and_prune(&mut self, RunTimestamps { now, confirmed }: RunTimestamps) {
        // Times in the future mean that the clock was set back.
        self.last_run_at = self.last_run_at.min(now);
        self.first_run_at = self.first_run_at.min(now);
        for arrivals in &mut self.new_sessions {
            arrivals.seen_at = arrivals.seen_at.min(now);
        }
        self.hourly_peaks.retain(|hour, _| *hour <= hours_since_epoch(now));
        // Retention follows the confirmed time: a clock that is ahead for a while must not delete anything.
        let oldest = (confirmed - ENDED_RETENTION).micros();
        self.ended.retain(|ended| ended.ended_at_us >= oldest);
    }

    /// Removes and returns the created sessions that had ended. Both lists are sorted.
    fn take_reappeared(&mut self, created: &[u64]) -> Vec<EndedSession> {
        let find = |token: &u64| self.ended.binary_search_by_key(token, |ended| ended.fingerprint).ok();
        let reappeared: Vec<EndedSession> =
            created.iter().filter_map(find).filter_map(|at| self.ended.get(at).copied()).collect();
        if !reappeared.is_empty() {
            let is_back = |ended: &EndedSession| {
                reappeared.binary_search_by_key(&ended.fingerprint, |back| back.fingerprint).is_ok()
            };
            self.ended.retain(|ended| !is_back(ended));
        }
        reappeared
    }

    fn record_ended(&mut self, ended: &[u64], now: UtcTimestamp) {
        let at = now.micros();
        self.ended.extend(
            ended.iter().map(|fingerprint| EndedSession { fingerprint: *fingerprint, ended_at_us: at }),
        );
        if self.ended.len() > MAX_ENDED_SESSIONS {
            self.ended.sort_unstable_by_key(|ended| std::cmp::Reverse(ended.ended_at_us));
            self.ended.truncate(MAX_ENDED_SESSIONS);
        }
        self.ended.sort_unstable();
        self.ended.dedup_by_key(|ended| ended.fingerprint);
    }

    fn record_new(&mut self, arrivals: NewSessions) {
        let now = arrivals.seen_at;
        self.new_sessions.retain(|earlier| now.duration_since(earlier.seen_at) < HOUR);
        if arrivals.count > 0 {
            self.new_sessions.push_back(arrivals);
        }
    }

    /// Returns the number of sessions first seen in the last hour, in total and by user.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn new_in_last_hour(&self) -> (f64, BTreeMap<String, u64>) {
        let (mut count, mut users) = (0.0, BTreeMap::<&str, f64>::new());
        for arrivals in &self.new_sessions {
            // After a longer interval the sessions are assumed to be spread evenly over it.
            let interval = arrivals.interval.max(HOUR).as_micros() as f64;
            // Multiplied first: 49 sessions in 49 hours are one an hour, but 49 * (1 / 49) is less than 1.
            let in_hour = |created: u64| created as f64 * HOUR.as_micros() as f64 / interval;
            count += in_hour(arrivals.count);
            for (user, created) in &arrivals.users {
                *users.entry(user).or_default() += in_hour(*created);
            }
        }
        let counted = users.into_iter().map(|(user, created)| (user.to_owned(), round_down(created)));
        (count, counted.filter(|(_, created)| *created > 0).collect())
    }

    fn record_peak(&mut self, RunTimestamps { now, confirmed }: RunTimestamps, count: f64) {
        let peak = self.hourly_peaks.entry(hours_since_epoch(now)).or_default();
        *peak = peak.max(count);
        self.hourly_peaks.retain(|earlier, _| hours_since_epoch(confirmed) - earlier < 24);
    }

    fn peak_of_last_day(&self, now: UtcTimestamp) -> f64 {
        let of_day = self.hourly_peaks.iter().filter(|(hour, _)| hours_since_epoch(now) - **hour < 24);
        of_day.fold(0.0, |most: f64, (_, peak)| most.max(*peak))
    }
}
