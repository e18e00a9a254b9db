//! Evaluates predicates on filters, zone maps and columns. The result is an upper bound, so that few spans have to be
//! decoded (`read/matcher.rs`).
//!
//! Predicates have no negation above comparisons, so a comparison that columns cannot decide may be taken as true; such
//! rows are then decoded.

mod attribute_test;
mod block_predicate;
mod filters;
mod row_match;

pub(crate) use self::block_predicate::{AttributeMatches, BlockPredicate, ColumnRow};
pub(crate) use self::filters::{BlockFilters, FilterPredicate};
pub(crate) use self::row_match::RowMatch;
