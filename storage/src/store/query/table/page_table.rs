//! A table of some rows of a page.

use std::cell::OnceCell;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_block::{Access, CorePage, OpenValues, shown_duration};
use spandrel_proto::TraceId;

use super::block_parts::{BlockParts, FieldParts, PartOfColumn};
use super::column_lists::{ColumnList, ColumnLists};
use super::page_columns::{PageSpans, column_by_rows};
use super::translator::Translator;
use super::value_list::CodesBuilder;
use super::whole_columns::whole_column;
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

/// The columns of a table: their names, those that stay empty, and what is known of their values.
pub(crate) struct ColumnsOfTable<'c> {
    pub(crate) names: &'c [ColumnName],
    pub(crate) skipped: &'c SkippedColumns,
    pub(crate) lists: &'c mut ColumnLists,
}

/// Reads columns of a page of which all rows, or many of them, are in the table.
struct PageReader<'s> {
    values: OpenValues,
    rows: &'s [usize],
    access: Access,
    /// The number of rows of each class.
    class_counts: Vec<u32>,
    /// The rows of the page that may have a value of a field, by [`FieldParts::row_set`].
    row_sets: FxHashMap<usize, Arc<Vec<u32>>>,
    spans: PageSpans<'s>,
}

/// The table of rows of a page. The block's parts have to be those of the same columns.
pub(crate) fn page_table(
    reader: &BlockReader,
    entry: &BlockEntry,
    parts: &BlockParts,
    columns: ColumnsOfTable<'_>,
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
    let ColumnsOfTable { names, skipped, lists } = columns;
    lists.begin_page(entry.key.block, names.len());
    let mut page = None;
    let classes = distinct_classes(&core, &rows, parts.class_of.len());
    let pairs = OnceCell::new();
    for (at, name) in names.iter().enumerate() {
        let column = match &parts.columns[at] {
            _ if skipped.contains(at) => {
                *lists.column(at) = ColumnList::default();
                no_values()
            }
            PartOfColumn::ByScope(known) => {
                let of_rows = || rows.iter().map(|row| core.resource_scope[*row]).collect();
                column_of_scope(known, pairs.get_or_init(|| Arc::new(of_rows())))
            }
            PartOfColumn::Field(field) if classes.iter().all(|class| field.absent[*class as usize]) => {
                no_values()
            }
            PartOfColumn::Field(field) => {
                let page = match &mut page {
                    Some(known) => known,
                    none => none.insert(PageReader::new(reader, entry, number, &rows)?),
                };
                page.column(name, field, lists.column(at))?
            }
        };
        table.columns.push(column);
    }
    Ok(table)
}

// === impl PageReader ===

impl<'s> PageReader<'s> {
    fn new(
        reader: &'s BlockReader,
        entry: &'s BlockEntry,
        number: u32,
        rows: &'s [usize],
    ) -> Result<Self, BlockError> {
        let values = reader.values(entry, number)?;
        // Unpacking a column takes as long as reading this share of it.
        let access = if rows.len() * 16 < values.core.rows() { Access::Sparse } else { Access::Whole };
        let class_counts = values.core.class_counts(&values.dictionary);
        let spans = PageSpans::new(reader, entry, number);
        Ok(Self { values, rows, access, class_counts, row_sets: FxHashMap::default(), spans })
    }

    fn column(
        &mut self,
        name: &ColumnName,
        field: &FieldParts,
        list: &mut ColumnList,
    ) -> Result<ValueColumn, BlockError> {
        let Self { values: page, rows, access, class_counts, row_sets, spans } = self;
        let translator = Translator { name, dictionary: &page.dictionary };
        let whole = match access {
            Access::Whole => {
                let filled = row_sets
                    .entry(field.row_set)
                    .or_insert_with(|| Arc::new(rows_with_value(&page.core, &field.absent)));
                let rows = (&filled[..], &class_counts[..]);
                let codes = whole_column(translator, &field.places, page, rows, list)?;
                codes.map(|codes| Codes::Few { rows: filled.clone(), codes })
            }
            Access::Sparse => None,
        };
        let codes = match whole {
            Some(codes) if page.core.rows() == rows.len() => codes,
            Some(codes) => chosen(&codes.by_row(page.core.rows()), rows),
            None => column_by_rows(name, field, page, rows, *access, spans, list)?,
        };
        let (values, id) = list.values.share();
        Ok(ValueColumn { values, codes, list: Some(id) })
    }
}

fn no_values() -> ValueColumn {
    ValueColumn { codes: Codes::none(), ..ValueColumn::default() }
}

/// The classes of rows, each once.
fn distinct_classes(core: &CorePage, rows: &[usize], classes: usize) -> Vec<u32> {
    let mut occurs = vec![false; classes];
    rows.iter().for_each(|row| occurs[core.class[*row] as usize] = true);
    (0..classes as u32).filter(|class| occurs[*class as usize]).collect()
}

/// The rows of a page whose classes may have a value.
fn rows_with_value(core: &CorePage, absent: &[bool]) -> Vec<u32> {
    // Each row is written, and then kept or overwritten: whether it has a value is hard to predict.
    let (mut rows, mut kept) = (vec![0; core.rows()], 0);
    for (row, class) in core.class.iter().enumerate() {
        rows[kept] = row as u32;
        kept += usize::from(!absent[*class as usize]);
    }
    rows.truncate(kept);
    rows
}

/// The codes of some rows of a page.
fn chosen(codes: &Codes, rows: &[usize]) -> Codes {
    Codes::One(rows.iter().map(|row| codes.of_row(*row).next().map_or(0, |value| value as u32 + 1)).collect())
}

/// A column that resource and scope decide, for rows with these pairs.
fn column_of_scope(by_scope: &ValueColumn, pairs: &Arc<Vec<u32>>) -> ValueColumn {
    let codes = match &by_scope.codes {
        Codes::One(known) => Codes::Grouped { groups: pairs.clone(), codes: known.clone() },
        known => {
            let mut codes = CodesBuilder::default();
            for pair in pairs.iter() {
                known.of_row(*pair as usize).for_each(|number| codes.push(number as u32));
                codes.end_row();
            }
            codes.finish()
        }
    };
    ValueColumn { codes, values: by_scope.values.clone(), list: by_scope.list }
}
