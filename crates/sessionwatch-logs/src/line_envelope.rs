//! Envelopes of log lines: timestamps, syslog, container logs, the systemd journal, log drains and JSON loggers,
//! possibly nested.

use std::borrow::Cow;

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    key_values::{KeyValues, unescape_text},
    timestamps::{self, TimestampDefaults},
};

/// Maximum nesting depth.
const MAX_NESTED_ENVELOPES: usize = 4;
/// Number of bytes at the start of a line that are searched for a timestamp.
const TIMESTAMP_SEARCH_BYTES: usize = 64;

/// Format of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeFormat {
    /// Timestamp before the text.
    TimeStamp,
    /// Syslog (RFC 5424).
    Syslog,
    /// BSD syslog (RFC 3164).
    BsdSyslog,
    /// Container log of Docker (`json-file`).
    Docker,
    /// Container log of CRI runtimes.
    Cri,
    /// JSON export of the systemd journal.
    Journal,
    /// JSON logger, or entry of a log drain.
    Json,
}

impl EnvelopeFormat {
    /// Returns the name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeStamp => "timestamp",
            Self::Syslog => "syslog (RFC 5424)",
            Self::BsdSyslog => "syslog (RFC 3164)",
            Self::Docker => "container log (Docker)",
            Self::Cri => "container log (CRI)",
            Self::Journal => "journal export",
            Self::Json => "JSON",
        }
    }
}

/// Line with its envelopes removed.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    formats: [Option<EnvelopeFormat>; MAX_NESTED_ENVELOPES],
    /// An envelope begins at the start of the line, so the line begins a new entry.
    pub starts_line: bool,
    /// A tab precedes the timestamp that was removed, so the line continues another one.
    pub is_indented: bool,
    /// Timestamp of the innermost envelope that has one.
    pub timestamp: Option<UtcTimestamp>,
    /// Request id.
    pub request_id: Option<String>,
    /// Message inside all envelopes.
    pub message: Cow<'a, [u8]>,
    /// Innermost JSON object around the message.
    pub outer_object: Option<Cow<'a, [u8]>>,
    /// The message is known to be complete.
    pub is_complete: bool,
}

impl<'a> Envelope<'a> {
    /// Creates the envelope of a bare message.
    #[must_use]
    pub fn from_message(message: &'a [u8], is_complete: bool) -> Self {
        Self {
            formats: [None; MAX_NESTED_ENVELOPES],
            starts_line: false,
            is_indented: false,
            timestamp: None,
            request_id: None,
            message: Cow::Borrowed(message),
            outer_object: None,
            is_complete,
        }
    }

    /// Returns the envelope formats, outermost first.
    pub fn formats(&self) -> impl Iterator<Item = EnvelopeFormat> {
        self.formats.iter().copied().flatten()
    }

    fn has_format(&self, format: EnvelopeFormat) -> bool {
        self.formats.contains(&Some(format))
    }

    fn push_format(&mut self, format: EnvelopeFormat) {
        if let Some(free) = self.formats.iter_mut().find(|place| place.is_none()) {
            *free = Some(format);
        }
    }

    /// Removes all envelopes of a line. `complete` says that the line, or the text, ends here.
    #[must_use]
    pub fn parse(line: &'a [u8], complete: bool, defaults: TimestampDefaults) -> Self {
        let mut envelope = Self::from_message(line.trim_ascii_end(), complete);
        for _ in 0..MAX_NESTED_ENVELOPES {
            if !envelope.unwrap_layer(defaults) {
                break;
            }
        }
        envelope
    }

    /// Removes one envelope; returns `false` if there is none.
    fn unwrap_layer(&mut self, defaults: TimestampDefaults) -> bool {
        let text = self.message.as_ref();
        let begin = text.len() - text.trim_ascii_start().len();
        // Some Windows tools write a byte order mark.
        let bare = text[begin..].strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text[begin..]);
        let begin = text.len() - bare.len();
        let stamped = match bare.first() {
            Some(b'{') => return self.unwrap_json(defaults),
            Some(b'<') => parse_syslog_header(bare, defaults),
            _ if self.has_format(EnvelopeFormat::TimeStamp) => None,
            Some(b'A'..=b'Z') if !self.has_format(EnvelopeFormat::BsdSyslog) => {
                timestamps::parse_bsd_timestamp(bare, defaults)
                    .map(|(at, end)| EnvelopeHeader {
                        format: EnvelopeFormat::BsdSyslog,
                        timestamp: Some(at),
                        end: end + syslog_tag_bytes(&bare[end..]),
                    })
                    .or_else(|| parse_timestamp_header(bare, defaults))
            }
            _ => parse_timestamp_header(bare, defaults),
        };
        let Some(EnvelopeHeader { format, timestamp, end }) = stamped else { return false };
        let is_indented = text.starts_with(b"\t");
        self.timestamp = timestamp.or(self.timestamp);
        self.push_format(format);
        self.starts_line |= begin == 0 && end > 0;
        self.is_indented |= is_indented;
        self.skip_to(if end > 0 { begin + end } else { 0 });
        true
    }

    /// Drops the first `begin` bytes of the message.
    fn skip_to(&mut self, begin: usize) {
        match &mut self.message {
            Cow::Borrowed(text) => self.message = Cow::Borrowed(&text[begin..]),
            Cow::Owned(text) => drop(text.drain(..begin)),
        }
    }

    /// Extracts the message of a JSON object; returns `false` if it has none.
    fn unwrap_json(&mut self, defaults: TimestampDefaults) -> bool {
        let Some(found) = JsonEnvelope::parse(self.message.as_ref(), defaults) else { return false };
        self.push_format(found.format);
        self.starts_line = true;
        self.timestamp = found.timestamp.or(self.timestamp);
        self.request_id = found.request_id.or_else(|| self.request_id.take());
        self.is_complete = true;
        let outer = std::mem::replace(&mut self.message, Cow::Owned(found.message));
        self.outer_object = Some(outer);
        true
    }
}

