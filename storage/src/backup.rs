//! The format of a backup: a manifest that names blocks by the hash of their bytes.
//!
//! A backup set is a directory:
//!
//! ```text
//! SPANDREL-BACKUPS       what this directory is, and the version of its layout
//! blocks/ab/HASH.block   the bytes of a block as the store had them, under their hash in hex, in a
//!                        directory named by its first two digits; likewise the store's own records
//! backups/ID.manifest    one backup: which blocks belong to it
//! ```
//!
//! A manifest is text, one fact a line, so that it can be read by eye when all else has failed:
//!
//! ```text
//! spandrel-backup 1                             the version of the manifest; 2 if it is without a deletion
//! id ID                                         16 hex digits; later backups have larger ones
//! taken TIME                                    Unix nanoseconds
//! records BYTES HASH                            the store's own records: pins, deletions under way, counts
//! block TENANT HOUR BLOCK BYTES SPANS FIRST LAST HASH
//! lost TENANT HOUR BLOCK REASON ...             a block that could not be read when it was taken
//! without DELETION                              a deletion that was done before; only the store itself knows
//! checksum SUM                                  hash of all lines before, newlines included
//! ```
//!
//! HOUR is the window of arrival in hours since 1970, FIRST and LAST are the numbers of the first and
//! last commit that stored a span of the block, HASH and SUM are xxh3-128 in 32 hex digits. While a
//! backup is under way the store knows some blocks without their hash: `-`.
//!
//! A backup comes over the wire as a stream of the same lines, with the bytes of blocks between them:
//!
//! ```text
//! spandrel-backup-stream 1
//! id ID
//! taken TIME
//! expect BLOCKS BYTES SPANS                     what is to come, at the most
//! records BYTES HASH                            followed by the bytes of the records
//! have TENANT HOUR ... HASH                     a block that the receiver has
//! send TENANT HOUR ... HASH                     followed by the bytes of the block
//! lost TENANT HOUR BLOCK REASON ...
//! end                                           without it the stream was cut short
//! ```
//!
//! Catalog and index are not part of a backup: they follow from the blocks. Nothing here knows
//! a file system or a network: files and streams are passed in. Records are encoded as `spandrel_block::record` does, version 1: kind, name, value.

mod manifest;
mod set;
mod stream;

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use spandrel_block::record::{self, RecordError};
use xxhash_rust::xxh3::xxh3_128;

pub use self::manifest::{BackupBlock, LostBlock, Manifest, ManifestError};
pub use self::set::{BackupSet, BackupStart, FileLock, Files, SetError};
pub use self::stream::{Arrived, IncomingError, StreamLine, StreamWriter, receive};
pub use spandrel_block::{BlockReport, verify};

/// Names a backup. Later ones have larger numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(pub u64);

/// The hash of contents, which names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(u128);

/// The length and hash of contents that are no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// How many.
    pub bytes: u64,
    /// Their hash.
    pub hash: ContentHash,
}

/// A small record of the store itself, as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRecord {
    /// What it is about.
    pub kind: String,
    /// Which of its kind.
    pub name: String,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// The format that this program writes.
const FORMAT_VERSION: u32 = 1;
const RECORDS_VERSION: u8 = 1;

// === impl BackupId, ContentHash ===

impl ContentHash {
    /// The hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }
}

impl Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for BackupId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        exact_hex(text, 16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(Self).ok_or(())
    }
}

impl Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ContentHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        exact_hex(text, 32).and_then(|hex| u128::from_str_radix(hex, 16).ok()).map(Self).ok_or(())
    }
}

/// Names have one spelling: files are found by it.
fn exact_hex(text: &str, digits: usize) -> Option<&str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (text.len() == digits && plain).then_some(text)
}

// === impl Blob, StoreRecord ===

impl Blob {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, hash: ContentHash::of(bytes) }
    }
}

impl Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.bytes, self.hash)
    }
}

impl FromStr for Blob {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (bytes, hash) = text.split_once(' ').ok_or(())?;
        Ok(Self { bytes: number(bytes)?, hash: hash.parse()? })
    }
}

impl StoreRecord {
    /// The bytes of many.
    pub fn encode_all(records: &[Self]) -> Result<Vec<u8>, RecordError> {
        record::encode(RECORDS_VERSION, &records)
    }

    /// Back from their bytes.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, RecordError> {
        record::decode(RECORDS_VERSION, bytes)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, ()> {
    text.parse().map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let record = |kind: &str| StoreRecord {
            kind: kind.to_owned(),
            name: "default/1".to_owned(),
            value: vec![0, 255],
        };
        let records = vec![record("pin"), record("deletion")];
        let bytes = StoreRecord::encode_all(&records).unwrap();
        assert_eq!(
            bytes,
            b"\x01C#X*F\xa1\xb0\xeb\x02\x03pin\x09default/1\x02\x00\xff\x08deletion\x09default/1\x02\x00\xff",
            "what was written once stays readable"
        );
        assert_eq!(StoreRecord::decode_all(&bytes), Ok(records));
        assert!(StoreRecord::decode_all(&bytes[..bytes.len() - 1]).is_err());
    }
}
