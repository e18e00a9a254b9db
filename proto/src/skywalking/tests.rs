//! Segments as SkyWalking's agents write them: what becomes of each field, and what is refused.

use std::fmt::Write as _;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::{decode_collection, decode_segment, trace_id_of};
use crate::gather::{Gatherer, Unreadable};
use crate::otlp::wire::{put_bytes, put_uint};
use crate::otlp::{DecodeLimits, Decoded};

/// Writes the messages of the protocol.
#[derive(Debug, Clone, Default)]
struct Pack(Vec<u8>);

impl Pack {
    fn text(self, number: u32, text: &str) -> Self {
        self.message(number, Self(text.as_bytes().to_vec()))
    }

    fn number(mut self, number: u32, value: i64) -> Self {
        put_uint(&mut self.0, number, value.cast_unsigned());
        self
    }

    fn message(mut self, number: u32, message: Self) -> Self {
        put_bytes(&mut self.0, number, &message.0);
        self
    }

    fn pair(self, number: u32, key: &str, value: &str) -> Self {
        self.message(number, Self::default().text(1, key).text(2, value))
    }
}

const TRACE: &str = "a12ff60b-5807-463b-a1f8-fb1c8608219e";
const START: i64 = 1_700_000_000_000;

/// The beginning of a span: its number, its parent's, and its times.
fn span(id: i64, parent: i64) -> Pack {
    Pack::default().number(1, id).number(2, parent).number(3, START + id).number(4, START + id + 10)
}

fn segment(trace: &str, id: &str, spans: &[Pack]) -> Pack {
    let head = Pack::default().text(1, trace).text(2, id);
    let spans = spans.iter().cloned().fold(head, |pack, span| pack.message(3, span));
    spans.text(4, "shop").text(5, "shop-1")
}

fn gather(decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>) -> Result<Decoded, String> {
    let mut hold = |_| Ok(());
    let mut out = Gatherer::new(&DecodeLimits::default(), &mut hold);
    decode(&mut out).map_err(|error| error.to_string())?;
    Ok(out.finish().unwrap())
}

fn spans(decoded: &Decoded) -> Vec<Span> {
    decoded.spans.iter().map(|span| Span::decode(&decoded.body[span.at.clone()]).unwrap()).collect()
}

fn list(attributes: &[KeyValue]) -> String {
    attributes.iter().fold(String::new(), |mut out, pair| {
        match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
            Any::StringValue(text) => write!(out, "{}={text} ", pair.key).unwrap(),
            Any::IntValue(value) => write!(out, "{}={value}i ", pair.key).unwrap(),
            other => write!(out, "{}={other:?} ", pair.key).unwrap(),
        }
        out
    })
}

#[test]
fn every_field_has_its_place() {
    let parent =
        Pack::default().text(2, TRACE).text(3, "seg-0").number(4, 3).text(5, "front").text(6, "front-1");
    let parent = parent.text(7, "/buy").text(8, "10.0.0.1:80");
    let other = Pack::default().number(1, 1).text(2, "another").text(3, "seg-9").number(4, 1);
    let entry = span(0, -1).message(5, parent).message(5, other).text(6, "/orders").text(7, "10.0.0.2");
    let entry = entry.number(8, 0).number(9, 3).number(10, 14).pair(12, "url", "http://shop/orders");
    let failed =
        Pack::default().number(1, START + 3).pair(2, "event", "error").pair(2, "error.kind", "Refused");
    let failed = failed.pair(2, "message", "no stock").pair(2, "stack", "at x").pair(2, "more", "1");
    let exit = span(1, 0).text(6, "Mysql/query").text(7, "db:3306").number(8, 1).number(9, 1).number(11, 1);
    let exit = exit.pair(12, "db.type", "mysql").message(13, failed).number(14, 1);
    let local = span(2, 1).number(8, 2).message(13, Pack::default().number(1, START).pair(2, "k", "v"));
    let send = span(3, 0).number(8, 1).number(9, 4).text(7, "[::1]:9092").pair(12, "mq.topic", "orders");
    let take = span(4, 0).number(9, 4).text(7, "a:1,b:2");
    let body = segment(TRACE, "seg-1", &[entry, exit, local, send, take]).number(6, 1);
    let decoded = gather(|out| decode_segment(&body.0, out)).unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let resource = ResourceSpans::decode(&*decoded.resources[0]).unwrap().resource.unwrap();
    assert_eq!(
        (decoded.resources.len(), list(&resource.attributes)),
        (1, "service.name=shop service.instance.id=shop-1 ".to_owned())
    );
    let spans = spans(&decoded);
    let above = segment(TRACE, "seg-0", &[span(3, 0)]);
    let above = &self::spans(&gather(|out| decode_segment(&above.0, out)).unwrap())[0];
    let entry = &spans[0];
    assert_eq!(entry.trace_id, (0xa12f_f60b_5807_463b_a1f8_fb1c_8608_219e_u128).to_be_bytes());
    assert_eq!((&entry.parent_span_id, entry.flags), (&above.span_id, 0x300), "a parent in another process");
    assert_eq!((entry.name.as_str(), entry.kind), ("/orders", 2));
    assert_eq!(
        (entry.start_time_unix_nano, entry.end_time_unix_nano),
        (START as u64 * 1_000_000, (START as u64 + 10) * 1_000_000)
    );
    assert_eq!(
        list(&entry.attributes),
        format!(
            "sw8.trace_id={TRACE} sw8.segment_id=seg-1 sw8.span_id=0i sw8.span_layer=Http sw8.component_id=14i \
             sw8.is_size_limited=BoolValue(true) client.address=10.0.0.2 sw8.parent_segment_id=seg-0 \
             sw8.parent_service=front sw8.parent_service_instance=front-1 sw8.parent_endpoint=/buy \
             sw8.network_address_used_at_peer=10.0.0.1:80 url.full=http://shop/orders "
        )
    );
    let link = &entry.links[0];
    assert_eq!(link.trace_id, trace_id_of(b"another"));
    assert_eq!(
        list(&link.attributes),
        "sw8.ref_type=CrossThread sw8.trace_id=another sw8.parent_segment_id=seg-9 "
    );
    let exit = &spans[1];
    assert_eq!((&exit.parent_span_id, exit.flags, exit.kind), (&entry.span_id, 0x100, 3));
    assert!(
        list(&exit.attributes).contains(
            "sw8.skip_analysis=BoolValue(true) sw8.is_size_limited=BoolValue(true) server.address=db server.port=3306i db.system=mysql"
        )
    );
    assert_eq!(
        (exit.status.as_ref().unwrap().code, exit.status.as_ref().unwrap().message.as_str()),
        (2, "no stock")
    );
    assert_eq!(exit.events[0].name, "exception");
    assert_eq!(
        list(&exit.events[0].attributes),
        "exception.type=Refused exception.message=no stock exception.stacktrace=at x more=1 "
    );
    assert_eq!((spans[2].kind, spans[2].events[0].name.as_str()), (1, "log"));
    assert_eq!((spans[3].kind, spans[4].kind), (4, 5));
    assert!(
        list(&spans[3].attributes)
            .contains("server.address=::1 server.port=9092i messaging.destination.name=orders")
    );
    assert!(list(&spans[4].attributes).contains("server.address=a:1,b:2"));
}

