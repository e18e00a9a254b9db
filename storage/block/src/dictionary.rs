//! The dictionary of a block: the values that rows refer to by index.
//!
//! Layout, counts, indices and lengths as varints: services (name); operations (service, name);
//! resources (service, bytes); scopes (bytes); pairs of them (resource, scope); slots (level (1), form (1),
//! field, name); shapes (flags (1), slots, and of each its index); classes (operation, shape).

use bytes::Bytes;
use spandrel_proto::otlp::wire::put_varint;

use crate::RowFlags;
use crate::format::{FormatError, take_varint};
use crate::shape::{Class, EVENTS, FieldEncoding, Level, Shape, Slot};

/// Every resource, scope, service, operation, slot and shape of a block, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionary {
    /// Names of services.
    pub services: Vec<String>,
    /// Operations: the index of a service, and a span name.
    pub operations: Vec<(u32, String)>,
    /// `ResourceSpans` messages without their scope spans.
    pub resources: Vec<Bytes>,
    /// The service of each resource: an index into `services`.
    pub resource_services: Vec<u32>,
    /// `ScopeSpans` messages without their spans.
    pub scopes: Vec<Bytes>,
    /// Pairs of a resource and a scope, one of which each row refers to.
    pub resource_scopes: Vec<(u32, u32)>,
    /// Slots: fields without their values.
    pub slots: Vec<Slot>,
    /// Shapes: messages without their values.
    pub shapes: Vec<Shape>,
    /// Pairs of an operation and a shape, one of which each row refers to.
    pub classes: Vec<Class>,
}

// === impl Dictionary ===

impl Dictionary {
    /// The flags of rows of a class.
    pub fn flags(&self, class: u32) -> RowFlags {
        RowFlags(self.shapes[self.classes[class as usize].shape as usize].flags)
    }

    /// The operation of rows of a class.
    pub fn operation(&self, class: u32) -> u32 {
        self.classes[class as usize].operation
    }

    /// The resource and the scope of rows with this pair.
    pub fn resource_and_scope(&self, resource_scope: u32) -> (&Bytes, &Bytes) {
        let (resource, scope) = self.resource_scopes[resource_scope as usize];
        (&self.resources[resource as usize], &self.scopes[scope as usize])
    }

    /// For each class, how many times its shape contains a slot.
    pub fn slot_counts(&self, slot: u32) -> Vec<u32> {
        let of_shape = |shape: &Shape| shape.slots.iter().filter(|known| **known == slot).count() as u32;
        let shapes: Vec<u32> = self.shapes.iter().map(of_shape).collect();
        self.classes.iter().map(|class| shapes[class.shape as usize]).collect()
    }

    /// Adds the number of values that `times` messages of a shape have, by slot.
    pub(crate) fn count_slots(&self, shape: u32, times: u64, counts: &mut [u64]) {
        for &number in &self.shapes[shape as usize].slots {
            counts[number as usize] += times;
        }
    }

    /// How many of the counted values are events, and how many links.
    pub(crate) fn nested(&self, counts: &[u64]) -> [u64; 2] {
        let mut nested = [0, 0];
        for (slot, count) in self.slots.iter().zip(counts) {
            if slot.encoding == FieldEncoding::Nested && slot.level == Level::Span {
                nested[usize::from(slot.field != EVENTS)] += count;
            }
        }
        nested
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let count = |out: &mut Vec<u8>, count: usize| put_varint(out, count as u64);
        count(&mut out, self.services.len());
        self.services.iter().for_each(|service| put_slice(&mut out, service.as_bytes()));
        count(&mut out, self.operations.len());
        for (service, name) in &self.operations {
            put_varint(&mut out, u64::from(*service));
            put_slice(&mut out, name.as_bytes());
        }
        count(&mut out, self.resources.len());
        for (resource, service) in self.resources.iter().zip(&self.resource_services) {
            put_varint(&mut out, u64::from(*service));
            put_slice(&mut out, resource);
        }
        count(&mut out, self.scopes.len());
        self.scopes.iter().for_each(|scope| put_slice(&mut out, scope));
        count(&mut out, self.resource_scopes.len());
        for (resource, scope) in &self.resource_scopes {
            put_varint(&mut out, u64::from(*resource));
            put_varint(&mut out, u64::from(*scope));
        }
        count(&mut out, self.slots.len());
        for slot in &self.slots {
            out.extend_from_slice(&[slot.level as u8, slot.encoding as u8]);
            put_varint(&mut out, u64::from(slot.field));
            put_slice(&mut out, &slot.name);
        }
        count(&mut out, self.shapes.len());
        for shape in &self.shapes {
            out.push(shape.flags);
            count(&mut out, shape.slots.len());
            shape.slots.iter().for_each(|slot| put_varint(&mut out, u64::from(*slot)));
        }
        count(&mut out, self.classes.len());
        for class in &self.classes {
            put_varint(&mut out, u64::from(class.operation));
            put_varint(&mut out, u64::from(class.shape));
        }
        out
    }

