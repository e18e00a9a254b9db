//! Pushed spans are restored byte for byte, and blocks that are merged as columns have the same content as one block of
//! all their spans.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::wire::{self, varint};
use common::{CREATED, OpenBlock, Pushed, ReadRow, assert_same, merge, read_row, write, write_fresh};
use proptest::collection::vec;
use proptest::prelude::*;
use spandrel_block::{
    Access, BlockWriter, Column, FieldPlaces, FieldPlan, FieldReader, FieldValue, FormatError, Header, Level,
    MessageField, OpenValues, PageRows, Rebuilder, RowFlags, RowKey, SpanParts, StoredColumn, StoredValue,
    Token, semantics, verify,
};
use spandrel_proto::SpanId;
use spandrel_proto::otlp::{AnyValue, Attributes, DecodeLimits, SpanView, decode_request};

const LIMITS: DecodeLimits =
    DecodeLimits { max_span_bytes: 1 << 24, max_resource_bytes: 1 << 20, max_nesting: 8 };

// === strategies: the wire bytes of fields ===

/// The number of bytes of a varint: mostly one, sometimes more than needed.
fn sloppy() -> impl Strategy<Value = usize> {
    prop_oneof![12 => Just(1usize), 1 => 2usize..11]
}

fn tag(field: u32, wire_type: u64) -> impl Strategy<Value = Vec<u8>> {
    // Most readers take a tag for a 32-bit varint; ours accepts up to ten bytes.
    sloppy().prop_map(move |length| varint(u64::from(field) << 3 | wire_type, length))
}

fn number(field: u32, value: impl Strategy<Value = u64>) -> impl Strategy<Value = Vec<u8>> {
    (tag(field, 0), value, sloppy()).prop_map(|(tag, value, length)| [tag, varint(value, length)].concat())
}

fn fixed64(field: u32, value: impl Strategy<Value = u64>) -> impl Strategy<Value = Vec<u8>> {
    (tag(field, 1), value).prop_map(|(tag, value)| [tag, value.to_le_bytes().to_vec()].concat())
}

fn fixed32(field: u32, value: impl Strategy<Value = u32>) -> impl Strategy<Value = Vec<u8>> {
    (tag(field, 5), value).prop_map(|(tag, value)| [tag, value.to_le_bytes().to_vec()].concat())
}

fn payload(field: u32, bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (tag(field, 2), bytes, sloppy())
        .prop_map(|(tag, bytes, length)| [tag, varint(bytes.len() as u64, length), bytes].concat())
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec!["", "v", "true", "GET /", "SELECT 1", "orders", "ä€😀"]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-z]{0,12}"].prop_map(String::into_bytes)
}

fn big_number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..8, any::<u64>(), Just(u64::MAX)]
}

fn time() -> impl Strategy<Value = u64> {
    let begin = 1_700_000_000_000_000_000u64;
    prop_oneof![3 => begin..begin + 20, 1 => begin..begin + 200_000_000_000, 1 => Just(0), 1 => any::<u64>()]
}

/// The fields of a message in any order.
fn message(fields: Vec<BoxedStrategy<Vec<u8>>>, up_to: usize) -> BoxedStrategy<Vec<u8>> {
    vec(prop::strategy::Union::new(fields), 0..=up_to).prop_map(|fields| fields.concat()).boxed()
}

fn unknown(field: impl Strategy<Value = u32> + 'static) -> impl Strategy<Value = Vec<u8>> {
    field.prop_flat_map(|field| {
        prop_oneof![
            number(field, big_number()),
            fixed64(field, any::<u64>()),
            fixed32(field, any::<u32>()),
            payload(field, vec(any::<u8>(), 0..5)),
            Just(wire::group(field, &wire::group(3, &wire::number(1, 7)))),
        ]
    })
}

