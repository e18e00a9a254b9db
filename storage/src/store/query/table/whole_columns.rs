//! Reads a column of a table from the columns of a page, all rows at once. Each distinct text of the page is looked at
//! once, and those that the pages of a block share once for the block.

use spandrel_block::{Column, FieldPlaces, OpenValues, StoredColumn, ValuesPage};

use super::column_lists::{ColumnList, KnownCodes};
use super::translator::Translator;
use super::value_list::ValueList;
use crate::store::core::block_reader::BlockError;
use crate::table::Value;

/// The codes of the rows of a page that have a value, as in [`crate::table::Codes::Few`]; `None` if rows have to be read
/// one by one. `rows` are those whose classes have one, and the number of all rows of each class.
pub(super) fn whole_column(
    translator: Translator<'_>,
    places: &FieldPlaces,
    page: &OpenValues,
    rows: (&[u32], &[u32]),
    list: &mut ColumnList,
) -> Result<Option<Vec<u32>>, BlockError> {
    places.read(page, rows, |slot, place, stored| {
        let (values, known) = list.of_place(place);
        let slot = SlotOfColumn { translator, slot, page, values, known };
        match stored {
            StoredColumn::Literal => slot.literal(),
            StoredColumn::Values(Column::Numbers(numbers)) => slot.numbers(&numbers),
            StoredColumn::Values(Column::Texts { references, index }) => slot.texts(&references, &index),
        }
    })
}

/// A slot of a column's field in one page.
struct SlotOfColumn<'p> {
    translator: Translator<'p>,
    slot: u32,
    page: &'p OpenValues,
    values: &'p mut ValueList,
    known: &'p mut KnownCodes,
}

// === impl SlotOfColumn ===

impl SlotOfColumn<'_> {
    fn literal(self) -> Result<Vec<u32>, BlockError> {
        let value = self.translator.literal(self.slot)?;
        Ok(vec![code(self.values, value)])
    }

    fn numbers(self, numbers: &[u64]) -> Result<Vec<u32>, BlockError> {
        let Self { translator, slot, values, known, .. } = self;
        let mut code_of = |number: &u64| match known.numbers.get(number) {
            Some(code) => Ok(*code),
            None => {
                // Only values of events depend on the start of their span.
                let code = code(values, translator.value_of_number(slot, *number, 0)?);
                known.numbers.insert(*number, code);
                Ok(code)
            }
        };
        numbers.iter().map(&mut code_of).collect()
    }

    fn texts(mut self, references: &[u32], index: &[u32]) -> Result<Vec<u32>, BlockError> {
        let codes: Vec<u32> =
            references.iter().map(|reference| self.text(*reference)).collect::<Result<_, _>>()?;
        Ok(index.iter().map(|at| codes[*at as usize]).collect())
    }

    fn text(&mut self, reference: u32) -> Result<u32, BlockError> {
        let shared = ValuesPage::shared_text(reference);
        if let Some(code) = shared.and_then(|shared| self.known.texts.get(&shared)) {
            return Ok(*code);
        }
        let text = self.page.values.text(reference, &self.page.texts)?;
        let listed = self.values.number_of_text(text).filter(|_| self.translator.is_string(self.slot));
        let code = match listed {
            Some(number) => number + 1,
            None => code(self.values, self.translator.value_of_text(self.slot, text)?),
        };
        if let Some(shared) = shared {
            self.known.texts.insert(shared, code);
        }
        Ok(code)
    }
}

fn code(values: &mut ValueList, value: Option<Value>) -> u32 {
    value.map_or(0, |value| values.number(value) + 1)
}
