//! The engine that encrypts what it passes to another one, and decrypts what it reads from it.
//!
//! What was stored before encryption was switched on is read as it is; what is written is encrypted. Rows of the trace
//! index, keys of blocks, and kinds and names of records stay readable.

use std::collections::BTreeSet;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::sync::Cache;
use spandrel_block::{BlockId, BlockKey, CatalogRow, RowRange, record};
use spandrel_proto::{TenantId, TraceId};

use super::block::{self, BlockHeader, HEADER, OpenBlock};
use super::cipher::CipherError;
use super::error::KeyError;
use super::keyring::Keyring;
use super::keys::KeyId;
use super::value::{self, Place, ValueHeader};
use crate::engine::{
    BlockStore, Catalog, Change, Encryption, Engine, EngineError, IndexRow, Inspect, NewBlock, PurgeProgress,
    Records, StoreRecord, TraceIndex,
};

/// An engine that encrypts. `E` points to the engine below: an `Arc` or a reference.
pub struct EncryptedEngine<E> {
    inner: E,
    keyring: Arc<Keyring>,
    /// Opened headers by block. Derived keys are in there, so it is emptied when the keyring changes.
    opened: Cache<BlockId, Opened>,
    /// The version of the keyring that `opened` belongs to.
    version: AtomicU64,
}

/// What the header of a stored block tells.
#[derive(Clone)]
enum Opened {
    Plain,
    Encrypted(Arc<OpenBlock>),
}

/// Headers that are kept, each with a derived key: some 3 MB.
const OPENED: usize = 4_096;
/// The kind of the record by which a backup carries the wrapped data keys.
pub(crate) const KEYRING_RECORD: &str = "data-keys";
pub(crate) const KEYRING_VERSION: u8 = 1;

// === impl EncryptedEngine ===

impl<E: Deref<Target = dyn Engine> + Send + Sync> EncryptedEngine<E> {
    /// Wraps an engine.
    pub fn new(inner: E, keyring: Arc<Keyring>) -> Self {
        let version = AtomicU64::new(keyring.version());
        Self { inner, keyring, opened: Cache::new(OPENED), version }
    }

