//! Messages of sock_diag: include/uapi/linux/netlink.h, inet_diag.h, tcp.h.
//!
//! They come from the kernel of this machine, in its byte order, but ports and addresses as they are on the wire.

use super::{TcpFigures, TcpSocket, v4, v6};

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
const REQUEST: usize = 56;

const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
/// Where inet_diag_msg ends and attributes begin.
const DIAG: usize = 72;
/// SK_MEMINFO_DROPS
const DROPS: usize = 8;

/// What the kernel says.
pub(super) enum Answer {
    Socket(TcpSocket),
    Done,
    Error(i32),
    Other,
}

/// Asks for all sockets of a family; port 0 is any.
pub(super) fn request(sequence: u32, family: u8, states: u32, local_port: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + REQUEST);
    message.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    let wanted = (1 << (INET_DIAG_INFO - 1)) | (1 << (INET_DIAG_SKMEMINFO - 1));
    message.extend([family, IPPROTO_TCP, wanted, 0]);
    message.extend(states.to_ne_bytes());
    message.extend(local_port.to_be_bytes());
    // No peer, addresses, interface.
    message.extend([0; 2 + 16 + 16 + 4]);
    // INET_DIAG_NOCOOKIE
    message.extend([0xff; 8]);
    message
}

/// One message: its sequence number, what it says, and what follows it.
pub(super) fn parse(bytes: &[u8]) -> Option<(u32, Answer, &[u8])> {
    let length = word(bytes, 0)? as usize;
    let message = bytes.get(..length)?;
    let body = message.get(HEADER..)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    let answer = match half(message, 4)? {
        NLMSG_DONE => Answer::Done,
        // 0 would be an acknowledgement, which was not asked for.
        NLMSG_ERROR => Answer::Error(-(word(body, 0)? as i32)),
        SOCK_DIAG_BY_FAMILY => Answer::Socket(socket(body)?),
        _ => Answer::Other,
    };
    Some((word(message, 8)?, answer, after))
}

fn socket(body: &[u8]) -> Option<TcpSocket> {
    let family = *body.first()?;
    let port = |at| Some(u16::from_be_bytes(array(body, at)?));
    let address = |at| Some(if family == AF_INET { v4(array(body, at)?) } else { v6(array(body, at)?) });
    let mut socket = TcpSocket {
        cookie: u64::from(word(body, 44)?) | u64::from(word(body, 48)?) << 32,
        local: (address(8)?, port(4)?),
        remote: (address(24)?, port(6)?),
        state: *body.get(1)?,
        receive_queue: word(body, 56)?,
        send_queue: word(body, 60)?,
        uid: word(body, 64)?,
        inode: word(body, 68)?,
        drops: 0,
        tcp: None,
    };
    let mut rest = body.get(DIAG..)?;
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let value = rest.get(4..usize::from(length))?;
        match kind {
            INET_DIAG_INFO => socket.tcp = figures(value),
            INET_DIAG_SKMEMINFO => socket.drops = word(value, 4 * DROPS).unwrap_or(0),
            _ => {}
        }
        rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    Some(socket)
}

/// From `struct tcp_info`, which only ever grows at its end.
fn figures(info: &[u8]) -> Option<TcpFigures> {
    Some(TcpFigures {
        unacknowledged: word(info, 24)?,
        rtt_us: word(info, 68)?,
        rtt_variation_us: word(info, 72)?,
        congestion_window: word(info, 80)?,
        total_retransmits: word(info, 100)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(array(bytes, at)?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(array(bytes, at)?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_every_prefix_of_a_message() {
        let mut message = request(1, AF_INET, 1, 80);
        message.truncate(HEADER);
        message.extend([0; DIAG]);
        let length = message.len() as u32;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        for end in 0..message.len() {
            assert!(parse(&message[..end]).is_none(), "{end}");
        }
        assert!(matches!(parse(&message), Some((1, Answer::Socket(_), []))));
    }
}
