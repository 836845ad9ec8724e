//! History: what is kept from look to look, so that the next one sees what changed.
//!
//! A session is first seen at the look that finds it, which is somewhere between the look before and now: sessions that
//! were created over more than an hour count for the share of an hour. What had ended is remembered for a week, the
//! latest half million, so that a session that comes back is recognised.

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
    snapshot::{SessionSnapshot, SnapshotDiff, SnapshotEntries, UserTotal},
    stats::Histogram,
    timestamp::{UtcTimestamp, as_micros},
};

/// How long an ended session is remembered.
const ENDED_RETENTION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most ended sessions that are remembered.
const MAX_ENDED_SESSIONS: usize = 500_000;

/// What is kept from look to look.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionHistory {
    /// What a fingerprint depends on, besides the token: other tables or another key begin a new history.
    layout_hash: u64,
    snapshot: SnapshotEntries,
    recent: RecentHistory,
}

/// What happened before the last look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecentHistory {
    /// The last look.
    #[serde(with = "as_micros")]
    last_run_at: UtcTimestamp,
    /// The first one.
    #[serde(with = "as_micros")]
    first_run_at: UtcTimestamp,
    new_sessions: VecDeque<NewSessions>,
    /// The most sessions created in an hour, by the hour in which they were counted.
    hourly_peaks: BTreeMap<i64, f64>,
    /// Sorted by fingerprint.
    ended: Vec<EndedSession>,
}

/// A session that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct EndedSession {
    #[serde(with = "postcard::fixint::le")]
    fingerprint: u64,
    /// When it ended, in microseconds since 1970: there are half a million of these.
    ended_at_us: i64,
}

/// Sessions first seen at one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NewSessions {
    #[serde(with = "as_micros")]
    seen_at: UtcTimestamp,
    /// Since the look before.
    #[serde(with = "crate::duration::as_micros")]
    interval: SignedDuration,
    count: u64,
    /// How many of each user that exists.
    users: BTreeMap<String, u64>,
}

/// What happened since the last look.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionChanges {
    /// Tokens that were not there before.
    pub created: u64,
    /// Tokens whose expiry moved.
    pub extended: u64,
    /// Tokens that are gone.
    pub ended: u64,
    /// Fingerprints of tokens whose user changed.
    pub reassigned: Vec<u64>,
    /// Fingerprints of tokens that had ended and are there again.
    pub reappeared: Vec<u64>,
    /// Sessions first seen in the last hour.
    pub created_last_hour: u64,
    /// Users that exist, by sessions first seen in the last hour, from one up.
    pub created_per_user: Histogram,
    /// Those users, most first, ties by id.
    pub top_creators: Vec<UserTotal>,
    /// The most sessions first seen in any hour of the last day; nothing before a day of looking.
    pub busiest_hour: Option<u64>,
    recent: RecentHistory,
}

#[cfg(test)]
impl SessionChanges {
    /// Nothing happened.
    pub(crate) fn empty() -> Self {
        Self {
            created: 0,
            extended: 0,
            ended: 0,
            reassigned: Vec::new(),
            reappeared: Vec::new(),
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

/// When a look takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTimestamps {
    /// The present instant.
    pub now: UtcTimestamp,
    /// One that has certainly passed: what ended a week before it is forgotten.
    pub confirmed: UtcTimestamp,
}

/// Whether two looks can be compared.
#[derive(Clone, Copy, Debug)]
pub enum Comparison<'a> {
    /// They cannot, for that reason.
    Impossible(&'static str),
    /// This is the first one.
    FirstRun,
    /// They can.
    Since(&'a SessionChanges),
}

impl SessionHistory {
    /// Whether the look before saw a session.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        self.snapshot.buckets.iter().any(|shelf| !shelf.is_empty())
    }

    /// The history after a look: `changes` is what [`SessionHistory::compare_snapshot`] said of it, nothing at a first one.
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

    /// What happened between the last look and that ledger; nothing if they are of different shapes. With
    /// `elsewhere`, the two were read from different copies of the database, one of which may lag: what differs may only
    /// differ there, and nothing is said to have happened.
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
        let mut past = self.recent.clone();
        past.clamp_and_prune(timestamps);
        let created: Vec<u64> = difference.created.iter().map(|(token, _)| *token).collect();
        let revived = past.take_reappeared(&created);
        past.record_ended(&difference.ended, now);
        let ghosts = session_snapshot.missing_users();
        let mut users = BTreeMap::new();
        for user in difference.created.iter().filter_map(|(_, user)| *user) {
            if ghosts.binary_search(&user).is_err() {
                *users.entry(snapshot.user_ids.user_id(user).to_text()).or_default() += 1;
            }
        }
        past.record_new(NewSessions {
            seen_at: now,
            interval: now.duration_since(past.last_run_at),
            count: created.len() as u64,
            users,
        });
        past.last_run_at = now;
        let (created_last_hour, per_user) = past.new_in_last_hour();
        past.record_peak(timestamps, created_last_hour);
        let busiest = past.peak_of_last_day(now);
        let mut creators: Vec<UserTotal> =
            per_user.into_iter().map(|(user, sessions)| UserTotal { user, sessions }).collect();
        creators
            .sort_by(|one, other| other.sessions.cmp(&one.sessions).then_with(|| one.user.cmp(&other.user)));
        let mut created_per_user = Histogram::new();
        for holder in &creators {
            *created_per_user.entry(holder.sessions).or_default() += 1;
        }
        Some(SessionChanges {
            created: created.len() as u64,
            extended: difference.extended,
            ended: difference.ended.len() as u64,
            reassigned: difference.reassigned,
            reappeared: revived,
            created_last_hour: round_down(created_last_hour),
            created_per_user,
            top_creators: creators,
            busiest_hour: (now.duration_since(past.first_run_at) >= DAY).then(|| round_down(busiest)),
            recent: past,
        })
    }

    /// The last look.
    #[must_use]
    pub fn last_run_at(&self) -> UtcTimestamp {
        self.recent.last_run_at
    }

    /// The history as bytes. It holds fingerprints and ids of users, and no token.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encoding::encode_history(self)
    }

