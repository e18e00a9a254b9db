//! What the claims of a token mean here: the name, the role and the tenants of an identity.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use spandrel_proto::Tenants;

use super::settings::{InOrder, SettingsError};
use super::token::Claims;
use crate::identity::{Identity, Via};
use crate::roles::{NamedRole, RoleName, Roles};
use crate::tenants::TenantGrant;

/// Which claims make an identity: `identity` of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ClaimSettings {
    /// The claim with the name of the caller. A dot leads into an object, as in `realm_access.roles`.
    pub name: String,
    /// The claim with the groups: a list, or words with spaces between them.
    pub groups: String,
    /// Groups and their roles; of several that a caller has, the first in this order counts.
    pub roles: InOrder<RoleName>,
    /// The role of callers who are in none of these groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_role: Option<RoleName>,
    /// The claim with the tenants: a list, or one text with `|` between several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Groups and their tenants, which add up; `*` for all.
    #[serde(skip_serializing_if = "is_empty")]
    pub tenants: InOrder<String>,
}

/// The same with the roles of a server.
#[derive(Debug)]
pub(crate) struct Mapping {
    name: String,
    groups: String,
    roles: Vec<(String, Arc<NamedRole>)>,
    default_role: Option<Arc<NamedRole>>,
    tenant: Option<String>,
    tenants: Vec<(String, TenantGrant)>,
}

/// Why a genuine token gives no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("the token names nobody: the claim `{0}` is missing, or no text of 1 to {MAX_NAME} characters")]
    Name(String),
    #[error("{name} is known, and has no role here: no group of the claim `{claim}` has one")]
    NoRole { name: String, claim: String },
    #[error("{0} is known, and has no tenant here")]
    NoTenant(String),
    #[error("the claim `{0}` of the token does not name tenants")]
    BadTenant(String),
}

/// The longest name.
const MAX_NAME: usize = 256;
/// Groups of a token that are looked at.
const MAX_GROUPS: usize = 1_000;

fn is_empty<V>(pairs: &InOrder<V>) -> bool {
    pairs.0.is_empty()
}

// === impl ClaimSettings ===

impl Default for ClaimSettings {
    fn default() -> Self {
        Self {
            name: "sub".to_owned(),
            groups: "groups".to_owned(),
            roles: InOrder::default(),
            default_role: None,
            tenant: None,
            tenants: InOrder::default(),
        }
    }
}

impl ClaimSettings {
    /// Looks up the roles. `of` says in errors whose settings these are.
    pub(crate) fn mapping(&self, of: &str, roles: &Roles) -> Result<Mapping, SettingsError> {
        if self.roles.0.is_empty() && self.default_role.is_none() {
            return Err(SettingsError::Empty { of: of.to_owned(), what: "`roles` or a `default-role`" });
        }
        let find = |role: &RoleName| {
            roles.find(role).ok_or_else(|| SettingsError::Role {
                of: of.to_owned(),
                role: role.clone(),
                known: roles.names().join(", "),
            })
        };
        let tenants = |(group, text): &(String, String)| {
            let wrong = |_| SettingsError::Tenants { of: of.to_owned(), tenants: text.clone() };
            Ok((group.clone(), text.parse().map_err(wrong)?))
        };
        Ok(Mapping {
            name: self.name.clone(),
            groups: self.groups.clone(),
            roles: self
                .roles
                .0
                .iter()
                .map(|(group, role)| Ok((group.clone(), find(role)?)))
                .collect::<Result<_, SettingsError>>()?,
            default_role: self.default_role.as_ref().map(find).transpose()?,
            tenant: self.tenant.clone(),
            tenants: self.tenants.0.iter().map(tenants).collect::<Result<_, SettingsError>>()?,
        })
    }
}

// === impl Mapping ===

impl Mapping {
    pub(crate) fn identity(&self, claims: &Claims, via: Via) -> Result<Identity, ClaimError> {
        let name = find(claims, &self.name).and_then(Value::as_str).filter(|name| is_name(name));
        let name = name.ok_or_else(|| ClaimError::Name(self.name.clone()))?.to_owned();
        let groups = words(find(claims, &self.groups));
        let role = self.roles.iter().find(|(group, _)| groups.contains(&group.as_str()));
        let role = role.map(|(_, role)| role).or(self.default_role.as_ref()).cloned();
        let Some(role) = role else { return Err(ClaimError::NoRole { name, claim: self.groups.clone() }) };
        let tenants = self.tenants(claims, &groups)?;
        match tenants {
            Some(tenants) => Ok(Identity { name, role, tenants, via }),
            None => Err(ClaimError::NoTenant(name)),
        }
    }

    /// The tenants by the claim and by the groups; the default one if neither is configured.
    fn tenants(&self, claims: &Claims, groups: &[&str]) -> Result<Option<TenantGrant>, ClaimError> {
        if self.tenant.is_none() && self.tenants.is_empty() {
            return Ok(Some(TenantGrant::default()));
        }
        let of_groups = self.tenants.iter().filter(|(group, _)| groups.contains(&group.as_str()));
        let mut names = Vec::new();
        for (_, grant) in of_groups {
            match grant {
                TenantGrant::All => return Ok(Some(TenantGrant::All)),
                TenantGrant::These(tenants) => names.push(tenants.to_string()),
            }
        }
        if let Some(claim) = &self.tenant {
            match find(claims, claim) {
                // A user may be able to choose what stands in a profile: `*` is no tenant's name, and so refused.
                Some(Value::String(text)) => names.push(text.clone()),
                Some(value @ Value::Array(_)) => {
                    names.extend(words(Some(value)).into_iter().map(str::to_owned))
                }
                Some(Value::Null) | None => {}
                Some(_) => return Err(ClaimError::BadTenant(claim.clone())),
            }
        }
        if names.is_empty() {
            return Ok(None);
        }
        let tenants = Tenants::parse(&names.join("|"));
        let claim = || ClaimError::BadTenant(self.tenant.clone().unwrap_or_default());
        tenants.map(|tenants| Some(TenantGrant::These(tenants))).map_err(|_| claim())
    }
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= MAX_NAME && !name.chars().any(char::is_control)
}

