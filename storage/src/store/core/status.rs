//! The amount of data in a store.

use super::Core;
use crate::api::StoreStatus;

impl Core {
    /// Sums up all tenants.
    pub(crate) fn status(&self) -> StoreStatus {
        let mut status = StoreStatus {
            store_bytes: self.engine.stored_bytes(),
            appended_spans: self.backlog.appended_spans(),
            damaged_blocks: self.quarantine.blocks.count(),
            wal_truncated: self.engine.wal_truncated(),
            damaged_records: self.quarantine.records.count(),
            ..StoreStatus::default()
        };
        for (_, state) in self.tenants.all() {
            status.trace_count += state.traces.lock().count();
            for meta in state.view().iter().map(|entry| &entry.row.meta) {
                status.span_count += u64::from(meta.spans);
                if meta.level == 0 {
                    status.fresh_block_count += 1;
                    status.unsealed_span_count += u64::from(meta.spans);
                }
                status.oldest =
                    Some(status.oldest.map_or(meta.min_start, |oldest| oldest.min(meta.min_start)));
                status.newest = status.newest.max(Some(meta.max_start));
            }
        }
        status
    }
}
