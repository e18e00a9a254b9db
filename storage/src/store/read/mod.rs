//! Reads spans: where a trace lies, its rows from all blocks in one order, and whether a span satisfies a predicate.

pub(crate) mod matcher;
pub(crate) mod merge_iter;
pub(crate) mod trace_reader;
