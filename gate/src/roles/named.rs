//! Roles by the names that credentials carry: the five of the table, and those of the configuration, which are one of the
//! five and see only a part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spandrel_proto::{Detector, Mask, Restriction};

use super::table::{Permission, Role};

/// The name of a role, of the table or of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(Arc<str>);

/// A role that an identity has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRole {
    pub name: RoleName,
    base: Role,
    /// What it does not see; `None` for the five of the table.
    pub restriction: Option<Arc<Restriction>>,
}

/// Every role that credentials may have on a server.
#[derive(Debug, Clone)]
pub struct Roles(BTreeMap<RoleName, Arc<NamedRole>>);

/// A role of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoleSettings {
    /// One of `ingest`, `read` and `edit`: the others reach what cannot be hidden from them.
    pub role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Keys of attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
    /// Words of [`Detector::name`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask_detected: Vec<String>,
}

/// Why a role of the configuration cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    #[error("the name of a role has 1 to {} characters of a-z, 0-9 and -", RoleName::MAX_LEN)]
    Name,
    #[error("the role {0} is there already; ingest, read, edit, admin and audit cannot be changed")]
    Taken(RoleName),
    #[error("the role {name} is based on `{base}`; allowed is ingest, read or edit")]
    Base { name: RoleName, base: String },
    #[error(
        "the role {name} masks what `{word}` detects; allowed is card, mail, token, phone, address and key"
    )]
    Detector { name: RoleName, word: String },
    #[error("the role {0} sends spans and reads none, so there is nothing to hide from it")]
    Nothing(RoleName),
}

// === impl RoleName ===

impl RoleName {
    pub const MAX_LEN: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of the five that every server has.
    pub fn is_built_in(&self) -> bool {
        self.0.parse::<Role>().is_ok()
    }
}

impl FromStr for RoleName {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = (1..=Self::MAX_LEN).contains(&text.len()) && text.chars().all(is_legal);
        if is_name { Ok(Self(text.into())) } else { Err(RoleError::Name) }
    }
}

impl TryFrom<String> for RoleName {
    type Error = RoleError;

