//! Kafka's wire format by hand, as much as tests need to speak to a broker, or to misbehave, without a client library.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longest wait for a peer that should answer at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// `ApiKey` numbers that tests name.
pub mod api {
    #![expect(missing_docs, reason = "they are Kafka's names")]
    pub const PRODUCE: i16 = 0;
    pub const FETCH: i16 = 1;
    pub const LIST_OFFSETS: i16 = 2;
    pub const METADATA: i16 = 3;
    pub const API_VERSIONS: i16 = 18;
    pub const CREATE_TOPICS: i16 = 19;
    pub const DELETE_TOPICS: i16 = 20;
}

/// A frame in the making: big-endian fields, one after the other.
#[derive(Debug, Default, Clone)]
pub struct Body(Vec<u8>);

impl Body {
    /// A request with header v1, which has a client id and no tagged fields.
    #[must_use]
    pub fn request(key: i16, version: i16, correlation_id: i32, client_id: Option<&str>) -> Self {
        Self::default().i16(key).i16(version).i32(correlation_id).string(client_id)
    }

    /// Adds raw bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds an int8.
    #[must_use]
    pub fn i8(self, value: i8) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Adds an int16.
    #[must_use]
    pub fn i16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Adds an int32.
    #[must_use]
    pub fn i32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Adds an int64.
    #[must_use]
    pub fn i64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Adds a nullable string with an int16 length.
    #[must_use]
    pub fn string(self, value: Option<&str>) -> Self {
        match value {
            None => self.i16(-1),
            Some(value) => self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX)).raw(value.as_bytes()),
        }
    }

    /// The bytes so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes behind their length, as they go over the wire.
    #[must_use]
    pub fn frame(self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend_from_slice(&self.0);
        frame
    }
}

/// A record batch (magic 2) that holds `payload` as its records section.
#[must_use]
pub fn batch(codec: i16, records: i32, payload: &[u8]) -> Vec<u8> {
    let length = i32::try_from(49 + payload.len()).unwrap_or(i32::MAX);
    let timestamp = 1_700_000_000_000;
    let checked = Body::default().i16(codec).i32(records - 1).i64(timestamp).i64(timestamp);
    let checked = checked.i64(-1).i16(-1).i32(-1).i32(records).raw(payload);
    let checksum = crc32c::crc32c(checked.bytes()).to_be_bytes();
    Body::default().i64(0).i32(length).i32(-1).i8(2).raw(&checksum).raw(checked.bytes()).0
}

/// A Produce request v3 with one topic, its first partition and `batches`.
#[must_use]
pub fn produce(correlation_id: i32, client_id: Option<&str>, acks: i16, topic: &str, batches: &[u8]) -> Vec<u8> {
    produce_to(0, correlation_id, client_id, acks, topic, batches)
}

/// The same for another partition.
#[must_use]
pub fn produce_to(
    partition: i32,
    correlation_id: i32,
    client_id: Option<&str>,
    acks: i16,
    topic: &str,
    batches: &[u8],
) -> Vec<u8> {
    let length = i32::try_from(batches.len()).unwrap_or(i32::MAX);
    let request = Body::request(api::PRODUCE, 3, correlation_id, client_id);
    let request = request.string(None).i16(acks).i32(30_000).i32(1).string(Some(topic));
    request.i32(1).i32(partition).i32(length).raw(batches).frame()
}

/// A connection that sends and receives whole frames.
#[derive(Debug)]
pub struct Connection {
    /// For tests that leave the protocol.
    pub stream: TcpStream,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Connects to a port of this machine.
    pub fn local(port: u16) -> Result<Self> {
        Self::open((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Receives a frame, without its length; nothing at the end of the stream.
    pub fn receive(&mut self) -> Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        match self.stream.read(&mut length[..1])? {
            0 => return Ok(None),
            _ => self.stream.read_exact(&mut length[1..])?,
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).context("negative length")?];
        self.stream.read_exact(&mut frame)?;
        Ok(Some(frame))
    }

    /// Sends a frame and receives the next.
    pub fn exchange(&mut self, frame: &[u8]) -> Result<Vec<u8>> {
        self.send(frame)?;
        self.receive()?.context("the connection was closed instead of an answer")
    }
}

/// Takes fields off a frame.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("the frame is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    /// An int16.
    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    /// An int32.
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// A string with an int16 length; null is empty.
    pub fn string(&mut self) -> Result<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// An array of int32 elements.
    pub fn i32s(&mut self) -> Result<Vec<i32>> {
        let count = self.i32()?.max(0);
        (0..count).map(|_| self.i32()).collect()
    }
}

