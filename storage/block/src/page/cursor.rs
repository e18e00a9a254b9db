//! A place among the rows of a page: which values of each column lie in front of it.

use super::open_page::OpenPage;
use crate::shape::{EVENTS, FieldEncoding, Level, Slot, ValueKind};

/// The number of listed texts in front of a value, before it was counted.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// A row, and how much lies in front of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowCursor {
    pub(crate) row: usize,
    /// For each slot, its values.
    pub(crate) taken: Vec<u32>,
    /// For each slot of texts, how many of its column are listed; `UNKNOWN` until the column is read. Empty in a
    /// reader of whole columns.
    pub(crate) listed: Vec<u32>,
    pub(crate) events: usize,
    pub(crate) links: usize,
}

/// Where a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValuePlace {
    pub(crate) slot: u32,
    /// Values of its slot in front of it.
    pub(crate) taken: u32,
    /// Of a text: how many are listed in front of it, and behind.
    pub(crate) listed: (u32, u32),
}

// === impl RowCursor ===

impl RowCursor {
    /// Counts the values of all rows in front of one.
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

    /// Passes over the row; tells where each of its values is.
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

    /// How many texts are listed in front of one, and behind.
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

    /// Sets what lies in front of a value.
    pub(crate) fn set(&mut self, slot: u32, taken: u32, listed: u32) {
        self.taken[slot as usize] = taken;
        if let Some(known) = self.listed.get_mut(slot as usize) {
            *known = listed;
        }
    }
}