    /// Decodes a dictionary and checks every index.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        Self::read(&bytes).filter(Self::is_consistent).ok_or(FormatError::Damaged("dictionary"))
    }

    fn read(whole: &Bytes) -> Option<Self> {
        let bytes = &mut &whole[..];
        let record = |slice: &[u8]| whole.slice_ref(slice);
        let dictionary = Self {
            services: take_list(bytes, take_string)?,
            operations: take_list(bytes, |bytes| Some((take_index(bytes)?, take_string(bytes)?)))?,
            ..Self::default()
        };
        let resources = take_list(bytes, |bytes| Some((take_index(bytes)?, record(take_slice(bytes)?))))?;
        let (resource_services, resources) = resources.into_iter().unzip();
        let dictionary = Self {
            resources,
            resource_services,
            scopes: take_list(bytes, |bytes| take_slice(bytes).map(record))?,
            resource_scopes: take_list(bytes, |bytes| Some((take_index(bytes)?, take_index(bytes)?)))?,
            slots: take_list(bytes, |bytes| {
                let level = Level::from_raw(take_byte(bytes)?)?;
                let encoding = FieldEncoding::from_raw(take_byte(bytes)?)?;
                Some(Slot { level, encoding, field: take_index(bytes)?, name: record(take_slice(bytes)?) })
            })?,
            shapes: take_list(bytes, |bytes| {
                Some(Shape { flags: take_byte(bytes)?, slots: take_list(bytes, take_index)? })
            })?,
            classes: take_list(bytes, |bytes| {
                Some(Class { operation: take_index(bytes)?, shape: take_index(bytes)? })
            })?,
            ..dictionary
        };
        bytes.is_empty().then_some(dictionary)
    }

    fn is_consistent(&self) -> bool {
        let below = |index: &u32, count: usize| (*index as usize) < count;
        self.operations.iter().all(|(service, _)| below(service, self.services.len()))
            && self.resource_services.iter().all(|service| below(service, self.services.len()))
            && self.resource_scopes.iter().all(|(resource, scope)| {
                below(resource, self.resources.len()) && below(scope, self.scopes.len())
            })
            && self.shapes.iter().all(|shape| shape.slots.iter().all(|slot| below(slot, self.slots.len())))
            && self.classes.iter().all(|class| {
                below(&class.operation, self.operations.len()) && below(&class.shape, self.shapes.len())
            })
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        let records = self.resources.iter().chain(&self.scopes).map(|record| record.len() + 40);
        let slots = self.slots.iter().map(|slot| slot.name.len() + size_of::<Slot>());
        let shapes = self.shapes.iter().map(|shape| shape.slots.len() * 4 + size_of::<Shape>());
        let operations = self.operations.iter().map(|(_, name)| name.len() + 32);
        records.chain(slots).chain(shapes).chain(operations).sum::<usize>() + self.classes.len() * 8
    }
}

fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    bytes.split_off_first().copied()
}

fn take_index(bytes: &mut &[u8]) -> Option<u32> {
    take_varint(bytes).and_then(|index| u32::try_from(index).ok())
}

fn take_slice<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    bytes.split_off(..length)
}

fn take_string(bytes: &mut &[u8]) -> Option<String> {
    Some(std::str::from_utf8(take_slice(bytes)?).ok()?.to_owned())
}

/// Reads a list with its length in front. Each item takes at least one byte.
fn take_list<T>(bytes: &mut &[u8], mut take: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = usize::try_from(take_varint(bytes)?).ok().filter(|count| *count <= bytes.len())?;
    // Reserves the memory at once, because growing took longer than all the rest: a block has hundreds of shapes of
    // some twenty slots each. The limit is for a damaged count, which must not allocate without bound.
    let mut list = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        list.push(take(bytes)?);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small() -> Dictionary {
        let name = Bytes::from_static(b"k");
        Dictionary {
            services: vec!["cart".to_owned(), "shop".to_owned()],
            operations: vec![(1, "GET /".to_owned())],
            resources: vec![Bytes::from_static(b"r"), Bytes::new()],
            resource_services: vec![1, 0],
            scopes: vec![Bytes::from_static(b"s")],
            resource_scopes: vec![(1, 0)],
            slots: vec![Slot { level: Level::Span, encoding: FieldEncoding::String, field: 9, name }],
            shapes: vec![Shape { flags: 2, slots: vec![0, 0] }],
            classes: vec![Class { operation: 0, shape: 0 }],
        }
    }

    #[test]
    fn frozen_version_2() {
        let bytes = small().encode();
        assert_eq!(
            bytes,
            b"\x02\x04cart\x04shop\x01\x01\x05GET /\x02\x01\x01r\x00\x00\x01\x01s\x01\x01\x00\x01\x00\x06\x09\x01k\x01\x02\x02\x00\x00\x01\x00\x00"
        );
        assert_eq!(Dictionary::decode(bytes.into()).unwrap(), small());
    }

    #[test]
    fn an_index_behind_the_end_is_damage() {
        let damaged = [
            Dictionary { resource_services: vec![2, 0], ..small() },
            Dictionary { resource_scopes: vec![(0, 1)], ..small() },
            Dictionary { shapes: vec![Shape { flags: 0, slots: vec![1] }], ..small() },
            Dictionary { classes: vec![Class { operation: 0, shape: 1 }], ..small() },
        ];
        for dictionary in damaged {
            let decoded = Dictionary::decode(dictionary.encode().into());
            assert_eq!(decoded, Err(FormatError::Damaged("dictionary")));
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Dictionary::decode(bytes.into());
        }
    }
}
