//! An identity provider as this server knows it: its keys and endpoints, fetched when they are needed.
//!
//! A key that is not known is a reason to fetch them again, because issuers exchange their keys. Everybody can name such
//! a key, so there is one fetch at a time, and a time between two. A fetch that fails changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::documents::Metadata;
use super::fetch::Client;
use super::settings::{ProviderLimits, SettingsError};
use super::token::{KeySet, Unverified, keys_of};

/// One issuer.
pub(crate) struct Provider {
    issuer: String,
    source: Source,
    client: Client,
    interval: Duration,
    max_age: Duration,
    known: RwLock<Arc<Known>>,
    last: Mutex<Option<Attempt>>,
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
    result: Result<(), String>,
}

/// Why there is no key, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The issuer has no such key.
    Key,
    /// The issuer cannot be asked now.
    Unavailable,
}

/// A file is read again as often as this: that costs nothing.
const FILE_INTERVAL: Duration = Duration::from_secs(1);
/// Where an issuer has its metadata.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// The largest file with keys.
const MAX_FILE: u64 = 1 << 20;

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
            last: Mutex::default(),
        }))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The key with which a token says it is signed.
    pub(crate) async fn key(self: &Arc<Self>, named: &Unverified) -> Result<DecodingKey, Missing> {
        let known = self.known.read().clone();
        if let Some(key) = known.keys.find(named) {
            if known.is_older_than(self.max_age) {
                // The key is good until the issuer says otherwise, so this request need not wait.
                drop(tokio::spawn(self.clone().fetched_after(known.fetched)));
            }
            return Ok(key);
        }
        self.renew(known.fetched).await?;
        self.known.read().keys.find(named).ok_or(Missing::Key)
    }

    /// The endpoints.
    pub(crate) async fn metadata(self: &Arc<Self>) -> Result<Metadata, Missing> {
        let known = self.known.read().clone();
        if let Some(metadata) = known.metadata.as_ref().filter(|_| !known.is_older_than(self.max_age)) {
            return Ok(metadata.clone());
        }
        let renewed = self.renew(known.fetched).await;
        let metadata = self.known.read().metadata.clone();
        metadata.ok_or_else(|| renewed.err().unwrap_or(Missing::Unavailable))
    }

    /// Waits until the documents were fetched, or the last attempt is too fresh to make another.
    async fn renew(self: &Arc<Self>, seen: Option<Instant>) -> Result<(), Missing> {
        // In a task of its own: it goes on when the request that waits for it is broken off.
        let fetched = tokio::spawn(self.clone().fetched_after(seen)).await;
        fetched.unwrap_or(Err(Missing::Unavailable))
    }

    async fn fetched_after(self: Arc<Self>, seen: Option<Instant>) -> Result<(), Missing> {
        let mut last = self.last.lock().await;
        if self.known.read().fetched > seen {
            return Ok(());
        }
        if let Some(attempt) = last.as_ref().filter(|attempt| attempt.at.elapsed() < self.interval) {
            return attempt.result.clone().map_err(|_| Missing::Unavailable);
        }
        let result = self.fetch().await.map(|known| *self.known.write() = Arc::new(known));
        if let Err(error) = &result {
            let issuer = &self.issuer;
            tracing::warn!(issuer, error, "the keys of an identity provider stay those of before");
        }
        let outcome = if result.is_ok() { "done" } else { "failed" };
        metrics::counter!("spandrel_idp_fetches_total", "result" => outcome).increment(1);
        *last = Some(Attempt { at: Instant::now(), result: result.clone() });
        result.map_err(|_| Missing::Unavailable)
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
        match metadata.issuer == self.issuer {
            true => Ok(metadata),
            false => {
                Err(format!("{url} is of another issuer; `issuer` has to be exactly what it says there"))
            }
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

// === impl Known ===

impl Known {
    fn is_older_than(&self, age: Duration) -> bool {
        self.fetched.is_none_or(|fetched| fetched.elapsed() >= age)
    }
}
