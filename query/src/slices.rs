//! Edges of slices of time that were counted before, so that a question about a day counts only its ends and what has
//! changed. A slice stays true as long as the store's version of its time is the same.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use spandrel_mesh::edges::{EdgeCounter, Steps};
use spandrel_proto::{Tenants, TimeRange, UnixNanos};

/// What is remembered of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Slices(Mutex<Known>);

/// A part of a range: a slice that is counted once for all, or an end that is no whole slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) range: TimeRange,
    pub(crate) is_slice: bool,
}

#[derive(Debug, Default)]
struct Known {
    slices: FxHashMap<(Tenants, u64, u64), Slice>,
    bytes: usize,
    /// Counts questions, to tell which slices were used last.
    now: u64,
}

#[derive(Debug)]
struct Slice {
    version: u64,
    counted: Arc<EdgeCounter>,
    bytes: usize,
    used: u64,
}

/// The bytes of all slices together, about.
const MAX_BYTES: usize = 64 << 20;
/// Larger slices are not kept.
const MAX_SLICE_BYTES: usize = 8 << 20;
const MINUTE: u64 = 60_000_000_000;
/// The lengths of slices, the longest first. Each is a multiple of the next.
const LENGTHS: [u64; 2] = [60 * MINUTE, 5 * MINUTE];
/// Ranges with more slices are counted without them.
const MOST_SLICES: u64 = 2_000;

/// Divides a range into slices and what is left over at its ends.
pub(crate) fn sections(range: TimeRange, now: UnixNanos) -> Vec<Section> {
    let begin = range.start.0;
    // What starts after now comes from clocks that run ahead, and is counted in one part.
    let end = range.end.unwrap_or(UnixNanos::MAX).0.min(now.0.max(begin));
    let mut parts = Vec::new();
    let mut at = begin;
    if (end - begin) / LENGTHS[0] <= MOST_SLICES {
        while at < end {
            let fits = |length: &&u64| at.is_multiple_of(**length) && end - at >= **length;
            match LENGTHS.iter().find(fits) {
                Some(length) => {
                    parts.push(part(at, Some(at + length), true));
                    at += length;
                }
                None => {
                    let shortest = LENGTHS[LENGTHS.len() - 1];
                    let next = (at / shortest + 1).saturating_mul(shortest).min(end);
                    parts.push(part(at, Some(next), false));
                    at = next;
                }
            }
        }
    }
    if range.end.is_none_or(|end| end.0 > at) {
        parts.push(part(at, range.end.map(|end| end.0), false));
    }
    parts
}

fn part(start: u64, end: Option<u64>, is_slice: bool) -> Section {
    Section { range: TimeRange { start: UnixNanos(start), end: end.map(UnixNanos) }, is_slice }
}

/// The steps of a slice: those of every question that uses slices are multiples of them.
pub(crate) fn steps(slice: TimeRange) -> Steps {
    Steps { start: slice.start.0, step: MINUTE }
}

/// Whether steps are made of those of slices.
pub(crate) fn fit(steps: Steps) -> bool {
    steps.step.is_multiple_of(MINUTE) && steps.start.is_multiple_of(MINUTE)
}

/// The time whose spans may belong to requests of a slice: attempts may begin after their request.
pub(crate) fn around(slice: TimeRange) -> TimeRange {
    let length = slice.end.map_or(0, |end| end.since(slice.start));
    let more = |nanos: UnixNanos| UnixNanos(nanos.0.saturating_add(length));
    TimeRange { start: UnixNanos(slice.start.0.saturating_sub(length)), end: slice.end.map(more) }
}

// === impl Slices ===

impl Slices {
    /// What was counted of a slice, if it is still true.
    pub(crate) fn get(&self, tenants: &Tenants, slice: TimeRange, version: u64) -> Option<Arc<EdgeCounter>> {
        let mut known = self.0.lock();
        known.now += 1;
        let now = known.now;
        let found = known.slices.get_mut(&key(tenants, slice)).filter(|known| known.version == version)?;
        found.used = now;
        Some(found.counted.clone())
    }

