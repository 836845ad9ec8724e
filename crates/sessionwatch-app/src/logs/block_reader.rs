//! Reads a stream in blocks of whole lines, in constant memory.

use std::io::{self, Read};

/// The size of a block, and so the maximum length of a line that is parsed in full.
pub const BLOCK_BYTES: usize = 1 << 20;

/// A block of whole lines.
#[derive(Clone, Copy, Debug)]
pub struct LineBlock<'a> {
    /// Offset of the block in the stream.
    pub offset: u64,
    /// The bytes of the block.
    pub bytes: &'a [u8],
    /// `true` if the last line was longer than a block. The rest of such a line is dropped.
    pub overlong: bool,
}

/// Cuts a stream into blocks that end at line breaks.
#[derive(Debug)]
pub struct BlockReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were returned, and bytes that are filled.
    consumed: usize,
    filled: usize,
    /// Offset of the buffer in the stream.
    buffer_offset: u64,
    /// The rest of an overlong line is being dropped.
    skipping: bool,
    ended: bool,
}

impl<R: Read> BlockReader<R> {
    /// Creates a reader for a stream whose first byte has the offset `buffer_offset`.
    #[must_use]
    pub fn new(source: R, buffer_offset: u64) -> Self {
        Self {
            source,
            buffer: vec![0; BLOCK_BYTES],
            consumed: 0,
            filled: 0,
            buffer_offset,
            skipping: false,
            ended: false,
        }
    }

    /// Returns the offset of the next block.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.buffer_offset + self.consumed as u64
    }

    /// Returns the next block; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// If the stream cannot be read.
    pub fn read_next(&mut self) -> io::Result<Option<LineBlock<'_>>> {
        loop {
            self.fill_buffer()?;
            if self.filled == 0 {
                return Ok(None);
            }
            let break_at = memchr::memrchr(b'\n', &self.buffer[..self.filled]);
            if self.skipping {
                let first = memchr::memchr(b'\n', &self.buffer[..self.filled]);
                self.skipping = first.is_none();
                self.consumed = first.map_or(self.filled, |first| first + 1);
                if self.skipping && self.ended {
                    return Ok(None);
                }
                continue;
            }
            // Without a line break, a full buffer holds the start of an overlong line.
            let full = self.filled == self.buffer.len();
            let overlong = break_at.is_none() && full;
            self.skipping = overlong;
            self.consumed = break_at.filter(|_| !self.ended).map_or(self.filled, |end| end + 1);
            return Ok(Some(LineBlock {
                offset: self.buffer_offset,
                bytes: &self.buffer[..self.consumed],
                overlong,
            }));
        }
    }

    /// Moves unconsumed bytes to the front, and fills the rest of the buffer.
    fn fill_buffer(&mut self) -> io::Result<()> {
        // Lines are never split between blocks, so that the parser needs no state for half lines.
        self.buffer.copy_within(self.consumed..self.filled, 0);
        self.buffer_offset += self.consumed as u64;
        (self.consumed, self.filled) = (0, self.filled - self.consumed);
        while self.filled < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => self.filled += read,
                // A signal is not an error of the file.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &[u8]) -> Vec<(u64, usize, bool)> {
        let mut blocks = BlockReader::new(text, 0);
        let mut found = vec![];
        while let Some(block) = blocks.read_next().unwrap() {
            assert_eq!(block.bytes, &text[usize::try_from(block.offset).unwrap()..][..block.bytes.len()]);
            found.push((block.offset, block.bytes.len(), block.overlong));
        }
        found
    }

    #[test]
    fn blocks_end_at_line_breaks() {
        assert_eq!(blocks(b""), []);
        assert_eq!(blocks(b"a\nb"), [(0, 3, false)]);
        let lines = b"0123456789abcde\n".repeat(BLOCK_BYTES / 16 + 10);
        assert_eq!(blocks(&lines), [(0, BLOCK_BYTES, false), (BLOCK_BYTES as u64, 160, false)]);
        let shifted = [b"x", lines.as_slice()].concat();
        assert_eq!(blocks(&shifted), [(0, BLOCK_BYTES - 15, false), (BLOCK_BYTES as u64 - 15, 176, false)]);
    }

    #[test]
    fn the_rest_of_an_overlong_line_is_dropped() {
        let long = [vec![b'x'; 3 * BLOCK_BYTES + 5], b"\nnext\n".to_vec()].concat();
        assert_eq!(blocks(&long), [(0, BLOCK_BYTES, true), (3 * BLOCK_BYTES as u64 + 6, 5, false)]);
        assert_eq!(blocks(&vec![b'x'; 2 * BLOCK_BYTES]), [(0, BLOCK_BYTES, true)]);
    }
}
