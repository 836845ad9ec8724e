//! How far a log was read: the files that are still read, and the rotated files that are done with.

use std::io;

use serde::{Deserialize, Serialize};
use sessionwatch_core::instant::Instant;
use sha2::{Digest as _, Sha256};

use super::content::{Content, FileId};

/// Bytes at the beginning of a file, and bytes before the place that was read to, by which a file is known again.
pub(super) const WINDOW: usize = 256;
/// Rotated files that are remembered one by one.
pub(super) const MAX_DONE: usize = 128;
/// Hexadecimal digits of a sum that are kept.
const SUM_DIGITS: usize = 16;

/// The sum of some bytes: its first hexadecimal digits, and how many bytes there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum(String, u64);

impl Sum {
    /// How many bytes it is of.
    const fn length(&self) -> u64 {
        self.1
    }
}

/// A file, and how far it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// By what the system knows it.
    pub(super) file: FileId,
    /// When the file was created, where the file system tells.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "file_time::optional")]
    pub(super) born: Option<Instant>,
    /// The first byte of the entry that is open, or the next byte.
    pub(super) offset: u64,
    /// The byte after the last one that was read.
    #[serde(default)]
    pub(super) read: u64,
    /// The first bytes.
    pub(super) head: Sum,
    /// The bytes before `read`; `None` in places of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tail: Option<Sum>,
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
    pub(super) modified: Instant,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_epoch(value: &Instant) -> bool {
    *value == Instant::UNIX_EPOCH
}

/// The time of a file, as microseconds since 1970. File systems know more years than an instant, which is held inside its
/// own.
mod file_time {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use sessionwatch_core::instant::Instant;

    pub(super) fn serialize<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        i64::deserialize(deserializer).map(|micros| Instant::UNIX_EPOCH.plus_micros(micros))
    }

    /// The same where there may be none.
    pub(super) mod optional {
        use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
        use sessionwatch_core::instant::Instant;

        #[expect(clippy::ref_option, reason = "serde hands over a reference")]
        pub(in super::super) fn serialize<S: Serializer>(
            at: &Option<Instant>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            at.map(Instant::micros).serialize(serializer)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Instant>, D::Error> {
            let micros = Option::<i64>::deserialize(deserializer)?;
            Ok(micros.map(|micros| Instant::UNIX_EPOCH.plus_micros(micros)))
        }
    }
}

/// Returns the sum of some bytes.
pub(super) fn sum(bytes: &[u8]) -> Sum {
    let mut digits = const_hex::encode(Sha256::digest(bytes));
    digits.truncate(SUM_DIGITS);
    Sum(digits, bytes.len() as u64)
}

impl Mark {
    /// Whether the bytes that were read are enough to know the file by.
    pub(super) fn is_telling(&self) -> bool {
        self.read > 0
    }

    /// Whether a file of these facts can be this one: the same number, and not created at another time.
    pub(super) fn is_file(&self, file: FileId, born: Option<Instant>) -> bool {
        self.file.1 == file.1 && self.born.zip(born).is_none_or(|(before, now)| before == now)
    }

    /// Whether what was read of this file stands in a content, at the same place.
    ///
    /// # Errors
    ///
    /// If the content cannot be read.
    pub(super) fn fits(&self, content: &mut Content) -> io::Result<bool> {
        Ok(has(content, 0, &self.head)?
            && match &self.tail {
                Some(tail) => has(content, self.read.saturating_sub(tail.length()), tail)?,
                None => self.read == 0 || !content.bytes(self.read - 1, 1)?.is_empty(),
            })
    }
}

/// Whether bytes of that sum stand at a place of a content.
fn has(content: &mut Content, at: u64, expected: &Sum) -> io::Result<bool> {
    let length = usize::try_from(expected.length()).unwrap_or(usize::MAX).min(WINDOW);
    let found = sum(&content.bytes(at, length)?);
    Ok(found.length() == length as u64 && found.0 == expected.0)
}

/// How far a log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Place {
    /// The files that are still read, the newest last; none while there is no file.
    pub(super) reading: Vec<Mark>,
    /// Rotated files of which nothing more is to be read, unless they grow.
    pub(super) done: Vec<Mark>,
    /// Rotated files that were changed last before this instant are done with too.
    #[serde(skip_serializing_if = "Option::is_none", with = "file_time::optional")]
    pub(super) done_before: Option<Instant>,
    /// It is not known which rotated files were there: earlier versions did not keep that.
    #[serde(skip)]
    pub(super) is_blind: bool,
}

/// How a place is stored.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    #[serde(rename_all = "snake_case")]
    Files(Files),
    /// By earlier versions.
    File(EarlierPlace),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    reading: Vec<Mark>,
    done: Vec<Mark>,
    #[serde(default, with = "file_time::optional")]
    done_before: Option<Instant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EarlierPlace {
    file: FileId,
    offset: u64,
    head: Sum,
}

impl TryFrom<Stored> for Place {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        match stored {
            Stored::Files(Files { reading, done, done_before }) => {
                if reading.iter().chain(&done).any(|mark| mark.offset > mark.read) {
                    return Err("an entry begins behind what was read");
                }
                Ok(Self { reading, done, done_before, is_blind: false })
            }
            Stored::File(EarlierPlace { file, offset, head: Sum(digits, length) }) => {
                let digits = digits.get(..SUM_DIGITS).ok_or("the sum is too short")?.to_owned();
                let head = Sum(digits, length);
                let mark = Mark { file, offset, read: offset, head, ..Mark::default() };
                Ok(Self { reading: vec![mark], is_blind: true, ..Self::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(micros: i64) -> Instant {
        Instant::from_micros(micros).unwrap()
    }

    #[test]
    fn a_place_of_an_earlier_version_is_understood_and_nonsense_is_refused() {
        let earlier = format!(r#"{{"file":[1,2],"offset":7,"head":["{}",9]}}"#, "0123456789abcdef".repeat(4));
        let place: Place = serde_json::from_str(&earlier).unwrap();
        let mark = &place.reading[0];
        assert_eq!((mark.file, mark.offset, mark.read, place.is_blind), (FileId(1, 2), 7, 7, true));
        assert_eq!(mark.head, Sum("0123456789abcdef".to_owned(), 9));
        for nonsense in [
            "{}",
            "null",
            "[]",
            r#"{"reading":[]}"#,
            r#"{"reading":[{}],"done":[]}"#,
            r#"{"file":[1,2],"offset":7,"head":["01",9]}"#,
            r#"{"reading":[{"file":[1,2],"offset":7,"read":5,"head":["",0]}],"done":[]}"#,
        ] {
            assert!(serde_json::from_str::<Place>(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_place_is_stored_as_it_is() {
        let mark =
            Mark { file: FileId(1, 2), read: 5, head: sum(b"abc"), tail: Some(sum(b"c")), ..Mark::default() };
        let done =
            Mark { copy: true, modified: instant(8), born: Some(instant(3)), skipping: true, ..mark.clone() };
        let place =
            Place { reading: vec![mark], done: vec![done], done_before: Some(instant(1)), is_blind: false };
        let text = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<Place>(&text).unwrap(), place, "{text}");
    }
}
