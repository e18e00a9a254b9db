//! Helpers for the unit tests of this folder: a clock that tests control, and the smallest request. Tests of behaviour
//! are in `tests/`, which has more helpers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_request};
use spandrel_proto::{TraceId, UnixNanos};

use crate::store::Clock;

/// A clock that moves only when a test moves it.
pub(crate) struct TestClock(AtomicU64);

// === impl TestClock ===

impl TestClock {
    pub(crate) fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self(AtomicU64::new(1 << 60))
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }
}

/// A request with one span.
pub(crate) fn request(trace: TraceId) -> Decoded {
    let span = [field(1, trace.as_bytes()), field(2, &[1; 8]), field(5, b"read")].concat();
    let request = field(1, &field(2, &field(2, &span)));
    decode_request(request.into(), &DecodeLimits::default()).unwrap()
}

/// A length-delimited field on the wire.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}
