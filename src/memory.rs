//! Where memory comes from: jemalloc, for this program and for RocksDB, which is linked into it.
//!
//! Parts of blocks come into the cache and go from it in all sizes, on many threads. The C library's
//! allocator walks long lists of what is free for each of them: a trace by ID from fifty million spans spent
//! a fifth of its CPU time there.

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is free goes back to the system after a tenth of a second instead of ten. Appends, merges and questions free
/// hundreds of megabytes a second, each on threads of its own: with a second, the peak of a burst that is searched was
/// 477 MB, with this it is 351; at once would be 296, for half as much CPU time again.
/// `MALLOC_CONF` in the environment prevails.
#[cfg(not(target_env = "msvc"))]
#[allow(
    unsafe_code,
    reason = "jemalloc looks for a pointer to its settings under this name, and for nothing else"
)]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 59] = b"background_thread:true,dirty_decay_ms:100,muzzy_decay_ms:0\0";
