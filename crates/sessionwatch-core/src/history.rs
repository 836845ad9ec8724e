//! History: what is kept from look to look, so that the next one sees what changed.
//!
//! A session is first seen at the look that finds it, which is somewhere between the look before and now: sessions that
//! were created over more than an hour count for the share of an hour. What had ended is remembered for a week, the
//! latest half million, so that a session that comes back is recognised.

mod format1;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

pub use self::stored::HistoryError;

use crate::{
    duration::{DAY, HOUR},
    instant::{Instant, as_micros},
    snapshot::{SessionSnapshot, SnapshotDiff, SnapshotEntries, UserTotal},
    stats::Histogram,
};

/// How long an ended session is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most ended sessions that are remembered.
const MOST_ENDED: usize = 500_000;

/// What is kept from look to look.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    /// What a fingerprint depends on, besides the token: other tables or another key begin a new history.
    shape: u64,
    snapshot: SnapshotEntries,
    past: RecentHistory,
}

/// What happened before the last look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecentHistory {
    /// The last look.
    #[serde(with = "as_micros")]
    at: Instant,
    /// The first one.
    #[serde(with = "as_micros")]
    since: Instant,
    arrivals: VecDeque<NewSessions>,
    /// The most sessions created in an hour, by the hour in which they were counted.
    peaks: BTreeMap<i64, f64>,
    /// Sorted by fingerprint.
    ended: Vec<EndedSession>,
}

/// A session that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct EndedSession {
    #[serde(with = "postcard::fixint::le")]
    fingerprint: u64,
    /// When it ended, in microseconds since 1970: there are half a million of these.
    at: i64,
}

/// Sessions first seen at one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NewSessions {
    #[serde(with = "as_micros")]
    at: Instant,
    /// Since the look before.
    #[serde(with = "crate::duration::as_micros")]
    span: SignedDuration,
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
    pub rebound: Vec<u64>,
    /// Fingerprints of tokens that had ended and are there again.
    pub revived: Vec<u64>,
    /// Sessions first seen in the last hour.
    pub created_last_hour: u64,
    /// Users that exist, by sessions first seen in the last hour, from one up.
    pub created_per_user: Histogram,
    /// Those users, most first, ties by id.
    pub creators: Vec<UserTotal>,
    /// The most sessions first seen in any hour of the last day; nothing before a day of looking.
    pub busiest_hour: Option<u64>,
    past: RecentHistory,
}

#[cfg(test)]
impl SessionChanges {
    /// Nothing happened.
    pub(crate) fn none() -> Self {
        Self {
            created: 0,
            extended: 0,
            ended: 0,
            rebound: Vec::new(),
            revived: Vec::new(),
            created_last_hour: 0,
            created_per_user: Histogram::new(),
            creators: Vec::new(),
            busiest_hour: None,
            past: RecentHistory {
                at: Instant::MIN,
                since: Instant::MIN,
                arrivals: VecDeque::new(),
                peaks: BTreeMap::new(),
                ended: Vec::new(),
            },
        }
    }
}

/// When a look takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The present instant.
    pub now: Instant,
    /// One that has certainly passed: what ended a week before it is forgotten.
    pub passed: Instant,
}

/// Whether two looks can be compared.
#[derive(Clone, Copy, Debug)]
pub enum Comparison<'a> {
    /// They cannot, for that reason.
    Impossible(&'static str),
    /// This is the first one.
    First,
    /// They can.
    Since(&'a SessionChanges),
}

impl History {
    /// Whether the look before saw a session.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        self.snapshot.entries.iter().any(|shelf| !shelf.is_empty())
    }

    /// The history after a look: `changes` is what [`History::changes`] said of it, nothing at a first one.
    #[must_use]
    pub fn after(shape: u64, ledger: SessionSnapshot, now: Instant, changes: Option<SessionChanges>) -> Self {
        let first = RecentHistory {
            at: now,
            since: now,
            arrivals: VecDeque::new(),
            peaks: BTreeMap::new(),
            ended: vec![],
        };
        Self { shape, snapshot: ledger.into_snapshot(), past: changes.map_or(first, |changes| changes.past) }
    }

    /// What happened between the last look and that ledger; nothing if they are of different shapes. With
    /// `elsewhere`, the two were read from different copies of the database, one of which may lag: what differs may only
    /// differ there, and nothing is said to have happened.
    #[must_use]
    pub fn changes(
        &self,
        ledger: &SessionSnapshot,
        shape: u64,
        moment: Moment,
        elsewhere: bool,
    ) -> Option<SessionChanges> {
        let now = moment.now;
        if shape != self.shape {
            return None;
        }
        let snapshot = ledger.snapshot();
        let difference =
            if elsewhere { SnapshotDiff::default() } else { snapshot.differs_from(&self.snapshot) };
        let mut past = self.past.clone();
        past.rebase(moment);
        let created: Vec<u64> = difference.created.iter().map(|(token, _)| *token).collect();
        let revived = past.revive(&created);
        past.end(&difference.ended, now);
        let ghosts = ledger.ghosts();
        let mut users = BTreeMap::new();
        for user in difference.created.iter().filter_map(|(_, user)| *user) {
            if ghosts.binary_search(&user).is_err() {
                *users.entry(snapshot.names.user(user).to_text()).or_default() += 1;
            }
        }
        past.arrive(NewSessions {
            at: now,
            span: now.duration_since(past.at),
            count: created.len() as u64,
            users,
        });
        past.at = now;
        let (created_last_hour, per_user) = past.last_hour();
        past.note_peak(moment, created_last_hour);
        let busiest = past.busiest_hour(now);
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
            rebound: difference.rebound,
            revived,
            created_last_hour: whole(created_last_hour),
            created_per_user,
            creators,
            busiest_hour: (now.duration_since(past.since) >= DAY).then(|| whole(busiest)),
            past,
        })
    }

    /// The last look.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.past.at
    }

    /// The history as bytes. It holds fingerprints and ids of users, and no token.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        stored::encode(self)
    }

    /// The history of those bytes, also of those that earlier versions wrote.
    ///
    /// # Errors
    ///
    /// If they are damaged, or of a format that is not known.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HistoryError> {
        stored::decode(bytes)
    }
}

