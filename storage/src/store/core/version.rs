//! A number that stands for the blocks of a range.

use spandrel_proto::{TenantId, TimeRange};

use super::Core;

impl Core {
    /// A number that is another one as soon as a span in the range is added or removed: blocks never change, and their
    /// numbers are given once. `None` while traces are being deleted, which readers leave out of blocks that are there.
    pub(crate) fn version(&self, tenant: &TenantId, range: &TimeRange) -> Option<u64> {
        let Some(state) = self.tenants.get(tenant) else { return Some(0) };
        if !state.deleted.is_empty() {
            return None;
        }
        let view = state.view();
        let touching = view.iter().filter(|entry| entry.row.meta.touches(range));
        Some(touching.fold(0, |sum: u64, entry| sum.wrapping_add(mixed(entry.key.block.0))))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014): sums of its results tell sets apart.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
