//! Extractors for parameters and bodies, which reject anything that the OpenAPI document does not allow.

use std::{borrow::Cow, convert::Infallible, ops::Deref};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, Unexpected, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use super::{super::MAX_BODY_BYTES, problem::ProblemDetails};
use credentials::mask_credentials;

/// A single-line text of 1 to `MAX_CHARS` characters, without control characters and not only spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BoundedText<const MAX_CHARS: usize>(String);

/// The regular expression for [`BoundedText`] in the JSON schema.
const SINGLE_LINE_PATTERN: &str = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$";

impl<const MAX_CHARS: usize> Deref for BoundedText<MAX_CHARS> {
    type Target = String;

    fn deref(&self) -> &String {
        &self.0
    }
}

impl<'de, const MAX_CHARS: usize> Deserialize<'de> for BoundedText<MAX_CHARS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits =
            // Control characters could fake further lines in logs and messages.
            text.chars().count() <= MAX_CHARS && !text.contains(|letter: char| letter.is_ascii_control());
        if fits && text.contains(|letter| letter != ' ') {
            // People paste connection strings into notes, which are stored and shown.
            Ok(Self(mask_credentials(&text).into_owned()))
        } else {
            let why = format!("expected a single line of 1 to {MAX_CHARS} characters, not only spaces");
            Err(D::Error::custom(why))
        }
    }
}

impl<const MAX_CHARS: usize> PartialSchema for BoundedText<MAX_CHARS> {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.min_length(Some(1)).max_length(Some(MAX_CHARS)).pattern(Some(SINGLE_LINE_PATTERN)).into()
    }
}

impl<const MAX_CHARS: usize> ToSchema for BoundedText<MAX_CHARS> {
    fn name() -> Cow<'static, str> {
        format!("BoundedText{MAX_CHARS}").into()
    }
}

/// An integer from 1 to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundedInt<const MAX: u32>(pub(super) u32);

impl<'de, const MAX: u32> Deserialize<'de> for BoundedInt<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Query strings deserialize to text, which serde parses as requested; f64 covers integers and `5.0`.
        deserializer.deserialize_f64(BoundedIntVisitor::<MAX>)
    }
}

/// Reads an integer, also one written as `5.0`, which JSON Schema considers an integer.
struct BoundedIntVisitor<const MAX: u32>;

impl<const MAX: u32> Visitor<'_> for BoundedIntVisitor<MAX> {
    type Value = BoundedInt<MAX>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an integer from 1 to {MAX}")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<BoundedInt<MAX>, E> {
        let fitting = u32::try_from(number).ok().filter(|number| (1..=MAX).contains(number));
        fitting.map(BoundedInt).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<BoundedInt<MAX>, E> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small integer")]
        if number.fract() == 0.0 && (1.0..=f64::from(MAX)).contains(&number) {
            return Ok(BoundedInt(number as u32));
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }
}

impl<const MAX: u32> PartialSchema for BoundedInt<MAX> {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer);
        number.minimum(Some(1)).maximum(Some(MAX)).into()
    }
}

impl<const MAX: u32> ToSchema for BoundedInt<MAX> {
    fn name() -> Cow<'static, str> {
        format!("BoundedInt{MAX}").into()
    }
}

/// The position after a page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListCursor(pub(super) i64);

impl<'de> Deserialize<'de> for ListCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // `parse` alone would also accept a sign.
        let digits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number
            .map(Self)
            .ok_or_else(|| D::Error::custom("expected the value of `next` from the previous page"))
    }
}

impl PartialSchema for ListCursor {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]{1,18}$")).into()
    }
}

impl ToSchema for ListCursor {}

/// A page of a list.
#[derive(Clone, Debug, serde::Serialize, ToSchema)]
pub(super) struct ListPage<T: ToSchema> {
    pub(super) items: Vec<T>,
    /// The `cursor` of the next page; null on the last one.
    pub(super) next: Option<String>,
}