fn any_value() -> BoxedStrategy<Vec<u8>> {
    let leaf = prop_oneof![
        1 => Just(Vec::new()),
        4 => payload(1, text()),
        2 => number(2, prop_oneof![0u64..2, Just(7)]),
        2 => number(3, big_number()),
        2 => fixed64(4, prop_oneof![any::<u64>(), (0u32..9).prop_map(|n| (f64::from(n) / 4.0).to_bits())]),
        1 => payload(7, vec(any::<u8>(), 0..4)),
        1 => (payload(1, text()), number(3, 0u64..3)).prop_map(|(a, b)| [a, b].concat()),
        1 => unknown(20u32..40),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        let key_value = (payload(1, text()), payload(2, inner.clone())).prop_map(|(k, v)| [k, v].concat());
        prop_oneof![
            payload(5, message(vec![payload(1, inner).boxed()], 2)),
            payload(6, message(vec![payload(1, key_value).boxed()], 2)),
        ]
    })
    .boxed()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let meaningful = prop::sample::select(vec![
        "k",
        "error",
        "peer.service",
        "db.system",
        "db.name",
        "server.address",
        "messaging.destination.name",
        "http.route",
        "",
    ]);
    meaningful.prop_map(|key| key.as_bytes().to_vec())
}

/// A key and a value, mostly once and in this order.
fn key_value() -> impl Strategy<Value = Vec<u8>> {
    let regular = (payload(1, key()), payload(2, any_value())).prop_map(|(k, v)| [k, v].concat());
    let strange = message(
        vec![payload(1, key()).boxed(), payload(2, any_value()).boxed(), unknown(4u32..20).boxed()],
        4,
    );
    prop_oneof![6 => regular, 1 => strange]
}

fn status() -> impl Strategy<Value = Vec<u8>> {
    let regular =
        (text(), 0u64..3).prop_map(|(text, code)| [wire::bytes(2, &text), wire::number(3, code)].concat());
    let fields = vec![
        payload(2, text()).boxed(),
        number(3, prop_oneof![0u64..4, Just(u64::MAX)]).boxed(),
        unknown(4u32..20).boxed(),
    ];
    prop_oneof![3 => regular, 1 => message(fields, 3)]
}

fn event() -> BoxedStrategy<Vec<u8>> {
    message(
        vec![
            fixed64(1, time()).boxed(),
            payload(2, text()).boxed(),
            payload(3, key_value()).boxed(),
            number(4, big_number()).boxed(),
            unknown(5u32..40).boxed(),
        ],
        5,
    )
}

fn link() -> BoxedStrategy<Vec<u8>> {
    message(
        vec![
            payload(1, id(16)).boxed(),
            payload(2, id(8)).boxed(),
            payload(3, text()).boxed(),
            payload(4, key_value()).boxed(),
            number(5, big_number()).boxed(),
            fixed32(6, flags()).boxed(),
            unknown(7u32..40).boxed(),
        ],
        6,
    )
}

fn flags() -> impl Strategy<Value = u32> {
    prop_oneof![prop::sample::select(vec![0u32, 1, 0x100, 0x300, 0x301]), any::<u32>()]
}

/// One of few IDs, so that spans are each other's parents and links lead to spans.
fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    (1u8..6).prop_map(move |n| vec![n; length])
}

fn parent() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => id(8), 1 => Just(vec![0; 8]), 1 => Just(Vec::new()), 1 => vec(any::<u8>(), 0..12)]
}

/// A span that a request may hold, with its fields in any order.
fn span() -> impl Strategy<Value = Vec<u8>> {
    let optional: Vec<BoxedStrategy<Vec<u8>>> = vec![
        payload(3, text()).boxed(),
        payload(4, parent()).boxed(),
        payload(5, text()).boxed(),
        number(6, prop_oneof![5 => 0u64..6, 1 => any::<u64>()]).boxed(),
        fixed64(8, time()).boxed(),
        payload(9, key_value()).boxed(),
        payload(9, key_value()).boxed(),
        payload(9, key_value()).boxed(),
        number(10, big_number()).boxed(),
        payload(11, event()).boxed(),
        number(12, big_number()).boxed(),
        payload(13, link()).boxed(),
        number(14, big_number()).boxed(),
        payload(15, status()).boxed(),
        fixed32(16, flags()).boxed(),
        unknown(prop_oneof![17u32..64, Just((1 << 29) - 1)]).boxed(),
    ];
    let required = (payload(1, id(16)), payload(2, id(8)), prop::option::weighted(0.9, fixed64(7, time())));
    let optional = vec(prop::strategy::Union::new(optional), 0..12);
    let any_order = (required, optional.clone(), any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |((trace, id, start), mut fields, at, in_order)| {
            let at = if in_order { 0 } else { at.index(fields.len() + 1) };
            fields.splice(at..at, [trace, id].into_iter().chain(start));
            fields.concat()
        },
    );
    prop_oneof![any_order, (head(), optional).prop_map(|(head, fields)| [head, fields.concat()].concat())]
}

