//! What the kernel knows of a TCP connection.

use std::os::fd::{AsFd, AsRawFd};

use uapi::c::{IPPROTO_TCP, TCP_INFO};
use uapi::getsockopt;

/// From `struct tcp_info` (include/uapi/linux/tcp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpInfo {
    /// Smoothed round-trip time in microseconds; 0 before anything was measured.
    pub rtt_us: u32,
    /// Segments sent again since the connection began.
    pub total_retransmits: u32,
    /// Bytes that the peer has acknowledged.
    pub bytes_acknowledged: u64,
    /// Bytes a second that were delivered when last measured; 0 before that, and on kernels before 4.9.
    pub delivery_rate: u64,
}

/// Where `tcpi_rtt` stands.
const RTT: usize = 68;
/// Where `tcpi_total_retrans` stands.
const TOTAL_RETRANSMITS: usize = 100;
/// Where `tcpi_bytes_acked` stands.
const BYTES_ACKNOWLEDGED: usize = 120;
/// Where `tcpi_delivery_rate` stands.
const DELIVERY_RATE: usize = 160;

/// Up to the last field that is of interest. The kernel writes less when it knows less.
const LENGTH: usize = DELIVERY_RATE + 8;

/// What the kernel knows of `socket`; nothing if that is none of TCP.
pub fn tcp_info(socket: impl AsFd) -> Option<TcpInfo> {
    let mut bytes = [0_u8; LENGTH];
    getsockopt(socket.as_fd().as_raw_fd(), IPPROTO_TCP, TCP_INFO, &mut bytes).ok()?;
    Some(TcpInfo {
        rtt_us: u32::from_ne_bytes(field(&bytes, RTT)),
        total_retransmits: u32::from_ne_bytes(field(&bytes, TOTAL_RETRANSMITS)),
        bytes_acknowledged: u64::from_ne_bytes(field(&bytes, BYTES_ACKNOWLEDGED)),
        delivery_rate: u64::from_ne_bytes(field(&bytes, DELIVERY_RATE)),
    })
}

/// Zeros where the kernel wrote nothing.
fn field<const SIZE: usize>(bytes: &[u8], at: usize) -> [u8; SIZE] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; SIZE])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_kernel_tells_what_was_acknowledged_and_how_long_it_took() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        for _ in 0..10 {
            client.write_all(&[0; 1000]).unwrap();
            accepted.read_exact(&mut [0; 1000]).unwrap();
            // The answer brings the acknowledgement.
            accepted.write_all(&[0]).unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        let info = tcp_info(&client).unwrap();
        // The SYN counts as one byte.
        assert_eq!(info.bytes_acknowledged, 10_001);
        assert!((1..1_000_000).contains(&info.rtt_us), "{info:?}");
        assert!(info.delivery_rate > 1_000, "{info:?}");
        assert_eq!(info.total_retransmits, 0);
    }

    #[test]
    fn a_socket_without_tcp_has_nothing_to_tell() {
        assert_eq!(tcp_info(UnixStream::pair().unwrap().0), None);
    }
}
