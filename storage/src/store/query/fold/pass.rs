//! A pass of several threads: who runs them, and what they share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::api::Damage;
use crate::plan::Stop;
use crate::scanned::Scanned;
use crate::table::{FoldAnswer, SpanTable, TableFold};

/// What the threads of a pass share.
#[derive(Default)]
pub(super) struct Pass {
    /// The plan's.
    stop: Stop,
    pub(super) damage: Damage,
    /// The pass ends early.
    stopped: AtomicBool,
    /// More traces match than are looked at.
    cut: AtomicBool,
    blocks_read: AtomicU64,
    spans: AtomicU64,
}

// === impl Pass ===

impl Pass {
    pub(super) fn new(stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..Self::default() }
    }

    /// Does work for each fold, each in a thread of its own. The threads have to share the work out among themselves:
    /// where the system refuses a thread, the others do its part.
    pub(super) fn run(folds: &mut [&mut dyn TableFold], work: impl Fn(&mut dyn TableFold) + Sync) {
        let Some((first, others)) = folds.split_first_mut() else { return };
        thread::scope(|scope| {
            for fold in others {
                let work = &work;
                let begun = thread::Builder::new().spawn_scoped(scope, move || work(&mut **fold));
                if let Err(error) = begun {
                    tracing::warn!(%error, "a query has fewer threads than it could use");
                }
            }
            work(&mut **first);
        });
    }

    /// Gives a table to a fold, unless it is empty.
    pub(super) fn add(&self, table: &SpanTable, fold: &mut dyn TableFold) {
        if table.rows() > 0 && !fold.add(table) {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a fold has ended the pass, or the plan's signal does.
    pub(super) fn is_stopped(&self) -> bool {
        if self.stop.is_set() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub(super) fn count_block(&self) {
        self.blocks_read.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_spans(&self, spans: u64) {
        self.spans.fetch_add(spans, Ordering::Relaxed);
    }

    /// The answer of a pass over so many blocks, as of a commit.
    pub(super) fn answer(self, blocks: usize, snapshot: u64) -> FoldAnswer {
        let partial = self.stopped.load(Ordering::Relaxed) || self.is_cut() || self.damage.blocks() > 0;
        let (blocks_read, spans) = (self.blocks_read.into_inner(), self.spans.into_inner());
        FoldAnswer { partial, snapshot, scanned: Scanned { blocks: blocks as u64, blocks_read, spans } }
    }
}
