//! What the programs have counted, taken out of their maps.
//!
//! Entries of maps that forget the least recent carry `since_ns`: if it has changed, the entry was forgotten and made
//! again, and its counters began at 0. [`Growth`] takes account of that.

use std::collections::HashMap;
use std::hash::Hash;

use aya::maps::{HashMap as KernelMap, MapData};
use kafkascope_probe_ebpf::{DiskKey, FileKey, FilePages, FsyncKey, Histogram, Pages, Peer, PeerKey, Process, Socket};

use super::shared::Shared;

/// Everything that was counted since the programs were loaded.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Watched processes; exact, whatever the maps of files forget.
    pub processes: Vec<(u32, Process)>,
    /// Files in use by watched processes.
    pub files: Vec<(FileKey, FilePages)>,
    /// Requests to disks, from issue to completion.
    pub disk_service: Vec<(DiskKey, Histogram)>,
    /// Requests to disks, from the queue to issue.
    pub disk_queue: Vec<(DiskKey, Histogram)>,
    /// fsync by process.
    pub fsync_processes: Vec<(FsyncKey, Histogram)>,
    /// fsync by file, both calls together.
    pub fsync_files: Vec<(FileKey, Histogram)>,
    /// Connections by peer.
    pub peers: Vec<(PeerKey, Peer)>,
    /// Connections that are followed. Their cookies are those that sock_diag is to leave out.
    pub sockets: Vec<Socket>,
    /// How often an entry was made for a peer, those included that were forgotten.
    pub peers_made: u64,
    /// The same for files with fsync times.
    pub fsync_files_made: u64,
}

/// Sums up what the processors have counted for a process.
pub(super) fn sum<'a>(of_processors: impl Iterator<Item = &'a Shared<Process>>) -> Process {
    of_processors.fold(Process::default(), |sum, Shared(one)| Process {
        cgroup: sum.cgroup.max(one.cgroup),
        pages: plus(&sum.pages, &one.pages),
    })
}

/// Both together.
#[must_use]
pub fn plus(left: &Pages, right: &Pages) -> Pages {
    combine(left, right, u64::wrapping_add)
}

/// All entries of a map, each once although the map changes meanwhile.
pub(super) fn entries<K, V>(map: &KernelMap<MapData, Shared<K>, Shared<V>>) -> Vec<(K, V)>
where
    K: Copy + Eq + Hash,
    V: Copy,
    Shared<K>: aya::Pod,
    Shared<V>: aya::Pod,
{
    // An entry that is deleted under the cursor makes the kernel begin anew.
    let mut seen = HashMap::new();
    for (Shared(key), Shared(value)) in map.iter().filter_map(Result::ok) {
        seen.insert(key, value);
    }
    seen.into_iter().collect()
}

/// Something that only grows while its entry lives.
pub trait Counted: Copy {
    /// By how much it has grown since `before`.
    #[must_use]
    fn minus(&self, before: &Self) -> Self;
}

impl Counted for Pages {
    fn minus(&self, before: &Self) -> Self {
        combine(self, before, u64::saturating_sub)
    }
}

impl Counted for Histogram {
    fn minus(&self, before: &Self) -> Self {
        let mut grown = *self;
        grown.sum_ns = self.sum_ns.saturating_sub(before.sum_ns);
        for (bucket, before) in grown.buckets.iter_mut().zip(&before.buckets) {
            *bucket = bucket.saturating_sub(*before);
        }
        grown
    }
}

impl Counted for Peer {
    fn minus(&self, before: &Self) -> Self {
        Self {
            since_ns: self.since_ns,
            connections: self.connections.saturating_sub(before.connections),
            retransmits: self.retransmits.saturating_sub(before.retransmits),
            connect_failures: self.connect_failures.saturating_sub(before.connect_failures),
            resets_sent: self.resets_sent.saturating_sub(before.resets_sent),
            resets_received: self.resets_received.saturating_sub(before.resets_received),
            round_trips: self.round_trips.minus(&before.round_trips),
        }
    }
}

fn combine(left: &Pages, right: &Pages, with: fn(u64, u64) -> u64) -> Pages {
    Pages {
        asked: with(left.asked, right.asked),
        read_in: with(left.read_in, right.read_in),
        readahead_unasked: with(left.readahead_unasked, right.readahead_unasked),
        fault: with(left.fault, right.fault),
        write: with(left.write, right.write),
    }
}

/// Turns readings of entries that may be forgotten and made again into what was added between two readings.
#[derive(Debug, Clone)]
pub struct Growth<K, V> {
    before: HashMap<K, (u64, V)>,
    seen: u64,
    unseen: u64,
}

impl<K, V> Default for Growth<K, V> {
    fn default() -> Self {
        Self { before: HashMap::new(), seen: 0, unseen: 0 }
    }
}

impl<K: Copy + Eq + Hash, V: Counted> Growth<K, V> {
    /// What each entry has grown by since the last call. Entries that are gone are dropped here as well.
    pub fn advance(&mut self, now: impl Iterator<Item = (K, u64, V)>) -> Vec<(K, V)> {
        let mut grown = Vec::new();
        let mut next = HashMap::with_capacity(self.before.len());
        for (key, since, value) in now {
            let growth = match self.before.get(&key) {
                Some((as_before, before)) if *as_before == since => value.minus(before),
                _ => {
                    self.seen += 1;
                    value
                }
            };
            grown.push((key, growth));
            next.insert(key, (since, value));
        }
        self.before = next;
        grown
    }

    /// How many entries were forgotten before they were seen, if so many had been `made` before the last call of
    /// [`Growth::advance`]. Never less than before.
    pub fn unseen(&mut self, made: u64) -> u64 {
        self.unseen = self.unseen.max(made.saturating_sub(self.seen));
        self.unseen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_survives_an_entry_that_was_forgotten() {
        let pages = |asked| Pages { asked, ..Pages::default() };
        let mut growth = Growth::default();
        assert_eq!(growth.advance([(1, 10, pages(5))].into_iter()), [(1, pages(5))]);
        assert_eq!(growth.advance([(1, 10, pages(7))].into_iter()), [(1, pages(2))]);
        assert_eq!(growth.advance([(1, 20, pages(9))].into_iter()), [(1, pages(9))], "made again");
        assert_eq!(growth.unseen(2), 0);
        assert_eq!(growth.unseen(5), 3, "three came and went between two looks");
        assert_eq!(growth.unseen(2), 3);
        assert!(growth.advance(std::iter::empty::<(i32, u64, Pages)>()).is_empty());
        assert_eq!(growth.advance([(1, 20, pages(9))].into_iter()), [(1, pages(9))]);
    }
}
