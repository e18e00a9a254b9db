//! What an account has taken since the server was started.

use std::collections::BTreeMap;

use spandrel_proto::TenantId;

/// What a tenant has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub tenant: TenantId,
    /// Accepted spans, before those that were sent twice are left out.
    pub received_spans: u64,
    /// Bytes of their requests, decompressed.
    pub received_bytes: u64,
    /// Requests that a quota has refused.
    pub refused_requests: u64,
    pub questions: u64,
    /// Questions that a quota has refused.
    pub refused_questions: u64,
    /// Spans that questions have looked at.
    pub scanned_spans: u64,
    /// By name; those beyond `maxCountedServices` are together under an empty name.
    pub services: BTreeMap<String, ServiceUsage>,
}

/// What a service has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceUsage {
    pub received_spans: u64,
    /// Bytes of the spans alone.
    pub received_bytes: u64,
}

// === impl Usage ===

impl Usage {
    pub(crate) fn of(tenant: TenantId) -> Self {
        Self {
            tenant,
            received_spans: 0,
            received_bytes: 0,
            refused_requests: 0,
            questions: 0,
            refused_questions: 0,
            scanned_spans: 0,
            services: BTreeMap::new(),
        }
    }

    pub(crate) fn add_service(&mut self, name: &str, usage: ServiceUsage, max: usize) {
        let is_known = self.services.contains_key(name);
        let name = if is_known || self.services.len() < max { name } else { "" };
        let known = match self.services.get_mut(name) {
            Some(known) => known,
            None => self.services.entry(name.to_owned()).or_default(),
        };
        known.received_spans += usage.received_spans;
        known.received_bytes += usage.received_bytes;
    }
}
