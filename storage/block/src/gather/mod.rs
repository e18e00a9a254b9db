//! The rows of a page that is being written, by where they are copied from, and the gathering of their values.
//!
//! `merge.rs` chooses rows one by one, in the order of their keys. When the page is full, [`Gather`] fills its columns one
//! after the other from all source pages. One column of each source page fits into a processor's cache; all columns of
//! dozens of pages, read row by row, do not. A row's shape tells which columns it has values in; [`source`] derives that
//! once for each shape of a source block, and [`maps`] translates the block's numbers.

mod maps;
mod source;

use std::sync::{Arc, Weak};

use rustc_hash::FxHashMap;

pub(crate) use self::maps::{BlockMaps, PageMaps};
pub use self::source::SourceBlock;
pub(crate) use self::source::{CallPart, PartKind, SourcePage};
use crate::error::WriteError;
use crate::format::FormatError;
use crate::page::columns::PageColumns;
use crate::tables::BlockTables;

/// Why a row cannot be copied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// The block that it is copied from is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The block that it is copied to cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

pub(crate) const DAMAGED: FormatError = FormatError::Damaged("values of a page");

/// The rows of a page that are copied from pages of other blocks.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    /// The rows, in the order of their keys.
    rows: Vec<SourceRow>,
    /// The blocks and pages that rows may come from. Entries of pages that are read to their end are free, and those of
    /// blocks once nothing else uses their tables.
    blocks: Vec<Option<BlockMaps>>,
    pages: Vec<Option<PageMaps>>,
    /// By the address of the block's tables.
    block_index: FxHashMap<usize, u32>,
    /// For each column of the new page, the values to gather; the memory is reused for the next page.
    picks: Vec<Vec<Pick>>,
    /// For each column, the pages that have it, with the slot there.
    sources: Vec<Vec<(u32, u32)>>,
}

/// A row of a source page.
#[derive(Debug, Clone, Copy)]
struct SourceRow {
    /// The index of the page's maps.
    page: u32,
    row: u32,
}

/// A value of a source page.
#[derive(Debug, Clone, Copy)]
struct Pick {
    page: u32,
    place: u32,
}

/// Columns of a new page: shapes of events, shapes of links, then one for each slot.
const EVENT_COLUMN: u32 = 0;
const LINK_COLUMN: u32 = 1;
const FIRST_SLOT: u32 = 2;

// === impl Gather ===

impl Gather {
    /// The number of rows of the page that is being written.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Registers a page that rows will come from as long as `reader` lives; returns its index.
    pub(crate) fn register(
        &mut self,
        tables: &mut BlockTables,
        page: &Arc<SourcePage>,
        reader: Weak<()>,
    ) -> Result<u32, CopyError> {
        let block = match self.block_index.get(&address(&page.block)) {
            Some(known) => *known,
            None => {
                let at = put(&mut self.blocks, BlockMaps::new(&page.block));
                self.block_index.insert(address(&page.block), at);
                at
            }
        };
        let Some(maps) = &mut self.blocks[block as usize] else { return Err(DAMAGED.into()) };
        let page = PageMaps::new(page, reader, block, maps, tables)?;
        Ok(put(&mut self.pages, page))
    }

    /// The maps of a registered page and of its block.
    #[inline]
    pub(crate) fn maps(&mut self, page: u32) -> Result<(&mut PageMaps, &mut BlockMaps), CopyError> {
        let page = self.pages.get_mut(page as usize).and_then(Option::as_mut).ok_or(DAMAGED)?;
        let block = self.blocks.get_mut(page.block as usize).and_then(Option::as_mut).ok_or(DAMAGED)?;
        Ok((page, block))
    }

    /// Adds a row, whose shapes are known to the maps of its block. Returns the bytes of its new texts.
    #[inline]
    pub(crate) fn push(&mut self, page: u32, row: u32) -> usize {
        self.rows.push(SourceRow { page, row });
        let bytes = self.pages[page as usize].as_ref().and_then(|page| page.row_bytes.get(row as usize));
        bytes.map_or(0, |bytes| *bytes as usize)
    }

