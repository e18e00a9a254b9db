//! Pages: some thousand rows of a block as columns, compressed one by one.
//!
//! A page has three sections, so that a query reads only what it needs:
//!
//! ```text
//! core    rows (varint, 16,384 at the most), traces (varint)
//!         columns of integers (`ints.rs`): class, resource and scope; length of each trace in rows; start of each
//!         trace's first row; start of every other row minus that of the row before; duration; sequence
//! ids     span IDs (8 each, big endian), a column of parent codes, the parents that are coded raw (8 each)
//!         code 0: zero or none; 1: raw; otherwise zigzag(row - parent's row) + 2, within the trace
//! values  events (varint), a column of their shapes; links (varint), a column of their shapes
//!         columns (varint); for each: slot minus the slot before (varint), length (varint)
//!         the columns; local texts (varint), a column of their lengths, length (varint), stored
//!         length (varint), their bytes, as a zstd frame unless the two lengths are equal
//! ```
//!
//! A column of numbers is one of `ints.rs`. A column of texts is: distinct texts (varint), a column of references, and
//! unless all or only one of them are distinct a column of codes. A reference is twice the number of a text of the
//! block, or twice that of a local text plus one. Texts are listed in the order of their first use. Code 0 is the next
//! text of the list; code n is a listed text, n places from the end of the list so far, and 1 is the newest.
//!
//! The number of values in a column follows from the shapes of the rows.
//!
//! The frame of the local texts has a block for the texts of each slot, if they are many: a block has an entropy code of
//! its own.
//!
//! Since format 5, a page of a sealed block stores the rows of a trace in the order of their tree (`tree.rs`).

mod bits;
pub(crate) mod columns;
pub(crate) mod cursor;
mod field_column;
mod fields;
pub(crate) mod ints;
pub(crate) mod key_order;
pub(crate) mod open_page;
mod packed;
mod read;
pub(crate) mod rebuild;
mod regular;
pub(crate) mod row;
mod shape_predictor;
pub(crate) mod shred;
pub(crate) mod tree;
mod write;

/// The largest number of rows in a page; today's writer cuts pages much earlier.
pub(crate) const MAX_ROWS: usize = 16_384;

pub use field_column::{FieldPlaces, StoredColumn};
pub use fields::{Access, FieldPlan, FieldReader, FieldValue, MessageField, OpenValues, StoredValue};
pub use open_page::OpenPage;
pub use packed::{Column, PackedColumn};
pub use read::{CorePage, IdsPage, TextTable, ValuesPage};
pub use rebuild::Rebuilder;
pub(crate) use write::{EncodedPage, PageEncoder};
