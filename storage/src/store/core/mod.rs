//! What every part of the store stands on: the catalog in memory, blocks read through a cache, numbers of blocks and
//! commits, what waits to be merged, and what waits to be deleted. No policy: what is merged, dropped or deleted is
//! decided above.

pub(crate) mod block_ids;
pub(crate) mod block_reader;
pub(crate) mod config;
pub(crate) mod garbage;
pub(crate) mod ingest_load;
pub(crate) mod quarantine;
pub(crate) mod sequences;
pub(crate) mod trace_cardinality;
pub(crate) mod view;
