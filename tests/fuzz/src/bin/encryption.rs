//! Encryption at rest: texts of master keys, entries of keyrings, and encrypted blocks, rows and records as a damaged disk
//! may return them. What decrypts is what was encrypted; everything else is an error.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_proto::TenantId;
use spandrel_storage::encryption::{
    EncryptedEngine, KeyEntry, KeyFile as _, Keyring, MasterKey, MemoryKeys, block_bytes, check_header,
};
use spandrel_storage::engine::{
    BlockStore as _, Catalog as _, Change, Engine, Inspect as _, MemoryEngine, NewBlock, Records as _,
};

/// Keys that last for the process, and a block, a row and a record that are encrypted with them.
struct Fixed {
    keyring: Arc<Keyring>,
    block: Bytes,
    row: Vec<u8>,
    record: Vec<u8>,
}

static FIXED: LazyLock<Fixed> = LazyLock::new(|| {
    let keyring = MemoryKeys::random().and_then(|keys| keys.open()).expect("keys");
    let below = MemoryEngine::default();
    let engine = EncryptedEngine::new(Arc::new(below.clone()) as Arc<dyn Engine>, keyring.clone());
    engine.commit(&change(plain().into(), ROW.to_vec())).expect("memory takes what comes");
    engine.put_record("pin", "a", Some(ROW)).expect("memory takes what comes");
    let (_, row) = below.catalog_rows().expect("memory").pop().expect("a row");
    let (_, record) = below.records("pin").expect("memory").pop().expect("a record");
    Fixed { keyring, block: below.read_prefix(&key()).expect("memory"), row, record }
});

const ROW: &[u8] = b"\x01a row";

/// Three frames.
fn plain() -> Vec<u8> {
    (0..40_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 9) as u8).collect()
}

fn key() -> BlockKey {
    BlockKey { tenant: TenantId::default(), hour: Hour(1), block: BlockId(1) }
}

fn change(bytes: Bytes, row: Vec<u8>) -> Change {
    let add = NewBlock { id: BlockId(1), bytes, row, short_lived: true, index: Vec::new() };
    Change { tenant: TenantId::default(), hour: Hour(1), adds: vec![add], removes: Vec::new() }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = MasterKey::parse(text) {
            assert_eq!(
                MasterKey::parse(&key.reveal()).map(|key| key.fingerprint().to_owned()),
                Ok(key.fingerprint().to_owned())
            );
        }
        keyring(text);
    }
    let _ = (check_header(bytes), block_bytes(bytes));
    damaged(bytes);
});

/// A keyring of any entries opens, or says what is wrong with it.
fn keyring(text: &str) {
    let Ok(entries) = serde_json::from_str::<Vec<KeyEntry>>(text) else { return };
    let keys = MemoryKeys::random().expect("keys");
    let replace = keys.change(&mut |here| {
        here.clone_from(&entries);
        Ok(())
    });
    replace.expect("memory takes what comes");
    if let Err(error) = keys.open() {
        assert!(!error.to_string().is_empty());
    }
}

/// Each piece of the input overwrites bytes of the stored block, row and record: offset (2), byte.
fn damaged(bytes: &[u8]) {
    let fixed = &*FIXED;
    let (mut block, mut row, mut record) = (fixed.block.to_vec(), fixed.row.clone(), fixed.record.clone());
    for piece in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([piece[0], piece[1]]));
        for stored in [&mut block, &mut row, &mut record] {
            let length = stored.len();
            stored[at % length] = piece[2];
        }
    }
    if let [cut, ..] = bytes.chunks_exact(3).remainder() {
        block.truncate(block.len() - usize::from(*cut) * 32);
    }
    let below = MemoryEngine::default();
    below.commit(&change(block.clone().into(), row)).expect("memory takes what comes");
    below.put_record("pin", "a", Some(&record)).expect("memory takes what comes");
    let engine = EncryptedEngine::new(Arc::new(below) as Arc<dyn Engine>, fixed.keyring.clone());
    let plain = plain();
    // Without its magic a block counts as one from before encryption.
    if spandrel_storage::encryption::is_encrypted_block(&block) {
        for range in [0..10, 16_000..17_000, 39_990..50_000] {
            if let Ok(read) = engine.get_range(&key(), range.clone()) {
                let end = (range.end as usize).min(plain.len());
                assert_eq!(read, plain[range.start as usize..end]);
            }
        }
    }
    if let Ok(salvaged) = engine.read_prefix(&key()) {
        assert!(salvaged.len() <= block.len());
    }
    let rows = engine.catalog_rows().map(|rows| rows.into_iter().map(|(_, row)| row).collect());
    let records = engine.records("pin").map(|records| records.into_iter().map(|(_, value)| value).collect());
    for (stored, read) in [(&fixed.row, rows), (&fixed.record, records)] {
        let read: Vec<Vec<u8>> = read.unwrap_or_default();
        // What does not decrypt is given as it is stored, which no decoder takes.
        assert!(read.iter().all(|read| read == ROW || read.len() == stored.len()));
    }
}