/// The head of a span as exporters write it, or nearly so. The following fields may repeat its fields.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let parent = prop::option::of(payload(4, prop_oneof![3 => id(8).boxed(), 1 => parent().boxed()]));
    let kind = prop_oneof![8 => 1u64..6, 1 => Just(0), 1 => any::<u64>()];
    let times = (fixed64(7, time()), fixed64(8, time()));
    (payload(1, id(16)), payload(2, id(8)), parent, payload(5, text()), number(6, kind), times).prop_map(
        |(trace, id, parent, name, kind, (start, end))| {
            [trace, id, parent.unwrap_or_default(), name, kind, start, end].concat()
        },
    )
}

/// A resource or scope record with its first field only.
fn record(name: u8) -> Bytes {
    let service = wire::attribute("service.name", &wire::bytes(1, &[b'a' + name]));
    wire::bytes(1, &wire::bytes(1, &service)).into()
}

/// Spans of a request that `decode_request` accepts.
fn pushed() -> impl Strategy<Value = Pushed> {
    (span(), 0u8..3, 0u8..2, 0u64..4)
        .prop_map(|(span, resource, scope, sequence)| Pushed {
            resource: record(resource),
            scope: if scope == 0 { Bytes::new() } else { wire::bytes(3, b"schema").into() },
            span: span.into(),
            sequence,
        })
        .prop_filter("a request with it is refused", |pushed| is_accepted(&pushed.span))
}

fn is_accepted(span: &[u8]) -> bool {
    let request = wire::bytes(1, &wire::bytes(2, &wire::bytes(2, span)));
    decode_request(request.into(), &LIMITS).is_ok_and(|decoded| decoded.spans.len() == 1)
}

/// The rows and columns of a span have to agree with the span.
fn check_rows(block: &Bytes, spans: &[Pushed]) {
    let open = OpenBlock::new(block);
    check_order(&open, Header::parse(block).unwrap().is_without_derived());
    let rows = open.rows_by_key();
    let mut spans: Vec<&Pushed> = spans.iter().collect();
    spans.sort_by_cached_key(|pushed| (pushed.key(), pushed.sequence));
    assert_eq!(rows.len(), spans.len());
    for (row, expected) in rows.iter().zip(spans) {
        assert_eq!(&row.pushed, expected);
        let view = SpanView::parse(&expected.span).unwrap();
        let flags = RowFlags::of(&view, semantics::has_failed(&view).unwrap());
        assert_eq!(RowFlags(row.flags), flags, "{:?}", expected.span);
        assert_eq!((row.start, row.duration), (view.start, view.end.wrapping_sub(view.start)));
        assert_eq!(row.operation, view.name);
    }
}

/// Pages are cut by key. Within one, the rows of a trace are sorted by key in a fresh block, and depth first otherwise.
fn check_order(block: &OpenBlock, is_fresh: bool) {
    let rows = block.rows();
    let mut first = 0;
    let mut last = None;
    for page in &block.pages {
        let here = first..first + page.core.rows();
        let begins = page.core.traces.iter().map(|begin| first + *begin as usize);
        let ends = begins.clone().skip(1).chain([here.end]);
        for (begin, end) in begins.zip(ends) {
            let keys: Vec<_> = rows[begin..end].iter().map(|row| row.pushed.key()).collect();
            assert!(last <= keys.iter().min().copied(), "a page holds what belongs into the one before");
            last = keys.iter().max().copied();
            if is_fresh {
                assert!(keys.is_sorted());
            } else {
                check_depth_first(&rows[begin..end]);
            }
        }
        first = here.end;
    }
}

