//! Time zones, to convert wall clock times of columns without a zone to UTC.
//!
//! Zones come from the bundled IANA database, so results do not depend on the machine.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::timestamp::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, UtcTimestamp};

/// Prefix of the names of decoders with a zone.
pub const LOCAL_DECODER_PREFIX: &str = "timestamp-local:";
/// Largest difference between any local clock and UTC, in microseconds.
pub const MAX_UTC_OFFSET_US: i64 = 14 * MICROS_PER_HOUR;
// Wall times outside these bounds are read as UTC, because a conversion could leave the supported range.
const MIN_WALL_US: i64 = UtcTimestamp::MIN.micros() + 2 * MICROS_PER_DAY;
const MAX_WALL_US: i64 = UtcTimestamp::MAX.micros() - 3 * MICROS_PER_DAY + 1;

/// Populous zones, for naming an example of an offset.
const WELL_KNOWN_ZONES: [&str; 32] = [
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

/// Time zone of the IANA database.
#[derive(Clone, Copy)]
pub struct Zone {
    decoder_name: &'static str,
    zone: &'static TimeZone,
}

/// UTC offset of a zone from a wall time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetShift {
    /// Wall time from which the offset applies, in microseconds as if it were UTC.
    pub from_wall_us: i64,
    /// Offset in microseconds, positive east of UTC.
    pub offset_us: i64,
}

