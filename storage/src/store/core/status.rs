//! The amount of data in a store, and of each tenant.

use super::Core;
use super::tenant::TenantState;
use crate::api::StoreStatus;

impl Core {
    /// Sums up all tenants.
    pub(crate) fn status(&self) -> StoreStatus {
        let all = self.tenants.all().into_iter().map(|(_, state)| of_tenant(&state));
        let status = all.reduce(StoreStatus::and).unwrap_or_default();
        StoreStatus {
            store_bytes: self.engine.stored_bytes(),
            appended_spans: self.backlog.appended_spans(),
            damaged_blocks: self.quarantine.blocks.count(),
            wal_truncated: self.engine.wal_truncated(),
            damaged_records: self.quarantine.records.count(),
            ..status
        }
    }
}

/// The data of one tenant. Bytes are those of its blocks, before what the engine adds.
pub(crate) fn of_tenant(state: &TenantState) -> StoreStatus {
    let mut status = StoreStatus { trace_count: state.traces.lock().count(), ..StoreStatus::default() };
    for row in state.view().iter().map(|entry| &entry.row) {
        let meta = &row.meta;
        status.store_bytes += row.bytes;
        if meta.level == 0 {
            status.fresh_block_count += 1;
            status.unsealed_span_count += u64::from(meta.spans);
        }
        if meta.logs {
            status.log_row_count += u64::from(meta.spans);
            continue;
        }
        status.span_count += u64::from(meta.spans);
        status.oldest = Some(status.oldest.map_or(meta.min_start, |oldest| oldest.min(meta.min_start)));
        status.newest = status.newest.max(Some(meta.max_start));
    }
    status
}
