//! `GET /api/v1/dependencies`: which services call which.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Uri;
use spandrel_engine::requests;
use spandrel_mesh::workload::{Namespaces, Workload};
use spandrel_storage::{Dependency, EdgeKind, EdgeTotals};

use super::fold::{Fold, fold};
use super::handler::{Answer, Asked, json};
use crate::answers::{DependenciesAnswer, DependencyEdge, DependencyWorkload};
use crate::params::Params;
use crate::{question, times};

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &["start", "end", "fold"])?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    if fold(&params)? == Fold::Nothing {
        let answer = state.run_query(move |store| Ok(store.dependencies(&tenant, range)?)).await?;
        let edges = answer.edges.into_iter().map(DependencyEdge::from).collect();
        return json(&DependenciesAnswer { edges, workloads: None, partial: answer.partial });
    }
    let answer = question::run(&state, move |store, budget| {
        let answer = store.dependencies(&tenant, range)?;
        let (told, partial) = requests::workloads(store, &tenant, range, budget)?;
        Ok(Folded::of(answer.edges, told).answer(answer.partial || partial.is_some()))
    })
    .await?;
    json(&answer)
}

/// Edges between workloads.
struct Folded {
    edges: BTreeMap<(String, String, EdgeKind), EdgeTotals>,
    /// The namespace of a workload, and the services behind it.
    workloads: BTreeMap<String, (String, BTreeSet<String>)>,
}

// === impl Folded ===

impl Folded {
    /// Gives the services of proxies the names of their workloads. A call between two services of one workload is no
    /// call: it is that of an application to its own proxy, or of a proxy to its own application.
    fn of(edges: Vec<Dependency>, told: BTreeMap<String, Workload>) -> Self {
        let services: BTreeSet<String> =
            edges.iter().flat_map(|edge| [edge.caller.clone(), edge.callee.clone()]).collect();
        let of_service = |service: &String| {
            let unknown = || Workload { name: service.clone(), namespace: String::new() };
            told.get(service).cloned().unwrap_or_else(unknown)
        };
        let namespaces = Namespaces::of(services.iter().map(of_service));
        let mut labels = BTreeMap::new();
        let mut workloads: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
        for service in services {
            let workload = namespaces.complete(of_service(&service));
            let label = namespaces.label(workload.clone());
            let of_label = workloads.entry(label.clone()).or_insert((workload.namespace, BTreeSet::new()));
            of_label.1.insert(service.clone());
            labels.insert(service, label);
        }
        let mut folded: BTreeMap<(String, String, EdgeKind), EdgeTotals> = BTreeMap::new();
        for edge in edges {
            let (caller, callee) = (&labels[&edge.caller], &labels[&edge.callee]);
            if caller != callee {
                let key = (caller.clone(), callee.clone(), edge.kind);
                folded.entry(key).or_default().merge(&edge.totals);
            }
        }
        Self { edges: folded, workloads }
    }

    fn answer(self, partial: bool) -> DependenciesAnswer {
        let edge = |((caller, callee, kind), totals)| Dependency { caller, callee, kind, totals }.into();
        let workload = |(name, (namespace, services)): (String, (String, BTreeSet<String>))| {
            DependencyWorkload { name, namespace, services: services.into_iter().collect() }
        };
        DependenciesAnswer {
            edges: self.edges.into_iter().map(edge).collect(),
            workloads: Some(self.workloads.into_iter().map(workload).collect()),
            partial,
        }
    }
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
