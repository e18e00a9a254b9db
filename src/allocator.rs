//! The memory allocator: jemalloc, for this program and for RocksDB, which is linked into it.
//!
//! The cache allocates and frees parts of blocks in all sizes, on many threads. The C library's allocator walks long
//! free lists for each: a trace by ID from fifty million spans spent a fifth of its CPU time there.

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Free memory goes back to the operating system after a tenth of a second instead of ten. Appends, merges and queries
/// free hundreds of megabytes a second, each on threads of its own. During a burst with searches the peak was 477 MB
/// with a decay of a second and is 351 MB with this one; without decay it would be 296 MB, for half as much CPU time
/// again. `MALLOC_CONF` in the environment takes precedence.
#[cfg(not(target_env = "msvc"))]
#[allow(
    unsafe_code,
    reason = "jemalloc looks for a pointer to its settings under this name, and for nothing else"
)]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 59] = b"background_thread:true,dirty_decay_ms:100,muzzy_decay_ms:0\0";
