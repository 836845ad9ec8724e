//! Values with their byte span in the file, and durations such as `15m`.

use std::{borrow::Cow, fmt, ops::Deref, ops::Range};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::json;
use toml::Spanned;

/// `format` of a duration; its bounds are in seconds.
pub(super) const DURATION_FORMAT: &str = "duration";

/// Value of a file with its byte span.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct WithSpan<T>(Spanned<T>);

impl<T> WithSpan<T> {
    /// Creates a value with that span.
    #[must_use]
    pub fn new(span: Range<usize>, value: T) -> Self {
        Self(Spanned::new(span, value))
    }

    /// Returns the span in the file, in bytes; empty for a default.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.0.span()
    }

    /// Returns the value without its span.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }

    /// Returns the span of an optional value, or that of its section if the key is missing.
    #[must_use]
    pub fn span_or(value: Option<&Self>, section: &Range<usize>) -> Range<usize> {
        value.map_or_else(|| section.clone(), Self::span)
    }
}

impl<T> Deref for WithSpan<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get_ref()
    }
}

impl<T: Default> Default for WithSpan<T> {
    fn default() -> Self {
        Self::from(T::default())
    }
}

/// A value that is not in the file, such as a default, gets an empty span.
impl<T> From<T> for WithSpan<T> {
    fn from(value: T) -> Self {
        Self(Spanned::new(0..0, value))
    }
}

impl<T: fmt::Debug> fmt::Debug for WithSpan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get_ref().fmt(f)
    }
}

impl<T: Serialize> Serialize for WithSpan<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.get_ref().serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for WithSpan<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Duration in whole seconds from `MIN` to `MAX`, written as `90s`, `15m`, `24h` or `7d`, or as a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedSeconds<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> BoundedSeconds<MIN, MAX> {
    /// Creates a duration without checking the bounds.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Converts the seconds to a [`SignedDuration`].
    #[must_use]
    pub fn to_duration(self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.0).unwrap_or(i64::MAX))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for BoundedSeconds<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"90s\"")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<u64, E> {
                u64::try_from(seconds).map_err(|_| E::custom("below zero"))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<u64, E> {
                Ok(seconds)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                parse_seconds(text).map_err(E::custom)
            }
        }
        let seconds = deserializer.deserialize_any(Visitor)?;
        if (MIN..=MAX).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(de::Error::custom("out of bounds"))
        }
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for BoundedSeconds<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_seconds(self.0))
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for BoundedSeconds<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("Seconds<{MIN}, {MAX}>").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "format": DURATION_FORMAT,
            "oneOf": [
                { "type": "string", "pattern": "^[0-9]+ *[smhd]$" },
                { "type": "integer", "minimum": MIN, "maximum": MAX },
            ],
        })
    }
}

/// Duration within bounds, or `"0"`, which turns the feature off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroOrBoundedSeconds<const MIN: u64, const MAX: u64>(Option<BoundedSeconds<MIN, MAX>>);

impl<const MIN: u64, const MAX: u64> ZeroOrBoundedSeconds<MIN, MAX> {
    /// Returns the duration; `None` for zero.
    #[must_use]
    pub fn to_duration(self) -> Option<SignedDuration> {
        self.0.map(BoundedSeconds::to_duration)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for ZeroOrBoundedSeconds<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let BoundedSeconds(seconds) = BoundedSeconds::<0, MAX>::deserialize(deserializer)?;
        match seconds {
            0 => Ok(Self(None)),
            seconds if seconds < MIN => Err(de::Error::custom("out of bounds")),
            seconds => Ok(Self(Some(BoundedSeconds(seconds)))),
        }
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for ZeroOrBoundedSeconds<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ZeroOrSeconds".into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("ZeroOrSeconds<{MIN}, {MAX}>").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = BoundedSeconds::<MIN, MAX>::json_schema(generator);
        if let Some(forms) = schema.get_mut("oneOf").and_then(|forms| forms.as_array_mut()) {
            forms.push(json!({ "enum": ["0", 0] }));
        }
        schema
    }
}

/// Units of durations and their length in seconds, shortest first.
const DURATION_UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

/// Formats seconds with the largest unit that divides them: `90s`, `15m`, `1d`.
pub(super) fn format_seconds(seconds: u64) -> String {
    let units = DURATION_UNITS.iter().rev();
    let (unit, length) =
        units.copied().find(|(_, length)| seconds.is_multiple_of(*length)).unwrap_or(DURATION_UNITS[0]);
    format!("{}{unit}", seconds / length)
}

/// Parses a duration such as `90s`, `15m`, `24h` or `7d` into seconds.
///
/// # Errors
///
/// If the text is not a duration, or its seconds exceed `u64`.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    // Zero is the same in every unit, so it needs none.
    if text.trim() == "0" {
        return Ok(0);
    }
    let mut letters = text.trim().chars();
    let unit = letters.next_back();
    let unit = DURATION_UNITS.iter().find(|(letter, _)| Some(*letter) == unit);
    let number = letters.as_str().trim_end().parse::<u64>().ok();
    let seconds = unit.zip(number).and_then(|((_, length), number)| number.checked_mul(*length));
    seconds.ok_or_else(|| "expected a duration such as 30s, 5m, 24h or 7d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_with_any_unit_and_formatted_with_the_largest() {
        for (text, seconds, shown) in [
            ("90s", 90, "90s"),
            ("60s", 60, "1m"),
            ("15 m", 900, "15m"),
            ("24h", 86_400, "1d"),
            (" 7d ", 604_800, "7d"),
        ] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
            assert_eq!(serde_json::to_value(BoundedSeconds::<0, 1_000_000>(seconds)).unwrap(), shown);
        }
        for text in ["", "s", "5", "5w", "-5s", "5 5s", "99999999999999999999d", "ü"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