/// A row follows its parent, or a descendant of its parent, if the parent is in the rows; else it is a root. Children
/// and roots are sorted by key. Traces with shared IDs or cycles are not checked.
fn check_depth_first(rows: &[ReadRow]) {
    let view = |row: &ReadRow| {
        let span = SpanView::parse(&row.pushed.span).unwrap();
        (SpanId::from_wire(span.span_id), SpanId::from_wire(span.parent_span_id))
    };
    let ids: Vec<_> = rows.iter().map(view).collect();
    let row_of = |id: SpanId| ids.iter().position(|(known, _)| *known == Some(id));
    let distinct: BTreeSet<_> = ids.iter().map(|(id, _)| *id).collect();
    let parents: Vec<_> = ids.iter().map(|(_, parent)| parent.and_then(row_of)).collect();
    let is_forest = (0..rows.len()).all(|row| {
        std::iter::successors(Some(row), |row| parents[*row]).take(rows.len() + 1).count() <= rows.len()
    });
    if distinct.len() < rows.len() || !is_forest {
        return;
    }
    let mut path: Vec<usize> = Vec::new();
    let mut last_child: BTreeMap<Option<usize>, RowKey> = BTreeMap::new();
    for (row, parent) in parents.iter().enumerate() {
        while !path.is_empty() && path.last().copied() != *parent {
            path.pop();
        }
        assert_eq!(path.last().copied(), *parent, "row {row} does not stand below its parent");
        path.push(row);
        let key = rows[row].pushed.key();
        assert!(
            last_child.insert(*parent, key).is_none_or(|before| before <= key),
            "row {row} has a sibling that belongs behind it"
        );
    }
}

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(cases), max_shrink_iters: 4000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn what_was_pushed_comes_back(spans in vec(pushed(), 1..20)) {
        let block = write(&spans);
        check_rows(&block.bytes, &spans);
        let report = verify(block.bytes.clone()).unwrap();
        prop_assert_eq!(&report.row, &block.row);
        prop_assert_eq!(report.traces.entries(), block.trace_rows());
    }

    #[test]
    fn a_block_written_in_haste_says_the_same(spans in vec(pushed(), 1..20)) {
        let (fresh, whole) = (write_fresh(&spans), write(&spans));
        prop_assert!(Header::parse(&fresh.bytes).unwrap().is_without_derived());
        check_rows(&fresh.bytes, &spans);
        // Rollups and edges are derived for one block and stored in the other.
        assert_same(&fresh.bytes, &whole.bytes);
        // No filter denies an existing attribute, even in an unusual encoding.
        let (whole, fresh) = (OpenBlock::new(&whole.bytes), fresh.filter.unwrap());
        for Pushed { span, .. } in &spans {
            for attribute in SpanView::parse(span).unwrap().attributes() {
                let attribute = attribute.unwrap();
                let key = Token::of_key(attribute.key);
                for token in attribute.value.into_iter().flat_map(|value| key.with_value(value)).chain([key]) {
                    prop_assert!(fresh.page_may_have(0, token), "fresh: {attribute:?}");
                    prop_assert!(whole.page_may_have(0, token), "merged: {attribute:?}");
                }
            }
        }
    }

    #[test]
    fn merged_columns_say_what_the_spans_say(parts in vec(vec(pushed(), 1..8), 1..4)) {
        // Sequences make the order of rows with equal keys unique, and those of each block are below the next block's.
        let mut parts = parts;
        for (at, part) in parts.iter_mut().enumerate() {
            part.iter_mut().enumerate().for_each(|(n, pushed)| pushed.sequence = (100 * at + n) as u64);
        }
        let all: Vec<Pushed> = parts.concat();
        let blocks: Vec<Bytes> = parts.iter().map(|part| write_fresh(part).bytes).collect();
        let merged = merge(&blocks);
        check_rows(&merged.bytes, &all);
        assert_same(&merged.bytes, &write(&all).bytes);
        verify(merged.bytes.clone()).unwrap();
        // Merging the result again shows that copied rows can be copied too.
        assert_same(&merge(std::slice::from_ref(&merged.bytes)).bytes, &merged.bytes);
    }

    #[test]
    fn any_row_can_be_the_first_one_read(spans in vec(pushed(), 1..12)) {
        let open = OpenBlock::new(&write(&spans).bytes);
        let (rows, traces) = (open.rows(), open.trace_of_rows());
        for row in (0..rows.len()).rev() {
            let mut at = Rebuilder::new(open.pages[0].clone(), row);
            prop_assert_eq!(&read_row(&mut at, row, traces[row]), &rows[row]);
            at.seek(0);
            prop_assert_eq!(&read_row(&mut at, 0, traces[0]), &rows[0]);
        }
        // Distances of more rows than are skipped one by one.
        let many: Vec<Pushed> = (0..15).flat_map(|_| spans.iter().cloned()).collect();
        let long = OpenBlock::new(&write(&many).bytes);
        let (all, traces_of_all) = (long.rows(), long.trace_of_rows());
        for row in (0..all.len()).step_by(7) {
            let mut at = Rebuilder::new(long.pages[0].clone(), 0);
            at.seek(row);
            prop_assert_eq!(&read_row(&mut at, row, traces_of_all[row]), &all[row]);
        }
        // In key order, one trace after the other, and from there to any row.
        let page = &open.pages[0];
        let mut at = Rebuilder::new(page.clone(), 0);
        for run in page.core.traces.iter().map(|begin| page.run_of(*begin as usize)) {
            at.order_by_key(run.clone());
            let mut given = Vec::new();
            for _ in run.clone() {
                given.push(read_row(&mut at.clone(), at.row(), traces[run.start]));
                at.next(traces[run.start], &mut Vec::new()).unwrap();
                let row = run.start + given.len() % run.len();
                let mut elsewhere = at.clone();
                elsewhere.seek(row);
                prop_assert_eq!(&read_row(&mut elsewhere, row, traces[row]), &rows[row]);
            }
            let mut expected = rows[run].to_vec();
            expected.sort_by_cached_key(|row| (row.pushed.key(), row.pushed.sequence));
            prop_assert_eq!(given, expected);
        }
        // Skipping in key order reaches the same rows as reading.
        let mut pages = open.page_rows();
        let mut by_key = rows;
        by_key.sort_by_cached_key(|row| (row.pushed.key(), row.pushed.sequence));
        for row in &by_key {
            let Pushed { resource, scope, span, .. } = row.pushed.clone();
            prop_assert_eq!(pages[0].peek().unwrap(), SpanParts { resource, scope, span });
            pages[0].skip();
        }
        prop_assert_eq!(pages[0].key(), None);
    }

    #[test]
    fn fields_of_columns_are_those_of_the_spans(spans in vec(pushed(), 1..10), copies in 1usize..20, step in 1usize..90) {
        let many: Vec<Pushed> = (0..copies).flat_map(|_| spans.iter().cloned()).collect();
        for block in [write(&many), write_fresh(&many)] {
            let open = OpenBlock::new(&block.bytes);
            let page = OpenValues::from(&open.pages[0]);
            let rows = open.rows();
            for level in [Level::Span, Level::Event, Level::Link] {
                for key in keys(&spans, level) {
                    let plan = FieldPlan::new(&page.dictionary, level, MessageField::Attribute(&key));
                    check_field(&page, &plan, step, |row, messages| {
                        let span = SpanView::parse(&rows[row].pushed.span).unwrap();
                        assert_eq!(messages, attributes(&span, level, &key), "{key} of row {row}");
                    });
                }
                for number in [1, 2, 3, 15, 16] {
                    let plan = FieldPlan::new(&page.dictionary, level, MessageField::Number(number));
                    check_field(&page, &plan, step, |_, _| {});
                }
            }
        }
    }

    #[test]
    fn foreign_spans_are_refused_or_kept(bytes in vec(any::<u8>(), 0..60), span in span(), cut in any::<prop::sample::Index>()) {
        // Ingest checks spans before; this test shows that a caller that does not causes no panic.
        for foreign in [&bytes[..], &span[..cut.index(span.len())], &[&span[..], &bytes].concat()] {
            let mut writer = BlockWriter::new(1).unwrap();
            let (resource, scope) = (writer.resource(&record(0)).unwrap(), writer.scope(&Bytes::new()));
            let _ = writer.push(resource, scope, foreign, 1);
        }
    }
}

