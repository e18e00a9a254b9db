//! Translates the numbers of a source block's slots, shapes, classes, resources and texts into those of the block that
//! is being written. Each is looked up once for each source block, local texts once for each page.

use std::sync::Arc;

use super::source::{Part, PartKind, SourceBlock, SourceColumn, SourcePage};
use super::{CopyError, DAMAGED};
use crate::shape::{Class, FieldEncoding};
use crate::writer::BlockWriter;

pub(super) const UNKNOWN: u32 = u32::MAX;

/// The numbers of a source block's parts in the block that is being written; `UNKNOWN` until they are needed.
#[derive(Debug)]
pub(super) struct BlockMaps {
    pub(super) block: Arc<SourceBlock>,
    slots: Vec<u32>,
    classes: Vec<u32>,
    resource_scopes: Vec<u32>,
    /// Of the texts that the source's pages share.
    texts: Vec<u32>,
    plans: Vec<Option<CopyPlan>>,
}

/// The same for the parts of one page.
#[derive(Debug)]
pub(super) struct PageMaps {
    pub(super) page: Arc<SourcePage>,
    /// The index of its block's maps.
    pub(super) block: u32,
    /// Classes whose columns are ready to be copied.
    classes: Vec<u32>,
    /// Whether the columns of a shape are ready to be copied.
    ready: Vec<bool>,
    /// Of the texts that only this page uses.
    texts: Vec<u32>,
    /// By slot of the source: whether it is ready, and the number of each value's text.
    is_used: Vec<bool>,
    pub(super) columns: Vec<Vec<u32>>,
    /// The slots that are ready: column of the new page, and slot of the source.
    pub(super) used: Vec<(u32, u32)>,
}

/// How to copy a message of one shape.
#[derive(Debug)]
pub(super) struct CopyPlan {
    pub(super) shape: u32,
    /// By part: its column in the new page.
    pub(super) columns: Box<[u32]>,
    /// The span's flags, if they are a part of the shape.
    pub(super) flags: u32,
    /// Whether the input of an edge has to be read from the span itself.
    pub(super) is_opaque: bool,
    /// The parts that edges need.
    pub(super) calls: Box<[CallPart]>,
}

/// A part of a span that an edge needs: its flags, or a text that may name the peer of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallPart {
    /// Its index among the parts of the shape.
    pub(super) at: u32,
    /// Its slot in the source, and in the new block.
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) is_flags: bool,
}

/// Columns of a new page: shapes of events, shapes of links, then one for each slot.
pub(super) const EVENT_COLUMN: u32 = 0;
pub(super) const LINK_COLUMN: u32 = 1;
pub(super) const FIRST_SLOT: u32 = 2;

fn unknown(count: usize) -> Vec<u32> {
    vec![UNKNOWN; count]
}

// === impl BlockMaps ===

impl BlockMaps {
    pub(super) fn new(block: &Arc<SourceBlock>) -> Self {
        let dictionary = &block.dictionary;
        Self {
            block: block.clone(),
            slots: unknown(dictionary.slots.len()),
            classes: unknown(dictionary.classes.len()),
            resource_scopes: unknown(dictionary.resource_scopes.len()),
            texts: unknown(block.texts.len()),
            plans: std::iter::repeat_with(|| None).take(dictionary.shapes.len()).collect(),
        }
    }

    /// The plan of a shape that was planned before.
    #[inline]
    pub(super) fn plan(&self, shape: u32) -> Result<&CopyPlan, CopyError> {
        self.plans[shape as usize].as_ref().ok_or_else(|| DAMAGED.into())
    }

    pub(super) fn make_plan(&mut self, writer: &mut BlockWriter, shape: u32) {
        if self.plans[shape as usize].is_some() {
            return;
        }
        let block = self.block.clone();
        let known = &block.dictionary.shapes[shape as usize];
        let slots: Vec<u32> = known.slots.iter().map(|slot| self.slot(writer, *slot)).collect();
        let parts = block.parts(shape);
        let mut plan = CopyPlan {
            shape: writer.schema.shapes.intern(known.flags, &slots),
            columns: parts.iter().map(|part| self.column(part)).collect(),
            flags: 0,
            is_opaque: false,
            calls: parts.iter().zip(0..).filter_map(|(part, at)| self.call_part(writer, part, at)).collect(),
        };
        for slot in known.slots.iter().map(|slot| &block.dictionary.slots[*slot as usize]) {
            plan.is_opaque |= slot.is_opaque_call();
            plan.flags = slot.literal_span_flags().unwrap_or(plan.flags);
        }
        self.plans[shape as usize] = Some(plan);
    }

    fn slot(&mut self, writer: &mut BlockWriter, slot: u32) -> u32 {
        let known = &mut self.slots[slot as usize];
        if *known == UNKNOWN {
            let slot = &self.block.dictionary.slots[slot as usize];
            *known = writer.schema.slots.intern(UNKNOWN, slot.level, slot.encoding, slot.field, &slot.name);
        }
        *known
    }

    fn column(&self, part: &Part) -> u32 {
        match part.kind {
            PartKind::Event => EVENT_COLUMN,
            PartKind::Link => LINK_COLUMN,
            PartKind::Number | PartKind::Text => FIRST_SLOT + self.slots[part.slot as usize],
        }
    }

    fn call_part(&self, writer: &BlockWriter, part: &Part, at: u32) -> Option<CallPart> {
        let (from, to) = (part.slot, self.slots[part.slot as usize]);
        let slot = &self.block.dictionary.slots[from as usize];
        let is_flags = slot.encoding == FieldEncoding::Fixed32 && slot.is_span_flags();
        let is_peer = part.kind == PartKind::Text && writer.schema.slots.is_peer(to);
        (is_flags || is_peer).then_some(CallPart { at, from, to, is_flags })
    }

