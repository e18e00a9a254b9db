//! Keys and values in the logs and blob files of RocksDB, including dead ones.
//!
//! Written from the description of the formats and without RocksDB, which shows only live data. A log is split into
//! blocks and a block of spans into pages, with headers between: a zstd frame across such a boundary can be read only
//! when the parts are joined.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Buf;

/// Values by key, with the file of each.
#[derive(Default)]
pub(super) struct Pieces(BTreeMap<Vec<u8>, (PathBuf, Vec<u8>)>);

/// The length of the page number at the end of a key.
const PAGE_NUMBER: usize = 4;

/// The size of a block of a log.
const LOG_BLOCK: usize = 32 << 10;
const LOG_HEADER: usize = 7;
/// Kinds of records in a recycled log; their headers also have the number of the log.
const RECYCLED: std::ops::RangeInclusive<u8> = 5..=8;
const LOG_NUMBER: usize = 4;
/// The length of a batch's header: sequence number and count.
const BATCH_HEADER: usize = 12;

const BLOB_MAGIC: u32 = 0x0024_8f37;
const BLOB_FILE_HEADER: usize = 30;
const BLOB_HEADER: usize = 32;

// === impl Pieces ===

impl Pieces {
    /// Adds the keys and values in a file.
    pub(super) fn collect(&mut self, path: &Path, bytes: &[u8]) {
        let found = match path.extension().and_then(|extension| extension.to_str()) {
            Some("log") => batches(bytes).iter().flat_map(|batch| of_batch(batch)).collect(),
            Some("blob") => of_blobs(bytes),
            _ => Vec::new(),
        };
        self.0.extend(found.into_iter().map(|(key, value)| (key, (path.to_owned(), value))));
    }

    /// The values whose keys differ only in the page number, joined in order.
    pub(super) fn wholes(self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut wholes: BTreeMap<Vec<u8>, (PathBuf, Vec<u8>)> = BTreeMap::new();
        for (mut key, (path, value)) in self.0 {
            key.truncate(key.len().saturating_sub(PAGE_NUMBER));
            wholes.entry(key).or_insert_with(|| (path, Vec::new())).1.extend(value);
        }
        wholes.into_values().collect()
    }
}

/// The records of a log, with their parts joined. A torn record at the end is left out.
fn batches(log: &[u8]) -> Vec<Vec<u8>> {
    let (mut whole, mut part) = (Vec::new(), Vec::new());
    for mut block in log.chunks(LOG_BLOCK) {
        while let Some((kind, bytes)) = log_record(&mut block) {
            let kind = if RECYCLED.contains(&kind) { kind - 4 } else { kind };
            match kind {
                // Kinds of parts: full, first, middle, last.
                1 => whole.push(bytes.to_vec()),
                2 => part = bytes.to_vec(),
                3 => part.extend(bytes),
                4 => {
                    part.extend(bytes);
                    whole.push(std::mem::take(&mut part));
                }
                _ => {}
            }
        }
    }
    whole
}

/// Reads the next record of a log block: checksum (4), length (2), kind (1), bytes.
fn log_record<'b>(block: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let (mut header, rest) = block.split_at_checked(LOG_HEADER)?;
    header.advance(4);
    let (length, kind) = (usize::from(header.get_u16_le()), header.get_u8());
    let skipped = if RECYCLED.contains(&kind) { LOG_NUMBER } else { 0 };
    let (bytes, rest) = rest.get(skipped..)?.split_at_checked(length)?;
    *block = rest;
    (kind != 0).then_some((kind, bytes))
}

/// The keys and values that a batch puts, up to the first unknown operation.
fn of_batch(batch: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = batch.get(BATCH_HEADER..).unwrap_or_default();
    while let Some((put, behind)) = operation(rest) {
        found.extend(put);
        rest = behind;
    }
    found
}

type Put = (Vec<u8>, Vec<u8>);

/// One operation: its kind, its column family unless that is the default, and its strings.
fn operation(batch: &[u8]) -> Option<(Option<Put>, &[u8])> {
    let (kind, mut rest) = batch.split_first()?;
    let (has_family, strings) = match kind {
        0x0 | 0x3 | 0x7 => (false, 1),
        0x1 | 0x2 | 0xf => (false, 2),
        0x4 | 0x8 => (true, 1),
        0x5 | 0x6 | 0xe => (true, 2),
        0xd => (false, 0),
        _ => return None,
    };
    if has_family {
        varint(&mut rest)?;
    }
    let mut take = || {
        let length = varint(&mut rest)?;
        let (string, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(string.to_vec())
    };
    let found: Vec<Vec<u8>> = (0..strings).map(|_| take()).collect::<Option<_>>()?;
    let put = <[Vec<u8>; 2]>::try_from(found).ok().map(|[key, value]| (key, value));
    Some((put, rest))
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    prost::encoding::decode_varint(bytes).ok().and_then(|value| usize::try_from(value).ok())
}

/// The records of a blob file: lengths of key and value (8 each), three more numbers, key, value.
fn of_blobs(file: &[u8]) -> Vec<Put> {
    let mut found = Vec::new();
    let is_blobs = file.starts_with(&BLOB_MAGIC.to_le_bytes());
    let mut rest = if is_blobs { file.get(BLOB_FILE_HEADER..).unwrap_or_default() } else { &[] };
    while let Some((mut header, behind)) = rest.split_at_checked(BLOB_HEADER) {
        let [key, value] = [header.get_u64_le(), header.get_u64_le()].map(|length| length as usize);
        let Some((record, behind)) =
            key.checked_add(value).and_then(|length| behind.split_at_checked(length))
        else {
            break;
        };
        found.push((record[..key].to_vec(), record[key..].to_vec()));
        rest = behind;
    }
    found
}
