//! How far each partition is stored: everything before an offset that may be committed is done with.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use krafka::consumer::{ConsumerRebalanceListener, TopicPartition};
use parking_lot::Mutex;

/// The partitions that this member of the group reads.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    partitions: HashMap<(Arc<str>, i32), Partition>,
}

/// One of them.
#[derive(Debug, Default)]
struct Partition {
    /// Messages that were read and are not done with.
    under_way: BTreeSet<i64>,
    /// Behind the last one that was read.
    read: i64,
    committed: i64,
}

/// Forgets partitions that go to another member: it starts where this one has committed, and an older offset must not be
/// committed over its own.
pub(crate) struct Listener(pub(crate) Arc<Mutex<Progress>>);

// === impl Progress ===

impl Progress {
    /// A message was read.
    pub(crate) fn begin(&mut self, topic: &Arc<str>, partition: i32, offset: i64) {
        let partition = self.partitions.entry((topic.clone(), partition)).or_default();
        partition.under_way.insert(offset);
        partition.read = partition.read.max(offset + 1);
    }

    /// It is stored, or passed over.
    pub(crate) fn end(&mut self, topic: &Arc<str>, partition: i32, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&(topic.clone(), partition)) {
            partition.under_way.remove(&offset);
        }
    }

    /// Offsets that are not committed yet, although everything before them is done with.
    pub(crate) fn to_commit(&self) -> Vec<(TopicPartition, i64)> {
        let far = |((topic, number), partition): (&(Arc<str>, i32), &Partition)| {
            let done = partition.done();
            (done > partition.committed).then(|| (TopicPartition::new(&**topic, *number), done))
        };
        self.partitions.iter().filter_map(far).collect()
    }

    pub(crate) fn committed(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (at, offset) in offsets {
            if let Some(partition) = self.partitions.get_mut(&(Arc::from(at.topic()), at.partition())) {
                partition.committed = partition.committed.max(*offset);
            }
        }
    }

    /// Messages of a partition that were read and are not done with.
    pub(crate) fn under_way(&self, topic: &str, partition: i32) -> usize {
        let known = self.partitions.get(&(Arc::from(topic), partition));
        known.map_or(0, |partition| partition.under_way.len())
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.partitions.remove(&(Arc::from(at.topic()), at.partition()));
        }
    }
}

// === impl Partition ===

impl Partition {
    fn done(&self) -> i64 {
        self.under_way.first().copied().unwrap_or(self.read)
    }
}

// === impl Listener ===

impl ConsumerRebalanceListener for Listener {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            tracing::info!(partitions = %listed(partitions), "Kafka gives this server partitions to read");
        }
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        tracing::info!(partitions = %listed(partitions), "this server gives partitions of Kafka back");
        self.0.lock().forget(partitions);
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        tracing::warn!(partitions = %listed(partitions), "partitions of Kafka are lost to other members of the group");
        self.0.lock().forget(partitions);
    }
}

/// The first of them: a topic may have thousands.
fn listed(partitions: &[TopicPartition]) -> String {
    const SHOWN: usize = 20;
    let shown = partitions.iter().take(SHOWN).map(|at| format!("{}/{}", at.topic(), at.partition()));
    let mut text = shown.collect::<Vec<_>>().join(" ");
    if let Some(more) = partitions.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(progress: &Progress) -> Vec<(i32, i64)> {
        let mut all: Vec<_> =
            progress.to_commit().into_iter().map(|(at, offset)| (at.partition(), offset)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn nothing_is_committed_before_what_lies_in_front_of_it_is_done_with() {
        let (mut progress, topic) = (Progress::default(), Arc::from("spans"));
        for offset in [7, 8, 9] {
            progress.begin(&topic, 0, offset);
        }
        progress.begin(&topic, 1, 3);
        progress.end(&topic, 0, 8);
        progress.end(&topic, 0, 9);
        // Partition 0 begins at 7. A group that starts with the latest message needs that, else it would start later
        // after a crash.
        assert_eq!(offsets(&progress), [(0, 7), (1, 3)]);
        progress.end(&topic, 0, 7);
        assert_eq!(offsets(&progress), [(0, 10), (1, 3)]);
        progress.committed(&progress.to_commit());
        assert!(offsets(&progress).is_empty());
        progress.end(&topic, 1, 3);
        assert_eq!(offsets(&progress), [(1, 4)]);
    }

    #[test]
    fn what_another_member_reads_is_committed_by_it_alone() {
        let (mut progress, topic) = (Progress::default(), Arc::from("spans"));
        progress.begin(&topic, 0, 7);
        progress.forget(&[TopicPartition::new("spans", 0)]);
        progress.end(&topic, 0, 7);
        assert!(offsets(&progress).is_empty());
        // It came back, and begins where the other one has stopped.
        progress.begin(&topic, 0, 20);
        progress.end(&topic, 0, 20);
        assert_eq!(offsets(&progress), [(0, 21)]);
        assert_eq!(progress.under_way("spans", 0), 0);
    }
}
