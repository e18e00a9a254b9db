//! One comparison of a predicate with attributes of a span, evaluated on columns.

use spandrel_block::{Column, Dictionary, FormatError, OpenValues, Slot, ZoneMap};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, ResourceView};

use super::filters::{AttributeTokens, BlockFilters};
use super::row_match::RowMatch;
use crate::plan::Comparison;
use crate::store::core::block_reader::BlockError;

/// A test of the attributes of a span that have a key.
#[derive(Debug, Clone)]
pub(crate) struct AttributeTest {
    pub(super) key: String,
    /// `None` tests whether there is such an attribute.
    comparison: Option<Comparison>,
    /// Whether the result is negated.
    pub(super) negated: bool,
    /// The tokens of matching attributes in the filter of a page.
    pub(super) tokens: AttributeTokens,
}

// === impl AttributeTest ===

impl AttributeTest {
    /// Tests whether the span has an attribute with this key.
    pub(super) fn exists(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            comparison: None,
            negated: false,
            tokens: AttributeTokens::new(key, None),
        }
    }

    /// Tests whether the span has no attribute with this key.
    pub(super) fn absent(key: &str) -> Self {
        Self { negated: true, ..Self::exists(key) }
    }

    /// Tests whether an attribute with this key satisfies a comparison.
    pub(super) fn compare(key: &str, comparison: &Comparison) -> Self {
        let tokens = AttributeTokens::new(key, Some(comparison));
        Self { key: key.to_owned(), comparison: Some(comparison.clone()), negated: false, tokens }
    }

    pub(super) fn holds_for(&self, value: AnyValue<'_>) -> bool {
        self.comparison.as_ref().is_none_or(|comparison| comparison.holds_for_value(value))
    }

    /// Whether the resource has such an attribute, without regard to `negated`.
    pub(super) fn holds_for_resource(&self, resource: &ResourceView<'_>) -> Result<bool, WireError> {
        for attribute in resource.attributes() {
            let attribute = attribute?;
            if attribute.key == self.key && self.holds_for(attribute.value.unwrap_or(AnyValue::Empty)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn may_be_in(&self, filters: &BlockFilters<'_>, page: usize) -> Result<bool, BlockError> {
        Ok(self.negated || filters.page_may_have(page, &self.tokens)?)
    }

    /// Whether a page may have a matching row, by the bounds of its columns of numbers.
    pub(super) fn may_be_in_zone(&self, zone: &ZoneMap, dictionary: &Dictionary) -> bool {
        let Some(comparison) = self.comparison.as_ref().filter(|comparison| comparison.orders_numbers())
        else {
            return true;
        };
        // Attributes that are kept as bytes may be in any page, and texts and arrays have no bounds.
        self.negated
            || dictionary.slots.iter().enumerate().any(|(number, slot)| {
                slot.is_irregular()
                    || slot.is_array(&self.key)
                    || slot.is_string(&self.key)
                    || slot.is_attribute(&self.key)
                        && zone
                            .numbers(number as u32, slot)
                            .is_some_and(|(min, max)| comparison.may_hold_between(min, max))
            })
    }

    /// The result of the test for each row, as far as the columns of a page decide it.
    pub(crate) fn matches(&self, page: &OpenValues) -> Result<Vec<RowMatch>, FormatError> {
        let dictionary = &page.dictionary;
        let mut matches = vec![RowMatch::No; page.core.rows()];
        for (number, slot) in dictionary.slots.iter().enumerate() {
            if slot.is_irregular() {
                self.add_constant(page, number as u32, RowMatch::Maybe, &mut matches);
            } else if let Some((key, value)) = slot.span_literal()
                && key == self.key.as_bytes()
            {
                self.add_constant(page, number as u32, RowMatch::of(self.holds_for(value)), &mut matches);
            } else if slot.is_attribute(&self.key) {
                self.add_column(page, number as u32, slot, &mut matches)?;
            }
        }
        if self.negated {
            for row_match in &mut matches {
                *row_match = row_match.negated();
            }
        }
        Ok(matches)
    }

    /// Raises the result of rows whose shape has a slot to at least `row_match`.
    fn add_constant(&self, page: &OpenValues, slot: u32, row_match: RowMatch, matches: &mut [RowMatch]) {
        let counts = page.dictionary.slot_counts(slot);
        if row_match == RowMatch::No || counts.iter().all(|count| *count == 0) {
            return;
        }
        for (known, class) in matches.iter_mut().zip(&page.core.class) {
            if counts[*class as usize] > 0 {
                *known = (*known).max(row_match);
            }
        }
    }

    fn add_column(
        &self,
        page: &OpenValues,
        number: u32,
        slot: &Slot,
        matches: &mut [RowMatch],
    ) -> Result<(), FormatError> {
        let Some(column) = page.values.whole_column(number, slot.encoding)? else { return Ok(()) };
        let holds = self.column_holds(page, slot, &column)?;
        let counts = page.dictionary.slot_counts(number);
        let mut values = holds.into_iter();
        for (known, class) in matches.iter_mut().zip(&page.core.class) {
            for _ in 0..counts[*class as usize] {
                let holds = values.next().ok_or(FormatError::Damaged("column"))?;
                *known = (*known).max(RowMatch::of(holds));
            }
        }
        Ok(())
    }

    /// For each value of a column, whether it satisfies the test; equal texts are compared once.
    fn column_holds(
        &self,
        page: &OpenValues,
        slot: &Slot,
        column: &Column,
    ) -> Result<Vec<bool>, FormatError> {
        Ok(match column {
            Column::Numbers(numbers) => {
                numbers.iter().map(|number| self.holds_for(slot.value_of_number(*number))).collect()
            }
            Column::Texts { references, index } => {
                let mut known = Vec::with_capacity(references.len());
                for reference in references {
                    let text = page.values.text(*reference, &page.texts)?;
                    known.push(self.holds_for(slot.value_of_text(text)));
                }
                index.iter().map(|at| known[*at as usize]).collect()
            }
        })
    }
}
