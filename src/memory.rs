//! How the C library's allocator keeps memory, set once before any thread begins.

use std::thread;

/// Bounds the allocator's arenas. glibc makes eight for each core, and what one thread has freed in its
/// arena helps no other: with ingest, merges and questions on threads of their own, a third of the peak
/// memory was held by nobody. One arena a core, two at the least, cost no time that could be measured.
pub fn bound_arenas() {
    let arenas = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 256));
    set_arenas(arenas as i32);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt has no safe wrapper; it takes two numbers and keeps no pointer")]
fn set_arenas(arenas: i32) {
    // Whoever set it in the environment knows better.
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: called before any other thread runs; see mallopt(3).
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set_arenas(_arenas: i32) {}