#[test]
fn ids_follow_from_the_texts_alone() {
    let one = |trace: &str, segment_id: &str, number| {
        let body = segment(trace, segment_id, &[span(number, -1)]);
        spans(&gather(|out| decode_segment(&body.0, out)).unwrap())[0].clone()
    };
    let (first, second) = (one("t.1.2", "s", 0), one("t.1.2", "s", 1));
    assert_eq!(first.trace_id, second.trace_id);
    assert_ne!(first.span_id, second.span_id);
    assert_ne!(first.span_id, one("t.1.2", "r", 0).span_id);
    // Frozen: another version of the server must give the same.
    assert_eq!(trace_id_of(b"t.1.2"), xxhash_rust::xxh3::xxh3_128(b"t.1.2").to_be_bytes());
    assert_eq!(trace_id_of(b"0123456789abcdef0123456789ABCDEF")[..3], [0x01, 0x23, 0x45]);
    assert_ne!(trace_id_of(b"a12ff60b-5807-463b-a1f8-fb1c8608219g")[..2], [0xa1, 0x2f]);
    assert_ne!(trace_id_of(b"a12ff60b-5807-463b-a1f8-fb1c860821-9")[..2], [0xa1, 0x2f]);
}

#[test]
fn a_flaw_costs_one_span_and_other_bytes_the_request() {
    let good = segment("t", "s", &[span(0, -1)]);
    let bad = segment("t", "s", &[span(0, -1).number(3, -5)]);
    let collection =
        Pack::default().message(1, good.clone()).message(1, bad).message(1, segment("", "s", &[span(0, -1)]));
    let decoded = gather(|out| decode_collection(&collection.0, out)).unwrap();
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 2));
    assert_eq!(
        decoded.rejected.message(),
        "segments[1].spans[0]: its start or end is before 1970 or beyond 2554; \
         segments[2].spans[0]: its trace ID is missing or all zero"
    );
    let error = gather(|out| decode_segment(&good.0[..good.0.len() - 1], out)).unwrap_err();
    assert!(error.starts_with("not a segment of SkyWalking: "), "{error}");
    let wrong = Pack::default().number(1, 5);
    assert!(gather(|out| decode_segment(&wrong.0, out)).is_err());
    assert_eq!(gather(|out| decode_segment(b"", out)).unwrap().spans.len(), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_gathered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = gather(|out| decode_segment(&bytes, out));
        let _ = gather(|out| decode_collection(&bytes, out));
    }

    #[test]
    fn a_flipped_byte_costs_no_more_than_the_request(at: prop::sample::Index, byte: u8) {
        let reference = Pack::default().text(2, TRACE).text(3, "seg-0").number(4, 3);
        let log = Pack::default().number(1, START).pair(2, "event", "error").pair(2, "message", "x");
        let span = span(0, -1).message(5, reference).text(6, "/orders").text(7, "a:1").message(13, log);
        let mut body = segment(TRACE, "seg-1", &[span]).0;
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(decoded) = gather(|out| decode_segment(&body, out)) {
            drop(spans(&decoded));
        }
    }
}
