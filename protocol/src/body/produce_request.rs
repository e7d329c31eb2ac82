//! Produce requests, versions 0 to 13. Source: `ProduceRequest.json`.

use crate::{
    Acks, Depth, Direction, Observation, ProduceHead, ProducePartition, Sink, TopicId,
    body::{
        Context,
        records::{Place, Records},
    },
    reader::{Halt, Read, Reader, Tags},
    topics::Topic,
};

/// First version with a transactional id.
const TRANSACTIONAL: i16 = 3;
/// First version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 9;
/// First version that names topics by id (KIP-516).
const TOPIC_IDS: i16 = 13;

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    Topic,
    Partition,
    Records,
    PartitionTags,
    TopicTags,
    Tags,
}

/// The walk over a Produce request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Produce {
    version: i16,
    flexible: bool,
    depth: Depth,
    state: State,
    tags: Tags,
    topics: u32,
    partitions: u32,
    topic: Topic,
    partition: i32,
    records: Records,
}

impl Produce {
    pub(crate) fn new(version: i16, depth: Depth) -> Self {
        Self {
            version,
            flexible: version >= FLEXIBLE,
            depth,
            state: State::Head,
            tags: Tags::Count,
            topics: 0,
            partitions: 0,
            topic: Topic::Known(0),
            partition: 0,
            records: Records::default(),
        }
    }

    pub(crate) fn walk<S: Sink>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        loop {
            match self.state {
                State::Head => {
                    self.head(reader, context)?;
                    self.state = State::Topic;
                }
                State::Topic => {
                    let Some(left) = self.topics.checked_sub(1) else {
                        self.state = State::Tags;
                        continue;
                    };
                    self.topic(reader, context)?;
                    self.topics = left;
                    self.state = State::Partition;
                }
                State::Partition => {
                    let Some(left) = self.partitions.checked_sub(1) else {
                        self.state = State::TopicTags;
                        continue;
                    };
                    self.partition(reader, context)?;
                    self.partitions = left;
                    self.state = State::Records;
                }
                State::Records => {
                    let place = Place {
                        direction: Direction::Request,
                        topic: self.topic,
                        partition: self.partition,
                        fetch_offset: None,
                    };
                    self.records.walk(&place, reader, context)?;
                    self.state = State::PartitionTags;
                }
                State::PartitionTags => {
                    self.skip_tags(reader)?;
                    self.state = State::Partition;
                }
                State::TopicTags => {
                    self.skip_tags(reader)?;
                    self.state = State::Topic;
                }
                State::Tags => return self.skip_tags(reader),
            }
        }
    }

    fn head<S: Sink>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        let transactional_id =
            if self.version >= TRANSACTIONAL { reader.nullable_string(self.flexible)? } else { None };
        let acks = match reader.i16()? {
            0 => Acks::None,
            1 => Acks::Leader,
            -1 => Acks::All,
            other => Acks::Other(other),
        };
        let timeout_ms = reader.i32()?;
        self.topics = reader.count(self.flexible)?;
        reader.commit();
        context.entry.exchange.acks = Some(acks);
        if self.depth == Depth::Headers {
            return Err(Halt::Enough);
        }
        let seq = context.entry.exchange.seq;
        context.sink.observe(Observation::ProduceHead(ProduceHead { seq, acks, timeout_ms, transactional_id }));
        Ok(())
    }

    #[inline]
    fn topic<S>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        if self.version >= TOPIC_IDS {
            let id = TopicId(*reader.fixed::<16>()?);
            self.partitions = reader.count(self.flexible)?;
            self.topic = context.memory.topics.with_id(id);
        } else {
            let name = reader.string(self.flexible)?;
            self.partitions = reader.count(self.flexible)?;
            self.topic = context.memory.topics.named(Direction::Request, name);
        }
        reader.commit();
        Ok(())
    }

    #[inline]
    fn partition<S: Sink>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        self.partition = reader.i32()?;
        let bytes = reader.count(self.flexible)?;
        reader.commit();
        self.records.begin(bytes);
        context.sink.observe(Observation::ProducePartition(ProducePartition {
            seq: context.entry.exchange.seq,
            topic: context.memory.topics.describe(self.topic),
            partition: self.partition,
            record_bytes: u64::from(bytes),
        }));
        Ok(())
    }

    #[inline]
    fn skip_tags(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}
