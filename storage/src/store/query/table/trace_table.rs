//! The table of a whole trace, from all its blocks: all its spans by (start, span ID), equal ones once.
//!
//! Columns cannot identify duplicates, so if a span may be stored twice, the table is made of spans that are put
//! together; otherwise of the columns of the trace's pages. Traces that lie in one page share a table, if several are
//! wanted.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_block::{BlockId, FormatError, RowRange};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::WireError;

use super::block_parts::BlockParts;
use super::column_lists::ColumnLists;
use super::joined::joined;
use super::logs::{is_of_events, join_logs};
use super::page_table::{ColumnsOfTable, PageRows, page_table};
use super::span_table::span_table;
use super::traces_of_page::{TracesOfPage, traces_of_page};
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
    /// Whether values of logs belong into the tables; `None` until the first trace.
    joins_logs: Option<bool>,
}

/// The most bytes of parts of blocks that are kept, about.
const MAX_SIZE: usize = 16 << 20;

// === impl TraceTables ===

impl<'s> TraceTables<'s> {
    pub(crate) fn new(columns: &'s [ColumnName], ids: bool, snapshot: u64) -> Self {
        Self { columns, ids, snapshot, parts: FxHashMap::default(), size: 0, joins_logs: None }
    }

    /// Shows tables of all of these traces, given their parts, until `show` returns `false`. Neighbours that lie in one page
    /// share a table; a trace without spans, or with damage, is in none.
    pub(crate) fn each_table(
        &mut self,
        traces: TraceReader<'_>,
        wanted: &[(TraceId, Vec<Part>)],
        damage: &Damage,
        mut show: impl FnMut(&SpanTable) -> bool,
    ) {
        let logs = self.logs_of_each(traces, wanted);
        let has_logs = |at: usize| logs.get(at).is_some_and(|parts| !parts.is_empty());
        let mut at = 0;
        while at < wanted.len() {
            // Only traces without logs can share a table.
            let alike = (at..wanted.len()).find(|at| has_logs(*at)).unwrap_or(wanted.len()).max(at + 1);
            // A block that cannot be read is reported below.
            let (count, shared) = self.shared_table(traces, &wanted[at..alike]).unwrap_or((1, None));
            if let Some(table) = shared {
                if !show(&table) {
                    return;
                }
                at += count;
                continue;
            }
            for ((trace, parts), at) in wanted[at..at + count].iter().zip(at..) {
                let logs = logs.get(at).cloned().unwrap_or_default();
                let table = self.joined_table(traces, *trace, (parts.clone(), logs), damage);
                if table.is_some_and(|table| !show(&table)) {
                    return;
                }
            }
            at += count;
        }
    }

    /// The parts of each of these traces that are logs; none at all if no column has a value of them.
    fn logs_of_each(&mut self, traces: TraceReader<'_>, wanted: &[(TraceId, Vec<Part>)]) -> Vec<Vec<Part>> {
        if !self.joins_logs(traces) {
            return Vec::new();
        }
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|at| wanted[*at].0);
        let mut sorted: Vec<TraceId> = order.iter().map(|at| wanted[*at].0).collect();
        sorted.dedup();
        let found = traces.logs_of_each(&sorted);
        let of = |(trace, _): &(TraceId, Vec<Part>)| sorted.binary_search(trace).map(|at| found[at].clone());
        wanted.iter().map(|trace| of(trace).unwrap_or_default()).collect()
    }

    fn joins_logs(&mut self, traces: TraceReader<'_>) -> bool {
        let columns = self.columns;
        *self
            .joins_logs
            .get_or_insert_with(|| columns.iter().any(is_of_events) && traces.view.logs().next().is_some())
    }

    /// The number of the first traces that lie in one page and nowhere else, but at least one, and their table; `None`
    /// for it if there is one trace only, or the rows of some need a closer look.
    fn shared_table(
        &mut self,
        traces: TraceReader<'_>,
        wanted: &[(TraceId, Vec<Part>)],
    ) -> Result<(usize, Option<SpanTable>), BlockError> {
        let alone = Ok((1, None));
        let Some([(entry, first)]) = wanted.first().map(|(_, parts)| &parts[..]) else { return alone };
        // With unindexed blocks the answer is partial, which reading single traces reports.
        if !traces.state.unindexed.lock().is_empty() {
            return alone;
        }
        let reader = &traces.core.reader;
        let (page, begin) = reader.page_of(entry, first.first)?;
        let end = begin.saturating_add(reader.core(entry, page)?.rows() as u32);
        let (mut here, mut row) = (TracesOfPage::new(), begin);
        for (trace, parts) in wanted {
            let [(other, rows)] = &parts[..] else { break };
            let behind = rows.first.saturating_add(rows.rows);
            if other.key.block != entry.key.block || rows.first < row || behind > end {
                break;
            }
            here.push((*trace, rows.first - begin..behind - begin));
            row = behind;
        }
        if here.len() < 2 {
            return alone;
        }
        let parts = self.parts(reader, entry)?;
        let mut table = traces_of_page(reader, entry, &parts, self.columns, (page, &here), self.snapshot)?;
        if let Some(table) = table.as_mut().filter(|_| !self.ids) {
            (table.span_id, table.parent_id) = (Vec::new(), Vec::new());
        }
        Ok((here.len(), table))
    }

    /// The table of a trace, given its parts; `None` without spans, or if one of them is damaged.
    pub(crate) fn table(
        &mut self,
        traces: TraceReader<'_>,
        trace: TraceId,
        parts: Vec<Part>,
        damage: &Damage,
    ) -> Option<SpanTable> {
        let logs = if self.joins_logs(traces) { traces.log_parts(trace) } else { Vec::new() };
        self.joined_table(traces, trace, (parts, logs), damage)
    }

    /// The same, given its parts that are spans and those that are logs.
    fn joined_table(
        &mut self,
        traces: TraceReader<'_>,
        trace: TraceId,
        (parts, logs): (Vec<Part>, Vec<Part>),
        damage: &Damage,
    ) -> Option<SpanTable> {
        // What logs belong to is found by ID.
        let ids = self.ids;
        self.ids |= !logs.is_empty();
        let table = self.spans_table(traces, trace, parts, damage);
        self.ids = ids;
        let mut table = table?;
        if logs.is_empty() {
            return Some(table);
        }
        let rows = traces.merged_parts(trace, logs, damage);
        let rows: Vec<SpanRow> = rows.filter(|row| row.sequence <= self.snapshot).collect();
        if let Err(error) = join_logs(&mut table, self.columns, &rows) {
            tracing::error!(%trace, %error, "a stored row of logs does not decode");
            damage.add();
        }
        Some(table)
    }

    fn spans_table(
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
        let (skipped, mut lists) = (SkippedColumns::default(), ColumnLists::default());
        let columns = ColumnsOfTable { names: self.columns, skipped: &skipped, lists: &mut lists };
        tables.push(page_table(reader, entry, &parts, columns, true, rows)?);
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
