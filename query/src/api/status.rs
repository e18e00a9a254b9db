//! `GET /api/v1/status`: the size of the store, the rate of ingest, and the limits.

use axum::http::Uri;
use serde_json::{Map, Value};
use spandrel_storage::TraceStore;

use super::handler::{Answer, Asked, json};
use crate::answers::Status;
use crate::params::Params;
use crate::state::QueryState;

/// Callers of some tenants alone see the size of those, and nothing of the store as a whole.
pub(super) async fn get(Asked { state, tenant, sees_server, .. }: Asked, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let status = move |store: &dyn TraceStore| match sees_server {
        true => store.status(),
        false => store.tenant_status(&tenant),
    };
    let status = state.run_query(move |store| Ok(status(store))).await?;
    json(&Status {
        version: state.config().version.clone(),
        span_count: status.span_count,
        trace_count: status.trace_count,
        log_row_count: status.log_row_count,
        store_bytes: status.store_bytes,
        fresh_block_count: status.fresh_block_count,
        damaged_block_count: status.damaged_blocks,
        damaged_record_count: status.damaged_records,
        log_was_cut: status.wal_truncated,
        unsealed_span_count: status.unsealed_span_count,
        oldest_unix_nano: status.oldest.map(|at| at.to_string()),
        newest_unix_nano: status.newest.map(|at| at.to_string()),
        ingest_spans_per_second: if sees_server { state.ingest_spans_per_second() } else { 0.0 },
        ingest_delays: if sees_server { state.config().ingest_delays.get() } else { Vec::new() },
        topic_readers: if sees_server { state.config().topic_readers.get() } else { Vec::new() },
        listen: state.config().listen.clone(),
        encrypted: state.config().encrypted.clone(),
        limits: limits(&state),
    })
}

/// The limits of all parts of the server, those of queries included.
fn limits(state: &QueryState) -> Map<String, Value> {
    let config = state.config();
    let mut limits = config.limits.clone();
    limits.insert("maxTreeSpans".to_owned(), config.max_tree_spans.into());
    limits.insert("maxSearchLimit".to_owned(), config.max_search_limit.into());
    limits.insert("maxAggregatePoints".to_owned(), config.max_aggregate_points.into());
    limits.insert("maxConcurrentQueries".to_owned(), config.max_concurrent_queries.into());
    for (name, time) in [("queueTimeout", config.queue_timeout), ("stallTimeout", config.stall_timeout)] {
        limits.insert(name.to_owned(), format!("{time:?}").into());
    }
    limits.insert("maxQueryBytes".to_owned(), spandrel_traceql::MAX_QUERY_BYTES.into());
    limits.insert("maxQueryDepth".to_owned(), spandrel_traceql::MAX_NESTING.into());
    limits.insert("maxQueryRegexes".to_owned(), spandrel_traceql::MAX_REGEXES.into());
    limits
}
