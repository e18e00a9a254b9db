//! The configuration of RocksDB, and the reasons for it.

use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    LruCacheOptions, Options, SliceTransform,
};

use spandrel_block::TraceKey;

use crate::live_blocks::LiveBlocks;

pub(crate) const FRESH: &str = "fresh";
pub(crate) const SEALED: &str = "sealed";
pub(crate) const CATALOG: &str = "catalog";
pub(crate) const INDEX: &str = "index";
pub(crate) const REPLACED: &str = "replaced";
/// All families.
pub(crate) const ALL: [&str; 6] =
    [FRESH, SEALED, CATALOG, INDEX, REPLACED, rocksdb::DEFAULT_COLUMN_FAMILY_NAME];

/// Up to three memtables of this size for each family of pages absorb a burst. Twice the size takes up to 60 MB more
/// during ingest, and saves no CPU.
const PAGE_MEMTABLE: usize = 16 << 20;
const SMALL_MEMTABLE: usize = 8 << 20;
/// With smaller memtables, RocksDB would flush all the time.
const LEAST_MEMTABLE: usize = 1 << 20;
/// Small enough that a dropped window frees most of its files at once.
const BLOB_FILE: u64 = 32 << 20;
/// Keys of pages are small: tables of this size have the keys of some 200 MB of pages, so that a purge
/// that moves a window moves little else.
const PAGE_TABLE: u64 = 256 << 10;
/// Above this size of the write-ahead log, RocksDB flushes its memtables.
const MAX_WAL: u64 = 192 << 20;
const BLOCK_CACHE: usize = 32 << 20;
/// 2^3 shards of the block cache. By default, RocksDB makes so many that a shard is smaller than the larger entries,
/// which are then read again for each query.
const CACHE_SHARD_BITS: i32 = 3;
/// Caches whole pages, because reading a trace reads each of its pages several times.
const BLOB_CACHE: usize = 16 << 20;

pub(crate) fn database(recovery: DBRecoveryMode) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(MAX_WAL);
    options.set_wal_recovery_mode(recovery);
    // A missing log that was synced is an error; otherwise the store would open without its spans.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(3);
    options.set_max_log_file_size(4 << 20);
    options.set_max_manifest_file_size(16 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_max_open_files(512);
    options
}

/// A memtable is no larger than the reserve that stays free: RocksDB resumes after a full disk only once there is
/// room for one, and until then the store must refuse writes.
pub(crate) fn families(live: &LiveBlocks, reserve_bytes: u64) -> Vec<ColumnFamilyDescriptor> {
    let mut shards = LruCacheOptions::default();
    shards.set_capacity(BLOCK_CACHE);
    shards.set_num_shard_bits(CACHE_SHARD_BITS);
    let cache = Cache::new_lru_cache_opts(&shards);
    let blobs = Cache::new_lru_cache(BLOB_CACHE);
    let memtable =
        usize::try_from(reserve_bytes).unwrap_or(PAGE_MEMTABLE).clamp(LEAST_MEMTABLE, PAGE_MEMTABLE);
    vec![
        ColumnFamilyDescriptor::new(FRESH, pages(&cache, &blobs, memtable)),
        ColumnFamilyDescriptor::new(SEALED, pages(&cache, &blobs, memtable)),
        ColumnFamilyDescriptor::new(CATALOG, small(&cache, memtable)),
        ColumnFamilyDescriptor::new(INDEX, index(&cache, SMALL_MEMTABLE.min(memtable), live)),
        ColumnFamilyDescriptor::new(REPLACED, small(&cache, memtable)),
        ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, small(&cache, memtable)),
    ]
}

fn pages(cache: &Cache, blobs: &Cache, memtable: usize) -> Options {
    let mut options = family(cache, memtable);
    options.set_enable_blob_files(true);
    options.set_min_blob_size(512);
    options.set_blob_file_size(BLOB_FILE);
    // Sections are compressed already. Without blob garbage collection, RocksDB removes a blob file when no page in it
    // is live, and never rewrites live pages.
    options.set_blob_compression_type(DBCompressionType::None);
    options.set_enable_blob_gc(false);
    options.set_blob_cache(blobs);
    options.set_compression_type(DBCompressionType::None);
    options.set_target_file_size_base(PAGE_TABLE);
    options
}

fn small(cache: &Cache, memtable: usize) -> Options {
    let mut options = family(cache, SMALL_MEMTABLE.min(memtable));
    options.set_compression_type(DBCompressionType::Zstd);
    options
}

/// Compactions remove rows whose block has left the catalog. A query reads all rows of a trace, so Bloom filters
/// contain trace prefixes and skip tables without that trace.
fn index(cache: &Cache, memtable: usize, live: &LiveBlocks) -> Options {
    let mut table = table(cache);
    table.set_whole_key_filtering(false);
    let mut options = with_table(&table, memtable);
    options.set_prefix_extractor(SliceTransform::create("trace", TraceKey::prefix_of, None));
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    let live = live.clone();
    options.set_compaction_filter("index rows of blocks that are gone", move |_level, key, _value| {
        match TraceKey::decode(key) {
            Ok(key) if live.is_gone(key.block) => Decision::Remove,
            _ => Decision::Keep,
        }
    });
    options
}

fn family(cache: &Cache, memtable: usize) -> Options {
    with_table(&table(cache), memtable)
}

/// Indices and filters are partitioned, and the partitions cached one by one: a query needs one of each, and the whole
/// index of a large table takes megabytes.
fn table(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(16 << 10);
    table.set_pin_top_level_index_and_filter(true);
    table.set_format_version(5);
    table
}

fn with_table(table: &BlockBasedOptions, memtable: usize) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(table);
    options.set_write_buffer_size(memtable);
    options.set_max_write_buffer_number(3);
    options
}
