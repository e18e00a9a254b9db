//! Proves that the search for deleted values in files can find them: in each kind of section, in every encoding. After
//! a purge, filters no longer contain deleted values.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use spandrel_block::{BlockKey, CatalogRow, FilterPart, Header, Number, Section, SectionKind, Token};
use spandrel_proto::otlp::{DecodeLimits, decode_request};
use spandrel_proto::{TenantId, TimeRange};
use spandrel_rocks::Durability;
use spandrel_storage::engine::PurgeProgress;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{Deletions, Engine, TraceStore};
use spandrel_tests::contract::deletion::{finish, with};
use spandrel_tests::forensics::{How, sightings};
use spandrel_tests::harness::{Backend, Harness};
use spandrel_tests::spans::{SECOND, Sent, sent, text, with_unknown_fields};

/// The user whose traces are deleted.
const USER: &str = "mallory";
/// Words that each occur in one place only, named by the place.
const TEXT: &str = "eton-quill";
const SHARED: &str = "lenient-osier";
const NAME: &str = "stolen-rite";
const RESOURCE: &str = "inlet-stone";
const SERVICE: &str = "resin-toil";
const OPAQUE: &str = "ornate-sill";
const FRESH: &str = "silent-tenor";
/// A number that is packed together with others.
const NUMBER: i64 = 4_111_111_111_111_111;

const TRACES: u64 = 12_000;
const MIXED_TRACES: std::ops::Range<u64> = TRACES + 2..TRACES + 102;
const FRESH_TRACES: std::ops::Range<u64> = 20_001..20_400;

/// A span like thousands of others, with enough text for zstd to compress.
fn plain(n: u64) -> Sent {
    let note =
        format!("note {} to order {}: letters are sent to the listed stores, line {n}", n % 97, n * 7919);
    let number = Any::IntValue(4_000_000_000_000_000 + (n * n * 7919) as i64);
    sent(n, n)
        .name(&format!("list orders {}", n % 50))
        .at(n * SECOND / 100, 1_000 + n)
        .with("note", text(&note))
        .with("card", number)
        .with("region", text(&format!("the stores listed in region {}", n % 61)))
}

/// The same with another region, of the deleted user.
fn in_region(n: u64, region: &str) -> Sent {
    let mut sent = plain(n);
    sent.span.attributes[2].value = any(text(&format!("the stores listed in region {region}")));
    marked(sent)
}

fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

/// Adds the user, so that the trace is deleted.
fn marked(sent: Sent) -> Sent {
    sent.with("user", text(USER))
}

/// The same with a word instead of the line number in its note, of the deleted user.
fn with_note(n: u64, word: &str) -> Sent {
    let mut sent = plain(n);
    let note =
        format!("note {} to order {}: letters are sent to the listed stores, line {word}", n % 97, n * 7919);
    sent.span.attributes[0].value = any(text(&note));
    marked(sent)
}

/// The trace of this number: one of the deleted user with a word, or a plain one.
fn trace(n: u64) -> Sent {
    match n {
        55 => with_note(n, TEXT),
        66 => marked(plain(n).name(&format!("list orders of {NAME}"))),
        77 => marked(plain(n).on_resource("listed.in", text(&format!("the stores of {RESOURCE}")))),
        88 => marked(plain(n).service(&format!("stores of {SERVICE}"))),
        99 => {
            let mut sent = plain(n);
            sent.span.attributes[1].value = any(Any::IntValue(NUMBER));
            marked(sent)
        }
        20_111 => with_note(n, FRESH),
        // In each page, so that the pages share the text.
        n if n % 300 == 1 && n < TRACES => in_region(n, SHARED),
        n => plain(n),
    }
}

/// Appends traces with fields that generated types would drop: one of the deleted user with a word, and others whose
/// letters are mixed, so that zstd has enough to code them in fewer bits.
fn put_opaque(harness: &Harness) {
    let opaque = format!("letters sent to the listed stores of {OPAQUE}");
    let mixed = |n: u64| -> String {
        let letters = (1..60).map(|at| (n * 7919 + 31).wrapping_pow(at) >> 32 & 7);
        letters.map(|letter| b"letnorsi"[letter as usize] as char).collect()
    };
    let others = MIXED_TRACES.map(|n| with_unknown_fields(&plain(n), &mixed(n)));
    let requests = others.chain([with_unknown_fields(&marked(plain(TRACES + 1)), &opaque)]);
    let decoded = requests.map(|request| decode_request(request.into(), &DecodeLimits::default()).unwrap());
    harness.store().append(&TenantId::default(), &decoded.collect::<Vec<_>>()).unwrap();
}

/// Appends traces and merges them. The purge removes the fresh blocks and logs, so that only the merged block has them.
fn put_merged(harness: &Harness) {
    for part in 0..6 {
        let spans: Vec<Sent> = (1..=TRACES).filter(|n| n % 6 == part).map(trace).collect();
        harness.append(&spans);
    }
    put_opaque(harness);
    harness.store().seal_all();
    assert_eq!(harness.store().status().unsealed_span_count, 0);
    harness.maintain(3);
    harness.engine().begin_purge().unwrap();
    while harness.engine().continue_purge().unwrap() == PurgeProgress::Pending {}
}

fn put_fresh(harness: &Harness) {
    harness.append(&FRESH_TRACES.map(trace).collect::<Vec<Sent>>());
}

