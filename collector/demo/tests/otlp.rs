//! The demo over a real socket: a small OTLP/gRPC receiver counts what arrives.
#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use spandrel_demo::{DemoConfig, DemoReport, run};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// Stores the spans that it receives, until it begins to refuse.
#[derive(Clone)]
struct Receiver {
    received: Arc<Mutex<Vec<ResourceSpans>>>,
    span_count: watch::Sender<usize>,
    refusal: Option<Refusal>,
}

/// The code of refusals, and the number of spans that are accepted before.
#[derive(Clone, Copy)]
struct Refusal {
    after: usize,
    code: Code,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans;
        let count = span_count(&spans);
        self.span_count.send_modify(|total| *total += count);
        let total = *self.span_count.borrow();
        if let Some(refusal) = self.refusal.filter(|refusal| count > 0 && total > refusal.after) {
            return Err(Status::new(refusal.code, "refused by the test"));
        }
        // The demo's first request, which has no spans, only probes the server.
        self.received.lock().unwrap().extend(spans.into_iter().filter(|spans| !spans.scope_spans.is_empty()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Runs the demo against a receiver until that has seen `enough` spans.
async fn play(enough: usize, refusal: Option<Refusal>) -> (DemoReport, Vec<ResourceSpans>) {
    let (span_count, mut counted) = watch::channel(0);
    let receiver = Receiver { received: Arc::default(), span_count, refusal };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(receiver.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(server);

    let config = DemoConfig { endpoint, rate: 20.0, duration: None, seed: Some(1), authorization: None };
    let seen_enough = async move {
        counted.wait_for(|count| *count >= enough).await.unwrap();
    };
    let report =
        tokio::time::timeout(Duration::from_secs(60), run(config, seen_enough)).await.unwrap().unwrap();
    server.abort();
    let received = std::mem::take(&mut *receiver.received.lock().unwrap());
    (report, received)
}

fn span_count(spans: &[ResourceSpans]) -> usize {
    spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
}

fn attribute(resource: &Resource, key: &str) -> String {
    let found = resource.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()).and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(value)) => value.clone(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_arrives_with_its_resource() {
    let (report, received) = play(1_500, None).await;
    assert_eq!(report.exported, span_count(&received) as u64);
    assert_eq!((report.exported, report.failed, report.dropped), (report.spans, 0, 0));
    assert!(report.traces > 50, "{report:?}");

    let resources: Vec<_> = received.iter().filter_map(|spans| spans.resource.as_ref()).collect();
    let distinct = |key| resources.iter().map(|resource| attribute(resource, key)).collect::<HashSet<_>>();
    assert!(distinct("service.name").is_superset(&HashSet::from(
        ["gateway", "frontend", "catalogue", "cart", "checkout", "payment", "shipping"].map(str::to_owned)
    )));
    assert!(distinct("service.instance.id").len() >= 15);
    assert_eq!(distinct("telemetry.sdk.name"), HashSet::from(["opentelemetry".to_owned()]));
    assert_eq!(distinct("service.namespace"), HashSet::from(["shop".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_exports_are_counted() {
    let (report, received) = play(500, Some(Refusal { after: 0, code: Code::InvalidArgument })).await;
    assert!(received.is_empty());
    assert_eq!((report.exported, report.failed, report.dropped), (0, report.spans, 0));
    assert!(report.failed_exports > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_ends_nothing_and_hides_nothing() {
    let (report, received) = play(1_500, Some(Refusal { after: 500, code: Code::Unavailable })).await;
    assert_eq!(report.exported, span_count(&received) as u64);
    assert_eq!(report.exported + report.failed + report.dropped, report.spans);
    assert!(report.exported > 0 && report.failed > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_ends_the_wait_for_a_server() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = DemoConfig { endpoint: format!("http://{closed}"), ..DemoConfig::default() };
    let report = tokio::time::timeout(Duration::from_secs(5), run(config, async {})).await.unwrap().unwrap();
    assert_eq!(report, DemoReport::default());
}
