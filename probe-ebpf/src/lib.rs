//! What the kernel programs and `kafkascope-probe` share: keys and values of maps, and events.
//!
//! Integers and arrays only, padding explicit: both sides see the same bytes. Times are nanoseconds of
//! `CLOCK_MONOTONIC`. Devices are numbered as the kernel does it inside: major number << 20 | minor number.
#![no_std]
#![forbid(unsafe_code)]

mod connection;
mod histogram;
mod offsets;

pub use connection::{ACTIVE, PASSIVE, Peer, PeerKey, Port, Socket};
pub use histogram::{BUCKETS, Histogram, bucket, bucket_end};
pub use offsets::{ABSENT, Offsets};

/// What user space chooses before the programs are loaded.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Two misses of a file, or two retransmits of a connection, further apart than this belong to two bursts.
    pub burst_gap_ns: u64,
    /// Which argument of `block_rq_issue` and its kin is the request: the second one on kernels before 5.11.
    pub request_argument: u32,
    /// 1 if the helper `bpf_task_pt_regs` is there (5.15 on).
    pub has_task_registers: u32,
    /// A page has 1 << this many bytes.
    pub page_shift: u32,
    /// The bit of `folio->flags` that says that the folio is larger than a page.
    pub large_folio_bit: u32,
}

/// Which sampler lost something; index into the map of losses.
pub mod lost {
    /// A file that did not fit beside the others.
    pub const PAGE_CACHE: u32 = 0;
    /// A request that did not fit among those in flight, or a device too many.
    pub const DISK: u32 = 1;
    /// A call or a process that did not fit.
    pub const FSYNC: u32 = 2;
    /// A connection or a peer that did not fit.
    pub const TCP: u32 = 3;
    /// Events that found the ring buffer full.
    pub const EVENTS: u32 = 4;
    /// How many there are.
    pub const COUNT: u32 = 5;
}

/// Entries that were made in maps that forget the least recent; index into the map of their numbers. What user space has
/// not seen of them was forgotten before it looked.
pub mod made {
    /// Peers.
    pub const PEERS: u32 = 0;
    /// Files with fsync times.
    pub const FSYNC_FILES: u32 = 1;
    /// How many there are.
    pub const COUNT: u32 = 2;
}

/// Index into the map of what user space may change while the programs run.
pub mod control {
    /// A request to a disk that takes this long in ns, from issue to completion, is an event. 0 is never.
    pub const SLOW_DISK: u32 = 0;
    /// The same for fsync and fdatasync.
    pub const SLOW_FSYNC: u32 = 1;
    /// Not 0 if it is not seen what reads ask for: then all that they add counts as read in.
    pub const REQUESTS_UNSEEN: u32 = 2;
    /// How many there are.
    pub const COUNT: u32 = 3;
}

/// Pages of a watched process; one for each processor, to be added up.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// The process's cgroup (version 2), as the inode of its folder.
    pub cgroup: u64,
    /// See [`Pages`].
    pub pages: Pages,
}

/// Pages of 4 KiB (or what the machine has), by how they came up. Disjoint but for `asked`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pages {
    /// Asked for by reads.
    pub asked: u64,
    /// Added to the cache by a read that asked for them.
    pub read_in: u64,
    /// Added to the cache by a read that asked for others.
    pub readahead_unasked: u64,
    /// Added by page faults, and by whatever is neither read nor write.
    pub fault: u64,
    /// Added by writes.
    pub write: u64,
}

/// A file in use by a process.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// The process.
    pub tgid: u32,
    /// Of the file system.
    pub dev: u32,
    /// Inode.
    pub ino: u64,
}

/// Pages of a file.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FilePages {
    /// When this entry was made. Another time means that the entry was thrown out in between and begun anew.
    pub since_ns: u64,
    /// See [`Pages`].
    pub pages: Pages,
    /// First miss of reads in the latest burst.
    pub burst_start_ns: u64,
    /// Last miss of reads in the latest burst.
    pub burst_end_ns: u64,
    /// Pages added in it.
    pub burst_pages: u64,
}

/// How many separate runs of added pages a thread remembers until it is known which it had asked for.
pub const PENDING: usize = 32;