// === fields ===

/// The attributes of each message of a level.
fn messages<'a>(span: &SpanView<'a>, level: Level) -> Vec<Attributes<'a>> {
    match level {
        Level::Span => vec![span.attributes()],
        Level::Event => span.events().map(|event| event.unwrap().attributes()).collect(),
        Level::Link => span.links().map(|link| link.unwrap().attributes()).collect(),
    }
}

/// The keys that spans have at a level, and one that none has.
fn keys(spans: &[Pushed], level: Level) -> BTreeSet<String> {
    let mut keys = BTreeSet::from(["none has it".to_owned()]);
    for pushed in spans {
        let all = messages(&SpanView::parse(&pushed.span).unwrap(), level).into_iter().flatten();
        keys.extend(all.map(|attribute| attribute.unwrap().key.to_owned()));
    }
    keys
}

/// The values with a key of each message of a level, as text.
fn attributes(span: &SpanView<'_>, level: Level, key: &str) -> Vec<Vec<String>> {
    let with_key = |attributes: Attributes<'_>| {
        let own = attributes.map(Result::unwrap).filter(|attribute| attribute.key == key);
        own.map(|attribute| format!("{:?}", attribute.value.unwrap_or(AnyValue::Empty))).collect()
    };
    messages(span, level).into_iter().map(with_key).collect()
}

