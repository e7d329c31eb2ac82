//! Community ID, version 1: one name for a connection, whoever saw it and from whichever side, by the specification at
//! <https://github.com/corelight/community-id-spec>.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The specification's default seed, which all tools have that are not told another.
const SEED: u16 = 0;

/// IANA's number of TCP.
const TCP: u8 = 6;

/// The Community ID of the TCP connection between two sockets, in whichever order.
#[must_use]
pub fn community_id(one: SocketAddr, other: SocketAddr) -> String {
    let (one, other) = (canonical(one), canonical(other));
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let mut hash = Sha1::new();
    hash.update(SEED.to_be_bytes());
    hash.update(octets(low.0));
    hash.update(octets(high.0));
    hash.update([TCP, 0]);
    hash.update(low.1.to_be_bytes());
    hash.update(high.1.to_be_bytes());
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

/// An IPv4 connection of an IPv6 socket is one of IPv4 on the wire.
fn canonical(socket: SocketAddr) -> (IpAddr, u16) {
    (socket.ip().to_canonical(), socket.port())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(one: &str, other: &str) -> String {
        community_id(one.parse().expect("a socket"), other.parse().expect("a socket"))
    }

    #[test]
    fn equals_the_baseline_of_the_specification() {
        let expected = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
        assert_eq!(id("128.232.110.120:34855", "66.35.250.204:80"), expected);
        assert_eq!(id("66.35.250.204:80", "[::ffff:128.232.110.120]:34855"), expected);
    }

    #[test]
    fn both_sides_and_both_families_give_one_name() {
        let (one, other) = ("[2001:db8::1]:9092", "[2001:db8::2]:40000");
        assert_eq!(id(one, other), id(other, one));
        assert_ne!(id(one, other), id(one, "[2001:db8::2]:40001"));
    }
}
