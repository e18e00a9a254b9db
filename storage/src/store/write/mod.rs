//! Writes blocks: fresh ones from requests, sealed ones from fresh ones, and blocks without some of their spans.
//! `lifecycle` decides which spans are removed, and when.

pub(crate) mod append;
pub(crate) mod carry_over;
pub(crate) mod inputs;
pub(crate) mod merge;
pub(crate) mod replace;
pub(crate) mod rewrite;
pub(crate) mod seal_limits;