/// Reads a field of all rows, checks it, and reads the same of some rows, whatever the access.
fn check_field(page: &OpenValues, plan: &FieldPlan, step: usize, check: impl Fn(usize, Vec<Vec<String>>)) {
    let read = |reader: &mut FieldReader<'_>, row: usize| {
        let mut messages = Vec::new();
        let shown = reader.read(row, |reader, values| {
            messages.push(values.iter().map(|value| value_of(page, reader, value)).collect::<Vec<_>>());
        });
        let is_known = shown.unwrap();
        assert!(is_known || messages.is_empty());
        is_known.then_some(messages)
    };
    let mut whole = FieldReader::new(page, plan, Access::Whole);
    let all: Vec<_> = (0..page.core.rows()).map(|row| read(&mut whole, row)).collect();
    for (row, messages) in all.iter().enumerate() {
        messages.iter().for_each(|messages| check(row, messages.clone()));
    }
    for (access, step) in [(Access::Whole, step), (Access::Sparse, step), (Access::Sparse, 1)] {
        let mut reader = FieldReader::new(page, plan, access);
        for row in (step / 2..page.core.rows()).step_by(step) {
            assert_eq!(read(&mut reader, row), all[row], "{access:?}, row {row} of each {step}");
        }
    }
    check_whole_field(page, plan, &all);
}

/// Reads the field of all rows at once, if that can be, and compares it with what was read row by row.
fn check_whole_field(page: &OpenValues, plan: &FieldPlan, all: &[Option<Vec<Vec<String>>>]) {
    let dictionary = &page.dictionary;
    let absent = plan.absent_classes(dictionary);
    let is_absent = |row: u32| absent[page.core.class[row as usize] as usize];
    let rows: Vec<u32> = (0..page.core.rows() as u32).filter(|row| !is_absent(*row)).collect();
    let mut known: Vec<String> = Vec::new();
    let counts = page.core.class_counts(dictionary);
    let codes = FieldPlaces::new(plan, dictionary).read(page, (&rows, &counts), |slot, _, stored| {
        let slot = &dictionary.slots[slot as usize];
        let begin = known.len() as u32;
        match stored {
            StoredColumn::Literal => known.push(format!("{:?}", slot.literal_value())),
            StoredColumn::Values(Column::Numbers(numbers)) => {
                known.extend(numbers.iter().map(|number| format!("{:?}", slot.value_of_number(*number))));
            }
            StoredColumn::Values(Column::Texts { references, index }) => {
                known.extend(index.iter().map(|at| {
                    let text = page.values.text(references[*at as usize], &page.texts).unwrap();
                    format!("{:?}", slot.value_of_text(text))
                }))
            }
        }
        Ok::<_, FormatError>((begin..known.len() as u32).collect())
    });
    let Some(codes) = codes.unwrap() else { return };
    assert_eq!(codes.len(), rows.len());
    let mut whole = vec![Some(vec![Vec::new()]); all.len()];
    for (row, code) in rows.iter().zip(codes) {
        whole[*row as usize] = Some(vec![vec![known[code as usize].clone()]]);
    }
    assert_eq!(whole, all);
}

fn value_of(page: &OpenValues, reader: &FieldReader<'_>, value: &FieldValue) -> String {
    let slot = &page.dictionary.slots[value.slot as usize];
    let any = match value.stored {
        StoredValue::Literal => slot.literal_value(),
        StoredValue::Number(number) => slot.value_of_number(number),
        StoredValue::Text(text) => slot.value_of_text(reader.text(value.place, text).unwrap()),
    };
    format!("{any:?}")
}

// === more than one page ===