    /// The keys.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    fn opened(&self, key: &BlockKey) -> Result<Opened, EngineError> {
        let version = self.keyring.version();
        // Read before it is written: cores that only read would contend for it.
        if self.version.load(Ordering::Acquire) != version
            && self.version.swap(version, Ordering::AcqRel) != version
        {
            self.opened.clear();
        }
        if let Some(opened) = self.opened.get(&key.block) {
            return Ok(opened);
        }
        let start = self.inner.get_range(key, 0..HEADER as u64)?;
        let opened = if block::is_encrypted_block(&start) {
            let header = BlockHeader::read(&start).ok_or_else(|| damaged(key, CipherError::NotAuthentic))?;
            let data_key = self.keyring.key(header.key)?;
            let open = header.open(&data_key, key).map_err(|error| damaged(key, error))?;
            Opened::Encrypted(Arc::new(open))
        } else {
            Opened::Plain
        };
        self.opened.insert(key.block, opened.clone());
        // If the keyring has changed since, what was inserted may belong to a deleted key, and come after the clearing.
        if self.keyring.version() != version {
            self.opened.remove(&key.block);
        }
        Ok(opened)
    }

    fn encrypt(&self, change: &Change) -> Result<Change, EngineError> {
        if change.adds.is_empty() {
            return Ok(change.clone());
        }
        let data_key = self.keyring.current(Some(&change.tenant))?;
        let mut encrypted = Change {
            tenant: change.tenant.clone(),
            hour: change.hour,
            adds: Vec::with_capacity(change.adds.len()),
            removes: change.removes.clone(),
        };
        for add in &change.adds {
            let key = change.key(add.id);
            // A restore brings blocks as they are in the backup.
            let bytes = match block::is_encrypted_block(&add.bytes) {
                true => add.bytes.clone(),
                false => block::encrypt(&data_key, &key, &add.bytes).map_err(KeyError::Cipher)?,
            };
            let place = key.encode();
            let row = value::encrypt(&data_key, Place::Row(&place), bytes.len() as u64, &add.row);
            let row = row.map_err(KeyError::Cipher)?;
            encrypted.adds.push(NewBlock {
                id: add.id,
                bytes,
                row,
                short_lived: add.short_lived,
                index: add.index.clone(),
            });
        }
        Ok(encrypted)
    }

    /// Refuses to replace blocks whose key was deleted while they were merged: their spans would go on under a new key.
    /// To be called when the key for the new blocks is chosen. If that one is deleted, too, the new blocks end as well.
    fn refuse_ended(&self, change: &Change) -> Result<(), EngineError> {
        if change.adds.is_empty() {
            return Ok(());
        }
        for removed in &change.removes {
            match self.opened(&change.key(*removed)) {
                Err(error @ (EngineError::Key(_) | EngineError::KeyEnded(_))) => return Err(error),
                Ok(Opened::Plain) if self.keyring.has_ended_key_of(&change.tenant) => {
                    return Err(EngineError::Conflict);
                }
                // Whether the block exists, the engine checks.
                _ => {}
            }
        }
        Ok(())
    }

    /// A stored catalog row as it was written; `None` if the data of its block have ended. Where the row cannot be read
    /// the block decides.
    fn row(&self, key: &BlockKey, stored: Vec<u8>) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(row) = read_row(&self.keyring, key, stored)? else { return Ok(None) };
        if CatalogRow::decode(&row).is_ok() {
            return Ok(Some(row));
        }
        let has_ended = match self.opened(key) {
            Ok(Opened::Plain) => self.keyring.has_ended_key_of(&key.tenant),
            Err(EngineError::KeyEnded(_)) => true,
            Ok(Opened::Encrypted(_)) | Err(_) => false,
        };
        Ok((!has_ended).then_some(row))
    }

    /// Writes something that is encrypted with the key of the moment. If that is deleted before the write, what is
    /// written has ended as well, and has to be removed.
    fn write_encrypted<T>(&self, write: impl FnOnce() -> T) -> T {
        let ends = self.keyring.ends();
        let result = write();
        self.keyring.note_ends_since(ends);
        result
    }

    fn encrypt_record(
        &self,
        tenant: Option<&TenantId>,
        kind: &str,
        name: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, EngineError> {
        // Repairs and restores bring records as they are stored.
        if value::is_encrypted_value(plain) {
            return Ok(plain.to_vec());
        }
        let key = self.keyring.current(tenant)?;
        Ok(value::encrypt(&key, Place::Record(kind, name), 0, plain).map_err(KeyError::Cipher)?)
    }

    /// Bytes that are stored of a block whose row is replaced.
    fn stored_length(&self, key: &BlockKey, row: &[u8]) -> Result<u64, EngineError> {
        match self.opened(key) {
            Ok(Opened::Encrypted(open)) => Ok(open.header.stored_bytes().unwrap_or(value::UNKNOWN_LENGTH)),
            Ok(Opened::Plain) => Ok(CatalogRow::decode(row).map_or(value::UNKNOWN_LENGTH, |row| row.bytes)),
            Err(EngineError::NotFound(_) | EngineError::DamagedRow { .. }) => Ok(value::UNKNOWN_LENGTH),
            Err(error) => Err(error),
        }
    }
}

fn damaged(key: &BlockKey, error: CipherError) -> EngineError {
    EngineError::damaged_row("encrypted block", key.block.0.to_string(), error)
}

