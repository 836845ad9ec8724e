//! Addresses of rows: what a scan keeps of each row, so that the few that a finding shows are fetched from where they
//! stand instead of being looked for in the whole table again.

use crate::arena::Arena;

/// The most heaps whose rows can be told apart.
const HEAP_LIMIT: usize = 1 << (u64::BITS - PLACE_BITS - 1);
/// Bits of a place within a heap: 32 of the block and 16 of the line.
const PLACE_BITS: u32 = 48;

/// What names one row within one transaction, as a scan hands it over. All rows of one scan are named in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRef<'a> {
    /// Its place in the only heap of the table: block and line (`ctid`), or the number of a SQLite row (`rowid`).
    Place(u64),
    /// Its heap (`tableoid`), and its place there.
    HeapAndPlace {
        /// The heap.
        heap: u32,
        /// The place, of which 48 bits are used.
        place: u64,
    },
    /// Its id.
    Id(&'a [u8]),
}

/// The same, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// See [`AddressRef::Place`].
    Place(u64),
    /// See [`AddressRef::HeapAndPlace`].
    HeapAndPlace {
        /// The heap.
        heap: u32,
        /// The place.
        place: u64,
    },
    /// See [`AddressRef::Id`].
    Id(String),
}

/// Packs addresses into 64 bits each.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    heaps: Vec<u32>,
    ids: Arena,
    /// Some row could not be packed, or had no address: then none counts.
    incomplete: bool,
}

impl AddressBook {
    /// An address, packed.
    #[inline]
    pub(crate) fn pack(&mut self, address: Option<AddressRef<'_>>) -> u64 {
        match address {
            Some(AddressRef::Place(place)) => place,
            Some(AddressRef::HeapAndPlace { heap, place }) => self.heap(heap) << PLACE_BITS | place,
            Some(AddressRef::Id(id)) => self.ids.push(id) as u64,
            None => {
                self.incomplete = true;
                0
            }
        }
    }

    /// The number of a heap. Rows of one heap come one after another.
    fn heap(&mut self, heap: u32) -> u64 {
        let known = self.heaps.iter().rposition(|known| *known == heap);
        let number = known.unwrap_or_else(|| {
            self.heaps.push(heap);
            self.heaps.len() - 1
        });
        self.incomplete |= number >= HEAP_LIMIT;
        number as u64
    }

    /// Whether every row has an address.
    pub(crate) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// The address that was packed so.
    pub(crate) fn unpack(&self, packed: u64) -> Address {
        let heap = usize::try_from(packed >> PLACE_BITS).ok().and_then(|number| self.heaps.get(number));
        let id = usize::try_from(packed).ok().and_then(|number| self.ids.get(number));
        match (heap, id) {
            (Some(heap), _) => Address::HeapAndPlace { heap: *heap, place: packed & ((1 << PLACE_BITS) - 1) },
            (_, Some(id)) => Address::Id(String::from_utf8_lossy(id).into_owned()),
            _ => Address::Place(packed),
        }
    }

    /// The order of the addresses: ids by their bytes, places by their heaps first, everything else as numbers.
    fn is_before(&self, one: u64, other: u64) -> bool {
        if !self.heaps.is_empty() {
            let heap =
                |packed: u64| self.heaps.get(usize::try_from(packed >> PLACE_BITS).unwrap_or(usize::MAX));
            let place = |packed: u64| packed & ((1 << PLACE_BITS) - 1);
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
    pub(crate) fn offer(&mut self, book: &AddressBook, rank: i64, packed: u64) {
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

    pub(crate) fn packed(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().map(|(_, packed)| *packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_comes_back() {
        let (mut places, mut heaps, mut ids) =
            (AddressBook::default(), AddressBook::default(), AddressBook::default());
        for place in [0, 1 << 16 | 1, u64::from(u32::MAX) << 16 | 0xffff, (-5i64).cast_unsigned()] {
            let packed = places.pack(Some(AddressRef::Place(place)));
            assert_eq!(places.unpack(packed), Address::Place(place));
        }
        for (heap, place) in [(16_400, 3 << 16 | 1), (16_500, 0), (u32::MAX, (1 << 48) - 1), (16_400, 9)] {
            let packed = heaps.pack(Some(AddressRef::HeapAndPlace { heap, place }));
            assert_eq!(heaps.unpack(packed), Address::HeapAndPlace { heap, place });
        }
        for id in ["", "clx1", "é"] {
            let packed = ids.pack(Some(AddressRef::Id(id.as_bytes())));
            assert_eq!(ids.unpack(packed), Address::Id(id.into()));
        }
        assert!(places.is_complete() && heaps.is_complete() && ids.is_complete());
        places.pack(None);
        assert!(!places.is_complete());
    }

    #[test]
    fn more_heaps_than_can_be_told_apart_are_given_up() {
        let mut book = AddressBook::default();
        for heap in 0..=u32::try_from(HEAP_LIMIT).unwrap() {
            assert!(book.is_complete(), "{heap}");
            book.pack(Some(AddressRef::HeapAndPlace { heap, place: 1 }));
        }
        assert!(!book.is_complete());
    }

    #[test]
    fn the_first_rows_are_kept_in_order_and_ties_go_by_address() {
        let book = AddressBook::default();
        let mut first = FirstRows::new(3);
        for (rank, place) in [(5, 1u64), (2, 9), (2, 4), (7, 2), (2, 6), (1, 8)] {
            first.offer(&book, rank, place);
        }
        assert_eq!(first.packed().collect::<Vec<_>>(), [8, 4, 6]);
        let mut none = FirstRows::new(0);
        none.offer(&book, 1, 1);
        assert_eq!(none.packed().count(), 0);
    }

    #[test]
    fn ids_are_ordered_by_their_bytes() {
        let (mut book, mut first) = (AddressBook::default(), FirstRows::new(2));
        for id in ["b", "a", "B"] {
            let packed = book.pack(Some(AddressRef::Id(id.as_bytes())));
            first.offer(&book, 0, packed);
        }
        let ids: Vec<Address> = first.packed().map(|packed| book.unpack(packed)).collect();
        assert_eq!(ids, [Address::Id("B".into()), Address::Id("a".into())]);
    }
}
