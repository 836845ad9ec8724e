//! The read position of a log: checkpoints of files that are being read, and of rotated files that are done.

use std::io;

use serde::{Deserialize, Serialize};
use sessionwatch_core::timestamp::UtcTimestamp;
use sha2::{Digest as _, Sha256};

use super::content::{FileContent, FileId};

/// Number of bytes at the start of a file, and before the read position, that identify a file.
pub(super) const IDENTITY_WINDOW_BYTES: usize = 256;
/// Number of done files that are remembered individually.
pub(super) const MAX_DONE_FILES: usize = 128;
/// Hexadecimal digits of a checksum that are stored.
const CHECKSUM_DIGITS: usize = 16;

/// A truncated SHA-256 digest in hexadecimal, and the number of bytes that it covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum(String, u64);

impl Checksum {
    const fn byte_count(&self) -> u64 {
        self.1
    }
}

/// Identity and read state of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileCheckpoint {
    pub(super) file: FileId,
    /// Creation time; `None` if the file system does not record it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "file_time::optional")]
    pub(super) born: Option<UtcTimestamp>,
    /// Start of the pending entry, or offset of the next byte if there is none.
    pub(super) offset: u64,
    /// Offset after the last byte that was read.
    #[serde(default)]
    pub(super) read: u64,
    /// Checksum of the first bytes.
    pub(super) head: Checksum,
    /// Checksum of the bytes before `read`; `None` in positions of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<Checksum>,
    /// The rest of an overlong line is being dropped.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) skipping: bool,
    /// An incomplete line follows `read`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) unfinished: bool,
    /// The file is a copy of the current file, as made by `copytruncate`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) copy: bool,
    /// Modification time; 1970-01-01 for files that are still being read.
    #[serde(default, skip_serializing_if = "is_epoch", with = "file_time")]
    pub(super) modified: UtcTimestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_epoch(value: &UtcTimestamp) -> bool {
    *value == UtcTimestamp::UNIX_EPOCH
}

/// Serializes file times as microseconds since 1970. File systems allow years outside the range of `UtcTimestamp`,
/// which are clamped.
mod file_time {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use sessionwatch_core::timestamp::UtcTimestamp;

