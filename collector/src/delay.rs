//! How long it takes from the end of a span until it can be found, by receiver: counted when its batch is durable, which
//! is when queries see it. Most of it is usually the sender's own: exporters collect spans for seconds.
//!
//! Every span counts. The metrics have all of them since the start, the status those of the last minute or two.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use spandrel_proto::UnixNanos;
use spandrel_proto::otlp::wire::{Reader, Value};
use spandrel_proto::otlp::{Decoded, SpanHead};

use crate::route::Route;

/// The time of day; replaced in tests.
pub(crate) type WallClock = fn() -> UnixNanos;

/// The delays of all receivers.
pub(crate) struct Delays {
    clock: WallClock,
    receivers: Vec<(&'static str, Mutex<Counted>)>,
}

/// The delays of a receiver of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentDelay {
    /// Its name, as in the metrics.
    pub receiver: &'static str,
    /// Spans that were stored.
    pub spans: u64,
    /// Half of them were found within this time after their end.
    pub p50: Duration,
    /// All but a hundredth of them.
    pub p99: Duration,
}

/// The delays of spans that became durable together.
pub(crate) struct Sample {
    fine: Box<[u32; FINE]>,
    coarse: [u32; BOUNDS.len() + 1],
    sum: Duration,
}

/// What was counted of a receiver.
struct Counted {
    /// By the bounds of the metrics, since the start.
    total: [u64; BOUNDS.len() + 1],
    sum: Duration,
    /// The current minute and the one before.
    windows: [Box<[u64; FINE]>; 2],
    /// The number of the current minute.
    minute: u64,
}

/// The bounds of the metrics, in seconds.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];
/// Buckets of a quarter of a power of two, of microseconds.
const FINE: usize = 4 * 64;
const MINUTE: u64 = 60_000_000_000;
const NAME: &str = "spandrel_ingest_delay_seconds";

