//! Encryption at rest: blocks, catalog rows and small records are encrypted with AES-256-GCM before they reach an engine.
//!
//! [`EncryptedEngine`] stands between the store and its engine, so that neither knows of it. Not here: files. The
//! composition root passes in the file of the keyring and the source of the master key.
//!
//! ```text
//! master key (32 bytes; from a file, a variable or a command; never stored)
//!   wraps data keys (32 random bytes; one or more for each tenant, one for the store's own records): the keyring
//!     from which the key of each block, row and record is derived: HKDF-SHA256 over its header and its place
//! ```
//!
//! Each block, row and record has a random salt of its own, so that no two of them have the same key, even if a block
//! ID is used again by a restored store; the nonce is then the number of the frame. Header and place (tenant, hour and
//! block, or kind and name) go into the derivation: whatever is changed, cut short or moved elsewhere does not decrypt.
//! What is not found is an older value at its own place.
//!
//! An encrypted block (`block.rs`):
//!
//! ```text
//! header   magic "SPANENC1" (8)                        all integers little endian
//!          ID of the data key (8), length of the plain block (8), salt (16)
//!          xxh3-64 of the header up to here (8)
//! frames   16 KiB each, the first one with the header, the last one as long as it is:
//!          ciphertext, tag (16)
//! ```
//!
//! The nonce of a frame is 7 zero bytes, its number (4, big endian), and 1 if it is the last one, else 0. A page of
//! RocksDB has four whole frames, and a reader decrypts only the frames that it needs.
//!
//! An encrypted row or record (`value.rs`):
//!
//! ```text
//! magic ff "EV1" (4)
//! ID of the data key (8), stored length of the block (8; of records 0), salt (16)
//! low half of the xxh3-64 of the header up to here (4)
//! ciphertext, tag (16)
//! ```
//!
//! No plain block begins with the first magic and no plain value with ff, so a store may hold both.

mod block;
mod changes;
mod cipher;
mod engine;
mod error;
mod keyring;
mod keys;
#[cfg(any(test, feature = "memory-engine"))]
mod memory;
mod salvage;
mod value;
mod wrap;

pub use block::{check_header, is_encrypted_block};
pub use changes::{begin_data_keys, end_data_keys, rewrap};
pub use cipher::CipherError;
pub use engine::EncryptedEngine;
pub(crate) use engine::{KEYRING_RECORD, KEYRING_VERSION};
pub use error::KeyError;
pub use keyring::{KeyFile, Keyring, MasterKeySource, Seconds, Stamp};
pub use keys::{DataKey, KeyEntry, KeyId, MasterKey, MasterKeyError};
#[cfg(any(test, feature = "memory-engine"))]
pub use memory::MemoryKeys;
pub use salvage::EncryptedSalvage;
/// By which callers name the tenant whose keys they end.
pub use spandrel_proto::TenantId;
pub use value::{block_bytes, is_encrypted_value};
