//! Counts of spans that a rule has let go: aggregates still add them up.
//!
//! Before spans leave their blocks, what the blocks' rollups said of them is put into a record of
//! their window, which names the blocks that it stands for. It counts where none of those is in view:
//! so record and commit need not be one step, and no reader counts a span twice or never. Records go
//! with a retention of their own. Spans that a deletion takes are not counted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spandrel_block::{BlockId, Hour, LatencySketch, MINUTE, RowFlags, record, semantics};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{ResourceView, SpanView};
use spandrel_proto::{TenantId, TimeRange, UnixNanos};

use crate::api::Damage;
use crate::engine::{EngineError, Records};
use crate::failpoint::{self, Failpoint};
use crate::store::BlockTraceStore;
use crate::store::TenantState;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::View;
use crate::store::read::merge_iter::SpanRow;
use crate::store::write::rewrite;

/// Spans of one minute, operation, kind and parenthood.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Count {
    minute: u32,
    pub(crate) service: String,
    pub(crate) operation: String,
    flags: u8,
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) latency: LatencySketch,
}

/// A record of counts, without the counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    id: u64,
    tenant: TenantId,
    hour: Hour,
    /// The blocks that held the spans.
    instead_of: Vec<u64>,
    first_minute: u32,
    last_minute: u32,
}

/// Counts in the making.
#[derive(Default)]
pub(crate) struct Counter(HashMap<(u32, String, String, u8), Count>);

/// The kinds of the engine's records: which counts there are, and (with a name behind it) the counts.
pub(crate) const RECORD: &str = "counted";
const COUNTS_RECORD: &str = "counts-";
pub(crate) const VERSION: u8 = 1;
/// The bits of the flags that tell requests and kinds apart, as in a block's rollups.
const KIND_AND_PARENT: u8 = 0b0100_0111;

// === impl Counter ===

impl Counter {
    /// Counts a span.
    pub(crate) fn add(&mut self, row: &SpanRow) -> Result<(), WireError> {
        let (span, resource) = (SpanView::parse(&row.span)?, ResourceView::parse(&row.resource)?);
        let minute = (span.start / MINUTE) as u32;
        let flags = RowFlags::of(&span, row.failed).0 & KIND_AND_PARENT;
        let (service, operation) = (semantics::service_name(&resource).to_owned(), span.name.to_owned());
        let key = (minute, service.clone(), operation.clone(), flags);
        let count = self.0.entry(key).or_insert_with(|| Count {
            minute,
            service,
            operation,
            flags,
            count: 0,
            errors: 0,
            latency: LatencySketch::default(),
        });
        count.count += 1;
        count.errors += u64::from(row.failed);
        count.latency.add(span.duration());
        Ok(())
    }

    /// Counts every span of blocks that go, but for what a deletion takes; a block that cannot be read counts
    /// for nothing.
    pub(crate) fn add_blocks(
        &mut self,
        store: &BlockTraceStore,
        state: &TenantState,
        blocks: &[Arc<BlockEntry>],
    ) {
        let readable: Vec<_> = blocks.iter().filter(|entry| !store.is_damaged(entry)).cloned().collect();
        let Ok(mut rows) = rewrite::read(store, &readable) else { return };
        for row in rows.by_ref().filter(|row| !state.is_deleted(row.key.trace(), row.sequence)) {
            // A span that does not decode was not counted before, either.
            let _ = self.add(&row);
        }
        let _ = rewrite::check(store, rows.take_failed());
    }
}

// === impl Count ===

impl Count {
    /// The first nanosecond of its minute.
    pub(crate) fn start(&self) -> u64 {
        u64::from(self.minute).saturating_mul(MINUTE)
    }

    /// Kind and parent of its spans.
    pub(crate) fn flags(&self) -> RowFlags {
        RowFlags(self.flags)
    }

