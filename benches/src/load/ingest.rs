//! Sends a corpus as fast as the server acknowledges it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use spandrel_benches::corpus::{Batching, Corpus, CorpusConfig, Known, Request};
use spandrel_proto::UnixNanos;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::{self, JoinSet};

use crate::Failure;
use crate::exporter::{Exporter, TenantNames};
use crate::flags::{Flags, Protocol};
use crate::server::Server;

/// How a corpus is sent.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) authority: String,
    pub(crate) protocol: Protocol,
    pub(crate) connections: u16,
    /// Whether HTTP bodies have no declared length.
    pub(crate) chunked: bool,
    pub(crate) corpus: CorpusConfig,
    pub(crate) tenants: TenantNames,
}

/// Counts of acknowledged requests. Any other response is an error.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) spans: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) retries: u64,
    pub(crate) took: Duration,
    /// The time from the first byte of each request to its acknowledgement.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) known: Known,
}

/// Requests that are made in advance for each connection, so that none has to wait for the next one.
const AHEAD: usize = 2;
/// Spans of one small request, and the number of connections: a mesh of sidecars.
const SMALL_REQUEST: usize = 5;
const SMALL_CONNECTIONS: u16 = 64;

/// Sends the whole corpus; returns when the last request is acknowledged.
pub(crate) async fn send(load: &Load) -> Result<Sent, Failure> {
    let mut exporters = Vec::new();
    for _ in 0..load.connections {
        let exporter = Exporter::connect(&load.authority, load.protocol, load.chunked).await?;
        exporters.push(exporter.with_tenants(load.tenants.clone()));
    }
    let (made, requests) = mpsc::channel(AHEAD * exporters.len());
    let requests = Arc::new(Mutex::new(requests));
    let mut corpus = Corpus::new(load.corpus);
    // On its own thread, so that making requests and waiting for acknowledgements do not delay each other.
    let making = task::spawn_blocking(move || {
        for request in corpus.by_ref() {
            if made.blocking_send(request).is_err() {
                break;
            }
        }
        corpus.into_known()
    });
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for exporter in exporters {
        senders.spawn(send_requests(exporter, requests.clone()));
    }
    // Dropping the last sender closes the queue, so that after an error the corpus stops as well.
    drop(requests);
    let mut sent = Sent::default();
    while let Some(by_one) = senders.join_next().await {
        sent.add(by_one??);
    }
    sent.took = began.elapsed();
    sent.known = making.await?;
    Ok(sent)
}

async fn send_requests(
    mut exporter: Exporter,
    requests: Arc<Mutex<Receiver<Request>>>,
) -> Result<Sent, Failure> {
    let mut sent = Sent::default();
    loop {
        let next = requests.lock().await.recv().await;
        let Some(request) = next else { return Ok(sent) };
        let began = Instant::now();
        sent.retries += exporter.export(&request.body).await?;
        sent.latencies.push(began.elapsed());
        sent.spans += request.spans;
        sent.requests += 1;
        sent.bytes += request.body.len() as u64;
    }
}

/// The beginning of a corpus that ends about now.
fn begins(spans: u64) -> UnixNanos {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin = now.saturating_sub(CorpusConfig::covers(spans));
    UnixNanos(u64::try_from(begin.as_nanos()).unwrap_or_default())
}

// === impl Load ===

impl Load {
    /// The requests of collectors.
    pub(crate) fn bulk(flags: &Flags, server: &Server, spans: u64, seed: u64) -> Self {
        let Flags { protocol, connections, request_spans, .. } = *flags;
        let corpus = CorpusConfig {
            seed,
            spans,
            request_spans: request_spans.into(),
            batching: Batching::Collector,
            begins: begins(spans),
        };
        Self {
            authority: server.otlp(protocol).to_owned(),
            protocol,
            connections,
            chunked: false,
            corpus,
            tenants: TenantNames::default(),
        }
    }

    /// The requests of a mesh of sidecars: few spans of one instance each, over many connections, and through proxies,
    /// which send HTTP bodies in chunks.
    pub(crate) fn small(flags: &Flags, server: &Server, spans: u64, seed: u64) -> Self {
        let Self { authority, protocol, corpus, tenants, .. } = Self::bulk(flags, server, spans, seed);
        Self {
            authority,
            protocol,
            connections: SMALL_CONNECTIONS,
            chunked: protocol == Protocol::Http,
            corpus: CorpusConfig { request_spans: SMALL_REQUEST, batching: Batching::Sidecar, ..corpus },
            tenants,
        }
    }
}

// === impl Sent ===

impl Sent {
    fn add(&mut self, other: Self) {
        self.spans += other.spans;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.latencies.extend(other.latencies);
    }
}
