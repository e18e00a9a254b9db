//! Numbers values and classes: each distinct one is listed once, and rows refer to it by its number.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_block::RowFlags;
use xxhash_rust::xxh3::xxh3_128;

use crate::table::{Classes, Codes, ListId, SpanClass, Value, ValueColumn};

/// Distinct values in the order in which they first came.
#[derive(Debug, Default)]
pub(crate) struct ValueList {
    /// Shared with tables while these are looked at.
    values: Arc<Vec<Value>>,
    numbers: FxHashMap<u128, u32>,
    id: Option<ListId>,
    /// Bytes of its texts.
    text_bytes: usize,
}

/// Bytes of a value in the list and of its number.
const VALUE_BYTES: usize = 64;

/// Builds a column row by row.
#[derive(Debug, Default)]
pub(crate) struct ColumnBuilder {
    list: ValueList,
    codes: CodesBuilder,
}

/// Collects the codes of rows.
#[derive(Debug, Default)]
pub(crate) struct CodesBuilder {
    ends: Vec<u32>,
    codes: Vec<u32>,
    /// Whether a row has several codes.
    many: bool,
}

/// Numbers classes, and the names in them.
#[derive(Debug, Default)]
pub(crate) struct ClassBuilder {
    classes: Classes,
    services: FxHashMap<String, u32>,
    names: FxHashMap<String, u32>,
    numbers: FxHashMap<SpanClass, u32>,
}

// === impl ValueList ===

impl ValueList {
    /// The number of a value, which is added if it is new. Doubles are the same if their bits are.
    pub(crate) fn number(&mut self, value: Value) -> u32 {
        let Self { values, numbers, text_bytes, .. } = self;
        *numbers.entry(identity(&value)).or_insert_with(|| {
            if let Value::String(text) = &value {
                *text_bytes += text.len();
            }
            let values = Arc::make_mut(values);
            values.push(value);
            values.len() as u32 - 1
        })
    }

    /// The number of a text that was added before.
    pub(crate) fn number_of_text(&self, text: &[u8]) -> Option<u32> {
        self.numbers.get(&identity_of_text(text)).copied()
    }

    pub(crate) fn finish(self) -> Arc<Vec<Value>> {
        self.values
    }

    /// The values so far, and what the list is known by.
    pub(crate) fn share(&mut self) -> (Arc<Vec<Value>>, ListId) {
        (self.values.clone(), *self.id.get_or_insert_with(ListId::unique))
    }

    /// Bytes in memory, about.
    pub(crate) fn size(&self) -> usize {
        self.values.len() * VALUE_BYTES + self.text_bytes
    }
}

/// A number that stands for a value: a hash of its type and content.
fn identity(value: &Value) -> u128 {
    let of_bytes = |kind: u8, bytes: &[u8]| xxh3_128(bytes) ^ u128::from(kind);
    let of_word = |kind: u8, word: u64| u128::from(kind) << 64 | u128::from(word);
    match value {
        Value::Empty => of_word(0, 0),
        Value::Bool(flag) => of_word(1, u64::from(*flag)),
        Value::Int(int) => of_word(2, *int as u64),
        Value::Double(double) => of_word(3, double.to_bits()),
        Value::String(text) => identity_of_text(text.as_bytes()),
        Value::Bytes(bytes) => of_bytes(5, bytes),
        Value::KeyValues(message) => of_bytes(6, message),
        Value::Array(elements) => {
            let elements: Vec<u8> = elements.iter().flat_map(|one| identity(one).to_le_bytes()).collect();
            of_bytes(7, &elements)
        }
    }
}

/// The identity of a string.
fn identity_of_text(text: &[u8]) -> u128 {
    xxh3_128(text) ^ 4
}

// === impl ColumnBuilder ===

impl ColumnBuilder {
    /// Adds a value to the current row; returns its number.
    pub(crate) fn push(&mut self, value: Value) -> u32 {
        let number = self.list.number(value);
        self.codes.push(number);
        number
    }

    /// Adds a value to the current row that was added before.
    pub(crate) fn push_known(&mut self, number: u32) {
        self.codes.push(number);
    }

