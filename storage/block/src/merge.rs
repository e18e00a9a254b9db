//! Copies rows of blocks into a block that is being written, without rebuilding spans: the rows of one page, sorted by
//! key, each of which is copied or skipped.

use std::sync::Arc;

use spandrel_proto::TraceId;

use crate::derive::calls_of;
use crate::equality::SpanParts;
use crate::flags::{RowFlags, shown_duration};
use crate::format::FormatError;
use crate::gather::{CallPart, CopyError, DAMAGED, SourceBlock, SourcePage};
use crate::page::row::{Row, links_of};
use crate::page::{OpenPage, Rebuilder};
use crate::row_key::RowKey;
use crate::writer::BlockWriter;

/// Iterates over the rows of one page, sorted by key.
#[derive(Debug)]
pub struct PageRows {
    page: Arc<SourcePage>,
    /// The trace of each run of rows, where a run is the rows of one trace in the page.
    traces: Vec<TraceId>,
    run: usize,
    /// The index of the next row in its run, by key.
    nth: usize,
    /// The rows of the run sorted by key, if they are stored in another order.
    order: Option<Vec<u32>>,
    /// The last two blocks that rows were copied to, by serial number, and the number of this page there: rows of a
    /// page may go to two blocks alternately.
    targets: [(u64, u32); 2],
    /// Rebuilds rows for `peek`; it stands at the last one.
    peeker: Option<Rebuilder>,
    /// Tells blocks that are being written whether more rows of the page may follow.
    alive: Arc<()>,
    /// Of the current row: texts that may name the peer of a call, with their slots.
    peers: Vec<(u32, u32)>,
}

/// What rollups count of a span.
#[derive(Debug, Clone, Copy)]
pub struct RowSummary<'r> {
    /// The name of its service.
    pub service: &'r str,
    /// Its name.
    pub operation: &'r str,
    /// Kind, status, failure and parenthood.
    pub flags: RowFlags,
    /// Its duration as shown, in nanoseconds.
    pub duration: u64,
}

// === impl PageRows ===

impl PageRows {
    /// Starts at the first row of a page of a block; `traces` has the trace of each run of its rows.
    pub fn new(block: &Arc<SourceBlock>, page: OpenPage, traces: Vec<TraceId>) -> Result<Self, FormatError> {
        if page.core.traces.len() != traces.len() {
            return Err(FormatError::Damaged("trace table"));
        }
        let page = Arc::new(SourcePage::new(block.clone(), page)?);
        let (targets, peeker, peers, alive) = ([(0, 0); 2], None, Vec::new(), Arc::default());
        let mut rows = Self { page, traces, run: 0, nth: 0, order: None, targets, peeker, peers, alive };
        rows.begin_run();
        Ok(rows)
    }

    fn begin_run(&mut self) {
        self.nth = 0;
        let open = &self.page.open;
        self.order = if self.run < self.traces.len() { open.order_by_key(open.run(self.run)) } else { None };
    }

    /// The number of the stored row that is the n-th of its run by key.
    fn nth_row(&self, nth: usize) -> Option<u32> {
        let run = self.page.open.run(self.run);
        match &self.order {
            Some(order) => order.get(nth).copied(),
            None => Some((run.start + nth) as u32).filter(|_| nth < run.len()),
        }
    }

    /// The key of the next row and the sequence number of the commit that stored it; `None` after the last row.
    pub fn key(&self) -> Option<(RowKey, u64)> {
        let key = self.key_of(self.nth)?;
        let row = self.nth_row(self.nth)? as usize;
        Some((key, self.page.open.core.sequence[row]))
    }

    /// The key of the row after the next one, if both belong to the same trace and page.
    pub fn key_behind(&self) -> Option<RowKey> {
        self.key_of(self.nth + 1)
    }

    fn key_of(&self, nth: usize) -> Option<RowKey> {
        let trace = u128::from_be_bytes(*self.traces.get(self.run)?.as_bytes());
        let row = self.nth_row(nth)? as usize;
        let open = &self.page.open;
        Some(RowKey { trace, start: open.core.start[row], span_id: open.ids.span_id[row] })
    }

