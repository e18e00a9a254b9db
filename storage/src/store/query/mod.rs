//! Queries over many traces: search, scan, aggregates, the service map. Changes nothing.

pub(crate) mod aggregate;
pub(crate) mod dependencies;
pub(crate) mod pruning;
pub(crate) mod scan;
pub(crate) mod search;
pub(crate) mod summary;
