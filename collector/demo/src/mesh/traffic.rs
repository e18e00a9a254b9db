//! Customers of the shop: requests to the gateway, some at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::MeshError;
use super::scenario::Scenario;

/// The most requests under way.
const MOST_AT_ONCE: usize = 64;
/// The next try of a gateway that is not ready.
const NEXT_TRY: Duration = Duration::from_millis(100);

pub(crate) struct Traffic {
    gateway: String,
    client: Client<HttpConnector, Body>,
    places: Arc<Semaphore>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    failed: AtomicU64,
}

// === impl Traffic ===

impl Traffic {
    pub(crate) fn to(gateway: String) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { gateway, client, places: Arc::new(Semaphore::new(MOST_AT_ONCE)), counts: Arc::default() }
    }

    /// Waits for a request that comes through to the last service.
    pub(crate) async fn wait_until_ready(&self, patience: Duration) -> Result<(), MeshError> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if self.ask("/ready").await {
                return Ok(());
            }
            tokio::time::sleep(NEXT_TRY).await;
        }
        Err(MeshError::NotReady(patience))
    }

    /// Sends requests for ever, as many a second as asked for, while not too many are under way.
    pub(crate) async fn flow(&self, rate: f64, scenario: Scenario) {
        let several = scenario.concurrency();
        let mut tick = tokio::time::interval(Duration::from_secs_f64(several as f64 / rate));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for _ in 0..several {
                let Ok(place) = self.places.clone().acquire_owned().await else { return };
                let (client, counts, uri) = (self.client.clone(), self.counts.clone(), self.uri("/checkout"));
                tokio::spawn(async move {
                    counts.requests.fetch_add(1, Ordering::Relaxed);
                    let answered = ask(&client, &uri).await;
                    counts.failed.fetch_add(u64::from(!answered), Ordering::Relaxed);
                    drop(place);
                });
            }
        }
    }

    /// Waits for the requests that are under way.
    pub(crate) async fn finish(&self) {
        let all = u32::try_from(MOST_AT_ONCE).unwrap_or(u32::MAX);
        drop(self.places.acquire_many(all).await);
    }

    /// Requests, and those that failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let Counts { requests, failed } = &*self.counts;
        (requests.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway)
    }

    async fn ask(&self, path: &str) -> bool {
        ask(&self.client, &self.uri(path)).await
    }
}

async fn ask(client: &Client<HttpConnector, Body>, uri: &str) -> bool {
    let Ok(request) = Request::get(uri).body(Body::empty()) else { return false };
    client.request(request).await.is_ok_and(|response| response.status().as_u16() < 400)
}
