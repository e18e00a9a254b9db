//! A position among the rows of a page: the number of values of each column that lie in front of it.

use super::open_page::OpenPage;
use crate::shape::{EVENTS, FieldEncoding, Level, Slot, ValueKind};

/// The count of listed texts is not known yet.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// A row, and the counts of values in front of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowCursor {
    pub(crate) row: usize,
    /// For each slot, the number of its values.
    pub(crate) taken: Vec<u32>,
    /// For each slot of texts, the number of texts in its column's list; `UNKNOWN` until the column is read. Empty for
    /// readers of whole columns, which do not need it.
    pub(crate) listed: Vec<u32>,
    pub(crate) events: usize,
    pub(crate) links: usize,
}

/// The position of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValuePlace {
    pub(crate) slot: u32,
    /// The number of values of its slot in front of it.
    pub(crate) taken: u32,
    /// For a text, the number of listed texts in front of it, and that behind it.
    pub(crate) listed: (u32, u32),
}

// === impl RowCursor ===

impl RowCursor {
    /// Positions the cursor at a row by counting the values of all rows in front of it.
    pub(crate) fn of(page: &OpenPage, row: usize) -> Self {
        let OpenPage { dictionary, core, values, .. } = page;
        let mut counts = vec![0u64; dictionary.slots.len()];
        let mut classes = vec![0u64; dictionary.classes.len()];
        core.class.iter().take(row).for_each(|class| classes[*class as usize] += 1);
        for (class, times) in dictionary.classes.iter().zip(classes).filter(|(_, times)| *times > 0) {
            dictionary.count_slots(class.shape, times, &mut counts);
        }
        let [events, links] = dictionary.nested(&counts).map(|count| count as usize);
        for shape in values.events.iter().take(events).chain(values.links.iter().take(links)) {
            dictionary.count_slots(*shape, 1, &mut counts);
        }
        let taken: Vec<u32> = counts.into_iter().map(|count| count as u32).collect();
        let listed = vec![UNKNOWN; taken.len()];
        Self { row, taken, listed, events, links }
    }

    /// Skips the row and reports the position of each of its values.
    pub(crate) fn pass(&mut self, page: &OpenPage, tell: &mut impl FnMut(ValuePlace)) {
        if let Some(class) = page.core.class.get(self.row) {
            self.pass_message(page, page.dictionary.classes[*class as usize].shape, tell);
        }
        self.row += 1;
    }

    fn pass_message(&mut self, page: &OpenPage, shape: u32, tell: &mut impl FnMut(ValuePlace)) {
        for &number in &page.dictionary.shapes[shape as usize].slots {
            let slot = &page.dictionary.slots[number as usize];
            if slot.encoding.value_kind() != ValueKind::None {
                let taken = self.taken[number as usize];
                self.taken[number as usize] += 1;
                tell(ValuePlace { slot: number, taken, listed: self.pass_text(page, slot, number, taken) });
            } else if slot.encoding == FieldEncoding::Nested && slot.level == Level::Span {
                let (shapes, behind) = match slot.field {
                    EVENTS => (&page.values.events, &mut self.events),
                    _ => (&page.values.links, &mut self.links),
                };
                let nested = shapes.get(*behind).copied();
                *behind += 1;
                nested.into_iter().for_each(|shape| self.pass_message(page, shape, tell));
            }
        }
    }

    /// Skips a text; returns the number of listed texts in front of it, and that behind it.
    fn pass_text(&mut self, page: &OpenPage, slot: &Slot, number: u32, taken: u32) -> (u32, u32) {
        let Some(listed) = self.listed.get_mut(number as usize) else { return (UNKNOWN, UNKNOWN) };
        if slot.encoding.value_kind() != ValueKind::Text {
            return (UNKNOWN, UNKNOWN);
        }
        // Damage is reported when the value itself is read.
        let Ok(Some(column)) = page.values.column(number, slot.encoding) else { return (UNKNOWN, UNKNOWN) };
        if *listed == UNKNOWN {
            *listed = column.listed_before(taken as usize);
        }
        let before = *listed;
        let _ = column.reference(taken as usize, listed);
        (before, *listed)
    }

    /// Sets the counts in front of a slot's next value.
    pub(crate) fn set(&mut self, slot: u32, taken: u32, listed: u32) {
        self.taken[slot as usize] = taken;
        if let Some(known) = self.listed.get_mut(slot as usize) {
            *known = listed;
        }
    }
}