    /// Whether some of its spans may have started in the range.
    pub(crate) fn touches(&self, range: &TimeRange) -> bool {
        range.touches(UnixNanos(self.start()), UnixNanos(self.start().saturating_add(MINUTE - 1)))
    }
}

// === impl Counted ===

impl Counted {
    fn name(&self) -> String {
        format!("{:016x}", self.id)
    }

    fn counts_for(&self, view: &View) -> bool {
        !self.instead_of.iter().any(|block| view.get(BlockId(*block)).is_some())
    }
}

// === impl BlockTraceStore ===

impl BlockTraceStore {
    /// Reads which counts there are. Those of blocks that are still there come from a step that was
    /// killed before its commit.
    pub(crate) fn load_counts(&self) -> Result<(), EngineError> {
        for (name, bytes) in self.engine.records(RECORD)? {
            let counted: Counted = match read(&name, &bytes) {
                Ok(counted) => counted,
                Err(error) => {
                    self.set_counts_aside(name, &error)?;
                    continue;
                }
            };
            self.see_block(BlockId(counted.id));
            let state = self.tenant_or_new(&counted.tenant);
            if counted.counts_for(&state.view()) {
                state.counted.write().push(Arc::new(counted));
            } else {
                self.remove_counts(&counted)?;
            }
        }
        Ok(())
    }

    /// Counts of which nobody can tell whose they are, and which blocks they stand for: no answer is whole without
    /// them, until they would have gone anyway. Where the counts themselves can be read, their last minute is about
    /// their time; where not, they stay as long as if they were new.
    fn set_counts_aside(&self, name: String, error: &EngineError) -> Result<(), EngineError> {
        if let Ok(id) = u64::from_str_radix(&name, 16) {
            self.see_block(BlockId(id));
        }
        let rows = self.engine.records(&format!("{COUNTS_RECORD}{name}"))?;
        let minutes = rows.iter().filter_map(|(_, bytes)| read::<Vec<Count>>(&name, bytes).ok()).flatten();
        let last = minutes.map(|count| u64::from(count.minute).saturating_mul(MINUTE)).max();
        self.damaged_records.report(error, "aggregates lack what a rule has let go");
        self.lost_counts.lock().insert(name, last.map_or_else(|| self.clock.now(), UnixNanos));
        Ok(())
    }

    /// Lets damaged counts go that have outlived their retention by now.
    pub(crate) fn drop_expired_lost_counts(&self) -> Result<(), EngineError> {
        let horizon = self.clock.now().minus(self.config.rollup_retention());
        let lost = self.lost_counts.lock().clone();
        for (name, _) in lost.into_iter().filter(|(_, last)| *last <= horizon) {
            self.engine.put_record(&format!("{COUNTS_RECORD}{name}"), "", None)?;
            self.engine.put_record(RECORD, &name, None)?;
            self.lost_counts.lock().remove(&name);
        }
        Ok(())
    }

    /// Keeps counts of spans that are about to leave some blocks. They count from the commit on.
    pub(crate) fn keep_counts(
        &self,
        (tenant, state, hour): (&TenantId, &TenantState, Hour),
        counter: Counter,
        blocks: &HashSet<BlockId>,
    ) -> Result<Option<Arc<Counted>>, EngineError> {
        let counts: Vec<Count> = counter.0.into_values().collect();
        let minutes = || counts.iter().map(|count| count.minute);
        let (Some(first_minute), Some(last_minute)) = (minutes().min(), minutes().max()) else {
            return Ok(None);
        };
        let counted = Arc::new(Counted {
            id: self.next_block_id().0,
            tenant: tenant.clone(),
            hour,
            instead_of: blocks.iter().map(|block| block.0).collect(),
            first_minute,
            last_minute,
        });
        let unwritable = |error: record::RecordError| EngineError::Io(error.to_string());
        let list = record::encode(VERSION, &*counted).map_err(unwritable)?;
        let rows = record::encode(VERSION, &counts).map_err(unwritable)?;
        // What is listed is there to be removed, whatever comes in between.
        self.engine.put_record(RECORD, &counted.name(), Some(&list))?;
        failpoint::reach(Failpoint::CountsListed);
        self.engine.put_record(&rows_kind(&counted), "", Some(&rows))?;
        failpoint::reach(Failpoint::CountsWritten);
        state.counted.write().push(counted.clone());
        Ok(Some(counted))
    }

