//! A table from spans that were put together: the plain way, which needs nothing but the spans.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_block::{RowFlags, semantics};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{ResourceView, SpanView};

use super::span_values::{each_value_of_scope, each_value_of_span};
use super::value_list::{ClassBuilder, ColumnBuilder};
use crate::store::read::merge_iter::SpanRow;
use crate::table::{ColumnName, SpanTable};

/// The table of spans, which have to be grouped by trace. `ids` tells whether it has IDs.
pub(crate) fn span_table(
    rows: &[SpanRow],
    columns: &[ColumnName],
    ids: bool,
) -> Result<SpanTable, WireError> {
    let mut table = SpanTable::default();
    let mut classes = ClassBuilder::default();
    let mut services: FxHashMap<&Bytes, &str> = FxHashMap::default();
    let mut builders: Vec<ColumnBuilder> = columns.iter().map(|_| ColumnBuilder::default()).collect();
    for (at, row) in rows.iter().enumerate() {
        let span = SpanView::parse(&row.span)?;
        let service = match services.get(&row.resource) {
            Some(known) => *known,
            None => {
                let name = semantics::service_name(&ResourceView::parse(&row.resource)?);
                services.insert(&row.resource, name);
                name
            }
        };
        let flags = RowFlags::of(&span, row.failed);
        table.class.push(classes.number(service, span.name, flags));
        table.start.push(span.start);
        table.duration.push(span.duration());
        if ids {
            let id = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
            table.span_id.push(id(span.span_id));
            table.parent_id.push(id(span.parent_span_id));
        }
        for (column, builder) in columns.iter().zip(&mut builders) {
            match column.field() {
                None => {
                    each_value_of_scope(column, &row.resource, &row.scope, |value| _ = builder.push(value))?
                }
                Some(_) => each_value_of_span(column, &span, |value| _ = builder.push(value))?,
            }
            builder.end_row();
        }
        let end = at as u32 + 1;
        match table.traces.last_mut().filter(|(trace, _)| *trace == row.key.trace()) {
            Some((_, behind)) => *behind = end,
            None => table.traces.push((row.key.trace(), end)),
        }
    }
    table.classes = classes.finish();
    table.columns = builders.into_iter().map(ColumnBuilder::finish).collect();
    Ok(table)
}
