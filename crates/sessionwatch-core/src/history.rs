//! History: what is kept from look to look, so that the next one sees what changed.
//!
//! A session is first seen at the look that finds it, which is somewhere between the look before and now: sessions that
//! were created over more than an hour count for the share of an hour. What had ended is remembered for a week, the
//! latest half million, so that a session that comes back is recognised.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    bytes::{Reader, Writer},
    instant::{DAY, HOUR, Instant},
    snapshot::{SessionSnapshot, SnapshotDiff, SnapshotEntries, UserTotal},
    stats::Histogram,
};

/// How long an ended session is remembered.
const REMEMBERED: i64 = 7 * DAY;
/// The most ended sessions that are remembered.
const MOST_ENDED: usize = 500_000;

/// What is kept from look to look.
#[derive(Debug)]
pub struct History {
    /// What a fingerprint depends on, besides the token: other tables or another key begin a new history.
    shape: u64,
    snapshot: SnapshotEntries,
    past: RecentHistory,
}

/// What happened before the last look.
#[derive(Clone, Debug, PartialEq)]
struct RecentHistory {
    /// The last look.
    at: Instant,
    /// The first one.
    since: Instant,
    arrivals: VecDeque<NewSessions>,
    /// The most sessions created in an hour, by the hour in which they were counted.
    peaks: BTreeMap<i64, f64>,
    /// Sorted by fingerprint, and when they ended.
    ended: Vec<(u64, i64)>,
}

/// Sessions first seen at one look.
#[derive(Clone, Debug, PartialEq)]
struct NewSessions {
    at: Instant,
    /// Microseconds since the look before.
    span: i64,
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
        past.arrive(NewSessions { at: now, span: now.since(past.at), count: created.len() as u64, users });
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
            busiest_hour: (now.since(past.since) >= DAY).then(|| whole(busiest)),
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
        let mut writer = Writer::default();
        writer.number(FORMAT);
        writer.number(self.shape);
        self.snapshot.write(&mut writer);
        self.past.write(&mut writer);
        writer.finish()
    }

    /// The history of those bytes; nothing if they are damaged, or of another version of the format.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::check(bytes)?;
        if reader.number()? != FORMAT {
            return None;
        }
        let shape = reader.number()?;
        Some(Self {
            shape,
            snapshot: SnapshotEntries::read(&mut reader)?,
            past: RecentHistory::read(&mut reader)?,
        })
    }
}

