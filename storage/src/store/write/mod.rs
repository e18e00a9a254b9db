//! Writes blocks: fresh ones of what arrives, sealed ones of fresh ones, and blocks without some of their spans.
//! Which spans leave, and when, is decided in `lifecycle`.

pub(crate) mod append;
pub(crate) mod carry_over;
pub(crate) mod merge;
pub(crate) mod replace;
pub(crate) mod rewrite;
pub(crate) mod seal_limits;
