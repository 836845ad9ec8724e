//! Detects and decodes the text encoding of a file: UTF-8, or UTF-16 as some loggers on Windows and .NET write it.

/// Number of bytes at the start of a file that detection uses.
const DETECTION_BYTES: usize = 256;
/// If at least one in this many bytes is NUL, a block is taken for wide text.
const NUL_SHARE_DIVISOR: usize = 3;
/// Minimum size of a block that is tested for wide text.
const MIN_WIDE_TEXT_BYTES: usize = 8;

/// A text encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextEncoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl TextEncoding {
    /// Detects the encoding from the first bytes of a file; `None` if they are too few.
    pub(super) fn detect(first: &[u8]) -> Option<Self> {
        let first = &first[..first.len().min(DETECTION_BYTES)];
        let looks_wide = matches!(first, [0xff | 0xfe | 0, ..] | [_, 0, ..]);
        match first {
            [] => None,
            _ if looks_wide && first.len() < 4 => None,
            // UTF-32 starts like UTF-16. Read as bytes, it is reported as wide text later.
            [0xff, 0xfe, 0, 0, ..] => Some(Self::Utf8),
            [0xff, 0xfe, ..] => Some(Self::Utf16Le),
            [0xfe, 0xff, ..] => Some(Self::Utf16Be),
            _ if has_alternating_nuls(first, 1) => Some(Self::Utf16Le),
            _ if has_alternating_nuls(first, 0) => Some(Self::Utf16Be),
            _ => Some(Self::Utf8),
        }
    }

    /// Returns the length of the first complete line, including its line break; `None` if there is none.
    pub(super) fn line_length(self, block: &[u8]) -> Option<usize> {
        let unit: [u8; 2] = match self {
            Self::Utf8 => return memchr::memchr(b'\n', block).map(|end| end + 1),
            Self::Utf16Le => [b'\n', 0],
            Self::Utf16Be => [0, b'\n'],
        };
        block.chunks_exact(2).position(|pair| pair == unit).map(|end| (end + 1) * 2)
    }

    /// Converts a line to UTF-8, without a byte order mark.
    pub(super) fn decode_line(self, line: &[u8]) -> Vec<u8> {
        let unit = |pair: &[u8]| match self {
            Self::Utf16Be => u16::from_be_bytes([pair[0], pair[1]]),
            _ => u16::from_le_bytes([pair[0], pair[1]]),
        };
        let units = line.chunks_exact(2).map(unit).skip_while(|unit| *unit == 0xfeff);
        let letters = char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
        letters.collect::<String>().into_bytes()
    }
}

/// Returns `true` if at least 80% of the bytes at index `odd` of each pair are NUL, and none of the others.
fn has_alternating_nuls(bytes: &[u8], odd: usize) -> bool {
    let nul = |at: usize| bytes.chunks_exact(2).filter(|pair| pair[at] == 0).count();
    bytes.len() >= 4 && nul(1 - odd) == 0 && nul(odd) * 5 >= (bytes.len() / 2) * 4
}

/// Returns `true` if a block of a byte-oriented file contains wide text that is not decoded: UTF-16 appended to other
/// text, or UTF-32.
pub(super) fn is_wide_text(block: &[u8]) -> bool {
    block.len() >= MIN_WIDE_TEXT_BYTES
        && memchr::memchr(0, block).is_some()
        && memchr::memchr_iter(0, block).count() >= block.len() / NUL_SHARE_DIVISOR
        // A hole in a sparse file is all NUL.
        && block.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(encode).collect()
    }

    #[test]
    fn byte_order_marks_and_alternating_nuls_are_detected() {
        for (text, expected) in [
            (wide("\u{feff}a", u16::to_le_bytes), TextEncoding::Utf16Le),
            (wide("\u{feff}a", u16::to_be_bytes), TextEncoding::Utf16Be),
            (wide("line\n", u16::to_le_bytes), TextEncoding::Utf16Le),
            (wide("line\n", u16::to_be_bytes), TextEncoding::Utf16Be),
            (b"line\n".to_vec(), TextEncoding::Utf8),
            (b"\n".to_vec(), TextEncoding::Utf8),
            (b"\0\0\0\0line\n".to_vec(), TextEncoding::Utf8),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), TextEncoding::Utf8),
        ] {
            assert_eq!(TextEncoding::detect(&text), Some(expected), "{text:?}");
        }
        for short in [&b""[..], b"\xff", b"\xff\xfe", b"a\0", b"\0"] {
            assert_eq!(TextEncoding::detect(short), None, "{short:?}");
        }
    }

    #[test]
    fn lines_are_split_and_decoded() {
        for (encoding, encode) in [
            (TextEncoding::Utf16Le, u16::to_le_bytes as fn(u16) -> [u8; 2]),
            (TextEncoding::Utf16Be, u16::to_be_bytes),
        ] {
            // Both bytes of U+0A0A and the second one of U+010A resemble line breaks.
            let text = wide("\u{feff}\u{a0a}\u{10a} ü🚨\nrest", encode);
            let length = encoding.line_length(&text).unwrap();
            assert_eq!(encoding.decode_line(&text[..length]), "\u{a0a}\u{10a} ü🚨\n".as_bytes());
            assert_eq!(encoding.line_length(&text[length..]), None);
        }
    }

    #[test]
    fn wide_text_is_distinguished_from_holes_and_stray_nuls() {
        assert!(is_wide_text(&wide("a line\n", u16::to_le_bytes)));
        assert!(is_wide_text(b"l\0\0\0i\0\0\0n\0\0\0"));
        assert!(!is_wide_text(b"\0\0\0\0\0\0\0\0\0\0"));
        assert!(!is_wide_text(b"a line with a \0 in it\n"));
    }
}
