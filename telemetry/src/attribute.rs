//! Attribute keys and values: what tells the series of a metric apart.
//!
//! Values that come from the network are interned by the [`Dictionary`](crate::Dictionary) before they get here, so a
//! value is a pointer, and its text is bounded.

use std::net::IpAddr;
use std::sync::Arc;

use crate::dictionary::{Broker, Client, Partition, Topic};
use crate::standing::Place;

/// Longest text of a value that comes from the network, in bytes.
pub(crate) const TEXT_LIMIT: usize = 128;

/// The value of a null or empty name.
pub(crate) const NONE: &str = "(none)";

/// What a value over a cap is folded into.
pub(crate) const OTHER: &str = "other";

/// The key of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// Client id.
    ClientId,
    /// The client's host.
    PeerAddress,
    /// The principal that a client has authenticated as. Goes along with the client id, in every metric that has that,
    /// where the operator wants it.
    UserName,
    /// `name/version` of a client, as it says of itself.
    ClientSoftware,
    /// `client` or `broker`: which of the two connections that make one through the proxy.
    Side,
    /// Topic.
    Topic,
    /// Cluster that a route stands before.
    Cluster,
    /// Host of the broker behind the proxy.
    ServerAddress,
    /// Its port.
    ServerPort,
    /// Its node id.
    BrokerId,
    /// API, consumers' and followers' fetches told apart.
    Api,
    /// Version of the API.
    ApiVersion,
    /// Kafka's name of an error; absent on success.
    Error,
    /// Why a fetch took its time.
    FetchWait,
    /// Part of a request's duration.
    Segment,
    /// Acknowledgement that a producer asks for.
    Acks,
    /// Compression of a batch.
    Codec,
    /// `in` from the client to the broker, `out` the other way.
    Direction,
    /// Why something happened.
    Reason,
    /// Which cap folded a value.
    Dimension,
    /// What was exported.
    Signal,
    /// What a process is to Kafka: `broker`, `zookeeper`, `proxy`, or the name of the rule that found it.
    ProcessRole,
    /// Name of a process that outlives its restarts.
    ProcessName,
    /// The container that a process runs in.
    ContainerId,
    /// Its pod.
    PodUid,
    /// The name of its pod, by the process's own environment.
    PodName,
    /// Process id, as the host counts.
    Pid,
    /// Partition of a topic.
    Partition,
    /// What a CPU did.
    CpuMode,
    /// What memory is used for.
    MemoryState,
    /// Whether swap space is used.
    PagingState,
    /// `in` from swap, `out` to it.
    PagingDirection,
    /// A network interface.
    Interface,
    /// `receive` or `transmit`.
    NetworkDirection,
    /// A block device.
    Device,
    /// Where a file system is mounted.
    MountPoint,
    /// What its space or inodes are used for.
    FilesystemState,
    /// `read` or `write`.
    DiskDirection,
    /// Who waits: `some` tasks or the `full` set of them.
    Pressure,
    /// What is waited for: `cpu`, `memory`, `io`.
    PressureResource,
    /// A garbage collector, as the JVM calls it.
    CollectorName,
    /// `heap` or `non_heap`.
    JvmMemoryType,
    /// A memory pool, as the JVM calls it.
    JvmMemoryPool,
    /// What happened to pages of the page cache.
    PageKind,
    /// What was asked of a disk or a file.
    Operation,
    /// A part of the probe that can work or fail by itself.
    Sampler,
    /// How a sampler reads.
    Method,
    /// A kernel program.
    Program,
    /// A map of the kernel programs.
    Map,
    /// Port of the other side.
    PeerPort,
    /// Address of our side.
    LocalAddress,
    /// Port of our side.
    LocalPort,
    /// The Community ID (version 1) of a connection's 4-tuple.
    CommunityId,
    /// Bytes that were asked for.
    Size,
    /// How many.
    Count,
    /// A consumer group.
    Group,
    /// How sure it is that a fetch is of that group.
    Attribution,
    /// Who saw it: `wire` or `admin`.
    Vantage,
    /// A consumer group, as the collector's kafkametrics receiver calls it.
    GroupShort,
    /// A topic, as that receiver calls it.
    TopicShort,
    /// A partition, as that receiver calls it.
    PartitionShort,
    /// Nanoseconds that a disk request waited before its issue.
    QueueTime,
}

