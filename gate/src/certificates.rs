//! Client certificates as identities: rules of the configuration map the names in a certificate to a role and tenants.
//!
//! A certificate counts only as [`Peer`](crate::tls::Peer) has it, which is after it was verified at the handshake.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{Identity, Via};
use crate::idp::SettingsError;
use crate::roles::{NamedRole, RoleName, Roles};
use crate::tenants::TenantGrant;
use crate::tls::PeerCertificate;

/// A rule: an entry of `client-identities`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificateSettings {
    /// `spiffe://DOMAIN/PATH`, `dns:NAME` or `cn:NAME`. `*` stands for one part between slashes or dots.
    #[serde(rename = "match")]
    pub pattern: String,
    pub role: RoleName,
    /// The tenants, `default` unless given; `$1` is what the first `*` stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The name of the identity, that of the certificate unless given; `$1` as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The rules of a server. The first that fits counts.
#[derive(Debug, Default)]
pub(crate) struct CertificateRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    role: Arc<NamedRole>,
    tenant: Option<String>,
    name: Option<String>,
}

#[derive(Debug)]
struct Pattern {
    kind: Kind,
    parts: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Spiffe,
    Dns,
    CommonName,
}

const ANY: &str = "*";
/// Parts that `$1` to `$9` can name.
const MAX_STARS: usize = 9;
/// The longest name.
const MAX_NAME: usize = 256;

// === impl CertificateRules ===

impl CertificateRules {
    pub(crate) fn new(settings: &[CertificateSettings], roles: &Roles) -> Result<Self, SettingsError> {
        settings.iter().map(|settings| Rule::new(settings, roles)).collect::<Result<_, _>>().map(Self)
    }

    /// Who a verified certificate stands for. `None` if no rule fits.
    pub(crate) fn identify(&self, certificate: &PeerCertificate) -> Option<Arc<Identity>> {
        self.0.iter().find_map(|rule| rule.identity(certificate)).map(Arc::new)
    }
}

// === impl Rule ===

impl Rule {
    fn new(settings: &CertificateSettings, roles: &Roles) -> Result<Self, SettingsError> {
        let pattern = Pattern::parse(&settings.pattern)?;
        let role = roles.find(&settings.role).ok_or_else(|| SettingsError::Role {
            of: settings.pattern.clone(),
            role: settings.role.clone(),
            known: roles.names().join(", "),
        })?;
        if let Some(tenant) = &settings.tenant {
            // With a name in each place it has to be one that can be.
            let sample = filled(tenant, &vec!["x"; pattern.stars()]);
            if sample.parse::<TenantGrant>().is_err() {
                return Err(SettingsError::Tenants { of: settings.pattern.clone(), tenants: tenant.clone() });
            }
        }
        Ok(Self { pattern, role, tenant: settings.tenant.clone(), name: settings.name.clone() })
    }

    fn identity(&self, certificate: &PeerCertificate) -> Option<Identity> {
        let (shown, stars) =
            self.pattern.names(certificate).find_map(|name| Some((name, self.pattern.matched(name)?)))?;
        let name = self.name.as_ref().map_or(shown.to_owned(), |name| filled(name, &stars));
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return None;
        }
        let tenants = match &self.tenant {
            None => TenantGrant::default(),
            // What stands in a certificate names one tenant: several, or all, have to be written in the rule.
            Some(_) if stars.iter().any(|star| star.contains(['|', '*'])) => return None,
            Some(tenant) => filled(tenant, &stars).parse().ok()?,
        };
        Some(Identity { name, role: self.role.clone(), tenants, via: Via::Certificate })
    }
}

/// A text with each `$1` to `$9` replaced by what the star of that number stands for.
fn filled(text: &str, stars: &[&str]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let number = rest.peek().and_then(|digit| digit.to_digit(10)).filter(|_| character == '$');
        let star = number.and_then(|number| stars.get((number as usize).checked_sub(1)?));
        match star {
            Some(star) => {
                filled.push_str(star);
                rest.next();
            }
            None => filled.push(character),
        }
    }
    filled
}

// === impl Pattern, Kind ===

impl Pattern {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        let wrong = || SettingsError::Pattern(text.to_owned());
        let (kind, name) = match (text.strip_prefix("dns:"), text.strip_prefix("cn:")) {
            (Some(name), _) => (Kind::Dns, name),
            (_, Some(name)) => (Kind::CommonName, name),
            _ if text.starts_with("spiffe://") => (Kind::Spiffe, text),
            _ => return Err(wrong()),
        };
        let parts = kind.parts(name).map(str::to_owned).collect();
        let pattern = Self { kind, parts };
        let has_bad_star = pattern.parts.iter().any(|part| part.contains('*') && part != ANY);
        let has_domain =
            kind != Kind::Spiffe || pattern.parts.get(2).is_some_and(|domain| !domain.is_empty());
        let is_usable = !name.is_empty() && has_domain && !has_bad_star && pattern.stars() <= MAX_STARS;
        if is_usable { Ok(pattern) } else { Err(wrong()) }
    }

    fn stars(&self) -> usize {
        self.parts.iter().filter(|part| *part == ANY).count()
    }

    /// The names of the certificate that it is about.
    fn names<'c>(&self, certificate: &'c PeerCertificate) -> Box<dyn Iterator<Item = &'c str> + 'c> {
        match self.kind {
            Kind::Spiffe => Box::new(certificate.spiffe_id().into_iter()),
            Kind::Dns => Box::new(certificate.dns_names().iter().map(String::as_str)),
            Kind::CommonName => Box::new(certificate.common_name().into_iter()),
        }
    }

    /// What the stars stand for, if the name fits.
    fn matched<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut stars = Vec::new();
        let mut parts = self.kind.parts(name);
        for wanted in &self.parts {
            let part = parts.next()?;
            let is_same = match self.kind {
                Kind::Dns => part.eq_ignore_ascii_case(wanted),
                Kind::Spiffe | Kind::CommonName => part == wanted,
            };
            match wanted == ANY {
                true if part.is_empty() => return None,
                true => stars.push(part),
                false if is_same => {}
                false => return None,
            }
        }
        parts.next().is_none().then_some(stars)
    }
}

