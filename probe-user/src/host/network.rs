//! Network of the host: bytes, packets, drops and errors by interface, and TCP's counters of a namespace.
//!
//! The host's namespace is that of process 1, whichever the probe itself is in.

use std::collections::BTreeMap;
use std::io;

use crate::roots::{self, FIGURES_LIMIT, Pid, Roots};

/// The process that is in the host's own namespaces.
const INIT: Pid = Pid(1);

/// More interfaces than this are not told apart: containers come and go with one each.
const INTERFACES_LIMIT: usize = 4096;

/// One direction of an interface, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes, with the headers of the link.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Errors.
    pub errors: u64,
    /// Dropped for want of room.
    pub dropped: u64,
}

/// An interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interface {
    /// Received.
    pub received: Traffic,
    /// Sent.
    pub sent: Traffic,
}

/// TCP in one network namespace, since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Segments sent, without those sent again.
    pub segments_sent: u64,
    /// Segments sent again (`RetransSegs`).
    pub retransmitted: u64,
    /// Resets sent.
    pub resets_sent: u64,
    /// Connections that failed before they were open.
    pub attempts_failed: u64,
    /// Connections that an open listener had no room for.
    pub listen_overflows: u64,
    /// Those, and others that a listener dropped.
    pub listen_drops: u64,
}

/// Interfaces of the namespace that a process is in, by name; of the host's without one.
pub fn interfaces(roots: &Roots, pid: Option<Pid>) -> io::Result<BTreeMap<String, Interface>> {
    Ok(parse_interfaces(&roots.read_of(pid.unwrap_or(INIT), "net/dev")?))
}

/// TCP's counters of the namespace that a process is in; of the host's without one.
pub fn tcp(roots: &Roots, pid: Option<Pid>) -> io::Result<Tcp> {
    let folder = roots.process(pid.unwrap_or(INIT)).join("net");
    let basic = roots::read(&folder.join("snmp"), FIGURES_LIMIT)?;
    let extended = roots::read(&folder.join("netstat"), FIGURES_LIMIT)?;
    let basic = |name: &str| counter(&basic, "Tcp:", name).unwrap_or_default();
    let extended = |name: &str| counter(&extended, "TcpExt:", name).unwrap_or_default();
    Ok(Tcp {
        segments_sent: basic("OutSegs"),
        retransmitted: basic("RetransSegs"),
        resets_sent: basic("OutRsts"),
        attempts_failed: basic("AttemptFails"),
        listen_overflows: extended("ListenOverflows"),
        listen_drops: extended("ListenDrops"),
    })
}

/// Two lines of titles, then `name: bytes packets errs drop fifo frame compressed multicast`, and the same of what was
/// sent.
fn parse_interfaces(text: &[u8]) -> BTreeMap<String, Interface> {
    let interface = |line: &[u8]| {
        // A name may have a colon in it, of an old alias.
        let colon = line.iter().rposition(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(line.get(..colon)?.trim_ascii()).into_owned();
        let numbers: Vec<u64> = roots::fields(line.get(colon + 1..)?).map_while(roots::decimal).collect();
        let [received @ .., _, _, _, _, _, _, _, _] = numbers.as_slice() else { return None };
        let sent = numbers.get(8..)?;
        Some((name, Interface { received: traffic(received)?, sent: traffic(sent)? }))
    };
    roots::lines(text).filter_map(interface).take(INTERFACES_LIMIT).collect()
}

fn traffic(numbers: &[u64]) -> Option<Traffic> {
    let [bytes, packets, errors, dropped, ..] = *numbers else { return None };
    Some(Traffic { bytes, packets, errors, dropped })
}

/// A line of names is followed by one of numbers, both begin with the protocol.
fn counter(text: &[u8], protocol: &str, name: &str) -> Option<u64> {
    let mut lines = roots::lines(text).filter(|line| roots::fields(line).next() == Some(protocol.as_bytes()));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let mut pairs = roots::fields(names).zip(roots::fields(numbers));
    pairs.find_map(|(found, number)| (found == name.as_bytes()).then(|| roots::decimal(number))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn interfaces_are_read_by_direction() {
        let text = b"Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes \
                     packets\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth0:1 1 1 1 1 1 1 1 2 2 2 2 2 2 2 2\nx: 1 2\n";
        let interfaces = parse_interfaces(text);
        assert_eq!(interfaces.len(), 2);
        let lo = interfaces["lo"];
        assert_eq!(lo.received, Traffic { bytes: 1, packets: 2, errors: 3, dropped: 4 });
        assert_eq!(lo.sent, Traffic { bytes: 9, packets: 10, errors: 11, dropped: 12 });
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = b"Ip: A B\nIp: 1 2\nTcp: MaxConn OutSegs RetransSegs\nTcp: -1 7 3\nUdp: OutSegs\nUdp: 9\n";
        assert_eq!(counter(text, "Tcp:", "RetransSegs"), Some(3));
        assert_eq!(counter(text, "Tcp:", "MaxConn"), None);
        assert_eq!(counter(text, "Tcp:", "None"), None);
    }

    #[test]
    fn this_machine_has_a_loopback_and_sends_segments() {
        let roots = Roots::default();
        if let Ok(interfaces) = interfaces(&roots, None) {
            assert!(interfaces.contains_key("lo"));
        }
        assert!(tcp(&roots, Some(Pid(std::process::id()))).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(text: Vec<u8>, line in "[a-z0-9]{0,5}:( [0-9]{0,25}){0,20}") {
            parse_interfaces(&text);
            parse_interfaces(line.as_bytes());
            counter(&text, "Tcp:", "x");
        }
    }
}
