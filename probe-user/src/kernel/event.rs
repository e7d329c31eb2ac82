//! Things that took a while, with their times.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kafkascope_probe_ebpf::{Event as Raw, Socket, event};

/// Something that took a while. Times are nanoseconds of `CLOCK_MONOTONIC`; devices as stat(2) has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request to a disk, from issue to completion.
    Disk {
        /// The whole disk.
        dev: u64,
        /// See [`kafkascope_probe_ebpf::disk`].
        operation: u32,
        /// How much was read or written.
        bytes: u64,
        /// When the driver got it.
        start_ns: u64,
        /// How long it took.
        duration_ns: u64,
        /// How long it had been in the queue before; 0 where that is not seen.
        queued_ns: u64,
    },
    /// fsync or fdatasync.
    Fsync {
        /// Who has called.
        tgid: u32,
        /// Of the file system.
        dev: u64,
        /// Inode; 0 if it is not known.
        ino: u64,
        /// See [`kafkascope_probe_ebpf::fsync`].
        operation: u32,
        /// When it was called.
        start_ns: u64,
        /// How long it took.
        duration_ns: u64,
    },
    /// Retransmits of a connection, none further from the next than the gap of bursts.
    Retransmits {
        /// The connection.
        connection: Connection,
        /// Segments sent again.
        segments: u64,
        /// The first of them.
        start_ns: u64,
        /// From the first to the last.
        duration_ns: u64,
    },
}

/// Both ends of a connection, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Number of the socket.
    pub cookie: u64,
    /// Inode of the network namespace.
    pub netns: u32,
    /// The process if it has connected; 0 if it has accepted, then the local port tells.
    pub tgid: u32,
    /// Our end.
    pub local: (IpAddr, u16),
    /// The peer's.
    pub remote: (IpAddr, u16),
    /// Whether the process has accepted.
    pub is_accepted: bool,
}

impl Event {
    /// From its bytes in the ring buffer; nothing if they are of another version.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Raw>() {
            return None;
        }
        // SAFETY: there are enough bytes, and any bytes are a valid event: it is made of integers only.
        let raw = unsafe { bytes.as_ptr().cast::<Raw>().read_unaligned() };
        let Raw { tgid, start_ns, duration_ns, queued_ns, operation, ino, amount, .. } = raw;
        let dev = device(raw.dev);
        match raw.kind {
            event::DISK => Some(Self::Disk { dev, operation, bytes: amount, start_ns, duration_ns, queued_ns }),
            event::FSYNC => Some(Self::Fsync { tgid, dev, ino, operation, start_ns, duration_ns }),
            event::RETRANSMITS => {
                Some(Self::Retransmits { connection: connection(&raw.socket), segments: amount, start_ns, duration_ns })
            }
            _ => None,
        }
    }
}

/// A device as stat(2) has it, from the kernel's own number.
#[must_use]
pub fn device(dev: u32) -> u64 {
    rustix::fs::makedev(dev >> 20, dev & 0xf_ffff)
}

/// The ends of a connection. A peer of version 4 is one, even at a socket of version 6.
#[must_use]
pub fn connection(socket: &Socket) -> Connection {
    Connection {
        cookie: socket.cookie,
        netns: socket.netns,
        tgid: socket.tgid,
        local: (address(socket.version, socket.local), socket.local_port),
        remote: (address(socket.version, socket.remote), socket.remote_port),
        is_accepted: socket.direction == kafkascope_probe_ebpf::PASSIVE,
    }
}

/// An address as maps have it.
#[must_use]
pub fn address(version: u8, bytes: [u8; 16]) -> IpAddr {
    if version == 4 {
        let [a, b, c, d, ..] = bytes;
        Ipv4Addr::new(a, b, c, d).into()
    } else {
        Ipv6Addr::from(bytes).to_canonical()
    }
}
