//! What a block that is being written has so far: slots, shapes, texts, classes, operations, resources, each once.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::wire::WireError;

use crate::interner::Interner;
use crate::page::shred::SpanSchema;
use crate::resources::ResourceTable;
use crate::shape::Class;

/// The tables of a block that is being written.
#[derive(Debug)]
pub(crate) struct BlockTables {
    pub(crate) schema: SpanSchema,
    pub(crate) resources: ResourceTable,
    operations: FxHashMap<(u32, u32), u32>,
    classes: FxHashMap<Class, u32>,
    resource_bytes: usize,
    is_fresh: bool,
}

// === impl BlockTables ===

impl BlockTables {
    /// Empty tables; the memory of an empty interner is reused for texts.
    pub(crate) fn new(texts: Interner, is_fresh: bool) -> Self {
        Self {
            schema: SpanSchema { texts, ..SpanSchema::default() },
            resources: ResourceTable::default(),
            operations: FxHashMap::default(),
            classes: FxHashMap::default(),
            resource_bytes: 0,
            is_fresh,
        }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// The size of all resources in bytes.
    pub(crate) fn resource_bytes(&self) -> usize {
        self.resource_bytes
    }

    pub(crate) fn resource(&mut self, record: &Bytes) -> Result<u32, WireError> {
        let known = self.resources.dictionary.resources.len();
        let index = self.resources.resource(record)?;
        if index as usize == known {
            self.resource_bytes += record.len();
        }
        Ok(index)
    }

    pub(crate) fn operation(&mut self, service: u32, name: &[u8]) -> u32 {
        let text = self.schema.texts.intern(name);
        let operations = &mut self.resources.dictionary.operations;
        *self.operations.entry((service, text)).or_insert_with(|| {
            operations.push((service, String::from_utf8_lossy(name).into_owned()));
            operations.len() as u32 - 1
        })
    }

    pub(crate) fn class(&mut self, class: Class) -> u32 {
        let classes = &mut self.schema.classes;
        *self.classes.entry(class).or_insert_with(|| {
            classes.push(class);
            classes.len() as u32 - 1
        })
    }
}
