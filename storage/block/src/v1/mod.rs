//! Blocks of format 1, for reading only: their spans are converted into a block of today's format.
//!
//! Format 1 kept the spans' wire bytes in compressed chunks; the header is that of today's format.
//! Its sections: 1 zone map, 2 dictionary (resources, scopes, services, operations), 3 traces, 4 to 8
//! columns (start, duration, flags, operation, sequence), 9 filter, 10 rollups, 11 body chunks. Only dictionary,
//! sequences and body are read; the rest is computed from the spans.
//!
//! A body chunk holds consecutive rows: resource (varint), scope (varint), length (varint) and the
//! bytes of the `Span` message. Codec 2 is zstd with the first body chunk as its dictionary. A column
//! is its smallest value (8 bytes), a width in bytes (1) and the differences in byte planes.

mod dictionary;

use bytes::{Buf, Bytes};

use self::dictionary::Dictionary;
use crate::error::WriteError;
use crate::format::{FormatError, Header, Section, SectionKind, take_varint};
use crate::meta::BlockMeta;
use crate::record::RecordError;
use crate::writer::{BlockWriter, FinishedBlock};

/// Why a block of format 1 cannot be converted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpgradeError {
    /// A section is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The zone map is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A span cannot be written in today's format.
    #[error(transparent)]
    Write(#[from] WriteError),
}

const BODY: FormatError = FormatError::Damaged("body chunk");

/// Converts a block of format 1 into a block of today's format.
pub fn upgrade(block: &Bytes) -> Result<FinishedBlock, UpgradeError> {
    let header = Header::parse(block)?;
    let section = |kind| section(block, header.section(kind)?, None);
    let meta = BlockMeta::decode(&section(SectionKind::Meta)?)?;
    let dictionary = Dictionary::decode(section(SectionKind::Dictionary)?)?;
    let sequences = decode_column(&section(SectionKind::Sequence)?, meta.spans as usize)?;
    let mut writer = BlockWriter::new(ZSTD_LEVEL)?;
    let resources: Result<Vec<u32>, WriteError> =
        dictionary.resources.iter().map(|resource| writer.resource(resource)).collect();
    let scopes: Vec<u32> = dictionary.scopes.iter().map(|scope| writer.scope(scope)).collect();
    let (resources, mut sequences) = (resources?, sequences.into_iter());
    let mut first: Option<Bytes> = None;
    for chunk in header.pages(SectionKind::Body) {
        let mut rows = self::section(block, chunk, first.as_deref())?;
        first.get_or_insert_with(|| rows.clone());
        while let Some((resource, scope, span)) = next_row(&mut rows)? {
            let resource = resources.get(resource).ok_or(BODY)?;
            let scope = scopes.get(scope).ok_or(BODY)?;
            writer.push(*resource, *scope, &span, sequences.next().ok_or(BODY)?)?;
        }
    }
    if writer.rows() != meta.spans {
        return Err(BODY.into());
    }
    Ok(writer.finish(meta.level, meta.created)?)
}

/// A low level, because each block is converted only once.
const ZSTD_LEVEL: i32 = 1;

fn section(block: &Bytes, section: &Section, first_chunk: Option<&[u8]>) -> Result<Bytes, FormatError> {
    let range = section.range();
    let within = range.end <= block.len() as u64 && range.start <= range.end;
    let stored = within.then(|| block.slice(range.start as usize..range.end as usize));
    section.decode_with(stored.ok_or(FormatError::Damaged("header"))?, first_chunk)
}

fn next_row(rows: &mut Bytes) -> Result<Option<(usize, usize, Bytes)>, FormatError> {
    if !rows.has_remaining() {
        return Ok(None);
    }
    let mut number = || usize::try_from(take_varint(rows)?).ok();
    let (resource, scope, length) = (number().ok_or(BODY)?, number().ok_or(BODY)?, number().ok_or(BODY)?);
    let span = (length <= rows.len()).then(|| rows.split_to(length));
    Ok(Some((resource, scope, span.ok_or(BODY)?)))
}

fn decode_column(bytes: &[u8], rows: usize) -> Result<Vec<u64>, FormatError> {
    let damaged = FormatError::Damaged("column");
    let (min, rest) = bytes.split_first_chunk::<8>().ok_or(damaged.clone())?;
    let (&width, planes) = rest.split_first().ok_or(damaged.clone())?;
    if width > 8 || planes.len() != usize::from(width) * rows {
        return Err(damaged);
    }
    let mut values = vec![u64::from_le_bytes(*min); rows];
    for (plane, bytes) in planes.chunks_exact(rows.max(1)).enumerate() {
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = value.wrapping_add(u64::from(*byte) << (8 * plane));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back() {
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 1, 1, 0, 0];
        assert_eq!(decode_column(&bytes, 3), Ok(vec![258, 1, 2]));
        assert!(decode_column(&bytes, 4).is_err());
        assert!(decode_column(&bytes[..14], 3).is_err());
    }
}
