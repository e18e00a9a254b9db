//! The application of a pod: answers a request after it has called the workloads that its own call needs, through its
//! proxy. It knows nothing of tracing but to hand on the headers of a request, as the applications of a mesh have to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::MeshError;
use super::topology::{APP_PORT, OUTBOUND_PORT, PodSpec, SERVICE_PORT, host};

/// The headers by which proxies join the spans of a request.
const HANDED_ON: [&str; 4] = ["traceparent", "tracestate", "x-request-id", "x-demo-order"];

/// Calls of an application to a workload.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) made: u64,
    /// Not answered with 200.
    pub(crate) failed: u64,
}

/// What an application has counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    answered: AtomicU64,
    calls: Mutex<BTreeMap<&'static str, Calls>>,
}

struct App {
    spec: PodSpec,
    delay: Duration,
    counts: Arc<Counts>,
    client: Client<HttpConnector, Body>,
}

/// Serves the application until the task is ended.
pub(crate) async fn start(
    spec: &PodSpec,
    delay: Duration,
    counts: Arc<Counts>,
) -> Result<JoinHandle<()>, MeshError> {
    let address = format!("{}:{APP_PORT}", spec.ip);
    let listener = TcpListener::bind(&address).await.map_err(|source| MeshError::NoAddress {
        pod: spec.name.clone(),
        address,
        source,
    })?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let app = App { spec: spec.clone(), delay, counts, client };
    let router = Router::new().fallback(answer).with_state(Arc::new(app));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "an application of the mesh ended");
        }
    }))
}

async fn answer(State(app): State<Arc<App>>, request: Request) -> StatusCode {
    tokio::time::sleep(app.delay).await;
    for workload in app.spec.calls {
        let ended = app.call(workload, request.headers(), request.uri().path()).await;
        app.counts.count(workload, ended);
        if ended != StatusCode::OK {
            return StatusCode::BAD_GATEWAY;
        }
    }
    app.counts.answered.fetch_add(1, Ordering::Relaxed);
    StatusCode::OK
}

// === impl App ===

impl App {
    /// Calls a workload through the proxy of the pod.
    async fn call(&self, workload: &str, headers: &HeaderMap, path: &str) -> StatusCode {
        let uri = format!("http://{}:{OUTBOUND_PORT}{path}", self.spec.ip);
        let mut call = Request::get(uri).header(header::HOST, format!("{}:{SERVICE_PORT}", host(workload)));
        for name in HANDED_ON {
            if let Some(value) = headers.get(name) {
                call = call.header(name, value);
            }
        }
        let Ok(call) = call.body(Body::empty()) else { return StatusCode::INTERNAL_SERVER_ERROR };
        match self.client.request(call).await {
            Ok(response) => response.status(),
            Err(error) => {
                tracing::debug!(%error, workload, "a call did not reach the proxy");
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

// === impl Counts ===

impl Counts {
    fn count(&self, workload: &'static str, ended: StatusCode) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = calls.entry(workload).or_default();
        calls.made += 1;
        calls.failed += u64::from(ended != StatusCode::OK);
    }

    /// Requests that were answered with 200.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn calls_of(&self, workload: &str) -> Calls {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(workload).copied().unwrap_or_default()
    }
}
