//! TCP of the processes that are watched, by local port and peer.

use kafkascope_probe_ebpf::{ACTIVE, Peer, PeerKey};
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Attribute, AttributeValue as Value, Event, Readings, community_id};

use super::disk::histogram;
use super::known::{Known, Watched};
use super::labels::Attributes;
use super::spans::Spans;
use crate::clock;
use crate::kernel::{self, Connection, Growth, Reading};

/// How sockets are followed that began after the probe.
pub(crate) const BY_EVENTS: &str = "sock_ops";
/// How the others are.
pub(crate) const BY_POLLING: &str = "sock_diag";

/// Totals by peer.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    peers: Growth<PeerKey, Peer>,
}

impl Tcp {
    /// What has changed. How many peers the kernel had forgotten before that could be said of them.
    pub(crate) fn report(&mut self, reading: &Reading, known: &Known<'_>, readings: &mut Readings) -> u64 {
        let peers = reading.peers.iter().map(|(key, peer)| (*key, peer.since_ns, *peer));
        for (key, grown) in self.peers.advance(peers) {
            let owner =
                if key.direction == ACTIVE { known.process(key.tgid) } else { known.listener(key.netns, key.port) };
            let Some(owner) = owner else { continue };
            let address = kernel::address(key.version, key.address);
            let mut attributes = of_peer(owner, key.port, readings.dictionary().peer(address));
            attributes.push((Attribute::Method, Value::Static(BY_EVENTS)));
            readings.more(Metric::TcpRetransmits, &attributes, grown.retransmits);
            readings.values(Metric::TcpRtt, &attributes, histogram(&grown.round_trips));
            readings.more(Metric::TcpConnectFailures, &attributes, grown.connect_failures);
            for (direction, resets) in [("transmit", grown.resets_sent), ("receive", grown.resets_received)] {
                attributes.push((Attribute::NetworkDirection, Value::Static(direction)));
                readings.more(Metric::TcpResets, &attributes, resets);
                attributes.pop();
            }
        }
        self.peers.unseen(reading.peers_made)
    }

    /// A span of a burst of retransmits.
    pub(crate) fn event(event: &kernel::Event, known: &Known<'_>, readings: &mut Readings, spans: &mut Spans) {
        let kernel::Event::Retransmits { connection, segments, start_ns, duration_ns } = event else { return };
        let Some((owner, port)) = owner(connection, known) else { return };
        let (local, remote) = (connection.local, connection.remote);
        let mut attributes = of_peer(owner, port, Value::name(remote.0.to_string().as_bytes()));
        attributes.extend([
            (Attribute::PeerPort, Value::Integer(remote.1.into())),
            (Attribute::LocalAddress, Value::name(local.0.to_string().as_bytes())),
            (Attribute::LocalPort, Value::Integer(local.1.into())),
            (Attribute::CommunityId, Value::name(community_id(local.into(), remote.into()).as_bytes())),
            (Attribute::Count, Value::Integer(super::signed(*segments))),
        ]);
        let (start, end) = clock::span_of_monotonic(*start_ns, start_ns + duration_ns);
        spans.push(readings, Event { name: format!("retransmits {}", remote.0), start, end, attributes });
    }
}

/// Whose a connection is, and the port of the side that listens.
fn owner<'a>(connection: &Connection, known: &'a Known<'_>) -> Option<(&'a Watched, u16)> {
    if connection.is_accepted {
        let port = connection.local.1;
        Some((known.listener(connection.netns, port)?, port))
    } else {
        Some((known.process(connection.tgid)?, connection.remote.1))
    }
}

/// Of a process, the port of the side that listens, and the peer.
pub(crate) fn of_peer(process: &Watched, port: u16, peer: Value) -> Attributes {
    let mut attributes = process.attributes.clone();
    attributes.push((Attribute::ServerPort, Value::Integer(port.into())));
    attributes.push((Attribute::PeerAddress, peer));
    attributes
}