/// Header before a message.
struct EnvelopeHeader {
    format: EnvelopeFormat,
    timestamp: Option<UtcTimestamp>,
    end: usize,
}

fn parse_timestamp_header(text: &[u8], defaults: TimestampDefaults) -> Option<EnvelopeHeader> {
    let near = &text[..text.len().min(TIMESTAMP_SEARCH_BYTES)];
    let begins = |at: &usize| {
        let before = at.checked_sub(1).map(|at| near[at]);
        near[*at].is_ascii_digit() && !before.is_some_and(|byte| byte.is_ascii_alphanumeric())
    };
    let places = (0..near.len()).filter(begins);
    let (begin, (at, end)) = places
        .take(8)
        .find_map(|begin| Some((begin, timestamps::parse_leading_timestamp(&text[begin..], defaults)?)))?;
    let end = begin + end;
    let rest = text[end..].trim_ascii_start();
    for stream in ["stdout ", "stderr "] {
        if begin == 0
            && let Some([b'F' | b'P', b' ', message @ ..]) = rest.strip_prefix(stream.as_bytes())
        {
            return Some(EnvelopeHeader {
                format: EnvelopeFormat::Cri,
                timestamp: Some(at),
                end: text.len() - message.len(),
            });
        }
    }
    // Text before a timestamp that is not at the beginning may be part of the message, so it is kept.
    let end = if begin <= 1 { end } else { 0 };
    Some(EnvelopeHeader { format: EnvelopeFormat::TimeStamp, timestamp: Some(at), end })
}

/// Parses the header of a syslog message.
fn parse_syslog_header(text: &[u8], defaults: TimestampDefaults) -> Option<EnvelopeHeader> {
    let end = 1 + text.get(1..)?.iter().take(4).position(|byte| *byte == b'>')?;
    if end == 1 || !text[1..end].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let rest = &text[end + 1..];
    let place = |rest: &[u8]| text.len() - rest.len();
    let Some(mut rest) = rest.strip_prefix(b"1 ") else {
        let (timestamp, taken) = match timestamps::parse_bsd_timestamp(rest, defaults) {
            Some((timestamp, taken)) => (Some(timestamp), taken),
            None => timestamps::parse_leading_timestamp(rest, defaults)
                .map_or((None, 0), |(timestamp, taken)| (Some(timestamp), taken)),
        };
        let rest = &rest[taken..];
        return Some(EnvelopeHeader {
            format: EnvelopeFormat::BsdSyslog,
            timestamp,
            end: place(rest) + syslog_tag_bytes(rest),
        });
    };
    let timestamp = timestamps::parse_leading_timestamp(rest, defaults).map(|(timestamp, _)| timestamp);
    // TIMESTAMP, HOSTNAME, APP-NAME, PROCID and MSGID.
    for _ in 0..5 {
        rest = &rest[memchr::memchr(b' ', rest)? + 1..];
    }
    rest = skip_structured_data(rest)?;
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix("\u{feff}".as_bytes()).unwrap_or(rest);
    Some(EnvelopeHeader { format: EnvelopeFormat::Syslog, timestamp, end: place(rest) })
}

/// Returns the length of a host and a tag (` host app[1]: `), 0 if there are none.
fn syslog_tag_bytes(text: &[u8]) -> usize {
    let Some(end) = memchr::memmem::find(&text[..text.len().min(256)], b": ") else { return 0 };
    let words = text[..end].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    if words.count() <= 2 { end + 2 } else { 0 }
}

/// Skips RFC 5424 structured data: `-`, or elements in square brackets with quoted values.
fn skip_structured_data(mut text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b"-") {
        return Some(rest);
    }
    while text.first() == Some(&b'[') {
        let (mut at, mut quoted) = (1, false);
        loop {
            match text.get(at)? {
                b'\\' => at += 1,
                b'"' => quoted = !quoted,
                b']' if !quoted => break,
                _ => {}
            }
            at += 1;
        }
        text = &text[at + 1..];
    }
    Some(text)
}

/// Envelope in the form of a JSON object.
struct JsonEnvelope {
    format: EnvelopeFormat,
    timestamp: Option<UtcTimestamp>,
    request_id: Option<String>,
    message: Vec<u8>,
}