/// Spans of many traces, then one trace that is larger than a page, with texts that every page has.
fn many_spans() -> Vec<Pushed> {
    let span = |trace: u32, id: u64, n: u64| -> Pushed {
        let mut trace_id = [7u8; 16];
        trace_id[..4].copy_from_slice(&trace.to_be_bytes());
        let value = |text: String| wire::bytes(1, text.as_bytes());
        let span = [
            wire::bytes(1, &trace_id),
            wire::bytes(2, &id.to_be_bytes()),
            wire::bytes(4, &(id / 2).to_be_bytes()),
            wire::bytes(5, format!("op {}", n % 7).as_bytes()),
            wire::number(6, n % 6),
            wire::fixed64(7, 1_700_000_000_000_000_000 + 1000 * n),
            wire::fixed64(8, 1_700_000_000_000_000_900 + 1000 * n + n % 50),
            wire::bytes(9, &wire::attribute("shared", &value(format!("text {}", n % 100)))),
            wire::bytes(
                9,
                &wire::attribute("own", &value(format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))),
            ),
            wire::bytes(9, &wire::attribute("count", &wire::number(3, n % 1000))),
            wire::bytes(
                11,
                &[wire::fixed64(1, 1_700_000_000_000_000_100 + 1000 * n), wire::bytes(2, b"tick")].concat(),
            ),
        ];
        Pushed {
            resource: record((n % 3) as u8),
            scope: Bytes::new(),
            span: span.concat().into(),
            sequence: n,
        }
    };
    let mut spans: Vec<Pushed> = (0..10_000u64).map(|n| span((n / 3) as u32, 1 + n % 3, n)).collect();
    spans.extend((10_000..31_000u64).map(|n| span(9_000_000, n - 9_999, n)));
    spans
}

#[test]
fn blocks_of_many_pages_come_back_and_merge() {
    let spans = many_spans();
    let whole = write(&spans);
    let open = OpenBlock::new(&whole.bytes);
    assert!(open.pages.len() >= 3, "{} pages", open.pages.len());
    // The long trace is split: it ends one page and begins the next.
    assert_eq!(open.pages.last().unwrap().core.traces, [0]);
    // Texts of every page are stored once per block; those of one page are stored in the page.
    assert!((90..200).contains(&open.texts.len()), "{} shared texts", open.texts.len());
    check_rows(&whole.bytes, &spans);
    verify(whole.bytes.clone()).unwrap();

    let part = |which: u64| -> Vec<Pushed> {
        spans.iter().filter(|span| span.sequence % 3 == which).cloned().collect()
    };
    for write in [write, write_fresh] {
        let parts: Vec<Bytes> = (0..3).map(|which| write(&part(which)).bytes).collect();
        let merged = merge(&parts);
        assert_same(&merged.bytes, &whole.bytes);
        verify(merged.bytes).unwrap();
    }
    assert_same(&write_fresh(&spans).bytes, &whole.bytes);
}

#[test]
fn large_texts_end_pages_whatever_else_their_blocks_have() {
    let span = |trace: u64, n: u64, length: usize| {
        let text = wire::bytes(1, format!("{n}{}", "x".repeat(length)).as_bytes());
        let span = [
            wire::bytes(1, &u128::from(trace).to_be_bytes()),
            wire::bytes(2, &(1 + n).to_be_bytes()),
            wire::fixed64(7, 1_700_000_000_000_000_000 + n),
            wire::fixed64(8, 1_700_000_000_000_000_900 + n),
            wire::bytes(9, &wire::attribute("text", &text)),
        ];
        Pushed { resource: Bytes::new(), scope: Bytes::new(), span: span.concat().into(), sequence: n }
    };
    // Each block has one large span, of the same trace, and many small ones.
    let block = |n: u64| {
        let small = (1..50).map(|other| span(100 * n + other, 100 * n + other, 10));
        write_fresh(&[span(1, 100 * n, 1 << 20)].into_iter().chain(small).collect::<Vec<_>>()).bytes
    };
    let merged = OpenBlock::new(&merge(&(1..41).map(block).collect::<Vec<_>>()).bytes);
    let sizes = merged.pages.iter().map(|page| page.values.local_texts().unwrap().size());
    let sizes: Vec<usize> = sizes.collect();
    assert!(sizes.len() >= 3 && sizes.iter().all(|size| *size < 18 << 20), "{sizes:?}");
}

