//! An identity provider as this server knows it: its keys and endpoints, fetched when they are needed.
//!
//! A key that is not known is a reason to fetch them again, because issuers exchange their keys. Everybody can name such
//! a key, so there is one fetch at a time, a time between two, and a bound on the requests that wait for one. A fetch
//! that fails changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use parking_lot::RwLock;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::documents::Metadata;
use super::fetch::Client;
use super::settings::{ProviderLimits, SettingsError};
use super::token::{KeySet, TokenError, Unverified, keys_of};

/// One issuer.
pub(crate) struct Provider {
    issuer: String,
    source: Source,
    client: Client,
    interval: Duration,
    max_age: Duration,
    known: RwLock<Arc<Known>>,
    /// The last fetch. Locked by the one that is under way.
    last: Arc<Mutex<Option<Attempt>>>,
    /// Places for requests that wait for a fetch.
    waiting: Semaphore,
}

/// Where the keys are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In the metadata, which are at a fixed place below the issuer.
    Discovery,
    Url(String),
    File(PathBuf),
}

#[derive(Default)]
struct Known {
    keys: KeySet,
    metadata: Option<Metadata>,
    fetched: Option<Instant>,
}

struct Attempt {
    at: Instant,
    result: Result<(), Unavailable>,
}

/// The issuer cannot be asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// A file is read again as often as this: that costs nothing.
const FILE_INTERVAL: Duration = Duration::from_secs(1);
/// Where an issuer has its metadata.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// The largest file with keys.
const MAX_FILE: u64 = 1 << 20;
/// Requests that wait for one fetch. More of them are told at once that the issuer cannot be asked now.
const MAX_WAITING: usize = 100;

// === impl Provider ===

impl Provider {
    pub(crate) fn new(
        issuer: &str,
        source: Source,
        ca: Option<&Path>,
        limits: &ProviderLimits,
    ) -> Result<Arc<Self>, SettingsError> {
        let (interval, max_age) = match source {
            Source::File(_) => (FILE_INTERVAL, FILE_INTERVAL),
            _ => (limits.interval, limits.max_age),
        };
        Ok(Arc::new(Self {
            issuer: issuer.to_owned(),
            source,
            client: Client::new(ca, limits)?,
            interval,
            max_age,
            known: RwLock::default(),
            last: Arc::default(),
            waiting: Semaphore::new(MAX_WAITING),
        }))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The key with which a token says it is signed.
    pub(crate) async fn key(self: &Arc<Self>, named: &Unverified) -> Result<DecodingKey, TokenError> {
        let known = self.known.read().clone();
        if let Some(key) = known.keys.find(named) {
            self.refresh(&known);
            return Ok(key);
        }
        self.renew(known.fetched).await?;
        self.known.read().keys.find(named).ok_or(TokenError::UnknownKey)
    }

    /// The endpoints.
    pub(crate) async fn metadata(self: &Arc<Self>) -> Result<Metadata, Unavailable> {
        let known = self.known.read().clone();
        if let Some(metadata) = &known.metadata {
            self.refresh(&known);
            return Ok(metadata.clone());
        }
        self.renew(known.fetched).await?;
        self.known.read().metadata.clone().ok_or(Unavailable)
    }

    /// Fetches aged documents again. Nothing waits for it: what an issuer said is good until it says otherwise.
    fn refresh(self: &Arc<Self>, known: &Known) {
        if !known.is_older_than(self.max_age) {
            return;
        }
        // The lock goes into the task, so that one request alone begins one, however long the issuer is silent.
        let Ok(last) = self.last.clone().try_lock_owned() else { return };
        if !last.as_ref().is_some_and(|attempt| attempt.is_within(self.interval)) {
            drop(tokio::spawn(self.clone().fetch_after(last, known.fetched)));
        }
    }

    /// Waits until the documents were fetched, or the last attempt is too fresh to make another.
    async fn renew(self: &Arc<Self>, seen: Option<Instant>) -> Result<(), Unavailable> {
        let Ok(_place) = self.waiting.try_acquire() else { return Err(Unavailable) };
        let last = self.last.clone().lock_owned().await;
        // In a task of its own: it goes on when the request that waits for it is broken off.
        let fetched = tokio::spawn(self.clone().fetch_after(last, seen)).await;
        fetched.unwrap_or(Err(Unavailable))
    }

    /// Fetches the documents, unless that was done since `seen`, or the last attempt is too fresh.
    async fn fetch_after(
        self: Arc<Self>,
        mut last: OwnedMutexGuard<Option<Attempt>>,
        seen: Option<Instant>,
    ) -> Result<(), Unavailable> {
        if self.known.read().fetched > seen {
            return Ok(());
        }
        if let Some(attempt) = last.as_ref().filter(|attempt| attempt.is_within(self.interval)) {
            return attempt.result.clone();
        }
        let fetched = self.fetch().await;
        let outcome = if fetched.is_ok() { "done" } else { "failed" };
        metrics::counter!("spandrel_idp_fetches_total", "result" => outcome).increment(1);
        let result = match fetched {
            Ok(known) => {
                *self.known.write() = Arc::new(known);
                Ok(())
            }
            Err(error) => {
                let issuer = &self.issuer;
                tracing::warn!(issuer, error, "the keys of an identity provider stay those of before");
                Err(Unavailable)
            }
        };
        *last = Some(Attempt { at: Instant::now(), result: result.clone() });
        result
    }

    async fn fetch(&self) -> Result<Known, String> {
        let (metadata, keys) = match &self.source {
            Source::File(path) => (None, read_file(path).await?),
            Source::Url(url) => (None, self.client.get(url).await?),
            Source::Discovery => {
                let metadata = self.discover().await?;
                let keys = self.client.get(&metadata.jwks_uri).await?;
                (Some(metadata), keys)
            }
        };
        let keys = keys_of(&keys).map_err(|error| format!("its keys cannot be read: {error}"))?;
        if keys.is_empty() {
            return Err("it has no key that signs tokens and is known here".to_owned());
        }
        Ok(Known { keys, metadata, fetched: Some(Instant::now()) })
    }

    async fn discover(&self) -> Result<Metadata, String> {
        let url = format!("{}{WELL_KNOWN}", self.issuer.trim_end_matches('/'));
        let bytes = self.client.get(&url).await?;
        let metadata = Metadata::read(&bytes).map_err(|error| format!("{url} cannot be read: {error}"))?;
        if metadata.issuer != self.issuer {
            return Err(format!("{url} is of another issuer; `issuer` has to be exactly what it says there"));
        }
        match metadata.unsafe_endpoint() {
            None => Ok(metadata),
            Some(endpoint) => Err(format!("{url} names the endpoint `{endpoint}`, which is not https://")),
        }
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if length > MAX_FILE {
        return Err(format!("{} has more than {MAX_FILE} bytes", path.display()));
    }
    tokio::fs::read(path).await.map_err(failed)
}

// === impl Unavailable, Attempt, Known ===

impl From<Unavailable> for TokenError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl Attempt {
    /// Whether it was made less than this time ago.
    fn is_within(&self, interval: Duration) -> bool {
        self.at.elapsed() < interval
    }
}

impl Known {
    fn is_older_than(&self, age: Duration) -> bool {
        self.fetched.is_none_or(|fetched| fetched.elapsed() >= age)
    }
}
