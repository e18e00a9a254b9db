//! The commands that talk to a running server or look at a data directory; one file each.

pub(crate) mod client;
