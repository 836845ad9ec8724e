//! What a file holds, unpacked where it is packed.

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

/// Bytes that are compared, or passed over, at once.
const CHUNK_BYTES: usize = 64 << 10;
/// What files begin with that are packed in a way that is not understood: xz, bzip2, lz4, compress and zip.
const UNSUPPORTED_MAGIC_BYTES: [&[u8]; 5] =
    [b"\xfd7zX", b"BZh", b"\x04\x22\x4d\x18", b"\x1f\x9d", b"PK\x03\x04"];

/// By what the system knows a file: its device, and its number on that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileId(pub(super) u64, pub(super) u64);

impl FileId {
    /// The id of the file that has those facts.
    pub(super) fn from_metadata(facts: &fs::Metadata) -> Self {
        Self(facts.dev(), facts.ino())
    }
}

/// What a file is known by, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileMetadata {
    /// The device, and the number of the file on it.
    pub(super) file: FileId,
    /// When it was created, where the file system tells.
    pub(super) created_at: Option<UtcTimestamp>,
    /// Bytes, as they are stored.
    pub(super) length: u64,
    /// When it was last changed.
    pub(super) modified_at: UtcTimestamp,
    /// Names that it has; 0 once it was removed.
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

/// What a file holds.
pub(super) struct FileContent {
    pub(super) file: File,
    compression: Compression,
    unpacked: Option<UnpackStream>,
}

/// What unpacks a file.
struct UnpackStream {
    stream: Box<dyn io::Read + Send>,
    /// How far it did.
    position: u64,
    /// Why it cannot go on.
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
    /// Opens a file that grows, whose bytes are taken as they are.
    pub(super) fn plain(file: File) -> Self {
        Self { file, compression: Compression::Plain, unpacked: None }
    }

    /// Opens a rotated file, which may be packed.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is packed in a way that is not understood.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut first = [0; 4];
        let read = file.read_at(&mut first, 0)?;
        let packing = Compression::detect(&first[..read]);
        if UNSUPPORTED_MAGIC_BYTES.iter().any(|magic| first[..read].starts_with(magic)) {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        Ok(Self { file, compression: packing, unpacked: None })
    }

    pub(super) fn is_packed(&self) -> bool {
        self.compression != Compression::Plain
    }

    pub(super) fn metadata(&self) -> io::Result<FileMetadata> {
        self.file.metadata().map(|facts| FileMetadata::from_metadata(&facts))
    }

    /// Fills a buffer from a place on, as far as there is something. Of packed files, earlier places cost unpacking the file
    /// from its beginning.
    ///
    /// # Errors
    ///
    /// If it cannot be read or unpacked.
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

    /// Returns bytes at a place, fewer if it ends before.
    ///
    /// # Errors
    ///
    /// If it cannot be read or unpacked.
    pub(super) fn read_range(&mut self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let filled = self.read_at(at, &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Returns how many bytes there are, unpacked.
    ///
    /// # Errors
    ///
    /// If it cannot be read or unpacked.
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

    /// Whether another content begins with all of this one, which is not empty. A packed file that breaks off, because it is
    /// still being written, is what can be unpacked of it.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read.
    pub(super) fn is_prefix_of(&mut self, other: &mut Self) -> io::Result<bool> {
        let mut at = 0;
        loop {
            let ours = match self.read_range(at, CHUNK_BYTES) {
                Ok(bytes) => bytes,
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
    /// Fills a buffer as far as there is something. What could be unpacked before a failure is given before the failure is.
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

/// Reads a file from its beginning, whatever else reads it.
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
