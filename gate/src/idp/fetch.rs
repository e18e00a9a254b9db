//! Requests to identity providers: verified TLS, bounded in size and time, without redirects.

use std::path::Path;

use ureq::Agent;

use super::settings::{ProviderLimits, SettingsError, is_safe};
use crate::secret::Secret;
use crate::tls::{OutgoingFiles, PemFile};

/// A client for one identity provider.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    max_bytes: u64,
}

/// A form to send, which may hold a secret.
pub(crate) struct Form {
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The value of `Authorization`.
    pub(crate) authorization: Option<Secret>,
}

// === impl Client ===

impl Client {
    /// `ca` has the authorities of the provider's certificate; without it, those of the operating system count.
    pub(crate) fn new(ca: Option<&Path>, limits: &ProviderLimits) -> Result<Self, SettingsError> {
        let ca = ca.map(|path| PemFile::new("ca", path));
        let tls = OutgoingFiles { ca, identity: None }.open()?.http_client()?;
        let config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(limits.timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .build();
        Ok(Self { agent: config.new_agent(), max_bytes: limits.max_bytes })
    }

    /// The body of an answer with status 200.
    pub(crate) async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let (client, url) = (self.clone(), url.to_owned());
        run(move || {
            require_safe(&url)?;
            let answer = client.agent.get(&url).header("accept", "application/json").call();
            let (status, body) = client.read(answer).map_err(|error| format!("{url}: {error}"))?;
            if status == 200 { Ok(body) } else { Err(format!("{url} answers with status {status}")) }
        })
        .await
    }

    /// Status and body of the answer to a form.
    pub(crate) async fn post(&self, url: &str, form: Form) -> Result<(u16, Vec<u8>), String> {
        let (client, url) = (self.clone(), url.to_owned());
        run(move || {
            require_safe(&url)?;
            let mut request = client.agent.post(&url).header("accept", "application/json");
            if let Some(authorization) = &form.authorization {
                request = request.header("authorization", authorization.reveal());
            }
            client.read(request.send_form(form.fields)).map_err(|error| format!("{url}: {error}"))
        })
        .await
    }

    fn read(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Vec<u8>), ureq::Error> {
        let mut answer = answer?;
        let body = answer.body_mut().with_config().limit(self.max_bytes).read_to_vec()?;
        Ok((answer.status().as_u16(), body))
    }
}

/// Also addresses that a provider names have to be safe.
fn require_safe(url: &str) -> Result<(), String> {
    if is_safe(url) { Ok(()) } else { Err(format!("`{url}` is not https://")) }
}

/// Runs a request on a thread that may wait.
async fn run<T: Send + 'static>(
    request: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(request)
        .await
        .unwrap_or_else(|_| Err("the request was broken off".to_owned()))
}
