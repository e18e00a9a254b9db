//! Who asks: the result of a credential that was accepted.

use std::sync::Arc;

use crate::roles::NamedRole;
use crate::tenants::TenantGrant;

/// A known caller. Handlers find it among the extensions of the request as `Arc<Identity>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of the key, the user or the workload.
    pub name: String,
    pub role: Arc<NamedRole>,
    /// The tenants whose data it may reach.
    pub tenants: TenantGrant,
    pub via: Via,
}

/// How the caller has shown who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// An API key, by its ID.
    Key(String),
    /// A user's session in a browser.
    Session,
    /// The headers of a listed reverse proxy.
    Proxy,
    /// A bearer token of an issuer, by the issuer.
    Jwt(Arc<str>),
    /// A session that began with a login at an identity provider, by the issuer.
    Oidc(Arc<str>),
    /// A client certificate that was verified at the handshake.
    Certificate,
}

// === impl Identity ===

impl Identity {
    /// The name of the account whose quota a request counts for.
    pub fn account(&self) -> Arc<str> {
        match &self.via {
            Via::Key(id) => format!("key:{id}").into(),
            // Two issuers may know different people by the same name.
            Via::Jwt(issuer) | Via::Oidc(issuer) => {
                format!("{}:{issuer}:{}", self.via.name(), self.name).into()
            }
            Via::Session | Via::Proxy | Via::Certificate => {
                format!("{}:{}", self.via.name(), self.name).into()
            }
        }
    }
}

// === impl Via ===

impl Via {
    /// The word for it in the audit log and in `GET /api/v1/me`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Session => "session",
            Self::Proxy => "proxy",
            Self::Jwt(_) => "jwt",
            Self::Oidc(_) => "oidc",
            Self::Certificate => "certificate",
        }
    }
}
