//! Keys and values in text that was written for people: objects as Node prints them, JSON, and `key=value`.
//!
//! One pass, whatever it is. Nothing is required to be complete: a value that the text ends in is given as cut, since
//! `12` may be what is left of `123`.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

/// Bytes in which a short text ends.
const SHORT_TEXT_BYTES: usize = 40;
/// Objects inside objects whose keys are remembered.
const MAX_TRACKED_DEPTH: usize = 8;

/// A key with its value, or an element of a list, which has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue<'a> {
    /// The key of the object that it is in.
    pub(crate) parent: &'a [u8],
    pub(crate) key: &'a [u8],
    /// As written, without its quotes.
    pub(crate) value: &'a [u8],
    pub(crate) is_quoted: bool,
    /// How many objects it is in.
    pub(crate) depth: usize,
    /// Where the value begins in the text.
    pub(crate) value_offset: usize,
}

/// The pairs of a text.
#[derive(Debug)]
pub(crate) struct KeyValues<'a> {
    text: &'a [u8],
    position: usize,
    parents: [&'a [u8]; MAX_TRACKED_DEPTH],
    depth: usize,
    has_opened: bool,
    /// Whether the text ends where a line or a message does.
    is_complete: bool,
    /// A value was cut.
    is_truncated: bool,
}

impl<'a> KeyValues<'a> {
    pub(crate) fn new(text: &'a [u8], complete: bool) -> Self {
        Self {
            text,
            position: 0,
            parents: [b""; MAX_TRACKED_DEPTH],
            depth: 0,
            has_opened: false,
            is_complete: complete,
            is_truncated: false,
        }
    }

    /// Whether an object or list has not ended; to be asked at the end.
    pub(crate) fn is_open(&self) -> bool {
        self.depth > 0 || (self.is_truncated && self.has_opened)
    }

    /// Whether something was cut; to be asked at the end.
    pub(crate) fn is_truncated(&self) -> bool {
        self.is_truncated || self.depth > 0
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn open_object(&mut self, key: &'a [u8]) {
        if let Some(parent) = self.parents.get_mut(self.depth) {
            *parent = key;
        }
        (self.depth, self.has_opened, self.position) = (self.depth + 1, true, self.position + 1);
    }

    fn parent_key(&self) -> &'a [u8] {
        self.depth.checked_sub(1).and_then(|at| self.parents.get(at)).copied().unwrap_or_default()
    }

