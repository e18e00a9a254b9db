//! Checks a whole block from nothing but its bytes: every checksum, every section decoded, and what
//! the sections say of each other.
//!
//! For backups, restores and checks, which have to know that a block is sound before they rely on
//! it, and for whoever has to make a catalog row or index rows anew. Not for answering questions:
//! readers fetch and decode only the sections that they need.

use std::collections::BTreeMap;

use bytes::Bytes;
use spandrel_proto::otlp::{SpanKey, SpanView};

use crate::columns::{RowFlags, decode_column, shown_duration};
use crate::dictionary::Dictionary;
use crate::edges::BlockEdges;
use crate::filter::TokenFilter;
use crate::format::{ChunkRow, ChunkRows, FormatError, Header, SectionKind};
use crate::meta::{BlockMeta, CatalogRow};
use crate::rollup::RollupRow;
use crate::traces::TraceTable;

/// What a sound block says of itself: enough to put it into a catalog and an index.
#[derive(Debug, Clone)]
pub struct BlockReport {
    /// The catalog row that belongs to it.
    pub row: CatalogRow,
    /// Its traces with their rows.
    pub traces: TraceTable,
}

/// The columns of the block, decoded.
struct Columns {
    start: Vec<u64>,
    duration: Vec<u64>,
    flags: Vec<RowFlags>,
    operation: Vec<u64>,
    sequence: Vec<u64>,
}

/// Where format 1 keeps two bytes that are always zero; its header checksum leaves them out.
const RESERVED: std::ops::Range<usize> = 10..12;

/// Checks a block of any format that this program knows.
pub fn verify(bytes: Bytes) -> Result<BlockReport, FormatError> {
    let header = Header::parse(&bytes)?;
    if bytes[RESERVED].iter().any(|byte| *byte != 0) {
        return Err(FormatError::Damaged("header"));
    }
    let meta =
        BlockMeta::decode(&section(&bytes, &header, SectionKind::Meta)?).map_err(|_| damaged_meta())?;
    let dictionary = Dictionary::decode(section(&bytes, &header, SectionKind::Dictionary)?)?;
    let traces = section(&bytes, &header, SectionKind::Traces)?;
    let traces = TraceTable::decode(traces, meta.traces as usize, meta.spans)?;
    let columns = Columns::read(&bytes, &header, meta.spans as usize)?;
    let filter = section(&bytes, &header, SectionKind::Filter)?;
    TokenFilter::decode(&filter).ok_or(FormatError::Damaged("token filter"))?;
    // Blocks written before edges were known lack them.
    if header.section(SectionKind::Edges).is_ok() {
        let edges = section(&bytes, &header, SectionKind::Edges)?;
        BlockEdges::decode(&edges, meta.spans, dictionary.services.len())
            .map_err(|_| FormatError::Damaged("edges"))?;
    }
    check_rollups(&section(&bytes, &header, SectionKind::Rollups)?, &dictionary, &meta)?;
    check_edges(&bytes, &header, &dictionary, &meta)?;
    check_rows(&bytes, &header, &dictionary, &traces, &columns)?;
    if !columns.fit(&meta) || services(&dictionary, &columns) != said_services(&meta) {
        return Err(damaged_meta());
    }
    let row = CatalogRow { bytes: bytes.len() as u64, header_bytes: header_bytes(&header), meta };
    Ok(BlockReport { row, traces })
}

fn damaged_meta() -> FormatError {
    FormatError::Damaged("zone data")
}

fn section(bytes: &Bytes, header: &Header, kind: SectionKind) -> Result<Bytes, FormatError> {
    let section = header.section(kind)?;
    section.decode(stored(bytes, section.range()), None)
}

/// The part of the block that is there: a section that is cut short fails by its checksum.
fn stored(bytes: &Bytes, range: std::ops::Range<u64>) -> Bytes {
    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(clamp(range.start)..clamp(range.end))
}

/// Sections follow the header without a gap.
fn header_bytes(header: &Header) -> u32 {
    let kinds = [SectionKind::Meta, SectionKind::Dictionary, SectionKind::Traces, SectionKind::Filter];
    let sections = kinds.iter().filter_map(|kind| header.section(*kind).ok()).chain(header.chunks());
    sections.map(|section| section.offset).min().and_then(|first| u32::try_from(first).ok()).unwrap_or(0)
}

