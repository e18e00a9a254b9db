//! The frozen blocks of the columnar formats, which have the same content: spans with every form of every slot, in two
//! orders. Since format 3 also a block whose filters have several parts.

use bytes::Bytes;
use spandrel_block::{
    CatalogRow, Column, FieldEncoding, FinishedBlock, Header, Level, Number, OpenPage, RowFlags, Section,
    SectionKind, Slot, Token, ValueKind, verify,
};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::{SpanKind, StatusCode};

use super::common::wire::{attribute, bytes, fixed32, fixed64, group, number, varint, wide_bytes};
use super::common::{OpenBlock, Pushed};
use super::{common, fixture};

const START: u64 = 1_700_000_000_000_000_000;
/// Sealed blocks; the filters of the last one contain the elements of arrays.
const PLAIN: [&str; 5] = ["v2", "v3", "v4", "v5", "v5-elements"];
/// Fresh blocks.
const FRESH: [&str; 4] = ["v2-fresh", "v3-fresh", "v4-fresh", "v5-fresh"];
const PARTS: [&str; 3] = ["v3-parts", "v4-parts", "v5-parts"];
/// Sealed blocks with rows sorted by key, not in the order of their trees.
const BY_KEY: [&str; 3] = ["v2", "v3", "v4"];

fn open(version: &str) -> OpenBlock {
    OpenBlock::new(&fixture(&format!("block-{version}.bin")))
}

fn string(value: &str) -> Vec<u8> {
    bytes(1, value.as_bytes())
}

fn int(value: i64) -> Vec<u8> {
    number(3, value as u64)
}

fn double(value: f64) -> Vec<u8> {
    fixed64(4, value.to_bits())
}

/// An attribute of a span.
fn with(key: &str, value: Vec<u8>) -> Vec<u8> {
    bytes(9, &attribute(key, &value))
}

fn record(service: &str) -> Bytes {
    let attributes = bytes(1, &attribute("service.name", &string(service)));
    [bytes(1, &attributes), bytes(3, b"https://example.com/schema")].concat().into()
}

/// A span with IDs, parent (0 for none), name, kind, start and end, as exporters write them; then more fields.
fn span(trace: u8, id: u64, parent: u64, name: &str, kind: u64, more: &[Vec<u8>]) -> Vec<u8> {
    let parent = if parent == 0 { Vec::new() } else { bytes(4, &parent.to_be_bytes()) };
    let head = [
        bytes(1, &[trace; 16]),
        bytes(2, &id.to_be_bytes()),
        parent,
        bytes(5, name.as_bytes()),
        number(6, kind),
        fixed64(7, START + id * 1_000),
        fixed64(8, START + id * 1_500 + 700),
    ];
    [head.concat(), more.concat()].concat()
}

fn every_attribute() -> Vec<Vec<u8>> {
    let list = |field, items: &[Vec<u8>]| bytes(field, &items.concat());
    vec![
        with("text", string("täxt")),
        with("text.empty", string("")),
        with("flag", number(2, 1)),
        with("flag", number(2, 0)),
        with("int", int(404)),
        with("int", int(i64::MIN)),
        with("int", int(-1)),
        with("double", double(0.25)),
        with("double", double(-0.0)),
        with("nan", fixed64(4, 0x7ff8_0000_0000_0001)),
        with("array", list(5, &[bytes(1, &string("a")), bytes(1, &int(2)), bytes(1, &[])])),
        with("map", list(6, &[bytes(1, &attribute("inner", &double(1.5)))])),
        with("bytes", bytes(7, &[0, 255, 1])),
        with("none", Vec::new()),
        bytes(9, &bytes(1, b"key alone")),
        bytes(9, &[]),
    ]
}

fn events() -> Vec<Vec<u8>> {
    let attributes =
        [bytes(3, &attribute("exception.type", &string("Timeout"))), bytes(3, &attribute("n", &int(3)))];
    vec![
        bytes(
            11,
            &[fixed64(1, START + 20_000), bytes(2, b"exception"), attributes.concat(), number(4, 2)].concat(),
        ),
        bytes(11, &[bytes(2, b"before the span"), fixed64(1, START - 5)].concat()),
        bytes(11, &[]),
        bytes(11, &[bytes(3, &attribute("yes", &number(2, 1))), number(77, 1)].concat()),
    ]
}

