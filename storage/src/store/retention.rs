//! Retention by age: a window goes as a whole once its hour is older than the retention.
//!
//! The hour is that of arrival, so the age of a span's own clock does not matter.

use std::sync::Arc;

use spandrel_block::Hour;
use spandrel_proto::TenantId;

use super::BlockTraceStore;
use super::block::BlockEntry;
use super::view::View;
use crate::engine::{Change, EngineError};
use crate::failpoint::{self, Failpoint};

/// Drops the windows of a tenant that are too old. Returns how many.
pub(super) fn drop_expired(store: &BlockTraceStore, tenant: &TenantId) -> Result<usize, EngineError> {
    let Some(state) = store.tenant(tenant) else { return Ok(0) };
    let horizon = store.clock.now().minus(store.config.retention);
    let view = state.view();
    let expired: Vec<Hour> = view.hours().into_iter().filter(|hour| hour.end() <= horizon).collect();
    for hour in &expired {
        drop_window(store, tenant, &view, *hour)?;
    }
    if !expired.is_empty() {
        store.recount_traces(&state);
    }
    Ok(expired.len())
}

fn drop_window(
    store: &BlockTraceStore,
    tenant: &TenantId,
    view: &View,
    hour: Hour,
) -> Result<(), EngineError> {
    let blocks: Vec<Arc<BlockEntry>> = view.iter().filter(|entry| entry.key.hour == hour).cloned().collect();
    let removes = blocks.iter().map(|entry| entry.key.block).collect();
    failpoint::reach(Failpoint::RetentionChosen);
    store.commit(&Change { tenant: tenant.clone(), hour, adds: Vec::new(), removes })?;
    failpoint::reach(Failpoint::RetentionCommitted);
    store.replace(tenant, Vec::new(), &blocks);
    failpoint::reach(Failpoint::RetentionReplaced);
    let spans: u64 = blocks.iter().map(|entry| u64::from(entry.row.meta.spans)).sum();
    metrics::counter!("spandrel_store_expired_spans_total").increment(spans);
    tracing::info!(%tenant, hour = hour.0, blocks = blocks.len(), spans, "dropped a window that is past its retention");
    Ok(())
}
