//! Assigns stacks to stages of a span's way through the server, by the names of crates, modules and threads. Renamed
//! code counts as *other*: if its share is large, update the names here.

use std::collections::HashMap;

use super::stacks::Stacks;

/// A stage, and parts of the names of its frames. The first stage that fits is taken.
type Stage = (&'static str, &'static [&'static str]);

const STAGES: [Stage; 9] = [
    ("RocksDB flush and compaction", &["thread rocksdb:", "BackgroundCall"]),
    ("merge, seal, retain", &["thread maintenance", "thread catching-up", "store::merge::"]),
    ("decode", &["spandrel_proto::otlp::decode", "decode_request", "spandrel_collector::inflate"]),
    ("write: WAL, fsync, memtable", &["spandrel_rocks::", "rocksdb_write", "rocksdb::DBImpl::Write"]),
    ("build block", &["spandrel_block::", "ZSTD_", "thread build"]),
    ("append: sort, index in memory", &["spandrel_storage::"]),
    ("answer questions", &["spandrel_query::", "thread http"]),
    (
        "receive and answer",
        &["spandrel_collector::", "hyper", "h2::", "tonic", "axum", "tcp_", "thread ingest", "thread listen"],
    ),
    ("wait and wake", &["tokio::", "mio::", "std::sync", "schedule", "futex", "epoll"]),
];
const OTHER: &str = "other";

/// Samples of each stage, in the order of the way through the server.
pub(crate) fn by_stage(stacks: &Stacks) -> Vec<(&'static str, u64)> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for (stack, count) in stacks.iter() {
        *counts.entry(stage_of(stack)).or_default() += count;
    }
    let names = STAGES.iter().map(|(name, _)| *name).chain([OTHER]);
    let mut found: Vec<_> = names.filter_map(|name| Some((name, *counts.get(name)?))).collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    found
}

/// Samples by the function that was running, the most frequent first, with its stage.
pub(crate) fn by_function(stacks: &Stacks) -> Vec<(String, &'static str, u64)> {
    let mut counts: HashMap<(&str, &'static str), u64> = HashMap::new();
    for (stack, count) in stacks.iter() {
        if let Some(function) = stack.last() {
            *counts.entry((function, stage_of(stack))).or_default() += count;
        }
    }
    let mut found: Vec<_> =
        counts.into_iter().map(|((function, stage), count)| (function.to_owned(), stage, count)).collect();
    found.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
    found
}

fn stage_of(stack: &[String]) -> &'static str {
    let fits = |(_, names): &&Stage| stack.iter().any(|frame| names.iter().any(|name| frame.contains(name)));
    STAGES.iter().find(fits).map_or(OTHER, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_told_apart_by_who_called() {
        let stage = |frames: &[&str]| stage_of(&frames.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(stage(&["thread ingest", "hyper::proto::h1", "recv"]), "receive and answer");
        assert_eq!(stage(&["thread ingest", "spandrel_proto::otlp::decode::walk", "memcpy"]), "decode");
        assert_eq!(stage(&["thread batcher", "spandrel_block::writer", "ZSTD_compress"]), "build block");
        assert_eq!(stage(&["thread maintenance", "spandrel_block::writer"]), "merge, seal, retain");
        assert_eq!(stage(&["thread rocksdb:low", "memcpy"]), "RocksDB flush and compaction");
        assert_eq!(stage(&["thread main", "main"]), "other");
    }
}