    fn class(&mut self, writer: &mut BlockWriter, class: u32) -> Result<u32, CopyError> {
        let known = self.classes[class as usize];
        if known != UNKNOWN {
            return Ok(known);
        }
        let dictionary = &self.block.dictionary;
        let Class { operation, shape } = dictionary.classes[class as usize];
        let shape = self.plan(shape)?.shape;
        let (service, name) = &dictionary.operations[operation as usize];
        let service = writer.service(&dictionary.services[*service as usize]);
        let operation = writer.operation(service, name.as_bytes());
        let known = writer.class(Class { operation, shape });
        self.classes[class as usize] = known;
        Ok(known)
    }

    pub(super) fn resource_scope(
        &mut self,
        writer: &mut BlockWriter,
        resource_scope: u32,
    ) -> Result<u32, CopyError> {
        let known = self.resource_scopes[resource_scope as usize];
        if known != UNKNOWN {
            return Ok(known);
        }
        let (resource, scope) = self.block.dictionary.resource_and_scope(resource_scope);
        let (resource, scope) = (writer.resource(resource)?, writer.scope(scope));
        let known = writer.resource_scope(resource, scope);
        self.resource_scopes[resource_scope as usize] = known;
        Ok(known)
    }

    #[inline]
    pub(super) fn known_resource_scope(&self, resource_scope: u32) -> Option<u32> {
        Some(self.resource_scopes[resource_scope as usize]).filter(|known| *known != UNKNOWN)
    }
}

// === impl PageMaps ===

impl PageMaps {
    pub(super) fn new(page: &Arc<SourcePage>, block: u32) -> Result<Self, CopyError> {
        let (dictionary, values) = (&page.open.dictionary, &page.open.values);
        Ok(Self {
            page: page.clone(),
            block,
            classes: unknown(dictionary.classes.len()),
            ready: vec![false; dictionary.shapes.len()],
            texts: unknown(values.local_texts()?.len()),
            is_used: vec![false; dictionary.slots.len()],
            columns: vec![Vec::new(); dictionary.slots.len()],
            used: Vec::new(),
        })
    }

    /// The class, if its columns are ready.
    #[inline]
    pub(super) fn known_class(&self, class: u32) -> Option<u32> {
        Some(self.classes[class as usize]).filter(|known| *known != UNKNOWN)
    }

    pub(super) fn class(
        &mut self,
        maps: &mut BlockMaps,
        writer: &mut BlockWriter,
        class: u32,
    ) -> Result<u32, CopyError> {
        let known = maps.class(writer, class)?;
        self.classes[class as usize] = known;
        Ok(known)
    }

    #[inline]
    pub(super) fn is_ready(&self, shape: u32) -> bool {
        self.ready[shape as usize]
    }

    /// Plans how to copy messages of a shape, and reads its columns.
    pub(super) fn prepare(
        &mut self,
        maps: &mut BlockMaps,
        writer: &mut BlockWriter,
        shape: u32,
    ) -> Result<(), CopyError> {
        maps.make_plan(writer, shape);
        let (page, block) = (self.page.clone(), maps.block.clone());
        for part in block.parts(shape).iter().filter(|part| page.shapes_of(part.kind).is_none()) {
            let from = part.slot as usize;
            if std::mem::replace(&mut self.is_used[from], true) {
                continue;
            }
            self.used.push((maps.column(part), part.slot));
            if let SourceColumn::Texts { references, index } = page.column(part.slot)? {
                self.columns[from] = match writer.is_fresh() {
                    true => unknown(index.len()),
                    false => self.name_texts(maps, writer, references, index)?,
                };
            }
        }
        self.ready[shape as usize] = true;
        Ok(())
    }

    /// Gives all texts of a column numbers. A merged block uses nearly all of them, and adding them together is faster.
    fn name_texts(
        &mut self,
        maps: &mut BlockMaps,
        writer: &mut BlockWriter,
        references: &[u32],
        index: &[u32],
    ) -> Result<Vec<u32>, CopyError> {
        let numbers = references.iter().map(|reference| self.text(maps, writer, *reference));
        let numbers = numbers.collect::<Result<Vec<u32>, CopyError>>()?;
        Ok(index.iter().map(|at| numbers[*at as usize]).collect())
    }

    /// Gives the text of one value a number. A fresh block uses few of a page's texts, and must not contain the others.
    pub(super) fn name_text(
        &mut self,
        maps: &mut BlockMaps,
        writer: &mut BlockWriter,
        part: &Part,
        place: u32,
    ) -> Result<(), CopyError> {
        let (slot, place) = (part.slot as usize, place as usize);
        if part.kind != PartKind::Text || self.columns[slot][place] != UNKNOWN {
            return Ok(());
        }
        let page = self.page.clone();
        if let SourceColumn::Texts { references, index } = page.column(part.slot)? {
            self.columns[slot][place] = self.text(maps, writer, references[index[place] as usize])?;
        }
        Ok(())
    }

    fn text(
        &mut self,
        maps: &mut BlockMaps,
        writer: &mut BlockWriter,
        reference: u32,
    ) -> Result<u32, CopyError> {
        let table = if reference & 1 == 1 { &mut self.texts } else { &mut maps.texts };
        let known = table.get_mut((reference >> 1) as usize).ok_or(DAMAGED)?;
        if *known == UNKNOWN {
            let text = self.page.open.values.text(reference, &self.page.open.texts)?;
            *known = writer.schema.texts.intern(text);
        }
        Ok(*known)
    }
}