impl Attribute {
    /// Its name in OTLP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientId => "messaging.client.id",
            Self::PeerAddress => "network.peer.address",
            Self::UserName => "user.name",
            Self::ClientSoftware => "kafkascope.client.software",
            Self::Side => "kafkascope.side",
            Self::Topic => "messaging.destination.name",
            Self::Cluster => "messaging.kafka.cluster.id",
            Self::ServerAddress => "server.address",
            Self::ServerPort => "server.port",
            Self::BrokerId => "kafkascope.broker.id",
            Self::Api => "kafka.api",
            Self::ApiVersion => "kafka.api.version",
            Self::Error => "error.type",
            Self::FetchWait => "kafkascope.fetch.wait",
            Self::Segment => "kafkascope.segment",
            Self::Acks => "kafkascope.acks",
            Self::Codec => "kafkascope.codec",
            Self::Direction => "direction",
            Self::Reason => "reason",
            Self::Dimension => "dimension",
            Self::Signal => "signal",
            Self::ProcessRole => "kafkascope.process.role",
            Self::ProcessName => "kafkascope.process.name",
            Self::ContainerId => "container.id",
            Self::PodUid => "k8s.pod.uid",
            Self::PodName => "k8s.pod.name",
            Self::Pid => "process.pid",
            Self::Partition => "messaging.destination.partition.id",
            Self::CpuMode => "cpu.mode",
            Self::MemoryState => "system.memory.state",
            Self::PagingState => "system.paging.state",
            Self::PagingDirection => "system.paging.direction",
            Self::Interface => "network.interface.name",
            Self::NetworkDirection => "network.io.direction",
            Self::Device => "system.device",
            Self::MountPoint => "system.filesystem.mountpoint",
            Self::FilesystemState => "system.filesystem.state",
            Self::DiskDirection => "disk.io.direction",
            Self::Pressure => "kafkascope.pressure",
            Self::PressureResource => "kafkascope.pressure.resource",
            Self::CollectorName => "jvm.gc.name",
            Self::JvmMemoryType => "jvm.memory.type",
            Self::JvmMemoryPool => "jvm.memory.pool.name",
            Self::PageKind => "kind",
            Self::Operation => "kafkascope.operation",
            Self::Sampler => "kafkascope.sampler",
            Self::Method => "kafkascope.method",
            Self::Program => "kafkascope.program",
            Self::Map => "kafkascope.map",
            Self::PeerPort => "network.peer.port",
            Self::LocalAddress => "network.local.address",
            Self::LocalPort => "network.local.port",
            Self::CommunityId => "network.community_id",
            Self::Size => "kafkascope.size",
            Self::Count => "kafkascope.count",
            Self::Group => "messaging.consumer.group.name",
            Self::Attribution => "kafkascope.group.attribution",
            Self::Vantage => "kafkascope.vantage",
            Self::GroupShort => "group",
            Self::TopicShort => "topic",
            Self::PartitionShort => "partition",
            Self::QueueTime => "kafkascope.queue.duration_ns",
        }
    }
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub enum Value {
    /// One of a closed set.
    Static(&'static str),
    /// A number.
    Integer(i64),
    /// A name that was interned.
    Text(Arc<str>),
    /// The id of a client.
    ClientId(Arc<Client>),
    /// The address of a client.
    PeerAddress(Arc<Client>),
    /// Host of a broker.
    ServerAddress(Arc<Broker>),
    /// A partition.
    Partition(Arc<Partition>),
    /// A topic whose label stands.
    Topic(Arc<Topic>),
    /// A topic that is only known by its id yet.
    AwaitedTopic(Arc<Topic>),
}

impl Value {
    /// A name from outside, bounded, with replacement characters for what is not UTF-8.
    #[must_use]
    pub fn name(bytes: &[u8]) -> Self {
        Self::Text(text(Some(bytes)).into())
    }

    /// What is exported.
    #[must_use]
    pub fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Static(text) => Scalar::Text(text),
            Self::Integer(number) => Scalar::Integer(*number),
            Self::Text(text) => Scalar::Text(text),
            Self::ClientId(client) => Scalar::Text(client.id()),
            Self::PeerAddress(client) => Scalar::Text(client.address()),
            Self::ServerAddress(broker) => Scalar::Text(broker.address()),
            Self::Partition(partition) => Scalar::Text(partition.label()),
            Self::Topic(topic) | Self::AwaitedTopic(topic) => Scalar::Text(topic.label()),
        }
    }

    /// A topic, as far as its name is known at this moment.
    pub(crate) fn topic(topic: &Arc<Topic>) -> Self {
        if topic.is_settled() {
            Self::Topic(topic.successor().unwrap_or(topic).clone())
        } else {
            Self::AwaitedTopic(topic.clone())
        }
    }

    /// Where it is decided whether the value has series of its own.
    pub(crate) fn place(&self) -> Option<&Arc<Place>> {
        match self {
            Self::ClientId(client) | Self::PeerAddress(client) => Some(client.place()),
            Self::Partition(partition) => Some(partition.place()),
            Self::Topic(topic) | Self::AwaitedTopic(topic) => Some(topic.place()),
            _ => None,
        }
    }

    /// The topic, when its name was not known.
    pub(crate) fn awaited(&self) -> Option<&Arc<Topic>> {
        match self {
            Self::AwaitedTopic(topic) => Some(topic),
            _ => None,
        }
    }
}

/// A value as it is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar<'a> {
    /// Text.
    Text(&'a str),
    /// A number.
    Integer(i64),
}

impl std::fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
        }
    }
}

/// A name from the wire as text: `(none)` when null or empty, else UTF-8 with replacement characters, at most
/// [`TEXT_LIMIT`] bytes.
pub(crate) fn text(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return NONE.to_owned() };
    // Whatever the input holds, its head fills the limit; the three bytes more keep the last character whole.
    let head = bytes.get(..TEXT_LIMIT + 3).unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(head).into_owned();
    let mut end = text.len().min(TEXT_LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// An address as text; an IPv4 client of an IPv6 socket keeps its IPv4 address.
pub(crate) fn address(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_names_are_the_value_none() {
        assert_eq!(text(None), "(none)");
        assert_eq!(text(Some(b"")), "(none)");
    }

    #[test]
    fn names_that_are_not_utf8_are_replaced_and_bounded() {
        assert_eq!(text(Some(b"a\xffb")), "a\u{fffd}b");
        assert!(text(Some(&[0xff; 4096])).len() <= TEXT_LIMIT);
        assert_eq!(text(Some("é".repeat(100).as_bytes())).len(), TEXT_LIMIT);
        assert_eq!(text(Some("aé".repeat(100).as_bytes())), "aé".repeat(42) + "a");
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_has_its_ipv4_address() {
        assert_eq!(address("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1");
        assert_eq!(address("2001:db8::1".parse().unwrap()), "2001:db8::1");
    }
}
