//! Bearer tokens of the issuers that are configured (`jwt-issuers`): whose token it is.

use std::sync::Arc;

use super::claims::{ClaimError, Mapping};
use super::provider::{Missing, Provider, Source};
use super::settings::{IssuerSettings, ProviderLimits, SettingsError};
use super::token::{Expected, TokenError, unverified};
use crate::identity::{Identity, Via};
use crate::roles::Roles;
use crate::secret::Secret;

/// Every issuer of a server.
pub(crate) struct Issuers(Vec<Issuer>);

struct Issuer {
    name: Arc<str>,
    expected: Expected,
    provider: Arc<Provider>,
    mapping: Mapping,
}

/// Why a token gives no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Claims(#[from] ClaimError),
    #[error("the keys of {0} cannot be fetched now")]
    Unavailable(String),
}

/// Whether a bearer token is a JWT: three parts with dots between them, which no API key has.
pub(crate) fn is_jwt(token: &Secret) -> bool {
    token.reveal().bytes().filter(|byte| *byte == b'.').count() == 2
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
        issuer.expected.require_algorithm(&named)?;
        let key = issuer.provider.key(&named).await.map_err(|missing| match missing {
            Missing::Key => Unknown::Token(TokenError::UnknownKey),
            Missing::Unavailable => Unknown::Unavailable(issuer.name.to_string()),
        })?;
        let claims = issuer.expected.verify(token, &named, &key)?;
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
        Ok(Self {
            name: settings.issuer.as_str().into(),
            expected: Expected {
                issuer: settings.issuer.clone(),
                audience: settings.audience.clone(),
                algorithms: settings.algorithms.clone(),
                skew: limits.skew,
            },
            provider: Provider::new(&settings.issuer, source, settings.ca.as_deref(), limits)?,
            mapping: settings.identity.mapping(&settings.issuer, roles)?,
        })
    }
}
