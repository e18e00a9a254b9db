//! The decoder of OTLP requests on damaged bodies: it accepts and refuses what the generated types do.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use spandrel_tests::arbitrary::{cases, requests};
use spandrel_tests::decoder::check;
use spandrel_tests::json_oracle::{check_round_trip, check_text};
use spandrel_tests::logs_oracle::{self, LogRecord, Request, ResourceLogs, ScopeLogs};

/// One way to break a body.
#[derive(Debug, Clone)]
enum Damage {
    Truncate(Index),
    Flip(Index, u8),
    Put(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Damage {
    fn apply(&self, body: &mut Vec<u8>) {
        let len = body.len();
        if len == 0 {
            return;
        }
        let piece = |at: usize, length: usize| at..(at + length).min(len);
        match self {
            Self::Truncate(at) => body.truncate(at.index(len)),
            Self::Flip(at, bit) => body[at.index(len)] ^= 1 << (bit % 8),
            Self::Put(at, byte) => body[at.index(len)] = *byte,
            Self::Insert(at, bytes) => drop(body.splice(at.index(len)..at.index(len), bytes.iter().copied())),
            Self::Remove(at, length) => drop(body.drain(piece(at.index(len), *length))),
            Self::Repeat(at, length) => {
                let again = body[piece(at.index(len), *length)].to_vec();
                body.splice(at.index(len)..at.index(len), again);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        1 => any::<Index>().prop_map(Damage::Truncate),
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        4 => (any::<Index>(), 0u8..0x40).prop_map(|(at, byte)| Damage::Put(at, byte)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..5)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (any::<Index>(), 1usize..6).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => (any::<Index>(), 1usize..30).prop_map(|(at, length)| Damage::Repeat(at, length)),
    ]
}

proptest! {
    #![proptest_config(cases(6000))]

    #[test]
    fn broken_bodies_are_judged_as_the_oracle_does(request in requests(), damage in vec(damage(), 0..4)) {
        let mut body = request.encode_to_vec();
        damage.iter().for_each(|damage| damage.apply(&mut body));
        check(&body);
    }

    #[test]
    fn json_says_what_protobuf_says(request in requests()) {
        check_round_trip(request);
    }

    /// The decoder refuses or accepts what is left; accepted spans are valid.
    #[test]
    fn broken_json_is_judged(request in requests(), damage in vec(damage(), 1..4)) {
        let mut text = serde_json::to_vec(&request).unwrap();
        damage.iter().for_each(|damage| damage.apply(&mut text));
        check_text(&text);
    }

    #[test]
    fn foreign_bytes_are_refused_not_followed(body in vec(any::<u8>(), 0..100)) {
        check(&body);
        check_text(&body);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// The body is cut at every byte.
    #[test]
    fn truncated_bodies_are_judged_as_the_oracle_does(request in requests()) {
        let body = request.encode_to_vec();
        (0..=body.len()).for_each(|length| check(&body[..length]));
    }
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let id = |length: usize| prop_oneof![4 => Just(vec![1; length]), 1 => Just(Vec::new()), 1 => vec(any::<u8>(), 0..18)];
    (id(16), id(8), any::<[u64; 2]>(), 0u64..30, ".{0,3}", ".{0,3}").prop_map(
        |(trace_id, span_id, [time, observed], severity_number, severity_text, event_name)| LogRecord {
            trace_id,
            span_id,
            time,
            observed,
            severity_number,
            severity_text,
            event_name,
            ..LogRecord::default()
        },
    )
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn log_records_are_neither_lost_nor_made_up(log_records in vec(log_record(), 0..6), damage in vec(damage(), 0..3)) {
        let scope_logs = vec![ScopeLogs { log_records }];
        let mut body = Request { resource_logs: vec![ResourceLogs { scope_logs }] }.encode_to_vec();
        logs_oracle::check(&body);
        damage.iter().for_each(|damage| damage.apply(&mut body));
        logs_oracle::check(&body);
    }
}
