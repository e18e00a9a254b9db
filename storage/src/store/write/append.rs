//! Appends: the spans of several requests become one fresh block, written in one commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use spandrel_block::{BlockKey, BlockWriter, FinishedBlock, Hour, RowKey, WriteError};
use spandrel_proto::TenantId;
use spandrel_proto::otlp::{Decoded, SpanKey};

use crate::api::AppendError;
use crate::engine::{Change, EngineError, NewBlock};
use crate::failpoint::{self, Failpoint};
use crate::store::BlockTraceStore;
use crate::store::Clock;
use crate::store::MaxAssign;
use crate::store::core::block_reader::BlockEntry;
use crate::store::core::view::TenantState;
use crate::store::read::merge_iter::Seen;

impl BlockTraceStore {
    /// The window of what arrives now. The clock may run backwards; windows never do.
    pub(crate) fn arrival_hour(&self) -> Hour {
        let mut last = self.last_hour.lock();
        last.max_assign(Hour::of(self.clock.now()));
        *last
    }

    pub(crate) fn store_batch(
        &self,
        tenant: &TenantId,
        requests: &[Decoded],
        sequence: u64,
    ) -> Result<(), AppendError> {
        let broken = |error: WriteError| AppendError::Poisoned(error.to_string());
        let Some(block) = fresh_block(requests, sequence, &*self.clock).map_err(broken)? else {
            return Ok(());
        };
        let id = self.next_block_id();
        let row = block.row.encode().map_err(|error| AppendError::Poisoned(error.to_string()))?;
        let add = NewBlock { id, bytes: block.bytes.clone(), row, short_lived: true, index: Vec::new() };
        let change = Change {
            tenant: tenant.clone(),
            hour: self.arrival_hour(),
            adds: vec![add],
            removes: Vec::new(),
        };
        failpoint::reach(Failpoint::AppendBuilt);
        self.commit(&change).map_err(|error| self.write_failed(error))?;
        failpoint::reach(Failpoint::AppendCommitted);
        self.last_append.store(self.clock.now().0, Ordering::Relaxed);
        self.untidy.store(true, Ordering::Relaxed);
        let spans = u64::from(block.row.meta.spans);
        let state = self.tenant_or_new(tenant);
        let entry = self.know_fresh(&state, change.key(id), block, false);
        state.change([entry], &[]);
        self.appended_spans.fetch_add(spans, Ordering::Relaxed);
        Ok(())
    }

    /// Makes a fresh block known that was written just now, of an append or of what a merge has `left`. Its entry
    /// comes into the view next.
    pub(crate) fn know_fresh(
        &self,
        state: &TenantState,
        key: BlockKey,
        block: FinishedBlock,
        left: bool,
    ) -> Arc<BlockEntry> {
        let filter = block.filter.map(Arc::new);
        let held = state.add_fresh(key.block, &block.traces)
            + filter.as_ref().map_or(0, |filter| filter.size() as u64);
        let entry = BlockEntry { filter, held, left, ..BlockEntry::new(key, block.row) };
        self.waits(&entry);
        Arc::new(entry)
    }

    fn write_failed(&self, error: EngineError) -> AppendError {
        match error {
            EngineError::NoSpace(_) => AppendError::DiskFull {
                free: self.engine.free_bytes().unwrap_or(0),
                needed: self.config.reserve_bytes,
            },
            other => AppendError::Poisoned(format!("{other}{}", other.advice())),
        }
    }
}

/// The spans of several requests as one sorted block; `None` without spans.
fn fresh_block(
    requests: &[Decoded],
    sequence: u64,
    clock: &dyn Clock,
) -> Result<Option<FinishedBlock>, WriteError> {
    let mut order: Vec<(RowKey, u32, u32)> = Vec::with_capacity(requests.iter().map(|r| r.spans.len()).sum());
    for (request, decoded) in requests.iter().enumerate() {
        let keyed = decoded.spans.iter().enumerate();
        order.extend(
            keyed.map(|(at, s)| (RowKey::new(s.trace_id, s.start.0, s.span_id), request as u32, at as u32)),
        );
    }
    if order.is_empty() {
        return Ok(None);
    }
    order.sort_unstable();
    let mut writer = BlockWriter::fresh()?;
    let mut resources: Vec<Vec<Option<u32>>> =
        requests.iter().map(|r| vec![None; r.resources.len()]).collect();
    let mut scopes: Vec<Vec<Option<u32>>> = requests.iter().map(|r| vec![None; r.scopes.len()]).collect();
    // Rows already written that have the key of the current one: what duplicates are compared with.
    let mut group: Seen<(u32, u32, &[u8])> = Seen::default();
    let mut group_key = None;
    for (key, request, at) in order {
        let decoded = &requests[request as usize];
        let span = &decoded.spans[at as usize];
        let resource = match &mut resources[request as usize][span.resource as usize] {
            Some(known) => *known,
            slot => *slot.insert(writer.resource(&decoded.resources[span.resource as usize])?),
        };
        let scope = match &mut scopes[request as usize][span.scope as usize] {
            Some(known) => *known,
            slot => *slot.insert(writer.scope(&decoded.scopes[span.scope as usize])),
        };
        if group_key != Some(key) {
            group.clear();
            group_key = Some(key);
        }
        let row = (resource, scope, &decoded.body[span.at.clone()]);
        if group.insert(row) {
            let key = SpanKey { trace_id: span.trace_id, start: span.start.0, span_id: span.span_id };
            writer.push_known(resource, scope, key, row.2, sequence)?;
        }
    }
    writer.finish(0, clock.now()).map(Some)
}
