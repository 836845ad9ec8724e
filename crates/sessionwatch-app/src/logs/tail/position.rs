//! How far a log was read: the files that are still read, and the rotated files that are done with.

use std::io;

use serde::{Deserialize, Serialize};
use sessionwatch_core::timestamp::UtcTimestamp;
use sha2::{Digest as _, Sha256};

use super::content::{FileContent, FileId};

/// Bytes at the beginning of a file, and bytes before the place that was read to, by which a file is known again.
pub(super) const IDENTITY_WINDOW_BYTES: usize = 256;
/// Rotated files that are remembered one by one.
pub(super) const MAX_DONE_FILES: usize = 128;
/// Hexadecimal digits of a sum that are kept.
const CHECKSUM_DIGITS: usize = 16;

/// The sum of some bytes: its first hexadecimal digits, and how many bytes there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum(String, u64);

impl Checksum {
    /// How many bytes it is of.
    const fn byte_count(&self) -> u64 {
        self.1
    }
}

/// A file, and how far it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileCheckpoint {
    /// By what the system knows it.
    pub(super) file: FileId,
    /// When the file was created, where the file system tells.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "file_time::optional")]
    pub(super) born: Option<UtcTimestamp>,
    /// The first byte of the entry that is open, or the next byte.
    pub(super) offset: u64,
    /// The byte after the last one that was read.
    #[serde(default)]
    pub(super) read: u64,
    /// The first bytes.
    pub(super) head: Checksum,
    /// The bytes before `read`; `None` in places of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<Checksum>,
    /// The rest of a line that is too long is passed over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) skipping: bool,
    /// A line was begun behind `read`, and has not ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) unfinished: bool,
    /// It is a copy of the file that is read, as `copytruncate` makes one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) copy: bool,
    /// When the file was last changed; 1970-01-01 for files that are still read.
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

/// The time of a file, as microseconds since 1970. File systems know more years than an instant, which is held inside its
/// own.
mod file_time {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use sessionwatch_core::timestamp::UtcTimestamp;

    pub(super) fn serialize<S: Serializer>(at: &UtcTimestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UtcTimestamp, D::Error> {
        i64::deserialize(deserializer).map(|micros| UtcTimestamp::UNIX_EPOCH.saturating_add_micros(micros))
    }

    /// The same where there may be none.
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

/// Returns the sum of some bytes.
pub(super) fn compute_checksum(bytes: &[u8]) -> Checksum {
    let mut digits = const_hex::encode(Sha256::digest(bytes));
    digits.truncate(CHECKSUM_DIGITS);
    Checksum(digits, bytes.len() as u64)
}

impl FileCheckpoint {
    /// Whether the bytes that were read are enough to know the file by.
    pub(super) fn identifies_file(&self) -> bool {
        self.read > 0
    }

    /// Whether a file of these facts can be this one: the same number, and not created at another time.
    pub(super) fn may_be_file(&self, file: FileId, born: Option<UtcTimestamp>) -> bool {
        self.file.1 == file.1 && self.born.zip(born).is_none_or(|(before, now)| before == now)
    }

    /// Whether what was read of this file stands in a content, at the same place.
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

/// Whether bytes of that sum stand at a place of a content.
fn content_matches(content: &mut FileContent, at: u64, expected: &Checksum) -> io::Result<bool> {
    let length = usize::try_from(expected.byte_count()).unwrap_or(usize::MAX).min(IDENTITY_WINDOW_BYTES);
    let found = compute_checksum(&content.read_range(at, length)?);
    Ok(found.byte_count() == length as u64 && found.0 == expected.0)
}

/// How far a log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct LogPosition {
    /// The files that are still read, the newest last; none while there is no file.
    pub(super) reading: Vec<FileCheckpoint>,
    /// Rotated files of which nothing more is to be read, unless they grow.
    pub(super) done: Vec<FileCheckpoint>,
    /// Rotated files that were changed last before this instant are done with too.
    #[serde(skip_serializing_if = "Option::is_none", with = "file_time::optional")]
    pub(super) done_before: Option<UtcTimestamp>,
    /// It is not known which rotated files were there: earlier versions did not keep that.
    #[serde(skip)]
    pub(super) is_rotation_unknown: bool,
}

/// How a place is stored.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    #[serde(rename_all = "snake_case")]
    Files(StoredFileList),
    /// By earlier versions.
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
                if reading.iter().chain(&done).any(|mark| mark.offset > mark.read) {
                    return Err("an entry begins behind what was read");
                }
                Ok(Self { reading, done, done_before, is_rotation_unknown: false })
            }
            Stored::File(LegacyPosition { file, offset, head: Checksum(digits, length) }) => {
                let digits = digits.get(..CHECKSUM_DIGITS).ok_or("the sum is too short")?.to_owned();
                let head = Checksum(digits, length);
                let mark = FileCheckpoint { file, offset, read: offset, head, ..FileCheckpoint::default() };
                Ok(Self { reading: vec![mark], is_rotation_unknown: true, ..Self::default() })
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
    fn a_place_of_an_earlier_version_is_understood_and_nonsense_is_refused() {
        let earlier = format!(r#"{{"file":[1,2],"offset":7,"head":["{}",9]}}"#, "0123456789abcdef".repeat(4));
        let place: LogPosition = serde_json::from_str(&earlier).unwrap();
        let mark = &place.reading[0];
        assert_eq!(
            (mark.file, mark.offset, mark.read, place.is_rotation_unknown),
            (FileId(1, 2), 7, 7, true)
        );
        assert_eq!(mark.head, Checksum("0123456789abcdef".to_owned(), 9));
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
    fn a_place_is_stored_as_it_is() {
        let mark = FileCheckpoint {
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
            ..mark.clone()
        };
        let place = LogPosition {
            reading: vec![mark],
            done: vec![done],
            done_before: Some(instant(1)),
            is_rotation_unknown: false,
        };
        let text = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<LogPosition>(&text).unwrap(), place, "{text}");
    }
}
