//! The content of a file, decompressed if necessary.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    time::UNIX_EPOCH,
};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::logs::scan::Compression;

/// Size of the chunks in which contents are compared.
const CHUNK_BYTES: usize = 64 << 10;
/// Magic bytes of unsupported formats: xz, bzip2, lz4, compress and zip.
const UNSUPPORTED_MAGIC_BYTES: [&[u8]; 5] =
    [b"\xfd7zX", b"BZh", b"\x04\x22\x4d\x18", b"\x1f\x9d", b"PK\x03\x04"];

/// Device and inode of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileId(pub(super) u64, pub(super) u64);

impl FileId {
    pub(super) fn from_metadata(facts: &fs::Metadata) -> Self {
        Self(facts.dev(), facts.ino())
    }
}

/// Metadata that identifies a file independently of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileMetadata {
    pub(super) file: FileId,
    /// `None` if the file system does not record it.
    pub(super) created_at: Option<UtcTimestamp>,
    /// Stored size in bytes.
    pub(super) length: u64,
    pub(super) modified_at: UtcTimestamp,
    /// Number of hard links; 0 once the file was removed.
    pub(super) link_count: u64,
}

impl FileMetadata {
    pub(super) fn from_metadata(facts: &fs::Metadata) -> Self {
        let created = facts.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Self {
            file: FileId::from_metadata(facts),
            created_at: created
                .map(|at| UtcTimestamp::UNIX_EPOCH + sessionwatch_clock::to_signed_duration(at)),
            length: facts.len(),
            modified_at: UtcTimestamp::UNIX_EPOCH
                + SignedDuration::from_secs(facts.mtime())
                + SignedDuration::from_nanos(facts.mtime_nsec()),
            link_count: facts.nlink(),
        }
    }
}

/// The content of an open file.
pub(super) struct FileContent {
    pub(super) file: File,
    compression: Compression,
    unpacked: Option<UnpackStream>,
}

/// The decompressor of a file.
struct UnpackStream {
    stream: Box<dyn io::Read + Send>,
    /// Offset in the decompressed content.
    position: u64,
    /// Set once decompression has failed.
    failure: Option<io::ErrorKind>,
}

impl fmt::Debug for FileContent {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Content")
            .field("file", &self.file)
            .field("packing", &self.compression)
            .finish_non_exhaustive()
    }
}

impl FileContent {
    /// Wraps a file without decompression.
    pub(super) fn plain(file: File) -> Self {
        Self { file, compression: Compression::Plain, unpacked: None }
    }

    /// Opens a rotated file, which may be compressed.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or its compression is unsupported.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut first = [0; 4];
        let read = file.read_at(&mut first, 0)?;
        let compression = Compression::detect(&first[..read]);
        if UNSUPPORTED_MAGIC_BYTES.iter().any(|magic| first[..read].starts_with(magic)) {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        Ok(Self { file, compression, unpacked: None })
    }

    pub(super) fn is_packed(&self) -> bool {
        self.compression != Compression::Plain
    }

    pub(super) fn metadata(&self) -> io::Result<FileMetadata> {
        self.file.metadata().map(|facts| FileMetadata::from_metadata(&facts))
    }

    /// Fills a buffer from an offset, as far as the content goes. Returns the number of bytes.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or decompressed.
    pub(super) fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_packed() {
            let mut filled = 0;
            while filled < buffer.len() {
                match retry_interrupted(|| self.file.read_at(&mut buffer[filled..], at + filled as u64))? {
                    0 => break,
                    more => filled += more,
                }
            }
            return Ok(filled);
        }
        // A decompressor cannot seek backward, so an earlier offset starts again from the beginning.
        if self.unpacked.as_ref().is_none_or(|unpacked| unpacked.position > at) {
            let source = FileCursor { file: self.file.try_clone()?, at: 0 };
            let stream = self.compression.unpack(io::BufReader::with_capacity(CHUNK_BYTES, source))?;
            self.unpacked = Some(UnpackStream { stream, position: 0, failure: None });
        }
        let Some(unpacked) = &mut self.unpacked else { return Ok(0) };
        let mut passed = [0; 4 << 10];
        while unpacked.position < at {
            let most = usize::try_from(at - unpacked.position).unwrap_or(usize::MAX).min(passed.len());
            if unpacked.read(&mut passed[..most])? == 0 {
                return Ok(0);
            }
        }
        unpacked.read(buffer)
    }

    /// Returns up to `length` bytes from an offset, fewer at the end of the content.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or decompressed.
    pub(super) fn read_range(&mut self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let filled = self.read_at(at, &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Returns the length of the decompressed content.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or decompressed.
    pub(super) fn unpacked_length(&mut self) -> io::Result<u64> {
        if !self.is_packed() {
            return Ok(self.metadata()?.length);
        }
        let mut at = self.unpacked.as_ref().map_or(0, |unpacked| unpacked.position);
        loop {
            match self.read_range(at, CHUNK_BYTES)?.len() {
                0 => return Ok(at),
                more => at += more as u64,
            }
        }
    }

    /// Returns `true` if this content is not empty and `other` starts with it.
    ///
    /// # Errors
    ///
    /// If one of the files cannot be read.
    pub(super) fn is_prefix_of(&mut self, other: &mut Self) -> io::Result<bool> {
        let mut at = 0;
        loop {
            let ours = match self.read_range(at, CHUNK_BYTES) {
                Ok(bytes) => bytes,
                // A compressed file that is still being written counts as far as it can be decompressed.
                Err(_) if at > 0 => return Ok(true),
                Err(error) => return Err(error),
            };
            if ours.is_empty() {
                return Ok(at > 0);
            }
            if other.read_range(at, ours.len())? != ours {
                return Ok(false);
            }
            at += ours.len() as u64;
        }
    }
}

impl UnpackStream {
    /// Fills a buffer as far as possible. Data decompressed before a failure is returned first, the error by the next
    /// call.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() && self.failure.is_none() {
            match retry_interrupted(|| self.stream.read(&mut buffer[filled..])) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => self.failure = Some(error.kind()),
            }
        }
        self.position += filled as u64;
        match self.failure {
            Some(kind) if filled == 0 => Err(kind.into()),
            _ => Ok(filled),
        }
    }
}

/// Reads a file from its start with its own offset, since clones of a file share one.
struct FileCursor {
    file: File,
    at: u64,
}

impl io::Read for FileCursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn retry_interrupted(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
