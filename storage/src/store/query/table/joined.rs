//! Joins the tables of a trace's pages into one.

use rustc_hash::FxHashMap;
use spandrel_proto::TraceId;

use super::value_list::{ClassBuilder, ColumnBuilder};
use crate::table::{SpanTable, ValueColumn};

/// A row of one of the tables: its start, its span ID, the number of the table, and its number there.
type Place = (u64, u64, usize, usize);

/// The rows of tables with IDs, by (start, span ID). `None` if two of them share both, because they may be the same
/// span. `ids` tells whether the joined table has IDs.
pub(super) fn joined(tables: &[SpanTable], trace: TraceId, ids: bool) -> Option<SpanTable> {
    let places = |(number, table): (usize, &SpanTable)| -> Vec<Place> {
        (0..table.rows()).map(|row| (table.start[row], table.span_id[row], number, row)).collect()
    };
    let mut order: Vec<Place> = tables.iter().enumerate().flat_map(places).collect();
    order.sort_unstable();
    if order.windows(2).any(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
        return None;
    }
    let each = |of: fn(&SpanTable) -> &Vec<u64>| -> Vec<u64> {
        order.iter().map(|(_, _, table, row)| of(&tables[*table])[*row]).collect()
    };
    let mut table = SpanTable {
        traces: vec![(trace, order.len() as u32)],
        start: each(|table| &table.start),
        duration: each(|table| &table.duration),
        ..SpanTable::default()
    };
    if ids {
        table.span_id = each(|table| &table.span_id);
        table.parent_id = each(|table| &table.parent_id);
    }
    let mut classes = ClassBuilder::default();
    let mut known = FxHashMap::default();
    for (_, _, number, row) in &order {
        let from = &tables[*number];
        let class = known
            .entry((*number, from.class[*row]))
            .or_insert_with(|| classes.number(from.service(*row), from.name(*row), from.flags(*row)));
        table.class.push(*class);
    }
    table.classes = classes.finish();
    let columns = tables.first().map_or(0, |table| table.columns.len());
    table.columns = (0..columns).map(|column| joined_column(tables, column, &order)).collect();
    Some(table)
}

fn joined_column(tables: &[SpanTable], column: usize, order: &[Place]) -> ValueColumn {
    let mut builder = ColumnBuilder::default();
    let mut known = FxHashMap::default();
    for (_, _, table, row) in order {
        let from = &tables[*table].columns[column];
        for code in from.codes.of_row(*row) {
            match known.get(&(*table, code)) {
                Some(number) => builder.push_known(*number),
                None => {
                    known.insert((*table, code), builder.push(from.values[code].clone()));
                }
            }
        }
        builder.end_row();
    }
    builder.finish()
}