impl Kind {
    fn parts(self, name: &str) -> impl Iterator<Item = &str> {
        let separator = match self {
            Self::Spiffe => Some('/'),
            Self::Dns => Some('.'),
            Self::CommonName => None,
        };
        name.split(move |character| Some(character) == separator)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use serde_json::json;

    use super::*;
    use crate::tls::Authority;

    fn rules(rules: serde_json::Value) -> Result<CertificateRules, SettingsError> {
        let settings: Vec<CertificateSettings> = serde_json::from_value(rules).unwrap();
        CertificateRules::new(&settings, &Roles::default())
    }

    fn parsed(pem: &str) -> PeerCertificate {
        PeerCertificate::parse(&[CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]).unwrap()
    }

    /// A workload with this common name and URI.
    fn client(name: &str, uri: Option<&str>) -> PeerCertificate {
        let now = SystemTime::now();
        let (authority, _) = Authority::create(now).unwrap();
        parsed(&authority.client(name, uri, now).unwrap().certificate)
    }

    fn found(rules: &CertificateRules, certificate: &PeerCertificate) -> Option<String> {
        let identity = rules.identify(certificate)?;
        assert_eq!(identity.via, Via::Certificate);
        Some(format!("{} {} {}", identity.name, identity.role.name, identity.tenants))
    }

    #[test]
    fn a_spiffe_id_is_matched_part_by_part_and_names_the_tenant() {
        let rules = rules(json!([
            { "match": "spiffe://cluster.local/ns/ops/sa/*", "role": "admin", "tenant": "*", "name": "ops-$1" },
            { "match": "spiffe://cluster.local/ns/*/sa/*", "role": "ingest", "tenant": "$1" },
        ]))
        .unwrap();
        let of = |uri: &str| found(&rules, &client("x", Some(uri)));
        let pay = "spiffe://cluster.local/ns/shop/sa/pay";
        assert_eq!(of(pay), Some(format!("{pay} ingest shop")));
        assert_eq!(of("spiffe://cluster.local/ns/ops/sa/ada"), Some("ops-ada admin *".to_owned()));
        for other in [
            "spiffe://cluster.local/ns/shop/sa/pay/more",
            "spiffe://cluster.local/ns/shop/sa",
            "spiffe://cluster.local/ns/shop/sa/",
            "spiffe://other.local/ns/shop/sa/pay",
            "spiffe://CLUSTER.local/ns/shop/sa/pay",
            "https://cluster.local/ns/shop/sa/pay",
            // A namespace that is no tenant's name, or would mean all of them.
            "spiffe://cluster.local/ns/*/sa/pay",
            "spiffe://cluster.local/ns/a|b/sa/pay",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn common_names_and_dns_names_are_matched_too() {
        let common = rules(json!([{ "match": "cn:payment", "role": "ingest" }])).unwrap();
        assert_eq!(found(&common, &client("payment", None)).unwrap(), "payment ingest default");
        assert_eq!(found(&common, &client("payments", None)), None);
        let now = SystemTime::now();
        let names = ["Agent.shop.example".to_owned()];
        let server = parsed(&Authority::create(now).unwrap().0.server(&names, now).unwrap().certificate);
        let dns =
            rules(json!([{ "match": "dns:*.SHOP.example", "role": "read", "tenant": "acme" }])).unwrap();
        assert_eq!(found(&dns, &server).unwrap(), "Agent.shop.example read acme");
        let deeper = rules(json!([{ "match": "dns:*.example", "role": "read" }])).unwrap();
        assert_eq!(found(&deeper, &server), None, "a star is one part");
        let any = rules(json!([{ "match": "cn:*", "role": "read", "name": "$1$2$" }])).unwrap();
        assert_eq!(found(&any, &client("a", None)).unwrap(), "a$2$ read default");
    }

    #[test]
    fn rules_that_can_never_fit_are_refused() {
        for pattern in ["", "payment", "dns:", "cn:", "spiffe://", "spiffe://a/x*", "dns:a*.b", "https://a/b"]
        {
            let refused = rules(json!([{ "match": pattern, "role": "read" }]));
            assert!(matches!(refused, Err(SettingsError::Pattern(_))), "{pattern}");
        }
        let role = rules(json!([{ "match": "cn:a", "role": "root" }]));
        assert!(matches!(role, Err(SettingsError::Role { .. })));
        for tenant in ["a/b", "$2", ""] {
            let refused = rules(json!([{ "match": "cn:*", "role": "read", "tenant": tenant }]));
            assert!(matches!(refused, Err(SettingsError::Tenants { .. })), "{tenant}");
        }
    }
}