impl JsonEnvelope {
    fn parse(text: &[u8], defaults: TimestampDefaults) -> Option<Self> {
        let mut pairs = KeyValues::new(text, false);
        let (mut format, mut stream) = (EnvelopeFormat::Json, false);
        let (mut timestamp, mut request_id, mut message, mut bytes) = (None, None, None, vec![]);
        for pair in &mut pairs {
            // The journal exports messages that are not valid UTF-8 as an array of bytes.
            if pair.depth == 2 && pair.key.is_empty() && pair.parent == b"MESSAGE" {
                bytes.push(parse_byte(pair.value)?);
            }
            if pair.depth != 1 {
                continue;
            }
            match pair.key {
                b"stream" => stream = true,
                b"log" | b"message" | b"msg" | b"MESSAGE" if pair.is_quoted => {
                    match pair.key {
                        b"log" => format = EnvelopeFormat::Docker,
                        b"MESSAGE" => format = EnvelopeFormat::Journal,
                        _ => {}
                    }
                    message = Some(unescape_text(pair.value).into_owned());
                }
                b"__REALTIME_TIMESTAMP" | b"time" | b"timestamp" | b"ts" | b"@timestamp" => {
                    timestamp = timestamps::parse_timestamp(pair.value, defaults).or(timestamp);
                }
                b"requestId" | b"request_id" | b"reqId" => {
                    request_id = Some(String::from_utf8_lossy(&unescape_text(pair.value)).into_owned());
                }
                _ => {}
            }
        }
        if !bytes.is_empty() {
            (format, message) = (EnvelopeFormat::Journal, Some(bytes));
        }
        // A complete container log entry ends with a line break; the runtime splits longer lines.
        let message = message?.trim_ascii_end().to_vec();
        if format == EnvelopeFormat::Docker && !stream {
            format = EnvelopeFormat::Json;
        }
        // A truncated object may have lost the important part.
        (!pairs.is_truncated()).then_some(Self { format, timestamp, request_id, message })
    }
}

fn parse_byte(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(line: &str) -> (Vec<&'static str>, Option<i64>, String) {
        let frame = Envelope::parse(line.as_bytes(), true, TimestampDefaults::default());
        let seconds = frame.timestamp.map(|at| at.micros() / 1_000_000);
        let carriers = frame.formats().map(EnvelopeFormat::name).collect();
        (carriers, seconds, String::from_utf8_lossy(&frame.message).trim().to_owned())
    }

    #[test]
    fn removes_every_kind_of_envelope() {
        let noon = Some(1_795_608_000);
        for (line, carriers, at) in [
            ("hello", &[][..], None),
            ("2026-11-25T12:00:00Z hello", &["timestamp"], noon),
            ("[2026-11-25 12:00:00] hello", &["timestamp"], noon),
            ("2026-11-25T12:00:00.1Z stdout F hello", &["container log (CRI)"], noon),
            (
                r#"{"log":"hello\n","stream":"stdout","time":"2026-11-25T12:00:00Z"}"#,
                &["container log (Docker)"],
                noon,
            ),
            (r#"{"__REALTIME_TIMESTAMP":"1795608000000000","MESSAGE":"hello"}"#, &["journal export"], noon),
            (
                r#"{"MESSAGE":[104,101,108,108,111],"__REALTIME_TIMESTAMP":"1795608000000000"}"#,
                &["journal export"],
                noon,
            ),
            (r#"{"level":30,"time":1795608000000,"msg":"hello"}"#, &["JSON"], noon),
            (
                "<34>1 2026-11-25T12:00:00Z host app 1 - [a@1 b=\"\\\"]\"][c] \u{feff}hello",
                &["syslog (RFC 5424)"],
                noon,
            ),
            (
                r#"<34>1 2026-11-25T12:00:00Z host app 1 - - {"msg":"hello"}"#,
                &["syslog (RFC 5424)", "JSON"],
                noon,
            ),
        ] {
            let (found, when, message) = frame(line);
            assert_eq!((found.as_slice(), when), (carriers, at), "{line}");
            assert!(message.trim_start_matches(']').trim() == "hello", "{line}: {message}");
        }
        for line in ["<34>Nov 25 12:00:00 host app[1]: hello", "Nov 25 12:00:00 host app: hello"] {
            let (found, _, message) = frame(line);
            assert_eq!((found, message.as_str()), (vec!["syslog (RFC 3164)"], "hello"));
        }
        let (found, at, message) = frame("0|app  | 2026-11-25T12:00:00: hello");
        assert_eq!((found, at), (vec!["timestamp"], noon));
        assert!(message.starts_with("0|app"), "{message}");
    }

    #[test]
    fn a_truncated_object_is_no_envelope() {
        let whole = r#"{"log":"hello\n","stream":"stdout","time":"2026-11-25T12:00:00Z"}"#;
        for end in 0..whole.len() {
            assert_eq!(frame(&whole[..end]).0, Vec::<&str>::new(), "{end}");
        }
    }
}