impl<T: ToSchema> ListPage<T> {
    /// Creates a page of `limit` items from a query for one item more.
    pub(super) fn from_rows<K>(
        found: Vec<K>,
        limit: usize,
        item: impl Fn(&K) -> T,
        cursor_of: impl Fn(&K) -> String,
    ) -> Self {
        let Ok(page) = Self::try_from_rows(found, limit, |one| Ok::<_, Infallible>(item(one)), cursor_of);
        page
    }

    /// Creates a page like [`Self::from_rows`], with a conversion that can fail.
    pub(super) fn try_from_rows<K, E>(
        mut found: Vec<K>,
        limit: usize,
        item: impl Fn(&K) -> Result<T, E>,
        cursor_of: impl Fn(&K) -> String,
    ) -> Result<Self, E> {
        // The extra row is only a sign, and never part of the page.
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(cursor_of);
        Ok(Self { items: found.iter().map(item).collect::<Result<_, _>>()?, next })
    }

    /// Creates the only page of a complete list.
    pub(super) fn from_all(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// Path parameters.
pub(super) struct PathParams<T>(pub(super) T);

impl<S: Sync + Send, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ProblemDetails> {
        let Path(given) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| ProblemDetails::bad_request(error.body_text()))?;
        Ok(Self(given))
    }
}

/// Query parameters.
pub(super) struct QueryParams<T>(pub(super) T);

impl<S: Sync + Send, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ProblemDetails;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ProblemDetails> {
        let given = Query::try_from_uri(&parts.uri)
            .map_err(|error| ProblemDetails::bad_request(error.body_text()))?;
        Ok(Self(given.0))
    }
}

/// A JSON body.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ProblemDetails;

    async fn from_request(request: Request, _: &S) -> Result<Self, ProblemDetails> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        // Parameters such as the charset do not change how the body is read.
        let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        // Browsers cannot send this type cross-site without a CORS preflight.
        if kind.as_deref() != Some("application/json") {
            let why = "expected a body of type application/json";
            return Err(ProblemDetails::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let body = read_body(request.into_body()).await?;
        let given = serde_json::from_slice(&body);
        given.map(Self).map_err(|error| ProblemDetails::bad_request(format!("invalid body: {error}")))
    }
}

/// Reads a body of at most [`MAX_BODY_BYTES`].
pub(super) async fn read_body(body: axum::body::Body) -> Result<axum::body::Bytes, ProblemDetails> {
    // Limited while reading, since `Content-Length` may be missing or wrong.
    let whole = axum::body::to_bytes(body, MAX_BODY_BYTES).await;
    let too_large = || ProblemDetails::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB");
    whole.map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_line_and_not_empty() {
        let read = |text: &str| serde_json::from_value::<BoundedText<4>>(text.into()).is_ok();
        for fits in ["a", "a b", "ÄÖÜß", "   x"] {
            assert!(read(fits), "{fits:?}");
        }
        for other in ["", "  ", "abcde", "a\nb", "a\0", "a\u{7f}"] {
            assert!(!read(other), "{other:?}");
        }
    }

    #[test]
    fn numbers_and_cursors_have_bounds() {
        let count = |text: &str| serde_urlencoded(text).is_ok();
        assert!(count("1") && count("9") && !count("0") && !count("10") && !count("-1") && !count("x"));
        let whole = |number: f64| serde_json::from_value::<BoundedInt<9>>(number.into()).is_ok();
        assert!(whole(9.0) && !whole(9.5) && !whole(0.0) && !whole(-1.0) && !whole(1e300));
        let cursor = |text: &str| serde_json::from_value::<ListCursor>(text.into()).is_ok();
        assert!(cursor("0") && cursor(&"9".repeat(18)));
        assert!(!cursor("") && !cursor("+1") && !cursor("-1") && !cursor(&"9".repeat(19)));
    }

    fn serde_urlencoded(number: &str) -> Result<(), ()> {
        #[derive(Deserialize)]
        struct Given {
            #[expect(dead_code, reason = "only whether it can be read matters")]
            n: BoundedInt<9>,
        }
        let uri = format!("http://h/?n={number}").parse().unwrap();
        Query::<Given>::try_from_uri(&uri).map(drop).map_err(drop)
    }
}
