//! `/api/v1/tenants`: the tenants that have data, and their end; `/api/v1/usage`: what they have taken.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse as _;
use spandrel_proto::{Caller, TenantId, Tenants};
use spandrel_quota::Usage;
use spandrel_storage::{StoreStatus, TraceStore};

use super::delete::{deletions, refused};
use super::handler::{Answer, Asked, json, part};
use crate::answers::{
    DeletionDto, ServiceUsage, TenantDeletion, TenantList, TenantSize, TenantUsage, UsageAnswer,
};
use crate::params::Params;
use crate::problem::Problem;
use crate::views;

/// The gate lets those through who may reach all tenants.
pub(super) async fn list(Asked { state, .. }: Asked, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let sizes = |store: &dyn TraceStore| {
        let size = |tenant| TenantSize::of(&tenant, store.tenant_status(&tenant));
        Ok(store.tenants().into_iter().map(size).collect())
    };
    json(&TenantList { tenants: state.whole().run_query(sizes).await? })
}

pub(super) async fn delete(
    Asked { state, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Params::parse(&uri, &[])?;
    let name = part("tenant", path)?;
    let tenant = TenantId::new(&name).map_err(|error| Problem::parameter("tenant", error))?;
    let delete = move |store: &dyn TraceStore| deletions(store)?.delete_tenant(&tenant).map_err(refused);
    let deletions = state.whole().run_query(delete).await?;
    let deletions = deletions.iter().map(DeletionDto::from).collect();
    Ok((StatusCode::ACCEPTED, json(&TenantDeletion { tenant: name, deletions })?).into_response())
}

/// A caller of some tenants sees the usage of those.
pub(super) async fn usage(Asked { state, sees_server, .. }: Asked, uri: Uri) -> Answer {
    Params::parse(&uri, &[])?;
    let asker = state.asker().clone();
    if asker.caller.restriction.as_ref().is_some_and(|restriction| restriction.hides_spans()) {
        return Err(Problem::forbidden("your role sees a part of the spans, and the usage tells of all"));
    }
    let counted = asker.ledger.as_ref().map(|ledger| ledger.usage()).unwrap_or_default();
    let since = asker.ledger.as_ref().map_or_else(SystemTime::now, |ledger| ledger.begun());
    let own = (!sees_server).then(|| asker.caller.tenants.clone());
    let tenants = state.whole().run_query(move |store| Ok(usages(store, counted, own.as_ref()))).await?;
    let tenants = tenants.into_iter().map(|usage| usage.seen_by(&asker.caller)).collect();
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    json(&UsageAnswer { since_unix_nano: since.to_string(), tenants })
}

/// The usage of all tenants, or of these.
fn usages(store: &dyn TraceStore, counted: Vec<Usage>, own: Option<&Tenants>) -> Vec<TenantUsage> {
    let sees = |tenant: &TenantId| own.is_none_or(|own| own.contains(tenant));
    let mut all: BTreeMap<TenantId, TenantUsage> = BTreeMap::new();
    for usage in counted {
        all.insert(usage.tenant.clone(), TenantUsage::from(usage));
    }
    for tenant in store.tenants() {
        all.entry(tenant).or_default();
    }
    let mut seen = Vec::new();
    for (tenant, usage) in all.into_iter().filter(|(tenant, _)| sees(tenant)) {
        let StoreStatus { span_count, store_bytes, .. } = store.tenant_status(&tenant);
        seen.push(TenantUsage {
            tenant: tenant.to_string(),
            stored_spans: span_count,
            stored_bytes: store_bytes,
            ..usage
        });
    }
    seen
}

// === impl TenantSize, TenantUsage ===

impl TenantSize {
    fn of(tenant: &TenantId, status: StoreStatus) -> Self {
        Self {
            tenant: tenant.to_string(),
            span_count: status.span_count,
            trace_count: status.trace_count,
            store_bytes: status.store_bytes,
            oldest_unix_nano: status.oldest.map(|at| at.to_string()),
            newest_unix_nano: status.newest.map(|at| at.to_string()),
        }
    }
}

impl TenantUsage {
    /// The same by the names of services that the caller sees: those that read the same are summed up.
    fn seen_by(self, caller: &Caller) -> Self {
        let mut seen: BTreeMap<String, ServiceUsage> = BTreeMap::new();
        for ServiceUsage { service, received_spans, received_bytes } in self.services {
            let service = views::name(service, caller);
            let none = ServiceUsage { service: service.clone(), received_spans: 0, received_bytes: 0 };
            let known = seen.entry(service).or_insert(none);
            known.received_spans += received_spans;
            known.received_bytes += received_bytes;
        }
        let mut services: Vec<ServiceUsage> = seen.into_values().collect();
        services.sort_by_key(|service| Reverse(service.received_bytes));
        Self { services, ..self }
    }
}

impl From<Usage> for TenantUsage {
    fn from(usage: Usage) -> Self {
        let services = usage.services.into_iter().map(|(service, usage)| ServiceUsage {
            service,
            received_spans: usage.received_spans,
            received_bytes: usage.received_bytes,
        });
        Self {
            tenant: usage.tenant.to_string(),
            received_spans: usage.received_spans,
            received_bytes: usage.received_bytes,
            refused_requests: usage.refused_requests,
            questions: usage.questions,
            refused_questions: usage.refused_questions,
            scanned_spans: usage.scanned_spans,
            services: services.collect(),
            ..Self::default()
        }
    }
}
