//! Parser for key-value pairs in free text: objects as printed by Node.js, JSON, and `key=value`.
//!
//! Works in one pass and accepts incomplete text. A value at the end of truncated text is ignored, since `12` may be
//! the rest of `123`.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

/// Length up to which a byte-by-byte search beats `memchr`.
const SHORT_TEXT_BYTES: usize = 40;
/// Nesting depth up to which parent keys are tracked.
const MAX_TRACKED_DEPTH: usize = 8;

/// Key and value, or a list element, which has an empty key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue<'a> {
    /// Key of the enclosing object.
    pub(crate) parent: &'a [u8],
    pub(crate) key: &'a [u8],
    /// Raw value without its quotes.
    pub(crate) value: &'a [u8],
    pub(crate) is_quoted: bool,
    /// Number of enclosing objects and lists.
    pub(crate) depth: usize,
    /// Offset of the value in the text.
    pub(crate) value_offset: usize,
}

/// Iterator over the pairs of a text.
#[derive(Debug)]
pub(crate) struct KeyValues<'a> {
    text: &'a [u8],
    position: usize,
    parents: [&'a [u8]; MAX_TRACKED_DEPTH],
    depth: usize,
    has_opened: bool,
    /// The text ends at the end of a line or message.
    is_complete: bool,
    /// A value is cut off by the end of the text.
    is_truncated: bool,
}

impl<'a> KeyValues<'a> {
    pub(crate) fn new(text: &'a [u8], is_complete: bool) -> Self {
        Self {
            text,
            position: 0,
            parents: [b""; MAX_TRACKED_DEPTH],
            depth: 0,
            has_opened: false,
            is_complete,
            is_truncated: false,
        }
    }

    /// Returns whether an object or list is still open. Valid once the iterator is exhausted.
    pub(crate) fn is_open(&self) -> bool {
        self.depth > 0 || (self.is_truncated && self.has_opened)
    }

    /// Returns whether the text is cut off. Valid once the iterator is exhausted.
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

    /// Reads a quoted text, starting at the opening quote.
    fn read_quoted(&mut self) -> Option<&'a [u8]> {
        let quote = self.peek()?;
        let begin = self.position + 1;
        let mut at = begin;
        loop {
            let rest = self.text.get(at..)?;
            // Most texts are short, and setting up `memchr` costs more than scanning them.
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

    /// Reads an unquoted value.
    fn read_bare(&mut self) -> &'a [u8] {
        self.read_while(|byte| BYTE_CLASSES[usize::from(byte)] & VALUE_END_BYTE == 0)
    }

    fn read_word(&mut self) -> &'a [u8] {
        self.read_while(is_word_byte)
    }

    #[inline]
    fn read_while(&mut self, accepts: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.position..];
        let length = rest.iter().position(|byte| !accepts(*byte)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    fn build_pair(&self, key: &'a [u8], value: &'a [u8], is_quoted: bool) -> KeyValue<'a> {
        let value_offset = self.position - value.len() - usize::from(is_quoted);
        KeyValue { parent: self.parent_key(), key, value, is_quoted, depth: self.depth, value_offset }
    }

    /// Reads the value after a key; `None` if it is an object or list.
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
                // In `cookie: name=value`, the name is the key.
                let inner =
                    value.iter().position(|byte| !is_word_byte(*byte)).filter(|at| value[*at] == b'=');
                if inner.is_some_and(|at| at > 0 && value.get(at + 1).is_some_and(|next| *next != b'=')) {
                    self.position = begin;
                    return None;
                }
                // At the end of the text an unquoted value is complete only on a complete line outside of objects.
                if self.position == self.text.len() && (self.depth > 0 || !self.is_complete) {
                    self.is_truncated = true;
                    return None;
                }
                (!value.is_empty()).then(|| self.build_pair(key, value, false))
            }
        }
    }

    /// Handles a quoted text, which may be a key.
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

    /// Handles a word, which may be a key.
    fn read_after_word(&mut self, word: &'a [u8]) -> Option<KeyValue<'a>> {
        match self.peek() {
            // An apostrophe inside a word is no quote, and `http:` is no key.
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

/// Class of bytes in words and keys.
const WORD_BYTE: u8 = 1;
/// Class of bytes that end an unquoted value.
const VALUE_END_BYTE: u8 = 2;
/// Classes of each byte.
const BYTE_CLASSES: [u8; 256] = {
    let (mut class, mut at) = ([0; 256], 0);
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
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

/// Resolves the escapes of a quoted text.
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

/// Resolves a `\u` escape and returns the rest of the text.
fn unescape_unicode<'a>(text: &'a [u8], into: &mut Vec<u8>) -> &'a [u8] {
    let Some(code) = parse_hex(text, 4) else { return text };
    let rest = &text[4..];
    // A surrogate pair encodes one character.
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

/// Removes ANSI escape sequences such as colors.
pub(crate) fn strip_ansi(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(0x1b, text) else { return Cow::Borrowed(text) };
    let mut plain = text[..first].to_vec();
    let mut rest = &text[first..];
    while let [0x1b, more @ ..] = rest {
        rest = more;
        if let [b'[', sequence @ ..] = rest {
            // A sequence ends with a final byte; one without is cut off.
            let end = sequence.iter().position(|byte| (0x40..0x7f).contains(byte));
            rest = end.map_or(&[][..], |end| &sequence[end + 1..]);
        }
        let next = memchr::memchr(0x1b, rest).unwrap_or(rest.len());
        plain.extend_from_slice(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(plain)
}

/// Returns the offset of the first line end.
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
    fn parses_node_objects_json_and_logfmt() {
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
    fn values_cut_off_by_the_end_are_ignored() {
        assert_eq!(pairs("a { id: 12", true), (vec![], true));
        assert_eq!(pairs("a { id: '12", true), (vec![], true));
        assert_eq!(pairs("a { id: '12'", true), (vec![".id=12".into()], true));
        assert_eq!(pairs("id=12", false), (vec![], false));
        assert_eq!(pairs("a { x: { id: 12 }", true), (vec!["x.id=12".into()], true));
    }

    #[test]
    fn resolves_escapes_and_removes_colors() {
        assert_eq!(unescape_text(br#"a\n\u00e9\ud83d\ude00\x41\"\"#).as_ref(), "a\né😀A\"\\".as_bytes());
        assert_eq!(unescape_text(br"\ud83d\u12").as_ref(), "\u{fffd}12".as_bytes());
        assert_eq!(strip_ansi(b"\x1b[32m'a'\x1b[39m \x1b[3").as_ref(), b"'a' ");
    }
}