    fn try_from(text: String) -> Result<Self, RoleError> {
        text.parse()
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        Self(role.name().into())
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// === impl NamedRole ===

impl NamedRole {
    /// The server's own metrics count all spans, so a role from which some are hidden does not see them.
    pub fn may(&self, permission: Permission) -> bool {
        let hides_spans = self.restriction.as_ref().is_some_and(|restriction| restriction.hides_spans());
        self.base.may(permission) && !(hides_spans && permission == Permission::Metrics)
    }

    /// The role of the table whose permissions it has.
    pub fn base(&self) -> Role {
        self.base
    }
}

impl From<Role> for NamedRole {
    fn from(role: Role) -> Self {
        Self { name: role.into(), base: role, restriction: None }
    }
}

// === impl Roles ===

impl Roles {
    /// The five of the table, and these.
    pub fn new(settings: &BTreeMap<String, RoleSettings>) -> Result<Self, RoleError> {
        let mut roles = Self::default();
        for (name, settings) in settings {
            let name: RoleName = name.parse()?;
            let role = settings.role(name.clone())?;
            if roles.0.insert(name.clone(), Arc::new(role)).is_some() {
                return Err(RoleError::Taken(name));
            }
        }
        Ok(roles)
    }

    pub fn find(&self, name: &RoleName) -> Option<Arc<NamedRole>> {
        self.0.get(name).cloned()
    }

    /// Every name, for an error that says which there are.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(RoleName::as_str).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &NamedRole> {
        self.0.values().map(|role| &**role)
    }
}

impl Default for Roles {
    fn default() -> Self {
        let all = Role::ALL.into_iter().map(|role| (role.into(), Arc::new(role.into())));
        Self(all.collect())
    }
}

impl RoleSettings {
    fn role(&self, name: RoleName) -> Result<NamedRole, RoleError> {
        let base = match self.role.parse() {
            Ok(base @ (Role::Ingest | Role::Read | Role::Edit)) => base,
            _ => return Err(RoleError::Base { name, base: self.role.clone() }),
        };
        let detector = |word: &String| {
            let known = Detector::ALL.into_iter().find(|detector| detector.name() == word);
            known.ok_or_else(|| RoleError::Detector { name: name.clone(), word: word.clone() })
        };
        let mask = Mask {
            keys: self.mask.clone(),
            detectors: self.mask_detected.iter().map(detector).collect::<Result<_, _>>()?,
        };
        let services: BTreeSet<String> = self.services.iter().cloned().collect();
        let services = services.into_iter().collect();
        let restriction = Restriction { services, condition: self.condition.clone(), mask };
        if base == Role::Ingest && !restriction.is_empty() {
            return Err(RoleError::Nothing(name));
        }
        let restriction = (!restriction.is_empty()).then(|| Arc::new(restriction));
        Ok(NamedRole { name, base, restriction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(name: &str, settings: RoleSettings) -> Result<Roles, RoleError> {
        Roles::new(&BTreeMap::from([(name.to_owned(), settings)]))
    }

    fn reader() -> RoleSettings {
        RoleSettings { role: "read".to_owned(), ..RoleSettings::default() }
    }

    #[test]
    fn a_role_of_the_configuration_has_the_permissions_of_its_base_and_sees_less() {
        let settings = RoleSettings {
            services: vec!["cart".to_owned()],
            mask_detected: vec!["mail".to_owned()],
            ..reader()
        };
        let roles = roles("support", settings).unwrap();
        let role = roles.find(&"support".parse().unwrap()).unwrap();
        assert!(role.may(Permission::Read) && !role.may(Permission::Edit));
        let restriction = role.restriction.as_ref().unwrap();
        assert_eq!(
            (&restriction.services[..], &restriction.mask.detectors[..]),
            (&["cart".to_owned()][..], &[Detector::Mail][..])
        );
        assert_eq!(roles.names(), ["admin", "audit", "edit", "ingest", "read", "support"]);
    }

    #[test]
    fn a_role_from_which_spans_are_hidden_does_not_see_the_metrics_of_the_server() {
        let role = |settings| roles("support", settings).unwrap().find(&"support".parse().unwrap()).unwrap();
        let services = vec!["cart".to_owned(), "bank".to_owned(), "cart".to_owned()];
        let limited = role(RoleSettings { services, ..reader() });
        assert!(limited.may(Permission::Read) && !limited.may(Permission::Metrics));
        assert_eq!(limited.restriction.as_ref().unwrap().services, ["bank", "cart"], "each once");
        let condition = Some("{ kind = server }".to_owned());
        assert!(!role(RoleSettings { condition, ..reader() }).may(Permission::Metrics));
        assert!(role(RoleSettings { mask: vec!["a".to_owned()], ..reader() }).may(Permission::Metrics));
    }

    #[test]
    fn roles_that_hide_nothing_or_cannot_hide_are_refused() {
        let refused = |name: &str, settings| roles(name, settings).unwrap_err();
        assert_eq!(refused("Support", reader()), RoleError::Name);
        assert_eq!(refused("read", reader()), RoleError::Taken(Role::Read.into()));
        for base in ["admin", "audit", "support", ""] {
            let settings = RoleSettings { role: base.to_owned(), ..reader() };
            assert!(matches!(refused("support", settings), RoleError::Base { .. }), "{base}");
        }
        let settings = RoleSettings { mask_detected: vec!["names".to_owned()], ..reader() };
        assert!(matches!(refused("support", settings), RoleError::Detector { .. }));
        let settings =
            RoleSettings { role: "ingest".to_owned(), mask: vec!["a".to_owned()], ..RoleSettings::default() };
        assert!(matches!(refused("sender", settings), RoleError::Nothing(_)));
    }
}
