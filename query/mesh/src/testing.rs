//! Spans for the tests of this crate.

use std::sync::Arc;

use spandrel_proto::SpanId;

use crate::cluster::Side;
use crate::facts::{Facts, Role};
use crate::node::ProxyKind;
use crate::outcome::Outcome;
use crate::span::MeshSpan;
use crate::workload::Workload;

pub(crate) fn workload(name: &str) -> Workload {
    Workload { name: name.to_owned(), namespace: "shop".to_owned() }
}

pub(crate) fn id(number: u8) -> SpanId {
    SpanId::from_bytes([0, 0, 0, 0, 0, 0, 0, number])
}

/// A listener of the sidecar of a workload; a caller's sends to `payment`.
pub(crate) fn listener(
    number: u8,
    parent: Option<u8>,
    side: Side,
    of: &str,
    code: u16,
    flags: &str,
) -> MeshSpan {
    let is_error = code == 0 || code >= 500;
    MeshSpan {
        id: id(number),
        parent: parent.map(id),
        start: number.into(),
        duration: 1_000,
        is_client: side == Side::Caller,
        facts: Arc::new(Facts {
            role: Role::Listener(ProxyKind::Sidecar, side),
            workload: workload(of),
            service: Some(format!("{of}.shop")),
            revision: None,
            pod: Some(format!("{of}-{number}")),
            ip: Some(format!("10.0.0.{number}")),
            zone: Some("a".to_owned()),
            callee: (side == Side::Caller).then(|| workload("payment")),
            host: None,
            request_bytes: None,
            response_bytes: None,
            subset: None,
            outcome: Outcome { code: Some(code), grpc_code: None, flags: flags.to_owned(), is_error },
            peer_ip: Some("10.0.0.9".to_owned()),
            upstream_pod: None,
            upstream_ip: None,
            attempts: None,
        }),
    }
}

/// An attempt to reach an address.
pub(crate) fn attempt(number: u8, parent: Option<u8>, address: &str, code: u16, flags: &str) -> MeshSpan {
    let mut span = listener(number, parent, Side::Caller, "gateway", code, flags);
    let told = span.told();
    told.role = Role::Attempt(Side::Caller);
    told.upstream_ip = Some(address.to_owned());
    (told.pod, told.ip) = (None, None);
    span
}

pub(crate) fn app(number: u8, parent: Option<u8>, of: &str, duration: u64) -> MeshSpan {
    let mut span = listener(number, parent, Side::Callee, of, 200, "-").lasting(duration);
    let told = span.told();
    told.role = Role::App;
    (told.pod, told.ip) = (None, None);
    span
}

// === impl MeshSpan ===

impl MeshSpan {
    /// What it says, to be changed.
    pub(crate) fn told(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.facts)
    }

    pub(crate) fn lasting(self, duration: u64) -> Self {
        Self { duration, ..self }
    }

    pub(crate) fn at(self, start: u64) -> Self {
        Self { start, ..self }
    }
}
