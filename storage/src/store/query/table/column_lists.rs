//! The values that one thread of a pass has numbered, column by column: what pages have in common is numbered once, and
//! not for each page.

use rustc_hash::FxHashMap;
use spandrel_block::BlockId;

use super::value_list::ValueList;

/// The lists of all columns.
#[derive(Default)]
pub(crate) struct ColumnLists {
    columns: Vec<ColumnList>,
    /// The block whose texts are known.
    block: Option<BlockId>,
}

/// The values of one column.
#[derive(Default)]
pub(super) struct ColumnList {
    pub(super) values: ValueList,
    /// By slot of the column's field.
    known: Vec<KnownCodes>,
}

/// The codes of stored values of one slot, 0 for one that counts as absent.
#[derive(Default)]
pub(super) struct KnownCodes {
    /// By number among the texts that the pages of the block share.
    pub(super) texts: FxHashMap<u32, u32>,
    pub(super) numbers: FxHashMap<u64, u32>,
}

/// The most bytes of all lists, about. Lists begin anew behind it, so that values of which each span has another one do
/// not pile up.
const MAX_SIZE: usize = 8 << 20;

// === impl ColumnLists ===

impl ColumnLists {
    /// Prepares for a page of a block. Slots and shared texts are numbered by block.
    pub(super) fn begin_page(&mut self, block: BlockId, columns: usize) {
        if self.columns.iter().map(|column| column.values.size()).sum::<usize>() > MAX_SIZE {
            self.columns.clear();
        }
        if self.block != Some(block) {
            self.columns.iter_mut().for_each(|column| column.known.clear());
            self.block = Some(block);
        }
        self.columns.resize_with(columns, ColumnList::default);
    }

    pub(super) fn column(&mut self, at: usize) -> &mut ColumnList {
        &mut self.columns[at]
    }
}

// === impl ColumnList ===

impl ColumnList {
    /// The values, and the known codes of a slot of the column's field.
    pub(super) fn of_place(&mut self, place: usize) -> (&mut ValueList, &mut KnownCodes) {
        if self.known.len() <= place {
            self.known.resize_with(place + 1, KnownCodes::default);
        }
        (&mut self.values, &mut self.known[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Value;

    fn text(number: usize) -> Value {
        Value::String(format!("{number:0100}"))
    }

    #[test]
    fn lists_grow_over_blocks_and_begin_anew_when_they_are_large() {
        let mut lists = ColumnLists::default();
        lists.begin_page(BlockId(1), 1);
        let first = lists.column(0).values.number(text(0));
        lists.column(0).of_place(0).1.texts.insert(7, first + 1);
        let (values, id) = lists.column(0).values.share();
        lists.begin_page(BlockId(2), 1);
        assert!(lists.column(0).of_place(0).1.texts.is_empty(), "texts of another block");
        assert_eq!(lists.column(0).values.number(text(0)), first);
        (1..MAX_SIZE / 100).for_each(|number| _ = lists.column(0).values.number(text(number)));
        let (more, same) = lists.column(0).values.share();
        assert_eq!((same, &more[..1], values.len()), (id, &values[..], 1));
        lists.begin_page(BlockId(2), 1);
        assert_ne!(lists.column(0).values.share().1, id);
    }
}