impl Zone {
    /// Returns the zone with this name, such as `America/New_York`; `None` if the database has none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        static ZONE_CACHE: OnceLock<Mutex<BTreeMap<String, Zone>>> = OnceLock::new();
        // Zones are cached forever, so arbitrary input must not be able to fill the memory.
        if name.len() > 64 {
            return None;
        }
        let zones = ZONE_CACHE.get_or_init(Mutex::default);
        let mut zones = zones.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = zones.get(name) {
            return Some(*known);
        }
        let zone = Self::load_bundled(name)?;
        zones.insert(name.to_owned(), zone);
        Some(zone)
    }

    fn load_bundled(name: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        // Leaked at most once per zone of the database: some hundred zones, which live as long as the cache.
        let decoder = format!("{LOCAL_DECODER_PREFIX}{}", zone.iana_name()?);
        Some(Self { decoder_name: decoder.leak(), zone: Box::leak(Box::new(zone)) })
    }

    /// Returns the IANA name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.decoder_name.strip_prefix(LOCAL_DECODER_PREFIX).unwrap_or(self.decoder_name)
    }

    /// Returns the name of the decoder for wall times of this zone.
    #[must_use]
    pub const fn decoder_name(self) -> &'static str {
        self.decoder_name
    }

    /// Converts a wall time, in microseconds as if it were UTC, to UTC microseconds.
    ///
    /// An ambiguous wall time is converted to the later instant, and a skipped one as if the clocks had not changed.
    /// This matches PostgreSQL, and never makes a session seem expired too early.
    #[must_use]
    pub fn wall_to_utc_us(self, wall: i64) -> i64 {
        if !(MIN_WALL_US..MAX_WALL_US).contains(&wall) {
            return wall;
        }
        let civil = Timestamp::from_microsecond(wall).map(|at| TimeZone::UTC.to_datetime(at));
        let at = civil.and_then(|civil| self.zone.to_ambiguous_timestamp(civil).later());
        // An invalid time is kept as UTC rather than lost.
        at.map_or(wall, Timestamp::as_microsecond)
    }

    /// Returns the UTC offset at an instant, in microseconds; negative west of UTC.
    #[must_use]
    pub fn offset_us_at(self, at: UtcTimestamp) -> i64 {
        let at = Timestamp::from_microsecond(at.micros()).unwrap_or(Timestamp::MAX);
        i64::from(self.zone.to_offset(at).seconds()) * MICROS_PER_SECOND
    }

    /// Returns the offsets between two instants. The first one also applies to earlier times.
    #[must_use]
    pub fn offset_shifts(self, from: UtcTimestamp, to: UtcTimestamp) -> Vec<OffsetShift> {
        let mut shifts =
            vec![OffsetShift { from_wall_us: from.micros(), offset_us: self.offset_us_at(from) }];
        let Ok(start) = Timestamp::from_microsecond(from.micros()) else { return shifts };
        for change in self.zone.following(start) {
            let at = change.timestamp().as_microsecond();
            if at > to.micros() {
                break;
            }
            let offset_us = i64::from(change.offset().seconds()) * MICROS_PER_SECOND;
            shifts.push(OffsetShift { from_wall_us: at + offset_us, offset_us });
        }
        shifts
    }

    /// Returns a well-known zone with this UTC offset, in microseconds, at an instant.
    #[must_use]
    pub fn find_by_offset(offset: i64, at: UtcTimestamp) -> Option<Self> {
        WELL_KNOWN_ZONES
            .iter()
            .filter_map(|name| Self::parse(name))
            .find(|zone| zone.offset_us_at(at) == offset)
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.decoder_name == other.decoder_name
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
    fn wall_times_are_converted_like_in_postgres() {
        for (zone, local, utc) in [
            ("America/New_York", "2026-11-28T15:33:03.105", "2026-11-28T20:33:03.105"),
            ("America/New_York", "2026-07-01T12:00:00", "2026-07-01T16:00:00"),
            ("Asia/Kolkata", "2026-07-01T12:00:00", "2026-07-01T06:30:00"),
            ("Asia/Tokyo", "2026-11-29T05:33:00", "2026-11-28T20:33:00"),
            // The first is ambiguous, the second skipped.
            ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T01:30:00"),
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00"),
            ("America/New_York", "2026-11-01T01:30:00", "2026-11-01T06:30:00"),
        ] {
            assert_eq!(Zone::parse(zone).unwrap().wall_to_utc_us(wall(local)), wall(utc), "{zone} {local}");
        }
    }

    #[test]
    fn offset_shifts_agree_with_the_zone() {
        let (from, to) = ("2025-11-28T00:00:00", "2027-11-28T00:00:00");
        let (from, to) = (wall(from), wall(to));
        for name in ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Tokyo", "UTC"] {
            let zone = Zone::parse(name).unwrap();
            let shifts = zone.offset_shifts(
                UtcTimestamp::from_micros(from).unwrap(),
                UtcTimestamp::from_micros(to).unwrap(),
            );
            let mut at = from + MICROS_PER_DAY;
            while at < to - MICROS_PER_DAY {
                let shift = shifts.iter().rfind(|shift| shift.from_wall_us <= at).unwrap();
                assert_eq!(at - shift.offset_us, zone.wall_to_utc_us(at), "{name} {at}");
                at += 17 * 60 * MICROS_PER_SECOND;
            }
        }
    }

    #[test]
    fn extremes_do_not_panic_and_names_round_trip() {
        let zone = Zone::parse("america/new_york").unwrap();
        assert_eq!(
            (zone.name(), zone.decoder_name()),
            ("America/New_York", "timestamp-local:America/New_York")
        );
        for wall in [
            i64::MIN,
            i64::MAX,
            UtcTimestamp::MIN.micros(),
            UtcTimestamp::MAX.micros(),
            MIN_WALL_US,
            MAX_WALL_US - 1,
        ] {
            let _ = zone.wall_to_utc_us(wall);
        }
        for at in [UtcTimestamp::MIN, UtcTimestamp::MAX] {
            let _ = (zone.offset_us_at(at), zone.offset_shifts(at, at));
        }
        for name in ["", "Mars/Olympus", "UTC-5", "'; DROP TABLE", "../etc/passwd"] {
            assert_eq!(Zone::parse(name), None, "{name}");
        }
    }

    #[test]
    fn finds_a_well_known_zone_by_offset() {
        let at = UtcTimestamp::from_micros(wall("2026-11-28T20:33:00")).unwrap();
        let named = |hours: i64, minutes: i64| {
            Zone::find_by_offset(hours * MICROS_PER_HOUR + minutes * 60 * MICROS_PER_SECOND, at)
        };
        assert_eq!(named(-5, 0).map(Zone::name), Some("America/New_York"));
        assert_eq!(named(5, 30).map(Zone::name), Some("Asia/Kolkata"));
        assert_eq!(named(9, 0).map(Zone::name), Some("Asia/Tokyo"));
        assert_eq!(named(0, 15), None);
        assert!(WELL_KNOWN_ZONES.iter().all(|name| Zone::parse(name).is_some()));
    }
}