fn links() -> Vec<Vec<u8>> {
    let ids = [bytes(1, &[1; 16]), bytes(2, &1u64.to_be_bytes())].concat();
    let more = [bytes(3, b"a=b"), bytes(4, &attribute("why", &string("retry"))), number(5, 1)].concat();
    vec![
        bytes(13, &[ids.clone(), more, fixed32(6, 0x101)].concat()),
        bytes(13, &[ids, fixed32(6, 0xffff_ffff)].concat()),
        bytes(13, &bytes(1, b"short")),
    ]
}

/// Fields that protobuf allows and exporters do not write.
fn strange() -> Vec<Vec<u8>> {
    vec![
        // Unknown fields of each wire type, and a field number that gets no slot of its own.
        number(17, 300),
        fixed64(18, 7),
        bytes(19, b"unknown"),
        fixed32(20, 9),
        group(21, &group(3, &number(1, 7))),
        number((1 << 29) - 1, 1),
        // Varints that are longer than needed: tag, length, value.
        [varint(10 << 3, 3), varint(5, 4)].concat(),
        wide_bytes(9, &attribute("wide", &string("length")), 1, 3),
        wide_bytes(3, b"w=1", 2, 1),
        // Attributes with parts in an unusual order or repeated.
        bytes(9, &[bytes(2, &string("value first")), bytes(1, b"backwards")].concat()),
        bytes(9, &[bytes(1, b"twice"), bytes(2, &string("no")), bytes(2, &int(1))].concat()),
        with("two values", [string("a"), int(1)].concat()),
        with("odd bool", number(2, 7)),
    ]
}

/// Spans sorted by key, as blocks require.
fn spans() -> Vec<(&'static str, Vec<u8>)> {
    let status =
        |message: &str, code: u64| bytes(15, &[bytes(2, message.as_bytes()), number(3, code)].concat());
    let full: Vec<Vec<u8>> = [
        vec![bytes(3, b"vendor=1,other=2")],
        every_attribute(),
        vec![number(10, 3)],
        events(),
        vec![number(12, 4)],
        links(),
        vec![number(14, 5), status("it broke", 2), fixed32(16, 0x301)],
    ]
    .concat();
    let backwards: Vec<u8> = {
        let fields = [
            bytes(1, &[2; 16]),
            bytes(2, &5u64.to_be_bytes()),
            fixed64(7, START + 5_000),
            bytes(5, b"backwards"),
        ];
        [
            full.iter().rev().flatten().copied().collect::<Vec<u8>>(),
            fields.iter().rev().flatten().copied().collect(),
        ]
        .concat()
    };
    vec![
        (
            "shop",
            span(1, 1, 0, "GET /", 2, &[vec![bytes(15, &number(3, 2))], vec![fixed32(16, 0x100)]].concat()),
        ),
        ("shop", span(1, 2, 1, "call", 3, &[with("peer.service", string("cart")), bytes(15, &[])])),
        ("cart", span(1, 3, 2, "GET /", 2, &[with("error", string("true")), fixed32(16, 0x8000_0001)])),
        (
            "cart",
            span(1, 4, 3, "query", 3, &[with("db.system", string("sql")), with("db.name", string("orders"))]),
        ),
        ("cart", span(1, 5, 99, "elsewhere", 5, &[])),
        ("cart", span(2, 4, 0, "everything", 1, &full)),
        ("cart", backwards),
        ("shop", span(2, 6, 4, "strange", 9, &strange())),
        // Fields of the row's columns twice: the last one is used.
        (
            "shop",
            span(
                2,
                7,
                4,
                "first",
                1,
                &[bytes(5, b"last"), number(6, 4), status("", 1), bytes(15, &number(3, 0))],
            ),
        ),
        (
            "shop",
            [
                bytes(1, &[2; 16]),
                bytes(2, &8u64.to_be_bytes()),
                bytes(4, &[0; 8]),
                bytes(4, b"x"),
                fixed64(7, START + 8_000),
            ]
            .concat(),
        ),
        // A parent of zeros, a parent that is not an ID, an end before the start, no name.
        (
            "cart",
            [bytes(1, &[3; 16]), bytes(2, &[1; 8]), bytes(4, &[0; 8]), fixed64(7, START), fixed64(8, 1)]
                .concat(),
        ),
        (
            "cart",
            [
                bytes(1, &[4; 16]),
                bytes(2, &[1; 8]),
                bytes(4, b"odd"),
                fixed64(7, u64::MAX),
                bytes(5, "näme".as_bytes()),
            ]
            .concat(),
        ),
        // Neither start nor end: the span sorts first in its trace.
        ("cart", [bytes(1, &[5; 16]), bytes(2, &[1; 8]), bytes(9, &attribute("k", &string("v")))].concat()),
    ]
}