    /// What rollups count of the next row; `None` after the last row.
    pub fn summary(&self) -> Option<RowSummary<'_>> {
        let row = self.nth_row(self.nth).filter(|_| self.run < self.traces.len())? as usize;
        let OpenPage { dictionary, core, .. } = &self.page.open;
        let class = core.class[row];
        let (service, operation) = &dictionary.operations[dictionary.operation(class) as usize];
        Some(RowSummary {
            service: &dictionary.services[*service as usize],
            operation,
            flags: dictionary.flags(class),
            duration: shown_duration(core.start[row], core.duration[row]),
        })
    }

    /// Rebuilds the next row as it was sent, to compare it with others.
    pub fn peek(&mut self) -> Result<SpanParts, FormatError> {
        let trace = *self.traces.get(self.run).ok_or(DAMAGED)?;
        let row = self.nth_row(self.nth).ok_or(DAMAGED)? as usize;
        let open = &self.page.open;
        let peeker = self.peeker.get_or_insert_with(|| Rebuilder::new(open.clone(), 0));
        self.page.seek(peeker, row as u32);
        let mut out = Vec::new();
        peeker.peek(trace, &mut out)?;
        let (resource, scope) = open.dictionary.resource_and_scope(open.core.resource_scope[row]);
        Ok(SpanParts { resource: resource.clone(), scope: scope.clone(), span: out.into() })
    }

    /// Skips the next row.
    pub fn skip(&mut self) {
        self.nth += 1;
        if self.nth >= self.page.open.run(self.run).len() {
            self.run += 1;
            self.begin_run();
        }
    }

    /// Copies the next row into a block.
    pub fn copy_to(&mut self, writer: &mut BlockWriter) -> Result<(), CopyError> {
        let (Some(trace), Some(row)) = (self.traces.get(self.run).copied(), self.nth_row(self.nth)) else {
            return Err(DAMAGED.into());
        };
        writer.begin_copied_row(trace);
        let at = self.registered(writer)?;
        let texts = writer.tables.schema.texts.bytes();
        let stored = self.page.open.row(row as usize);
        let shape = self.page.shape(row);
        let is_simple = !writer.is_fresh() && !self.page.block.message(shape).has_nested;
        let (_, block) = writer.gather.maps(at)?;
        let class = match block.known_class(stored.class).filter(|_| is_simple) {
            Some(class) => class,
            None => self.prepare(writer, at, row, stored.class)?,
        };
        let BlockWriter { gather, tables, .. } = writer;
        let resource_scope = gather.maps(at)?.1.resource_scope(tables, stored.resource_scope)?;
        let copied = Row { class, resource_scope, ..stored };
        if !writer.is_fresh() {
            self.push_edge(writer, at, row, shape, &copied)?;
        }
        let texts = writer.tables.schema.texts.bytes() - texts + writer.gather.push(at, row);
        let values = self.page.places(row).len();
        writer.push_row(copied, ROW_BYTES.max(VALUE_BYTES * values) + texts);
        self.skip();
        Ok(())
    }

    /// The number of this page in the block that is being written.
    fn registered(&mut self, writer: &mut BlockWriter) -> Result<u32, CopyError> {
        let serial = writer.serial();
        if self.targets[0].0 != serial {
            self.targets.swap(0, 1);
            if self.targets[0].0 != serial {
                self.targets[0] = (
                    serial,
                    writer.gather.register(&mut writer.tables, &self.page, Arc::downgrade(&self.alive))?,
                );
            }
        }
        Ok(self.targets[0].1)
    }

    /// Adds the shapes of a row's messages to the block; returns the row's class.
    fn prepare(&self, writer: &mut BlockWriter, at: u32, row: u32, class: u32) -> Result<u32, CopyError> {
        let BlockWriter { gather, tables, .. } = writer;
        let (page, block) = gather.maps(at)?;
        for (shape, parts, places) in self.page.messages(row) {
            block.shape(tables, shape);
            if tables.is_fresh() {
                for (part, place) in parts.iter().zip(places) {
                    page.name_text(block, tables, part, *place)?;
                }
            }
        }
        Ok(block.class(tables, class))
    }

    /// Adds the input of edges from a row.
    fn push_edge(
        &mut self,
        writer: &mut BlockWriter,
        at: u32,
        row: u32,
        shape: u32,
        copied: &Row,
    ) -> Result<(), CopyError> {
        let source = &self.page.block;
        if source.message(shape).is_opaque {
            // The shape does not contain everything that an edge needs.
            let span = self.peek()?.span;
            let (flags, peers) = calls_of(&span).map_err(|_| DAMAGED)?;
            let links = links_of(&span).map_err(|_| DAMAGED)?;
            writer.push_edge(copied, flags, &peers, links);
            return Ok(());
        }
        let (page, block) = writer.gather.maps(at)?;
        let (mut flags, places) = (source.message(shape).flags, self.page.places(row));
        self.peers.clear();
        for CallPart { at, slot, is_flags } in source.calls(shape) {
            let place = places[*at as usize] as usize;
            let values = &page.columns[*slot as usize];
            match is_flags {
                true => flags = values.numbers()[place] as u32,
                false => self.peers.push((block.known_slot(*slot), values.texts()[place])),
            }
        }
        writer.push_known_edge(copied, flags, &self.peers);
        Ok(())
    }
}

/// The size of a row, without its new texts, that counts when pages and blocks are cut. Rows with very many values
/// count more for each value, because a page of thousands of them would not fit into memory.
const ROW_BYTES: usize = 128;
const VALUE_BYTES: usize = 4;
