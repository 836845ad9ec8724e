//! What carries a log line: time stamps, syslog, containers, the journal, drains, JSON loggers. They may carry each other.

use std::borrow::Cow;

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    key_values::{KeyValues, unescape_text},
    timestamps::{self, TimestampDefaults},
};

/// Carriers inside carriers.
const MAX_NESTED_ENVELOPES: usize = 4;
/// Bytes in which a time stamp is looked for that does not stand at the beginning.
const TIMESTAMP_SEARCH_BYTES: usize = 64;

/// What a line was taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeFormat {
    /// A time stamp before the text.
    TimeStamp,
    /// Syslog by RFC 5424.
    Syslog,
    /// Syslog by RFC 3164.
    BsdSyslog,
    /// A line of a container, as Docker keeps it.
    Docker,
    /// A line of a container, as CRI runtimes keep it.
    Cri,
    /// The journal's JSON export.
    Journal,
    /// A logger that writes JSON, or an entry of a drain.
    Json,
}

impl EnvelopeFormat {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeStamp => "time stamp",
            Self::Syslog => "syslog (RFC 5424)",
            Self::BsdSyslog => "syslog (RFC 3164)",
            Self::Docker => "container log (Docker)",
            Self::Cri => "container log (CRI)",
            Self::Journal => "journal export",
            Self::Json => "JSON",
        }
    }
}

/// A line, taken out of what carried it.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    formats: [Option<EnvelopeFormat>; MAX_NESTED_ENVELOPES],
    /// Something of that stands at its beginning, so that it is a line of its own.
    pub starts_line: bool,
    /// A time stamp was taken off that a tab stands before, so that the line goes on with another one.
    pub is_indented: bool,
    /// When, by the innermost carrier that says.
    pub timestamp: Option<UtcTimestamp>,
    /// The request.
    pub request_id: Option<String>,
    /// What was logged.
    pub message: Cow<'a, [u8]>,
    /// The innermost JSON object around the message.
    pub outer_object: Option<Cow<'a, [u8]>>,
    /// Whether the message is known to end where it does.
    pub is_complete: bool,
}

impl<'a> Envelope<'a> {
    /// What a message is that nothing carries.
    #[must_use]
    pub fn from_message(message: &'a [u8], complete: bool) -> Self {
        Self {
            formats: [None; MAX_NESTED_ENVELOPES],
            starts_line: false,
            is_indented: false,
            timestamp: None,
            request_id: None,
            message: Cow::Borrowed(message),
            outer_object: None,
            is_complete: complete,
        }
    }

    /// What it was taken out of, outermost first.
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

    /// Takes a line out of everything that carries it. `complete` says whether the line ended, or the text did.
    #[must_use]
    pub fn parse(line: &'a [u8], complete: bool, defaults: TimestampDefaults) -> Self {
        let mut frame = Self::from_message(line.trim_ascii_end(), complete);
        for _ in 0..MAX_NESTED_ENVELOPES {
            if !frame.unwrap_layer(defaults) {
                break;
            }
        }
        frame
    }

    /// Takes one carrier off: whether there was one.
    fn unwrap_layer(&mut self, defaults: TimestampDefaults) -> bool {
        let text = self.message.as_ref();
        let begin = text.len() - text.trim_ascii_start().len();
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
        let Some(EnvelopeHeader { format: carrier, timestamp: at, end }) = stamped else { return false };
        let is_indented = text.starts_with(b"\t");
        self.timestamp = at.or(self.timestamp);
        self.push_format(carrier);
        self.starts_line |= begin == 0 && end > 0;
        self.is_indented |= is_indented;
        self.skip_to(if end > 0 { begin + end } else { 0 });
        true
    }

    /// Leaves what comes after a place.
    fn skip_to(&mut self, begin: usize) {
        match &mut self.message {
            Cow::Borrowed(text) => self.message = Cow::Borrowed(&text[begin..]),
            Cow::Owned(text) => drop(text.drain(..begin)),
        }
    }

    /// Takes the message out of a JSON object, if it has one.
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

/// What stands before a text.
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
    // What stands before a time that is not at the beginning may be what is looked for.
    let end = if begin <= 1 { end } else { 0 };
    Some(EnvelopeHeader { format: EnvelopeFormat::TimeStamp, timestamp: Some(at), end })
}

