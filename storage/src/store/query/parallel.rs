//! Work of one query that is shared out among threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

/// Does something with each item, in as many threads as there are workers; each takes `run` neighbours at a time. The
/// results are in the order of the items. The threads share the work out among themselves: where the system refuses a
/// thread, the others do its part.
pub(crate) fn in_parallel<W: Send, T: Sync, R: Send>(
    workers: &mut [W],
    items: &[T],
    run: usize,
    each: impl Fn(&mut W, &T) -> R + Sync,
) -> Vec<R> {
    let runs = items.len().div_ceil(run.max(1));
    let threads = workers.len().min(runs);
    let Some((first, others)) = workers[..threads].split_first_mut() else { return Vec::new() };
    let (begun, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(runs)));
    let work = |worker: &mut W| {
        loop {
            let at = begun.fetch_add(1, Ordering::Relaxed);
            let Some(items) = items.chunks(run.max(1)).nth(at) else { return };
            let results: Vec<R> = items.iter().map(|item| each(worker, item)).collect();
            done.lock().push((at, results));
        }
    };
    thread::scope(|scope| {
        for worker in others {
            let begun = thread::Builder::new().spawn_scoped(scope, || work(worker));
            if let Err(error) = begun {
                tracing::warn!(%error, "a query has fewer threads than it could use");
            }
        }
        work(first);
    });
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_results_keep_their_order() {
        let items: Vec<u32> = (0..1_000).collect();
        for (threads, run) in [(1, 1), (3, 7), (8, 1_000), (4, 0)] {
            let mut workers = vec![0u32; threads];
            let doubled = in_parallel(&mut workers, &items, run, |count, item| {
                *count += 1;
                item * 2
            });
            assert!(doubled.iter().copied().eq((0..1_000).map(|item| item * 2)), "{threads} {run}");
            assert_eq!(workers.iter().sum::<u32>(), 1_000);
        }
        assert!(in_parallel(&mut [()], &[0; 0], 5, |(), item| *item).is_empty());
        assert!(in_parallel(&mut [(); 0], &items, 5, |(), item| *item).is_empty());
    }
}