fn pushed() -> Vec<Pushed> {
    let scopes = [Bytes::new(), bytes(1, &[bytes(1, b"lib"), bytes(2, b"1.2")].concat()).into()];
    let push = |(row, (service, span)): (usize, (&str, Vec<u8>))| Pushed {
        resource: record(service),
        scope: scopes[row % 2].clone(),
        span: span.into(),
        sequence: 10 + row as u64 % 3,
    };
    spans().into_iter().enumerate().map(push).collect()
}

pub fn write() -> FinishedBlock {
    common::write(&pushed())
}

pub fn write_fresh() -> FinishedBlock {
    common::write_fresh(&pushed())
}

/// Many distinct values, each in one page, so that the filters have several parts.
fn many_values() -> Vec<Pushed> {
    const KEYS: u64 = 10;
    let span = |id: u64| {
        let value = |n: u64| string(&format!("{:x}", id * KEYS + n));
        let attributes: Vec<_> = (0..KEYS).map(|n| with(&format!("key {n}"), value(n))).collect();
        Pushed {
            resource: record("shop"),
            scope: Bytes::new(),
            span: span(1, id, 0, "many", 1, &attributes).into(),
            sequence: id,
        }
    };
    (1..=MANY).map(span).collect()
}

/// The number of spans of [`many_values`].
const MANY: u64 = 1_700;

pub fn write_parts() -> FinishedBlock {
    common::write(&many_values())
}

#[test]
fn spans_come_back_byte_for_byte() {
    let frozen = PLAIN.into_iter().chain(FRESH).map(|version| (version, pushed()));
    for (version, pushed) in frozen.chain(PARTS.map(|version| (version, many_values()))) {
        let rows = open(version).rows_by_key();
        assert_eq!(rows.len(), pushed.len());
        for (at, (row, expected)) in rows.into_iter().zip(pushed).enumerate() {
            assert_eq!(row.pushed, expected, "{version}, row {at}");
        }
    }
}

#[test]
fn parts_of_filters_know_every_value() {
    for open in PARTS.map(open) {
        assert!(open.filters.len() > 1, "{} parts", open.filters.len());
        let token = |n: u64| Token::of_key(&format!("key {}", n % 10)).with_string(&format!("{n:x}"));
        assert!((10..MANY * 10).all(|n| open.page_knows(0, token(n))));
        let wrong = (MANY * 10 + 10..MANY * 20).filter(|n| open.page_knows(0, token(*n))).count();
        assert!(wrong < 300, "{wrong} absent values were not told apart");
    }
}

#[test]
fn zones_bound_what_pages_hold() {
    for open in PLAIN.map(open) {
        let [zone] = &open.zones[..] else { panic!("one page") };
        let bounds = |key: &str, encoding: FieldEncoding| {
            let of = |(_, slot): &(usize, &Slot)| slot.is_attribute(key) && slot.encoding == encoding;
            let (number, slot) = open.dictionary.slots.iter().enumerate().find(of).unwrap();
            zone.numbers(number as u32, slot)
        };
        assert_eq!(bounds("int", FieldEncoding::Int), Some((Number::Int(i64::MIN), Number::Int(404))));
        assert_eq!(bounds("double", FieldEncoding::Double), Some((Number::Int(0), Number::Double(0.25))));
        assert_eq!(bounds("nan", FieldEncoding::Double), None);
        assert!((0..open.dictionary.classes.len() as u32).all(|class| zone.has_class(class)));
        assert_eq!(zone.durations().0, 0);
    }
}

