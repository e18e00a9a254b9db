//! Blocks and catalog rows that were written once and have to stay readable for ever.
//!
//! `fixtures/` is append-only: a new format version adds files and tests, it changes none. To see
//! what this program would write today, run
//! `SPANDREL_PROPOSE_FIXTURES=1 cargo test -p spandrel-block --test frozen`; it writes `*.proposed`
//! beside the frozen files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spandrel_block::record::RecordError;
use spandrel_block::{
    BlockMeta, BlockWriter, CatalogRow, ChunkRow, ChunkRows, Dictionary, FinishedBlock, FormatError, Header,
    Number, RollupRow, RowFlags, RowRange, SectionKind, Token, TokenFilter, TraceTable, decode_column,
};
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_proto::{TraceId, UnixNanos};

const START: u64 = 1_700_000_000_000_000_000;
const CREATED: UnixNanos = UnixNanos(1_700_000_005_000_000_000);
/// Spans of the second trace: enough for several body chunks.
const MANY: u64 = 400;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// The resources and the scope of the fixture.
fn records() -> ([ResourceSpans; 2], ScopeSpans) {
    let resource = |service: &str| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", Value::StringValue(service.to_owned()))],
            ..Resource::default()
        }),
        schema_url: "https://example.com/schema".to_owned(),
        ..ResourceSpans::default()
    };
    let scope =
        InstrumentationScope { name: "lib".to_owned(), version: "1.2".to_owned(), ..Default::default() };
    (["shop", "cart"].map(resource), ScopeSpans { scope: Some(scope), ..ScopeSpans::default() })
}

