//! What the kernel says of TCP sockets when asked (sock_diag, without kernel programs): for connections that are older
//! than the probe, and for what listeners have dropped.
//!
//! A connection is counted by one source only: those that the programs follow from their beginning, by cookie, are left
//! out by [`Older`].

mod message;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use message::{Answer, parse};

/// A dump comes in pieces of at most this (NLMSG_GOODSIZE and then some).
const PIECE: usize = 1 << 15;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The network namespace cannot be entered.
    #[error("network namespace: {0}")]
    Namespace(#[source] io::Error),
    /// There is no such socket family, or no answer.
    #[error("sock_diag: {0}")]
    Netlink(#[from] rustix::io::Errno),
    /// The kernel refuses.
    #[error("sock_diag: the kernel answers with error {0}")]
    Refused(i32),
    /// The answer makes no sense.
    #[error("sock_diag: an answer was not understood")]
    Malformed,
}

/// A TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSocket {
    /// Its number, unique while the machine runs.
    pub cookie: u64,
    /// Our end.
    pub local: (IpAddr, u16),
    /// The peer's.
    pub remote: (IpAddr, u16),
    /// TCP_ESTABLISHED is 1, TCP_LISTEN 10 (include/net/tcp_states.h).
    pub state: u8,
    /// As /proc/PID/fd shows it; 0 if no process has it any more.
    pub inode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// Bytes not read yet; of a listener, connections that wait to be accepted.
    pub receive_queue: u32,
    /// Bytes not acknowledged yet; of a listener, how many may wait.
    pub send_queue: u32,
    /// Packets that it dropped; of a listener, connections that found the queue full.
    pub drops: u32,
    /// What TCP knows of the connection.
    pub tcp: Option<TcpFigures>,
}

/// From `struct tcp_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFigures {
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// Its variation.
    pub rtt_variation_us: u32,
    /// Segments sent again since the connection began.
    pub total_retransmits: u32,
    /// Segments on their way.
    pub unacknowledged: u32,
    /// Congestion window in segments.
    pub congestion_window: u32,
}

/// Listening sockets, for [`SockDiag::sockets`].
pub const LISTENING: u32 = 1 << 10;
/// Connections: established and closing ones, but not TIME_WAIT, which has no socket.
pub const CONNECTED: u32 = (1 << 1) | (1 << 4) | (1 << 5) | (1 << 8) | (1 << 9) | (1 << 11);

/// A socket to ask by. It belongs to one network namespace.
#[derive(Debug)]
pub struct SockDiag {
    netlink: OwnedFd,
    sequence: u32,
}

impl SockDiag {
    /// For the network namespace of this thread.
    ///
    /// # Errors
    /// When the kernel has no sock_diag.
    pub fn open() -> Result<Self, DiagError> {
        let netlink = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
        Ok(Self { netlink, sequence: 0 })
    }

    /// For another network namespace, such as `/proc/PID/ns/net`. Only a short-lived thread enters it.
    ///
    /// # Errors
    /// When it is gone, or may not be entered (CAP_SYS_ADMIN).
    pub fn open_in(namespace: &Path) -> Result<Self, DiagError> {
        let namespace = File::open(namespace).map_err(DiagError::Namespace)?;
        let entered = thread::scope(|scope| {
            let opener = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|error| DiagError::Namespace(error.into()))?;
                Self::open()
            });
            opener.join()
        });
        entered.unwrap_or_else(|_panic| Err(DiagError::Namespace(io::Error::other("the thread failed"))))
    }

    /// Sockets of both versions in `states` (a bit for each), of one local port or of all.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn sockets(&mut self, states: u32, local_port: Option<u16>) -> Result<Vec<TcpSocket>, DiagError> {
        let mut found = Vec::new();
        for family in [message::AF_INET, message::AF_INET6] {
            self.sequence = self.sequence.wrapping_add(1);
            let request = message::request(self.sequence, family, states, local_port.unwrap_or(0));
            sendto(&self.netlink, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
            self.receive(&mut found)?;
        }
        Ok(found)
    }

    fn receive(&self, found: &mut Vec<TcpSocket>) -> Result<(), DiagError> {
        let mut piece = vec![0; PIECE];
        loop {
            let (length, _) = recv(&self.netlink, piece.as_mut_slice(), RecvFlags::empty())?;
            let mut rest = piece.get(..length).ok_or(DiagError::Malformed)?;
            while !rest.is_empty() {
                let (sequence, answer, after) = parse(rest).ok_or(DiagError::Malformed)?;
                rest = after;
                match answer {
                    // Left over from a question that was given up.
                    _ if sequence != self.sequence => {}
                    Answer::Socket(socket) => found.push(socket),
                    Answer::Done => return Ok(()),
                    Answer::Error(number) => return Err(DiagError::Refused(number)),
                    Answer::Other => {}
                }
            }
        }
    }
}

