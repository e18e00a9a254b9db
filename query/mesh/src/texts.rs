//! Picks the attributes that tell of a mesh out of those of a span and its resource.

use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, Attributes};

use crate::names::keys;

/// The attributes of a span and its resource that tell of a mesh.
#[derive(Debug, Clone, Default)]
pub struct Texts<'a> {
    pub(crate) component: Option<&'a str>,
    pub(crate) node_id: Option<&'a str>,
    pub(crate) zone: Option<&'a str>,
    pub(crate) cluster: Option<&'a str>,
    pub(crate) upstream_address: Option<&'a str>,
    pub(crate) upstream_host: Option<&'a str>,
    pub(crate) upstream_attempts: Option<u32>,
    pub(crate) peer_address: Option<&'a str>,
    pub(crate) code: Option<u16>,
    pub(crate) grpc_code: Option<u16>,
    pub(crate) request_size: Option<u64>,
    pub(crate) response_size: Option<u64>,
    pub(crate) flags: Option<&'a str>,
    pub(crate) has_error: bool,
    pub(crate) canonical_service: Option<&'a str>,
    pub(crate) canonical_revision: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) source_service: Option<&'a str>,
    pub(crate) source_namespace: Option<&'a str>,
    pub(crate) destination_service: Option<&'a str>,
    pub(crate) destination_namespace: Option<&'a str>,
    pub(crate) destination_instance: Option<&'a str>,
    pub(crate) service_name: Option<&'a str>,
    pub(crate) service_namespace: Option<&'a str>,
    pub(crate) pod_name: Option<&'a str>,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) availability_zone: Option<&'a str>,
}

/// The keys of the attributes that tell of a mesh, but for the sizes of bodies, which are another one in each span.
pub const KEYS: [&str; 26] = [
    keys::COMPONENT,
    keys::NODE_ID,
    keys::ZONE,
    keys::UPSTREAM_CLUSTER,
    keys::UPSTREAM_ADDRESS,
    keys::UPSTREAM_HOST,
    keys::PEER_ADDRESS,
    keys::RESPONSE_FLAGS,
    keys::CANONICAL_SERVICE,
    keys::CANONICAL_REVISION,
    keys::NAMESPACE,
    keys::SOURCE_SERVICE,
    keys::SOURCE_NAMESPACE,
    keys::DESTINATION_SERVICE,
    keys::DESTINATION_NAMESPACE,
    keys::DESTINATION_INSTANCE,
    keys::SERVICE_NAME,
    keys::SERVICE_NAMESPACE,
    keys::POD_NAME,
    keys::INSTANCE_ID,
    keys::AVAILABILITY_ZONE,
    keys::ERROR,
    keys::STATUS_CODE,
    keys::RESPONSE_STATUS_CODE,
    keys::GRPC_STATUS_CODE,
    keys::UPSTREAM_ATTEMPTS,
];

// === impl Texts ===

impl<'a> Texts<'a> {
    /// Takes what it knows of some attributes. Those of a span come after those of its resource, and win.
    pub(crate) fn see(&mut self, attributes: Attributes<'a>) -> Result<(), WireError> {
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.value {
                Some(AnyValue::String(text)) => self.text(attribute.key, text),
                // Newer names are sent as numbers and booleans.
                Some(AnyValue::Int(number)) => self.number(attribute.key, number),
                Some(AnyValue::Bool(value)) => self.flag(attribute.key, value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the text of an attribute.
    pub fn text(&mut self, key: &str, text: &'a str) {
        let slot = match key {
            keys::COMPONENT => &mut self.component,
            keys::NODE_ID => &mut self.node_id,
            keys::ZONE => &mut self.zone,
            keys::UPSTREAM_CLUSTER => &mut self.cluster,
            keys::UPSTREAM_ADDRESS => &mut self.upstream_address,
            keys::UPSTREAM_HOST => &mut self.upstream_host,
            keys::PEER_ADDRESS => &mut self.peer_address,
            keys::RESPONSE_FLAGS => &mut self.flags,
            keys::CANONICAL_SERVICE => &mut self.canonical_service,
            keys::CANONICAL_REVISION => &mut self.canonical_revision,
            keys::NAMESPACE => &mut self.namespace,
            keys::SOURCE_SERVICE => &mut self.source_service,
            keys::SOURCE_NAMESPACE => &mut self.source_namespace,
            keys::DESTINATION_SERVICE => &mut self.destination_service,
            keys::DESTINATION_NAMESPACE => &mut self.destination_namespace,
            keys::DESTINATION_INSTANCE => &mut self.destination_instance,
            keys::SERVICE_NAME => &mut self.service_name,
            keys::SERVICE_NAMESPACE => &mut self.service_namespace,
            keys::POD_NAME => &mut self.pod_name,
            keys::INSTANCE_ID => &mut self.instance_id,
            keys::AVAILABILITY_ZONE => &mut self.availability_zone,
            keys::ERROR => {
                self.has_error = text == "true";
                return;
            }
            _ => {
                if let Ok(number) = text.parse() {
                    self.number(key, number);
                }
                return;
            }
        };
        *slot = Some(text).filter(|text| !text.is_empty());
    }

    /// Takes the number of an attribute.
    pub fn number(&mut self, key: &str, number: i64) {
        match key {
            keys::STATUS_CODE | keys::RESPONSE_STATUS_CODE => self.code = u16::try_from(number).ok(),
            keys::REQUEST_SIZE => self.request_size = u64::try_from(number).ok(),
            keys::RESPONSE_SIZE => self.response_size = u64::try_from(number).ok(),
            keys::GRPC_STATUS_CODE => self.grpc_code = u16::try_from(number).ok(),
            keys::UPSTREAM_ATTEMPTS => self.upstream_attempts = u32::try_from(number).ok(),
            _ => {}
        }
    }

    /// Takes the truth of an attribute.
    pub fn flag(&mut self, key: &str, value: bool) {
        if key == keys::ERROR {
            self.has_error = value;
        }
    }

    /// Whether anything tells how a request ended.
    pub(crate) fn tell_an_outcome(&self) -> bool {
        self.code.is_some() || self.grpc_code.is_some() || self.flags.is_some() || self.has_error
    }
}
