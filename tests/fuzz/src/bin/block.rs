//! Whole blocks from nothing but their bytes: checked, and those of format 1 taken over. What the
//! checks accept can be read.
#![no_main]

use bytes::Bytes;
use spandrel_block::{Header, upgrade, verify};
use spandrel_fuzz::{repair_block, row_of};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut block = bytes.to_vec();
    repair_block(&mut block);
    // Counts are limited, so that the fuzzer looks for mistakes and not for large numbers.
    if row_of(&block).is_none_or(|row| row.meta.spans > 10_000 || row.meta.traces > 10_000) {
        return;
    }
    let block = Bytes::from(block);
    let Ok(header) = Header::parse(&block) else { return };
    let verified = verify(block.clone());
    if header.is_columnar() {
        return;
    }
    // Without its checks, too: a store takes over what it finds.
    let upgraded = upgrade(&block);
    if let Ok(report) = verified {
        let upgraded = upgraded.expect("what was checked can be taken over");
        assert_eq!(upgraded.row.meta, report.row.meta);
    }
});
