//! Opening a store.

pub(crate) mod rebuild_catalog_row;
