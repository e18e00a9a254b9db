//! Translates the numbers of a source block's slots, shapes, classes, resources and texts into those of the block that
//! is being written. Each is looked up once for each source block, local texts once for each page.

use std::sync::{Arc, Weak};

use super::source::{Part, PartKind, SourceBlock, SourcePage};
use super::{CopyError, DAMAGED};
use crate::format::FormatError;
use crate::page::Column;
use crate::shape::Class;
use crate::tables::BlockTables;

pub(crate) const UNKNOWN: u32 = u32::MAX;

/// The numbers of a source block's parts in the block that is being written; `UNKNOWN` until they are needed.
#[derive(Debug)]
pub(crate) struct BlockMaps {
    pub(crate) block: Arc<SourceBlock>,
    slots: Vec<u32>,
    shapes: Vec<u32>,
    classes: Vec<u32>,
    resource_scopes: Vec<u32>,
    /// Of the texts that the source's pages share.
    texts: Vec<u32>,
    /// A buffer for the slots of a shape.
    shape: Vec<u32>,
}

/// The same for the texts of one page.
#[derive(Debug)]
pub(crate) struct PageMaps {
    pub(crate) page: Arc<SourcePage>,
    /// The index of its block's maps.
    pub(crate) block: u32,
    /// Of the texts that only this page uses.
    texts: Vec<u32>,
    /// By slot of the source.
    pub(crate) columns: Vec<Values>,
    /// By row: the bytes of its texts that were new to the block, and that no row in front of it has. Empty for a fresh
    /// block, to which texts are added value by value.
    pub(crate) row_bytes: Vec<u32>,
    /// Gone once no more rows of the page follow.
    reader: Weak<()>,
}

/// The values of a slot of a page.
#[derive(Debug, Clone, Default)]
pub(crate) enum Values {
    #[default]
    None,
    Numbers(Vec<u64>),
    /// The number of each value's text in the new block.
    Texts(Vec<u32>),
    /// The same, `UNKNOWN` until the value is copied; and the distinct texts of the source with their use.
    SomeTexts {
        numbers: Vec<u32>,
        references: Vec<u32>,
        index: Vec<u32>,
    },
}

fn unknown(count: usize) -> Vec<u32> {
    vec![UNKNOWN; count]
}

// === impl BlockMaps ===

impl BlockMaps {
    pub(crate) fn new(block: &Arc<SourceBlock>) -> Self {
        let dictionary = &block.dictionary;
        Self {
            block: block.clone(),
            slots: unknown(dictionary.slots.len()),
            shapes: unknown(dictionary.shapes.len()),
            classes: unknown(dictionary.classes.len()),
            resource_scopes: unknown(dictionary.resource_scopes.len()),
            texts: unknown(block.texts.len()),
            shape: Vec::new(),
        }
    }

    /// The slot in the new block; `UNKNOWN` as long as no row with it was copied.
    #[inline]
    pub(crate) fn known_slot(&self, slot: u32) -> u32 {
        self.slots[slot as usize]
    }

    /// The class in the new block, if a row of it was copied.
    #[inline]
    pub(crate) fn known_class(&self, class: u32) -> Option<u32> {
        Some(self.classes[class as usize]).filter(|known| *known != UNKNOWN)
    }

    /// The resource and scope in the new block, if a row of them was copied.
    #[inline]
    pub(crate) fn known_resource_scope(&self, resource_scope: u32) -> Option<u32> {
        Some(self.resource_scopes[resource_scope as usize]).filter(|known| *known != UNKNOWN)
    }

    /// The number of a shape in the new block, to which it is added if it is new.
    #[inline]
    pub(crate) fn shape(&mut self, tables: &mut BlockTables, shape: u32) -> u32 {
        match self.shapes[shape as usize] {
            UNKNOWN => self.look_up_shape(tables, shape),
            known => known,
        }
    }

    fn look_up_shape(&mut self, tables: &mut BlockTables, shape: u32) -> u32 {
        let Self { block, slots, shape: buffer, .. } = self;
        let known = &block.dictionary.shapes[shape as usize];
        buffer.clear();
        for &slot in &known.slots {
            let number = &mut slots[slot as usize];
            if *number == UNKNOWN {
                let slot = &block.dictionary.slots[slot as usize];
                let schema = &mut tables.schema.slots;
                *number = schema.intern(UNKNOWN, slot.level, slot.encoding, slot.field, &slot.name);
            }
            buffer.push(*number);
        }
        self.shapes[shape as usize] = tables.schema.shapes.intern(known.flags, &self.shape);
        self.shapes[shape as usize]
    }

    /// The shape of an event or link in the new block; its row was copied.
    pub(crate) fn known_shape(&self, shape: u32) -> u32 {
        self.shapes[shape as usize]
    }

    pub(crate) fn class(&mut self, tables: &mut BlockTables, class: u32) -> u32 {
        if let Some(known) = self.known_class(class) {
            return known;
        }
        let Class { operation, shape } = self.block.dictionary.classes[class as usize];
        let shape = self.shape(tables, shape);
        let dictionary = &self.block.dictionary;
        let (service, name) = &dictionary.operations[operation as usize];
        let service = tables.resources.service(&dictionary.services[*service as usize]);
        let operation = tables.operation(service, name.as_bytes());
        let known = tables.class(Class { operation, shape });
        self.classes[class as usize] = known;
        known
    }

