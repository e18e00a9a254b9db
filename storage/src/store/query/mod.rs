//! Queries over many traces: search and select, scan, folds, aggregates, the service map. Changes nothing.

pub(crate) mod aggregate;
pub(crate) mod attributes;
mod block_scan;
pub(crate) mod dependencies;
pub(crate) mod fold;
mod parallel;
pub(crate) mod pruning;
pub(crate) mod scan;
pub(crate) mod search;
pub(crate) mod summary;
mod table;

pub(crate) use self::summary::from_spans::{MAX_MATCHED_IDS, summarise};
