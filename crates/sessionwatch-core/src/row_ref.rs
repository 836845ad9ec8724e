//! A planned row: what names it, how it looked when it was planned, and how it is kept in few bytes. No token is in it.

/// A row that a plan names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowRef {
    /// Where it stood: the number of a SQLite row, or block and line of a PostgreSQL one.
    pub place: u64,
    /// Which version of the row stood there, on PostgreSQL; zero where that is not known.
    pub version: i64,
    /// A hash, under the key of the store, of its id, token, user and expiry as they were.
    pub mark: i64,
    /// Its id, where the table has one.
    pub id: Option<String>,
    /// The fingerprint of its token under the key of the store; nothing for a row without one, or planned before that was kept.
    pub token: Option<i64>,
    /// The first characters of its token.
    pub prefix: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// Its end in microseconds; nothing for one without an end.
    pub expires: Option<i64>,
    /// Whether it was active.
    pub active: bool,
}

/// `(block,line)` of a place on PostgreSQL.
#[must_use]
pub fn tid(place: u64) -> String {
    format!("({},{})", place >> 16, place & 0xffff)
}

/// The place that such text, or the number of a row, names.
#[must_use]
pub fn place(text: &str) -> Option<u64> {
    match text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        Some(pair) => {
            let (block, line) = pair.split_once(',')?;
            Some(block.parse::<u64>().ok()? << 16 | line.parse::<u64>().ok()? & 0xffff)
        }
        None => Some(text.parse::<i64>().ok()?.cast_unsigned()),
    }
}

const ACTIVE: u8 = 1;
const ENDS: u8 = 2;
const TOKEN: u8 = 4;

/// Writes a row behind the others.
pub fn push(row: &RowRef, bytes: &mut Vec<u8>) {
    let flags = [(row.active, ACTIVE), (row.expires.is_some(), ENDS), (row.token.is_some(), TOKEN)];
    bytes.push(flags.into_iter().map(|(is_set, flag)| u8::from(is_set) * flag).sum());
    bytes.extend_from_slice(&row.place.to_le_bytes());
    bytes.extend_from_slice(&row.version.to_le_bytes());
    bytes.extend_from_slice(&row.mark.to_le_bytes());
    for number in [row.expires, row.token].into_iter().flatten() {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for text in [&row.id, &row.prefix, &row.user] {
        // Zero is nothing, so that an empty text differs from none. What is longer than any id is cut.
        let text = text.as_deref().map(|text| text.as_bytes());
        let length = text.map_or(0, |text| text.len().min(usize::from(u16::MAX) - 1) + 1);
        bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        bytes.extend_from_slice(text.unwrap_or_default().get(..length.saturating_sub(1)).unwrap_or_default());
    }
}

/// Reads rows; nothing if the bytes are not such rows.
#[must_use]
pub fn read(mut bytes: &[u8]) -> Option<Vec<RowRef>> {
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for at in [0, 1, 0xffff, 1 << 16, u64::from(u32::MAX) << 16 | 7] {
            assert_eq!(place(&tid(at)), Some(at));
        }
        assert_eq!(place("-3"), Some((-3i64).cast_unsigned()));
        for wrong in ["", "(1)", "(1,2", "(,)", "x"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_row_comes_back_and_every_cut_is_noticed(
            places in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<i64>>(), any::<bool>()), 1..5),
            texts in prop::collection::vec(any::<Option<String>>(), 3),
        ) {
            let rows: Vec<RowRef> = places
                .into_iter()
                .map(|(place, mark, expires, active)| RowRef {
                    place,
                    version: mark.wrapping_add(1),
                    mark,
                    expires,
                    active,
                    token: expires.map(|end| end ^ mark).filter(|token| token % 2 == 0),
                    id: texts[0].clone(),
                    prefix: texts[1].clone(),
                    user: texts[2].clone(),
                })
                .collect();
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for row in &rows {
                push(row, &mut bytes);
                ends.push(bytes.len());
            }
            prop_assert_eq!(read(&bytes), Some(rows));
            for cut in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..cut]).is_some(), ends.contains(&cut));
            }
        }
    }
}
