//! Who asks: the result of a credential that was accepted.

use spandrel_proto::TenantId;

use crate::roles::Role;

/// A known caller. Handlers find it among the extensions of the request as `Arc<Identity>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of the key or the user.
    pub name: String,
    pub role: Role,
    /// The tenant whose data it is for.
    pub tenant: TenantId,
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
}

// === impl Via ===

impl Via {
    /// The word for it in the audit log and in `GET /api/v1/me`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Session => "session",
            Self::Proxy => "proxy",
        }
    }
}
