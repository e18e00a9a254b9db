//! A store that records, blocks, fails or panics, as a test requires.

use std::time::Instant;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use parking_lot::{Condvar, Mutex};
use prost::Message as _;
use spandrel_proto::otlp::Decoded;
use spandrel_proto::{TenantId, TimeRange, TraceId};
use spandrel_storage::plan::{AggregatePlan, ScanPlan, SearchPlan};
use spandrel_storage::table::{FoldAnswer, FoldPlan, KnownAttribute, SelectPlan, TableFold, TraceJudge};
use spandrel_storage::{
    AggregateAnswer, AppendError, DependencyAnswer, Operation, ReadError, SearchAnswer, StoreStatus,
    TraceScan, TraceSpans, TraceStore,
};

use super::PATIENCE;

#[derive(Default)]
pub struct FakeStore {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    batches: Vec<Batch>,
    begun: usize,
    is_blocked: bool,
    failure: Option<AppendError>,
    panics: bool,
}

/// The content of one append.
#[derive(Debug, Clone)]
pub struct Batch {
    pub tenant: TenantId,
    /// Bodies of the requests, in order.
    pub bodies: Vec<Bytes>,
    /// The spans of each request, rebuilt from the decoded ones.
    pub requests: Vec<ExportTraceServiceRequest>,
    pub spans: usize,
    pub log_records: u64,
}

impl FakeStore {
    /// Makes later appends wait.
    pub fn block(&self) {
        self.state.lock().is_blocked = true;
    }

    /// Lets appends continue.
    pub fn release(&self) {
        self.state.lock().is_blocked = false;
        self.changed.notify_all();
    }

    pub fn fail(&self, failure: impl Into<Option<AppendError>>) {
        self.state.lock().failure = failure.into();
    }

    pub fn set_panics(&self, panics: bool) {
        self.state.lock().panics = panics;
    }

    /// The number of appends that were begun.
    pub fn begun(&self) -> usize {
        self.state.lock().begun
    }

    pub fn batches(&self) -> Vec<Batch> {
        self.state.lock().batches.clone()
    }

    pub fn spans(&self) -> usize {
        self.state.lock().batches.iter().map(|batch| batch.spans).sum()
    }

    pub fn log_records(&self) -> u64 {
        self.state.lock().batches.iter().map(|batch| batch.log_records).sum()
    }

    /// The requests of all batches: each span with its resource and scope, equal neighbours combined.
    pub fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.state.lock().batches.iter().flat_map(|batch| batch.requests.clone()).collect()
    }

    /// The bodies of all batches.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.state.lock().batches.iter().flat_map(|batch| batch.bodies.clone()).collect()
    }
}

fn put_together(decoded: &Decoded) -> ExportTraceServiceRequest {
    let mut request = ExportTraceServiceRequest::default();
    let mut open = None;
    for span in &decoded.spans {
        if open != Some((span.resource, span.scope)) {
            let mut resource = ResourceSpans::decode(&*decoded.resources[span.resource as usize]).unwrap();
            resource.scope_spans = vec![ScopeSpans::decode(&*decoded.scopes[span.scope as usize]).unwrap()];
            request.resource_spans.push(resource);
            open = Some((span.resource, span.scope));
        }
        let scope = request.resource_spans.last_mut().unwrap().scope_spans.last_mut().unwrap();
        scope.spans.push(Span::decode(&decoded.body[span.at.clone()]).unwrap());
    }
    request
}

impl TraceStore for FakeStore {
    fn append(&self, tenant: &TenantId, requests: &[Decoded]) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        state.begun += 1;
        let deadline = Instant::now() + PATIENCE;
        while state.is_blocked {
            assert!(!self.changed.wait_until(&mut state, deadline).timed_out(), "blocked for ever");
        }
        assert!(!state.panics, "the store panics because the test says so");
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.batches.push(Batch {
            tenant: tenant.clone(),
            bodies: requests.iter().map(|request| request.body.clone()).collect(),
            requests: requests.iter().map(put_together).collect(),
            spans: requests.iter().map(|request| request.spans.len()).sum(),
            log_records: requests.iter().map(|request| request.log_records).sum(),
        });
        Ok(())
    }

    fn trace(&self, _: &TenantId, _: TraceId) -> Result<Option<TraceSpans>, ReadError> {
        Ok(None)
    }

    fn search(&self, _: &TenantId, _: &SearchPlan) -> Result<SearchAnswer, ReadError> {
        Ok(SearchAnswer::default())
    }

    fn scan(&self, _: &TenantId, _: &ScanPlan) -> Result<TraceScan<'_>, ReadError> {
        Ok(TraceScan::from_traces(Vec::new()))
    }

    fn select(
        &self,
        _: &TenantId,
        _: &SelectPlan,
        _: &mut [&mut dyn TraceJudge],
    ) -> Result<SearchAnswer, ReadError> {
        Ok(SearchAnswer::default())
    }

    fn attributes(&self, _: &TenantId, _: TimeRange) -> Result<Vec<KnownAttribute>, ReadError> {
        Ok(Vec::new())
    }

    fn fold_spans(
        &self,
        _: &TenantId,
        _: &FoldPlan,
        _: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        Ok(FoldAnswer::default())
    }

    fn fold_traces(
        &self,
        _: &TenantId,
        _: &FoldPlan,
        _: &mut [&mut dyn TableFold],
    ) -> Result<FoldAnswer, ReadError> {
        Ok(FoldAnswer::default())
    }

    fn aggregate(&self, _: &TenantId, _: &AggregatePlan) -> Result<AggregateAnswer, ReadError> {
        Ok(AggregateAnswer::default())
    }

    fn dependencies(&self, _: &TenantId, _: TimeRange) -> Result<DependencyAnswer, ReadError> {
        Ok(DependencyAnswer::default())
    }

    fn services(&self, _: &TenantId) -> Vec<String> {
        Vec::new()
    }

    fn operations(&self, _: &TenantId, _: &str) -> Vec<Operation> {
        Vec::new()
    }

    fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }

    fn tenant_status(&self, _: &TenantId) -> StoreStatus {
        StoreStatus::default()
    }

    fn tenants(&self) -> Vec<TenantId> {
        Vec::new()
    }

    fn refusal(&self) -> Option<AppendError> {
        None
    }
}
