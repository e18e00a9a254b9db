//! Bearer tokens of the issuers that are configured (`jwt-issuers`): whose token it is.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::claims::{ClaimError, ClaimSettings, Mapping};
use super::provider::{Provider, Source};
use super::settings::{Algorithm, ProviderLimits, SettingsError, require_url};
use super::token::{Expected, TokenError, unverified};
use super::verifier::Verifier;
use crate::identity::{Identity, Via};
use crate::roles::Roles;
use crate::secret::Secret;

/// An issuer whose JWTs are accepted as bearer tokens: an entry of `jwt-issuers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IssuerSettings {
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to contain: one of these.
    #[serde(deserialize_with = "one_or_several")]
    pub audience: Vec<String>,
    /// Where its keys are; found by `ISSUER/.well-known/openid-configuration` if neither is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    #[serde(default = "Algorithm::all")]
    pub algorithms: Vec<Algorithm>,
    /// Authorities of the issuer's own certificate, as PEM; those of the operating system unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    #[serde(default)]
    pub identity: ClaimSettings,
}

/// Every issuer of a server.
pub(crate) struct Issuers(Vec<Issuer>);

struct Issuer {
    name: Arc<str>,
    verifier: Verifier,
    mapping: Mapping,
}

/// Why a token gives no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Claims(#[from] ClaimError),
}

/// Whether a bearer token is a JWT: three parts with dots between them, which no API key has.
pub(crate) fn is_jwt(token: &Secret) -> bool {
    token.reveal().bytes().filter(|byte| *byte == b'.').count() == 2
}

// === impl IssuerSettings ===

impl IssuerSettings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        require_url("the issuer", &self.issuer)?;
        let empty = |what| SettingsError::Empty { of: self.issuer.clone(), what };
        if self.audience.is_empty() {
            return Err(empty("an audience"));
        }
        if self.algorithms.is_empty() {
            return Err(empty("an algorithm"));
        }
        match (&self.jwks_url, &self.jwks_file) {
            (Some(_), Some(_)) => Err(SettingsError::TwoSources(self.issuer.clone())),
            (Some(url), None) => require_url("the jwks-url", url),
            _ => Ok(()),
        }
    }
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(one) => vec![one],
        Either::Several(several) => several,
    })
}

// === impl Issuers ===

impl Issuers {
    pub(crate) fn new(
        settings: &[IssuerSettings],
        roles: &Roles,
        limits: &ProviderLimits,
    ) -> Result<Self, SettingsError> {
        let mut issuers: Vec<Issuer> = Vec::new();
        for settings in settings {
            if issuers.iter().any(|issuer| *issuer.name == *settings.issuer) {
                return Err(SettingsError::Twice(settings.issuer.clone()));
            }
            issuers.push(Issuer::new(settings, roles, limits)?);
        }
        Ok(Self(issuers))
    }

    /// Whose token it is.
    pub(crate) async fn identify(&self, token: &Secret) -> Result<Arc<Identity>, Unknown> {
        let token = token.reveal();
        let named = unverified(token)?;
        let issuer = self.0.iter().find(|issuer| *issuer.name == *named.issuer).ok_or(TokenError::Issuer)?;
        let claims = issuer.verifier.verify(token, &named).await?;
        Ok(Arc::new(issuer.mapping.identity(&claims, Via::Jwt(issuer.name.clone()))?))
    }
}

// === impl Issuer ===

impl Issuer {
    fn new(settings: &IssuerSettings, roles: &Roles, limits: &ProviderLimits) -> Result<Self, SettingsError> {
        settings.check()?;
        let source = match (&settings.jwks_url, &settings.jwks_file) {
            (Some(url), _) => Source::Url(url.clone()),
            (None, Some(path)) => Source::File(path.clone()),
            (None, None) => Source::Discovery,
        };
        let expected = Expected {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            algorithms: settings.algorithms.clone(),
            skew: limits.skew,
        };
        let provider = Provider::new(&settings.issuer, source, settings.ca.as_deref(), limits)?;
        Ok(Self {
            name: settings.issuer.as_str().into(),
            verifier: Verifier { expected, provider },
            mapping: settings.identity.mapping(&settings.issuer, roles)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<IssuerSettings, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn an_issuer_reads_back_as_it_is_written() {
        let written = r#"{"issuer":"https://id.example","audience":["spandrel"],"algorithms":["ES256"],"identity":{"name":"email","groups":"realm.roles","roles":{"z":"admin","a":"read"}}}"#;
        let settings = read(written).unwrap();
        assert!(settings.check().is_ok());
        let roles: Vec<&str> = settings.identity.roles.0.iter().map(|(group, _)| group.as_str()).collect();
        assert_eq!(roles, ["z", "a"], "the order is that of the file");
        assert_eq!(serde_json::to_string(&settings).unwrap(), written);
        assert_eq!(read(r#"{"issuer":"https://id.example","audience":"a"}"#).unwrap().audience, ["a"]);
    }

    #[test]
    fn neither_none_nor_a_shared_secret_can_be_configured() {
        for algorithm in ["none", "HS256", "HS384", "HS512", "RSA1_5"] {
            let json = format!(r#"{{"issuer":"https://a","audience":"b","algorithms":["{algorithm}"]}}"#);
            assert!(read(&json).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn an_issuer_needs_an_audience_and_one_source_of_keys() {
        let both = r#"{"issuer":"https://a","audience":"b","jwks-url":"https://a/k","jwks-file":"k"}"#;
        assert!(matches!(read(both).unwrap().check(), Err(SettingsError::TwoSources(_))));
        let none = r#"{"issuer":"https://a","audience":[]}"#;
        assert!(matches!(read(none).unwrap().check(), Err(SettingsError::Empty { .. })));
    }
}
