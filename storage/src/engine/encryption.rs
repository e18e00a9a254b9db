//! What the store has to know of an engine that encrypts.

use bytes::Bytes;
use spandrel_block::BlockKey;
use spandrel_proto::TenantId;

use super::{EngineError, StoreRecord};

/// An engine that encrypts.
pub trait Encryption: Send + Sync {
    /// A whole block as it is stored, for a backup; `plain_bytes` is the length that its catalog row gives.
    fn stored_block(&self, key: &BlockKey, plain_bytes: u64) -> Result<Bytes, EngineError>;

    /// Decrypts a whole block of a backup.
    fn decrypt_block(&self, key: &BlockKey, stored: &Bytes) -> Result<Bytes, EngineError>;

    /// Whether the data key of a block of a backup was deleted here.
    fn is_ended(&self, stored: &Bytes) -> bool;

    /// Every record of a kind as it is stored.
    fn stored_records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError>;

    /// The data keys, encrypted under the master key, as a record of a backup.
    fn wrapped_keys(&self) -> Result<StoreRecord, EngineError>;

    /// Whether a block is stored as it is, because it was written before encryption was switched on.
    fn is_plain_block(&self, key: &BlockKey) -> Result<bool, EngineError>;

    /// Whether a record as it is stored is not encrypted.
    fn is_plain_record(&self, stored: &[u8]) -> bool;

    /// Fails if blocks in the catalog or their rows need data keys that the keyring does not have; the error names them.
    fn require_keys(&self) -> Result<(), EngineError>;

    /// Deletes the data keys of a tenant: what they encrypt cannot be read any more.
    fn end_keys(&self, tenant: &TenantId) -> Result<(), EngineError>;

    /// Whether the data key of a record as it is stored was deleted.
    fn is_ended_record(&self, stored: &[u8]) -> Result<bool, EngineError>;

    /// Whether data keys were deleted since this was last asked, or since the engine was opened.
    fn take_ended(&self) -> bool;

    /// Blocks that are in the catalog and whose data key was deleted: they cannot be read any more.
    fn ended_blocks(&self) -> Result<Vec<BlockKey>, EngineError>;
}
