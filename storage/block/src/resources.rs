//! Interns the resources and scopes of a block that is being written, with the services that they name. Slots, shapes
//! and texts of spans are interned by the schema (`page/shred.rs`).

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::ResourceView;
use spandrel_proto::otlp::wire::WireError;
use xxhash_rust::xxh3::xxh3_128;

use crate::dictionary::Dictionary;
use crate::semantics;

/// Resources, scopes, pairs of them, and services, each once.
#[derive(Debug, Default)]
pub(crate) struct ResourceTable {
    /// Contains the interned values. The other fields of the dictionary stay empty.
    pub(crate) dictionary: Dictionary,
    resource_index: FxHashMap<u128, u32>,
    scope_index: FxHashMap<u128, u32>,
    service_index: FxHashMap<String, u32>,
    resource_scope_index: FxHashMap<(u32, u32), u32>,
}

// === impl ResourceTable ===

impl ResourceTable {
    pub(crate) fn resource(&mut self, record: &Bytes) -> Result<u32, WireError> {
        let hash = xxh3_128(record);
        if let Some(known) = self.resource_index.get(&hash) {
            return Ok(*known);
        }
        let view = ResourceView::parse(record)?;
        let service = self.service(semantics::service_name(&view));
        let index = self.dictionary.resources.len() as u32;
        self.dictionary.resources.push(record.clone());
        self.dictionary.resource_services.push(service);
        self.resource_index.insert(hash, index);
        Ok(index)
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
