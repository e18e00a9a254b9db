//! Reverse proxies that have authenticated a user already, and say who it is in headers.
//!
//! The headers of any other peer are never looked at: each client could send them.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::credentials::{CredentialError, only};
use crate::identity::{Identity, Via};
use crate::roles::Roles;

/// The names of the headers that a proxy sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyHeaders {
    pub user: HeaderName,
    pub role: HeaderName,
    pub tenant: HeaderName,
}

/// Which peers are believed, and what.
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    headers: ProxyHeaders,
}

/// Why what a trusted proxy says is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error(transparent)]
    Header(#[from] CredentialError),
    #[error("the proxy names a user and no role: it has to set {0} to the name of one that this server has")]
    Role(HeaderName),
    #[error("what the proxy sets {0} to does not name tenants")]
    Tenant(HeaderName),
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The longest name of a user that is believed.
const MAX_NAME: usize = 256;

// === impl TrustedProxies ===

impl TrustedProxies {
    pub fn new(networks: Vec<IpNet>, headers: ProxyHeaders) -> Self {
        Self { networks, headers }
    }

    /// Whether an address is that of a listed proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The user that a trusted peer names, if it names one.
    pub fn identity(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        roles: &Roles,
    ) -> Result<Option<Arc<Identity>>, ProxyError> {
        if !self.trusts(peer) {
            return Ok(None);
        }
        let Some(user) = only(headers, &self.headers.user, "of the proxy that names the user")? else {
            return Ok(None);
        };
        let name = user.trim();
        if name.is_empty() || name.len() > MAX_NAME {
            return Ok(None);
        }
        let role = only(headers, &self.headers.role, "of the proxy that names the role")?;
        let role = role.and_then(|role| roles.find(&role.trim().parse().ok()?));
        let role = role.ok_or_else(|| ProxyError::Role(self.headers.role.clone()))?;
        let tenants = only(headers, &self.headers.tenant, "of the proxy that names tenants")?;
        let tenants = tenants.map(|tenants| tenants.trim().parse()).transpose();
        let tenants =
            tenants.map_err(|_| ProxyError::Tenant(self.headers.tenant.clone()))?.unwrap_or_default();
        Ok(Some(Arc::new(Identity { name: name.to_owned(), role, tenants, via: Via::Proxy })))
    }

    /// The address of the client: the peer, or the last one that a trusted peer has seen before it.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let texts = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let mut hops: Vec<IpAddr> = Vec::new();
        for hop in texts.flat_map(|text| text.split(',')) {
            match hop.trim().parse::<IpAddr>() {
                Ok(address) => hops.push(address.to_canonical()),
                // What stands before an unreadable hop came from the client.
                Err(_) => hops.clear(),
            }
        }
        hops.into_iter().rev().find(|hop| !self.trusts(*hop)).unwrap_or(peer)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::roles::Role;

    fn proxies() -> TrustedProxies {
        let headers = ["x-user", "x-role", "x-tenant"].map(HeaderName::from_static);
        let [user, role, tenant] = headers;
        let headers = ProxyHeaders { user, role, tenant };
        TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], headers)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn a_listed_proxy_names_user_and_role_and_no_other_peer_does() {
        let sent = headers(&[("x-user", "ada"), ("x-role", "edit")]);
        let named = |peer: &str| proxies().identity(peer.parse().unwrap(), &sent, &Roles::default()).unwrap();
        let identity = named("10.1.2.3").unwrap();
        assert_eq!(
            (identity.name.as_str(), identity.role.base(), &identity.via),
            ("ada", Role::Edit, &Via::Proxy)
        );
        assert!(named("fd00::1").is_some());
        assert_eq!(named("11.0.0.1"), None);
        assert_eq!(named("::1"), None);
    }

    #[test]
    fn a_user_without_a_role_is_nobody() {
        let peer = "10.0.0.1".parse().unwrap();
        for sent in [headers(&[("x-user", "ada")]), headers(&[("x-user", "ada"), ("x-role", "root")])] {
            assert!(matches!(proxies().identity(peer, &sent, &Roles::default()), Err(ProxyError::Role(_))));
        }
        for sent in [headers(&[("x-role", "admin")]), headers(&[("x-user", " "), ("x-role", "admin")])] {
            assert_eq!(proxies().identity(peer, &sent, &Roles::default()), Ok(None));
        }
    }

    #[test]
    fn the_proxy_names_the_tenants_and_the_default_one_unless_it_does() {
        let of = |tenant: &'static str| {
            let sent = headers(&[("x-user", "ada"), ("x-role", "read"), ("x-tenant", tenant)]);
            proxies().identity("10.0.0.1".parse().unwrap(), &sent, &Roles::default())
        };
        assert_eq!(of("acme|shop").unwrap().unwrap().tenants.to_string(), "acme|shop");
        assert!(matches!(of("a/b"), Err(ProxyError::Tenant(_))));
        assert!(matches!(of(""), Err(ProxyError::Tenant(_))));
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        let client = |peer: &str, hops: &'static str| {
            let sent = headers(&[("x-forwarded-for", hops)]);
            proxies().client(peer.parse().unwrap(), &sent).to_string()
        };
        assert_eq!(client("10.0.0.1", "1.1.1.1, 2.2.2.2, 10.0.0.2"), "2.2.2.2");
        assert_eq!(client("10.0.0.1", "1.1.1.1, x, 10.0.0.2"), "10.0.0.1");
        assert_eq!(client("3.3.3.3", "1.1.1.1"), "3.3.3.3");
        assert_eq!(client("10.0.0.1", ""), "10.0.0.1");
    }
}
