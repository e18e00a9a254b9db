//! Spans of Zipkin: version 2 in JSON and protobuf, version 1 in JSON and thrift.
//!
//! `docs/receivers.md#zipkin` has the conversion to OTLP, field by field. IDs stay as they were sent, also where client
//! and server of a call share one: trees, searches and the service map know such spans.

mod json;
mod json_v1;
mod json_v2;
mod protobuf;
mod thrift;
mod v1;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use self::json_v1::decode_json_v1;
pub use self::json_v2::decode_json;
pub use self::protobuf::decode_protobuf;
pub use self::thrift::{decode_thrift, decode_thrift_list};
use crate::gather::{Draft, KeyValues, Value};

/// A service on a host. Texts are as they were sent; empty ones and port 0 are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Endpoint {
    service: Vec<u8>,
    ipv4: Vec<u8>,
    ipv6: Vec<u8>,
    port: u16,
}

/// What a span has beside what its draft holds already.
#[derive(Debug, Default)]
struct Sides {
    local: Endpoint,
    remote: Endpoint,
    /// Microseconds; 0 is unknown.
    timestamp: u64,
    /// Microseconds; 0 is unknown. Below zero where the end is before the start.
    duration: i64,
    /// The time of the earliest annotation.
    earliest: Option<u64>,
    is_debug: bool,
    is_shared: bool,
}

// === impl Endpoint ===

impl Endpoint {
    fn clear(&mut self) {
        [&mut self.service, &mut self.ipv4, &mut self.ipv6].into_iter().for_each(Vec::clear);
        self.port = 0;
    }

    fn is_empty(&self) -> bool {
        self.service.is_empty() && self.ipv4.is_empty() && self.ipv6.is_empty() && self.port == 0
    }

    /// Takes an address of 4 bytes; false for other lengths.
    fn set_ipv4(&mut self, bytes: &[u8]) -> bool {
        let address = bytes.try_into().map(|bytes: [u8; 4]| Ipv4Addr::from(bytes).to_string());
        self.ipv4 = address.as_ref().map_or_else(|_| Vec::new(), |text| text.clone().into_bytes());
        address.is_ok() || bytes.is_empty()
    }

    /// Takes an address of 16 bytes; false for other lengths.
    fn set_ipv6(&mut self, bytes: &[u8]) -> bool {
        let address = bytes.try_into().map(|bytes: [u8; 16]| Ipv6Addr::from(bytes).to_string());
        self.ipv6 = address.as_ref().map_or_else(|_| Vec::new(), |text| text.clone().into_bytes());
        address.is_ok() || bytes.is_empty()
    }

    fn write(&self, draft: &mut Draft, names: Names) {
        let (address, other) = match self.ipv4.is_empty() {
            false => (&self.ipv4, Some(&self.ipv6)),
            true => (&self.ipv6, None),
        };
        for (name, text) in [(names.address, Some(address)), (names.other_address, other)] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                draft.attribute(name, Value::Text(text));
            }
        }
        if self.port != 0 {
            draft.attribute(names.port, Value::Int(self.port.into()));
        }
    }
}

const BAD_ADDRESS: &str = ": an address of an endpoint has neither 4 nor 16 bytes";

/// The attributes of an endpoint.
#[derive(Debug, Clone, Copy)]
struct Names {
    address: &'static [u8],
    /// Of a second address: Zipkin has room for one of each family.
    other_address: &'static [u8],
    port: &'static [u8],
}

const LOCAL: Names = Names {
    address: b"network.local.address",
    other_address: b"zipkin.local.ipv6",
    port: b"network.local.port",
};
const REMOTE: Names = Names {
    address: b"network.peer.address",
    other_address: b"zipkin.remote.ipv6",
    port: b"network.peer.port",
};

// === impl Sides ===

impl Sides {
    fn clear(&mut self) {
        self.local.clear();
        self.remote.clear();
        (self.timestamp, self.duration, self.earliest) = (0, 0, None);
        (self.is_debug, self.is_shared) = (false, false);
    }

    /// Notes the time of an annotation.
    fn annotated(&mut self, time: u64) {
        self.earliest = Some(self.earliest.map_or(time, |earliest| earliest.min(time)));
    }

    /// Completes a draft and its resource.
    fn finish(&self, draft: &mut Draft, resource: &mut KeyValues) {
        resource.clear();
        if !self.local.service.is_empty() {
            resource.add(b"service.name", Value::Text(&self.local.service));
        }
        self.local.write(draft, LOCAL);
        if !self.remote.service.is_empty() {
            draft.attribute(b"peer.service", Value::Text(&self.remote.service));
        }
        self.remote.write(draft, REMOTE);
        for (name, is_set) in [(&b"zipkin.debug"[..], self.is_debug), (b"zipkin.shared", self.is_shared)] {
            if is_set {
                draft.attribute(name, Value::Bool(true));
            }
        }
        let start = if self.timestamp == 0 { self.earliest.unwrap_or(0) } else { self.timestamp };
        match (nanos(start), start.checked_add_signed(self.duration).and_then(nanos)) {
            (Some(start), Some(end)) => (draft.start, draft.end) = (start, end),
            _ => {
                draft.note_flaw(": its start or end is before 1970 or beyond the year 2554".to_owned());
            }
        }
    }
}

/// Microseconds as nanoseconds.
fn nanos(micros: u64) -> Option<u64> {
    micros.checked_mul(1_000)
}

#[cfg(test)]
mod tests;