/// The header of a syslog message.
fn parse_syslog_header(text: &[u8], defaults: TimestampDefaults) -> Option<EnvelopeHeader> {
    let end = 1 + text.get(1..)?.iter().take(4).position(|byte| *byte == b'>')?;
    if end == 1 || !text[1..end].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let rest = &text[end + 1..];
    let place = |rest: &[u8]| text.len() - rest.len();
    let Some(mut rest) = rest.strip_prefix(b"1 ") else {
        let (at, taken) = match timestamps::parse_bsd_timestamp(rest, defaults) {
            Some((at, taken)) => (Some(at), taken),
            None => timestamps::parse_leading_timestamp(rest, defaults)
                .map_or((None, 0), |(at, taken)| (Some(at), taken)),
        };
        let rest = &rest[taken..];
        return Some(EnvelopeHeader {
            format: EnvelopeFormat::BsdSyslog,
            timestamp: at,
            end: place(rest) + syslog_tag_bytes(rest),
        });
    };
    let at = timestamps::parse_leading_timestamp(rest, defaults).map(|(at, _)| at);
    // Time, host, application, process, kind of message.
    for _ in 0..5 {
        rest = &rest[memchr::memchr(b' ', rest)? + 1..];
    }
    rest = skip_structured_data(rest)?;
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix("\u{feff}".as_bytes()).unwrap_or(rest);
    Some(EnvelopeHeader { format: EnvelopeFormat::Syslog, timestamp: at, end: place(rest) })
}

/// How many bytes a host and a tag take: ` host app[1]: `. Nothing is taken of what does not look like that.
fn syslog_tag_bytes(text: &[u8]) -> usize {
    let Some(end) = memchr::memmem::find(&text[..text.len().min(256)], b": ") else { return 0 };
    let words = text[..end].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    if words.count() <= 2 { end + 2 } else { 0 }
}

/// What comes after the structured data of RFC 5424: `-`, or elements in brackets whose values are in quotes.
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

/// The message of a JSON object.
struct JsonEnvelope {
    format: EnvelopeFormat,
    timestamp: Option<UtcTimestamp>,
    request_id: Option<String>,
    message: Vec<u8>,
}

impl JsonEnvelope {
    fn parse(text: &[u8], defaults: TimestampDefaults) -> Option<Self> {
        let mut pairs = KeyValues::new(text, false);
        let (mut carrier, mut stream) = (EnvelopeFormat::Json, false);
        let (mut at, mut request, mut message, mut bytes) = (None, None, None, vec![]);
        for pair in &mut pairs {
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
                        b"log" => carrier = EnvelopeFormat::Docker,
                        b"MESSAGE" => carrier = EnvelopeFormat::Journal,
                        _ => {}
                    }
                    message = Some(unescape_text(pair.value).into_owned());
                }
                b"__REALTIME_TIMESTAMP" | b"time" | b"timestamp" | b"ts" | b"@timestamp" => {
                    at = timestamps::parse_timestamp(pair.value, defaults).or(at);
                }
                b"requestId" | b"request_id" | b"reqId" => {
                    request = Some(String::from_utf8_lossy(&unescape_text(pair.value)).into_owned());
                }
                _ => {}
            }
        }
        if !bytes.is_empty() {
            (carrier, message) = (EnvelopeFormat::Journal, Some(bytes));
        }
        // A container's line ends with its line break; what does not was cut by the runtime.
        let message = message?.trim_ascii_end().to_vec();
        if carrier == EnvelopeFormat::Docker && !stream {
            carrier = EnvelopeFormat::Json;
        }
        // Half an object may have lost what counts.
        (!pairs.is_truncated()).then_some(Self {
            format: carrier,
            timestamp: at,
            request_id: request,
            message,
        })
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
    fn lines_are_taken_out_of_what_carries_them() {
        let noon = Some(1_795_608_000);
        for (line, carriers, at) in [
            ("hello", &[][..], None),
            ("2026-11-25T12:00:00Z hello", &["time stamp"], noon),
            ("[2026-11-25 12:00:00] hello", &["time stamp"], noon),
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
        assert_eq!((found, at), (vec!["time stamp"], noon));
        assert!(message.starts_with("0|app"), "{message}");
    }

    #[test]
    fn half_an_object_carries_nothing() {
        let whole = r#"{"log":"hello\n","stream":"stdout","time":"2026-11-25T12:00:00Z"}"#;
        for end in 0..whole.len() {
            assert_eq!(frame(&whole[..end]).0, Vec::<&str>::new(), "{end}");
        }
    }
}
