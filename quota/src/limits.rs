//! The limits of tenants and credentials, as a configuration names them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spandrel_proto::TenantId;

/// What an account may take; `None` for as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Spans that may arrive in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_spans_per_second: Option<u64>,
    /// Bytes of decompressed requests that may arrive in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_second: Option<u64>,
    /// Questions that may be answered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_questions: Option<u64>,
    /// Bytes of stored spans that questions may read in a second, by the mean size of the tenant's spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_scanned_bytes_per_second: Option<u64>,
}

/// The limits of a tenant, and of each credential for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TenantLimits {
    /// Of the tenant.
    #[serde(flatten)]
    pub own: Limits,
    /// Bytes that the tenant's blocks may take on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stored_bytes: Option<u64>,
    /// Of each credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each_key: Option<Limits>,
}

/// The limits of all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Of tenants without limits of their own.
    pub usual: TenantLimits,
    /// Of these tenants.
    pub tenants: BTreeMap<TenantId, TenantLimits>,
    /// The most tenants that may have data, and credentials that are counted (`maxTenants`).
    pub max_accounts: usize,
    /// The most services of a tenant that are counted by name (`maxCountedServices`).
    pub max_services: usize,
}

// === impl QuotaConfig ===

impl Default for QuotaConfig {
    fn default() -> Self {
        Self {
            usual: TenantLimits::default(),
            tenants: BTreeMap::new(),
            max_accounts: 10_000,
            max_services: 1_000,
        }
    }
}

impl QuotaConfig {
    pub(crate) fn of(&self, tenant: &TenantId) -> &TenantLimits {
        self.tenants.get(tenant).unwrap_or(&self.usual)
    }
}