/// The system's clock.
pub(crate) fn wall_clock() -> UnixNanos {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

// === impl Delays ===

impl Delays {
    pub(crate) fn new(clock: WallClock) -> Self {
        let mut receivers: Vec<(&'static str, Mutex<Counted>)> = Vec::new();
        for route in Route::ALL {
            let name = route.labels().receiver;
            if !receivers.iter().any(|(known, _)| *known == name) {
                receivers.push((name, Mutex::new(Counted::default())));
            }
        }
        Self { clock, receivers }
    }

    /// Measures the spans of a request that can be found from now on.
    pub(crate) fn measure(&self, request: &Decoded, sample: &mut Sample) {
        let now = (self.clock)().0;
        for span in &request.spans {
            sample.add(now, end_of(request.span(span)));
        }
    }

    pub(crate) fn count(&self, route: Route, sample: &Sample) {
        let name = route.labels().receiver;
        if let Some((_, counted)) = self.receivers.iter().find(|(known, _)| *known == name) {
            counted.lock().add(sample, (self.clock)().0 / MINUTE);
        }
    }

    /// Those of the last minute or two, of receivers that have stored spans since.
    pub(crate) fn recent(&self) -> Vec<RecentDelay> {
        let minute = (self.clock)().0 / MINUTE;
        let recent = |(receiver, counted): &(&'static str, Mutex<Counted>)| {
            let mut counted = counted.lock();
            counted.advance(minute);
            let spans = counted.windows.iter().flat_map(|window| window.iter()).sum();
            let quantile = |share| counted.quantile(spans, share);
            (spans > 0).then(|| RecentDelay { receiver, spans, p50: quantile(0.5), p99: quantile(0.99) })
        };
        self.receivers.iter().filter_map(recent).collect()
    }

    /// A histogram as Prometheus reads it.
    pub(crate) fn render(&self) -> String {
        let mut out = format!("# TYPE {NAME} histogram\n");
        for (receiver, counted) in &self.receivers {
            let counted = counted.lock();
            let mut below = 0;
            for (place, spans) in counted.total.iter().enumerate() {
                below += spans;
                let bound = BOUNDS.get(place).map_or("+Inf".to_owned(), f64::to_string);
                let _ = writeln!(out, "{NAME}_bucket{{receiver=\"{receiver}\",le=\"{bound}\"}} {below}");
            }
            let _ = writeln!(out, "{NAME}_sum{{receiver=\"{receiver}\"}} {}", counted.sum.as_secs_f64());
            let _ = writeln!(out, "{NAME}_count{{receiver=\"{receiver}\"}} {below}");
        }
        out
    }
}

/// The end of a span, or 0 if it has none.
fn end_of(span: &[u8]) -> u64 {
    if let Some(head) = SpanHead::parse(span) {
        return head.end;
    }
    let mut reader = Reader::new(span);
    while let Ok(Some(field)) = reader.next_field() {
        if let (8, Value::Fixed64(end)) = (field.number, field.value) {
            return end;
        }
    }
    0
}

// === impl Sample ===

impl Default for Sample {
    fn default() -> Self {
        Self { fine: Box::new([0; FINE]), coarse: [0; BOUNDS.len() + 1], sum: Duration::ZERO }
    }
}

impl Sample {
    /// A span without an end is not counted. One whose end is yet to come, by the clock of its sender, has no delay.
    fn add(&mut self, now: u64, end: u64) {
        if end == 0 {
            return;
        }
        let delay = now.saturating_sub(end);
        let seconds = delay as f64 / 1e9;
        self.coarse[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.fine[bucket(delay / 1_000)] += 1;
        self.sum += Duration::from_nanos(delay);
    }
}

/// The bucket of a number of microseconds.
fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let power = micros.ilog2();
    let quarter = if power < 2 { micros << (2 - power) } else { micros >> (power - 2) };
    (4 * power as usize + (quarter & 3) as usize).min(FINE - 1)
}

/// The upper end of a bucket, in microseconds.
fn upper_end(bucket: usize) -> u64 {
    let (power, quarter) = (bucket / 4, bucket as u64 % 4);
    let end = u128::from(5 + quarter) << power >> 2;
    u64::try_from(end).unwrap_or(u64::MAX)
}

// === impl Counted ===

impl Default for Counted {
    fn default() -> Self {
        let window = || Box::new([0; FINE]);
        Self { total: [0; BOUNDS.len() + 1], sum: Duration::ZERO, windows: [window(), window()], minute: 0 }
    }
}

impl Counted {
    fn add(&mut self, sample: &Sample, minute: u64) {
        self.advance(minute);
        self.total.iter_mut().zip(sample.coarse).for_each(|(total, more)| *total += u64::from(more));
        self.windows[0].iter_mut().zip(*sample.fine).for_each(|(count, more)| *count += u64::from(more));
        self.sum = self.sum.saturating_add(sample.sum);
    }

    /// Begins another minute. A clock that was set back goes on in the minute that it had reached.
    fn advance(&mut self, minute: u64) {
        let passed = minute.saturating_sub(self.minute);
        if passed > 0 {
            self.windows.swap(0, 1);
            self.windows[0].fill(0);
            self.minute = minute;
        }
        if passed > 1 {
            self.windows[1].fill(0);
        }
    }

    fn quantile(&self, spans: u64, share: f64) -> Duration {
        let rank = (spans as f64 * share).ceil() as u64;
        let mut below = 0;
        for bucket in 0..FINE {
            below += self.windows.iter().map(|window| window[bucket]).sum::<u64>();
            if below >= rank {
                return Duration::from_micros(upper_end(bucket));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bytes::Bytes;
    use spandrel_proto::otlp::DecodedSpan;
    use spandrel_proto::{SpanId, TraceId};

    use super::*;

    const NOW: u64 = 1_700_000_040_000_000_000;

    thread_local! {
        static TIME: Cell<u64> = const { Cell::new(NOW) };
    }

    fn delays() -> Delays {
        TIME.set(NOW);
        Delays::new(|| UnixNanos(TIME.get()))
    }

    /// A request of one span for each of these ends.
    fn request(ends: &[u64]) -> Decoded {
        let (mut body, mut spans) = (Vec::new(), Vec::new());
        for end in ends {
            let begin = body.len();
            // A name, and the end: not the head that exporters write.
            body.extend(b"\x2a\x01x\x41");
            body.extend(end.to_le_bytes());
            let (trace_id, span_id) = (TraceId::default(), SpanId::default());
            let at = begin..body.len();
            spans.push(DecodedSpan { trace_id, span_id, start: UnixNanos(0), resource: 0, scope: 0, at });
        }
        Decoded { body: Bytes::from(body), spans, ..Decoded::default() }
    }

    fn count(delays: &Delays, route: Route, request: &Decoded) {
        let mut sample = Sample::default();
        delays.measure(request, &mut sample);
        delays.count(route, &sample);
    }

    #[test]
    fn every_span_counts_at_its_receiver() {
        let delays = delays();
        let millisecond = 1_000_000;
        let request = request(&[NOW - millisecond, NOW - 40 * millisecond, NOW + millisecond, 0]);
        count(&delays, Route::ZipkinJson, &request);
        let text = delays.render();
        for line in [
            "spandrel_ingest_delay_seconds_bucket{receiver=\"zipkin\",le=\"0.005\"} 2",
            "spandrel_ingest_delay_seconds_bucket{receiver=\"zipkin\",le=\"0.02\"} 2",
            "spandrel_ingest_delay_seconds_bucket{receiver=\"zipkin\",le=\"0.05\"} 3",
            "spandrel_ingest_delay_seconds_bucket{receiver=\"zipkin\",le=\"+Inf\"} 3",
            "spandrel_ingest_delay_seconds_sum{receiver=\"zipkin\"} 0.041",
            "spandrel_ingest_delay_seconds_count{receiver=\"zipkin\"} 3",
            "spandrel_ingest_delay_seconds_count{receiver=\"otlp\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_status_forgets_what_was_minutes_ago() {
        let delays = delays();
        let ends: Vec<u64> = (1..=100).map(|place| NOW - place * 10_000_000).collect();
        count(&delays, Route::OtlpGrpc, &request(&ends));
        let [recent] = delays.recent()[..] else { panic!("one receiver") };
        assert_eq!((recent.receiver, recent.spans), ("otlp", 100));
        // Within a quarter of a power of two.
        assert!((500..=625).contains(&recent.p50.as_millis()), "{recent:?}");
        assert!((990..=1_240).contains(&recent.p99.as_millis()), "{recent:?}");
        TIME.set(NOW + MINUTE);
        assert_eq!(delays.recent()[0].spans, 100);
        TIME.set(NOW + 2 * MINUTE);
        assert!(delays.recent().is_empty());
        assert!(delays.render().contains("_count{receiver=\"otlp\"} 100"));
    }

    #[test]
    fn buckets_hold_what_they_say() {
        for micros in (0..10_000).chain([u64::MAX / 1_000, u64::MAX]) {
            let bucket = bucket(micros);
            assert!(upper_end(bucket) >= micros, "{micros}");
            assert!(bucket == 0 || upper_end(bucket - 1) <= micros.max(1), "{micros}");
        }
    }
}
