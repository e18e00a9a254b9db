//! A running collector, its senders, and their requests.

mod client;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use spandrel_collector::{Agent, AgentProtocol, Clock, Collector, CollectorConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use client::{Grpc, Reply, RpcStatus, framed, post, post_chunked, send, send_raw};
pub use store::FakeStore;

/// The deadline of every wait; only a failing test reaches it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A collector that listens on both transports.
pub struct Server {
    pub collector: Collector,
    pub store: Arc<FakeStore>,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub zipkin: SocketAddr,
    pub jaeger_grpc: SocketAddr,
    pub jaeger_http: SocketAddr,
    pub datadog: SocketAddr,
    pub skywalking: SocketAddr,
    recorder: PrometheusRecorder,
    listeners: Vec<JoinHandle<()>>,
}

impl Server {
    pub async fn start(config: CollectorConfig) -> Self {
        Self::start_with_clock(config, Arc::new(Instant::now)).await
    }

    pub async fn start_with_clock(config: CollectorConfig, clock: Clock) -> Self {
        let store = Arc::new(FakeStore::default());
        let recorder = PrometheusBuilder::new().build_recorder();
        let collector = {
            let _guard = metrics::set_default_local_recorder(&recorder);
            Collector::start_with_clock(config, store.clone(), clock).unwrap()
        };
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        let routers = [
            collector.http_router(),
            collector.grpc_router(),
            collector.zipkin_router(),
            collector.jaeger_grpc_router(),
            collector.jaeger_http_router(),
            collector.datadog_router(),
            collector.skywalking_router(),
        ];
        for router in routers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            listeners.push(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
        }
        Self {
            collector,
            store,
            http: addresses[0],
            grpc: addresses[1],
            zipkin: addresses[2],
            jaeger_grpc: addresses[3],
            jaeger_http: addresses[4],
            datadog: addresses[5],
            skywalking: addresses[6],
            recorder,
            listeners,
        }
    }

    /// What takes datagrams.
    pub fn agent(&self, protocol: AgentProtocol) -> Agent {
        let _guard = metrics::set_default_local_recorder(&self.recorder);
        self.collector.jaeger_agent(protocol)
    }

    /// The value of a metric, by its name with labels as in a scrape.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.recorder.handle().render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.store.release();
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

/// Polls until a condition holds.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A request of `spans` valid spans; different values of `seed` give different requests.
pub fn request(seed: u64, spans: usize) -> ExportTraceServiceRequest {
    let spans = (0..spans as u64)
        .map(|index| Span {
            trace_id: [seed.to_be_bytes(), 1_u64.to_be_bytes()].concat(),
            span_id: (index + 1).to_be_bytes().to_vec(),
            name: format!("GET /orders/{index}"),
            start_time_unix_nano: 1_700_000_000_000_000_000 + index,
            end_time_unix_nano: 1_700_000_000_001_000_000 + index,
            attributes: vec![text("http.route", "/orders/{id}")],
            ..Span::default()
        })
        .collect();
    let scope = Some(InstrumentationScope { name: "test".to_owned(), ..InstrumentationScope::default() });
    let resource = Some(Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource,
            scope_spans: vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

/// Like [`request`], with `bad` further spans, each of which has to be refused.
pub fn request_with_bad_spans(seed: u64, good: usize, bad: usize) -> ExportTraceServiceRequest {
    let mut request = request(seed, good + bad);
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    spans[good..].iter_mut().for_each(|span| span.span_id = vec![1, 2, 3]);
    request
}

pub fn body(seed: u64, spans: usize) -> Vec<u8> {
    request(seed, spans).encode_to_vec()
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
