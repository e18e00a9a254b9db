//! What the stored values of a field mean in a column of a table.

use spandrel_block::{Dictionary, FieldEncoding};

use super::span_values::{hex, time_since, value_of};
use crate::store::core::block_reader::BlockError;
use crate::table::{ColumnName, Value};

/// Makes values of a column from values as a page stores them. `None` is a value that counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Translator<'p> {
    pub(super) name: &'p ColumnName,
    pub(super) dictionary: &'p Dictionary,
}

// === impl Translator ===

impl Translator<'_> {
    pub(super) fn literal(self, slot: u32) -> Result<Option<Value>, BlockError> {
        let slot = &self.dictionary.slots[slot as usize];
        match self.name {
            ColumnName::Attribute(..) => Ok(Some(value_of(slot.literal_value())?)),
            ColumnName::Flags => Ok(slot.literal_span_flags().and_then(flags)),
            // A plain status, without a message.
            _ => Ok(None),
        }
    }

    pub(super) fn value_of_number(
        self,
        slot: u32,
        number: u64,
        start: u64,
    ) -> Result<Option<Value>, BlockError> {
        match self.name {
            ColumnName::EventTimeSinceStart => Ok(Some(time_since(start, start.wrapping_add(number)))),
            ColumnName::Flags => Ok(flags(number as u32)),
            _ => Ok(Some(value_of(self.dictionary.slots[slot as usize].value_of_number(number))?)),
        }
    }

    pub(super) fn value_of_text(self, slot: u32, text: &[u8]) -> Result<Option<Value>, BlockError> {
        let string = || Value::String(String::from_utf8_lossy(text).into_owned());
        match self.name {
            ColumnName::LinkTraceId | ColumnName::LinkSpanId => Ok(Some(hex(text))),
            ColumnName::StatusMessage | ColumnName::TraceState => Ok((!text.is_empty()).then(string)),
            ColumnName::EventName => Ok(Some(string())),
            _ => Ok(Some(value_of(self.dictionary.slots[slot as usize].value_of_text(text))?)),
        }
    }

    /// Whether a text of a slot is a string of the column as it is, if it is UTF-8.
    pub(super) fn is_string(self, slot: u32) -> bool {
        matches!(self.name, ColumnName::Attribute(..))
            && self.dictionary.slots[slot as usize].encoding == FieldEncoding::String
    }
}

fn flags(flags: u32) -> Option<Value> {
    (flags != 0).then(|| Value::Int(i64::from(flags)))
}