/// A claim by its name, or by the way to it. Some issuers have names that are URLs, so the whole name comes first.
fn find<'c>(claims: &'c Claims, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// The texts of a list, or the words of a text.
fn words(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => text.split_whitespace().take(MAX_GROUPS).collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).take(MAX_GROUPS).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapped(settings: Value, claims: Value) -> Result<(String, String, String), ClaimError> {
        let settings: ClaimSettings = serde_json::from_value(settings).unwrap();
        let mapping = settings.mapping("the issuer", &Roles::default()).unwrap();
        let identity = mapping.identity(claims.as_object().unwrap(), Via::Jwt("i".into()))?;
        Ok((identity.name, identity.role.name.to_string(), identity.tenants.to_string()))
    }

    fn said(name: &str, role: &str, tenants: &str) -> Result<(String, String, String), ClaimError> {
        Ok((name.to_owned(), role.to_owned(), tenants.to_owned()))
    }

    #[test]
    fn the_first_group_of_the_file_gives_the_role() {
        let settings = json!({ "roles": { "ops": "admin", "dev": "read" } });
        for (groups, role) in
            [(json!(["dev", "ops"]), "admin"), (json!(["x", "dev"]), "read"), (json!("a dev"), "read")]
        {
            let claims = json!({ "sub": "ada", "groups": groups });
            assert_eq!(mapped(settings.clone(), claims), said("ada", role, "default"));
        }
        for groups in
            [json!([]), json!(["Dev", "o"]), json!(7), json!(null), json!([["dev"]]), json!({ "dev": 1 })]
        {
            let refused = mapped(settings.clone(), json!({ "sub": "ada", "groups": groups }));
            assert!(matches!(refused, Err(ClaimError::NoRole { .. })), "{refused:?}");
        }
        let settings = json!({ "default-role": "ingest" });
        assert_eq!(mapped(settings, json!({ "sub": "ada" })), said("ada", "ingest", "default"));
    }

    #[test]
    fn claims_are_found_by_name_and_inside_objects() {
        let settings =
            json!({ "name": "preferred_username", "groups": "realm_access.roles", "roles": { "r": "read" } });
        let claims = json!({ "preferred_username": "ada", "realm_access": { "roles": ["r"] } });
        assert_eq!(mapped(settings, claims), said("ada", "read", "default"));
        let settings = json!({ "groups": "https://a.example/groups", "roles": { "r": "read" } });
        let claims = json!({ "sub": "ada", "https://a.example/groups": ["r"] });
        assert_eq!(mapped(settings, claims), said("ada", "read", "default"));
    }

    #[test]
    fn tenants_come_from_the_claim_and_from_groups_and_there_is_no_default_then() {
        let settings = json!({
            "default-role": "read", "tenant": "org", "tenants": { "shop-team": "shop", "ops": "*", "two": "a|b" }
        });
        let mapped = |claims| mapped(settings.clone(), claims);
        assert_eq!(mapped(json!({ "sub": "u", "org": "acme" })), said("u", "read", "acme"));
        assert_eq!(mapped(json!({ "sub": "u", "org": ["b", "a"] })), said("u", "read", "a|b"));
        assert_eq!(
            mapped(json!({ "sub": "u", "groups": ["shop-team", "two"] })),
            said("u", "read", "a|b|shop")
        );
        assert_eq!(mapped(json!({ "sub": "u", "org": "x", "groups": ["ops"] })), said("u", "read", "*"));
        assert_eq!(mapped(json!({ "sub": "u" })), Err(ClaimError::NoTenant("u".to_owned())));
        for bad in [json!("*"), json!("a/b"), json!(7), json!(["*"]), json!("")] {
            let refused = mapped(json!({ "sub": "u", "org": bad }));
            assert_eq!(refused, Err(ClaimError::BadTenant("org".to_owned())));
        }
    }

    #[test]
    fn a_token_without_a_usable_name_is_refused() {
        for name in [json!(null), json!(""), json!(" "), json!(7), json!("a\nb"), json!("x".repeat(257))] {
            let refused = mapped(json!({ "default-role": "read" }), json!({ "sub": name }));
            assert_eq!(refused, Err(ClaimError::Name("sub".to_owned())));
        }
    }

    #[test]
    fn settings_that_let_nobody_in_or_name_what_is_not_there_are_refused() {
        let mapping = |settings: Value| {
            let settings: ClaimSettings = serde_json::from_value(settings).unwrap();
            settings.mapping("the issuer", &Roles::default()).unwrap_err()
        };
        assert!(matches!(mapping(json!({})), SettingsError::Empty { .. }));
        assert!(matches!(mapping(json!({ "roles": { "a": "root" } })), SettingsError::Role { .. }));
        let bad = json!({ "default-role": "read", "tenants": { "a": "b/c" } });
        assert!(matches!(mapping(bad), SettingsError::Tenants { .. }));
    }
}
