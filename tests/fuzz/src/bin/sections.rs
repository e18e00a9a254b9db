//! The decoders of single sections; the first byte selects one. The other sections of a page's block are those of a
//! frozen block, which has every form of every value.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use spandrel_block::{
    BlockEdges, BlockMeta, BlockWriter, CatalogRow, CorePage, Dictionary, FilterPart, Header, IdsPage,
    OpenPage, PageRows, Rebuilder, RollupRow, SectionKind, SourceBlock, TextTable, Token, TraceTable,
    ValuesPage, ZoneMap,
};
use spandrel_fuzz::{repair_record, section};
use spandrel_proto::otlp::{ResourceView, ScopeView, SpanView};
use spandrel_proto::{TimeRange, TraceId, UnixNanos};

static FROZEN: &[u8] = include_bytes!("../../../../storage/block/fixtures/block-v5.bin");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [which, count, rest @ ..] = bytes else { return };
    let count = usize::from(*count);
    let mut record = rest.to_vec();
    repair_record(&mut record);
    let section = Bytes::copy_from_slice(rest);
    match which % 15 {
        0 => {
            let _ = Dictionary::decode(section.clone()).map(|dictionary| look_up(&dictionary));
            // Replaces the frozen dictionary: pages then refer to shapes that were never written.
            let _ = open(FROZEN, &[(SectionKind::Dictionary, section)]).map(|page| read(&page));
        }
        1 => {
            if let Ok(table) = TraceTable::decode(section, count, u32::from(*which)) {
                assert_eq!(table.entries().len(), count);
            }
        }
        2 => drop(open(FROZEN, &[(SectionKind::Core, section)]).map(|page| read(&page))),
        3 => drop(open(FROZEN, &[(SectionKind::Ids, section)]).map(|page| read(&page))),
        4 => drop(open(FROZEN, &[(SectionKind::Values, section)]).map(|page| read(&page))),
        5 => {
            if let Ok(texts) = TextTable::decode(rest) {
                let all = (0..texts.len() as u32).map(|number| texts.get(number).expect("a text").len());
                assert!(all.sum::<usize>() <= texts.size() && texts.get(texts.len() as u32).is_none());
            }
        }
        6 => {
            if let Some(filters) = FilterPart::decode(section, 1 << (count % 6), count / 6, 3) {
                let token = Token(u64::from_le_bytes([*which; 8]));
                (0..count / 6).for_each(|page| _ = filters.page_may_have(page, token));
                _ = filters.resources_may_have(token);
            }
        }
        7 => drop(RollupRow::decode_all(&record)),
        8 => drop(BlockMeta::decode(&record)),
        9 => {
            if let Ok(row) = CatalogRow::decode(&record) {
                assert_eq!(row.encode().and_then(|bytes| CatalogRow::decode(&bytes)), Ok(row));
            }
        }
        10 => drop(BlockEdges::decode(&record, u32::from(*which), count)),
        11 => {
            if let Ok(resource) = ResourceView::parse(rest) {
                resource.attributes().for_each(drop);
                resource.entity_refs().for_each(drop);
            }
            let _ = ScopeView::parse(rest).map(|scope| scope.attributes().for_each(drop));
        }
        12 => {
            if let Ok(span) = SpanView::parse(rest) {
                span.attributes().for_each(drop);
                span.events().flatten().for_each(|event| event.attributes().for_each(drop));
                span.links().flatten().for_each(|link| link.attributes().for_each(drop));
            }
        }
        14 => read_zones(rest, count),
        _ => write_span(rest),
    }
});

/// Opens the page of a block, with other bytes for some of its sections.
fn open(block: &[u8], instead: &[(SectionKind, Bytes)]) -> Option<OpenPage> {
    Header::parse(block).ok()?;
    let of = |kind| match instead.iter().find(|(other, _)| *other == kind) {
        Some((_, bytes)) => Some(bytes.clone()),
        None => section(block, kind),
    };
    let dictionary = Arc::new(Dictionary::decode(of(SectionKind::Dictionary)?).ok()?);
    let texts = Arc::new(TextTable::decode(&of(SectionKind::Texts)?).ok()?);
    let core = Arc::new(CorePage::decode(&of(SectionKind::Core)?, &dictionary).ok()?);
    assert!(
        [core.class.len(), core.resource_scope.len(), core.start.len()].iter().all(|n| *n == core.rows())
    );
    assert!([core.duration.len(), core.sequence.len()].iter().all(|n| *n == core.rows()));
    let ids = Arc::new(IdsPage::decode(&of(SectionKind::Ids)?, core.rows()).ok()?);
    assert_eq!((ids.span_id.len(), ids.parent.len()), (core.rows(), core.rows()));
    let values = Arc::new(ValuesPage::open(of(SectionKind::Values)?, &core, &dictionary).ok()?);
    Some(OpenPage { dictionary, texts, core, ids, values })
}

