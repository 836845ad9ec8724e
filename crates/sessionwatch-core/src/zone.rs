//! Time zones: what a wall clock without a zone means where an application wrote its local time.
//!
//! Zones come from the IANA database that is built into the program, so the machine it runs on changes nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::instant::{Instant, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND};

/// How decoders that name a zone begin.
pub const LOCAL: &str = "timestamp-local:";
/// The farthest that the clock of any place is from UTC, in microseconds.
pub const MAX_OFFSET: i64 = 14 * MICROS_PER_HOUR;
/// Wall clocks outside of these are read as UTC: they are near the first and last instants there are.
const FIRST_WALL: i64 = Instant::MIN.micros() + 2 * MICROS_PER_DAY;
const LAST_WALL: i64 = Instant::MAX.micros() - 3 * MICROS_PER_DAY + 1;

/// Zones that many people live in, to name one for an offset.
const WELL_KNOWN: [&str; 32] = [
    "America/New_York",
    "America/Los_Angeles",
    "America/Chicago",
    "America/Denver",
    "America/Sao_Paulo",
    "America/Halifax",
    "America/Anchorage",
    "America/St_Johns",
    "Pacific/Honolulu",
    "Pacific/Pago_Pago",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Helsinki",
    "Europe/Moscow",
    "Africa/Lagos",
    "Africa/Johannesburg",
    "Asia/Dubai",
    "Asia/Tehran",
    "Asia/Kabul",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Dhaka",
    "Asia/Yangon",
    "Asia/Jakarta",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Adelaide",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Tongatapu",
    "Pacific/Kiritimati",
];

/// A time zone of the IANA database. There are some hundreds of them, and each is read once.
#[derive(Clone, Copy)]
pub struct Zone {
    decoder: &'static str,
    zone: &'static TimeZone,
}

/// From a wall clock on, a zone is ahead of UTC by that much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The wall clock, in microseconds as if it were UTC.
    pub from_wall: i64,
    /// How far ahead of UTC, in microseconds.
    pub offset: i64,
}

impl Zone {
    /// The zone of that name, such as `America/New_York`; `None` if the database has none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        static ZONES: OnceLock<Mutex<BTreeMap<String, Zone>>> = OnceLock::new();
        // Longer names are not kept, so that nothing a person writes can fill the memory.
        if name.len() > 64 {
            return None;
        }
        let zones = ZONES.get_or_init(Mutex::default);
        let mut zones = zones.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = zones.get(name) {
            return Some(*known);
        }
        let zone = Self::load(name)?;
        zones.insert(name.to_owned(), zone);
        Some(zone)
    }

    fn load(name: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        let decoder = format!("{LOCAL}{}", zone.iana_name()?);
        Some(Self { decoder: decoder.leak(), zone: Box::leak(Box::new(zone)) })
    }

    /// Its name in the IANA database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.decoder.strip_prefix(LOCAL).unwrap_or(self.decoder)
    }

    /// The name of the decoder that reads its wall clock.
    #[must_use]
    pub const fn decoder(self) -> &'static str {
        self.decoder
    }

    /// The instant, in microseconds, at which its clocks show a wall clock, given in microseconds as if it were UTC. Of
    /// two such instants it is the later one, and where clocks skip the wall clock, they are taken to go on as before:
    /// as PostgreSQL has it, and so that no session is thought to have ended early.
    #[must_use]
    pub fn instant_of(self, wall: i64) -> i64 {
        if !(FIRST_WALL..LAST_WALL).contains(&wall) {
            return wall;
        }
        let civil = Timestamp::from_microsecond(wall).map(|at| TimeZone::UTC.to_datetime(at));
        let at = civil.and_then(|civil| self.zone.to_ambiguous_timestamp(civil).later());
        at.map_or(wall, Timestamp::as_microsecond)
    }

    /// How far its clocks are ahead of UTC at that instant, in microseconds; negative in the west.
    #[must_use]
    pub fn offset_at(self, at: Instant) -> i64 {
        let at = Timestamp::from_microsecond(at.micros()).unwrap_or(Timestamp::MAX);
        i64::from(self.zone.to_offset(at).seconds()) * MICROS_PER_SECOND
    }

    /// How its clocks are set between two instants: the first shift holds from before, too.
    #[must_use]
    pub fn shifts(self, from: Instant, to: Instant) -> Vec<Shift> {
        let mut shifts = vec![Shift { from_wall: from.micros(), offset: self.offset_at(from) }];
        let Ok(start) = Timestamp::from_microsecond(from.micros()) else { return shifts };
        for change in self.zone.following(start) {
            let at = change.timestamp().as_microsecond();
            if at > to.micros() {
                break;
            }
            let offset = i64::from(change.offset().seconds()) * MICROS_PER_SECOND;
            shifts.push(Shift { from_wall: at + offset, offset });
        }
        shifts
    }

    /// A well-known zone whose clocks are that far ahead of UTC at that instant.
    #[must_use]
    pub fn at_offset(offset: i64, at: Instant) -> Option<Self> {
        WELL_KNOWN.iter().filter_map(|name| Self::parse(name)).find(|zone| zone.offset_at(at) == offset)
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.decoder == other.decoder
    }
}

