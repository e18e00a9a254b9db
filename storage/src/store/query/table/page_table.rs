//! A table of some rows of a page.

use spandrel_block::{Access, shown_duration};
use spandrel_proto::TraceId;

use super::block_parts::{BlockParts, PartOfColumn};
use super::page_columns::{PageSpans, page_column};
use super::value_list::CodesBuilder;
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};
use crate::table::{Codes, ColumnName, SkippedColumns, SpanTable, ValueColumn};

/// The rows of a page that a table has.
pub(crate) struct PageRows {
    /// The number of the page.
    pub(crate) page: u32,
    /// Their numbers in the page, ascending.
    pub(crate) rows: Vec<usize>,
    /// Their traces, each with the index in `rows` behind its last row.
    pub(crate) traces: Vec<(TraceId, u32)>,
}

/// The table of rows of a page. The block's parts have to be those of the same columns.
pub(crate) fn page_table(
    reader: &BlockReader,
    entry: &BlockEntry,
    parts: &BlockParts,
    (columns, skipped): (&[ColumnName], &SkippedColumns),
    ids: bool,
    PageRows { page: number, rows, traces }: PageRows,
) -> Result<SpanTable, BlockError> {
    let core = reader.core(entry, number)?;
    let mut table = SpanTable {
        class: rows.iter().map(|row| parts.class_of[core.class[*row] as usize]).collect(),
        classes: parts.classes.clone(),
        start: rows.iter().map(|row| core.start[*row]).collect(),
        duration: rows.iter().map(|row| shown_duration(core.start[*row], core.duration[*row])).collect(),
        traces,
        ..SpanTable::default()
    };
    if ids {
        let page = reader.ids(entry, number, core.rows())?;
        table.span_id = rows.iter().map(|row| page.span_id[*row]).collect();
        table.parent_id = rows.iter().map(|row| page.parent[*row]).collect();
    }
    let mut values = None;
    let mut spans = PageSpans::new(reader, entry, number);
    // Unpacking a column takes as long as reading this share of it.
    let access = if rows.len() * 16 < core.rows() { Access::Sparse } else { Access::Whole };
    for (at, column) in columns.iter().enumerate() {
        let column = match &parts.columns[at] {
            _ if skipped.contains(at) => no_values(rows.len()),
            PartOfColumn::ByScope(known) => {
                column_of_scope(known, rows.iter().map(|row| core.resource_scope[*row]))
            }
            PartOfColumn::Field(_, absent) if rows.iter().all(|row| absent[core.class[*row] as usize]) => {
                no_values(rows.len())
            }
            PartOfColumn::Field(plan, absent) => {
                let values = match &mut values {
                    Some(known) => known,
                    none => none.insert(reader.values(entry, number)?),
                };
                page_column(column, (plan, absent), values, &rows, access, &mut spans)?
            }
        };
        table.columns.push(column);
    }
    Ok(table)
}

fn no_values(rows: usize) -> ValueColumn {
    ValueColumn { codes: Codes::One(vec![0; rows]), ..ValueColumn::default() }
}

/// A column that resource and scope decide, for rows with these pairs.
fn column_of_scope(by_scope: &ValueColumn, pairs: impl Iterator<Item = u32>) -> ValueColumn {
    if let Codes::One(known) = &by_scope.codes {
        let codes = Codes::One(pairs.map(|pair| known[pair as usize]).collect());
        return ValueColumn { values: by_scope.values.clone(), codes };
    }
    let mut codes = CodesBuilder::default();
    for pair in pairs {
        by_scope.codes.of_row(pair as usize).for_each(|number| codes.push(number as u32));
        codes.end_row();
    }
    ValueColumn { values: by_scope.values.clone(), codes: codes.finish() }
}