/// Where the files with this extension contain the bytes.
fn seen(directory: &Path, extension: &str, sought: &[u8]) -> BTreeSet<How> {
    let of_kind = |path: &Path| path.extension().is_some_and(|found| found == extension);
    sightings(directory, sought)
        .into_iter()
        .filter(|(path, _)| of_kind(path))
        .flat_map(|(_, hows)| hows)
        .collect()
}

/// A number in the encoding of an attribute's value.
fn on_the_wire(number: i64) -> Vec<u8> {
    let mut out = vec![3 << 3];
    prost::encoding::encode_varint(number as u64, &mut out);
    out
}

/// All words, and the number.
fn all() -> Vec<Vec<u8>> {
    let texts = [TEXT, SHARED, NAME, RESOURCE, SERVICE, OPAQUE, FRESH, USER];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain([on_the_wire(NUMBER)]).collect()
}

fn section(engine: &dyn Engine, key: &BlockKey, section: &Section) -> Bytes {
    section.decode(engine.get_range(key, section.range()).unwrap()).unwrap()
}

/// The number of blocks whose filters may have a token, and of blocks with filters.
fn perhaps(engine: &dyn Engine, token: Token) -> (usize, usize) {
    let (mut yes, mut all) = (0, 0);
    for (key, row) in engine.catalog_rows().unwrap() {
        let bytes = u64::from(CatalogRow::decode(&row).unwrap().header_bytes);
        let header = Header::parse(&engine.get_range(&key, 0..bytes).unwrap()).unwrap();
        let (parts, pages) = (header.pages(SectionKind::Filter), header.pages(SectionKind::Core).len());
        let Some(part) = parts.get(FilterPart::of_token(token, parts.len())) else { continue };
        let part =
            FilterPart::decode(section(engine, &key, part), parts.len(), pages, header.version()).unwrap();
        all += 1;
        yes += usize::from(
            part.resources_may_have(token) || (0..pages).any(|page| part.page_knows(page, token)),
        );
    }
    (yes, all)
}

fn tokens() -> Vec<Token> {
    let of = |key: &str, value: &str| Token::of_key(key).with_string(value);
    vec![
        of("user", USER),
        Token::of_key("user"),
        of("region", &format!("the stores listed in region {SHARED}")),
        of("listed.in", &format!("the stores of {RESOURCE}")),
        of("service.name", &format!("stores of {SERVICE}")),
        Token::of_key("card").with_number(Number::Int(NUMBER)),
    ]
}

/// Asserts where each word of a merged block is found: how in the blocks, and whether in tables, which RocksDB
/// compresses itself.
fn assert_merged_is_seen(directory: &Path) {
    let hidden = BTreeSet::from([How::Inflated, How::Rebuilt]);
    for (word, in_tables) in
        [(TEXT, false), (SHARED, false), (NAME, true), (RESOURCE, false), (SERVICE, true), (OPAQUE, false)]
    {
        assert_eq!(seen(directory, "blob", word.as_bytes()), hidden, "{word}");
        let tables = if in_tables { BTreeSet::from([How::Inflated]) } else { BTreeSet::new() };
        assert_eq!(seen(directory, "sst", word.as_bytes()), tables, "{word}");
    }
    // No frame has the number in the encoding of the wire.
    assert_eq!(seen(directory, "blob", &on_the_wire(NUMBER)), BTreeSet::from([How::Rebuilt]));
}

/// Asserts that unmerged spans are found in the log, and after a flush in a blob file.
fn assert_fresh_is_seen(harness: &Harness, directory: &Path) {
    for extension in ["log", "blob"] {
        let seen = seen(directory, extension, FRESH.as_bytes());
        assert!(seen.is_superset(&BTreeSet::from([How::Inflated, How::Rebuilt])), "{extension}: {seen:?}");
        harness.engine().flush().unwrap();
    }
}

#[test]
fn every_section_is_seen_through_and_nothing_is_left_in_any() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut harness = Harness::new(Backend::Rocks(directory.clone(), Durability::Sync));
    put_merged(&harness);
    assert_merged_is_seen(directory.path());
    for token in tokens() {
        assert_eq!(perhaps(&**harness.engine(), token), (1, 1));
    }
    put_fresh(&harness);
    assert_fresh_is_seen(&harness, directory.path());

    let plan = ScanPlan { predicate: with("user", USER), range: TimeRange::ALL };
    let deletion = harness.store().delete(&TenantId::default(), &plan).unwrap();
    finish(&harness, &deletion);
    let region = "the stores listed in region 7";
    let stay = |n: &u64| n % 61 == 7 && trace(*n) == plain(*n);
    let neighbours = (1..=TRACES).chain(MIXED_TRACES).chain(FRESH_TRACES).filter(stay).count();
    for _ in 0..2 {
        for word in all() {
            let seen = sightings(directory.path(), &word);
            assert!(seen.is_empty(), "{}: {seen:?}", String::from_utf8_lossy(&word));
        }
        for token in tokens() {
            let (yes, all) = perhaps(&**harness.engine(), token);
            assert!(yes == 0 && all > 0, "{yes} of {all} filters say \"perhaps\" of {token:?}");
        }
        assert!(harness.find(with("user", USER)).is_empty());
        // The other traces are still found by values that they shared.
        assert_eq!(harness.find(with("region", region)).len(), neighbours);
        harness.restart();
        harness.store().seal_all();
    }
}