impl Eq for Zone {}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> i64 {
        let civil: jiff::civil::DateTime = text.parse().unwrap();
        TimeZone::UTC.to_timestamp(civil).unwrap().as_microsecond()
    }

    #[test]
    fn wall_clocks_are_read_as_postgres_reads_them() {
        for (zone, local, utc) in [
            ("America/New_York", "2026-11-28T15:33:03.105", "2026-11-28T20:33:03.105"),
            ("America/New_York", "2026-07-01T12:00:00", "2026-07-01T16:00:00"),
            ("Asia/Kolkata", "2026-07-01T12:00:00", "2026-07-01T06:30:00"),
            ("Asia/Tokyo", "2026-11-29T05:33:00", "2026-11-28T20:33:00"),
            // Twice on a clock: the later of the two. Skipped: as if the clock had not been set yet.
            ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T01:30:00"),
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00"),
            ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T06:30:00"),
        ] {
            assert_eq!(Zone::parse(zone).unwrap().instant_of(wall(local)), wall(utc), "{zone} {local}");
        }
    }

    #[test]
    fn shifts_say_the_same_as_the_zone() {
        let (from, to) = ("2025-11-28T00:00:00", "2027-11-28T00:00:00");
        let (from, to) = (wall(from), wall(to));
        for name in ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Tokyo", "UTC"] {
            let zone = Zone::parse(name).unwrap();
            let shifts = zone.shifts(Instant::from_micros(from).unwrap(), Instant::from_micros(to).unwrap());
            let mut at = from + MICROS_PER_DAY;
            while at < to - MICROS_PER_DAY {
                let shift = shifts.iter().rfind(|shift| shift.from_wall <= at).unwrap();
                assert_eq!(at - shift.offset, zone.instant_of(at), "{name} {at}");
                at += 17 * 60 * MICROS_PER_SECOND;
            }
        }
    }

    #[test]
    fn extremes_do_not_panic_and_names_read_back() {
        let zone = Zone::parse("america/new_york").unwrap();
        assert_eq!((zone.name(), zone.decoder()), ("America/New_York", "timestamp-local:America/New_York"));
        for wall in
            [i64::MIN, i64::MAX, Instant::MIN.micros(), Instant::MAX.micros(), FIRST_WALL, LAST_WALL - 1]
        {
            let _ = zone.instant_of(wall);
        }
        for at in [Instant::MIN, Instant::MAX] {
            let _ = (zone.offset_at(at), zone.shifts(at, at));
        }
        for name in ["", "Mars/Olympus", "UTC-5", "'; DROP TABLE", "../etc/passwd"] {
            assert_eq!(Zone::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_well_known_zone_is_named_for_an_offset() {
        let at = Instant::from_micros(wall("2026-11-28T20:33:00")).unwrap();
        let named = |hours: i64, minutes: i64| {
            Zone::at_offset(hours * MICROS_PER_HOUR + minutes * 60 * MICROS_PER_SECOND, at)
        };
        assert_eq!(named(-5, 0).map(Zone::name), Some("America/New_York"));
        assert_eq!(named(5, 30).map(Zone::name), Some("Asia/Kolkata"));
        assert_eq!(named(9, 0).map(Zone::name), Some("Asia/Tokyo"));
        assert_eq!(named(0, 15), None);
        assert!(WELL_KNOWN.iter().all(|name| Zone::parse(name).is_some()));
    }
}
