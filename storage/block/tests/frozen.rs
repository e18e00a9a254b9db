//! Blocks and catalog rows that were written once and have to stay readable forever.
//!
//! `fixtures/` is append-only: a new format version adds files and tests, it changes none. To see
//! what this program would write today, run
//! `SPANDREL_PROPOSE_FIXTURES=1 cargo test -p spandrel-block --test frozen`; it writes `*.proposed`
//! beside the frozen files of today's format.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "frozen/columnar.rs"]
mod columnar;
mod common;
#[path = "frozen/version_1.rs"]
mod version_1;

use std::path::PathBuf;

use bytes::Bytes;
use spandrel_block::record::{self, RecordError};
use spandrel_block::{CatalogRow, FORMAT_VERSION, FormatError, Header, verify};

/// Since format 2 also a fresh block, since 3 one whose filters have several parts, of 5 also one whose filters contain
/// the elements of arrays.
const VERSIONS: [&str; 13] = [
    "v1",
    "v2",
    "v2-fresh",
    "v3",
    "v3-fresh",
    "v3-parts",
    "v4",
    "v4-fresh",
    "v4-parts",
    "v5",
    "v5-fresh",
    "v5-parts",
    "v5-elements",
];
/// The damage test changes each byte of these, and only some bytes of the others.
const SMALL: [&str; 8] = ["v2", "v2-fresh", "v3", "v3-fresh", "v4", "v4-fresh", "v5", "v5-fresh"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn fixture(name: &str) -> Bytes {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

#[test]
fn what_would_be_written_today() {
    if std::env::var_os("SPANDREL_PROPOSE_FIXTURES").is_none() {
        return;
    }
    std::fs::create_dir_all(folder()).unwrap();
    for (version, block) in [
        ("v5-elements", columnar::write()),
        ("v5-fresh", columnar::write_fresh()),
        ("v5-parts", columnar::write_parts()),
    ] {
        std::fs::write(folder().join(format!("block-{version}.bin.proposed")), &block.bytes).unwrap();
        let row = block.row.encode().unwrap();
        std::fs::write(folder().join(format!("row-{version}.bin.proposed")), row).unwrap();
    }
}

#[test]
fn catalog_rows_fit_their_blocks() {
    for version in VERSIONS {
        let row = CatalogRow::decode(&fixture(&format!("row-{version}.bin"))).unwrap();
        let block = fixture(&format!("block-{version}.bin"));
        assert_eq!(row.bytes, block.len() as u64);
        assert!(Header::parse(&block[..row.header_bytes as usize]).is_ok());
        assert!(Header::parse(&block[..row.header_bytes as usize - 1]).is_err());
        let report = verify(block).unwrap();
        assert_eq!(report.row, row);
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    // Today's block with version 65,535 and a valid checksum, which is newer than any format.
    let mut block = fixture("block-newer.bin").to_vec();
    let error = Header::parse(&block).unwrap_err();
    assert_eq!(error, FormatError::Version(u16::MAX));
    assert_eq!(
        error.to_string(),
        format!(
            "block format 65535 is newer than this program (format {FORMAT_VERSION}); use a newer Spandrel"
        )
    );
    block[8] ^= 1;
    assert_eq!(Header::parse(&block), Err(FormatError::Checksum("header")), "a flipped bit is no version");
    block[8..10].fill(0);
    assert_eq!(Header::parse(&block), Err(FormatError::Damaged("header")));
    block[7] = b'9';
    assert_eq!(Header::parse(&block), Err(FormatError::Magic));
    let error = CatalogRow::decode(&record::encode(3, &0u64).unwrap()).unwrap_err();
    assert_eq!(error, RecordError::Version { found: 3, known: 2 });
    assert_eq!(error.to_string(), "record version 3 is not known (known: 2); use a newer Spandrel");
    let mut row = fixture("row-v1.bin").to_vec();
    row[0] = 2;
    assert_eq!(CatalogRow::decode(&row), Err(RecordError::Checksum), "nor is it of a row");
}

#[test]
fn every_flipped_bit_is_noticed() {
    // Each byte of small blocks, and one in 997 of larger ones.
    for version in VERSIONS {
        let step = if SMALL.contains(&version) { 1 } else { 997 };
        let block = fixture(&format!("block-{version}.bin"));
        let row = CatalogRow::decode(&fixture(&format!("row-{version}.bin"))).unwrap();
        let header = row.header_bytes as usize;
        for at in (0..header).chain((header..block.len()).step_by(step)) {
            let mut damaged = block.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let found = verify(damaged.into());
            assert!(found.is_err(), "{version}: byte {at} changed and nobody noticed");
        }
    }
}