fn check_rollups(bytes: &[u8], dictionary: &Dictionary, meta: &BlockMeta) -> Result<(), FormatError> {
    let damaged = FormatError::Damaged("rollups");
    let rows = RollupRow::decode_all(bytes).map_err(|_| damaged.clone())?;
    let known = rows.iter().all(|row| (row.operation as usize) < dictionary.operations.len());
    let sum = |of: fn(&RollupRow) -> u64| rows.iter().try_fold(0u64, |sum, row| sum.checked_add(of(row)));
    let counted = sum(|row| row.count) == Some(u64::from(meta.spans));
    let failed = sum(|row| row.errors) == Some(u64::from(meta.failed));
    if known && counted && failed { Ok(()) } else { Err(damaged) }
}

/// Blocks that were written before edges were known lack them.
fn check_edges(
    bytes: &Bytes,
    header: &Header,
    dictionary: &Dictionary,
    meta: &BlockMeta,
) -> Result<(), FormatError> {
    if header.section(SectionKind::Edges).is_err() {
        return Ok(());
    }
    let edges = section(bytes, header, SectionKind::Edges)?;
    let decoded = BlockEdges::decode(&edges, meta.spans, dictionary.services.len());
    decoded.map(drop).map_err(|_| FormatError::Damaged("edges"))
}

/// Every row of every body chunk against the columns, the dictionary and the trace table.
fn check_rows(
    bytes: &Bytes,
    header: &Header,
    dictionary: &Dictionary,
    traces: &TraceTable,
    columns: &Columns,
) -> Result<(), FormatError> {
    let damaged = || FormatError::Damaged("body chunk");
    let mut expected =
        traces.entries().iter().flat_map(|(trace, rows)| std::iter::repeat_n(*trace, rows.rows as usize));
    let mut first: Option<Bytes> = None;
    let mut last = None;
    let mut row = 0usize;
    for chunk in header.chunks() {
        if chunk.first_row as usize != row {
            return Err(FormatError::Damaged("header"));
        }
        let decoded = chunk.decode(stored(bytes, chunk.range()), first.as_deref())?;
        for found in ChunkRows::new(decoded.clone()) {
            let found = found?;
            let key = SpanKey::parse(&found.span).map_err(|_| damaged())?;
            let key = (key.trace_id, key.start, key.span_id);
            let in_order = last.is_none_or(|last| last <= key) && expected.next() == Some(key.0);
            if !in_order || !columns.agree(row, &found, dictionary) {
                return Err(damaged());
            }
            last = Some(key);
            row += 1;
        }
        first.get_or_insert(decoded);
    }
    if row == columns.start.len() { Ok(()) } else { Err(damaged()) }
}

// === impl Columns ===

impl Columns {
    fn read(bytes: &Bytes, header: &Header, rows: usize) -> Result<Self, FormatError> {
        let column = |kind| decode_column(&section(bytes, header, kind)?, rows);
        let flags = column(SectionKind::Flags)?;
        let narrow =
            |flags: u64| u8::try_from(flags).map(RowFlags).map_err(|_| FormatError::Damaged("column"));
        Ok(Self {
            start: column(SectionKind::Start)?,
            duration: column(SectionKind::Duration)?,
            flags: flags.into_iter().map(narrow).collect::<Result<_, _>>()?,
            operation: column(SectionKind::Operation)?,
            sequence: column(SectionKind::Sequence)?,
        })
    }

    /// Whether they say of a row what its span says.
    fn agree(&self, row: usize, found: &ChunkRow, dictionary: &Dictionary) -> bool {
        let (Some(&start), Ok(span)) = (self.start.get(row), SpanView::parse(&found.span)) else {
            return false;
        };
        let service = dictionary.resource_services.get(found.resource as usize);
        let operation =
            usize::try_from(self.operation[row]).ok().and_then(|at| dictionary.operations.get(at));
        let same_operation = operation.is_some_and(|(its, name)| Some(its) == service && name == span.name);
        let flags = RowFlags::of(&span, self.flags[row].failed());
        start == span.start
            && self.duration[row] == span.end.wrapping_sub(span.start)
            && flags == self.flags[row]
            && same_operation
            && (found.scope as usize) < dictionary.scopes.len()
    }

