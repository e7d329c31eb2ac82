//! Metadata responses, versions 0 to 13. Source: `MetadataResponse.json`.
//!
//! Left out: racks, authorized operations, and the controller (which is a random broker's id in KRaft).

use crate::{
    Broker, ErrorCode, NodeIds, Observation, PartitionMetadata, Sink, TopicId, TopicMetadata,
    body::Context,
    reader::{Read, Reader, Tags},
};

/// First version with racks, a controller and a mark of internal topics.
const CONTROLLER: i16 = 1;
/// First version with the cluster id.
const CLUSTER_ID: i16 = 2;
/// First version with a throttle time.
const THROTTLE: i16 = 3;
/// First version with offline replicas.
const OFFLINE: i16 = 5;
/// First version with the leader epoch.
const LEADER_EPOCH: i16 = 7;
/// First version with authorized operations.
const OPERATIONS: i16 = 8;
/// Last version with the authorized operations of the cluster.
const CLUSTER_OPERATIONS_END: i16 = 10;
/// First version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 9;
/// First version with topic ids (KIP-516).
const TOPIC_IDS: i16 = 10;
/// First version with an error of the whole response.
const ERROR: i16 = 13;

/// Which element comes next. Lists of tagged fields, which know themselves where they are, come behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    Head,
    Broker,
    BrokerEnd,
    Cluster,
    Topic,
    Partition,
    PartitionEnd,
    Operations,
    TopicEnd,
    Error,
    End,
}

/// The walk over a Metadata response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metadata {
    version: i16,
    flexible: bool,
    state: State,
    tags: Tags,
    brokers: u32,
    topics: u32,
    partitions: u32,
    has_name: bool,
    id: Option<TopicId>,
}

impl Metadata {
    pub(crate) fn new(version: i16) -> Self {
        Self {
            version,
            flexible: version >= FLEXIBLE,
            state: State::Head,
            tags: Tags::new(),
            brokers: 0,
            topics: 0,
            partitions: 0,
            has_name: false,
            id: None,
        }
    }

    #[inline(never)]
    pub(crate) fn walk<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        reader.with_copy(|copy| self.walk_on(copy, context))
    }

    #[inline(always)]
    fn walk_on<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if self.state == State::Head {
            let throttle_ms = if self.version >= THROTTLE { Some(reader.i32()) } else { None };
            self.brokers = reader.count(self.flexible);
            reader.commit()?;
            context.entry.exchange.throttle_ms = throttle_ms;
            self.state = State::Broker;
        }
        while self.state < State::Cluster {
            if self.state == State::Broker {
                let Some(left) = self.brokers.checked_sub(1) else {
                    self.state = State::Cluster;
                    break;
                };
                self.broker(reader, context)?;
                self.brokers = left;
                self.state = State::BrokerEnd;
            }
            self.skip_tags(reader)?;
            self.state = State::Broker;
        }
        if self.state == State::Cluster {
            self.cluster(reader, context)?;
            self.state = State::Topic;
        }
        while self.state < State::Error {
            if self.state == State::Topic {
                let Some(left) = self.topics.checked_sub(1) else {
                    self.state = State::Error;
                    break;
                };
                self.topic(reader, context)?;
                self.topics = left;
                self.state = State::Partition;
            }
            self.partitions(reader, context)?;
            self.skip_tags(reader)?;
            self.state = State::Topic;
        }
        if self.state == State::Error {
            if (OPERATIONS..=CLUSTER_OPERATIONS_END).contains(&self.version) {
                reader.i32();
            }
            let error = if self.version >= ERROR { ErrorCode(reader.i16()) } else { ErrorCode::NONE };
            reader.commit()?;
            context.entry.failed(error);
            self.state = State::End;
        }
        self.skip_tags(reader)
    }

    /// The partitions of a topic, and what follows them but for tagged fields.
    #[inline(always)]
    fn partitions<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        while self.state < State::Operations {
            if self.state == State::Partition {
                let Some(left) = self.partitions.checked_sub(1) else {
                    self.state = State::Operations;
                    break;
                };
                self.partition(reader, context)?;
                self.partitions = left;
                self.state = State::PartitionEnd;
            }
            self.skip_tags(reader)?;
            self.state = State::Partition;
        }
        if self.state == State::Operations {
            if self.version >= OPERATIONS {
                reader.i32();
                reader.commit()?;
            }
            self.state = State::TopicEnd;
        }
        Ok(())
    }

    fn broker<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let id = reader.i32();
        let host = reader.string(self.flexible);
        let port = reader.i32();
        if self.version >= CONTROLLER {
            reader.nullable_string(self.flexible);
        }
        reader.commit()?;
        context.sink.observe(Observation::Broker(Broker { seq: context.entry.exchange.seq, id, host, port }));
        Ok(())
    }

    fn cluster<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let cluster_id = if self.version >= CLUSTER_ID { reader.nullable_string(self.flexible) } else { None };
        if self.version >= CONTROLLER {
            reader.i32();
        }
        self.topics = reader.count(self.flexible);
        reader.commit()?;
        if let Some(cluster_id) = cluster_id {
            context.sink.observe(Observation::ClusterId(cluster_id));
        }
        Ok(())
    }

    fn topic<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let error = ErrorCode(reader.i16());
        let name = reader.nullable_string(self.flexible);
        let id = if self.version >= TOPIC_IDS { Some(TopicId(reader.fixed::<16>())) } else { None };
        if self.version >= CONTROLLER {
            reader.i8();
        }
        self.partitions = reader.count(self.flexible);
        reader.commit()?;
        self.has_name = name.is_some();
        context.scratch.topic.clear();
        context.scratch.topic.extend_from_slice(name.unwrap_or_default());
        self.id = id;
        context.entry.failed(error);
        context.sink.observe(Observation::TopicMetadata(TopicMetadata {
            seq: context.entry.exchange.seq,
            error,
            name,
            id,
        }));
        Ok(())
    }

    fn partition<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let error = ErrorCode(reader.i16());
        let partition = reader.i32();
        let leader = reader.i32();
        let leader_epoch = if self.version >= LEADER_EPOCH { Some(reader.i32()) } else { None };
        let replicas = reader.ids(self.flexible);
        let in_sync = reader.ids(self.flexible);
        let offline = if self.version >= OFFLINE { reader.ids(self.flexible) } else { NodeIds::default() };
        reader.commit()?;
        context.entry.failed(error);
        context.sink.observe(Observation::PartitionMetadata(PartitionMetadata {
            seq: context.entry.exchange.seq,
            name: self.has_name.then_some(&context.scratch.topic),
            id: self.id,
            error,
            partition,
            leader,
            leader_epoch,
            replicas,
            in_sync,
            offline,
        }));
        Ok(())
    }

    fn skip_tags(&mut self, reader: &mut Reader<'_, '_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}
