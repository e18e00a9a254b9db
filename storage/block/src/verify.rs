//! Checks a whole block from its bytes alone: every checksum, every section decoded, and whether the sections agree
//! with each other.
//!
//! For backups, restores and checks, which have to know that a block is sound before they rely on it, and for
//! rebuilding a catalog row or index rows. Not for queries: readers fetch and decode only the sections that they need.

use std::sync::Arc;

use bytes::Bytes;
use spandrel_proto::otlp::SpanView;
use spandrel_proto::{SpanId, TraceId};

use crate::dictionary::Dictionary;
use crate::edges::BlockEdges;
use crate::filter::FilterPart;
use crate::flags::{RowFlags, shown_duration};
use crate::format::{FormatError, Header, Section, SectionKind};
use crate::meta::{BlockMeta, CatalogRow};
use crate::page::{CorePage, IdsPage, OpenPage, Rebuilder, TextTable, ValuesPage};
use crate::rollup::RollupRow;
use crate::row_key::RowKey;
use crate::traces::TraceTable;
use crate::v1;
use crate::writer::{BlockBounds, service_metas};
use crate::zone_map::ZoneMap;

/// The result for a sound block: enough to add it to a catalog and an index.
#[derive(Debug, Clone)]
pub struct BlockReport {
    /// The catalog row of the block.
    pub row: CatalogRow,
    /// Its traces with their rows, for the index.
    pub traces: TraceTable,
}

/// Checks a block of any format that this program knows.
pub fn verify(bytes: Bytes) -> Result<BlockReport, FormatError> {
    let header = Header::parse(&bytes)?;
    for section in header.sections() {
        section.check(&stored(&bytes, section.range()))?;
    }
    let row = row(&bytes, &header)?;
    let traces = traces(&bytes, &header, &row.meta)?;
    if !header.is_columnar() {
        // Readers use only the spans of format 1; the columns are recomputed from them and compared.
        let upgraded = v1::upgrade(&bytes).map_err(|_| FormatError::Damaged("body chunk"))?;
        let same = upgraded.row.meta == row.meta && upgraded.traces == traces;
        return if same { Ok(BlockReport { row, traces }) } else { Err(damaged_meta()) };
    }
    check_pages(&bytes, &header, &row.meta, &traces)?;
    Ok(BlockReport { row, traces })
}

/// The catalog row of a block of which at least the beginning can be read. Checks only the header and the zone map.
pub fn catalog_row(beginning: &Bytes) -> Result<CatalogRow, FormatError> {
    row(beginning, &Header::parse(beginning)?)
}

/// The traces of a block that may be partly unreadable, given its catalog row.
pub fn trace_table(bytes: &Bytes, row: &CatalogRow) -> Result<TraceTable, FormatError> {
    traces(bytes, &Header::parse(bytes)?, &row.meta)
}

fn traces(bytes: &Bytes, header: &Header, meta: &BlockMeta) -> Result<TraceTable, FormatError> {
    TraceTable::decode(section(bytes, header, SectionKind::Traces)?, meta.traces as usize, meta.spans)
}

fn row(bytes: &Bytes, header: &Header) -> Result<CatalogRow, FormatError> {
    let meta = BlockMeta::decode(&section(bytes, header, SectionKind::Meta)?).map_err(|_| damaged_meta())?;
    let known = header.sections().iter().map(|section| section.range().end).max();
    let bytes = known.unwrap_or(0).max(bytes.len() as u64);
    Ok(CatalogRow { bytes, header_bytes: header_bytes(header), meta })
}

fn damaged_meta() -> FormatError {
    FormatError::Damaged("zone map")
}

fn section(bytes: &Bytes, header: &Header, kind: SectionKind) -> Result<Bytes, FormatError> {
    let section = header.section(kind)?;
    section.decode(stored(bytes, section.range()))
}

/// The available part of a range; the checksum of a section that is cut short does not match.
fn stored(bytes: &Bytes, range: std::ops::Range<u64>) -> Bytes {
    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(clamp(range.start)..clamp(range.end))
}

