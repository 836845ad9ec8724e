//! Arena of short texts in one allocation, addressed by number.

use serde::{Deserialize, Serialize};

/// Concatenated texts and their end offsets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Arena {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Arena {
    /// Adds a text and returns its number.
    pub(crate) fn push(&mut self, text: &[u8]) -> usize {
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len());
        self.ends.len() - 1
    }

    #[inline]
    pub(crate) fn get(&self, number: usize) -> Option<&[u8]> {
        let end = *self.ends.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}