    /// Lets counts go: their time is over, or the commit that they were for has failed.
    pub(crate) fn drop_counts(&self, state: &TenantState, counted: &Arc<Counted>) -> Result<(), EngineError> {
        state.counted.write().retain(|known| known != counted);
        self.remove_counts(counted)
    }

    fn remove_counts(&self, counted: &Counted) -> Result<(), EngineError> {
        self.engine.put_record(&rows_kind(counted), "", None)?;
        failpoint::reach(Failpoint::CountsDropped);
        self.engine.put_record(RECORD, &counted.name(), None)
    }

    /// Lets the counts of a tenant go that have outlived their retention.
    pub(crate) fn drop_expired_counts(&self, state: &TenantState) -> Result<(), EngineError> {
        let horizon = self.clock.now().minus(self.config.rollup_retention());
        let expired: Vec<_> =
            state.counted.read().iter().filter(|counted| counted.hour.end() <= horizon).cloned().collect();
        expired.iter().try_for_each(|counted| self.drop_counts(state, counted))
    }

    /// The counts of spans that are not in the view any more and may have started in the range; the rest of them
    /// where some are damaged.
    pub(crate) fn counts(
        &self,
        state: &TenantState,
        view: &View,
        range: &TimeRange,
        damage: &Damage,
    ) -> Result<Vec<Count>, EngineError> {
        self.lost_counts.lock().keys().for_each(|_| damage.add());
        let listed = state.counted.read().clone();
        let mut found = Vec::new();
        for counted in listed.iter().filter(|counted| counted.counts_for(view)) {
            let begin = u64::from(counted.first_minute).saturating_mul(MINUTE);
            let end = u64::from(counted.last_minute).saturating_mul(MINUTE).saturating_add(MINUTE - 1);
            if !range.touches(UnixNanos(begin), UnixNanos(end)) {
                continue;
            }
            for (_, bytes) in self.engine.records(&rows_kind(counted))? {
                match read::<Vec<Count>>(&counted.name(), &bytes) {
                    Ok(rows) => found.extend(rows.into_iter().filter(|count| count.touches(range))),
                    Err(error) => {
                        damage.add();
                        self.damaged_records.report(&error, "aggregates lack what a rule has let go");
                    }
                }
            }
        }
        Ok(found)
    }
}

fn rows_kind(counted: &Counted) -> String {
    format!("{COUNTS_RECORD}{}", counted.name())
}

fn read<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, EngineError> {
    record::decode(VERSION, bytes)
        .map_err(|error| EngineError::Io(format!("the record of counts {name}: {error}")))
}

/// What is wrong with those that cannot be read. A list without counts is what a kill between the two leaves.
pub(crate) fn unreadable(engine: &dyn Records) -> Result<Vec<EngineError>, EngineError> {
    let mut found = Vec::new();
    for (name, bytes) in engine.records(RECORD)? {
        found.extend(read::<Counted>(&name, &bytes).err());
        let rows = engine.records(&format!("{COUNTS_RECORD}{name}"))?;
        found.extend(rows.iter().filter_map(|(_, bytes)| read::<Vec<Count>>(&name, bytes).err()));
    }
    Ok(found)
}

/// The kinds of all records of counts, the list of them first.
pub(crate) fn record_kinds(engine: &dyn Records) -> Result<Vec<String>, EngineError> {
    let listed = engine.records(RECORD)?.into_iter();
    let rows = listed.map(|(name, _)| format!("{COUNTS_RECORD}{name}"));
    Ok(std::iter::once(RECORD.to_owned()).chain(rows).collect())
}
