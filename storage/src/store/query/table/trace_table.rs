//! The table of a whole trace, from all its blocks: all its spans by (start, span ID), equal ones once.
//!
//! Columns cannot identify duplicates, so if a span may be stored twice, the table is made of spans that are put
//! together; otherwise of the columns of the trace's pages. It lists only the classes and values that its rows have.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_block::{BlockId, FormatError, RowRange};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::WireError;

use super::block_parts::BlockParts;
use super::joined::joined;
use super::page_table::{PageRows, page_table};
use super::span_table::span_table;
use crate::api::Damage;
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};
use crate::store::read::merge_iter::SpanRow;
use crate::store::read::trace_reader::{Part, TraceReader};
use crate::table::{ColumnName, SkippedColumns, SpanTable};

/// Builds tables of traces.
pub(crate) struct TraceTables<'s> {
    columns: &'s [ColumnName],
    ids: bool,
    /// Tables have no spans of later commits.
    snapshot: u64,
    /// Of the blocks of earlier traces.
    parts: FxHashMap<BlockId, Arc<BlockParts>>,
    /// The size of these parts.
    size: usize,
}

/// The most bytes of parts of blocks that are kept, about.
const MAX_SIZE: usize = 16 << 20;

// === impl TraceTables ===

impl<'s> TraceTables<'s> {
    pub(crate) fn new(columns: &'s [ColumnName], ids: bool, snapshot: u64) -> Self {
        Self { columns, ids, snapshot, parts: FxHashMap::default(), size: 0 }
    }

    /// The table of a trace, given its parts; `None` without spans, or if one of them is damaged.
    pub(crate) fn table(
        &mut self,
        traces: TraceReader<'_>,
        trace: TraceId,
        parts: Vec<Part>,
        damage: &Damage,
    ) -> Option<SpanTable> {
        // With unindexed blocks the answer is partial, and damage is found again below; both are reported there.
        let is_indexed = traces.state.unindexed.lock().is_empty();
        let by_columns = is_indexed.then(|| self.read_columns(&traces.core.reader, trace, &parts).ok());
        let table = match by_columns.flatten().flatten() {
            Some(table) => Ok(table),
            None => self.read_spans(traces, trace, parts, damage),
        };
        let damaged = |error: &WireError| {
            tracing::error!(%trace, %error, "a stored span does not decode");
            damage.add();
        };
        table.inspect_err(damaged).ok().filter(|table| table.rows() > 0)
    }

    fn read_spans(
        &self,
        traces: TraceReader<'_>,
        trace: TraceId,
        parts: Vec<Part>,
        damage: &Damage,
    ) -> Result<SpanTable, WireError> {
        let rows = traces.merged_parts(trace, parts, damage);
        let rows: Vec<SpanRow> = rows.filter(|row| row.sequence <= self.snapshot).collect();
        span_table(&rows, self.columns, self.ids)
    }

    /// The table from columns; `None` if a span may be stored twice.
    fn read_columns(
        &mut self,
        reader: &BlockReader,
        trace: TraceId,
        parts: &[Part],
    ) -> Result<Option<SpanTable>, BlockError> {
        let mut tables = Vec::new();
        for (entry, RowRange { first, rows }) in parts {
            let (mut row, end) = (*first, first.saturating_add(*rows));
            while row < end {
                let (page, begin) = reader.page_of(entry, row)?;
                let behind =
                    self.add_page(reader, entry, page, row - begin..end - begin, trace, &mut tables)?;
                row = begin + behind;
            }
        }
        Ok(joined(&tables, trace, self.ids))
    }

    /// Adds a table of the given rows of a page that exist, and returns the row behind the last one.
    fn add_page(
        &mut self,
        reader: &BlockReader,
        entry: &BlockEntry,
        page: u32,
        rows: Range<u32>,
        trace: TraceId,
        tables: &mut Vec<SpanTable>,
    ) -> Result<u32, BlockError> {
        let core = reader.core(entry, page)?;
        let end = rows.end.min(core.rows() as u32);
        if rows.start >= end {
            return Err(FormatError::Damaged("header").into());
        }
        let all_visible = entry.row.meta.max_sequence <= self.snapshot;
        let is_visible = |row: &usize| all_visible || core.sequence[*row] <= self.snapshot;
        let rows: Vec<usize> = (rows.start as usize..end as usize).filter(is_visible).collect();
        let parts = self.parts(reader, entry)?;
        let rows = PageRows { page, traces: vec![(trace, rows.len() as u32)], rows };
        tables.push(page_table(
            reader,
            entry,
            &parts,
            (self.columns, &SkippedColumns::default()),
            true,
            rows,
        )?);
        Ok(end)
    }

    fn parts(&mut self, reader: &BlockReader, entry: &BlockEntry) -> Result<Arc<BlockParts>, BlockError> {
        let block = entry.key.block;
        if let Some(known) = self.parts.get(&block) {
            return Ok(known.clone());
        }
        let dictionary = reader.dictionary(entry)?;
        let parts = Arc::new(BlockParts::new(&dictionary, self.columns)?);
        if self.size > MAX_SIZE {
            (self.parts, self.size) = Default::default();
        }
        // Classes have names, and each column has a plan for each shape and values for each resource.
        let by_column = dictionary.shapes.len() + dictionary.resource_scopes.len();
        self.size += 64 * (dictionary.classes.len() + self.columns.len() * by_column);
        self.parts.insert(block, parts.clone());
        Ok(parts)
    }
}