    /// What stands between quotes, from the first of them on.
    fn read_quoted(&mut self) -> Option<&'a [u8]> {
        let quote = self.peek()?;
        let begin = self.position + 1;
        let mut at = begin;
        loop {
            let rest = self.text.get(at..)?;
            // Most texts are short.
            let near = &rest[..rest.len().min(SHORT_TEXT_BYTES)];
            let found = near.iter().position(|byte| *byte == quote || *byte == b'\\');
            at += match found {
                Some(found) => found,
                None => near.len() + memchr2(quote, b'\\', &rest[near.len()..])?,
            };
            if self.text[at] == quote {
                self.position = at + 1;
                return Some(&self.text[begin..at]);
            }
            at += 2;
        }
    }

    /// What stands there without quotes, up to what ends it.
    fn read_bare(&mut self) -> &'a [u8] {
        self.read_while(|byte| BYTE_CLASSES[usize::from(byte)] & VALUE_END_BYTE == 0)
    }

    fn read_word(&mut self) -> &'a [u8] {
        self.read_while(is_word_byte)
    }

    #[inline]
    fn read_while(&mut self, goes_on: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.position..];
        let length = rest.iter().position(|byte| !goes_on(*byte)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    fn build_pair(&self, key: &'a [u8], value: &'a [u8], quoted: bool) -> KeyValue<'a> {
        let at = self.position - value.len() - usize::from(quoted);
        KeyValue {
            parent: self.parent_key(),
            key,
            value,
            is_quoted: quoted,
            depth: self.depth,
            value_offset: at,
        }
    }

    /// The value after a key, unless it is an object or a list.
    fn read_value(&mut self, key: &'a [u8]) -> Option<KeyValue<'a>> {
        match self.peek() {
            Some(b'{' | b'[') => {
                self.open_object(key);
                None
            }
            Some(b'\'' | b'"' | b'`') => {
                let Some(value) = self.read_quoted() else {
                    (self.is_truncated, self.position) = (true, self.text.len());
                    return None;
                };
                Some(self.build_pair(key, value, true))
            }
            _ => {
                let begin = self.position;
                let value = self.read_bare();
                // `cookie: name=value`: the name is the key.
                let inner =
                    value.iter().position(|byte| !is_word_byte(*byte)).filter(|at| value[*at] == b'=');
                if inner.is_some_and(|at| at > 0 && value.get(at + 1).is_some_and(|next| *next != b'=')) {
                    self.position = begin;
                    return None;
                }
                // Only a line of its own may end in a value.
                if self.position == self.text.len() && (self.depth > 0 || !self.is_complete) {
                    self.is_truncated = true;
                    return None;
                }
                (!value.is_empty()).then(|| self.build_pair(key, value, false))
            }
        }
    }

    /// What follows a text in quotes: it may have been a key.
    fn read_after_quotes(&mut self, text: &'a [u8]) -> Option<KeyValue<'a>> {
        let end = self.position;
        self.skip_spaces();
        if self.peek() == Some(b':') {
            self.position += 1;
            self.skip_spaces();
            return self.read_value(text);
        }
        self.position = end;
        Some(self.build_pair(b"", text, true))
    }

    /// What follows a word: it may have been a key.
    fn read_after_word(&mut self, word: &'a [u8]) -> Option<KeyValue<'a>> {
        match self.peek() {
            // What stands in a word is an apostrophe, and what follows `http:` no value.
            Some(b'\'') if self.depth == 0 => self.position += 1,
            Some(b':') if self.text.get(self.position + 1) != Some(&b'/') => {
                self.position += 1;
                self.skip_spaces();
                return self.read_value(word);
            }
            Some(b'=') => {
                self.position += 1;
                return self.read_value(word);
            }
            Some(b',' | b']') if self.depth > 0 => return Some(self.build_pair(b"", word, false)),
            _ => {}
        }
        None
    }
}

/// A byte of a word, and of a key.
const WORD_BYTE: u8 = 1;
/// A byte that ends a value without quotes.
const VALUE_END_BYTE: u8 = 2;
/// What each byte is.
const BYTE_CLASSES: [u8; 256] = {
    let (mut class, mut at) = ([0; 256], 0);
    while at < 256 {
        // There is no byte beyond.
        #[expect(clippy::cast_possible_truncation, reason = "a byte is below 256")]
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'@' | b'.' | b'-') {
            class[at] |= WORD_BYTE;
        }
        if matches!(byte, b',' | b';' | b'&' | b'\\' | b'}' | b']' | b'"' | b'\'' | b')')
            || byte.is_ascii_whitespace()
        {
            class[at] |= VALUE_END_BYTE;
        }
        at += 1;
    }
    class
};

fn is_word_byte(byte: u8) -> bool {
    BYTE_CLASSES[usize::from(byte)] & WORD_BYTE != 0
}

impl<'a> Iterator for KeyValues<'a> {
    type Item = KeyValue<'a>;

    fn next(&mut self) -> Option<KeyValue<'a>> {
        while let Some(byte) = self.peek() {
            let found = match byte {
                b'{' | b'[' => {
                    self.open_object(b"");
                    None
                }
                b'}' | b']' => {
                    (self.depth, self.position) = (self.depth.saturating_sub(1), self.position + 1);
                    None
                }
                b'"' | b'\'' | b'`' => match self.read_quoted() {
                    Some(text) => self.read_after_quotes(text),
                    None if self.depth > 0 => {
                        (self.is_truncated, self.position) = (true, self.text.len());
                        None
                    }
                    None => {
                        self.position += 1;
                        None
                    }
                },
                byte if is_word_byte(byte) => {
                    let word = self.read_word();
                    self.read_after_word(word)
                }
                _ => {
                    self.position += 1;
                    None
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// A text as it was before it was put between quotes.
pub(crate) fn unescape_text(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', raw) else { return Cow::Borrowed(raw) };
    let mut text = raw[..first].to_vec();
    let mut rest = &raw[first..];
    while let [b'\\', letter, more @ ..] = rest {
        rest = more;
        match letter {
            b'n' => text.push(b'\n'),
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'u' => rest = unescape_unicode(rest, &mut text),
            b'x' => {
                if let Some(code) = parse_hex(rest, 2) {
                    push_char(code, &mut text);
                    rest = &rest[2..];
                }
            }
            other => text.push(*other),
        }
        let next = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        text.extend_from_slice(&rest[..next]);
        rest = &rest[next..];
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

fn parse_hex(text: &[u8], count: usize) -> Option<u32> {
    let text = std::str::from_utf8(text.get(..count)?).ok()?;
    u32::from_str_radix(text, 16).ok()
}

/// What follows `\u`: the rest after it.
fn unescape_unicode<'a>(text: &'a [u8], into: &mut Vec<u8>) -> &'a [u8] {
    let Some(code) = parse_hex(text, 4) else { return text };
    let rest = &text[4..];
    // Two halves make one character.
    if (0xD800..0xDC00).contains(&code)
        && let [b'\\', b'u', second @ ..] = rest
        && let Some(low @ 0xDC00..0xE000) = parse_hex(second, 4)
    {
        push_char(0x1_0000 + ((code - 0xD800) << 10) + (low - 0xDC00), into);
        return &second[4..];
    }
    push_char(code, into);
    rest
}

fn push_char(code: u32, into: &mut Vec<u8>) {
    let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    into.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Whether a text has colours, or anything else that needs cleaning before it is read.
pub(crate) fn strip_ansi(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(0x1b, text) else { return Cow::Borrowed(text) };
    let mut plain = text[..first].to_vec();
    let mut rest = &text[first..];
    while let [0x1b, more @ ..] = rest {
        rest = more;
        if let [b'[', sequence @ ..] = rest {
            // It ends with a letter; one that does not end was cut.
            let end = sequence.iter().position(|byte| (0x40..0x7f).contains(byte));
            rest = end.map_or(&[][..], |end| &sequence[end + 1..]);
        }
        let next = memchr::memchr(0x1b, rest).unwrap_or(rest.len());
        plain.extend_from_slice(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(plain)
}

/// Where a text of several lines has its first end.
pub(crate) fn find_line_end(text: &[u8]) -> usize {
    memchr3(b'\n', b'\r', 0, text).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str, complete: bool) -> (Vec<String>, bool) {
        let mut pairs = KeyValues::new(text.as_bytes(), complete);
        let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = vec![];
        for pair in &mut pairs {
            assert_eq!(&text.as_bytes()[pair.value_offset..pair.value_offset + pair.value.len()], pair.value);
            found.push(format!("{}.{}={}", word(pair.parent), word(pair.key), word(pair.value)));
        }
        let open = pairs.is_open();
        (found, open)
    }

    #[test]
    fn reads_what_node_json_and_logfmt_write() {
        let all = |text| pairs(text, true);
        assert_eq!(
            all("created { a: 'x', b: 12, c: undefined }"),
            (vec![".a=x".into(), ".b=12".into(), ".c=undefined".into()], false)
        );
        assert_eq!(
            all("{\"user\": {\"id\": 7}, \"t\":[\"x\",\"y\"]}"),
            (vec!["user.id=7".into(), "t.=x".into(), "t.=y".into()], false)
        );
        assert_eq!(all("event=a user_id=7"), (vec![".event=a".into(), ".user_id=7".into()], false));
        assert_eq!(all("the user's id: 7, https://x/y a=b;"), (vec![".id=7".into(), ".a=b".into()], false));
        assert_eq!(all("{ when: 2026-01-01T00:00:00.000Z }").0, [".when=2026-01-01T00:00:00.000Z"]);
        assert_eq!(all("{ a: 'it\\'s', b: \"it's\" }").0, [".a=it\\'s", ".b=it's"]);
    }

    #[test]
    fn what_is_cut_is_not_read() {
        assert_eq!(pairs("a { id: 12", true), (vec![], true));
        assert_eq!(pairs("a { id: '12", true), (vec![], true));
        assert_eq!(pairs("a { id: '12'", true), (vec![".id=12".into()], true));
        assert_eq!(pairs("id=12", false), (vec![], false));
        assert_eq!(pairs("a { x: { id: 12 }", true), (vec!["x.id=12".into()], true));
    }

    #[test]
    fn undoes_quotes_and_colours() {
        assert_eq!(unescape_text(br#"a\n\u00e9\ud83d\ude00\x41\"\"#).as_ref(), "a\né😀A\"\\".as_bytes());
        assert_eq!(unescape_text(br"\ud83d\u12").as_ref(), "\u{fffd}12".as_bytes());
        assert_eq!(strip_ansi(b"\x1b[32m'a'\x1b[39m \x1b[3").as_ref(), b"'a' ");
    }
}