/// The fixture is useful only if it contains every form of every value.
#[test]
fn every_form_is_in_the_fixture() {
    for open in PLAIN.map(open) {
        let slots = &open.dictionary.slots;
        for encoding in [
            FieldEncoding::Literal,
            FieldEncoding::Varint,
            FieldEncoding::Fixed64,
            FieldEncoding::Fixed32,
            FieldEncoding::Bytes,
            FieldEncoding::Verbatim,
            FieldEncoding::String,
            FieldEncoding::Int,
            FieldEncoding::Double,
            FieldEncoding::Array,
            FieldEncoding::KeyValues,
            FieldEncoding::Blob,
            FieldEncoding::TraceId,
            FieldEncoding::SpanId,
            FieldEncoding::Parent,
            FieldEncoding::Name,
            FieldEncoding::Start,
            FieldEncoding::End,
            FieldEncoding::Status,
            FieldEncoding::Nested,
            FieldEncoding::Since,
        ] {
            assert!(slots.iter().any(|slot| slot.encoding == encoding), "no slot is {encoding:?}");
        }
        for level in [Level::Span, Level::Event, Level::Link] {
            for encoding in [FieldEncoding::Literal, FieldEncoding::Varint, FieldEncoding::Bytes] {
                let has = slots.iter().any(|slot| (slot.level, slot.encoding) == (level, encoding));
                assert!(
                    has || (level, encoding) == (Level::Link, FieldEncoding::Bytes),
                    "no slot is {level:?} {encoding:?}"
                );
            }
        }
    }
}

#[test]
fn rows_say_what_their_spans_say() {
    for open in PLAIN.map(open) {
        let rows = open.rows_by_key();
        let of = |row: usize| {
            let flags = RowFlags(rows[row].flags);
            (rows[row].operation.as_str(), flags.kind(), flags.status(), flags.failed(), flags.has_parent())
        };
        assert_eq!(of(0), ("GET /", SpanKind::Server, StatusCode::Error, true, false));
        assert_eq!(of(1), ("call", SpanKind::Client, StatusCode::Unset, false, true));
        assert_eq!(of(2), ("GET /", SpanKind::Server, StatusCode::Unset, true, true));
        assert_eq!(of(6), ("backwards", SpanKind::Unspecified, StatusCode::Error, true, false));
        assert_eq!(of(7), ("strange", SpanKind::Unspecified, StatusCode::Unset, false, true));
        assert_eq!(of(8), ("last", SpanKind::Producer, StatusCode::Unset, false, true));
        assert_eq!((rows[0].start, rows[0].duration), (START + 1_000, 1_200));
        assert_eq!(rows[10].duration, 1u64.wrapping_sub(START));
        let services: Vec<&str> = rows.iter().map(|row| row.service.as_str()).collect();
        assert_eq!(services[..5], ["shop", "shop", "cart", "cart", "cart"]);
        assert_eq!(rows[12].trace, TraceId::from_bytes([5; 16]));
    }
}

#[test]
fn filters_rollups_and_edges() {
    for open in PLAIN.map(open) {
        for token in [
            Token::of_key("flag").with_bool(true),
            Token::of_key("none"),
            Token::of_key("int").with_number(Number::Int(404)),
            Token::of_key("double").with_number(Number::Double(0.25)),
            Token::of_key("text").with_string("täxt"),
            Token::IRREGULAR,
        ] {
            assert!(open.page_knows(0, token));
        }
        assert!(open.resources_may_have(Token::of_key("service.name").with_string("cart")));
        assert!(!open.page_knows(0, Token::of_key("absent")));
        let counted: u64 = open.rollups.iter().map(|row| row.count).sum();
        assert_eq!(counted, u64::from(open.meta.spans));
        let services = &open.dictionary.services;
        let edges: Vec<_> = open
            .edges
            .complete
            .iter()
            .map(|edge| (open.edges.name(edge.caller, services), open.edges.name(edge.callee, services)))
            .collect();
        assert!(edges.contains(&("shop", "cart")), "{edges:?}");
        assert!(open.edges.open_callees.iter().any(|open| open.row == 4), "nobody knows the parent of row 4");
    }
}

