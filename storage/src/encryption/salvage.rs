//! Reads what is left of a damaged store that is encrypted, for a repair.

use std::sync::Arc;

use spandrel_block::{BlockKey, CatalogRow};

use super::block::{self, BlockHeader};
use super::engine::read_row;
use super::keyring::Keyring;
use crate::engine::{Salvage, SalvageError, SalvagedBlock, SalvagedBlocks, SalvagedBytes, StoreRecord};

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
}

impl Salvage for EncryptedSalvage<'_> {
    fn blocks(&self) -> Result<SalvagedBlocks, SalvageError> {
        let SalvagedBlocks { blocks, are_more_missing } = self.inner.blocks()?;
        let mut readable = Vec::with_capacity(blocks.len());
        for SalvagedBlock { key, row, bytes } in blocks {
            let row = match row {
                Some(stored) => match read_row(&self.keyring, &key, stored)? {
                    Some(row) => Some(row),
                    // Its data key was deleted.
                    None => continue,
                },
                None => None,
            };
            let said = row.as_deref().and_then(|row| CatalogRow::decode(row).ok()).map(|row| row.bytes);
            readable.push(SalvagedBlock { key, row, bytes: said.unwrap_or(bytes) });
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
