//! Plausibility: whether stored values make sense under a decoder.

use crate::{
    decoder::{Decoded, Decoder, Raw},
    instant::{Instant, MICROS_PER_DAY},
};

/// No session that is still stored ended longer ago. Seconds that are read as milliseconds end in January 1970.
const LONG_AGO: i64 = 20 * 365 * MICROS_PER_DAY;

/// The share of the values that are not NULL which end at a believable time; nothing without such values.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share of a sample")]
pub fn plausible_share(decoder: Decoder, values: &[Raw<'_>], now: Instant) -> Option<f64> {
    let present: Vec<&Raw<'_>> = values.iter().filter(|value| **value != Raw::Null).collect();
    // Where text stands beside numbers, nothing else reads both, whatever the unit of the numbers is.
    let is_mixed =
        decoder == Decoder::EpochMillisOrIso && present.iter().any(|value| matches!(value, Raw::Text(_)));
    let decode =
        |value: Raw<'_>| if is_mixed { decoder.decode(value) } else { decoder.decode_strictly(value) };
    let plausible = present.iter().filter(|value| match decode(***value) {
        Decoded::At(at) => at > now.plus_micros(-LONG_AGO),
        Decoded::Never => true,
        Decoded::Undecodable => false,
    });
    if present.is_empty() { None } else { Some(plausible.count() as f64 / present.len() as f64) }
}

/// The first decoder under which at least that share of the values is plausible.
#[must_use]
pub fn plausible_under(values: &[Raw<'_>], now: Instant, share: f64) -> Option<Decoder> {
    let fits = |decoder: &Decoder| plausible_share(*decoder, values, now).is_some_and(|found| found >= share);
    Decoder::ALL.into_iter().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    #[test]
    fn tells_seconds_milliseconds_and_text_apart() {
        let now = Instant::from_micros(NOW).unwrap();
        for (value, expected) in [
            (Raw::Integer(1_790_000_000), Some(Decoder::EpochSeconds)),
            (Raw::Integer(1_790_000_000_000), Some(Decoder::EpochMillis)),
            (Raw::Text(b"1790000000000"), Some(Decoder::EpochMillis)),
            (Raw::Text(b"2026-11-11T00:00:00Z"), Some(Decoder::IsoText)),
            (Raw::Integer(1_790_000_000_000_000), None),
            (Raw::Text(b"soon"), None),
            (Raw::Other, None),
            (Raw::Null, None),
        ] {
            assert_eq!(plausible_under(&[value, value, Raw::Null], now, 0.9), expected, "{value:?}");
        }
        assert_eq!(plausible_share(Decoder::EpochSeconds, &[Raw::Null], now), None);
        let mixed = [Raw::Integer(1_790_000_000_000), Raw::Text(b"2026-11-11T00:00:00Z")];
        assert_eq!(plausible_under(&mixed, now, 0.9), Some(Decoder::EpochMillisOrIso));
    }

    #[test]
    fn seconds_beside_text_are_read_by_the_decoder_that_reads_both() {
        let now = Instant::from_micros(NOW).unwrap();
        let mixed = [Raw::Integer(1_799_990_000), Raw::Text(b"2027-01-15 07:50:00")];
        assert_eq!(plausible_under(&mixed, now, 1.0), Some(Decoder::EpochMillisOrIso));
        assert_eq!(plausible_under(&mixed[..1], now, 1.0), Some(Decoder::EpochSeconds));
    }
}
