//! Plausibility of stored values under a decoder, for detecting the decoder of a column.

use crate::{
    timestamp::{MICROS_PER_DAY, UtcTimestamp},
    timestamp_decoder::{DecodedTime, Decoder, RawValue},
};

/// Maximum plausible age of an expiry. Seconds read as milliseconds expire in January 1970, far beyond it.
const MAX_PLAUSIBLE_AGE_US: i64 = 20 * 365 * MICROS_PER_DAY;

/// Returns the share of non-NULL values, from 0 to 1, with a plausible expiry; `None` without such values.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share of a sample")]
pub fn plausible_share(decoder: Decoder, values: &[RawValue<'_>], now: UtcTimestamp) -> Option<f64> {
    let present: Vec<&RawValue<'_>> = values.iter().filter(|value| **value != RawValue::Null).collect();
    // No other decoder reads text mixed with numbers, so the numbers may be in either unit.
    let is_mixed = decoder == Decoder::EpochMillisOrIso
        && present.iter().any(|value| matches!(value, RawValue::Text(_)));
    let decode =
        |value: RawValue<'_>| if is_mixed { decoder.decode(value) } else { decoder.decode_strict(value) };
    let plausible = present.iter().filter(|value| match decode(***value) {
        DecodedTime::At(at) => at > now.saturating_add_micros(-MAX_PLAUSIBLE_AGE_US),
        DecodedTime::Never => true,
        DecodedTime::Undecodable => false,
    });
    if present.is_empty() { None } else { Some(plausible.count() as f64 / present.len() as f64) }
}

/// Returns the first decoder under which at least `share` of the values is plausible.
#[must_use]
pub fn find_plausible_decoder(values: &[RawValue<'_>], now: UtcTimestamp, share: f64) -> Option<Decoder> {
    let fits = |decoder: &Decoder| plausible_share(*decoder, values, now).is_some_and(|found| found >= share);
    // Decoders are tried in order, and most values are plausible under one only.
    Decoder::ALL.into_iter().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    #[test]
    fn distinguishes_seconds_milliseconds_and_text() {
        let now = UtcTimestamp::from_micros(NOW).unwrap();
        for (value, expected) in [
            (RawValue::Integer(1_790_000_000), Some(Decoder::EpochSeconds)),
            (RawValue::Integer(1_790_000_000_000), Some(Decoder::EpochMillis)),
            (RawValue::Text(b"1790000000000"), Some(Decoder::EpochMillis)),
            (RawValue::Text(b"2026-11-11T00:00:00Z"), Some(Decoder::IsoText)),
            (RawValue::Integer(1_790_000_000_000_000), None),
            (RawValue::Text(b"soon"), None),
            (RawValue::Other, None),
            (RawValue::Null, None),
        ] {
            assert_eq!(
                find_plausible_decoder(&[value, value, RawValue::Null], now, 0.9),
                expected,
                "{value:?}"
            );
        }
        assert_eq!(plausible_share(Decoder::EpochSeconds, &[RawValue::Null], now), None);
        let mixed = [RawValue::Integer(1_790_000_000_000), RawValue::Text(b"2026-11-11T00:00:00Z")];
        assert_eq!(find_plausible_decoder(&mixed, now, 0.9), Some(Decoder::EpochMillisOrIso));
    }

    #[test]
    fn seconds_mixed_with_text_get_the_decoder_for_both() {
        let now = UtcTimestamp::from_micros(NOW).unwrap();
        let mixed = [RawValue::Integer(1_799_990_000), RawValue::Text(b"2027-01-15 07:50:00")];
        assert_eq!(find_plausible_decoder(&mixed, now, 1.0), Some(Decoder::EpochMillisOrIso));
        assert_eq!(find_plausible_decoder(&mixed[..1], now, 1.0), Some(Decoder::EpochSeconds));
    }
}