    /// The history of those bytes, also of those that earlier versions wrote.
    ///
    /// # Errors
    ///
    /// If they are damaged, or of a format that is not known.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HistoryError> {
        encoding::decode_history(bytes)
    }
}

/// The number of an hour since 1970.
fn hours_since_epoch(at: UtcTimestamp) -> i64 {
    at.duration_since(UtcTimestamp::UNIX_EPOCH).as_hours()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded down")]
fn round_down(count: f64) -> u64 {
    count as u64
}

impl RecentHistory {
    /// Forgets what has passed its time. Where the clock was set back, what seems to lie ahead was just now.
    fn clamp_and_prune(&mut self, RunTimestamps { now, confirmed: passed }: RunTimestamps) {
        self.last_run_at = self.last_run_at.min(now);
        self.first_run_at = self.first_run_at.min(now);
        for arrivals in &mut self.new_sessions {
            arrivals.seen_at = arrivals.seen_at.min(now);
        }
        self.hourly_peaks.retain(|hour, _| *hour <= hours_since_epoch(now));
        let oldest = (passed - ENDED_RETENTION).micros();
        self.ended.retain(|ended| ended.ended_at_us >= oldest);
    }

    /// Forgets that these had ended, and says which had. Both sides are sorted.
    fn take_reappeared(&mut self, created: &[u64]) -> Vec<u64> {
        let had_ended =
            |token: &u64| self.ended.binary_search_by_key(token, |ended| ended.fingerprint).is_ok();
        let revived: Vec<u64> = created.iter().copied().filter(had_ended).collect();
        if !revived.is_empty() {
            self.ended.retain(|ended| revived.binary_search(&ended.fingerprint).is_err());
        }
        revived
    }

    /// Remembers what ended.
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

    /// Sessions first seen in the last hour, and those of each user.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn new_in_last_hour(&self) -> (f64, BTreeMap<String, u64>) {
        let (mut count, mut users) = (0.0, BTreeMap::<&str, f64>::new());
        for arrivals in &self.new_sessions {
            let share = HOUR.div_duration_f64(arrivals.interval.max(HOUR));
            count += arrivals.count as f64 * share;
            for (user, created) in &arrivals.users {
                *users.entry(user).or_default() += *created as f64 * share;
            }
        }
        let counted = users.into_iter().map(|(user, created)| (user.to_owned(), round_down(created)));
        (count, counted.filter(|(_, created)| *created > 0).collect())
    }

    fn record_peak(&mut self, RunTimestamps { now, confirmed: passed }: RunTimestamps, count: f64) {
        let peak = self.hourly_peaks.entry(hours_since_epoch(now)).or_default();
        *peak = peak.max(count);
        self.hourly_peaks.retain(|earlier, _| hours_since_epoch(passed) - earlier < 24);
    }

    /// The most sessions created in an hour of the last day.
    fn peak_of_last_day(&self, now: UtcTimestamp) -> f64 {
        let of_day = self.hourly_peaks.iter().filter(|(hour, _)| hours_since_epoch(now) - **hour < 24);
        of_day.fold(0.0, |most: f64, (_, peak)| most.max(*peak))
    }
}
