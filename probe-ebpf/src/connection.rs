//! Connections and peers.

use crate::Histogram;

/// The process has called `connect`.
pub const ACTIVE: u8 = 1;
/// The process has accepted.
pub const PASSIVE: u8 = 2;

/// A port that a watched process listens on.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Port {
    /// Inode of the network namespace.
    pub netns: u32,
    /// The port.
    pub port: u32,
}

/// A connection that is seen from its beginning.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Socket {
    /// Number of the socket, unique while the machine runs.
    pub cookie: u64,
    /// Inode of the network namespace.
    pub netns: u32,
    /// The process that has connected; 0 if it has accepted.
    pub tgid: u32,
    /// Ours.
    pub local_port: u16,
    /// The peer's.
    pub remote_port: u16,
    /// 4 or 6. A peer of version 4 at a socket of version 6 is a mapped address of version 6.
    pub version: u8,
    /// [`ACTIVE`] or [`PASSIVE`].
    pub direction: u8,
    /// Always 0.
    pub padding: [u8; 2],
    /// Ours; version 4 in the first four bytes.
    pub local: [u8; 16],
    /// The peer's.
    pub remote: [u8; 16],
    /// Segments sent again since the connection began.
    pub retransmits: u64,
    /// First retransmit in the latest burst; 0 if there was none.
    pub burst_start_ns: u64,
    /// Last retransmit in it.
    pub burst_end_ns: u64,
    /// Segments in it.
    pub burst_segments: u64,
    /// When its round-trip time was last counted, in ticks of the kernel's clock.
    pub round_trip_tick: u64,
}

/// What connections with a peer have in common.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PeerKey {
    /// Inode of the network namespace.
    pub netns: u32,
    /// The process that has connected; 0 if it has accepted.
    pub tgid: u32,
    /// The port of the side that listens: ours if the process has accepted, else the peer's.
    pub port: u16,
    /// 4 or 6.
    pub version: u8,
    /// [`ACTIVE`] or [`PASSIVE`].
    pub direction: u8,
    /// Address of the peer.
    pub address: [u8; 16],
}

/// What was counted for a peer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Peer {
    /// When this entry was made. Another time means that the entry was thrown out in between and begun anew.
    pub since_ns: u64,
    /// Connections seen from their beginning.
    pub connections: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Calls of `connect` that came to nothing.
    pub connect_failures: u64,
    /// Connections that we have reset.
    pub resets_sent: u64,
    /// Connections that the peer has reset.
    pub resets_received: u64,
    /// Smoothed round-trip times, of each connection one at most in eight ticks of the kernel's clock (8 to 80 ms).
    pub round_trips: Histogram,
}
