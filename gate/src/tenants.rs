//! Whose data a request is about: what its identity may reach, and which of it the request names.

use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};
use spandrel_proto::{TenantId, Tenants, TenantsError};

use crate::credentials::only;

/// The tenants that an identity may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantGrant {
    /// All there are, and all there will be; also what the server is and has as a whole.
    All,
    These(Tenants),
}

/// Whether the server keeps tenants apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tenancy {
    /// Everything is the tenant `default`, and headers that name one are ignored.
    #[default]
    Off,
    On,
}

/// How many tenants a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One: what is sent or changed belongs somewhere.
    One,
    Several,
    /// The server as a whole.
    Server,
}

/// Why a request is about no tenant that its identity may reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    #[error(
        "the credential is bound to the tenant {0}, and this server has no tenants: use one without --tenant, or start the \
         server with --multitenancy"
    )]
    NoTenants(String),
    #[error("X-Scope-OrgID names a tenant that is not this credential's; it may name {0}")]
    Other(String),
    #[error("this takes one tenant, and the request is about {0}: name one in X-Scope-OrgID")]
    Several(String),
    #[error("this is about the server as a whole, which needs a credential for all tenants (--tenant '*')")]
    WholeServer,
    #[error("X-Scope-OrgID does not name tenants: {0}")]
    Header(String),
}

/// Names the tenants of a request, with `|` between several.
pub const TENANT_HEADER: HeaderName = HeaderName::from_static("x-scope-orgid");

/// The word for all tenants.
const ALL: &str = "*";

// === impl TenantGrant ===

impl TenantGrant {
    /// The tenants of a request with these headers.
    pub(crate) fn choose(
        &self,
        tenancy: Tenancy,
        reach: Reach,
        headers: &HeaderMap,
    ) -> Result<Tenants, ChoiceError> {
        if tenancy == Tenancy::Off {
            return match self {
                Self::These(tenants) if !tenants.contains(&TenantId::default()) => {
                    Err(ChoiceError::NoTenants(tenants.to_string()))
                }
                _ => Ok(Tenants::default()),
            };
        }
        if reach == Reach::Server && *self != Self::All {
            return Err(ChoiceError::WholeServer);
        }
        let named = named(headers)?;
        let chosen = match (self, named) {
            (Self::These(granted), Some(named)) if !named.are_among(granted) => {
                return Err(ChoiceError::Other(granted.to_string()));
            }
            (_, Some(named)) => named,
            (Self::These(granted), None) => granted.clone(),
            (Self::All, None) => Tenants::default(),
        };
        match reach {
            Reach::One if chosen.only().is_none() => Err(ChoiceError::Several(chosen.to_string())),
            _ => Ok(chosen),
        }
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => true,
            (Self::All, Self::These(_)) => false,
            (Self::These(tenants), Self::These(others)) => tenants.are_among(others),
        }
    }
}

impl Default for TenantGrant {
    fn default() -> Self {
        Self::These(Tenants::default())
    }
}

impl From<TenantId> for TenantGrant {
    fn from(tenant: TenantId) -> Self {
        Self::These(tenant.into())
    }
}

impl FromStr for TenantGrant {
    type Err = TenantsError;

    fn from_str(text: &str) -> Result<Self, TenantsError> {
        if text == ALL { Ok(Self::All) } else { Tenants::parse(text).map(Self::These) }
    }
}

impl fmt::Display for TenantGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ALL),
            Self::These(tenants) => tenants.fmt(f),
        }
    }
}

/// The tenants that the headers name, if they name any.
fn named(headers: &HeaderMap) -> Result<Option<Tenants>, ChoiceError> {
    let text = only(headers, &TENANT_HEADER, "that names tenants");
    let text = text.map_err(|error| ChoiceError::Header(error.to_string()))?;
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Tenants::parse(text).map(Some).map_err(|error| ChoiceError::Header(error.to_string())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn choose(grant: &str, reach: Reach, header: Option<&'static str>) -> Result<String, ChoiceError> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(TENANT_HEADER, HeaderValue::from_static(header));
        }
        let grant: TenantGrant = grant.parse().unwrap();
        grant.choose(Tenancy::On, reach, &headers).map(|tenants| tenants.to_string())
    }

    #[test]
    fn an_identity_reaches_its_tenants_and_no_other() {
        let several = |grant, header| choose(grant, Reach::Several, header).unwrap();
        assert_eq!(several("acme", None), "acme");
        assert_eq!(several("acme", Some("")), "acme");
        assert_eq!(several("acme|shop", None), "acme|shop");
        assert_eq!(several("acme|shop", Some("shop")), "shop");
        assert_eq!(several("*", None), "default");
        assert_eq!(several("*", Some("shop|acme")), "acme|shop");
        for other in ["shop", "acme|shop", "default"] {
            let refused = choose("acme", Reach::Several, Some(other));
            assert_eq!(refused, Err(ChoiceError::Other("acme".to_owned())), "{other}");
        }
        for bad in ["a/b", "|", "a||b"] {
            assert!(matches!(choose("*", Reach::Several, Some(bad)), Err(ChoiceError::Header(_))), "{bad}");
        }
    }

    #[test]
    fn a_change_needs_one_tenant_and_the_server_needs_all() {
        assert_eq!(choose("acme|shop", Reach::One, Some("shop")), Ok("shop".to_owned()));
        let both = Err(ChoiceError::Several("acme|shop".to_owned()));
        assert_eq!(choose("acme|shop", Reach::One, None), both);
        assert_eq!(choose("*", Reach::One, Some("acme|shop")), both);
        assert_eq!(choose("acme|shop", Reach::Server, None), Err(ChoiceError::WholeServer));
        assert_eq!(choose("*", Reach::Server, None), Ok("default".to_owned()));
    }

    #[test]
    fn without_tenancy_everything_is_the_default_one() {
        let mut headers = HeaderMap::new();
        headers.insert(TENANT_HEADER, HeaderValue::from_static("acme"));
        let choose =
            |grant: &str| grant.parse::<TenantGrant>().unwrap().choose(Tenancy::Off, Reach::One, &headers);
        assert_eq!(choose("*"), Ok(Tenants::default()));
        assert_eq!(choose("default|shop"), Ok(Tenants::default()));
        assert_eq!(choose("shop"), Err(ChoiceError::NoTenants("shop".to_owned())));
    }

    #[test]
    fn a_grant_reads_back_as_it_is_written() {
        for text in ["*", "acme", "acme|shop"] {
            assert_eq!(text.parse::<TenantGrant>().unwrap().to_string(), text);
        }
        assert!("*|a".parse::<TenantGrant>().is_err());
        let within =
            |one: &str, other: &str| one.parse::<TenantGrant>().unwrap().is_within(&other.parse().unwrap());
        assert!(within("a", "a|b") && within("*", "*") && !within("*", "a") && !within("a|b", "a"));
    }
}
