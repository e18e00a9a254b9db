//! Delegation for engines that wrap another one: every method that the wrapper does not change.

/// Implements [`Inspect`] and [`Engine`] for an engine whose field `inner` is another one.
///
/// [`Inspect`]: spandrel_storage::engine::Inspect
/// [`Engine`]: spandrel_storage::Engine
macro_rules! delegate {
    ($engine:ty) => {
        impl spandrel_storage::engine::Inspect for $engine {
            fn stored_blocks(&self) -> Result<Vec<BlockKey>, EngineError> {
                self.inner.stored_blocks()
            }

            fn read_prefix(&self, key: &BlockKey) -> Result<bytes::Bytes, EngineError> {
                self.inner.read_prefix(key)
            }

            fn each_index_row(
                &self,
                show: &mut dyn FnMut(spandrel_storage::engine::IndexRow),
            ) -> Result<(), EngineError> {
                self.inner.each_index_row(show)
            }
        }

        impl spandrel_storage::Engine for $engine {
            fn free_bytes(&self) -> Option<u64> {
                self.inner.free_bytes()
            }

            fn stored_bytes(&self) -> u64 {
                self.inner.stored_bytes()
            }

            fn wal_truncated(&self) -> bool {
                self.inner.wal_truncated()
            }

            fn keeps_damaged_store(&self) -> bool {
                self.inner.keeps_damaged_store()
            }

            fn reclaim(&self) -> Result<(), EngineError> {
                self.inner.reclaim()
            }

            fn compact(&self) -> Result<(), EngineError> {
                self.inner.compact()
            }

            fn flush(&self) -> Result<(), EngineError> {
                self.inner.flush()
            }

            fn begin_purge(&self) -> Result<(), EngineError> {
                self.inner.begin_purge()
            }

            fn continue_purge(&self) -> Result<spandrel_storage::engine::PurgeProgress, EngineError> {
                self.inner.continue_purge()
            }

            fn encryption(&self) -> Option<&dyn spandrel_storage::engine::Encryption> {
                self.inner.encryption()
            }
        }
    };
}

pub(crate) use delegate;