/// Filters of earlier programs contain an array's key but not its elements, and the header tells which they are.
#[test]
fn elements_of_arrays_are_in_filters_that_say_so() {
    let key = Token::of_key("array");
    let elements = [key.with_string("a"), key.with_number(Number::Int(2))];
    for version in PLAIN {
        let open = open(version);
        let header = Header::parse(&fixture(&format!("block-{version}.bin"))).unwrap();
        let says_so = version == "v5-elements";
        assert_eq!(header.filters_have_elements(), says_so);
        assert!(open.page_knows(0, key));
        assert_eq!(elements.map(|element| open.page_knows(0, element)), [says_so; 2], "{version}");
    }
    let fresh = write_fresh();
    assert!(Header::parse(&fresh.bytes).unwrap().filters_have_elements());
    let filter = fresh.filter.unwrap();
    assert!(elements.iter().all(|element| filter.page_knows(0, *element)));
}

#[test]
fn what_is_written_today_reads_the_same() {
    reads_the_same(&write(), "v5-elements");
    for version in BY_KEY {
        let frozen = fixture(&format!("block-{version}.bin"));
        assert!(
            OpenBlock::new(&frozen).rows() != OpenBlock::new(&write().bytes).rows(),
            "{version} is in trees"
        );
        common::assert_same(&write().bytes, &frozen);
    }
    FRESH.iter().for_each(|version| reads_the_same(&write_fresh(), version));
    PARTS.iter().for_each(|version| reads_the_same(&write_parts(), version));
}

fn reads_the_same(today: &FinishedBlock, version: &str) {
    let frozen = fixture(&format!("block-{version}.bin"));
    let row = CatalogRow::decode(&fixture(&format!("row-{version}.bin"))).unwrap();
    assert_eq!(today.row.meta, row.meta);
    let different = "is written differently: a new format version?";
    let (a, b) = (OpenBlock::new(&today.bytes), OpenBlock::new(&frozen));
    assert_eq!(a.dictionary, b.dictionary, "the dictionary {different}");
    assert_eq!(a.texts, b.texts, "the table of texts {different}");
    assert_eq!(a.traces.entries(), b.traces.entries(), "the trace table {different}");
    // Format 2 had other filters, whose content is checked above.
    assert!(version.starts_with("v2") || a.filters == b.filters, "the filter {different}");
    assert_eq!(a.zones, b.zones, "the zone maps of pages {different}");
    assert_eq!(a.rollups, b.rollups, "the rollups {different}");
    assert_eq!(a.edges, b.edges, "the edges {different}");
    assert_eq!(a.pages.len(), b.pages.len());
    for (a, b) in a.pages.iter().zip(&b.pages) {
        assert_eq!(a.core, b.core, "the core {different}");
        assert_eq!(a.ids, b.ids, "the IDs {different}");
        assert_eq!((&a.values.events, &a.values.links), (&b.values.events, &b.values.links));
        assert_eq!(columns(a), columns(b), "a column {different}");
        assert_eq!(a.values.local_texts().unwrap(), b.values.local_texts().unwrap(), "a text {different}");
    }
    // The layout, too: the sections and their sizes.
    let layout = |block: &Bytes| {
        let header = Header::parse(block).unwrap();
        let of = |section: &Section| (section.kind, section.first_row);
        header.sections().iter().map(of).collect::<Vec<(SectionKind, u32)>>()
    };
    assert_eq!(layout(&today.bytes), layout(&frozen));
    verify(today.bytes.clone()).unwrap();
}

fn columns(page: &OpenPage) -> Vec<Column> {
    let slots = page.dictionary.slots.iter().enumerate();
    let with_values = slots.filter(|(_, slot)| slot.encoding.value_kind() != ValueKind::None);
    with_values
        .filter_map(|(at, slot)| page.values.decode_column(at as u32, slot.encoding).unwrap())
        .collect()
}
