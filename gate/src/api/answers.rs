//! The bodies of requests and answers, which the command line reads with the same types.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::identity::Identity;
use crate::keys::{Key, Listed};
use crate::roles::RoleName;

/// `POST /api/v1/logout`, where the session had begun at an identity provider that can end its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LoggedOut {
    /// The address to which the browser has to go for that.
    pub(super) location: String,
}

/// `POST /api/v1/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateKey {
    pub role: RoleName,
    /// The tenant whose data the key is for; several with `|` between them, `*` for all; `default` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Nanoseconds until the key expires; without it, it does not.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole_number")]
    pub lifetime_nano: Option<u64>,
}

/// A whole number, also as `1e9` or `5.0`, which are integers in JSON Schema.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    let whole = |float: &f64| float.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(float);
    let number = number.as_u64().or_else(|| number.as_f64().filter(whole).map(|float| float as u64));
    number.map(Some).ok_or_else(|| D::Error::custom("no whole number from 0 to 2^64 - 1"))
}

/// The answer to it: the one time that the key is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedKey {
    pub key: String,
    #[serde(flatten)]
    pub about: KeyAnswer,
}

/// `GET /api/v1/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysAnswer {
    /// The oldest first.
    pub keys: Vec<KeyAnswer>,
}

/// What is known of a key; times are Unix nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyAnswer {
    pub id: String,
    pub name: String,
    pub role: RoleName,
    pub tenant: String,
    pub created_unix_nano: String,
    pub expires_unix_nano: Option<String>,
    /// Exact to the second; up to a minute is forgotten when the server is killed.
    pub last_used_unix_nano: Option<String>,
}

/// `GET /api/v1/me`: the caller, all null while the server does not authenticate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    pub name: Option<String>,
    pub role: Option<RoleName>,
    pub tenant: Option<String>,
    /// `key`, `session`, `proxy`, `jwt`, `oidc` or `certificate`.
    pub via: Option<String>,
    /// Whether the server keeps tenants apart: `tenant` says which ones X-Scope-OrgID may name, `*` for all.
    pub multitenancy: bool,
}

impl From<&Identity> for Me {
    fn from(identity: &Identity) -> Self {
        Self {
            name: Some(identity.name.clone()),
            role: Some(identity.role.name.clone()),
            tenant: Some(identity.tenants.to_string()),
            via: Some(identity.via.name().to_owned()),
            multitenancy: false,
        }
    }
}

impl From<Listed> for KeyAnswer {
    fn from(Listed { key, used }: Listed) -> Self {
        let Key { id, name, role, tenant, created, expires, .. } = key;
        Self {
            id,
            name,
            role,
            tenant,
            created_unix_nano: nanos(created),
            expires_unix_nano: expires.map(nanos),
            last_used_unix_nano: used.map(nanos),
        }
    }
}

fn nanos(seconds: u64) -> String {
    (u128::from(seconds) * 1_000_000_000).to_string()
}
