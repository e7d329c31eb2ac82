//! How much the kernel programs may remember.

use std::time::Duration;

/// Sizes of maps, in entries unless said otherwise. Their memory is the kernel's, allotted when they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processes watched at once. 56 bytes for each on each processor.
    pub processes: u32,
    /// Threads that read, the least recent forgotten. 320 bytes each.
    pub threads: u32,
    /// Files that watched processes read and write, the least recent forgotten. 80 bytes each.
    pub files: u32,
    /// Files that fsync is told apart by, the least recent forgotten. 2.4 kB each.
    pub fsync_files: u32,
    /// Requests to disks in flight beyond those that have a place of their own. 32 bytes each.
    pub requests: u32,
    /// Disks times four operations. 4.8 kB each.
    pub disks: u32,
    /// Ports that watched processes listen on.
    pub ports: u32,
    /// Connections followed from their beginning; the rest is left to sock_diag. 96 bytes each.
    pub sockets: u32,
    /// Peers, the least recent forgotten. 2.5 kB each.
    pub peers: u32,
    /// Bytes of events on their way to user space, a power of two and at least a page.
    pub event_bytes: u32,
    /// Misses of a file and retransmits of a connection further apart than this belong to two bursts.
    pub burst_gap: Duration,
}

/// Which samplers to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as the samplers are")]
pub struct Wanted {
    pub page_cache: bool,
    /// Queue times, too.
    pub disk: bool,
    pub fsync: bool,
    pub tcp: bool,
}

impl Wanted {
    /// All of them.
    pub const ALL: Self = Self { page_cache: true, disk: true, fsync: true, tcp: true };
    /// None of them.
    pub const NONE: Self = Self { page_cache: false, disk: false, fsync: false, tcp: false };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 256,
            threads: 4096,
            files: 16384,
            fsync_files: 512,
            requests: 16384,
            disks: 256,
            ports: 1024,
            sockets: 16384,
            peers: 1024,
            event_bytes: 1 << 18,
            burst_gap: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// The size of each map by its name.
    pub(super) fn maps(&self) -> [(&'static str, u32); 12] {
        [
            ("PROCESSES", self.processes),
            ("THREADS", self.threads),
            ("FILES", self.files),
            ("MORE_REQUESTS", self.requests),
            ("DISKS", self.disks),
            ("FSYNC_CALLS", self.threads),
            ("FSYNC_PROCESSES", self.processes.saturating_mul(2)),
            ("FSYNC_FILES", self.fsync_files),
            ("PORTS", self.ports),
            ("SOCKETS", self.sockets),
            ("PEERS", self.peers),
            ("EVENTS", self.event_bytes),
        ]
        .map(|(name, size)| (name, size.max(1)))
    }
}