/// A run of pages of a file: up to 16 TiB into it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Run {
    /// First page.
    pub start: u32,
    /// The page after the last.
    pub end: u32,
}

/// What a thread is reading.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Thread {
    /// Address of the inode that it asked for last.
    pub inode: u64,
    /// That inode's number.
    pub ino: u64,
    /// Read calls that the thread had finished then.
    pub calls: u64,
    /// First page it asked for then.
    pub first: u64,
    /// The page after the last that it has asked for in this call.
    pub end: u64,
    /// The byte at which this call began to read; known of sendfile only.
    pub position: u64,
    /// Address of the inode that it has added pages to.
    pub pending_inode: u64,
    /// That inode's number.
    pub pending_ino: u64,
    /// That inode's device.
    pub pending_dev: u32,
    /// How many runs there are.
    pub pending_count: u32,
    /// Device of the inode that it asked for last.
    pub dev: u32,
    /// Always 0.
    pub padding: u32,
    /// Runs that it has added.
    pub pending: [Run; PENDING],
}

impl Default for Thread {
    fn default() -> Self {
        Self {
            inode: 0,
            ino: 0,
            calls: 0,
            first: 0,
            end: 0,
            position: 0,
            pending_inode: 0,
            pending_ino: 0,
            pending_dev: 0,
            pending_count: 0,
            dev: 0,
            padding: 0,
            pending: [Run { start: 0, end: 0 }; PENDING],
        }
    }
}

/// Operations on disks.
pub mod disk {
    /// Read.
    pub const READ: u32 = 0;
    /// Write, and writing of zeroes.
    pub const WRITE: u32 = 1;
    /// Flush of the device's cache.
    pub const FLUSH: u32 = 2;
    /// Discard.
    pub const DISCARD: u32 = 3;
}

/// A histogram of request times.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DiskKey {
    /// The whole disk.
    pub dev: u32,
    /// See [`disk`].
    pub operation: u32,
}

/// How long requests took.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskTimes {
    /// When this entry was made.
    pub since_ns: u64,
    /// From issue to completion.
    pub service: Histogram,
    /// From the queue to issue, where the kernel notes when a request was made.
    pub queue: Histogram,
}

/// How many requests have a place of their own while they are in flight; a power of two.
pub const REQUEST_PLACES: u32 = 4096;

/// A request in flight.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    /// Its address; 0 if there is none here.
    pub address: u64,
    /// When it was made; 0 if that is not known.
    pub made_ns: u64,
    /// When the driver got it.
    pub issued_ns: u64,
    /// For how long it had been in the queue then; 0 if that is not known.
    pub queued_ns: u64,
}

/// Calls that make a file durable.
pub mod fsync {
    /// fsync(2).
    pub const FSYNC: u32 = 0;
    /// fdatasync(2).
    pub const FDATASYNC: u32 = 1;
}

/// A histogram of fsync times of a process.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FsyncKey {
    /// The process.
    pub tgid: u32,
    /// See [`fsync`].
    pub operation: u32,
}

/// A call under way.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct FsyncCall {
    /// When it began; 0 if it has ended.
    pub start_ns: u64,
    /// Inode.
    pub ino: u64,
    /// Of the file system.
    pub dev: u32,
    /// See [`fsync`].
    pub operation: u32,
}

/// What an [`Event`] tells of.
pub mod event {
    /// A slow request to a disk: `dev`, `operation`, `amount` in bytes, `queued_ns`.
    pub const DISK: u32 = 1;
    /// A slow fsync: `tgid`, `dev`, `ino`, `operation`.
    pub const FSYNC: u32 = 2;
    /// A burst of retransmits: `socket`, `amount` in segments.
    pub const RETRANSMITS: u32 = 3;
}

/// Something that took a while.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// See [`event`].
    pub kind: u32,
    /// The process, if known.
    pub tgid: u32,
    /// When it began.
    pub start_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// For how long the request had been in the queue before.
    pub queued_ns: u64,
    /// Device.
    pub dev: u32,
    /// See [`disk`] and [`fsync`].
    pub operation: u32,
    /// Inode.
    pub ino: u64,
    /// Bytes or segments.
    pub amount: u64,
    /// The connection.
    pub socket: Socket,
}
