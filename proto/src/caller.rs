//! Who a request is from, as far as the parts behind the gate need to know it: plain data, found among the extensions
//! of a request. Whether the request may pass at all was decided before.

use std::fmt;
use std::sync::Arc;

use crate::{TenantId, TenantIdError};

/// The caller of a request. A request without one is of a server that asks nobody who they are, for the tenant
/// `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose data the request is about.
    pub tenants: Tenants,
    /// Whether it also sees what belongs to no tenant, as the size of the whole store.
    pub sees_server: bool,
    /// The credential whose quota it counts for; its tenant's counts as well.
    pub account: Option<Arc<str>>,
    /// What the caller does not see of these data.
    pub restriction: Option<Arc<Restriction>>,
}

/// One tenant or several, sorted by name, each once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenants(Arc<[TenantId]>);

/// What a role does not see, although it may ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restriction {
    /// Only spans of these services are seen; all, if empty.
    pub services: Vec<String>,
    /// Only spans that satisfy this TraceQL selector are seen.
    pub condition: Option<String>,
    /// What is hidden of the spans that are seen.
    pub mask: Mask,
}

/// Values that are hidden.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask {
    /// Keys of attributes, on every level, whose values are hidden.
    pub keys: Vec<String>,
    /// Kinds of texts that are hidden wherever they occur.
    pub detectors: Vec<Detector>,
}

/// A kind of text that gives away something of a person or opens a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detector {
    /// Numbers of payment cards, by their length and checksum.
    Card,
    /// Mail addresses.
    Mail,
    /// Bearer tokens, JWTs, API keys with well-known prefixes, and passwords in URLs.
    Token,
    /// Phone numbers: international ones, and national ones that are written or named as such.
    Phone,
    /// Addresses of the Internet protocol, but those of the machine itself.
    Address,
    /// Private keys, as PEM, PGP and age write them.
    Key,
}

/// How many traces an answer holds, among the extensions of a response: the audit log notes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnsweredTraces(pub u64);

/// Why a text does not name tenants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantsError {
    /// A part of it is not a name.
    #[error(transparent)]
    Name(#[from] TenantIdError),
    /// There are more than [`Tenants::MAX`].
    #[error("a request names at most {} tenants", Tenants::MAX)]
    TooMany,
}

// === impl Caller ===

impl Default for Caller {
    fn default() -> Self {
        Self { tenants: Tenants::default(), sees_server: true, account: None, restriction: None }
    }
}

// === impl Tenants ===

impl Tenants {
    /// The most tenants of one request: each is asked for itself.
    pub const MAX: usize = 100;

    /// Reads names with `|` between them.
    pub fn parse(text: &str) -> Result<Self, TenantsError> {
        let names = text.split('|').map(TenantId::new);
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        names.sort();
        names.dedup();
        if names.len() > Self::MAX { Err(TenantsError::TooMany) } else { Ok(Self(names.into())) }
    }

    /// The tenant, if there is one alone.
    pub fn only(&self) -> Option<&TenantId> {
        match &*self.0 {
            [tenant] => Some(tenant),
            _ => None,
        }
    }

    /// The first one by name.
    pub fn first(&self) -> &TenantId {
        &self.0[0]
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TenantId> {
        self.0.iter()
    }

    /// Whether a tenant is among them.
    pub fn contains(&self, tenant: &TenantId) -> bool {
        self.0.binary_search(tenant).is_ok()
    }

    /// Whether all of these are among others.
    pub fn are_among(&self, others: &Self) -> bool {
        self.iter().all(|tenant| others.contains(tenant))
    }
}

impl Default for Tenants {
    fn default() -> Self {
        TenantId::default().into()
    }
}

impl From<TenantId> for Tenants {
    fn from(tenant: TenantId) -> Self {
        Self([tenant].into())
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, tenant) in self.iter().enumerate() {
            let separator = if at > 0 { "|" } else { "" };
            write!(f, "{separator}{tenant}")?;
        }
        Ok(())
    }
}

// === impl Detector ===

impl Detector {
    /// All there are.
    pub const ALL: [Self; 6] = [Self::Card, Self::Mail, Self::Token, Self::Phone, Self::Address, Self::Key];

    /// The word for it in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Mail => "mail",
            Self::Token => "token",
            Self::Phone => "phone",
            Self::Address => "address",
            Self::Key => "key",
        }
    }
}

// === impl Restriction ===

impl Restriction {
    /// Whether some spans are hidden as a whole, so that numbers about all spans tell something of them.
    pub fn hides_spans(&self) -> bool {
        !self.services.is_empty() || self.condition.is_some()
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        !self.hides_spans() && self.mask.is_empty()
    }
}

impl Mask {
    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.detectors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_sorted_and_each_there_once() {
        let tenants = Tenants::parse("shop|acme|shop").unwrap();
        assert_eq!(tenants.to_string(), "acme|shop");
        assert_eq!(tenants.only(), None);
        assert_eq!(Tenants::parse("acme").unwrap().only(), Some(tenants.first()));
        assert!(Tenants::parse("acme").unwrap().are_among(&tenants));
        assert!(!Tenants::default().are_among(&tenants));
    }

    #[test]
    fn services_and_a_condition_hide_spans_and_a_mask_does_not() {
        let mask = Mask { keys: vec!["a".to_owned()], detectors: Vec::new() };
        let masked = Restriction { mask, ..Restriction::default() };
        assert!(!masked.hides_spans() && !masked.is_empty() && Restriction::default().is_empty());
        let services = vec!["cart".to_owned()];
        assert!(Restriction { services, ..Restriction::default() }.hides_spans());
        assert!(Restriction { condition: Some("{ }".to_owned()), ..Restriction::default() }.hides_spans());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "|", "a|", "a||b", "a/b", "a,b", " a", "a |b"] {
            assert!(matches!(Tenants::parse(bad), Err(TenantsError::Name(_))), "{bad}");
        }
        let many: Vec<String> = (0..=Tenants::MAX).map(|at| at.to_string()).collect();
        assert_eq!(Tenants::parse(&many.join("|")), Err(TenantsError::TooMany));
    }
}
