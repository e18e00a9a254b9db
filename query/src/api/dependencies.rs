//! `GET /api/v1/dependencies`: which services call which.

use axum::http::Uri;
use spandrel_storage::Dependency;

use super::handler::{Answer, Asked, json};
use crate::answers::{DependenciesAnswer, DependencyEdge};
use crate::params::Params;
use crate::times;

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &["start", "end"])?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let answer = state.run_query(move |store| Ok(store.dependencies(&tenant, range)?)).await?;
    let edges = answer.edges.into_iter().map(DependencyEdge::from).collect();
    json(&DependenciesAnswer { edges, partial: answer.partial })
}

// === impl DependencyEdge ===

impl From<Dependency> for DependencyEdge {
    fn from(dependency: Dependency) -> Self {
        let totals = &dependency.totals;
        Self {
            kind: dependency.kind.name().into(),
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
