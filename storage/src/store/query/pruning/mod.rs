//! What filters, zone maps and columns say of a predicate: an upper bound, so that few spans have to be
//! looked at (`read/matcher.rs`).
//!
//! Predicates have no negation above comparisons, so a comparison that columns cannot decide may be
//! taken as true: rows that fall through the columns are then looked at in full.

mod attribute_test;
mod block_predicate;
mod filters;
mod row_match;

pub(crate) use self::block_predicate::{AttributeMatches, BlockPredicate, ColumnRow};
pub(crate) use self::filters::{BlockFilters, FilterPredicate};
pub(crate) use self::row_match::RowMatch;
