//! What the settings of identity providers have in common, and why they may be wrong.

use std::fmt;
use std::time::Duration;

use axum::http::Uri;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::roles::RoleName;
use crate::tls::TlsError;

/// How a token may be signed. There is no name for `none`, nor for the algorithms with a shared secret (`HS256`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::upper_case_acronyms, reason = "the names of RFC 7518")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// How identity providers are asked, and how exactly clocks have to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderLimits {
    /// The shortest time between two fetches of the keys of one issuer (`jwksInterval`).
    pub interval: Duration,
    /// Keys of this age are fetched again (`jwksMaxAge`).
    pub max_age: Duration,
    /// How far clocks may be apart (`clockSkew`).
    pub skew: Duration,
    /// How long one request to an identity provider may take (`idpTimeout`).
    pub timeout: Duration,
    /// The largest answer of an identity provider (`maxIdpBytes`).
    pub max_bytes: u64,
    /// How long a login at a provider may take (`idpLoginTime`).
    pub login: Duration,
}

/// A mapping in the order in which it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InOrder<V>(pub Vec<(String, V)>);

/// Why an identity provider cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{what} `{url}` is not allowed: it has to be https://, or http:// to this machine")]
    Url { what: &'static str, url: String },
    #[error("the issuer {0} has both a jwks-url and a jwks-file; allowed is one of them, or neither")]
    TwoSources(String),
    #[error("the issuer {0} is there twice")]
    Twice(String),
    #[error("{of} needs {what}")]
    Empty { of: String, what: &'static str },
    #[error("{of} maps to the role {role}, which this server does not have; it has {known}")]
    Role { of: String, role: RoleName, known: String },
    #[error("{of} maps to `{tenants}`, which does not name tenants")]
    Tenants { of: String, tenants: String },
    #[error(
        "`{0}` is no pattern of certificates: allowed is spiffe://DOMAIN/PATH, dns:NAME or cn:NAME, with * for a part"
    )]
    Pattern(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Refuses an address at which a stranger on the network could answer.
pub(crate) fn require_url(what: &'static str, url: &str) -> Result<(), SettingsError> {
    if is_safe(url) { Ok(()) } else { Err(SettingsError::Url { what, url: url.to_owned() }) }
}

/// Whether an address is of HTTPS, or of this machine.
pub(crate) fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_local,
        _ => false,
    }
}

// === impl Algorithm ===

impl Algorithm {
    /// All of them: each needs the private key of the issuer.
    pub fn all() -> Vec<Self> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
    }

    pub(super) fn of_jws(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as Jws;
        match self {
            Self::RS256 => Jws::RS256,
            Self::RS384 => Jws::RS384,
            Self::RS512 => Jws::RS512,
            Self::PS256 => Jws::PS256,
            Self::PS384 => Jws::PS384,
            Self::PS512 => Jws::PS512,
            Self::ES256 => Jws::ES256,
            Self::ES384 => Jws::ES384,
            Self::EdDSA => Jws::EdDSA,
        }
    }
}

// === impl ProviderLimits ===

impl Default for ProviderLimits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            max_age: Duration::from_secs(3600),
            skew: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            max_bytes: 1 << 20,
            login: Duration::from_secs(600),
        }
    }
}

// === impl InOrder ===

impl<V> Default for InOrder<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Serialize> Serialize for InOrder<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for InOrder<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = InOrder<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder<V>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(InOrder(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for url in ["https://id.example/x", "http://127.0.0.1:1/x", "http://localhost:1", "http://[::1]:1/"] {
            assert!(is_safe(url), "{url}");
        }
        for url in
            ["http://id.example", "ftp://id.example", "id.example", "", "https://", "http://127.0.0.1.evil"]
        {
            assert!(!is_safe(url), "{url}");
        }
    }
}
