//! The decoders of single sections; the first byte says which.
#![no_main]

use bytes::Bytes;
use spandrel_block::{
    BlockEdges, BlockMeta, CatalogRow, ChunkRows, Dictionary, RollupRow, TraceTable, decode_column,
};
use spandrel_fuzz::repair_record;
use spandrel_proto::otlp::{ResourceView, ScopeView, SpanView};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [which, count, rest @ ..] = bytes else { return };
    let count = usize::from(*count);
    let mut record = rest.to_vec();
    repair_record(&mut record);
    let section = Bytes::copy_from_slice(rest);
    match which % 9 {
        0 => {
            if let Ok(dictionary) = Dictionary::decode(section.clone()) {
                let again = Dictionary::decode(dictionary.encode().into());
                assert_eq!(again, Ok(dictionary));
            }
        }
        1 => {
            if let Ok(table) = TraceTable::decode(section, count, u32::from(*which)) {
                assert_eq!(table.entries().len(), count);
            }
        }
        2 => drop(decode_column(&section, count).map(|values| assert_eq!(values.len(), count))),
        3 => ChunkRows::new(section).flatten().for_each(|row| {
            if let Ok(span) = SpanView::parse(&row.span) {
                span.attributes().for_each(drop);
                span.events().flatten().for_each(|event| event.attributes().for_each(drop));
                span.links().flatten().for_each(|link| link.attributes().for_each(drop));
            }
        }),
        4 => {
            let _ = RollupRow::decode_all(&record);
        }
        5 => {
            let _ = BlockMeta::decode(&record);
        }
        6 => {
            if let Ok(row) = CatalogRow::decode(&record) {
                assert_eq!(row.encode().and_then(|bytes| CatalogRow::decode(&bytes)), Ok(row));
            }
        }
        8 => {
            let _ = BlockEdges::decode(&record, u32::from(*which), count);
        }
        _ => {
            if let Ok(resource) = ResourceView::parse(rest) {
                resource.attributes().for_each(drop);
                resource.entity_refs().for_each(drop);
            }
            let _ = ScopeView::parse(rest).map(|scope| scope.attributes().for_each(drop));
        }
    }
});
