//! Reads one field of the spans of a page for all rows at once: a column has its values in the order of the rows whose
//! classes have its slot, so nothing has to be decided for single rows.
//!
//! Only spans' own fields are read in this way, and only where each shape in the page has one value of the field at the
//! most, as nearly all have. `fields.rs` reads the rest row by row.

use super::fields::{FieldPlan, OpenValues};
use super::packed::Column;
use crate::dictionary::Dictionary;
use crate::format::FormatError;
use crate::shape::ValueKind;

/// Which of a field's slots the rows of each class have.
#[derive(Debug)]
pub struct FieldPlaces {
    /// The slots, as in the plan.
    slots: Vec<u32>,
    /// By class, the index in `slots` plus one; 0 for no value.
    places: Vec<u32>,
}

/// The stored values of one slot in one page, in the order of their rows.
#[derive(Debug)]
pub enum StoredColumn {
    /// All are the same, and the slot says it all.
    Literal,
    /// Numbers or texts.
    Values(Column),
}

/// A class whose rows have to be read one by one.
const IRREGULAR: u32 = u32::MAX;

// === impl FieldPlaces ===

impl FieldPlaces {
    /// Finds the slots of a field by class.
    pub fn new(plan: &FieldPlan, dictionary: &Dictionary) -> Self {
        let places: Vec<u32> = (0..dictionary.shapes.len())
            .map(|shape| match plan.only_place(shape) {
                Some(place) => place.map_or(0, |place| place + 1),
                None => IRREGULAR,
            })
            .collect();
        let by_class = dictionary.classes.iter().map(|class| places[class.shape as usize]);
        Self { slots: plan.slots().to_vec(), places: by_class.collect() }
    }

    /// The codes of the rows of a page that have a value, as their classes tell; `None` if rows have to be read one by
    /// one. `counts` is the number of rows of each class ([`super::CorePage::class_counts`]). `codes` makes the code of
    /// each value of one slot, or one code for a literal, given the slot's number in the dictionary and among those of
    /// the field.
    pub fn read<E: From<FormatError>>(
        &self,
        page: &OpenValues,
        (rows, counts): (&[u32], &[u32]),
        mut codes: impl FnMut(u32, usize, StoredColumn) -> Result<Vec<u32>, E>,
    ) -> Result<Option<Vec<u32>>, E> {
        let mut values = vec![0usize; self.slots.len() + 1];
        for (place, count) in self.places.iter().zip(counts).filter(|(_, count)| **count > 0) {
            match values.get_mut(*place as usize) {
                Some(known) => *known += *count as usize,
                None => return Ok(None),
            }
        }
        let mut columns = vec![Vec::new(); self.slots.len()];
        for (place, slot) in self.slots.iter().enumerate().filter(|(place, _)| values[place + 1] > 0) {
            let stored = StoredColumn::read(page, *slot)?;
            let is_literal = matches!(stored, StoredColumn::Literal);
            let known = codes(*slot, place, stored)?;
            columns[place] = if is_literal { known.repeat(values[place + 1]) } else { known };
            if columns[place].len() != values[place + 1] {
                return Err(FormatError::Damaged("values of a page").into());
            }
        }
        let mut filled = columns.iter_mut().filter(|column| !column.is_empty());
        Ok(Some(match (filled.next(), filled.next()) {
            (Some(only), None) => std::mem::take(only),
            _ => self.joined(page, rows, columns)?,
        }))
    }

    /// The codes of several slots in the order of the rows that have one of them.
    fn joined(
        &self,
        page: &OpenValues,
        rows: &[u32],
        columns: Vec<Vec<u32>>,
    ) -> Result<Vec<u32>, FormatError> {
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let mut next = |row: &u32| {
            let place = self.places[page.core.class[*row as usize] as usize].checked_sub(1)?;
            columns.get_mut(place as usize)?.next()
        };
        let codes: Option<Vec<u32>> = rows.iter().map(&mut next).collect();
        codes.ok_or(FormatError::Damaged("values of a page"))
    }
}

// === impl StoredColumn ===

impl StoredColumn {
    fn read(page: &OpenValues, slot: u32) -> Result<Self, FormatError> {
        let encoding = page.dictionary.slots[slot as usize].encoding;
        if encoding.value_kind() == ValueKind::None {
            return Ok(Self::Literal);
        }
        let column = page.values.whole_column(slot, encoding)?;
        column.map(Self::Values).ok_or(FormatError::Damaged("values of a page"))
    }
}
