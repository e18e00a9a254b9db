//! Requests as Datadog's tracers write them: what becomes of each field, and what is refused.

use std::fmt::Write as _;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::{decode_v04, decode_v05};
use crate::gather::{Gatherer, Unreadable};
use crate::otlp::{DecodeLimits, Decoded};

/// Writes MessagePack.
#[derive(Debug, Clone, Default)]
struct Pack(Vec<u8>);

impl Pack {
    fn array(mut self, length: u16) -> Self {
        self.0.push(0xdc);
        self.0.extend(length.to_be_bytes());
        self
    }

    fn map(mut self, length: u16) -> Self {
        self.0.push(0xde);
        self.0.extend(length.to_be_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.0.push(0xd9);
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self
    }

    fn long(mut self, text: &str) -> Self {
        self.0.push(0xdb);
        self.0.extend((text.len() as u32).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    fn number(mut self, value: u64) -> Self {
        self.0.push(0xcf);
        self.0.extend(value.to_be_bytes());
        self
    }

    fn double(mut self, value: f64) -> Self {
        self.0.push(0xcb);
        self.0.extend(value.to_be_bytes());
        self
    }

    fn nil(mut self) -> Self {
        self.0.push(0xc0);
        self
    }

    fn texts(self, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self.map(pairs.len() as u16), |pack, (key, value)| pack.text(key).text(value))
    }
}

const START: u64 = 1_700_000_000_000_000_000;

/// The head of a span of version 0.4, with room for `more` members.
fn span(more: u16, service: &str, name: &str, resource: &str, kind: &str) -> Pack {
    Pack::default()
        .map(10 + more)
        .text("service")
        .text(service)
        .text("name")
        .text(name)
        .text("resource")
        .text(resource)
        .text("type")
        .text(kind)
        .text("trace_id")
        .number(0xfeed_0000_0000_0001)
        .text("span_id")
        .number(2)
        .text("parent_id")
        .number(1)
        .text("start")
        .number(START)
        .text("duration")
        .number(500)
        .text("error")
        .number(0)
}

fn request(spans: &[Pack]) -> Vec<u8> {
    let head = Pack::default().array(1).array(spans.len() as u16);
    spans.iter().fold(head.0, |mut bytes, span| {
        bytes.extend(&span.0);
        bytes
    })
}

fn gather(decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>) -> Result<Decoded, String> {
    let mut hold = |_| Ok(());
    let mut out = Gatherer::new(&DecodeLimits::default(), &mut hold);
    decode(&mut out).map_err(|error| error.to_string())?;
    Ok(out.finish().unwrap())
}

fn v04(body: &[u8]) -> Decoded {
    gather(|out| decode_v04(body, out)).unwrap()
}

fn spans(decoded: &Decoded) -> Vec<(Resource, Span)> {
    let read = |span: &crate::otlp::DecodedSpan| {
        let resource = ResourceSpans::decode(&*decoded.resources[span.resource as usize]).unwrap();
        let span = Span::decode(&decoded.body[span.at.clone()]).unwrap();
        (resource.resource.unwrap_or_default(), span)
    };
    decoded.spans.iter().map(read).collect()
}

fn shown(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(value) => format!("{value}i"),
        Any::DoubleValue(value) => format!("{value}d"),
        Any::BoolValue(value) => value.to_string(),
        Any::BytesValue(bytes) => format!("{bytes:?}"),
        Any::ArrayValue(array) => format!("{:?}", array.values.iter().map(shown).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

fn list(attributes: &[KeyValue]) -> String {
    attributes.iter().fold(String::new(), |mut out, pair| {
        write!(out, "{}={} ", pair.key, shown(pair.value.as_ref().unwrap())).unwrap();
        out
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

#[test]
fn every_field_of_version_4_has_its_place() {
    let meta = [
        ("_dd.p.tid", "00000000000000ab"),
        ("language", "python"),
        ("env", "prod"),
        ("version", "1.2"),
        ("_dd.hostname", "node-1"),
        ("span.kind", "server"),
        ("error.message", "no stock"),
        ("error.type", "OutOfStock"),
        ("http.status_code", "500"),
        ("otel.library.name", "lib"),
    ];
    let mut first = span(5, "shop", "flask.request", "GET /orders/{id}", "web").text("meta").texts(&meta);
    first = first.text("metrics").map(2).text("process_id").number(7).text("rate").double(0.5);
    first = first.text("meta_struct").map(1).text("appsec").text("\u{1}");
    first =
        first.text("span_links").array(1).map(6).text("trace_id").number(3).text("trace_id_high").number(4);
    first = first.text("span_id").number(5).text("tracestate").text("a=b").text("flags").number(0x8000_0001);
    first = first.text("attributes").texts(&[("why", "retry")]);
    first = first.text("span_events").array(1).map(3).text("time_unix_nano").number(START + 9);
    first = first.text("name").text("stock").text("attributes").map(5);
    first = first.text("s").map(2).text("type").number(0).text("string_value").text("x");
    first = first.text("b").map(2).text("type").number(1).text("bool_value").number(1);
    first = first.text("i").map(2).text("type").number(2).text("int_value").number(3);
    first = first.text("d").map(2).text("type").number(3).text("double_value").double(0.25);
    first = first.text("a").map(2).text("type").number(4).text("array_value").map(1).text("values").array(1);
    first = first.map(2).text("type").number(2).text("int_value").number(8);
    let mut error = first.clone();
    let at = error.0.windows(7).position(|window| window == b"\xd9\x05error").unwrap() + 7;
    error.0[at + 8] = 1;
    let query = span(1, "redis", "redis.command", "GET k:4711", "redis").text("meta").nil();
    let decoded = v04(&request(&[error, query]));
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let spans = spans(&decoded);
    let (resource, span) = &spans[0];
    assert_eq!(
        list(&resource.attributes),
        "service.name=shop service.version=1.2 deployment.environment.name=prod host.name=node-1 \
         telemetry.sdk.language=python "
    );
    assert_eq!(hex(&span.trace_id), "00000000000000abfeed000000000001");
    assert_eq!(
        (&span.name, span.kind, hex(&span.parent_span_id)),
        (&"GET /orders/{id}".to_owned(), 2, format!("{:016x}", 1))
    );
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (START, START + 500));
    assert_eq!(
        list(&span.attributes),
        "error.message=no stock error.type=OutOfStock http.status_code=500 process_id=7i rate=0.5d appsec=[1] \
         operation.name=flask.request span.type=web "
    );
    let status = span.status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "no stock"));
    let link = &span.links[0];
    assert_eq!(
        (hex(&link.trace_id), hex(&link.span_id)),
        (format!("{:016x}{:016x}", 4, 3), format!("{:016x}", 5))
    );
    assert_eq!(
        (link.trace_state.as_str(), link.flags, list(&link.attributes)),
        ("a=b", 1, "why=retry ".to_owned())
    );
    let event = &span.events[0];
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("stock", START + 9));
    assert_eq!(list(&event.attributes), r#"s=x b=true i=3i d=0.25d a=["8i"] "#);
    let (resource, span) = &spans[1];
    assert_eq!(list(&resource.attributes), "service.name=redis telemetry.sdk.language=python ");
    assert_eq!(
        (span.name.as_str(), hex(&span.trace_id)),
        ("redis.command", "00000000000000abfeed000000000001".to_owned())
    );
    assert_eq!(list(&span.attributes), "resource.name=GET k:4711 span.type=redis ");
}

/// The texts of a request, and one span with the given tags.
fn v05_request(tags: &[(&str, &str)]) -> Vec<u8> {
    let names = ["", "shop", "flask.request", "GET /", "web", "rate"];
    let texts = names.iter().copied().chain(tags.iter().flat_map(|(key, value)| [*key, *value]));
    let count = (names.len() + 2 * tags.len()) as u16;
    let mut pack = texts.fold(Pack::default().array(2).array(count), Pack::long).array(1).array(1).array(12);
    for number in [1, 2, 3, 7, 8, 0, START, 90, 1] {
        pack = pack.number(number);
    }
    pack = pack.map(tags.len() as u16);
    for at in 0..tags.len() as u64 {
        pack = pack.number(6 + 2 * at).number(7 + 2 * at);
    }
    pack.map(1).number(5).double(1.0).number(4).0
}

#[test]
fn every_field_of_version_5_has_its_place() {
    let links = r#"[{"trace_id":"00000000000000040000000000000003","span_id":"05","flags":1,"tracestate":"a=\u0062",
        "attributes":{"n":1}}]"#;
    let events = r#"[{"name":"stock","time_unix_nano":17,"attributes":{"s":"x","b":true,"i":-3,"d":0.5,"a":["x",1]}}]"#;
    let body = v05_request(&[
        ("_dd.p.tid", "00000000000000ab"),
        ("language", "python"),
        ("_dd.span_links", links),
        ("events", events),
    ]);
    let decoded = gather(|out| decode_v05(&body, out)).unwrap();
    let (resource, span) = &spans(&decoded)[0];
    assert_eq!(list(&resource.attributes), "service.name=shop telemetry.sdk.language=python ");
    assert_eq!(
        (span.name.as_str(), hex(&span.trace_id)),
        ("GET /", "00000000000000ab0000000000000007".to_owned())
    );
    assert_eq!((hex(&span.span_id), span.parent_span_id.len()), ("0000000000000008".to_owned(), 0));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (START, START + 90));
    assert_eq!(list(&span.attributes), "rate=1d operation.name=flask.request span.type=web ");
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let link = &span.links[0];
    assert_eq!(
        (hex(&link.span_id), link.trace_state.as_str(), link.flags),
        (format!("{:016x}", 5), "a=b", 1)
    );
    assert_eq!(list(&link.attributes), "n=1i ");
    let event = &span.events[0];
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("stock", 17));
    assert_eq!(list(&event.attributes), r#"s=x b=true i=-3i d=0.5d a=["x", "1i"] "#);
}

#[test]
fn texts_of_tags_that_hold_something_else_stay() {
    for other in ["[{\"name\":", "{}", "7", "[1]", "[{\"name\":1}]", "[] x", "[{\"attributes\":{\"a\":{}}}]"]
    {
        let decoded = gather(|out| decode_v05(&v05_request(&[("events", other)]), out)).unwrap();
        let span = &spans(&decoded)[0].1;
        assert!(span.events.is_empty() && list(&span.attributes).contains(other), "{other}");
    }
    let bad = v05_request(&[("_dd.p.tid", "xyz"), ("span.kind", "other")]);
    let span = &spans(&gather(|out| decode_v05(&bad, out)).unwrap())[0].1;
    assert!(list(&span.attributes).starts_with("_dd.p.tid=xyz span.kind=other "));
}

#[test]
fn a_flaw_costs_one_span_and_other_bytes_the_request() {
    let good = span(0, "shop", "a", "b", "web");
    let mut without_id = good.clone();
    let at = without_id.0.windows(9).position(|window| window == b"\xd9\x07span_id").unwrap() + 9;
    without_id.0[at + 1..at + 9].fill(0);
    let decoded = v04(&request(&[good.clone(), without_id]));
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1));
    assert_eq!(decoded.rejected.message(), "traces[0][1]: its span ID is missing or all zero");
    let body = request(&[good]);
    for end in 0..body.len() {
        let error = gather(|out| decode_v04(&body[..end], out)).unwrap_err();
        assert!(error.starts_with("not a list of traces of Datadog: "), "{error}");
    }
    let body = v05_request(&[("a", "b")]);
    for end in 0..body.len() {
        gather(|out| decode_v05(&body[..end], out)).unwrap_err();
    }
    assert_eq!(v04(b"\x90").spans.len(), 0);
    assert_eq!(gather(|out| decode_v05(b"\x92\x90\x90", out)).unwrap().spans.len(), 0);
    let unknown =
        gather(|out| decode_v05(b"\x92\x91\xa0\x91\x91\x9c\x05\0\0\0\0\0\0\0\0\0\0\0", out)).unwrap_err();
    assert!(unknown.contains("there is no text 5 at byte"), "{unknown}");
    let short = gather(|out| decode_v05(b"\x92\x91\xa0\x91\x91\x92\0\0", out)).unwrap_err();
    assert!(short.contains("a span has 2 fields instead of 12"), "{short}");
}

