//! Tables of spans: of the matching rows of a page, and of whole traces.
//!
//! What a column holds is decided by `span_values.rs`, which reads spans; `page_columns.rs` reads the same from the
//! columns of a page, and falls back to spans where they are stored in an unusual form.

mod block_parts;
mod joined;
mod page_columns;
mod page_table;
mod span_table;
mod span_values;
mod trace_table;
mod traces_of_page;
mod value_list;

pub(crate) use self::block_parts::BlockParts;
pub(crate) use self::page_table::{PageRows, page_table};
pub(crate) use self::trace_table::TraceTables;
