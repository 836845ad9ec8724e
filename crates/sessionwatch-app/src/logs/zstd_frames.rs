//! Decompresses zstd streams of several frames (RFC 8878). A log that was compressed in parts has one frame for each
//! part.

use std::{
    error::Error,
    io::{self, BufRead, Read},
};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Reads the concatenated content of all frames.
pub(super) struct ZstdFrameReader<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrameReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Starts the next frame. Returns `false` at the end of the stream.
    fn begin_frame(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.in_frame = true,
            // Skippable frames hold metadata of other tools.
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => skip_bytes(&mut self.source, length.into())?,
            Err(error) => return Err(io_error(error)),
        }
        Ok(true)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        let stored = self.decoder.get_checksum_from_data();
        if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "zstd frame checksum mismatch"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrameReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if self.in_frame && !self.decoder.is_finished() {
                let decoded =
                    self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
                decoded.map_err(io_error)?;
                continue;
            }
            if self.in_frame {
                self.end_frame()?;
            }
            if !self.begin_frame()? {
                return Ok(0);
            }
        }
        self.decoder.read(buffer)
    }
}

/// Converts a decoder error. Keeps the kind of an underlying I/O error; all others are invalid data.
fn io_error(error: FrameDecoderError) -> io::Error {
    let mut cause: &dyn Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let kind = cause.downcast_ref::<io::Error>().map_or(io::ErrorKind::InvalidData, io::Error::kind);
    io::Error::new(kind, error)
}

fn skip_bytes(source: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut source.take(length), &mut io::sink())?;
    if skipped < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Compresses with a checksum, which the reference implementation adds only on request.
    fn pack(plain: &[u8]) -> Vec<u8> {
        let mut packer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        packer.include_checksum(true).unwrap();
        packer.write_all(plain).unwrap();
        packer.finish().unwrap()
    }

    fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = vec![];
        ZstdFrameReader::new(io::BufReader::with_capacity(7, packed)).read_to_end(&mut plain)?;
        Ok(plain)
    }

    proptest! {
        #[test]
        fn concatenated_frames_are_decompressed(parts in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let packed: Vec<u8> = parts.iter().flat_map(|part| pack(part)).collect();
            prop_assert_eq!(unpack(&packed).unwrap(), parts.concat());
        }
    }

    #[test]
    fn skippable_frames_are_skipped() {
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let packed = [&skipped, &pack(b"one ")[..], &skipped, &pack(b"two")].concat();
        assert_eq!(unpack(&packed).unwrap(), b"one two");
        assert!(unpack(&skipped[..9]).is_err());
    }

    #[test]
    fn truncated_or_corrupt_data_is_an_error() {
        let plain = "line after line\n".repeat(100_000);
        let packed = pack(plain.as_bytes());
        for length in [1, 5, packed.len() / 2, packed.len() - 5, packed.len() - 1] {
            let cut = unpack(&packed[..length]).unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof, "cut to {length}: {cut}");
        }
        let mut changed = packed.clone();
        *changed.last_mut().unwrap() ^= 1;
        for damaged in [&changed[..], &[&packed[..], b"something else"].concat()] {
            assert_eq!(unpack(damaged).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
