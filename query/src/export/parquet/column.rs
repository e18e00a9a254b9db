//! Columns of a row group: values, with Parquet's levels for nested groups.

use bytes::BytesMut;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;

/// One leaf of the schema. Definition levels are kept for optional leaves, repetition levels for leaves in lists.
pub(super) struct Column<T> {
    values: Vec<T>,
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

/// A column of texts.
pub(super) type Texts = Column<ByteArray>;

/// A key and its value, copied for a map.
pub(super) type Entry = (ByteArray, Option<ByteArray>);

/// The two leaves of a map.
#[derive(Default)]
pub(super) struct Map {
    pub(super) keys: Texts,
    pub(super) values: Texts,
}

/// A leaf of any type.
pub(super) enum Leaf<'c> {
    Text(&'c mut Texts),
    Int(&'c mut Column<i64>),
    Bool(&'c mut Column<bool>),
}

/// Copies of texts: a slice would keep the whole block in memory that it was read from.
#[derive(Default)]
pub(super) struct Arena {
    free: BytesMut,
    /// Bytes in use since the last reset, places in columns included.
    pub(super) used: usize,
}

/// Texts share allocations of this size.
const ARENA_BYTES: usize = 64 << 10;
/// The memory of a text's place in a column, levels included.
pub(super) const PLACE_BYTES: usize = size_of::<ByteArray>() + 4;

// === impl Column ===

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() }
    }
}

impl<T> Column<T> {
    /// Adds a value to a required column.
    pub(super) fn put(&mut self, value: T) {
        self.values.push(value);
    }

    /// Adds a value to an optional column.
    pub(super) fn put_optional(&mut self, value: Option<T>) {
        self.definition.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    /// Adds an element of a list, with its repetition and definition levels.
    pub(super) fn put_at(&mut self, repetition: i16, definition: i16, value: Option<T>) {
        self.repetition.push(repetition);
        self.definition.push(definition);
        self.values.extend(value);
    }

    fn levels(&self) -> (Option<&[i16]>, Option<&[i16]>) {
        let some = |levels: &'_ [i16]| !levels.is_empty();
        (
            Some(&*self.definition).filter(|levels| some(levels)),
            Some(&*self.repetition).filter(|levels| some(levels)),
        )
    }

    fn clear(&mut self) {
        self.values.clear();
        self.definition.clear();
        self.repetition.clear();
    }
}

// === impl Map ===

impl Map {
    /// Adds a map at `repetition`, nested in `lists` lists.
    pub(super) fn put(&mut self, repetition: i16, lists: i16, entries: impl IntoIterator<Item = Entry>) {
        let mut at = repetition;
        let mut empty = true;
        for (key, value) in entries {
            self.keys.put_at(at, lists + 1, Some(key));
            self.values.put_at(at, lists + 1 + i16::from(value.is_some()), value);
            at = lists + 1;
            empty = false;
        }
        if empty {
            self.keys.put_at(repetition, lists, None);
            self.values.put_at(repetition, lists, None);
        }
    }

    /// Adds the place of a map that is not there because the list above it is empty.
    pub(super) fn put_nothing(&mut self) {
        self.keys.put_at(0, 0, None);
        self.values.put_at(0, 0, None);
    }

    pub(super) fn leaves(&mut self) -> [Leaf<'_>; 2] {
        [Leaf::Text(&mut self.keys), Leaf::Text(&mut self.values)]
    }
}

// === impl Leaf ===

impl Leaf<'_> {
    /// Writes the column of a row group and leaves the leaf empty.
    pub(super) fn write(self, mut writer: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        match self {
            Self::Text(column) => {
                let (definition, repetition) = column.levels();
                writer.typed::<ByteArrayType>().write_batch(&column.values, definition, repetition)?;
                column.clear();
            }
            Self::Int(column) => {
                let (definition, repetition) = column.levels();
                writer.typed::<Int64Type>().write_batch(&column.values, definition, repetition)?;
                column.clear();
            }
            Self::Bool(column) => {
                let (definition, repetition) = column.levels();
                writer.typed::<BoolType>().write_batch(&column.values, definition, repetition)?;
                column.clear();
            }
        }
        writer.close()
    }
}

// === impl Arena ===

impl Arena {
    pub(super) fn copy(&mut self, bytes: &[u8]) -> ByteArray {
        if self.free.capacity() < bytes.len() {
            self.free = BytesMut::with_capacity(ARENA_BYTES.max(bytes.len()));
        }
        self.free.extend_from_slice(bytes);
        self.used += bytes.len() + PLACE_BYTES;
        self.free.split().freeze().into()
    }
}
