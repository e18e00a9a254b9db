//! Checks whole blocks from their bytes alone, and converts those of format 1. Blocks that pass the checks can be read.
#![no_main]

use bytes::Bytes;
use spandrel_block::{Header, upgrade, verify};
use spandrel_fuzz::{repair_block, row_of};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut block = bytes.to_vec();
    repair_block(&mut block);
    // Counts are limited, so that the fuzzer finds mistakes instead of large numbers.
    if row_of(&block).is_none_or(|row| row.meta.spans > 10_000 || row.meta.traces > 10_000) {
        return;
    }
    let block = Bytes::from(block);
    let Ok(header) = Header::parse(&block) else { return };
    let verified = verify(block.clone());
    if header.is_columnar() {
        return;
    }
    // The conversion also has to survive blocks that do not pass the checks, because a store converts without checking.
    let upgraded = upgrade(&block);
    if let Ok(report) = verified {
        let upgraded = upgraded.expect("what was checked can be taken over");
        assert_eq!(upgraded.row.meta, report.row.meta);
    }
});
