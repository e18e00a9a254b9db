//! Interns the resources and scopes of a block that is being written, with the services that they name. Slots, shapes
//! and texts of spans are interned by the schema (`page/shred.rs`).

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::ResourceView;
use spandrel_proto::otlp::wire::WireError;
use xxhash_rust::xxh3::xxh3_128;

use crate::dictionary::Dictionary;
use crate::semantics;
use crate::token::Token;

/// Resources, scopes, pairs of them, and services, each once.
#[derive(Debug, Default)]
pub(crate) struct ResourceTable {
    /// Contains the interned values. The other fields of the dictionary stay empty.
    pub(crate) dictionary: Dictionary,
    /// By resource.
    facts: Vec<Arc<ResourceFacts>>,
    resource_index: FxHashMap<u128, u32>,
    scope_index: FxHashMap<u128, u32>,
    service_index: FxHashMap<String, u32>,
    resource_scope_index: FxHashMap<(u32, u32), u32>,
}

/// What a block needs to know of a resource.
#[derive(Debug)]
struct ResourceFacts {
    record: Box<[u8]>,
    service: String,
    /// The tokens of its attributes.
    tokens: Box<[Token]>,
}

/// The facts of the resources that a thread met lately, by hash. A sender repeats its resource in each request, and
/// reading thirty attributes costs more than all the rest of it.
#[derive(Default)]
struct RecentResources {
    facts: FxHashMap<u128, Arc<ResourceFacts>>,
    bytes: usize,
}

thread_local! {
    static RECENT: RefCell<RecentResources> = RefCell::default();
}

/// Above this size in memory, a thread forgets the resources that it met.
const MAX_RECENT_BYTES: usize = 8 << 20;

// === impl ResourceTable ===

impl ResourceTable {
    pub(crate) fn resource(&mut self, record: &Bytes) -> Result<u32, WireError> {
        let hash = xxh3_128(record);
        if let Some(known) = self.resource_index.get(&hash) {
            return Ok(*known);
        }
        let facts = RECENT.with_borrow_mut(|recent| recent.facts_of(hash, record))?;
        let service = self.service(&facts.service);
        let index = self.dictionary.resources.len() as u32;
        self.dictionary.resources.push(record.clone());
        self.dictionary.resource_services.push(service);
        self.facts.push(facts);
        self.resource_index.insert(hash, index);
        Ok(index)
    }

    /// The tokens of the attributes of all resources.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.facts.iter().flat_map(|facts| &facts.tokens).copied().collect()
    }

    pub(crate) fn service(&mut self, name: &str) -> u32 {
        if let Some(known) = self.service_index.get(name) {
            return *known;
        }
        let index = self.dictionary.services.len() as u32;
        self.dictionary.services.push(name.to_owned());
        self.service_index.insert(name.to_owned(), index);
        index
    }

    pub(crate) fn scope(&mut self, record: &Bytes) -> u32 {
        let scopes = &mut self.dictionary.scopes;
        *self.scope_index.entry(xxh3_128(record)).or_insert_with(|| {
            scopes.push(record.clone());
            scopes.len() as u32 - 1
        })
    }

    pub(crate) fn resource_scope(&mut self, resource: u32, scope: u32) -> u32 {
        let resource_scopes = &mut self.dictionary.resource_scopes;
        *self.resource_scope_index.entry((resource, scope)).or_insert_with(|| {
            resource_scopes.push((resource, scope));
            resource_scopes.len() as u32 - 1
        })
    }
}

// === impl RecentResources ===

impl RecentResources {
    fn facts_of(&mut self, hash: u128, record: &Bytes) -> Result<Arc<ResourceFacts>, WireError> {
        // Compared, because the resources of all tenants are here.
        if let Some(known) = self.facts.get(&hash).filter(|known| *known.record == **record) {
            return Ok(known.clone());
        }
        let facts = Arc::new(ResourceFacts::read(record)?);
        if self.bytes > MAX_RECENT_BYTES {
            *self = Self::default();
        }
        self.bytes += facts.size();
        self.facts.insert(hash, facts.clone());
        Ok(facts)
    }
}

// === impl ResourceFacts ===

impl ResourceFacts {
    fn read(record: &Bytes) -> Result<Self, WireError> {
        let view = ResourceView::parse(record)?;
        let mut tokens = Vec::new();
        for attribute in view.attributes() {
            let attribute = attribute?;
            let key = Token::of_key(attribute.key);
            tokens.push(key);
            tokens.extend(attribute.value.into_iter().flat_map(|value| key.with_value(value)));
        }
        let service = semantics::service_name(&view).to_owned();
        Ok(Self { record: record[..].into(), service, tokens: tokens.into() })
    }

    /// Bytes in memory.
    fn size(&self) -> usize {
        size_of::<(u128, Self)>() + self.record.len() + self.service.len() + size_of_val(&*self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use spandrel_proto::otlp::wire::put_bytes;

    use super::*;

    /// A `ResourceSpans` message whose resource has one attribute of strings.
    fn resource(key: &str, value: &str) -> Bytes {
        let (mut any, mut attribute, mut resource, mut record) = Default::default();
        put_bytes(&mut any, 1, value.as_bytes());
        put_bytes(&mut attribute, 1, key.as_bytes());
        put_bytes(&mut attribute, 2, &any);
        put_bytes(&mut resource, 1, &attribute);
        put_bytes(&mut record, 1, &resource);
        Vec::into(record)
    }

    #[test]
    fn a_resource_is_the_same_in_every_block_and_after_it_was_forgotten() {
        let records = [resource("service.name", "cart"), resource("host.name", "a"), Bytes::new()];
        for round in 0..3 {
            if round == 2 {
                RECENT.with_borrow_mut(|recent| recent.bytes = MAX_RECENT_BYTES + 1);
                let _ = ResourceTable::default().resource(&resource("k", "v")).unwrap();
                assert_eq!(RECENT.with_borrow(|recent| recent.facts.len()), 1, "the others are forgotten");
            }
            let mut table = ResourceTable::default();
            let numbers = records.each_ref().map(|record| table.resource(record).unwrap());
            assert_eq!(numbers, [0, 1, 2]);
            assert_eq!(table.resource(&records[1]).unwrap(), 1);
            let services = table.dictionary.resource_services.iter();
            let services: Vec<&str> =
                services.map(|service| table.dictionary.services[*service as usize].as_str()).collect();
            assert_eq!(services, ["cart", semantics::UNKNOWN_SERVICE, semantics::UNKNOWN_SERVICE]);
            let of = |key: &str, value| [Token::of_key(key), Token::of_key(key).with_string(value)];
            assert_eq!(table.tokens(), [of("service.name", "cart"), of("host.name", "a")].concat());
        }
    }
}
