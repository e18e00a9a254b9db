//! Folds: passes over all matching spans, or over all traces that have one, as tables, in several threads.

mod pass;
mod spans;
mod traces;

pub(crate) use self::spans::fold_spans as spans;
pub(crate) use self::traces::fold_traces as traces;
