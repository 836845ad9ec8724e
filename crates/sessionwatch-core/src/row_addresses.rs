//! Addresses of rows: what a scan keeps of each row, so that the few that a finding shows are fetched from where they
//! stand instead of being looked for in the whole table again.

use crate::arena::Arena;

/// The most heaps whose rows can be told apart.
const MAX_HEAPS: usize = 1 << (u64::BITS - POSITION_BITS - 1);
/// Bits of a place within a heap: 32 of the block and 16 of the line.
const POSITION_BITS: u32 = 48;

/// What names one row within one transaction, as a scan hands it over. All rows of one scan are named in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowAddressRef<'a> {
    /// Its place in the only heap of the table: block and line (`ctid`), or the number of a SQLite row (`rowid`).
    Position(u64),
    /// Its heap (`tableoid`), and its place there.
    HeapAndPosition {
        /// The heap.
        heap: u32,
        /// The place, of which 48 bits are used.
        position: u64,
    },
    /// Its id.
    Id(&'a [u8]),
}

/// The same, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowAddress {
    /// See [`RowAddressRef::Position`].
    Position(u64),
    /// See [`RowAddressRef::HeapAndPosition`].
    HeapAndPosition {
        /// The heap.
        heap: u32,
        /// The place.
        position: u64,
    },
    /// See [`RowAddressRef::Id`].
    Id(String),
}

/// Packs addresses into 64 bits each.
#[derive(Debug, Default)]
pub(crate) struct RowAddressPacker {
    heaps: Vec<u32>,
    ids: Arena,
    /// Some row could not be packed, or had no address: then none counts.
    is_incomplete: bool,
}

impl RowAddressPacker {
    /// An address, packed.
    #[inline]
    pub(crate) fn pack(&mut self, address: Option<RowAddressRef<'_>>) -> u64 {
        match address {
            Some(RowAddressRef::Position(place)) => place,
            Some(RowAddressRef::HeapAndPosition { heap, position: place }) => {
                self.heap_number(heap) << POSITION_BITS | place
            }
            Some(RowAddressRef::Id(id)) => self.ids.push(id) as u64,
            None => {
                self.is_incomplete = true;
                0
            }
        }
    }

    /// The number of a heap. Rows of one heap come one after another.
    fn heap_number(&mut self, heap: u32) -> u64 {
        let known = self.heaps.iter().rposition(|known| *known == heap);
        let number = known.unwrap_or_else(|| {
            self.heaps.push(heap);
            self.heaps.len() - 1
        });
        self.is_incomplete |= number >= MAX_HEAPS;
        number as u64
    }

    /// Whether every row has an address.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_incomplete
    }

    /// The address that was packed so.
    pub(crate) fn unpack(&self, packed: u64) -> RowAddress {
        let heap = usize::try_from(packed >> POSITION_BITS).ok().and_then(|number| self.heaps.get(number));
        let id = usize::try_from(packed).ok().and_then(|number| self.ids.get(number));
        match (heap, id) {
            (Some(heap), _) => {
                RowAddress::HeapAndPosition { heap: *heap, position: packed & ((1 << POSITION_BITS) - 1) }
            }
            (_, Some(id)) => RowAddress::Id(String::from_utf8_lossy(id).into_owned()),
            _ => RowAddress::Position(packed),
        }
    }

    /// The order of the addresses: ids by their bytes, places by their heaps first, everything else as numbers.
    fn is_before(&self, one: u64, other: u64) -> bool {
        if !self.heaps.is_empty() {
            let heap =
                |packed: u64| self.heaps.get(usize::try_from(packed >> POSITION_BITS).unwrap_or(usize::MAX));
            let place = |packed: u64| packed & ((1 << POSITION_BITS) - 1);
            return (heap(one), place(one)) < (heap(other), place(other));
        }
        let id = |packed: u64| usize::try_from(packed).ok().and_then(|number| self.ids.get(number));
        match (id(one), id(other)) {
            (Some(one), Some(other)) => one < other,
            _ => one.cast_signed() < other.cast_signed(),
        }
    }
}

