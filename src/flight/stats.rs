//! Counters and snapshots over all shards.

use super::flights::Flights;
use crate::stats::{FlightInfo, Stats};
use crate::sync;

impl<K, T, E> Flights<K, T, E> {
    pub(crate) fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in self.table.shards() {
            sum += shard.lock().stats();
        }
        sum
    }

    pub(crate) fn reset_stats(&self) {
        for shard in self.table.shards() {
            shard.lock().counters.reset();
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.table.shards().map(|shard| shard.lock().in_flight()).sum()
    }

    pub(crate) fn infos(&self) -> Vec<FlightInfo<K>>
    where
        K: Clone,
    {
        let mut infos = Vec::new();
        for shard in self.table.shards() {
            infos.extend(shard.lock().flights().map(|entry| FlightInfo {
                key: entry.key.clone(),
                followers: entry.record.followers,
                age: entry.record.began.map(|began| sync::now().saturating_duration_since(began)),
                leader: entry.record.leader.filter(|leader| leader.number != 0).map(|leader| leader.id),
            }));
        }
        infos
    }
}
