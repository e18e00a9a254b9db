//! One table of several whole traces that lie in one page. Columns are read for all of them at once, which costs a
//! fraction of a table for each.

use std::ops::Range;

use spandrel_proto::TraceId;

use super::block_parts::BlockParts;
use super::column_lists::ColumnLists;
use super::page_table::{ColumnsOfTable, PageRows, page_table};
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};
use crate::table::{Codes, ColumnName, SkippedColumns, SpanTable};

/// The rows of a page that are whole traces: each with its rows in the page, ascending.
pub(super) type TracesOfPage = Vec<(TraceId, Range<u32>)>;

/// The table of traces, each sorted by (start, span ID), without spans of commits behind `snapshot`. `None` if a trace
/// has no span, or two spans that share both, because they may be the same.
pub(super) fn traces_of_page(
    reader: &BlockReader,
    entry: &BlockEntry,
    parts: &BlockParts,
    columns: &[ColumnName],
    (number, wanted): (u32, &TracesOfPage),
    snapshot: u64,
) -> Result<Option<SpanTable>, BlockError> {
    let core = reader.core(entry, number)?;
    let all_visible = entry.row.meta.max_sequence <= snapshot;
    let (mut rows, mut traces) = (Vec::new(), Vec::with_capacity(wanted.len()));
    for (trace, here) in wanted {
        let begin = rows.len();
        let visible = |row: &usize| all_visible || core.sequence[*row] <= snapshot;
        rows.extend((here.start as usize..here.end as usize).filter(visible));
        if rows.len() == begin {
            return Ok(None);
        }
        traces.push((*trace, rows.len() as u32));
    }
    let rows = PageRows { page: number, rows, traces };
    let (skipped, mut lists) = (SkippedColumns::default(), ColumnLists::default());
    let columns = ColumnsOfTable { names: columns, skipped: &skipped, lists: &mut lists };
    let table = page_table(reader, entry, parts, columns, true, rows)?;
    Ok(sorted(table))
}

/// The table with the rows of each trace sorted by (start, span ID); `None` if two of a trace share both.
fn sorted(mut table: SpanTable) -> Option<SpanTable> {
    let mut order: Vec<u32> = (0..table.rows() as u32).collect();
    let place = |row: u32| (table.start[row as usize], table.span_id[row as usize]);
    let mut begin = 0;
    for (_, end) in &table.traces {
        let rows = &mut order[begin..*end as usize];
        rows.sort_unstable_by_key(|row| place(*row));
        if rows.windows(2).any(|pair| place(pair[0]) == place(pair[1])) {
            return None;
        }
        begin = *end as usize;
    }
    if order.is_sorted() {
        return Some(table);
    }
    table.class = in_order(&table.class, &order);
    table.start = in_order(&table.start, &order);
    table.duration = in_order(&table.duration, &order);
    table.span_id = in_order(&table.span_id, &order);
    table.parent_id = in_order(&table.parent_id, &order);
    for column in table.columns.iter_mut().filter(|column| !column.values.is_empty()) {
        column.codes = codes_in_order(&column.codes, &order);
    }
    Some(table)
}

fn in_order<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|row| values[*row as usize]).collect()
}

fn codes_in_order(codes: &Codes, order: &[u32]) -> Codes {
    let by_row = codes.by_row(order.len());
    let all = match &*by_row {
        Codes::One(codes) => return Codes::One(in_order(codes, order)),
        Codes::Many { codes, .. } => codes,
        Codes::Few { .. } | Codes::Grouped { .. } => return codes.clone(),
    };
    let (mut ends, mut moved) = (Vec::with_capacity(order.len()), Vec::with_capacity(all.len()));
    for row in order {
        moved.extend(by_row.of_row(*row as usize).map(|code| code as u32));
        ends.push(moved.len() as u32);
    }
    Codes::Many { ends, codes: moved }
}