/// Connections that the programs do not follow, between one look and the next. One for each port of a namespace.
#[derive(Debug, Default)]
pub struct Older {
    retransmits: Option<HashMap<u64, u32>>,
}

impl Older {
    /// The connections among `sockets` that are not `followed`, and how many segments each has sent again since the last
    /// look. The first look is what later ones are compared with; a connection that was not there at the last look
    /// has begun since.
    ///
    /// `followed` has to hold the cookies from before *and* after `sockets` was asked for, or a connection that
    /// begins or ends in between would be counted by both sources.
    pub fn advance(&mut self, sockets: &[TcpSocket], followed: &HashSet<u64>) -> Vec<(TcpSocket, u32)> {
        let before = self.retransmits.take();
        let mut now = HashMap::new();
        let mut grown = Vec::new();
        for socket in sockets.iter().filter(|socket| !followed.contains(&socket.cookie)) {
            let Some(tcp) = &socket.tcp else { continue };
            let total = tcp.total_retransmits;
            let growth = before
                .as_ref()
                .map_or(0, |before| total.wrapping_sub(before.get(&socket.cookie).copied().unwrap_or(0)));
            now.insert(socket.cookie, total);
            grown.push((*socket, growth));
        }
        self.retransmits = Some(now);
        grown
    }
}

fn v4(bytes: [u8; 4]) -> IpAddr {
    Ipv4Addr::from(bytes).into()
}

fn v6(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn finds_connections_and_listeners_of_both_versions() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let to = if address.starts_with("127") { "127.0.0.1" } else { "::1" };
            let mut client = TcpStream::connect((to, port)).unwrap();
            let (mut accepted, peer) = listener.accept().unwrap();
            client.write_all(b"hello").unwrap();
            accepted.read_exact(&mut [0; 5]).unwrap();
            let waiting = TcpStream::connect((to, port)).unwrap();

            let mut diag = SockDiag::open().unwrap();
            let connected = diag.sockets(CONNECTED, Some(port)).unwrap();
            let found = connected.iter().find(|socket| socket.remote.1 == peer.port()).unwrap();
            assert_eq!(found.remote.0, peer.ip().to_canonical());
            assert_eq!(found.local, (client.peer_addr().unwrap().ip(), port));
            assert!(found.inode > 0 && found.cookie > 0);
            assert!(found.tcp.unwrap().rtt_us > 0, "{found:?}");
            let listening = diag.sockets(LISTENING, Some(port)).unwrap();
            assert_eq!(listening.len(), 1, "{listening:?}");
            assert_eq!((listening[0].receive_queue, listening[0].drops), (1, 0), "one waits to be accepted");
            assert!(listening[0].send_queue > 0);
            drop(waiting);
        }
    }

    #[test]
    fn finds_sockets_of_another_namespace_by_its_path() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        match SockDiag::open_in(Path::new("/proc/self/ns/net")) {
            Ok(mut diag) => assert_eq!(diag.sockets(LISTENING, Some(port)).unwrap().len(), 1),
            // Needs CAP_SYS_ADMIN even for one's own.
            Err(error) => assert!(matches!(error, DiagError::Namespace(_)), "{error}"),
        }
    }

    #[test]
    fn a_connection_is_counted_by_one_source() {
        let socket = |cookie, total_retransmits| TcpSocket {
            cookie,
            local: (v4([127, 0, 0, 1]), 1),
            remote: (v4([127, 0, 0, 1]), 2),
            state: 1,
            inode: 1,
            uid: 0,
            receive_queue: 0,
            send_queue: 0,
            drops: 0,
            tcp: Some(TcpFigures { total_retransmits, ..TcpFigures::default() }),
        };
        let growth = |older: &mut Older, sockets: &[TcpSocket], followed: &[u64]| -> Vec<(u64, u32)> {
            let followed = followed.iter().copied().collect();
            older.advance(sockets, &followed).iter().map(|(socket, growth)| (socket.cookie, *growth)).collect()
        };
        let mut older = Older::default();
        assert_eq!(growth(&mut older, &[socket(1, 5)], &[]), [(1, 0)], "from before the probe");
        let sockets = [socket(1, 7), socket(2, 3), socket(3, 4)];
        assert_eq!(growth(&mut older, &sockets, &[2]), [(1, 2), (3, 4)], "2 is followed by the programs");
        assert_eq!(growth(&mut older, &[socket(3, 4)], &[2]), [(3, 0)]);
    }
}
