//! Parses stored spans and logs for assembly: each resource and scope once, spans in order.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::SpanId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, Attributes, ResourceView, SpanView, logs_of};
use spandrel_storage::semantics::{is_parentless, service_name};
use spandrel_storage::{ReadError, StoredSpan};

use super::NamedParent;
use super::model::{Log, Resource, Span};

/// The spans of a trace before their parents are resolved.
pub(super) struct Loaded {
    pub(super) resources: Vec<Resource>,
    pub(super) scopes: Vec<Bytes>,
    /// By (start, span ID); the store's order where both are equal.
    pub(super) spans: Vec<Span>,
    /// Log records that are not joined to spans yet.
    pub(super) logs: Vec<Log>,
    /// Spans that were left out because their bytes could not be parsed.
    pub(super) unreadable: u64,
    /// The same of rows of logs.
    pub(super) unreadable_logs: u64,
}

/// `service.namespace`, `service.name` and `service.instance.id`: the service instance.
type Identity = [Option<String>; 3];

#[derive(Default)]
struct Loader {
    resources: Vec<Resource>,
    resource_places: FxHashMap<Bytes, u32>,
    identities: FxHashMap<Identity, u32>,
    scopes: Vec<Bytes>,
    scope_places: FxHashMap<Bytes, u32>,
}

pub(super) fn load(
    stored: impl Iterator<Item = Result<StoredSpan, ReadError>>,
    log_rows: impl Iterator<Item = Result<StoredSpan, ReadError>>,
) -> Result<Loaded, ReadError> {
    let mut loader = Loader::default();
    let mut spans = Vec::new();
    let mut unreadable = 0;
    for span in stored {
        match loader.span(span?) {
            Ok(span) => spans.push(span),
            Err(error) => {
                tracing::warn!(%error, "a stored span could not be read");
                unreadable += 1;
            }
        }
    }
    spans.sort_by_key(|span| (span.start, span.id));
    let (mut logs, mut unreadable_logs) = (Vec::new(), 0);
    for row in log_rows {
        if let Err(error) = loader.logs(&row?, &mut logs) {
            tracing::warn!(%error, "a stored row of logs could not be read");
            unreadable_logs += 1;
        }
    }
    Ok(Loaded {
        resources: loader.resources,
        scopes: loader.scopes,
        spans,
        logs,
        unreadable,
        unreadable_logs,
    })
}

// === impl Loader ===

impl Loader {
    fn span(&mut self, stored: StoredSpan) -> Result<Span, WireError> {
        let view = SpanView::parse(&stored.span)?;
        let (id, named_parent) = (span_id(view.span_id), named_parent(view.parent_span_id));
        let (kind, status, failed) = (view.kind(), view.status(), stored.failed);
        let (flags, start, sent_end) = (view.flags, view.start, view.end);
        Ok(Span {
            resource: self.resource(&stored.resource)?,
            scope: self.scope(&stored.scope),
            message: stored.span,
            id,
            named_parent,
            kind,
            status,
            failed,
            flags,
            start,
            sent_end,
            parent: None,
            self_nanos: 0,
            detached: None,
            outer_parent: None,
            folded: Vec::new(),
        })
    }

    /// Adds the log records of a row.
    fn logs(&mut self, stored: &StoredSpan, logs: &mut Vec<Log>) -> Result<(), WireError> {
        let view = SpanView::parse(&stored.span)?;
        let (resource, scope) = (self.resource(&stored.resource)?, self.scope(&stored.scope));
        for log in logs_of(&view) {
            let log = log?;
            let event = stored.span.slice_ref(log.message());
            logs.push(Log { span: span_id(view.span_id), time: log.event.time, event, resource, scope });
        }
        Ok(())
    }

    fn scope(&mut self, message: &Bytes) -> u32 {
        *self.scope_places.entry(message.clone()).or_insert_with(|| {
            self.scopes.push(message.clone());
            self.scopes.len() as u32 - 1
        })
    }

    fn resource(&mut self, message: &Bytes) -> Result<u32, WireError> {
        if let Some(place) = self.resource_places.get(message) {
            return Ok(*place);
        }
        let view = ResourceView::parse(message)?;
        let text = |key| text_attribute(view.attributes(), key);
        let identity = [text("service.namespace"), text("service.name"), text("service.instance.id")];
        let resource = Resource {
            service: service_name(&view).to_owned(),
            instance_id: identity[2].clone(),
            pod: text("node_id").and_then(|node| pod_of(&node)),
            host: text("k8s.pod.name").or_else(|| text("host.name")),
            identity: self.identity(identity),
            message: message.clone(),
        };
        let place = self.resources.len() as u32;
        self.resources.push(resource);
        self.resource_places.insert(message.clone(), place);
        Ok(place)
    }

    fn identity(&mut self, identity: Identity) -> u32 {
        let next = self.identities.len() as u32;
        *self.identities.entry(identity).or_insert(next)
    }
}

/// Ingest accepts only IDs of eight bytes. Zero stands for any other, so that the span still gets a place in the tree.
fn span_id(bytes: &[u8]) -> SpanId {
    SpanId::from_wire(bytes).unwrap_or_default()
}

fn named_parent(bytes: &[u8]) -> NamedParent {
    match SpanId::from_wire(bytes) {
        _ if is_parentless(bytes) => NamedParent::None,
        Some(id) => NamedParent::Id(id),
        None => NamedParent::Invalid,
    }
}

/// The last attribute of this name, if it is a text that is not empty or an integer.
pub(super) fn text_attribute(attributes: Attributes<'_>, key: &str) -> Option<String> {
    let last = attributes.filter_map(Result::ok).filter(|attribute| attribute.key == key).last()?;
    match last.value? {
        AnyValue::String(text) if !text.is_empty() => Some(text.to_owned()),
        AnyValue::Int(int) => Some(int.to_string()),
        _ => None,
    }
}

/// The pod in Envoy's `sidecar~<pod IP>~<pod>.<namespace>~<namespace>.svc.cluster.local`.
pub(super) fn pod_of(node_id: &str) -> Option<String> {
    let workload = node_id.split('~').nth(2)?;
    let pod = workload.rsplit_once('.').map_or(workload, |(pod, _namespace)| pod);
    (!pod.is_empty()).then(|| pod.to_owned())
}
