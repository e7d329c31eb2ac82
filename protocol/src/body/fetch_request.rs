//! Fetch requests, versions 0 to 18. Source: `FetchRequest.json`.
//!
//! Left out: leader epochs, sizes per partition, rack and the tagged fields of followers, other than who they are.

use crate::{
    Direction, FetchAsked, FetchHead, FetchSummary, Observation, Sink, TopicId,
    body::Context,
    reader::{Read, Reader, Tags},
    topics::Topic,
};

/// First version with a limit for the whole response.
const MAX_BYTES: i16 = 3;
/// First version with an isolation level.
const ISOLATION: i16 = 4;
/// First version with the start of a follower's log.
const LOG_START: i16 = 5;
/// First version with fetch sessions (KIP-227).
const SESSIONS: i16 = 7;
/// First version with the leader epoch.
const LEADER_EPOCH: i16 = 9;
/// First version with the consumer's rack.
const RACK: i16 = 11;
/// First version with compact lengths and tagged fields; also with the epoch of the last fetched record.
const FLEXIBLE: i16 = 12;
/// First version that names topics by id (KIP-516).
const TOPIC_IDS: i16 = 13;
/// First version that names the follower in a tagged field at the end.
const REPLICA_STATE: i16 = 15;
const REPLICA_STATE_TAG: u32 = 1;

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    Topic,
    Partition,
    PartitionTags,
    TopicTags,
    ForgottenTopics,
    ForgottenTopic,
    ForgottenPartition,
    ForgottenTags,
    Rack,
    TagCount,
    Tag,
}

/// The walk over a Fetch request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch {
    version: i16,
    flexible: bool,
    state: State,
    tags: Tags,
    topics: u32,
    partitions: u32,
    topic: Topic,
    tag_count: u32,
}

impl Fetch {
    pub(crate) fn new(version: i16) -> Self {
        Self {
            version,
            flexible: version >= FLEXIBLE,
            state: State::Head,
            tags: Tags::Count,
            topics: 0,
            partitions: 0,
            topic: Topic::Known(0),
            tag_count: 0,
        }
    }

    pub(crate) fn walk<S: Sink>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        loop {
            self.state = match self.state {
                State::Head => {
                    self.head(reader, context)?;
                    State::Topic
                }
                State::Topic => match self.topics.checked_sub(1) {
                    Some(left) => {
                        self.topic(reader, context)?;
                        self.topics = left;
                        State::Partition
                    }
                    None if self.version >= SESSIONS => State::ForgottenTopics,
                    None => State::Rack,
                },
                State::Partition => match self.partitions.checked_sub(1) {
                    Some(left) => {
                        self.partition(reader, context)?;
                        self.partitions = left;
                        State::PartitionTags
                    }
                    None => State::TopicTags,
                },
                State::PartitionTags => {
                    self.skip_tags(reader)?;
                    State::Partition
                }
                State::TopicTags => {
                    self.skip_tags(reader)?;
                    State::Topic
                }
                State::ForgottenTopics => {
                    self.topics = reader.count(self.flexible)?;
                    reader.commit();
                    State::ForgottenTopic
                }
                State::ForgottenTopic => match self.topics.checked_sub(1) {
                    Some(left) => {
                        self.topic(reader, context)?;
                        self.topics = left;
                        State::ForgottenPartition
                    }
                    None => State::Rack,
                },
                State::ForgottenPartition => match self.partitions.checked_sub(1) {
                    Some(left) => {
                        let partition = reader.i32()?;
                        reader.commit();
                        context.memory.positions.forgotten(self.topic.index(), partition);
                        self.partitions = left;
                        State::ForgottenPartition
                    }
                    None => State::ForgottenTags,
                },
                State::ForgottenTags => {
                    self.skip_tags(reader)?;
                    State::ForgottenTopic
                }
                State::Rack => {
                    if self.version >= RACK {
                        reader.nullable_string(self.flexible)?;
                        reader.commit();
                    }
                    State::TagCount
                }
                State::TagCount => {
                    if self.flexible {
                        self.tag_count = reader.varint()?;
                        reader.commit();
                    }
                    State::Tag
                }
                State::Tag => match self.tag_count.checked_sub(1) {
                    Some(left) => {
                        self.tag(reader, context)?;
                        self.tag_count = left;
                        State::Tag
                    }
                    None => {
                        self.end(context);
                        return Ok(());
                    }
                },
            }
        }
    }

    fn head<S: Sink>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        let replica_id = if self.version < REPLICA_STATE { Some(reader.i32()?) } else { None };
        let max_wait_ms = reader.i32()?;
        let min_bytes = reader.i32()?;
        let max_bytes = if self.version >= MAX_BYTES { Some(reader.i32()?) } else { None };
        let read_committed = self.version >= ISOLATION && reader.i8()? == 1;
        let (session_id, session_epoch) =
            if self.version >= SESSIONS { (reader.i32()?, reader.i32()?) } else { (0, -1) };
        self.topics = reader.count(self.flexible)?;
        reader.commit();
        context.entry.read_committed = read_committed;
        context.entry.generation = context.memory.positions.begin(session_id, session_epoch);
        context.entry.exchange.fetch = Some(FetchSummary {
            follower: replica_id.is_some_and(|id| id >= 0),
            wait: None,
            min_bytes,
            record_bytes: 0,
            session_id,
            session_epoch,
        });
        context.sink.observe(Observation::FetchHead(FetchHead {
            seq: context.entry.exchange.seq,
            replica_id,
            max_wait_ms,
            min_bytes,
            max_bytes,
            read_committed,
            session_id,
            session_epoch,
        }));
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
        let partition = reader.i32()?;
        if self.version >= LEADER_EPOCH {
            reader.i32()?;
        }
        let fetch_offset = reader.i64()?;
        if self.version >= FLEXIBLE {
            reader.i32()?;
        }
        if self.version >= LOG_START {
            reader.i64()?;
        }
        reader.i32()?;
        reader.commit();
        let seq = context.entry.exchange.seq;
        context.memory.positions.asked(seq, self.topic.index(), partition, fetch_offset);
        let topic = context.memory.topics.describe(self.topic);
        context.sink.observe(Observation::FetchAsked(FetchAsked { seq, topic, partition, fetch_offset }));
        Ok(())
    }

    fn tag<S>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        let (tag, size) = reader.tag()?;
        if tag != REPLICA_STATE_TAG || self.version < REPLICA_STATE || size < 4 {
            return reader.skip(u64::from(size));
        }
        let replica_id = reader.i32()?;
        if let Some(fetch) = &mut context.entry.exchange.fetch {
            fetch.follower = replica_id >= 0;
        }
        reader.skip(u64::from(size).saturating_sub(4))
    }

    fn end<S>(&self, context: &mut Context<'_, S>) {
        if let Some(fetch) = &context.entry.exchange.fetch {
            context.entry.caught_up = context.memory.positions.end(fetch.session_epoch, true);
        }
    }

    #[inline]
    fn skip_tags(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}
