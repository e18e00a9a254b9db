//! `GET /api/v1/dependencies`: which services call which.

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use spandrel_proto::TenantId;
use spandrel_storage::Dependency;

use super::{Answer, json};
use crate::params::Params;
use crate::state::QueryState;
use crate::times;

#[derive(Serialize)]
struct Dependencies {
    edges: Vec<Edge>,
    partial: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Edge {
    caller: String,
    callee: String,
    kind: &'static str,
    call_count: u64,
    error_count: u64,
    p50_nano: u64,
    p95_nano: u64,
    p99_nano: u64,
    exemplar_trace_ids: Vec<String>,
}

pub(super) async fn get(State(state): State<QueryState>, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &["start", "end"])?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let answer = state.ask(move |store| Ok(store.dependencies(&TenantId::default(), range)?)).await?;
    json(&Dependencies { edges: answer.edges.into_iter().map(Edge::from).collect(), partial: answer.partial })
}

// === impl Edge ===

impl From<Dependency> for Edge {
    fn from(dependency: Dependency) -> Self {
        let totals = &dependency.totals;
        Self {
            kind: dependency.kind.name(),
            call_count: totals.count,
            error_count: totals.errors,
            p50_nano: totals.latency.quantile(0.5),
            p95_nano: totals.latency.quantile(0.95),
            p99_nano: totals.latency.quantile(0.99),
            exemplar_trace_ids: totals.exemplars().iter().map(|call| call.trace.to_string()).collect(),
            caller: dependency.caller,
            callee: dependency.callee,
        }
    }
}