/// `HISTORY1` in ASCII.
const FORMAT: u64 = u64::from_be_bytes(*b"HISTORY1");

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
        self.peaks.retain(|hour, _| *hour <= now.micros() / HOUR);
        let oldest = passed.plus(-REMEMBERED).micros();
        self.ended.retain(|(_, at)| *at >= oldest);
    }

    /// Forgets that these had ended, and says which had. Both sides are sorted.
    fn revive(&mut self, created: &[u64]) -> Vec<u64> {
        let had_ended = |token: &u64| self.ended.binary_search_by_key(token, |(ended, _)| *ended).is_ok();
        let revived: Vec<u64> = created.iter().copied().filter(had_ended).collect();
        if !revived.is_empty() {
            self.ended.retain(|(ended, _)| revived.binary_search(ended).is_err());
        }
        revived
    }

    /// Remembers what ended.
    fn end(&mut self, ended: &[u64], now: Instant) {
        self.ended.extend(ended.iter().map(|token| (*token, now.micros())));
        if self.ended.len() > MOST_ENDED {
            self.ended.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(*at));
            self.ended.truncate(MOST_ENDED);
        }
        self.ended.sort_unstable();
        self.ended.dedup_by_key(|(token, _)| *token);
    }

    fn arrive(&mut self, arrivals: NewSessions) {
        let now = arrivals.at;
        self.arrivals.retain(|earlier| now.since(earlier.at) < HOUR);
        if arrivals.count > 0 {
            self.arrivals.push_back(arrivals);
        }
    }

    /// Sessions first seen in the last hour, and those of each user.
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn last_hour(&self) -> (f64, BTreeMap<String, u64>) {
        let (mut count, mut users) = (0.0, BTreeMap::<&str, f64>::new());
        for arrivals in &self.arrivals {
            let share = HOUR as f64 / arrivals.span.max(HOUR) as f64;
            count += arrivals.count as f64 * share;
            for (user, created) in &arrivals.users {
                *users.entry(user).or_default() += *created as f64 * share;
            }
        }
        let counted = users.into_iter().map(|(user, created)| (user.to_owned(), whole(created)));
        (count, counted.filter(|(_, created)| *created > 0).collect())
    }

    fn note_peak(&mut self, Moment { now, passed }: Moment, count: f64) {
        let peak = self.peaks.entry(now.micros() / HOUR).or_default();
        *peak = peak.max(count);
        self.peaks.retain(|earlier, _| passed.micros() / HOUR - earlier < 24);
    }

    /// The most sessions created in an hour of the last day.
    fn busiest_hour(&self, now: Instant) -> f64 {
        let of_day = self.peaks.iter().filter(|(hour, _)| now.micros() / HOUR - **hour < 24);
        of_day.fold(0.0, |most: f64, (_, peak)| most.max(*peak))
    }

    fn write(&self, writer: &mut Writer) {
        writer.signed(self.at.micros());
        writer.signed(self.since.micros());
        writer.list(self.arrivals.iter(), |writer, arrivals| {
            writer.signed(arrivals.at.micros());
            writer.signed(arrivals.span);
            writer.number(arrivals.count);
            writer.list(arrivals.users.iter(), |writer, (user, created)| {
                writer.text(user.as_bytes());
                writer.number(*created);
            });
        });
        writer.list(self.peaks.iter(), |writer, (hour, peak)| {
            writer.signed(*hour);
            writer.number(peak.to_bits());
        });
        writer.list(self.ended.iter(), |writer, (token, at)| {
            writer.number(*token);
            writer.signed(*at);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let at = Instant::from_micros(reader.signed()?)?;
        let since = Instant::from_micros(reader.signed()?)?;
        let arrivals = reader.list(|reader| {
            let (at, span) = (Instant::from_micros(reader.signed()?)?, reader.signed()?);
            let count = reader.number()?;
            let user = |reader: &mut Reader<'_>| {
                let user = String::from_utf8(reader.text()?.to_vec()).ok()?;
                Some((user, reader.number()?))
            };
            let users = reader.list(user)?.into_iter().collect();
            Some(NewSessions { at, span, count, users })
        })?;
        let peaks = reader.list(|reader| Some((reader.signed()?, f64::from_bits(reader.number()?))))?;
        let ended = reader.list(|reader| Some((reader.number()?, reader.signed()?)))?;
        let (arrivals, peaks) = (arrivals.into(), peaks.into_iter().collect());
        Some(Self { at, since, arrivals, peaks, ended })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        decoder::Decoded,
        instant::SECOND,
        snapshot::{SessionRow, SnapshotBuilder, SnapshotOptions, User},
    };

    const MINUTE: i64 = 60 * SECOND;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(1_000 * DAY + micros).unwrap()
    }

    fn moment(micros: i64) -> Moment {
        Moment { now: at(micros), passed: at(micros) }
    }

    fn ledger(rows: &[(u64, &str)]) -> SessionSnapshot {
        let mut intake = SnapshotBuilder::new(
            SnapshotOptions { now: at(0), max_lifetime_us: None, has_created: false },
            0,
        );
        for (fingerprint, user) in rows {
            intake.insert(SessionRow {
                fingerprint: Some(*fingerprint),
                user: Some(User::Text(user.as_bytes())),
                expiry: Decoded::Never,
                created: Decoded::Never,
                orphan: *user == "ghost",
                address: None,
            });
        }
        intake.finish()
    }

    /// What each look but the first one says.
    fn watch(looks: &[(i64, &[(u64, &str)])]) -> Vec<SessionChanges> {
        let mut history: Option<History> = None;
        let mut said = vec![];
        for (when, rows) in looks {
            let ledger = ledger(rows);
            let changes =
                history.as_ref().map(|history| history.changes(&ledger, 1, moment(*when), false).unwrap());
            said.extend(changes.clone());
            let next = History::after(1, ledger, at(*when), changes);
            // Over a restart each time.
            history = History::from_bytes(&next.to_bytes());
        }
        said
    }

    #[test]
    fn sessions_are_counted_by_the_hour_in_which_they_were_first_seen() {
        let said = watch(&[
            (0, &[(1, "a")]),
            (MINUTE, &[(1, "a"), (2, "a"), (3, "b"), (4, "ghost")]),
            (2 * MINUTE, &[(1, "a"), (2, "a"), (3, "b"), (5, "a")]),
            (HOUR + MINUTE, &[(1, "a")]),
            (HOUR + 2 * MINUTE, &[(1, "a")]),
        ]);
        let counts: Vec<u64> = said.iter().map(|changes| changes.created_last_hour).collect();
        assert_eq!(counts, [3, 4, 1, 0]);
        assert_eq!(said[1].created_per_user, Histogram::from([(1, 1), (2, 1)]));
        assert_eq!(said[1].creators[0], UserTotal { user: "a".into(), sessions: 2 });
        assert_eq!((said[1].created, said[1].ended, said[0].busiest_hour), (1, 1, None));
    }

    #[test]
    fn what_was_created_in_a_day_was_not_created_in_an_hour() {
        let many: Vec<(u64, &str)> = (0..48).map(|token| (token, "a")).collect();
        let said = watch(&[(0, &[]), (DAY, &many), (DAY + MINUTE, &many)]);
        assert_eq!((said[0].created, said[0].created_last_hour), (48, 2));
        assert_eq!(said[0].created_per_user, Histogram::from([(2, 1)]));
        assert_eq!(said[1].busiest_hour, Some(2));
    }

    #[test]
    fn a_session_that_comes_back_is_recognised_once_and_for_a_week() {
        let said = watch(&[
            (0, &[(1, "a"), (2, "a")]),
            (MINUTE, &[]),
            (6 * DAY, &[(1, "a")]),
            (6 * DAY + MINUTE, &[(1, "a")]),
            (9 * DAY, &[(1, "a"), (2, "a")]),
        ]);
        let revived: Vec<&[u64]> = said.iter().map(|changes| changes.revived.as_slice()).collect();
        assert_eq!(revived, [&[] as &[u64], &[1], &[], &[]]);
    }

    #[test]
    fn a_clock_that_is_far_ahead_for_a_while_forgets_nothing() {
        let after = |history: Option<History>, rows: &[(u64, &str)], moment: Moment| {
            let ledger = ledger(rows);
            let changes = history.as_ref().map(|history| history.changes(&ledger, 1, moment, false).unwrap());
            (Some(History::after(1, ledger, moment.now, changes.clone())), changes)
        };
        let (history, _) = after(None, &[(1, "a"), (2, "a")], moment(0));
        let mut history = history;
        for hour in 1..=30 {
            let rows: Vec<(u64, &str)> =
                if hour < 30 { vec![(1, "a"), (2, "a"), (3, "b")] } else { vec![(1, "a")] };
            history = after(history, &rows, moment(hour * HOUR)).0;
        }
        let ahead = Moment { now: at(500 * DAY), passed: at(30 * HOUR + MINUTE) };
        let (history, _) = after(history, &[(1, "a")], ahead);
        let (_, changes) = after(history, &[(1, "a"), (2, "a")], moment(30 * HOUR + 2 * MINUTE));
        assert_eq!(changes.unwrap().revived, [2], "that it had ended is still known");
    }

    #[test]
    fn another_shape_begins_anew_and_a_lagging_copy_changes_nothing() {
        let history = History::after(1, ledger(&[(1, "a"), (2, "a")]), at(0), None);
        let less = ledger(&[(2, "b")]);
        assert_eq!(history.changes(&less, 2, moment(1), false), None);
        let elsewhere = history.changes(&less, 1, moment(MINUTE), true).unwrap();
        assert_eq!((elsewhere.ended, elsewhere.rebound.len()), (0, 0));
        let history = History::after(1, less, at(MINUTE), Some(elsewhere));
        let back = history.changes(&ledger(&[(1, "a"), (2, "b")]), 1, moment(2 * MINUTE), false).unwrap();
        assert_eq!((back.created, back.revived), (1, vec![]));
    }

    #[test]
    fn a_clock_that_jumps_changes_rates_and_nothing_else() {
        let said =
            watch(&[(5 * HOUR, &[(1, "a")]), (0, &[(1, "a"), (2, "a")]), (9 * HOUR, &[(2, "a"), (3, "a")])]);
        assert_eq!((said[0].created_last_hour, said[1].created), (1, 1));
        assert_eq!(said[1].created_last_hour, 0, "one in nine hours");
    }

    proptest! {
        /// Damaged bytes are refused, and never a panic.
        #[test]
        fn damaged_bytes_are_no_history(cut in 0usize..400, flip in 0usize..400) {
            let bytes = History::after(1, ledger(&[(1, "a"), (2, "b")]), at(0), None).to_bytes();
            prop_assert!(History::from_bytes(&bytes[..cut.min(bytes.len() - 1)]).is_none());
            let mut flipped = bytes.clone();
            let at = flip % flipped.len();
            flipped[at] ^= 0x55;
            prop_assert!(History::from_bytes(&flipped).is_none());
        }
    }
}
