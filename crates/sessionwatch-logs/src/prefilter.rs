//! Pre-filter: fast search for a set of literals.

use aho_corasick::{AhoCorasick, Anchored, Input, packed};

/// Search for a set of literals.
#[derive(Clone, Debug)]
pub(crate) struct Prefilter {
    /// SIMD search; `None` if the CPU does not support it.
    packed: Option<packed::Searcher>,
    automaton: Option<AhoCorasick>,
}

impl Prefilter {
    /// Creates a search for these literals.
    pub(crate) fn new(literals: &[&[u8]]) -> Self {
        let mut builder = packed::Config::new().builder();
        builder.extend(literals);
        let packed = builder.build();
        // Building fails only for more literals than the configuration allows.
        let automaton = if packed.is_none() { AhoCorasick::new(literals).ok() } else { None };
        Self { packed, automaton }
    }

    /// Returns the offset and number of the next literal at or after `from`.
    pub(crate) fn find_next(&self, block: &[u8], from: usize) -> Option<(usize, usize)> {
        let found = match &self.packed {
            Some(packed) => packed.find_in(block, (from..block.len()).into()),
            None => {
                let input = Input::new(block).range(from..).anchored(Anchored::No);
                self.automaton.as_ref()?.find(input)
            }
        }?;
        Some((found.start(), found.pattern().as_usize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_searches_agree() {
        let literals: [&[u8]; 3] = [b"AUTH", b"auth][", b"session_created"];
        let packed = Prefilter::new(&literals);
        let slow = Prefilter { packed: None, automaton: AhoCorasick::new(literals).ok() };
        let block = b"x AUTH y [auth][error] session_createdAUTH \0 session_create AUT".repeat(3);
        let all = |needles: &Prefilter| {
            let mut found = vec![];
            while let Some(at) = needles.find_next(&block, found.last().map_or(0, |(at, _)| at + 1)) {
                found.push(at);
            }
            found
        };
        assert_eq!(all(&packed).len(), 12);
        assert_eq!(all(&packed), all(&slow));
    }
}
