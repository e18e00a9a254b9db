//! Reads spans: finds the blocks of a trace, merges its rows, and decides whether a span satisfies a predicate.

pub(crate) mod matcher;
pub(crate) mod merge_iter;
pub(crate) mod trace_reader;
