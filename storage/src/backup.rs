//! The format of a backup: a manifest that names blocks by the hash of their bytes.
//!
//! A backup set is a directory:
//!
//! ```text
//! SPANDREL-BACKUPS       marks the directory, and contains the version of its layout
//! blocks/ab/HASH.block   the bytes of a block as the store had them, under their hash in hex, in a
//!                        directory named by its first two digits; likewise the store's own records
//! backups/ID.manifest    one backup: which blocks belong to it
//! ```
//!
//! A manifest is text with one fact per line, so that people can read it without this program:
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
//! The server sends a backup as a stream of the same lines, with the bytes of blocks between them:
//!
//! ```text
//! spandrel-backup-stream 1
//! id ID
//! taken TIME
//! expect BLOCKS BYTES SPANS                     how much follows, at the most
//! records BYTES HASH                            followed by the bytes of the records
//! have TENANT HOUR ... HASH                     a block that the receiver has
//! send TENANT HOUR ... HASH                     followed by the bytes of the block
//! lost TENANT HOUR BLOCK REASON ...
//! end                                           without it the stream was cut short
//! ```
//!
//! Blocks and records of an encrypted store stay encrypted. The data keys that they need come among the records, of kind
//! `data-keys`, themselves encrypted under the master key, which is in no backup.
//!
//! Catalog and index are not part of a backup, because they can be rebuilt from the blocks. Nothing here uses a file
//! system or a network: the caller passes in files and streams. Records are encoded as `spandrel_block::record` does,
//! version 1: kind, name, value.

mod manifest;
mod receiver;
mod set;
mod stream;

use std::fmt::{self, Display};
use std::str::FromStr;

use spandrel_block::FormatError;
use spandrel_block::record::{self, RecordError};
use xxhash_rust::xxh3::xxh3_128;

use crate::encryption::{self, CipherError, KEYRING_RECORD, KEYRING_VERSION, KeyEntry};
use crate::engine::StoreRecord;

pub use self::manifest::{BackupBlock, LostBlock, Manifest, ManifestError};
pub use self::receiver::{BackupReceiver, ReceiverGone};
pub use self::set::{BackupSet, BackupStart, FileLock, Files, SetError};
pub use self::stream::{Arrived, IncomingError, StreamLine, StreamWriter, receive};
pub use crate::ids::BackupId;
pub use bytes::Bytes;
pub use spandrel_block::BlockKey;

/// The hash of contents, which serves as their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(u128);

/// The length and hash of contents other than a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Length in bytes.
    pub bytes: u64,
    /// Hash of the bytes.
    pub hash: ContentHash,
}

/// Why the content of a block's file is not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// It is damaged, or of a newer format.
    #[error(transparent)]
    Block(#[from] FormatError),
    /// It is encrypted, and its header or its length is damaged.
    #[error("the encrypted block is damaged: {0}")]
    Encrypted(#[from] CipherError),
}

/// The format that this program writes.
const FORMAT_VERSION: u32 = 1;
const RECORDS_VERSION: u8 = 1;

// === impl ContentHash ===

impl ContentHash {
    /// Computes the hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }
}

impl Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ContentHash {
    type Err = ();

    /// Accepts 32 lower-case digits only: files are found by name, so a hash has one spelling.
    fn from_str(text: &str) -> Result<Self, ()> {
        let hash = u128::from_str_radix(text, 16).map(Self).map_err(|_| ())?;
        if hash.to_string() == text { Ok(hash) } else { Err(()) }
    }
}

// === impl Blob ===

impl Blob {
    /// Computes length and hash of bytes.
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

/// Encodes the store's own records for a backup.
pub fn encode_records(records: &[StoreRecord]) -> Result<Vec<u8>, RecordError> {
    record::encode(RECORDS_VERSION, &records)
}

/// Decodes the records from [`encode_records`].
pub fn decode_records(bytes: &[u8]) -> Result<Vec<StoreRecord>, RecordError> {
    record::decode(RECORDS_VERSION, bytes)
}

/// The encrypted data keys among the records of a backup; none in a backup of a store that is not encrypted.
pub fn wrapped_keys(records: &[StoreRecord]) -> Result<Vec<KeyEntry>, RecordError> {
    let entries = records.iter().find(|record| record.kind == KEYRING_RECORD);
    entries.map_or(Ok(Vec::new()), |record| record::decode(KEYRING_VERSION, &record.value))
}

/// Verifies the content of a block's file. Of an encrypted one only header and length can be verified without its key.
pub fn verify(bytes: Bytes) -> Result<(), ContentError> {
    if encryption::is_encrypted_block(&bytes) {
        encryption::check_header(&bytes)?;
    } else {
        spandrel_block::verify(bytes)?;
    }
    Ok(())
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
        let bytes = encode_records(&records).unwrap();
        assert_eq!(
            bytes,
            b"\x01C#X*F\xa1\xb0\xeb\x02\x03pin\x09default/1\x02\x00\xff\x08deletion\x09default/1\x02\x00\xff",
            "what was written once stays readable"
        );
        assert_eq!(decode_records(&bytes), Ok(records));
        assert!(decode_records(&bytes[..bytes.len() - 1]).is_err());
    }
}