    pub(crate) fn end_row(&mut self) {
        self.codes.end_row();
    }

    pub(crate) fn finish(self) -> ValueColumn {
        ValueColumn { values: self.list.finish(), codes: self.codes.finish(), list: None }
    }
}

// === impl CodesBuilder ===

impl CodesBuilder {
    /// Adds a value's number to the current row.
    pub(crate) fn push(&mut self, number: u32) {
        self.codes.push(number);
    }

    pub(crate) fn end_row(&mut self) {
        let end = self.codes.len() as u32;
        self.many |= end - self.ends.last().copied().unwrap_or(0) > 1;
        self.ends.push(end);
    }

    pub(crate) fn finish(self) -> Codes {
        let Self { ends, codes, many } = self;
        if many {
            return Codes::Many { ends, codes };
        }
        let mut begin = 0;
        let one = ends.into_iter().map(|end| {
            let code = if end > begin { codes[begin as usize] + 1 } else { 0 };
            begin = end;
            code
        });
        Codes::One(one.collect())
    }
}

// === impl ClassBuilder ===

impl ClassBuilder {
    /// The number of a class, which is added if it is new.
    pub(crate) fn number(&mut self, service: &str, name: &str, flags: RowFlags) -> u32 {
        let Self { classes: Classes { services, names, classes }, .. } = self;
        let service = number_of(service, services, &mut self.services);
        let name = number_of(name, names, &mut self.names);
        let class = SpanClass { service, name, flags };
        *self.numbers.entry(class).or_insert_with(|| {
            classes.push(class);
            classes.len() as u32 - 1
        })
    }

    pub(crate) fn finish(self) -> Arc<Classes> {
        Arc::new(self.classes)
    }
}

fn number_of(name: &str, list: &mut Vec<String>, known: &mut FxHashMap<String, u32>) -> u32 {
    if let Some(number) = known.get(name) {
        return *number;
    }
    let number = list.len() as u32;
    list.push(name.to_owned());
    known.insert(name.to_owned(), number);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_by_type_and_content() {
        let array = |values: Vec<Value>| Value::Array(values);
        let all = [
            Value::Empty,
            Value::Bool(false),
            Value::Int(0),
            Value::Int(1),
            Value::Double(0.0),
            Value::Double(-0.0),
            Value::Double(1.0),
            Value::Double(f64::NAN),
            Value::String(String::new()),
            Value::String("1".to_owned()),
            Value::Bytes(Vec::new()),
            Value::Bytes(b"1".to_vec()),
            Value::KeyValues(Vec::new()),
            array(Vec::new()),
            array(vec![Value::Empty]),
            array(vec![array(Vec::new())]),
            array(vec![Value::Int(1), Value::Int(0)]),
            array(vec![Value::Int(0), Value::Int(1)]),
        ];
        let mut list = ValueList::default();
        for _ in 0..2 {
            for (number, value) in all.iter().enumerate() {
                assert_eq!(list.number(value.clone()), number as u32, "{value:?}");
            }
        }
        assert_eq!(list.finish().len(), all.len());
    }

    #[test]
    fn a_column_is_simple_until_a_row_has_several_values() {
        let codes = |rows: &[&[u32]]| {
            let mut builder = CodesBuilder::default();
            for row in rows {
                row.iter().for_each(|number| builder.push(*number));
                builder.end_row();
            }
            builder.finish()
        };
        assert!(matches!(codes(&[&[0], &[], &[3]]), Codes::One(codes) if codes == [1, 0, 4]));
        let many = codes(&[&[0], &[], &[3, 0]]);
        assert!(matches!(&many, Codes::Many { ends, codes } if *ends == [1, 1, 3] && *codes == [0, 3, 0]));
        let rows: Vec<Vec<usize>> = (0..3).map(|row| many.of_row(row).collect()).collect();
        assert_eq!(rows, [vec![0], vec![], vec![3, 0]]);
        assert!(matches!(codes(&[]), Codes::One(codes) if codes.is_empty()));
    }
}