/// The length of the header: sections follow it without a gap.
fn header_bytes(header: &Header) -> u32 {
    let first = header.sections().iter().map(|section| section.offset).min();
    first.and_then(|first| u32::try_from(first).ok()).unwrap_or(0)
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

/// Checks the derived sections as far as possible without the columns.
fn check_extras(
    bytes: &Bytes,
    header: &Header,
    meta: &BlockMeta,
    dictionary: &Dictionary,
    pages: usize,
) -> Result<(), FormatError> {
    check_rollups(&section(bytes, header, SectionKind::Rollups)?, dictionary, meta)?;
    let edges = section(bytes, header, SectionKind::Edges)?;
    BlockEdges::decode(&edges, meta.spans, dictionary.services.len())
        .map_err(|_| FormatError::Damaged("edges"))?;
    check_filters(bytes, header, pages)
}

fn check_filters(bytes: &Bytes, header: &Header, pages: usize) -> Result<(), FormatError> {
    let parts = header.pages(SectionKind::Filter);
    if parts.is_empty() {
        return Err(FormatError::Missing(SectionKind::Filter));
    }
    for (number, part) in parts.iter().enumerate() {
        let filters = FilterPart::decode(
            part.decode(stored(bytes, part.range()))?,
            parts.len(),
            pages,
            header.version(),
        );
        filters.ok_or(FormatError::Damaged("Bloom filter"))?;
        if part.first_row as usize != number {
            return Err(FormatError::Damaged("header"));
        }
    }
    Ok(())
}

/// Checks every section of every page, and every span against the columns of its row.
fn check_pages(
    bytes: &Bytes,
    header: &Header,
    meta: &BlockMeta,
    traces: &TraceTable,
) -> Result<(), FormatError> {
    let dictionary = Arc::new(Dictionary::decode(section(bytes, header, SectionKind::Dictionary)?)?);
    let texts = Arc::new(TextTable::decode(&section(bytes, header, SectionKind::Texts)?)?);
    let [cores, ids, values] =
        [SectionKind::Core, SectionKind::Ids, SectionKind::Values].map(|kind| header.pages(kind));
    if [ids.len(), values.len()] != [cores.len(); 2] {
        return Err(FormatError::Damaged("header"));
    }
    // Only fresh blocks omit derived sections.
    let mut zones = None;
    if meta.level > 0 || !header.is_without_derived() {
        check_extras(bytes, header, meta, &dictionary, cores.len())?;
        let said = section(bytes, header, SectionKind::Zones)?;
        zones = Some(ZoneMap::decode_all(&said, cores.len(), &dictionary)?.into_iter());
    }
    let mut ids_of_rows = traces.of_rows();
    let (in_trees, zone) = (header.is_in_trees(), BlockBounds::default());
    let mut check = RowCheck { rows: 0, last: None, in_trees, zone };
    for ((core, ids), values) in cores.iter().zip(ids).zip(values) {
        if [core, ids, values].iter().any(|page| page.first_row != check.rows) {
            return Err(FormatError::Damaged("header"));
        }
        let decoded = |section: &Section| section.decode(stored(bytes, section.range()));
        let core = Arc::new(CorePage::decode(&decoded(core)?, &dictionary)?);
        let ids = Arc::new(IdsPage::decode(&decoded(ids)?, core.rows())?);
        let values = Arc::new(ValuesPage::open(decoded(values)?, &core, &dictionary)?);
        let (dictionary, texts) = (dictionary.clone(), texts.clone());
        let page = OpenPage { dictionary, texts, core, ids, values };
        if let Some(zones) = &mut zones
            && zones.next() != Some(page.zone()?)
        {
            return Err(FormatError::Damaged("zone map of a page"));
        }
        check.page(page, &mut ids_of_rows)?;
    }
    if check.rows != meta.spans {
        return Err(FormatError::Damaged("header"));
    }
    let said = check.zone.meta(meta.level, meta.created, meta.spans, meta.traces, service_metas(&dictionary));
    let said = BlockMeta { logs: meta.logs, ..said };
    if said == *meta { Ok(()) } else { Err(damaged_meta()) }
}

/// The state of the check between pages.
struct RowCheck {
    rows: u32,
    /// The largest key that later rows must not be below.
    last: Option<RowKey>,
    /// Whether the rows of a trace in a page may have any order.
    in_trees: bool,
    zone: BlockBounds,
}

// === impl RowCheck ===

impl RowCheck {
    fn page(
        &mut self,
        page: OpenPage,
        traces: &mut impl Iterator<Item = TraceId>,
    ) -> Result<(), FormatError> {
        let mut spans = Rebuilder::new(page.clone(), 0);
        let (mut span, mut largest) = (Vec::new(), self.last);
        let (mut runs, mut before) = (page.core.traces.iter().peekable(), None);
        for row in 0..page.core.rows() {
            let trace = traces.next().ok_or(FormatError::Damaged("trace table"))?;
            let is_begin = runs.next_if(|begin| **begin as usize == row).is_some();
            if is_begin != (before.replace(trace) != Some(trace)) {
                return Err(FormatError::Damaged("core of a page"));
            }
            span.clear();
            spans.next(trace, &mut span)?;
            let id = SpanId::from_bytes(page.ids.span_id[row].to_be_bytes());
            let key = RowKey::new(trace, page.core.start[row], id);
            if self.last.is_some_and(|last| last > key) || !agrees(&page, row, key, &span) {
                return Err(FormatError::Damaged("core of a page"));
            }
            largest = largest.max(Some(key));
            if !self.in_trees {
                self.last = largest;
            }
            let (start, duration) = (page.core.start[row], page.core.duration[row]);
            let flags = page.dictionary.flags(page.core.class[row]);
            self.zone.see(start, page.core.sequence[row], shown_duration(start, duration), flags);
            self.rows += 1;
        }
        self.last = largest;
        Ok(())
    }
}

/// Whether the columns of a row agree with its span.
fn agrees(page: &OpenPage, row: usize, key: RowKey, span: &[u8]) -> bool {
    let Ok(span) = SpanView::parse(span) else { return false };
    let dictionary = &page.dictionary;
    let (class, resource_scope) = (page.core.class[row], page.core.resource_scope[row]);
    let (service, name) = &dictionary.operations[dictionary.operation(class) as usize];
    let (resource, _) = dictionary.resource_scopes[resource_scope as usize];
    let flags = dictionary.flags(class);
    let id = |bytes: &[u8]| TraceId::from_wire(bytes).unwrap_or_default();
    key == RowKey::new(id(span.trace_id), span.start, SpanId::from_wire(span.span_id).unwrap_or_default())
        && page.core.duration[row] == span.end.wrapping_sub(span.start)
        && name == span.name
        && dictionary.resource_services[resource as usize] == *service
        && flags == RowFlags::of(&span, flags.failed())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;
    use spandrel_proto::UnixNanos;

    use super::*;
    use crate::writer::{BlockWriter, FinishedBlock};

    fn block(traces: u8, spans: u64) -> FinishedBlock {
        written(BlockWriter::new(1).unwrap(), 1, traces, spans)
    }

    fn written(mut writer: BlockWriter, level: u8, traces: u8, spans: u64) -> FinishedBlock {
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
        writer.finish(level, UnixNanos(7)).unwrap()
    }

    #[test]
    fn a_sound_block_gives_its_catalog_row_and_its_traces() {
        // The largest one has several pages.
        for (traces, spans) in [(1, 1), (3, 5), (200, 100)] {
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
    fn the_beginning_of_a_block_gives_its_catalog_row() {
        for (traces, spans) in [(1, 1), (200, 100)] {
            let block = block(traces, spans);
            let header = Header::parse(&block.bytes).unwrap();
            let enough = header.section(SectionKind::Meta).unwrap().range().end as usize;
            for end in [enough, enough + 1, block.bytes.len()] {
                assert_eq!(catalog_row(&block.bytes.slice(..end)), Ok(block.row.clone()), "{end} bytes");
            }
            assert!(catalog_row(&block.bytes.slice(..enough - 1)).is_err());
        }
    }

    #[test]
    fn a_block_that_is_damaged_elsewhere_gives_its_traces() {
        let block = block(200, 100);
        let range = Header::parse(&block.bytes).unwrap().section(SectionKind::Traces).unwrap().range();
        let of = |at: usize| {
            let mut damaged = block.bytes.to_vec();
            damaged[at] ^= 1;
            trace_table(&damaged.into(), &block.row)
        };
        let (begin, end) = (range.start as usize, range.end as usize);
        assert_eq!(of(block.bytes.len() - 1).unwrap().entries(), block.trace_rows());
        assert!(of(begin).is_err() && of(end - 1).is_err() && of(0).is_err());
    }

    #[test]
    fn only_a_fresh_block_may_be_columns_and_nothing_else() {
        let bare = |level| written(BlockWriter::fresh().unwrap(), level, 3, 5);
        assert_eq!(verify(bare(0).bytes).map(|report| report.row), Ok(bare(0).row));
        assert_eq!(
            verify(bare(1).bytes).map(|report| report.row.meta.level),
            Err(FormatError::Missing(SectionKind::Rollups))
        );
        for at in 0..bare(0).bytes.len() {
            let mut damaged = bare(0).bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            assert!(verify(damaged.into()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn rows_in_no_order_are_found() {
        // Spans of one trace, added backwards: all in one page, or in two pages.
        let backwards = |mut writer: BlockWriter, level, spans: u64| {
            let resource = writer.resource(&ResourceSpans::default().encode_to_vec().into()).unwrap();
            let scope = writer.scope(&ScopeSpans::default().encode_to_vec().into());
            for id in (1..=spans).rev() {
                let (trace_id, span_id) = (vec![1; 16], id.to_be_bytes().to_vec());
                let span = Span { trace_id, span_id, start_time_unix_nano: id, ..Span::default() };
                writer.push(resource, scope, &span.encode_to_vec(), id).unwrap();
            }
            verify(writer.finish(level, UnixNanos(7)).unwrap().bytes).map(drop)
        };
        let damaged = Err(FormatError::Damaged("core of a page"));
        assert_eq!(backwards(BlockWriter::fresh().unwrap(), 0, 2), damaged);
        assert_eq!(backwards(BlockWriter::new(1).unwrap(), 1, 5_000), damaged);
        // Readers sort the rows of a page by key.
        assert_eq!(backwards(BlockWriter::new(1).unwrap(), 1, 2), Ok(()));
    }

    #[test]
    fn pages_and_the_trace_table_agree_on_where_traces_begin() {
        let sound = block(2, 4);
        let header = Header::parse(&sound.bytes).unwrap();
        for first in 3..=5 {
            let mut table = TraceTable::default();
            let trace = |row| TraceId::from_bytes([if row < first { 1 } else { 2 }; 16]);
            (0..8).for_each(|row| table.push_row(trace(row)));
            let checked = check_pages(&sound.bytes, &header, &sound.row.meta, &table);
            assert_eq!(checked.is_ok(), first == 4, "{first}: {checked:?}");
        }
    }

    #[test]
    fn zone_data_that_says_something_else_is_found() {
        let sound = block(2, 4);
        let header = Header::parse(&sound.bytes).unwrap();
        let traces = &sound.traces;
        let check = |meta: &BlockMeta| check_pages(&sound.bytes, &header, meta, traces);
        let meta = &sound.row.meta;
        assert_eq!(check(meta), Ok(()));
        for wrong in [
            BlockMeta { min_start: UnixNanos(0), ..meta.clone() },
            BlockMeta { max_duration: 1, ..meta.clone() },
            BlockMeta { max_sequence: 99, ..meta.clone() },
            BlockMeta { kinds: 0b100, ..meta.clone() },
            BlockMeta { services: Vec::new(), ..meta.clone() },
        ] {
            assert_eq!(check(&wrong), Err(damaged_meta()), "{wrong:?}");
        }
    }
}