fn sound() -> [Vec<u8>; 2] {
    let meta = [("_dd.p.tid", "00000000000000ab"), ("language", "python"), ("error.message", "x")];
    let version_4 = request(&[span(1, "shop", "flask.request", "GET /", "web").text("meta").texts(&meta)]);
    [version_4, v05_request(&[("_dd.span_links", "[{\"span_id\":\"1\"}]"), ("events", "[{\"name\":\"a\"}]")])]
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_gathered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = gather(|out| decode_v04(&bytes, out));
        let _ = gather(|out| decode_v05(&bytes, out));
    }

    #[test]
    fn a_flipped_byte_costs_no_more_than_the_request(at: prop::sample::Index, byte: u8) {
        let [mut version_4, mut version_5] = sound();
        let (in_4, in_5) = (at.index(version_4.len()), at.index(version_5.len()));
        (version_4[in_4], version_5[in_5]) = (byte, byte);
        for decoded in [gather(|out| decode_v04(&version_4, out)), gather(|out| decode_v05(&version_5, out))] {
            decoded.iter().for_each(|decoded| drop(spans(decoded)));
        }
    }
}

/// Empty members take a byte, and no more memory than that: the texts of version 5 are places, of which the request
/// reserves memory before.
#[test]
fn millions_of_empty_members_are_held_to_account() {
    let mut texts = vec![0x92, 0xdd, 0, 0x40, 0, 0];
    texts.extend(std::iter::repeat_n(0xa0, 0x40_0000));
    texts.push(0x90);
    let mut reserved = 0;
    let mut hold = |bytes| {
        reserved = bytes;
        Ok(())
    };
    let mut out = Gatherer::new(&DecodeLimits::default(), &mut hold);
    decode_v05(&texts, &mut out).unwrap();
    out.finish().unwrap();
    assert!(reserved >= 4 * 0x40_0000, "{reserved}");
    let mut refuse = |_| Err(std::io::Error::other("no memory"));
    let mut out = Gatherer::new(&DecodeLimits::default(), &mut refuse);
    assert!(matches!(decode_v05(&texts, &mut out), Err(Unreadable::Source(_))));
}
