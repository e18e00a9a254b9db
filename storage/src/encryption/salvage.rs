//! Reads what is left of a damaged store that is encrypted, for a repair.

use std::collections::BTreeSet;
use std::sync::Arc;

use spandrel_block::{BlockKey, CatalogRow};

use super::block::{self, BlockHeader, HEADER};
use super::engine::read_row;
use super::error::KeyError;
use super::keyring::Keyring;
use crate::engine::{
    EngineError, Salvage, SalvageError, SalvagedBlock, SalvagedBlocks, SalvagedBytes, StoreRecord,
};

/// A damaged store behind its encryption.
pub struct EncryptedSalvage<'s> {
    inner: &'s dyn Salvage,
    keyring: Arc<Keyring>,
}

// === impl EncryptedSalvage ===

impl<'s> EncryptedSalvage<'s> {
    /// Wraps a damaged store.
    pub fn new(inner: &'s dyn Salvage, keyring: Arc<Keyring>) -> Self {
        Self { inner, keyring }
    }

    /// A block with its row as it was written; `None` if its data have ended.
    fn decrypted(&self, block: SalvagedBlock) -> Result<Option<SalvagedBlock>, KeyError> {
        let SalvagedBlock { key, row, bytes } = block;
        let row = match row {
            Some(stored) => match read_row(&self.keyring, &key, stored)? {
                Some(row) => Some(row),
                None => return Ok(None),
            },
            None => None,
        };
        let read = row.as_deref().and_then(|row| CatalogRow::decode(row).ok());
        let start = self.inner.read_block(&key, HEADER as u64).bytes;
        let has_ended = match BlockHeader::read(&start) {
            Some(header) => self.keyring.is_ended(header.key)?,
            // A plain row, which would have told it, is gone.
            None => {
                read.is_none()
                    && !block::is_encrypted_block(&start)
                    && self.keyring.has_ended_key_of(&key.tenant)
            }
        };
        let bytes = read.map_or(bytes, |row| row.bytes);
        Ok((!has_ended).then_some(SalvagedBlock { key, row, bytes }))
    }
}

impl Salvage for EncryptedSalvage<'_> {
    fn blocks(&self) -> Result<SalvagedBlocks, SalvageError> {
        let SalvagedBlocks { blocks, are_more_missing } = self.inner.blocks()?;
        let (mut readable, mut missing) = (Vec::with_capacity(blocks.len()), BTreeSet::new());
        for block in blocks {
            match self.decrypted(block) {
                Ok(block) => readable.extend(block),
                Err(KeyError::Unknown { ids, .. }) => missing.extend(ids),
                Err(error) => return Err(EngineError::from(error).into()),
            }
        }
        // Blocks without their key would be taken for damaged ones, and be left out of the new store.
        if !missing.is_empty() {
            return Err(EngineError::from(self.keyring.unknown(missing)).into());
        }
        Ok(SalvagedBlocks { blocks: readable, are_more_missing })
    }

    fn read_block(&self, key: &BlockKey, bytes: u64) -> SalvagedBytes {
        let found = self.inner.read_block(key, bytes);
        if !block::is_encrypted_block(&found.bytes) {
            return found;
        }
        let opened = BlockHeader::read(&found.bytes)
            .ok_or_else(|| "the header of the encrypted block is damaged".to_owned())
            .and_then(|header| {
                let data_key = self.keyring.key(header.key).map_err(|error| error.to_string())?;
                header.open(&data_key, key).map_err(|error| error.to_string())
            });
        match opened {
            Ok(open) => {
                // An encrypted block is longer than a plain one.
                let stored = open.header.stored_bytes().unwrap_or(0);
                let found = match stored > found.bytes.len() as u64 {
                    true => self.inner.read_block(key, stored),
                    false => found,
                };
                let salvaged = open.salvage(&found.bytes);
                let damage = found.damage.or(salvaged.damage.map(|error| error.to_string()));
                SalvagedBytes { bytes: salvaged.plain.into(), damage }
            }
            Err(damage) => SalvagedBytes { bytes: found.bytes.slice(..0), damage: Some(damage) },
        }
    }

    /// Records stay encrypted: the engine of the new store takes them as they are.
    fn all_records(&self) -> Result<Vec<StoreRecord>, SalvageError> {
        self.inner.all_records()
    }

    fn wal_truncated(&self) -> bool {
        self.inner.wal_truncated()
    }
}