    /// Fills the columns of slots, events and links with the values of all rows, and forgets the rows. `order` has the
    /// row for each place of the new page, if rows do not stay in the order of their keys.
    pub(crate) fn fill(&mut self, columns: &mut PageColumns, order: Option<&[u32]>) {
        match order {
            Some(order) => order.iter().for_each(|row| self.pick(self.rows[*row as usize])),
            None => (0..self.rows.len()).for_each(|row| self.pick(self.rows[row])),
        }
        self.find_sources();
        self.copy_nested(columns);
        let mut numbers: Vec<&[u64]> = vec![&[]; self.pages.len()];
        let mut texts: Vec<&[u32]> = vec![&[]; self.pages.len()];
        for ((column, picks), sources) in (0..).zip(&self.picks).zip(&self.sources).skip(FIRST_SLOT as usize)
        {
            if picks.is_empty() {
                continue;
            }
            for &(at, slot) in sources {
                let Some(page) = &self.pages[at as usize] else { continue };
                let values = &page.columns[slot as usize];
                (numbers[at as usize], texts[at as usize]) = (values.numbers(), values.texts());
            }
            let column = columns.slot(column - FIRST_SLOT);
            // A slot has either kind of values, whatever page they come from.
            if texts[picks[0].page as usize].is_empty() {
                let number = |pick: &Pick| numbers[pick.page as usize][pick.place as usize];
                column.numbers.extend(picks.iter().map(number));
            } else {
                let text = |pick: &Pick| texts[pick.page as usize][pick.place as usize];
                column.texts.extend(picks.iter().map(text));
            }
        }
        self.clear();
    }

    /// Notes where each value of a row is.
    fn pick(&mut self, SourceRow { page: at, row }: SourceRow) {
        let Some(page) = &self.pages[at as usize] else { return };
        let Some(block) = &self.blocks[page.block as usize] else { return };
        for (_, parts, places) in page.page.messages(row) {
            for (part, &place) in parts.iter().zip(places) {
                let column = match part.kind {
                    PartKind::Event => EVENT_COLUMN,
                    PartKind::Link => LINK_COLUMN,
                    PartKind::Number | PartKind::Text => FIRST_SLOT + block.known_slot(part.slot),
                } as usize;
                if column >= self.picks.len() {
                    self.picks.resize_with(column + 1, Vec::new);
                }
                self.picks[column].push(Pick { page: at, place });
            }
        }
    }

    fn find_sources(&mut self) {
        self.sources.iter_mut().for_each(Vec::clear);
        self.sources.resize(self.picks.len(), Vec::new());
        for (page, at) in self.pages.iter().zip(0..) {
            let Some(page) = page else { continue };
            let Some(block) = &self.blocks[page.block as usize] else { continue };
            for slot in page.page.slots() {
                // The new page does not have all columns.
                let column = FIRST_SLOT.saturating_add(block.known_slot(slot)) as usize;
                if let Some(sources) = self.sources.get_mut(column) {
                    sources.push((at, slot));
                }
            }
        }
    }

    /// Copies the shapes of events and links.
    fn copy_nested(&self, columns: &mut PageColumns) {
        let shape = |pick: &Pick, is_event: bool| {
            let page = self.pages[pick.page as usize].as_ref()?;
            let values = &page.page.open.values;
            let shapes = if is_event { &values.events } else { &values.links };
            let block = self.blocks[page.block as usize].as_ref()?;
            Some(block.known_shape(shapes[pick.place as usize]))
        };
        let picks = |column: u32| self.picks.get(column as usize).into_iter().flatten();
        columns.events.extend(picks(EVENT_COLUMN).filter_map(|pick| shape(pick, true)));
        columns.links.extend(picks(LINK_COLUMN).filter_map(|pick| shape(pick, false)));
    }

    /// Forgets the rows, the pages that are read to their end, and blocks that nothing else uses.
    fn clear(&mut self) {
        self.rows.clear();
        self.picks.iter_mut().for_each(Vec::clear);
        for page in &mut self.pages {
            page.take_if(|page| page.is_read());
        }
        for block in &mut self.blocks {
            if let Some(done) = block.take_if(|block| Arc::strong_count(&block.block) == 1) {
                self.block_index.remove(&address(&done.block));
            }
        }
    }
}

fn address(block: &Arc<SourceBlock>) -> usize {
    Arc::as_ptr(block) as usize
}

/// Puts an entry into the first free place; returns its index.
fn put<T>(entries: &mut Vec<Option<T>>, entry: T) -> u32 {
    let at = entries.iter().position(Option::is_none).unwrap_or(entries.len());
    if at == entries.len() {
        entries.push(None);
    }
    entries[at] = Some(entry);
    at as u32
}
