//! The form in which earlier versions stored rows: one after the other, numbers little-endian, texts behind their length.
//! It is read, and not written any more.

use super::RowRef;

const ACTIVE: u8 = 1;
const ENDS: u8 = 2;
const TOKEN: u8 = 4;

/// The rows of those bytes; nothing if they are not such rows.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<RowRef>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        rows.push(row(&mut bytes)?);
    }
    Some(rows)
}

fn row(bytes: &mut &[u8]) -> Option<RowRef> {
    let flags = take(bytes, 1)?.first().copied()?;
    let place = u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?);
    let version = i64::from_le_bytes(take(bytes, 8)?.try_into().ok()?);
    let mark = i64::from_le_bytes(take(bytes, 8)?.try_into().ok()?);
    let mut number = |flag: u8| {
        if flags & flag == 0 {
            return Some(None);
        }
        Some(Some(i64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)))
    };
    let (expires, token) = (number(ENDS)?, number(TOKEN)?);
    let active = flags & ACTIVE != 0;
    let mut text = || {
        let length = u16::from_le_bytes(take(bytes, 2)?.try_into().ok()?);
        let Some(length) = usize::from(length).checked_sub(1) else { return Some(None) };
        Some(Some(String::from_utf8_lossy(take(bytes, length)?).into_owned()))
    };
    let (id, prefix, user) = (text()?, text()?, text()?);
    Some(RowRef { place, version, mark, id, token, prefix, user, expires, active })
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
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
    fn rows_of_earlier_versions_are_read_and_a_cut_is_noticed() {
        let rows = super::super::decode(STORED).unwrap();
        let first = RowRef {
            place: 65_543,
            version: 731,
            mark: -5,
            id: Some("s1".into()),
            token: Some(77),
            prefix: Some("abcdefgh".into()),
            user: None,
            expires: Some(1_800_000_000_000_000),
            active: true,
        };
        assert_eq!(rows, [first, RowRef { user: Some(String::new()), ..RowRef::default() }]);
        assert!(super::super::decode(&STORED[..STORED.len() - 1]).is_err());
    }
}
