//! What ranks a whole trace in orders other than *newest first*, from its columns.

use std::collections::HashMap;

use spandrel_block::{BlockId, RowFlags, RowRange};
use spandrel_proto::TraceId;

use super::Finder;
use crate::plan::Order;
use crate::store::core::block_reader::{BlockEntry, BlockError};
use crate::store::read::trace_reader::{self, Part};

/// Facts about a whole trace.
#[derive(Default)]
struct TraceFacts {
    start: Option<u64>,
    end: u64,
    spans: u64,
    errors: u64,
}

/// Detects that two blocks may contain the same span.
#[derive(Default)]
struct DuplicateDetector {
    known: HashMap<(u64, u64, u8), BlockId>,
    suspected: bool,
}

// === impl Finder ===

impl Finder<'_> {
    /// The key by which the plan orders a trace, as of the snapshot; larger ones come first. `None` if no span of it is
    /// visible.
    pub(super) fn key_of(&self, trace: TraceId, parts: &[Part]) -> Option<u64> {
        let mut facts = TraceFacts::default();
        let counts = matches!(self.plan.order, Order::MostSpans | Order::MostErrors);
        // A block contains each span once; several blocks may contain the same span.
        let mut duplicates = (counts && parts.len() > 1).then(DuplicateDetector::default);
        for (entry, rows) in parts {
            let added = match self.plan.order {
                Order::Newest | Order::Oldest => self.add_start(&mut facts, entry, *rows),
                _ => self.add_facts(&mut facts, entry, *rows, &mut duplicates),
            };
            if let Err(error) = added {
                self.core.report_damage(entry, &error, &self.damage);
            }
        }
        if duplicates.is_some_and(|duplicates| duplicates.suspected) {
            self.count_once(&mut facts, trace, parts.to_vec());
        }
        let start = facts.start?;
        Some(match self.plan.order {
            Order::Newest => start,
            Order::Oldest => !start,
            Order::Longest => facts.end - start,
            Order::Shortest => !(facts.end - start),
            Order::MostSpans => facts.spans,
            Order::MostErrors => facts.errors,
        })
    }

    /// Adds the start of a trace in a block only.
    fn add_start(
        &self,
        facts: &mut TraceFacts,
        entry: &BlockEntry,
        rows: RowRange,
    ) -> Result<(), BlockError> {
        if let Some(start) = self.first_start(entry, rows)? {
            facts.see_start(start);
        }
        Ok(())
    }

    fn add_facts(
        &self,
        facts: &mut TraceFacts,
        entry: &BlockEntry,
        rows: RowRange,
        duplicates: &mut Option<DuplicateDetector>,
    ) -> Result<(), BlockError> {
        let dictionary = self.core.reader.dictionary(entry)?;
        trace_reader::each_row(self.core, entry, rows, |page, row| {
            if page.sequence[row] <= self.snapshot {
                let (start, duration) = (page.start[row], page.duration[row]);
                let flags = dictionary.flags(page.class[row]);
                facts.see_start(start);
                facts.end = facts.end.max(start.checked_add(duration).unwrap_or(start));
                facts.spans += 1;
                facts.errors += u64::from(flags.failed());
                if let Some(duplicates) = duplicates {
                    duplicates.see(entry.key.block, start, duration, flags);
                }
            }
            true
        })
    }

    /// Counts spans by decoding them, because columns cannot identify duplicates.
    fn count_once(&self, facts: &mut TraceFacts, trace: TraceId, parts: Vec<Part>) {
        (facts.spans, facts.errors) = (0, 0);
        let rows = self.traces().merged_parts(trace, parts, &self.damage);
        for row in rows.filter(|row| row.sequence <= self.snapshot) {
            facts.spans += 1;
            facts.errors += u64::from(row.failed);
        }
    }
}

// === impl TraceFacts, DuplicateDetector ===

impl DuplicateDetector {
    fn see(&mut self, block: BlockId, start: u64, duration: u64, flags: RowFlags) {
        let first = *self.known.entry((start, duration, flags.0)).or_insert(block);
        self.suspected |= first != block;
    }
}

impl TraceFacts {
    fn see_start(&mut self, start: u64) {
        self.start = Some(self.start.map_or(start, |known| known.min(start)));
    }
}
