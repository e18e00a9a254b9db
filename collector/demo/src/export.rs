//! OTLP exporters of the SDK on one shared channel. They count spans, so that every failure is reported.

use crate::{DemoConfig, DemoError};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Spans are sent at least once a second, so that a first-time user sees them at once.
const SCHEDULE_DELAY: Duration = Duration::from_secs(1);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// The OTLP endpoint that all exporters share.
pub(crate) struct Destination {
    channel: Channel,
    metadata: MetadataMap,
    tally: Arc<Tally>,
}

/// The `authorization` metadata of each export. It is marked as sensitive, so that no `Debug` shows it.
#[derive(Clone, Debug)]
pub struct Authorization(AsciiMetadataValue);

/// Counts of the spans that were given to exporters.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    exported: AtomicU64,
    failed: AtomicU64,
    failed_exports: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

/// A copy of the counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) exported: u64,
    pub(crate) failed: u64,
    pub(crate) failed_exports: u64,
}

/// Wraps an exporter and counts its results.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    tally: Arc<Tally>,
}

impl Authorization {
    /// An API key.
    pub fn bearer(key: &str) -> Result<Self, DemoError> {
        let value = AsciiMetadataValue::try_from(format!("Bearer {key}"));
        let mut value = value.map_err(|_| DemoError::InvalidKey)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Destination {
    /// Waits until an OTLP/gRPC server responds at the endpoint, at most for `patience`.
    pub(crate) async fn connect(config: &DemoConfig, patience: Duration) -> Result<Self, DemoError> {
        let endpoint = config.endpoint.as_str();
        let invalid = |reason: String| DemoError::InvalidEndpoint { endpoint: endpoint.to_owned(), reason };
        let encrypted = endpoint.starts_with("https://");
        if !encrypted && !endpoint.starts_with("http://") {
            return Err(invalid("it must begin with http:// or https://".to_owned()));
        }
        let mut channel =
            Endpoint::from_shared(endpoint.to_owned()).map_err(|error| invalid(error.to_string()))?;
        if encrypted {
            channel = channel.tls_config(tls(config)).map_err(|error| invalid(error.to_string()))?;
        }
        let channel = channel.timeout(EXPORT_TIMEOUT).connect_timeout(PROBE_TIMEOUT).connect_lazy();
        let mut metadata = MetadataMap::new();
        if let Some(Authorization(value)) = &config.authorization {
            metadata.insert("authorization", value.clone());
        }
        let destination = Self { channel, metadata, tally: Arc::default() };
        destination.wait(endpoint, patience).await?;
        Ok(destination)
    }

    /// A batch processor with its own exporter, like that of a separate process.
    pub(crate) fn processor(&self) -> Result<BatchSpanProcessor, DemoError> {
        let inner = self.exporter(EXPORT_TIMEOUT, RetryPolicy::recommended())?;
        let config = BatchConfigBuilder::default().with_scheduled_delay(SCHEDULE_DELAY).build();
        let exporter = Counted { inner, tally: Arc::clone(&self.tally) };
        Ok(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
    }

    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Repeats a request without spans until it succeeds, which shows that the server accepts OTLP.
    async fn wait(&self, endpoint: &str, patience: Duration) -> Result<(), DemoError> {
        let probe = self.exporter(PROBE_TIMEOUT, RetryPolicy::disabled())?;
        let started = Instant::now();
        let mut told = false;
        while let Err(error) = probe.export(Vec::new()).await {
            if started.elapsed() >= patience {
                let endpoint = endpoint.to_owned();
                return Err(DemoError::NothingListens {
                    endpoint,
                    waited: patience,
                    reason: error.to_string(),
                });
            }
            if !told {
                tracing::warn!(endpoint, %error, "waiting for a server at the OTLP endpoint; start it with `spandrel serve`");
                told = true;
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
        Ok(())
    }

    fn exporter(
        &self,
        timeout: Duration,
        retries: RetryPolicy,
    ) -> Result<opentelemetry_otlp::SpanExporter, ExporterBuildError> {
        opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(self.channel.clone())
            .with_metadata(self.metadata.clone())
            .with_timeout(timeout)
            .with_retry_policy(retries)
            .build()
    }
}

fn tls(config: &DemoConfig) -> ClientTlsConfig {
    let tls = match &config.ca {
        Some(authorities) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match &config.identity {
        Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
        None => tls,
    }
}

impl Tally {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            exported: self.exported.load(Relaxed),
            failed: self.failed.load(Relaxed),
            failed_exports: self.failed_exports.load(Relaxed),
        }
    }

    /// Returns the error of the last failed export and clears it; `None` if no export has failed since the last call.
    pub(crate) fn take_failure(&self) -> Option<String> {
        self.last_failure.lock().ok()?.take()
    }

    fn add(&self, spans: u64, result: &OTelSdkResult) {
        let Err(error) = result else {
            self.exported.fetch_add(spans, Relaxed);
            return;
        };
        self.failed.fetch_add(spans, Relaxed);
        self.failed_exports.fetch_add(1, Relaxed);
        if let Ok(mut last) = self.last_failure.lock() {
            *last = Some(error.to_string());
        }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.inner.export(batch).await;
        self.tally.add(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