/// What a broker says of its cluster.
#[derive(Debug, Default)]
pub struct Metadata {
    /// Node id, host and port of each broker.
    pub brokers: Vec<(i32, String, u16)>,
    /// Node id of the controller, or of any broker in KRaft; -1 if there is none.
    pub controller: i32,
    /// Name, leaders by partition, and in-sync replicas by partition, of each topic asked for.
    pub topics: Vec<Topic>,
}

/// A topic in a [`Metadata`].
#[derive(Debug, Default)]
pub struct Topic {
    /// Kafka's error number.
    pub error: i16,
    /// Its name.
    pub name: String,
    /// Partition, leader (-1: none), in-sync replicas.
    pub partitions: Vec<(i32, i32, Vec<i32>)>,
}

/// Asks the broker at `address` for the brokers and `topics`, by Metadata v2.
pub fn metadata(address: SocketAddr, topics: &[&str]) -> Result<Metadata> {
    let mut request = Body::request(api::METADATA, 2, 1, Some("harness")).i32(i32::try_from(topics.len())?);
    for topic in topics {
        request = request.string(Some(topic));
    }
    let answer = Connection::open(address)?.exchange(&request.frame())?;
    let mut fields = Fields(&answer);
    fields.i32()?;
    let mut metadata = Metadata::default();
    for _ in 0..fields.i32()? {
        let broker = (fields.i32()?, fields.string()?, u16::try_from(fields.i32()?)?);
        fields.string()?;
        metadata.brokers.push(broker);
    }
    let _cluster = fields.string()?;
    metadata.controller = fields.i32()?;
    for _ in 0..fields.i32()? {
        let mut topic = Topic { error: fields.i16()?, name: fields.string()?, ..Topic::default() };
        fields.take(1)?;
        for _ in 0..fields.i32()? {
            fields.i16()?;
            let (partition, leader) = (fields.i32()?, fields.i32()?);
            fields.i32s()?;
            topic.partitions.push((partition, leader, fields.i32s()?));
        }
        metadata.topics.push(topic);
    }
    Ok(metadata)
}

/// Creates a topic by CreateTopics v2.
pub fn create_topic(address: SocketAddr, name: &str, partitions: i32, replicas: i16) -> Result<()> {
    let request = Body::request(api::CREATE_TOPICS, 2, 1, Some("harness")).i32(1).string(Some(name));
    let request = request.i32(partitions).i16(replicas).i32(0).i32(0).i32(30_000).i8(0);
    let answer = Connection::open(address)?.exchange(&request.frame())?;
    let mut fields = Fields(&answer);
    fields.take(4 + 4 + 4)?;
    fields.string()?;
    match fields.i16()? {
        0 => Ok(()),
        error => bail!("cannot create topic {name}: error {error} {}", fields.string()?),
    }
}

/// Whether the broker at `address` serves these partitions as their leader, by ListOffsets v1. It is named as leader by
/// Metadata before it does.
pub fn serves(address: SocketAddr, topic: &str, partitions: &[i32]) -> Result<bool> {
    const ANYBODY: i32 = -1;
    const NEWEST: i64 = -1;
    let mut request = Body::request(api::LIST_OFFSETS, 1, 1, Some("harness")).i32(ANYBODY).i32(1).string(Some(topic));
    request = request.i32(i32::try_from(partitions.len())?);
    for partition in partitions {
        request = request.i32(*partition).i64(NEWEST);
    }
    let answer = Connection::open(address)?.exchange(&request.frame())?;
    let mut fields = Fields(&answer);
    fields.i32()?;
    // Without a partition there is no topic in the answer.
    for _ in 0..fields.i32()? {
        fields.string()?;
        for _ in 0..fields.i32()? {
            let (_partition, error) = (fields.i32()?, fields.i16()?);
            if error != 0 {
                return Ok(false);
            }
            fields.take(8 + 8)?;
        }
    }
    Ok(true)
}

/// Deletes a topic by DeleteTopics v1.
pub fn delete_topic(address: SocketAddr, name: &str) -> Result<()> {
    let request = Body::request(api::DELETE_TOPICS, 1, 1, Some("harness")).i32(1).string(Some(name)).i32(30_000);
    let answer = Connection::open(address)?.exchange(&request.frame())?;
    let mut fields = Fields(&answer);
    fields.take(4 + 4 + 4)?;
    fields.string()?;
    match fields.i16()? {
        0 => Ok(()),
        error => bail!("cannot delete topic {name}: error {error}"),
    }
}
