//! Helpers of the fuzz targets: they correct the checksums of blocks after their bytes were changed, so that the fuzzer
//! gets past the checks.

use bytes::Bytes;
use spandrel_block::{BlockMeta, CatalogRow, Header, Section, SectionKind};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const FIXED_HEADER: usize = 24;
const ENTRY: usize = 32;

/// Corrects the checksums of a block as far as its structure can be read. The layout is described in
/// `storage/block/src/format.rs`.
pub fn repair_block(block: &mut [u8]) {
    let Some(count) = field(block, 12, 4) else { return };
    let Some(entries_end) = (count as usize).checked_mul(ENTRY).and_then(|n| n.checked_add(FIXED_HEADER))
    else {
        return;
    };
    if entries_end > block.len() {
        return;
    }
    for at in (FIXED_HEADER..entries_end).step_by(ENTRY) {
        let (Some(kind), Some(offset), Some(stored)) =
            (field(block, at, 2), field(block, at + 8, 8), field(block, at + 16, 4))
        else {
            return;
        };
        let range =
            usize::try_from(offset).ok().and_then(|from| Some(from..from.checked_add(stored as usize)?));
        let Some(range) = range.filter(|range| range.end <= block.len()) else { continue };
        if range.start >= entries_end && matches!(kind, 1 | 10 | 12) {
            // Compressed records cannot be corrected, only those that are stored as they are.
            repair_record(&mut block[range.clone()]);
        }
        let sum = xxh3_64(&block[range]);
        block[at + 24..at + 32].copy_from_slice(&sum.to_le_bytes());
    }
    let fixed = field(block, 8, 4).unwrap_or_default();
    let sum = xxh3_64(&block[FIXED_HEADER..entries_end]) ^ fixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    block[16..24].copy_from_slice(&sum.to_le_bytes());
}

/// Corrects the checksum of a record.
pub fn repair_record(record: &mut [u8]) {
    if record.len() >= 9 {
        let mut hasher = Xxh3::with_seed(u64::from(record[0]));
        hasher.update(&record[9..]);
        let sum = hasher.digest();
        record[1..9].copy_from_slice(&sum.to_le_bytes());
    }
}

fn field(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let mut value = [0; 8];
    value[..length].copy_from_slice(bytes.get(at..at + length)?);
    Some(u64::from_le_bytes(value))
}

/// The same block with all sections stored as they are; long columns within pages stay compressed.
pub fn plain(block: &[u8]) -> Option<Vec<u8>> {
    let count = field(block, 12, 4)? as usize;
    let header = Header::parse(block).ok()?;
    let mut out = block[..FIXED_HEADER + count * ENTRY].to_vec();
    for at in (FIXED_HEADER..).step_by(ENTRY).take(count) {
        let (kind, first_row) = (field(block, at, 2)?, field(block, at + 4, 4)?);
        let is_it = |known: &&Section| (known.kind as u64, u64::from(known.first_row)) == (kind, first_row);
        let section = header.sections().iter().find(is_it)?;
        let decoded = section.decode(stored(block, section)?).ok()?;
        let (offset, length) = (out.len() as u64, decoded.len() as u32);
        out[at + 2..at + 4].fill(0);
        out[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
        out[at + 16..at + 20].copy_from_slice(&length.to_le_bytes());
        out[at + 20..at + 24].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&decoded);
    }
    repair_block(&mut out);
    Some(out)
}

/// The decoded bytes of the section of a kind, or of the first page's section.
pub fn section(block: &[u8], kind: SectionKind) -> Option<Bytes> {
    let header = Header::parse(block).ok()?;
    let section = header.section(kind).ok()?;
    section.decode(stored(block, section)?).ok()
}

fn stored(block: &[u8], section: &Section) -> Option<Bytes> {
    let range = section.range();
    let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
    block.get(range).map(Bytes::copy_from_slice)
}

/// The catalog row of a block, from its own zone map.
pub fn row_of(block: &[u8]) -> Option<CatalogRow> {
    let meta = BlockMeta::decode(&section(block, SectionKind::Meta)?).ok()?;
    let count = field(block, 12, 4)? as usize;
    Some(CatalogRow { bytes: block.len() as u64, header_bytes: (FIXED_HEADER + count * ENTRY) as u32, meta })
}
