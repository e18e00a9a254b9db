//! A pass over all matching spans, page by page.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use spandrel_proto::{TenantId, TraceId};

use super::pass::Pass;
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::core::tenant::TenantState;
use crate::store::query::block_scan::{BlockScan, MatchingRow, SpanFilter};
use crate::store::query::table::{BlockParts, ColumnLists, ColumnsOfTable, PageRows, page_table};
use crate::table::{FoldAnswer, FoldPlan, SpanTable, TableFold};

/// A pass in progress.
struct SpanPass<'s> {
    core: &'s Core,
    state: &'s TenantState,
    plan: &'s FoldPlan,
    filter: &'s SpanFilter<'s>,
    blocks: Vec<BlockWork<'s>>,
    /// The number of blocks that a thread has begun.
    begun: AtomicUsize,
    pass: Pass,
}

/// The pages of a block, which several threads may share.
struct BlockWork<'s> {
    entry: Arc<BlockEntry>,
    progress: Mutex<Progress<'s>>,
    /// The number of pages that a thread has begun.
    begun: AtomicUsize,
}

/// How far a block is. It is in memory only while its pages are read.
enum Progress<'s> {
    Waiting,
    Open(Arc<OpenBlock<'s>>),
    Done,
}

struct OpenBlock<'s> {
    scan: BlockScan<'s>,
    parts: BlockParts,
}

/// Shows all matching spans to the folds.
pub(crate) fn fold_spans(
    core: &Core,
    tenant: &TenantId,
    plan: &FoldPlan,
    folds: &mut [&mut dyn TableFold],
) -> FoldAnswer {
    // The snapshot is taken before the view, so the view contains all of it.
    let snapshot = core.committer.sequences.visible();
    let Some(state) = core.tenants.get(tenant) else {
        return FoldAnswer { snapshot, ..FoldAnswer::default() };
    };
    let view = state.view();
    let filter = SpanFilter::new(&plan.predicate, &plan.range, snapshot).after(plan.after);
    let mut blocks = filter.blocks(&view);
    // The last blocks are small ones, so that no thread ends long after the others.
    blocks.sort_by_key(|entry| Reverse(entry.row.meta.spans));
    let blocks = blocks.into_iter().map(BlockWork::new).collect();
    let (begun, pass) = (AtomicUsize::new(0), Pass::new(&plan.stop));
    let pass = SpanPass { core, state: &state, plan, filter: &filter, blocks, begun, pass };
    Pass::run(folds, |fold| pass.work(fold));
    pass.pass.answer(view.len(), snapshot)
}

// === impl SpanPass ===

impl<'s> SpanPass<'s> {
    /// The work of one thread: whole blocks, and then the pages that are left of blocks that others have begun.
    fn work(&self, fold: &mut dyn TableFold) {
        let mut lists = ColumnLists::default();
        while let Some(block) = self.blocks.get(self.begun.fetch_add(1, Ordering::Relaxed)) {
            self.work_on(block, &mut lists, fold);
        }
        for block in &self.blocks {
            self.work_on(block, &mut lists, fold);
        }
    }

    fn work_on(&self, block: &BlockWork<'s>, lists: &mut ColumnLists, fold: &mut dyn TableFold) {
        if let Err(error) = self.read_pages(block, lists, fold) {
            self.core.report_damage(&block.entry, &error, &self.pass.damage);
            *block.progress.lock() = Progress::Done;
        }
    }

    fn read_pages(
        &self,
        block: &BlockWork<'s>,
        lists: &mut ColumnLists,
        fold: &mut dyn TableFold,
    ) -> Result<(), BlockError> {
        while !self.pass.is_stopped() {
            let Some(open) = self.open(block)? else { return Ok(()) };
            let page = block.begun.fetch_add(1, Ordering::Relaxed);
            let Some(page) = open.scan.pages().get(page) else {
                *block.progress.lock() = Progress::Done;
                return Ok(());
            };
            if let Some(table) = self.table(&open, *page, lists)? {
                self.pass.add(&table, fold);
            }
        }
        Ok(())
    }

    /// The open block; `None` if nothing is left of it. One thread opens it while the others wait.
    fn open(&self, block: &BlockWork<'s>) -> Result<Option<Arc<OpenBlock<'s>>>, BlockError> {
        let mut progress = block.progress.lock();
        match &*progress {
            Progress::Open(open) => return Ok(Some(open.clone())),
            Progress::Done => return Ok(None),
            Progress::Waiting => *progress = Progress::Done,
        }
        let Some(scan) = self.filter.open(&self.core.reader, &block.entry)? else { return Ok(None) };
        self.pass.count_block();
        let parts = BlockParts::new(scan.dictionary(), &self.plan.columns)?;
        let open = Arc::new(OpenBlock { scan, parts });
        *progress = Progress::Open(open.clone());
        Ok(Some(open))
    }

    /// The table of the matching rows of a page; `None` if there are none.
    fn table(
        &self,
        open: &OpenBlock<'s>,
        page: u32,
        lists: &mut ColumnLists,
    ) -> Result<Option<SpanTable>, BlockError> {
        let OpenBlock { scan, parts } = open;
        let (mut rows, mut traces) = (Vec::new(), Vec::<(TraceId, u32)>::new());
        let read = scan.each_match(page, |MatchingRow { row, trace, trace_rows, .. }| {
            let is_known = traces.last().is_some_and(|(known, _)| *known == trace);
            if !is_known {
                if self.state.deleted.hides(trace, scan.entry()) {
                    return trace_rows.end;
                }
                traces.push((trace, 0));
            }
            rows.push(row);
            if let Some((_, end)) = traces.last_mut() {
                *end = rows.len() as u32;
            }
            row + 1
        })?;
        self.pass.count_spans(read);
        if rows.is_empty() {
            return Ok(None);
        }
        let rows = PageRows { page, rows, traces };
        let FoldPlan { columns, skipped, ids, .. } = self.plan;
        let columns = ColumnsOfTable { names: columns, skipped, lists };
        page_table(&self.core.reader, scan.entry(), parts, columns, *ids, rows).map(Some)
    }
}

// === impl BlockWork ===

impl BlockWork<'_> {
    fn new(entry: Arc<BlockEntry>) -> Self {
        Self { entry, progress: Mutex::new(Progress::Waiting), begun: AtomicUsize::new(0) }
    }
}
