//! Format 1 of stored rows, read but no longer written: rows in sequence, little-endian numbers, length-prefixed
//! texts.

use super::RowRef;

const ACTIVE_FLAG: u8 = 1;
const EXPIRES_FLAG: u8 = 2;
const TOKEN_FLAG: u8 = 4;

/// Decodes rows of format 1; `None` if the bytes are malformed.
pub(super) fn decode_row_refs(mut bytes: &[u8]) -> Option<Vec<RowRef>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        rows.push(read_row(&mut bytes)?);
    }
    Some(rows)
}

fn read_row(bytes: &mut &[u8]) -> Option<RowRef> {
    let flags = take_bytes(bytes, 1)?.first().copied()?;
    let locator = u64::from_le_bytes(take_bytes(bytes, 8)?.try_into().ok()?);
    let version = i64::from_le_bytes(take_bytes(bytes, 8)?.try_into().ok()?);
    let row_hash = i64::from_le_bytes(take_bytes(bytes, 8)?.try_into().ok()?);
    let mut number = |flag: u8| {
        if flags & flag == 0 {
            return Some(None);
        }
        Some(Some(i64::from_le_bytes(take_bytes(bytes, 8)?.try_into().ok()?)))
    };
    let (expires_us, token_fingerprint) = (number(EXPIRES_FLAG)?, number(TOKEN_FLAG)?);
    let active = flags & ACTIVE_FLAG != 0;
    let mut text = || {
        // Zero stands for no text; any other number is the length plus one.
        let length = u16::from_le_bytes(take_bytes(bytes, 2)?.try_into().ok()?);
        let Some(length) = usize::from(length).checked_sub(1) else { return Some(None) };
        Some(Some(String::from_utf8_lossy(take_bytes(bytes, length)?).into_owned()))
    };
    let (id, token_prefix, user) = (text()?, text()?, text()?);
    Some(RowRef { locator, version, row_hash, id, token_fingerprint, token_prefix, user, expires_us, active })
}

fn take_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows as version 0.1.0 stored them before rows had a checksum.
    const STORED: &[u8] = b"\
          \x07\x07\x00\x01\x00\x00\x00\x00\x00\xdb\x02\x00\x00\x00\x00\x00\x00\xfb\xff\xff\xff\xff\xff\xff\
          \xff\x00\x80\x98\x28\x17\x65\x06\x00\x4d\x00\x00\x00\x00\x00\x00\x00\x03\x00\x73\x31\x09\x00\x61\
          \x62\x63\x64\x65\x66\x67\x68\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
          \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00";

    #[test]
    fn rows_of_earlier_versions_are_decoded_and_truncation_is_detected() {
        let rows = super::super::decode_row_refs(STORED).unwrap();
        let first = RowRef {
            locator: 65_543,
            version: 731,
            row_hash: -5,
            id: Some("s1".into()),
            token_fingerprint: Some(77),
            token_prefix: Some("abcdefgh".into()),
            user: None,
            expires_us: Some(1_800_000_000_000_000),
            active: true,
        };
        assert_eq!(rows, [first, RowRef { user: Some(String::new()), ..RowRef::default() }]);
        assert!(super::super::decode_row_refs(&STORED[..STORED.len() - 1]).is_err());
    }
}