/// The first rows by a rank, ties by address.
#[derive(Debug)]
pub(crate) struct FirstRows {
    limit: usize,
    /// Ranks and packed addresses in order.
    rows: Vec<(i64, u64)>,
}

impl FirstRows {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, rows: Vec::with_capacity(limit + 1) }
    }

    /// Keeps the row if it is among the first so far.
    pub(crate) fn offer_row(&mut self, book: &RowAddressPacker, rank: i64, packed: u64) {
        let is_before = |(kept_rank, kept): (i64, u64)| {
            kept_rank < rank || (kept_rank == rank && book.is_before(kept, packed))
        };
        if self.rows.len() == self.limit && self.rows.last().is_none_or(|last| is_before(*last)) {
            return;
        }
        let place = self.rows.partition_point(|kept| is_before(*kept));
        self.rows.insert(place, (rank, packed));
        self.rows.truncate(self.limit);
    }

    pub(crate) fn packed_addresses(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|(_, packed)| *packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_comes_back() {
        let (mut places, mut heaps, mut ids) =
            (RowAddressPacker::default(), RowAddressPacker::default(), RowAddressPacker::default());
        for place in [0, 1 << 16 | 1, u64::from(u32::MAX) << 16 | 0xffff, (-5i64).cast_unsigned()] {
            let packed = places.pack(Some(RowAddressRef::Position(place)));
            assert_eq!(places.unpack(packed), RowAddress::Position(place));
        }
        for (heap, place) in [(16_400, 3 << 16 | 1), (16_500, 0), (u32::MAX, (1 << 48) - 1), (16_400, 9)] {
            let packed = heaps.pack(Some(RowAddressRef::HeapAndPosition { heap, position: place }));
            assert_eq!(heaps.unpack(packed), RowAddress::HeapAndPosition { heap, position: place });
        }
        for id in ["", "clx1", "é"] {
            let packed = ids.pack(Some(RowAddressRef::Id(id.as_bytes())));
            assert_eq!(ids.unpack(packed), RowAddress::Id(id.into()));
        }
        assert!(places.is_complete() && heaps.is_complete() && ids.is_complete());
        places.pack(None);
        assert!(!places.is_complete());
    }

    #[test]
    fn more_heaps_than_can_be_told_apart_are_given_up() {
        let mut book = RowAddressPacker::default();
        for heap in 0..=u32::try_from(MAX_HEAPS).unwrap() {
            assert!(book.is_complete(), "{heap}");
            book.pack(Some(RowAddressRef::HeapAndPosition { heap, position: 1 }));
        }
        assert!(!book.is_complete());
    }

    #[test]
    fn the_first_rows_are_kept_in_order_and_ties_go_by_address() {
        let book = RowAddressPacker::default();
        let mut first = FirstRows::new(3);
        for (rank, place) in [(5, 1u64), (2, 9), (2, 4), (7, 2), (2, 6), (1, 8)] {
            first.offer_row(&book, rank, place);
        }
        assert_eq!(first.packed_addresses().collect::<Vec<_>>(), [8, 4, 6]);
        let mut none = FirstRows::new(0);
        none.offer_row(&book, 1, 1);
        assert_eq!(none.packed_addresses().count(), 0);
    }

    #[test]
    fn ids_are_ordered_by_their_bytes() {
        let (mut book, mut first) = (RowAddressPacker::default(), FirstRows::new(2));
        for id in ["b", "a", "B"] {
            let packed = book.pack(Some(RowAddressRef::Id(id.as_bytes())));
            first.offer_row(&book, 0, packed);
        }
        let ids: Vec<RowAddress> = first.packed_addresses().map(|packed| book.unpack(packed)).collect();
        assert_eq!(ids, [RowAddress::Id("B".into()), RowAddress::Id("a".into())]);
    }
}