    /// Whether the zone data says what they say.
    fn fit(&self, meta: &BlockMeta) -> bool {
        let bounds = |values: &mut dyn Iterator<Item = u64>| {
            values.fold((u64::MAX, 0), |(min, max), value| (min.min(value), max.max(value)))
        };
        let durations = self.start.iter().zip(&self.duration).map(|(s, d)| shown_duration(*s, *d));
        let bits = |of: fn(u8) -> u8| self.flags.iter().fold(0u8, |bits, flags| bits | 1 << of(flags.0));
        !self.start.is_empty()
            && bounds(&mut self.start.iter().copied()) == (meta.min_start.0, meta.max_start.0)
            && bounds(&mut { durations }) == (meta.min_duration, meta.max_duration)
            && bounds(&mut self.sequence.iter().copied()) == (meta.min_sequence, meta.max_sequence)
            && self.flags.iter().filter(|flags| flags.failed()).count() == meta.failed as usize
            && bits(|flags| flags & 7) == meta.kinds
            && bits(|flags| flags >> 3 & 3) == meta.statuses
    }
}

/// Services with their operations and the kinds of these, by name.
type Services<'a> = BTreeMap<&'a str, BTreeMap<&'a str, u8>>;

fn services<'a>(dictionary: &'a Dictionary, columns: &Columns) -> Services<'a> {
    let mut services = Services::new();
    for (operation, flags) in columns.operation.iter().zip(&columns.flags) {
        // Every index was checked with its row.
        let (service, name) = &dictionary.operations[*operation as usize];
        let service = dictionary.services[*service as usize].as_str();
        *services.entry(service).or_default().entry(name).or_default() |= 1 << (flags.0 & 7);
    }
    services
}

fn said_services(meta: &BlockMeta) -> Services<'_> {
    meta.services
        .iter()
        .map(|service| {
            let kinds = service.operations.iter().map(|operation| (operation.name.as_str(), operation.kinds));
            (service.name.as_str(), kinds.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;
    use spandrel_proto::UnixNanos;

    use super::*;
    use crate::writer::{BlockWriter, FinishedBlock};

    fn block(traces: u8, spans: u64) -> FinishedBlock {
        let mut writer = BlockWriter::new(1).unwrap();
        let resource = writer.resource(&ResourceSpans::default().encode_to_vec().into()).unwrap();
        let scope = writer.scope(&ScopeSpans::default().encode_to_vec().into());
        for (trace, id) in (1..=traces).flat_map(|trace| (1..=spans).map(move |id| (trace, id))) {
            let span = Span {
                trace_id: vec![trace; 16],
                span_id: id.to_be_bytes().to_vec(),
                name: format!("step {}", id % 3),
                kind: (id % 6) as i32,
                start_time_unix_nano: 1_000 + id,
                end_time_unix_nano: 2_000 + 2 * id,
                trace_state: (0..id % 50).map(|n| format!("{:x}", (n + id) * 0x9e37_79b9)).collect(),
                ..Span::default()
            };
            writer.push(resource, scope, &span.encode_to_vec(), id).unwrap();
        }
        writer.finish(1, UnixNanos(7)).unwrap()
    }

    #[test]
    fn a_sound_block_gives_its_catalog_row_and_its_traces() {
        // The larger one has several body chunks.
        for (traces, spans) in [(1, 1), (3, 5), (9, 300)] {
            let block = block(traces, spans);
            let report = verify(block.bytes.clone()).unwrap();
            assert_eq!(report.row, block.row);
            assert_eq!(report.traces.entries(), block.trace_rows());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let block = block(2, 4).bytes;
        for at in 0..block.len() {
            let mut damaged = block.to_vec();
            damaged[at] ^= 1 << (at % 8);
            assert!(verify(damaged.into()).is_err(), "byte {at} of {}", block.len());
            assert!(verify(block.slice(..at)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn zone_data_that_says_something_else_is_found() {
        let sound = block(2, 4);
        let report = verify(sound.bytes).unwrap();
        let meta = report.row.meta;
        let columns = Columns {
            start: vec![meta.min_start.0, meta.max_start.0],
            duration: vec![meta.min_duration, meta.max_duration],
            flags: vec![RowFlags(2), RowFlags(3)],
            operation: vec![0, 0],
            sequence: vec![meta.min_sequence, meta.max_sequence],
        };
        let fitting = BlockMeta { kinds: 0b1100, statuses: 1, failed: 0, ..meta };
        assert!(columns.fit(&fitting));
        for wrong in [
            BlockMeta { min_start: UnixNanos(0), ..fitting.clone() },
            BlockMeta { max_duration: 1, ..fitting.clone() },
            BlockMeta { max_sequence: 99, ..fitting.clone() },
            BlockMeta { failed: 1, ..fitting.clone() },
            BlockMeta { kinds: 0b100, ..fitting.clone() },
        ] {
            assert!(!columns.fit(&wrong), "{wrong:?}");
        }
    }
}