/// The number of an hour since 1970.
fn hour_of(at: Instant) -> i64 {
    at.duration_since(Instant::UNIX_EPOCH).as_hours()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded down")]
fn whole(count: f64) -> u64 {
    count as u64
}

impl RecentHistory {
    /// Forgets what has passed its time. Where the clock was set back, what seems to lie ahead was just now.
    fn rebase(&mut self, Moment { now, passed }: Moment) {
        self.at = self.at.min(now);
        self.since = self.since.min(now);
        for arrivals in &mut self.arrivals {
            arrivals.at = arrivals.at.min(now);
        }
        self.peaks.retain(|hour, _| *hour <= hour_of(now));
        let oldest = (passed - REMEMBERED).micros();
        self.ended.retain(|ended| ended.at >= oldest);
    }

    /// Forgets that these had ended, and says which had. Both sides are sorted.
    fn revive(&mut self, created: &[u64]) -> Vec<u64> {
        let had_ended =
            |token: &u64| self.ended.binary_search_by_key(token, |ended| ended.fingerprint).is_ok();
        let revived: Vec<u64> = created.iter().copied().filter(had_ended).collect();
        if !revived.is_empty() {
            self.ended.retain(|ended| revived.binary_search(&ended.fingerprint).is_err());
        }
        revived
    }

    /// Remembers what ended.
    fn end(&mut self, ended: &[u64], now: Instant) {
        let at = now.micros();
        self.ended.extend(ended.iter().map(|fingerprint| EndedSession { fingerprint: *fingerprint, at }));
        if self.ended.len() > MOST_ENDED {
            self.ended.sort_unstable_by_key(|ended| std::cmp::Reverse(ended.at));
            self.ended.truncate(MOST_ENDED);
        }
        self.ended.sort_unstable();
        self.ended.dedup_by_key(|ended| ended.fingerprint);
    }

    fn arrive(&mut self, arrivals: NewSessions) {
        let now = arrivals.at;
        self.arrivals.retain(|earlier| now.duration_since(earlier.at) < HOUR);
        if arrivals.count > 0 {
            self.arrivals.push_back(arrivals);
        }
    }

    /// Sessions first seen in the last hour, and those of each user.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn last_hour(&self) -> (f64, BTreeMap<String, u64>) {
        let (mut count, mut users) = (0.0, BTreeMap::<&str, f64>::new());
        for arrivals in &self.arrivals {
            let share = HOUR.div_duration_f64(arrivals.span.max(HOUR));
            count += arrivals.count as f64 * share;
            for (user, created) in &arrivals.users {
                *users.entry(user).or_default() += *created as f64 * share;
            }
        }
        let counted = users.into_iter().map(|(user, created)| (user.to_owned(), whole(created)));
        (count, counted.filter(|(_, created)| *created > 0).collect())
    }

    fn note_peak(&mut self, Moment { now, passed }: Moment, count: f64) {
        let peak = self.peaks.entry(hour_of(now)).or_default();
        *peak = peak.max(count);
        self.peaks.retain(|earlier, _| hour_of(passed) - earlier < 24);
    }

    /// The most sessions created in an hour of the last day.
    fn busiest_hour(&self, now: Instant) -> f64 {
        let of_day = self.peaks.iter().filter(|(hour, _)| hour_of(now) - **hour < 24);
        of_day.fold(0.0, |most: f64, (_, peak)| most.max(*peak))
    }
}
