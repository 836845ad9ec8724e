//! Row addresses kept by a scan, so that the few rows shown as evidence are fetched by address instead of by another
//! full scan.

use crate::arena::Arena;

/// Maximum number of heaps that packed addresses can distinguish.
const MAX_HEAPS: usize = 1 << (u64::BITS - POSITION_BITS - 1);
/// Bits of a position within a heap: 32 for the block and 16 for the line.
const POSITION_BITS: u32 = 48;

/// Borrowed address of a row within one transaction. All rows of a scan use the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowAddressRef<'a> {
    /// Position in the only heap of the table: block and line (`ctid`), or SQLite `rowid`.
    Position(u64),
    /// Heap (`tableoid`) of a partitioned table, and the position in that heap.
    HeapAndPosition {
        /// The heap.
        heap: u32,
        /// The position; only the low 48 bits are used.
        position: u64,
    },
    /// Row id.
    Id(&'a [u8]),
}

/// Owned address of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowAddress {
    /// See [`RowAddressRef::Position`].
    Position(u64),
    /// See [`RowAddressRef::HeapAndPosition`].
    HeapAndPosition {
        /// The heap.
        heap: u32,
        /// The position.
        position: u64,
    },
    /// See [`RowAddressRef::Id`].
    Id(String),
}

/// Packs each address into 64 bits, because one is kept per row.
#[derive(Debug, Default)]
pub(crate) struct RowAddressPacker {
    heaps: Vec<u32>,
    ids: Arena,
    /// A row had no address or one that does not fit, so the addresses of this scan are unusable.
    is_incomplete: bool,
}

impl RowAddressPacker {
    /// Packs an address.
    #[inline]
    pub(crate) fn pack(&mut self, address: Option<RowAddressRef<'_>>) -> u64 {
        match address {
            Some(RowAddressRef::Position(position)) => position,
            // Positions repeat across heaps, so heap and position are packed into one number.
            Some(RowAddressRef::HeapAndPosition { heap, position }) => {
                self.heap_number(heap) << POSITION_BITS | position
            }
            Some(RowAddressRef::Id(id)) => self.ids.push(id) as u64,
            None => {
                self.is_incomplete = true;
                0
            }
        }
    }

    fn heap_number(&mut self, heap: u32) -> u64 {
        // Rows arrive heap by heap, so the last one is the likeliest.
        let known = self.heaps.iter().rposition(|known| *known == heap);
        let number = known.unwrap_or_else(|| {
            self.heaps.push(heap);
            self.heaps.len() - 1
        });
        self.is_incomplete |= number >= MAX_HEAPS;
        number as u64
    }

    /// Returns whether every row has an address.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_incomplete
    }

    /// Unpacks an address.
    pub(crate) fn unpack(&self, packed: u64) -> RowAddress {
        let heap = usize::try_from(packed >> POSITION_BITS).ok().and_then(|number| self.heaps.get(number));
        let id = usize::try_from(packed).ok().and_then(|number| self.ids.get(number));
        match (heap, id) {
            (Some(heap), _) => {
                RowAddress::HeapAndPosition { heap: *heap, position: packed & ((1 << POSITION_BITS) - 1) }
            }
            (_, Some(id)) => RowAddress::Id(String::from_utf8_lossy(id).into_owned()),
            // Without heaps and ids the packed number is the position itself.
            _ => RowAddress::Position(packed),
        }
    }

    /// Returns whether an address sorts before another: ids by bytes, positions by heap first, other values as
    /// numbers.
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
            // SQLite row ids are signed, and negative ones sort first.
            _ => one.cast_signed() < other.cast_signed(),
        }
    }
}

/// The first rows by rank; ties are ordered by address.
#[derive(Debug)]
pub(crate) struct FirstRows {
    limit: usize,
    /// Sorted ranks and packed addresses.
    rows: Vec<(i64, u64)>,
}

impl FirstRows {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, rows: Vec::with_capacity(limit + 1) }
    }

    /// Keeps the row if it is among the first so far.
    pub(crate) fn offer_row(&mut self, packer: &RowAddressPacker, rank: i64, packed: u64) {
        let is_before = |(present_rank, present): (i64, u64)| {
            present_rank < rank || (present_rank == rank && packer.is_before(present, packed))
        };
        // Most rows of a scan are rejected here, so this check comes before the search.
        if self.rows.len() == self.limit && self.rows.last().is_none_or(|last| is_before(*last)) {
            return;
        }
        let place = self.rows.partition_point(|present| is_before(*present));
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
    fn every_kind_of_address_round_trips() {
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
    fn too_many_heaps_make_the_addresses_incomplete() {
        let mut packer = RowAddressPacker::default();
        for heap in 0..=u32::try_from(MAX_HEAPS).unwrap() {
            assert!(packer.is_complete(), "{heap}");
            packer.pack(Some(RowAddressRef::HeapAndPosition { heap, position: 1 }));
        }
        assert!(!packer.is_complete());
    }

    #[test]
    fn the_first_rows_are_sorted_and_ties_are_ordered_by_address() {
        let packer = RowAddressPacker::default();
        let mut first = FirstRows::new(3);
        for (rank, place) in [(5, 1u64), (2, 9), (2, 4), (7, 2), (2, 6), (1, 8)] {
            first.offer_row(&packer, rank, place);
        }
        assert_eq!(first.packed_addresses().collect::<Vec<_>>(), [8, 4, 6]);
        let mut none = FirstRows::new(0);
        none.offer_row(&packer, 1, 1);
        assert_eq!(none.packed_addresses().count(), 0);
    }

    #[test]
    fn ids_are_ordered_by_their_bytes() {
        let (mut packer, mut first) = (RowAddressPacker::default(), FirstRows::new(2));
        for id in ["b", "a", "B"] {
            let packed = packer.pack(Some(RowAddressRef::Id(id.as_bytes())));
            first.offer_row(&packer, 0, packed);
        }
        let ids: Vec<RowAddress> = first.packed_addresses().map(|packed| packer.unpack(packed)).collect();
        assert_eq!(ids, [RowAddress::Id("B".into()), RowAddress::Id("a".into())]);
    }
}
