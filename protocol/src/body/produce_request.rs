//! Produce requests, versions 0 to 13. Source: `ProduceRequest.json`.

use crate::{
    Acks, Depth, Direction, Observation, ProduceHead, ProducePartition, Sink,
    body::{
        Context,
        records::{Place, Records},
        walk::{Naming, Walk},
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

/// Which element comes next. Lists of tagged fields, which know themselves where they are, come behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Topic,
    Partition,
    Records,
    PartitionEnd,
    TopicEnd,
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

impl Walk for Produce {
    #[inline(always)]
    fn begin(version: i16) -> Self {
        Self::new(version, Depth::Full)
    }

    #[inline(always)]
    fn flexible(&mut self) -> &mut bool {
        &mut self.flexible
    }

    #[inline(always)]
    fn walk_on<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if self.state == State::Head {
            self.head(reader, context)?;
            self.state = State::Topic;
        }
        loop {
            if self.state == State::Topic {
                let Some(left) = self.topics.checked_sub(1) else { break };
                self.topic(reader, context)?;
                self.topics = left;
                self.state = State::Partition;
            }
            while self.state != State::TopicEnd {
                if self.state == State::Partition {
                    let Some(left) = self.partitions.checked_sub(1) else {
                        self.state = State::TopicEnd;
                        break;
                    };
                    self.partition(reader, context)?;
                    self.partitions = left;
                    self.state = State::Records;
                }
                if self.state == State::Records {
                    let place = Place {
                        direction: Direction::Request,
                        topic: self.topic,
                        partition: self.partition,
                        fetch_offset: None,
                        has_aborted: false,
                    };
                    self.records.walk(place, reader, context)?;
                    self.state = State::PartitionEnd;
                }
                self.skip_tags(reader)?;
                self.state = State::Partition;
            }
            self.skip_tags(reader)?;
            self.state = State::Topic;
        }
        self.skip_tags(reader)
    }
}

impl Produce {
    pub(crate) fn new(version: i16, depth: Depth) -> Self {
        Self {
            version,
            flexible: version >= FLEXIBLE,
            depth,
            state: State::Head,
            tags: Tags::new(),
            topics: 0,
            partitions: 0,
            topic: Topic::Known(0),
            partition: 0,
            records: Records::default(),
        }
    }

    #[inline(always)]
    fn head<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let transactional_id = if self.version >= TRANSACTIONAL { reader.nullable_string(self.flexible) } else { None };
        let acks = match reader.i16() {
            0 => Acks::None,
            1 => Acks::Leader,
            -1 => Acks::All,
            other => Acks::Other(other),
        };
        let timeout_ms = reader.i32();
        self.topics = reader.count(self.flexible);
        reader.commit()?;
        context.entry.exchange.acks = Some(acks);
        if self.depth == Depth::Headers {
            return Err(Halt::Enough);
        }
        let seq = context.entry.exchange.seq;
        context.sink.observe(Observation::ProduceHead(ProduceHead { seq, acks, timeout_ms, transactional_id }));
        Ok(())
    }

    #[inline(always)]
    fn topic<S>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let by_id = self.version >= TOPIC_IDS;
        let naming = Naming { direction: Direction::Request, flexible: self.flexible, by_id };
        (self.topic, self.partitions) = naming.topic(reader, &mut context.memory.topics)?;
        Ok(())
    }

    #[inline(always)]
    fn partition<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        self.partition = reader.i32();
        let bytes = reader.count(self.flexible);
        reader.commit()?;
        self.records.begin(bytes);
        context.sink.observe(Observation::ProducePartition(ProducePartition {
            seq: context.entry.exchange.seq,
            topic: context.memory.topics.describe(self.topic),
            partition: self.partition,
            record_bytes: u64::from(bytes),
        }));
        Ok(())
    }

    #[inline(always)]
    fn skip_tags(&mut self, reader: &mut Reader<'_, '_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}
