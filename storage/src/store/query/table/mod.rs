//! Tables of spans: of the matching rows of a page, and of whole traces.
//!
//! What a column holds is decided by `span_values.rs`, which reads spans. `whole_columns.rs` and `page_columns.rs` read
//! the same from the columns of a page, and the latter falls back to spans where they are stored in an unusual form.

mod block_parts;
mod column_lists;
mod joined;
mod logs;
mod page_columns;
mod page_table;
mod span_table;
mod span_values;
mod trace_table;
mod traces_of_page;
mod translator;
mod value_list;
mod whole_columns;

pub(crate) use self::block_parts::BlockParts;
pub(crate) use self::column_lists::ColumnLists;
pub(crate) use self::page_table::{ColumnsOfTable, PageRows, page_table};
pub(crate) use self::trace_table::TraceTables;