fn look_up(dictionary: &Dictionary) {
    for class in 0..dictionary.classes.len() as u32 {
        let _ = (dictionary.flags(class), dictionary.operation(class));
    }
    for resource_scope in 0..dictionary.resource_scopes.len() as u32 {
        let _ = dictionary.resource_and_scope(resource_scope);
    }
    for slot in &dictionary.slots {
        let _ = (slot.literal_attribute(), slot.span_literal(), slot.is_irregular(), slot.is_attribute("k"));
    }
    if let Some(last) = dictionary.slots.len().checked_sub(1) {
        dictionary.slot_counts(last as u32);
    }
    dictionary.size();
}

/// Reads a page in every way: each row, from the front and from the middle, copied and skipped.
fn read(page: &OpenPage) {
    let mut spans = Rebuilder::new(page.clone(), 0);
    let mut rows: Vec<Option<Vec<u8>>> = Vec::new();
    for row in 0..page.core.rows().min(1000) {
        let mut out = Vec::new();
        spans.seek(row);
        rows.push(spans.next(TraceId::MIN, &mut out).ok().map(|()| out));
    }
    let _ = Rebuilder::new(page.clone(), page.core.rows() / 2).next(TraceId::MIN, &mut Vec::new());
    let mut traces: Vec<TraceId> = Vec::new();
    traces.extend((0..page.core.traces.len()).map(|n| TraceId::from_bytes((n as u128).to_be_bytes())));
    let Ok(block) = SourceBlock::new(page.dictionary.clone(), page.texts.clone()) else { return };
    let Ok(mut skipped) = PageRows::new(&block, page.clone(), traces.clone()) else { return };
    let mut last = None;
    while let Some((key, sequence)) = skipped.key() {
        assert!(last.replace((key, sequence)) <= Some((key, sequence)), "rows are merged by their keys");
        let _ = skipped.peek();
        skipped.skip();
    }
    let Ok(mut copied) = PageRows::new(&block, page.clone(), traces) else { return };
    let mut writer = BlockWriter::new(1).expect("a compressor");
    while copied.key().is_some() {
        if copied.copy_to(&mut writer).is_err() {
            return;
        }
    }
    if writer.rows() == 0 || writer.rows() as usize > rows.len() {
        return;
    }
    // Copied rows are read again unchanged, in the order of their trees.
    let block = writer.finish(1, UnixNanos(1)).expect("a block").bytes;
    let again = open(&block, &[]).expect("what was written");
    if again.core.rows() < rows.len() {
        return;
    }
    let mut spans = Rebuilder::new(again.clone(), 0);
    let mut read_again: Vec<Option<Vec<u8>>> = Vec::new();
    for row in 0..again.core.rows() {
        let mut out = Vec::new();
        // As above, an unreadable row does not affect the others.
        spans.seek(row);
        read_again.push(spans.next(TraceId::MIN, &mut out).ok().map(|()| out));
    }
    rows.sort_unstable();
    read_again.sort_unstable();
    assert_eq!(read_again, rows);
}

/// Reads zone maps of pages with the frozen dictionary, as a search does.
fn read_zones(bytes: &[u8], pages: usize) {
    let page = open(FROZEN, &[]).expect("what was frozen");
    for zone in ZoneMap::decode_all(bytes, pages, &page.dictionary).into_iter().flatten() {
        let _ = (zone.durations(), zone.has_class(7), zone.size(), zone.touches(&TimeRange::ALL));
        for (number, slot) in page.dictionary.slots.iter().enumerate() {
            let _ = zone.numbers(number as u32, slot);
        }
    }
}

/// An unchecked span is refused, or restored unchanged; also when it is written again and recognised by its shape.
fn write_span(span: &[u8]) {
    // Requests with names that are not UTF-8 are refused.
    let Ok(view) = SpanView::parse(span) else { return };
    let Ok(id) = view.trace_id.try_into().map(TraceId::from_bytes) else { return };
    if view.span_id.len() != 8 {
        return;
    }
    for writer in [BlockWriter::new(1), BlockWriter::fresh()] {
        let mut writer = writer.expect("a compressor");
        let (resource, scope) =
            (writer.resource(&Bytes::new()).expect("a resource"), writer.scope(&Bytes::new()));
        if (0..3).any(|_| writer.push(resource, scope, span, 1).is_err()) {
            return;
        }
        let block = writer.finish(0, UnixNanos(1)).expect("a block").bytes;
        let page = open(&block, &[]).expect("what was written");
        let mut rows = Rebuilder::new(page.clone(), 0);
        for _ in 0..3 {
            let mut out = Vec::new();
            rows.next(id, &mut out).expect("the span");
            assert_eq!(out, span);
        }
        read(&page);
    }
}
