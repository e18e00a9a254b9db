//! The dictionary of a block of format 1: every resource, scope, service and operation once.
//!
//! Layout, counts and lengths as varints: resources (each with the index of its service), scopes,
//! services, operations (index of the service, name).

use bytes::{Buf, Bytes};

use crate::format::{FormatError, take_varint};

/// The values that rows refer to by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dictionary {
    /// `ResourceSpans` messages without their scope spans.
    pub resources: Vec<Bytes>,
    /// The service of each resource: an index into `services`.
    pub resource_services: Vec<u32>,
    /// `ScopeSpans` messages without their spans.
    pub scopes: Vec<Bytes>,
    /// Names of services.
    pub services: Vec<String>,
    /// Operations: the index of a service, and a span name.
    pub operations: Vec<(u32, String)>,
}

// === impl Dictionary ===

impl Dictionary {
    /// Decodes the dictionary and checks every index.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        Self::read(bytes).filter(Self::is_consistent).ok_or(FormatError::Damaged("dictionary"))
    }

    fn read(mut bytes: Bytes) -> Option<Self> {
        let mut dictionary = Self::default();
        for _ in 0..take_varint(&mut bytes)? {
            dictionary.resource_services.push(take_index(&mut bytes)?);
            dictionary.resources.push(take_slice(&mut bytes)?);
        }
        for _ in 0..take_varint(&mut bytes)? {
            dictionary.scopes.push(take_slice(&mut bytes)?);
        }
        for _ in 0..take_varint(&mut bytes)? {
            dictionary.services.push(take_string(&mut bytes)?);
        }
        for _ in 0..take_varint(&mut bytes)? {
            dictionary.operations.push((take_index(&mut bytes)?, take_string(&mut bytes)?));
        }
        bytes.is_empty().then_some(dictionary)
    }

    fn is_consistent(&self) -> bool {
        let known = |service: &u32| (*service as usize) < self.services.len();
        self.resource_services.iter().all(known) && self.operations.iter().all(|(service, _)| known(service))
    }
}

fn take_index(bytes: &mut Bytes) -> Option<u32> {
    take_varint(bytes).and_then(|index| u32::try_from(index).ok())
}

fn take_slice(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    (length <= bytes.remaining()).then(|| bytes.split_to(length))
}

fn take_string(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(take_slice(bytes)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frozen_version_1() {
        let bytes = *b"\x02\x01\x01r\x00\x00\x01\x01s\x02\x04cart\x04shop\x01\x01\x05GET /";
        let expected = Dictionary {
            resources: vec![Bytes::from_static(b"r"), Bytes::new()],
            resource_services: vec![1, 0],
            scopes: vec![Bytes::from_static(b"s")],
            services: vec!["cart".to_owned(), "shop".to_owned()],
            operations: vec![(1, "GET /".to_owned())],
        };
        assert_eq!(Dictionary::decode(Bytes::copy_from_slice(&bytes)), Ok(expected));
        let mut behind_the_end = bytes;
        behind_the_end[1] = 2;
        let damaged = Dictionary::decode(Bytes::copy_from_slice(&behind_the_end));
        assert_eq!(damaged, Err(FormatError::Damaged("dictionary")));
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Dictionary::decode(bytes.into());
        }
    }
}