#[test]
fn rows_go_on_where_another_writer_stopped() {
    // A merge that fills several blocks copies a page's rows into one writer and then another.
    let spans: Vec<Pushed> = many_spans().into_iter().take(600).collect();
    let block = write(&spans);
    let mut pages = OpenBlock::new(&block.bytes).page_rows();
    let mut rows: PageRows = pages.remove(0);
    let mut copied = Vec::new();
    for _ in 0..3 {
        let mut writer = BlockWriter::new(1).unwrap();
        for _ in 0..200 {
            rows.copy_to(&mut writer).unwrap();
        }
        let finished = writer.finish(1, CREATED).unwrap();
        verify(finished.bytes.clone()).unwrap();
        copied.extend(OpenBlock::new(&finished.bytes).rows());
    }
    assert!(rows.copy_to(&mut BlockWriter::new(1).unwrap()).is_err(), "there is no row left");
    assert_eq!(copied, OpenBlock::new(&block.bytes).rows());
}

#[test]
fn rows_go_into_two_blocks_by_turns() {
    // A merge carries some traces over and seals the others.
    let spans: Vec<Pushed> = many_spans().into_iter().take(600).collect();
    let block = write(&spans);
    let mut rows: PageRows = OpenBlock::new(&block.bytes).page_rows().remove(0);
    let (mut sealed, mut left) = (BlockWriter::new(1).unwrap(), BlockWriter::fresh().unwrap());
    for row in 0..600 {
        match row % 5 {
            0 => rows.skip(),
            1 | 2 => rows.copy_to(&mut left).unwrap(),
            _ => rows.copy_to(&mut sealed).unwrap(),
        }
    }
    assert!(rows.key().is_none());
    let expected = OpenBlock::new(&block.bytes).rows();
    for (writer, level, of) in [(left, 0, [1, 2]), (sealed, 1, [3, 4])] {
        let finished = writer.finish(level, CREATED).unwrap();
        verify(finished.bytes.clone()).unwrap();
        let expected = expected.iter().enumerate().filter(|(row, _)| of.contains(&(row % 5)));
        assert!(
            OpenBlock::new(&finished.bytes).rows().iter().eq(expected.map(|(_, row)| row)),
            "level {level}"
        );
    }
}

#[test]
fn long_messages_and_many_keys_come_back() {
    let attribute = |n: u64| wire::bytes(9, &wire::attribute(&format!("key.{n}"), &wire::number(3, n)));
    let with = |id: u64, fields: Vec<u8>| Pushed {
        resource: record(0),
        scope: Bytes::new(),
        span: [wire::bytes(1, &[1; 16]), wire::bytes(2, &id.to_be_bytes()), wire::fixed64(7, id), fields]
            .concat()
            .into(),
        sequence: id,
    };
    let long_event: Vec<u8> =
        (0..3000u64).flat_map(|n| wire::bytes(3, &wire::attribute("k", &wire::number(3, n)))).collect();
    let events = |n: usize| wire::bytes(11, &wire::bytes(2, b"e")).repeat(n);
    let mut spans = vec![
        // More attributes than the longest shape has, more events, and a long event among short ones.
        with(1, (0..2000).flat_map(attribute).collect()),
        with(2, events(1500)),
        with(3, [events(2), wire::bytes(11, &long_event), events(2)].concat()),
        // A name twice: the last one is used.
        with(
            4,
            [
                wire::bytes(5, b"first"),
                events(3),
                wire::bytes(13, &wire::bytes(1, &[9; 16])),
                wire::bytes(5, b"last"),
            ]
            .concat(),
        ),
    ];
    // More keys than a block has slots for.
    spans.extend((0..40u64).map(|n| with(10 + n, (n * 250..n * 250 + 250).flat_map(attribute).collect())));
    // More literal fields than fit, so that later kinds are stored as texts.
    spans.extend((0..5u64).map(|n| {
        let fields = (n * 250..n * 250 + 250).map(|flags| wire::fixed32(16, flags as u32 & 0x3ff));
        with(60 + n, fields.collect::<Vec<_>>().concat())
    }));
    // Then spans as exporters write them.
    spans.extend((70..75u64).map(|n| {
        Pushed {
            span: [
                wire::bytes(1, &[1; 16]),
                wire::bytes(2, &n.to_be_bytes()),
                wire::bytes(5, b"GET /"),
                wire::number(6, 2),
                wire::fixed64(7, n),
                wire::fixed64(8, n + 1),
            ]
            .concat()
            .into(),
            ..with(n, Vec::new())
        }
    }));
    let block = write(&spans);
    check_rows(&block.bytes, &spans);
    verify(block.bytes.clone()).unwrap();
    assert_same(&merge(std::slice::from_ref(&block.bytes)).bytes, &block.bytes);
}
