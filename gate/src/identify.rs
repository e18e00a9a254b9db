//! Finds out who sent a request, in any of the ways that are on. What they may do is decided in `authorize`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::http;
use axum::http::HeaderName;
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;

use crate::attempts::{Attempts, Origin};
use crate::certificates::CertificateRules;
use crate::credentials::{self, Carrier, Credential};
use crate::identity::Identity;
use crate::idp::{Issuers, TokenError, Unknown, is_jwt};
use crate::keys::Keys;
use crate::proxy::TrustedProxies;
use crate::refusal::Refusal;
use crate::roles::Roles;
use crate::secret::Secret;
use crate::tls::Peer;
use crate::users::Users;

/// A way to show who one is. Each may be on without the others; reverse proxies are on when one is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// API keys.
    Keys,
    /// Names and passwords of users, and their sessions.
    Users,
    /// Bearer tokens (JWTs) of the issuers that are configured.
    Jwt,
    /// A login at an identity provider, which begins a session.
    Oidc,
    /// Client certificates.
    Certificates,
}

/// Everything that may know a caller.
pub(crate) struct Ways {
    pub(crate) methods: Vec<Method>,
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) roles: Arc<Roles>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) users: Arc<Users>,
    pub(crate) issuers: Issuers,
    pub(crate) certificates: CertificateRules,
}

/// Knows callers, and bounds how often an address may guess.
pub(crate) struct Identifier {
    ways: Ways,
    attempts: Attempts,
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

// === impl Identifier ===

impl Identifier {
    pub(crate) fn new(ways: Ways, attempts: Attempts) -> Self {
        Self { ways, attempts }
    }

    /// Who sent the request.
    pub(crate) async fn identify(&self, parts: &Parts) -> Result<Arc<Identity>, Refusal> {
        match self.authenticate(parts).await {
            Err(Refusal::BadCredential(why)) => {
                let client = self.client(parts);
                let wait = client.and_then(|client| self.attempts.fail(Origin::of(client), Instant::now()));
                Err(wait.map_or(Refusal::BadCredential(why), Refusal::TooManyAttempts))
            }
            // A valid key passes whatever others behind the same address have tried.
            known => known,
        }
    }

    /// The address of the client, which a trusted proxy tells of those behind it.
    pub(crate) fn client(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = address(parts.extensions.get()?);
        Some(self.ways.proxies.as_ref().map_or(peer, |proxies| proxies.client(peer, &parts.headers)))
    }

    async fn authenticate(&self, parts: &Parts) -> Result<Arc<Identity>, Refusal> {
        if let Some(identity) = self.by_proxy(parts)? {
            require_same_site(parts)?;
            return Ok(identity);
        }
        match credentials::parse(&parts.headers).map_err(bad)? {
            Credential::Token(token, Carrier::Bearer) if self.is_on(Method::Jwt) && is_jwt(&token) => {
                self.ways.issuers.identify(&token).await.map_err(Refusal::from)
            }
            Credential::Token(token, carrier) => {
                if carrier == Carrier::Basic {
                    require_same_site(parts)?;
                }
                self.by_token(&token)
            }
            Credential::Session(token) if self.is_on(Method::Users) || self.is_on(Method::Oidc) => {
                require_same_site(parts)?;
                // A session that has ended is no attempt at guessing one.
                self.ways.users.session(&token).ok_or(Refusal::NoCredential)
            }
            Credential::Session(_) | Credential::None => {
                let identity = self.by_certificate(parts).ok_or(Refusal::NoCredential)?;
                // A browser presents its certificate by itself, also for pages of other sites.
                require_same_site(parts)?;
                Ok(identity)
            }
        }
    }

    fn by_proxy(&self, parts: &Parts) -> Result<Option<Arc<Identity>>, Refusal> {
        let (Some(proxies), Some(peer)) = (&self.ways.proxies, parts.extensions.get()) else {
            return Ok(None);
        };
        proxies.identity(address(peer), &parts.headers, &self.ways.roles).map_err(bad)
    }

    /// Who the client certificate of the connection stands for. That of a reverse proxy stands for the proxy: it says
    /// nothing about whose request the proxy passes on.
    fn by_certificate(&self, parts: &Parts) -> Option<Arc<Identity>> {
        let peer = parts.extensions.get::<Peer>()?;
        let of_proxy = self.ways.proxies.as_ref().is_some_and(|proxies| proxies.trusts(address(peer)));
        if of_proxy || !self.is_on(Method::Certificates) {
            return None;
        }
        self.ways.certificates.identify(peer.certificate.as_ref()?)
    }

    fn by_token(&self, token: &Secret) -> Result<Arc<Identity>, Refusal> {
        if !self.is_on(Method::Keys) {
            return Err(bad("API keys are switched off on this server (auth-methods)"));
        }
        self.ways.keys.check(token.reveal()).map_err(bad)
    }

    fn is_on(&self, method: Method) -> bool {
        self.ways.methods.contains(&method)
    }
}

impl From<Unknown> for Refusal {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Token(error @ TokenError::Unavailable) => Self::ProviderUnavailable(error.to_string()),
            Unknown::Token(error) => bad(error),
            Unknown::Claims(error) => Self::NoAccess(error.to_string()),
        }
    }
}

fn bad(why: impl ToString) -> Refusal {
    Refusal::BadCredential(why.to_string())
}

fn address(peer: &Peer) -> IpAddr {
    peer.address.ip().to_canonical()
}

/// Refuses a change that a page of another site has sent with a credential that the browser adds by itself. Browsers
/// say where a request comes from; other clients say nothing, and pass.
pub(crate) fn require_same_site(parts: &Parts) -> Result<(), Refusal> {
    if matches!(parts.method, http::Method::GET | http::Method::HEAD | http::Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_same = match (text(&FETCH_SITE), text(&ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = text(&HOST).or(parts.uri.authority().map(|authority| authority.as_str()));
            let of_origin = origin.split_once("://").map(|(_, host)| host);
            of_origin.is_some() && of_origin.map(str::to_ascii_lowercase) == host.map(str::to_ascii_lowercase)
        }
        (None, None) => true,
    };
    if is_same { Ok(()) } else { Err(Refusal::CrossSite) }
}