    pub(crate) fn put(&self, tenants: &Tenants, slice: TimeRange, version: u64, counted: Arc<EdgeCounter>) {
        let mut known = self.0.lock();
        let (bytes, used) = (counted.bytes(), known.now);
        if bytes > MAX_SLICE_BYTES {
            return;
        }
        if let Some(before) =
            known.slices.insert(key(tenants, slice), Slice { version, counted, bytes, used })
        {
            known.bytes -= before.bytes;
        }
        known.bytes += bytes;
        while known.bytes > MAX_BYTES {
            known.forget_oldest();
        }
    }
}

fn key(tenants: &Tenants, slice: TimeRange) -> (Tenants, u64, u64) {
    (tenants.clone(), slice.start.0, slice.end.map_or(u64::MAX, |end| end.0))
}

impl Known {
    fn forget_oldest(&mut self) {
        let oldest = self.slices.iter().min_by_key(|(_, slice)| slice.used).map(|(key, _)| key.clone());
        match oldest.and_then(|oldest| self.slices.remove(&oldest)) {
            Some(slice) => self.bytes -= slice.bytes,
            None => self.bytes = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spandrel_mesh::edges::OverTime;

    const HOUR: u64 = 60 * MINUTE;

    fn lengths(start: u64, end: Option<u64>, now: u64) -> Vec<(u64, bool)> {
        let range = TimeRange { start: UnixNanos(start), end: end.map(UnixNanos) };
        let parts = sections(range, UnixNanos(now));
        let mut at = UnixNanos(start);
        for part in &parts {
            assert_eq!(part.range.start, at, "parts leave nothing out");
            at = part.range.end.unwrap_or(UnixNanos::MAX);
        }
        assert_eq!(at, range.end.unwrap_or(UnixNanos::MAX));
        let length =
            |part: &Section| (part.range.end.map_or(0, |end| end.since(part.range.start)), part.is_slice);
        parts.iter().map(length).collect()
    }

    #[test]
    fn a_range_is_made_of_slices_and_its_ends() {
        let (start, now) = (HOUR - 7 * MINUTE, 3 * HOUR + 6 * MINUTE);
        let expected = [
            (2 * MINUTE, false),
            (5 * MINUTE, true),
            (HOUR, true),
            (HOUR, true),
            (5 * MINUTE, true),
            (MINUTE, false),
        ];
        assert_eq!(lengths(start, Some(now), now), expected);
        let open = lengths(start, None, now);
        assert_eq!(open[..6], expected);
        assert_eq!(open[6..], [(0, false)], "what starts after now is one part");
    }

    #[test]
    fn ranges_of_years_and_of_nothing_are_one_part() {
        assert_eq!(lengths(0, None, 50_000 * HOUR), [(0, false)]);
        assert_eq!(lengths(7, Some(7), HOUR), []);
        assert_eq!(lengths(2 * HOUR, Some(3 * HOUR), HOUR), [(HOUR, false)]);
    }

    #[test]
    fn a_slice_is_used_as_long_as_its_version_is_the_same() {
        let slices = Slices::default();
        let range = TimeRange { start: UnixNanos(0), end: Some(UnixNanos(HOUR)) };
        let counted = || Arc::new(EdgeCounter::new(range, steps(range), OverTime::Instances));
        slices.put(&Tenants::default(), range, 1, counted());
        assert!(slices.get(&Tenants::default(), range, 1).is_some());
        assert!(slices.get(&Tenants::default(), range, 2).is_none());
        slices.put(&Tenants::default(), range, 2, counted());
        assert!(slices.get(&Tenants::default(), range, 1).is_none());
        assert_eq!(slices.0.lock().slices.len(), 1);
    }
}