    pub(super) fn serialize<S: Serializer>(at: &UtcTimestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UtcTimestamp, D::Error> {
        i64::deserialize(deserializer).map(|micros| UtcTimestamp::UNIX_EPOCH.saturating_add_micros(micros))
    }

    /// Serializes an optional file time.
    pub(super) mod optional {
        use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
        use sessionwatch_core::timestamp::UtcTimestamp;

        #[expect(clippy::ref_option, reason = "serde hands over a reference")]
        pub(in super::super) fn serialize<S: Serializer>(
            at: &Option<UtcTimestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            at.map(UtcTimestamp::micros).serialize(serializer)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<UtcTimestamp>, D::Error> {
            let micros = Option::<i64>::deserialize(deserializer)?;
            Ok(micros.map(|micros| UtcTimestamp::UNIX_EPOCH.saturating_add_micros(micros)))
        }
    }
}

pub(super) fn compute_checksum(bytes: &[u8]) -> Checksum {
    let mut digits = const_hex::encode(Sha256::digest(bytes));
    digits.truncate(CHECKSUM_DIGITS);
    Checksum(digits, bytes.len() as u64)
}

impl FileCheckpoint {
    /// Returns `true` if anything was read by which the file can be identified.
    pub(super) fn identifies_file(&self) -> bool {
        self.read > 0
    }

    /// Returns `true` if a file has the same inode and no different creation time. An inode alone may have been reused.
    pub(super) fn may_be_file(&self, file: FileId, born: Option<UtcTimestamp>) -> bool {
        // Device numbers may change with a reboot, so only inodes are compared.
        self.file.1 == file.1 && self.born.zip(born).is_none_or(|(before, now)| before == now)
    }

    /// Returns `true` if a content has the same bytes at its start and before the read position.
    ///
    /// # Errors
    ///
    /// If the content cannot be read.
    pub(super) fn matches_content(&self, content: &mut FileContent) -> io::Result<bool> {
        Ok(content_matches(content, 0, &self.head)?
            && match &self.tail {
                Some(tail) => content_matches(content, self.read.saturating_sub(tail.byte_count()), tail)?,
                None => self.read == 0 || !content.read_range(self.read - 1, 1)?.is_empty(),
            })
    }
}

fn content_matches(content: &mut FileContent, at: u64, expected: &Checksum) -> io::Result<bool> {
    let length = usize::try_from(expected.byte_count()).unwrap_or(usize::MAX).min(IDENTITY_WINDOW_BYTES);
    let found = compute_checksum(&content.read_range(at, length)?);
    Ok(found.byte_count() == length as u64 && found.0 == expected.0)
}

/// The read position of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct LogPosition {
    /// Files that are being read, oldest first; empty while there is no file.
    pub(super) reading: Vec<FileCheckpoint>,
    /// Rotated files that were read to their end, and are read again only if they grow.
    pub(super) done: Vec<FileCheckpoint>,
    /// Rotated files last modified at or before this time are done too.
    #[serde(skip_serializing_if = "Option::is_none", with = "file_time::optional")]
    pub(super) done_before: Option<UtcTimestamp>,
    /// The position is from an earlier version, which did not record rotated files.
    #[serde(skip)]
    pub(super) is_rotation_unknown: bool,
}

/// The stored formats of a position.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    #[serde(rename_all = "snake_case")]
    Files(StoredFileList),
    /// The format of earlier versions.
    File(LegacyPosition),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFileList {
    reading: Vec<FileCheckpoint>,
    done: Vec<FileCheckpoint>,
    #[serde(default, with = "file_time::optional")]
    done_before: Option<UtcTimestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LegacyPosition {
    file: FileId,
    offset: u64,
    head: Checksum,
}

impl TryFrom<Stored> for LogPosition {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        match stored {
            Stored::Files(StoredFileList { reading, done, done_before }) => {
                if reading.iter().chain(&done).any(|checkpoint| checkpoint.offset > checkpoint.read) {
                    return Err("the pending entry starts after the last byte read");
                }
                Ok(Self { reading, done, done_before, is_rotation_unknown: false })
            }
            Stored::File(LegacyPosition { file, offset, head: Checksum(digits, length) }) => {
                let digits = digits.get(..CHECKSUM_DIGITS).ok_or("the checksum is too short")?.to_owned();
                let head = Checksum(digits, length);
                let checkpoint =
                    FileCheckpoint { file, offset, read: offset, head, ..FileCheckpoint::default() };
                Ok(Self { reading: vec![checkpoint], is_rotation_unknown: true, ..Self::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(micros: i64) -> UtcTimestamp {
        UtcTimestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn positions_of_earlier_versions_are_decoded_and_invalid_ones_rejected() {
        let earlier = format!(r#"{{"file":[1,2],"offset":7,"head":["{}",9]}}"#, "0123456789abcdef".repeat(4));
        let place: LogPosition = serde_json::from_str(&earlier).unwrap();
        let checkpoint = &place.reading[0];
        assert_eq!(
            (checkpoint.file, checkpoint.offset, checkpoint.read, place.is_rotation_unknown),
            (FileId(1, 2), 7, 7, true)
        );
        assert_eq!(checkpoint.head, Checksum("0123456789abcdef".to_owned(), 9));
        for nonsense in [
            "{}",
            "null",
            "[]",
            r#"{"reading":[]}"#,
            r#"{"reading":[{}],"done":[]}"#,
            r#"{"file":[1,2],"offset":7,"head":["01",9]}"#,
            r#"{"reading":[{"file":[1,2],"offset":7,"read":5,"head":["",0]}],"done":[]}"#,
        ] {
            assert!(serde_json::from_str::<LogPosition>(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_position_survives_serialization() {
        let checkpoint = FileCheckpoint {
            file: FileId(1, 2),
            read: 5,
            head: compute_checksum(b"abc"),
            tail: Some(compute_checksum(b"c")),
            ..FileCheckpoint::default()
        };
        let done = FileCheckpoint {
            copy: true,
            modified: instant(8),
            born: Some(instant(3)),
            skipping: true,
            ..checkpoint.clone()
        };
        let place = LogPosition {
            reading: vec![checkpoint],
            done: vec![done],
            done_before: Some(instant(1)),
            is_rotation_unknown: false,
        };
        let text = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<LogPosition>(&text).unwrap(), place, "{text}");
    }
}