    pub(crate) fn resource_scope(
        &mut self,
        tables: &mut BlockTables,
        resource_scope: u32,
    ) -> Result<u32, CopyError> {
        if let Some(known) = self.known_resource_scope(resource_scope) {
            return Ok(known);
        }
        let (resource, scope) = self.block.dictionary.resource_and_scope(resource_scope);
        let resource = tables.resource(resource).map_err(|_| FormatError::Damaged("dictionary"))?;
        let scope = tables.resources.scope(scope);
        let known = tables.resources.resource_scope(resource, scope);
        self.resource_scopes[resource_scope as usize] = known;
        Ok(known)
    }
}

// === impl PageMaps ===

impl PageMaps {
    /// Reads all columns of a page, and gives the texts in them numbers. A merged block uses nearly all of them, and
    /// adding them together is faster. A fresh block uses few, and must not contain the others (`name_text`).
    pub(crate) fn new(
        page: &Arc<SourcePage>,
        reader: Weak<()>,
        block: u32,
        maps: &mut BlockMaps,
        tables: &mut BlockTables,
    ) -> Result<Self, CopyError> {
        let texts = unknown(page.open.values.local_texts()?.len());
        let columns = vec![Values::None; page.open.dictionary.slots.len()];
        let mut this = Self { page: page.clone(), block, texts, columns, row_bytes: Vec::new(), reader };
        let first = tables.schema.texts.len() as u32;
        for slot in page.slots() {
            this.columns[slot as usize] = match page.column(slot)? {
                Column::Numbers(numbers) => Values::Numbers(numbers),
                Column::Texts { references, index } if tables.is_fresh() => {
                    Values::SomeTexts { numbers: unknown(index.len()), references, index }
                }
                Column::Texts { references, index } => {
                    Values::Texts(this.name_texts(maps, tables, &references, index)?)
                }
            };
        }
        if !tables.is_fresh() {
            this.charge_texts(tables, first);
        }
        Ok(this)
    }

    /// Charges each text that is new to the block, those from `first` on, to the first row that has it.
    fn charge_texts(&mut self, tables: &BlockTables, first: u32) {
        let texts = &tables.schema.texts;
        let mut is_charged = vec![false; texts.len() - first as usize];
        let charge = |row: u32| {
            let mut bytes = 0;
            for (_, parts, places) in self.page.messages(row) {
                for (part, place) in parts.iter().zip(places).filter(|(part, _)| part.kind == PartKind::Text)
                {
                    let text = self.columns[part.slot as usize].texts()[*place as usize];
                    let new = text.checked_sub(first).map(|new| &mut is_charged[new as usize]);
                    if new.is_some_and(|new| !std::mem::replace(new, true)) {
                        bytes += texts.get(text).len() as u32;
                    }
                }
            }
            bytes
        };
        self.row_bytes = (0..self.page.open.core.rows() as u32).map(charge).collect();
    }

    /// Whether no more rows of the page follow.
    pub(crate) fn is_read(&self) -> bool {
        self.reader.strong_count() == 0
    }

    fn name_texts(
        &mut self,
        maps: &mut BlockMaps,
        tables: &mut BlockTables,
        references: &[u32],
        mut index: Vec<u32>,
    ) -> Result<Vec<u32>, CopyError> {
        let numbers = references.iter().map(|text| intern(&self.page, &mut self.texts, maps, tables, *text));
        let numbers = numbers.collect::<Result<Vec<u32>, CopyError>>()?;
        index.iter_mut().for_each(|at| *at = numbers[*at as usize]);
        Ok(index)
    }

    /// Gives the text of one value a number.
    pub(crate) fn name_text(
        &mut self,
        maps: &mut BlockMaps,
        tables: &mut BlockTables,
        part: &Part,
        place: u32,
    ) -> Result<(), CopyError> {
        let Values::SomeTexts { numbers, references, index } = &mut self.columns[part.slot as usize] else {
            return Ok(());
        };
        let number = &mut numbers[place as usize];
        if *number == UNKNOWN {
            let reference = references[index[place as usize] as usize];
            *number = intern(&self.page, &mut self.texts, maps, tables, reference)?;
        }
        Ok(())
    }
}

// === impl Values ===

impl Values {
    #[inline]
    pub(crate) fn numbers(&self) -> &[u64] {
        if let Self::Numbers(numbers) = self { numbers } else { &[] }
    }

    #[inline]
    pub(crate) fn texts(&self) -> &[u32] {
        match self {
            Self::Texts(numbers) | Self::SomeTexts { numbers, .. } => numbers,
            Self::None | Self::Numbers(_) => &[],
        }
    }
}

/// The number of a text in the new block, to which it is added if it is new.
fn intern(
    page: &SourcePage,
    local: &mut [u32],
    maps: &mut BlockMaps,
    tables: &mut BlockTables,
    reference: u32,
) -> Result<u32, CopyError> {
    let table = if reference & 1 == 1 { local } else { &mut maps.texts[..] };
    let known = table.get_mut((reference >> 1) as usize).ok_or(DAMAGED)?;
    if *known == UNKNOWN {
        *known = tables.schema.texts.intern(page.open.values.text(reference, &page.open.texts)?);
    }
    Ok(*known)
}