/// Two spans of a first trace, many of a second, each with the index of its resource.
fn spans() -> Vec<(usize, Span)> {
    let span = |trace: u8, id: u64, start: u64, duration: u64| Span {
        trace_id: vec![trace; 16],
        span_id: id.to_be_bytes().to_vec(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.wrapping_add(duration),
        name: "GET /".to_owned(),
        kind: 2,
        ..Span::default()
    };
    let failed = Status { code: 2, message: "no".to_owned() };
    let mut spans = vec![
        (0, Span { status: Some(failed), ..span(1, 1, START, 2_000_000_000) }),
        (
            1,
            Span {
                parent_span_id: 1u64.to_be_bytes().to_vec(),
                kind: 3,
                name: "read".to_owned(),
                attributes: vec![
                    attribute("http.response.status_code", Value::IntValue(404)),
                    attribute("cache.hit", Value::BoolValue(true)),
                    attribute("ratio", Value::DoubleValue(0.5)),
                ],
                ..span(1, 2, START + 7, 1_000)
            },
        ),
    ];
    // Text that hardly compresses: the fixture shall have chunks that lean on the first one.
    let noise = |n: u64| {
        (0..16).map(|i| format!("{:016x}", (n * 16 + i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
    };
    spans.extend((0..MANY).map(|n| {
        let attributes = vec![attribute("noise", Value::StringValue(noise(n)))];
        (1, Span { attributes, ..span(2, n + 1, START + n * 1_000_000_000, n) })
    }));
    spans
}

fn write() -> FinishedBlock {
    let (resources, scope) = records();
    let mut writer = BlockWriter::new(3).unwrap();
    let resources = resources.map(|record| writer.resource(&record.encode_to_vec().into()).unwrap());
    let scope = writer.scope(&scope.encode_to_vec().into());
    for (row, (resource, span)) in spans().into_iter().enumerate() {
        writer.push(resources[resource], scope, &span.encode_to_vec(), 10 + row as u64 % 3).unwrap();
    }
    writer.finish(1, CREATED).unwrap()
}

fn section(block: &[u8], kind: SectionKind) -> Bytes {
    let section = *Header::parse(block).unwrap().section(kind).unwrap();
    let range = section.range();
    let stored = Bytes::copy_from_slice(&block[range.start as usize..range.end as usize]);
    section.decode(stored, None).unwrap()
}

fn rows(block: &[u8]) -> Vec<ChunkRow> {
    let header = Header::parse(block).unwrap();
    let mut first: Option<Bytes> = None;
    let mut rows = Vec::new();
    for chunk in header.chunks() {
        assert_eq!(chunk.first_row as usize, rows.len());
        let range = chunk.range();
        let stored = Bytes::copy_from_slice(&block[range.start as usize..range.end as usize]);
        let decoded = chunk.decode(stored, first.as_deref()).unwrap();
        first.get_or_insert_with(|| decoded.clone());
        rows.extend(ChunkRows::new(decoded).map(Result::unwrap));
    }
    assert!(header.chunks().len() > 1, "the fixture has one chunk only");
    rows
}

#[test]
fn what_would_be_written_today() {
    if std::env::var_os("SPANDREL_PROPOSE_FIXTURES").is_none() {
        return;
    }
    let block = write();
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("block-v1.bin.proposed"), &block.bytes).unwrap();
    std::fs::write(directory.join("row-v1.bin.proposed"), block.row.encode().unwrap()).unwrap();
}

fn check_meta(meta: &BlockMeta) {
    assert_eq!((meta.level, meta.created), (1, CREATED));
    assert_eq!((meta.spans, meta.traces, meta.failed), (2 + MANY as u32, 2, 1));
    assert_eq!((meta.min_start.0, meta.max_start.0), (START, START + (MANY - 1) * 1_000_000_000));
    assert_eq!((meta.min_duration, meta.max_duration), (0, 2_000_000_000));
    assert_eq!((meta.min_sequence, meta.max_sequence), (10, 12));
    assert_eq!((meta.kinds, meta.statuses), (0b1100, 0b101));
    let names: Vec<(&str, Vec<&str>)> = meta
        .services
        .iter()
        .map(|s| (s.name.as_str(), s.operations.iter().map(|o| o.name.as_str()).collect()))
        .collect();
    assert_eq!(names, [("cart", vec!["GET /", "read"]), ("shop", vec!["GET /"])]);
    let kinds: Vec<SpanKind> = meta.services[0].operations[1].kinds().collect();
    assert_eq!(kinds, [SpanKind::Client]);
}

#[test]
fn block_version_1() {
    let block = fixture("block-v1.bin");
    check_meta(&BlockMeta::decode(&section(&block, SectionKind::Meta)).unwrap());

    let dictionary = Dictionary::decode(section(&block, SectionKind::Dictionary)).unwrap();
    let (resources, scope) = records();
    assert_eq!(dictionary.resources, resources.map(|record| Bytes::from(record.encode_to_vec())));
    assert_eq!(dictionary.resource_services, [0, 1]);
    assert_eq!(dictionary.scopes, [Bytes::from(scope.encode_to_vec())]);
    assert_eq!(dictionary.services, ["shop", "cart"]);
    let operations =
        [(0, "GET /"), (1, "read"), (1, "GET /")].map(|(service, name)| (service, name.to_owned()));
    assert_eq!(dictionary.operations, operations);

    let spans = spans();
    let count = spans.len();
    let traces = TraceTable::decode(section(&block, SectionKind::Traces), 2, count as u32).unwrap();
    let id = |n: u8| TraceId::from_bytes([n; 16]);
    let second = RowRange { first: 2, rows: MANY as u32 };
    assert_eq!(traces.entries(), [(id(1), RowRange { first: 0, rows: 2 }), (id(2), second)]);

    let column = |kind| decode_column(&section(&block, kind), count).unwrap();
    assert!(
        column(SectionKind::Start).into_iter().eq(spans.iter().map(|(_, span)| span.start_time_unix_nano))
    );
    let durations =
        spans.iter().map(|(_, span)| span.end_time_unix_nano.wrapping_sub(span.start_time_unix_nano));
    assert!(column(SectionKind::Duration).into_iter().eq(durations));
    assert!(column(SectionKind::Sequence).into_iter().eq((0..count as u64).map(|row| 10 + row % 3)));
    let operations = column(SectionKind::Operation);
    assert_eq!((operations[0], operations[1]), (0, 1));
    assert!(operations[2..].iter().all(|operation| *operation == 2));
    let flags: Vec<RowFlags> =
        column(SectionKind::Flags).into_iter().map(|flags| RowFlags(flags as u8)).collect();
    let of = |flags: RowFlags| (flags.kind(), flags.status(), flags.failed(), flags.has_parent());
    assert_eq!(of(flags[0]), (SpanKind::Server, StatusCode::Error, true, false));
    assert_eq!(of(flags[1]), (SpanKind::Client, StatusCode::Unset, false, true));
    assert!(flags[2..].iter().all(|flags| of(*flags) == (SpanKind::Server, StatusCode::Unset, false, false)));

    for (row, (found, (resource, span))) in rows(&block).into_iter().zip(spans).enumerate() {
        assert_eq!((found.resource as usize, found.scope), (resource, 0), "row {row}");
        assert_eq!(Span::decode(found.span), Ok(span), "row {row}");
    }
}

#[test]
fn filter_and_rollups_version_1() {
    let block = fixture("block-v1.bin");
    let filter = TokenFilter::decode(&section(&block, SectionKind::Filter)).unwrap();
    for token in [
        Token::of_key("cache.hit"),
        Token::of_key("cache.hit").with_bool(true),
        Token::of_key("http.response.status_code").with_number(Number::Int(404)),
        Token::of_key("ratio").with_number(Number::Double(0.5)),
        Token::of_key("service.name").with_string("cart"),
    ] {
        assert!(filter.may_contain(token));
    }
    let absent = (0..100).filter(|n| filter.may_contain(Token::of_key(&format!("absent {n}")))).count();
    assert!(absent < 10, "{absent} of 100 absent keys are not told apart");

    let rollups = RollupRow::decode_all(&section(&block, SectionKind::Rollups)).unwrap();
    let first = rollups.iter().find(|row| row.operation == 0).unwrap();
    assert_eq!(
        (u64::from(first.minute), first.start()),
        (START / 60_000_000_000, START / 60_000_000_000 * 60_000_000_000)
    );
    assert_eq!((first.count, first.errors, first.latency.max()), (1, 1, 2_000_000_000));
    assert_eq!((first.flags().kind(), first.flags().is_request()), (SpanKind::Server, true));
    let many = rollups.iter().filter(|row| row.operation == 2);
    assert_eq!(many.clone().map(|row| row.count).sum::<u64>(), MANY);
    // 400 spans, one a second, beginning 20 s into a minute.
    assert_eq!(many.map(|row| row.count).collect::<Vec<_>>(), [40, 60, 60, 60, 60, 60, 60]);
}

#[test]
fn catalog_row_version_1() {
    let row = CatalogRow::decode(&fixture("row-v1.bin")).unwrap();
    let block = fixture("block-v1.bin");
    assert_eq!(row.bytes, block.len() as u64);
    assert!(Header::parse(&block[..row.header_bytes as usize]).is_ok());
    assert!(Header::parse(&block[..row.header_bytes as usize - 1]).is_err());
    check_meta(&row.meta);
}

#[test]
fn what_is_written_today_reads_the_same() {
    let (today, frozen) = (write(), fixture("block-v1.bin"));
    assert_eq!(rows(&today.bytes), rows(&frozen));
    use SectionKind::*;
    for kind in [Meta, Dictionary, Traces, Start, Duration, Flags, Operation, Sequence, Filter, Rollups] {
        assert_eq!(
            section(&today.bytes, kind),
            section(&frozen, kind),
            "{kind:?} is written differently: a new format version?"
        );
    }
    assert_eq!(today.row.meta, CatalogRow::decode(&fixture("row-v1.bin")).unwrap().meta);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let mut block = fixture("block-v1.bin");
    block[8] = 2;
    let error = Header::parse(&block).unwrap_err();
    assert_eq!(error, FormatError::Version(2));
    assert_eq!(
        error.to_string(),
        "block format 2 is newer than this program (format 1); use a newer Spandrel"
    );
    block[7] = b'9';
    assert_eq!(Header::parse(&block), Err(FormatError::Magic));

    let mut row = fixture("row-v1.bin");
    row[0] = 2;
    let error = CatalogRow::decode(&row).unwrap_err();
    assert_eq!(error, RecordError::Version { found: 2, known: 1 });
    assert_eq!(error.to_string(), "record version 2 is not known (known: 1); use a newer Spandrel");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let block = fixture("block-v1.bin");
    let whole = |block: &[u8]| -> Option<()> {
        let header = Header::parse(block).ok()?;
        let decode = |section: &spandrel_block::Section| {
            let range = section.range();
            let stored = block.get(range.start as usize..range.end as usize)?;
            // The first chunk is not at hand here: the checksum is looked at before it is needed.
            match section.decode(Bytes::copy_from_slice(stored), None) {
                Err(FormatError::Checksum(_)) => None,
                _ => Some(()),
            }
        };
        use SectionKind::*;
        for kind in [Meta, Dictionary, Traces, Start, Duration, Flags, Operation, Sequence, Filter, Rollups] {
            decode(header.section(kind).ok()?)?;
        }
        header.chunks().iter().try_for_each(decode)
    };
    whole(&block).unwrap();
    // Each byte of the header, and one in some of what follows; two bytes are reserved.
    let header = CatalogRow::decode(&fixture("row-v1.bin")).unwrap().header_bytes as usize;
    for at in (0..header).filter(|at| !matches!(at, 10 | 11)).chain((header..block.len()).step_by(97)) {
        let mut damaged = block.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(whole(&damaged).is_none(), "byte {at} changed and nobody noticed");
    }
}