/// A stored catalog row as it was written; `None` if its data key was deleted, or if it is a plain one of a tenant whose
/// key was. A row that does not decrypt is returned as it is, and does not decode: then its block is asked, as for any
/// damaged row.
pub(super) fn read_row(
    keyring: &Keyring,
    key: &BlockKey,
    stored: Vec<u8>,
) -> Result<Option<Vec<u8>>, KeyError> {
    let Some(header) = ValueHeader::read(&stored) else {
        let has_ended = keyring.has_ended_key_of(&key.tenant) && CatalogRow::decode(&stored).is_ok();
        return Ok((!has_ended).then_some(stored));
    };
    match keyring.key(header.key) {
        Ok(data_key) => {
            Ok(Some(value::decrypt(&data_key, Place::Row(&key.encode()), &stored).unwrap_or(stored)))
        }
        Err(KeyError::Ended(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A stored record as it was written; `None` if its data key was deleted. One that does not decrypt is returned as it is,
/// and does not decode.
fn read_record(
    keyring: &Keyring,
    kind: &str,
    name: &str,
    stored: Vec<u8>,
) -> Result<Option<Vec<u8>>, KeyError> {
    let Some(header) = ValueHeader::read(&stored) else { return Ok(Some(stored)) };
    match keyring.key(header.key) {
        Ok(key) => Ok(Some(value::decrypt(&key, Place::Record(kind, name), &stored).unwrap_or(stored))),
        Err(KeyError::Ended(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl<E: Deref<Target = dyn Engine> + Send + Sync> Engine for EncryptedEngine<E> {
    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn stored_bytes(&self) -> u64 {
        self.inner.stored_bytes()
    }

    fn wal_truncated(&self) -> bool {
        self.inner.wal_truncated()
    }

    fn keeps_damaged_store(&self) -> bool {
        self.inner.keeps_damaged_store()
    }

    fn reclaim(&self) -> Result<(), EngineError> {
        self.inner.reclaim()
    }

    fn compact(&self) -> Result<(), EngineError> {
        self.inner.compact()
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.inner.flush()
    }

    fn begin_purge(&self) -> Result<(), EngineError> {
        self.inner.begin_purge()
    }

    fn continue_purge(&self) -> Result<PurgeProgress, EngineError> {
        self.inner.continue_purge()
    }

    fn encryption(&self) -> Option<&dyn Encryption> {
        Some(self)
    }
}

impl<E: Deref<Target = dyn Engine> + Send + Sync> BlockStore for EncryptedEngine<E> {
    fn get_ranges(&self, key: &BlockKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, EngineError> {
        let open = match self.opened(key)? {
            Opened::Plain => return self.inner.get_ranges(key, ranges),
            Opened::Encrypted(open) => open,
        };
        let ranges: Vec<_> = ranges.iter().map(|range| open.clamp(range)).collect();
        let stored: Vec<_> = ranges.iter().map(|range| open.stored_range(range)).collect();
        let parts = self.inner.get_ranges(key, &stored)?;
        let decrypted = ranges.iter().zip(parts).map(|(range, part)| open.decrypt(range, part));
        decrypted.collect::<Result<_, _>>().map_err(|error| damaged(key, error))
    }

    fn delete_blocks(&self, keys: &[BlockKey]) -> Result<(), EngineError> {
        self.inner.delete_blocks(keys)?;
        for key in keys {
            self.opened.remove(&key.block);
        }
        Ok(())
    }

    fn unreferenced(&self) -> Result<Vec<BlockKey>, EngineError> {
        self.inner.unreferenced()
    }
}

impl<E: Deref<Target = dyn Engine> + Send + Sync> Catalog for EncryptedEngine<E> {
    fn catalog_rows(&self) -> Result<Vec<(BlockKey, Vec<u8>)>, EngineError> {
        let mut rows = Vec::new();
        for (key, stored) in self.inner.catalog_rows()? {
            if let Some(row) = self.row(&key, stored)? {
                rows.push((key, row));
            }
        }
        Ok(rows)
    }

    fn commit(&self, change: &Change) -> Result<(), EngineError> {
        self.write_encrypted(|| {
            let encrypted = self.encrypt(change)?;
            self.refuse_ended(change)?;
            self.inner.commit(&encrypted)
        })
    }

    /// A change that cannot be encrypted fails alone.
    fn commit_adds(&self, changes: &[Change]) -> Vec<Result<(), EngineError>> {
        self.write_encrypted(|| {
            let mut encrypted = Vec::with_capacity(changes.len());
            let mut results: Vec<_> = changes
                .iter()
                .map(|change| self.encrypt(change).map(|change| encrypted.push(change)))
                .collect();
            let waiting = results.iter_mut().filter(|result| result.is_ok());
            for (result, committed) in waiting.zip(self.inner.commit_adds(&encrypted)) {
                *result = committed;
            }
            results
        })
    }

    fn put_catalog_row(&self, key: &BlockKey, row: &[u8]) -> Result<(), EngineError> {
        let block_bytes = self.stored_length(key, row)?;
        self.write_encrypted(|| {
            let data_key = self.keyring.current(Some(&key.tenant))?;
            let encrypted = value::encrypt(&data_key, Place::Row(&key.encode()), block_bytes, row);
            self.inner.put_catalog_row(key, &encrypted.map_err(KeyError::Cipher)?)
        })
    }
}

impl<E: Deref<Target = dyn Engine> + Send + Sync> TraceIndex for EncryptedEngine<E> {
    fn find_trace(&self, tenant: &TenantId, trace: TraceId) -> Result<Vec<(BlockId, RowRange)>, EngineError> {
        self.inner.find_trace(tenant, trace)
    }

    fn find_traces(
        &self,
        tenant: &TenantId,
        traces: &[TraceId],
    ) -> Result<Vec<(usize, BlockId, RowRange)>, EngineError> {
        self.inner.find_traces(tenant, traces)
    }
}

impl<E: Deref<Target = dyn Engine> + Send + Sync> Inspect for EncryptedEngine<E> {
    fn stored_blocks(&self) -> Result<Vec<BlockKey>, EngineError> {
        self.inner.stored_blocks()
    }

    fn read_prefix(&self, key: &BlockKey) -> Result<Bytes, EngineError> {
        let open = match self.opened(key) {
            Ok(Opened::Plain) => return self.inner.read_prefix(key),
            Ok(Opened::Encrypted(open)) => open,
            // Nothing can be read behind a damaged header.
            Err(EngineError::DamagedRow { .. } | EngineError::NotFound(_)) => return Ok(Bytes::new()),
            Err(error) => return Err(error),
        };
        Ok(open.salvage(&self.inner.read_prefix(key)?).plain.into())
    }

    fn each_index_row(&self, show: &mut dyn FnMut(IndexRow)) -> Result<(), EngineError> {
        self.inner.each_index_row(show)
    }
}

impl<E: Deref<Target = dyn Engine> + Send + Sync> Records for EncryptedEngine<E> {
    fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let mut records = Vec::new();
        for (name, stored) in self.inner.records(kind)? {
            if let Some(value) = read_record(&self.keyring, kind, &name, stored)? {
                records.push((name, value));
            }
        }
        Ok(records)
    }

    fn put_record(&self, kind: &str, name: &str, value: Option<&[u8]>) -> Result<(), EngineError> {
        let value = value.map(|value| self.encrypt_record(None, kind, name, value)).transpose()?;
        self.inner.put_record(kind, name, value.as_deref())
    }

    fn put_record_of(
        &self,
        tenant: &TenantId,
        kind: &str,
        name: &str,
        value: &[u8],
    ) -> Result<(), EngineError> {
        self.write_encrypted(|| {
            let value = self.encrypt_record(Some(tenant), kind, name, value)?;
            self.inner.put_record(kind, name, Some(&value))
        })
    }

    fn put_records(&self, records: &[StoreRecord]) -> Result<(), EngineError> {
        let mut encrypted = Vec::with_capacity(records.len());
        for StoreRecord { kind, name, value } in records {
            let value = self.encrypt_record(None, kind, name, value)?;
            encrypted.push(StoreRecord { kind: kind.clone(), name: name.clone(), value });
        }
        self.inner.put_records(&encrypted)
    }
}

impl<E: Deref<Target = dyn Engine> + Send + Sync> Encryption for EncryptedEngine<E> {
    fn stored_block(&self, key: &BlockKey, plain_bytes: u64) -> Result<Bytes, EngineError> {
        let open = match self.opened(key)? {
            Opened::Plain => return self.inner.get_range(key, 0..plain_bytes),
            Opened::Encrypted(open) => open,
        };
        let stored = self.inner.get_range(key, 0..open.header.stored_bytes().unwrap_or(0))?;
        // Who gets the block has no key, and cannot check it.
        let plain = open.decrypt_whole(&stored).map_err(|error| damaged(key, error))?;
        if plain.len() as u64 == plain_bytes {
            Ok(stored)
        } else {
            Err(damaged(key, CipherError::NotAuthentic))
        }
    }

    fn decrypt_block(&self, key: &BlockKey, stored: &Bytes) -> Result<Bytes, EngineError> {
        let header = BlockHeader::read(stored).ok_or_else(|| damaged(key, CipherError::NotAuthentic))?;
        let open = header.open(&*self.keyring.key(header.key)?, key).map_err(|error| damaged(key, error))?;
        open.decrypt_whole(stored).map_err(|error| damaged(key, error))
    }

    fn is_ended(&self, stored: &Bytes) -> bool {
        let header = BlockHeader::read(stored);
        header.is_some_and(|header| matches!(self.keyring.key(header.key), Err(KeyError::Ended(_))))
    }

    fn stored_records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        self.inner.records(kind)
    }

    fn wrapped_keys(&self) -> Result<StoreRecord, EngineError> {
        let value = record::encode(KEYRING_VERSION, &self.keyring.entries()?)?;
        Ok(StoreRecord { kind: KEYRING_RECORD.to_owned(), name: String::new(), value })
    }

    fn is_plain_block(&self, key: &BlockKey) -> Result<bool, EngineError> {
        Ok(matches!(self.opened(key)?, Opened::Plain))
    }

    fn is_plain_record(&self, value: &[u8]) -> bool {
        !value::is_encrypted_value(value)
    }

    fn require_keys(&self) -> Result<(), EngineError> {
        let mut missing = BTreeSet::new();
        let mut need = |key: KeyId| match self.keyring.is_ended(key) {
            Ok(_) => Ok(()),
            Err(KeyError::Unknown { ids, .. }) => {
                missing.extend(ids);
                Ok(())
            }
            Err(error) => Err(error),
        };
        for (key, stored) in self.inner.catalog_rows()? {
            if let Some(header) = ValueHeader::read(&stored) {
                need(header.key)?;
            }
            // A row may be younger than its block, and have another key. What is damaged or gone is found when it is read.
            if let Ok(start) = self.inner.get_range(&key, 0..HEADER as u64)
                && let Some(header) = BlockHeader::read(&start)
            {
                need(header.key)?;
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(self.keyring.unknown(missing).into()) }
    }

    fn end_keys(&self, tenant: &TenantId) -> Result<(), EngineError> {
        Ok(self.keyring.end(tenant)?)
    }

    fn is_ended_record(&self, stored: &[u8]) -> Result<bool, EngineError> {
        match ValueHeader::read(stored) {
            Some(header) => Ok(self.keyring.is_ended(header.key)?),
            None => Ok(false),
        }
    }

    fn take_ended(&self) -> bool {
        self.keyring.look();
        self.keyring.take_ended()
    }

    fn ended_blocks(&self) -> Result<Vec<BlockKey>, EngineError> {
        let mut ended = Vec::new();
        for (key, stored) in self.inner.catalog_rows()? {
            if self.row(&key, stored)?.is_none() {
                ended.push(key);
            }
        }
        Ok(ended)
    }
}
