//! Fetch requests, versions 0 to 18. Source: `FetchRequest.json`.
//!
//! Left out: leader epochs, sizes per partition, rack and the tagged fields of followers, other than who they are.

use crate::{
    Direction, FetchAsked, FetchForgotten, FetchHead, FetchSummary, Observation, Sink,
    body::{
        Context,
        walk::{Naming, Walk},
    },
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

/// Which element comes next. Lists of tagged fields, which know themselves where they are, come behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    Head,
    Topic,
    Partition,
    PartitionEnd,
    TopicEnd,
    Forgotten,
    ForgottenTopic,
    ForgottenPartition,
    ForgottenEnd,
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

impl Walk for Fetch {
    #[inline(always)]
    fn begin(version: i16) -> Self {
        Self::new(version)
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
        while self.state < State::Forgotten {
            if self.state == State::Topic {
                let Some(left) = self.topics.checked_sub(1) else {
                    self.state = State::Forgotten;
                    break;
                };
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
                    self.state = State::PartitionEnd;
                }
                self.skip_tags(reader)?;
                self.state = State::Partition;
            }
            self.skip_tags(reader)?;
            self.state = State::Topic;
        }
        if self.state < State::Rack {
            self.forgotten(reader, context)?;
            self.state = State::Rack;
        }
        if self.state == State::Rack {
            if self.version >= RACK {
                reader.nullable_string(self.flexible);
                reader.commit()?;
            }
            self.state = State::TagCount;
        }
        if self.state == State::TagCount {
            if self.flexible {
                self.tag_count = reader.varint();
                reader.commit()?;
            }
            self.state = State::Tag;
        }
        while let Some(left) = self.tag_count.checked_sub(1) {
            self.tag(reader, context)?;
            self.tag_count = left;
        }
        if let Some(fetch) = &context.entry.exchange.fetch {
            context.entry.caught_up = context.memory.positions.end(fetch.session_epoch, true);
        }
        Ok(())
    }
}

impl Fetch {
    pub(crate) fn new(version: i16) -> Self {
        Self {
            version,
            flexible: version >= FLEXIBLE,
            state: State::Head,
            tags: Tags::new(),
            topics: 0,
            partitions: 0,
            topic: Topic::Known(0),
            tag_count: 0,
        }
    }

    #[inline(always)]
    fn head<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let replica_id = if self.version < REPLICA_STATE { Some(reader.i32()) } else { None };
        let max_wait_ms = reader.i32();
        let min_bytes = reader.i32();
        let max_bytes = if self.version >= MAX_BYTES { Some(reader.i32()) } else { None };
        let read_committed = self.version >= ISOLATION && reader.i8() == 1;
        let (session_id, session_epoch) = if self.version >= SESSIONS { (reader.i32(), reader.i32()) } else { (0, -1) };
        self.topics = reader.count(self.flexible);
        reader.commit()?;
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

    #[inline(always)]
    fn topic<S>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let by_id = self.version >= TOPIC_IDS;
        let naming = Naming { direction: Direction::Request, flexible: self.flexible, by_id };
        (self.topic, self.partitions) = naming.topic(reader, &mut context.memory.topics)?;
        Ok(())
    }

    #[inline(always)]
    fn partition<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let partition = reader.i32();
        if self.version >= LEADER_EPOCH {
            reader.i32();
        }
        let fetch_offset = reader.i64();
        if self.version >= FLEXIBLE {
            reader.i32();
        }
        if self.version >= LOG_START {
            reader.i64();
        }
        reader.i32();
        reader.commit()?;
        let seq = context.entry.exchange.seq;
        context.memory.positions.asked(seq, self.topic.index(), partition, fetch_offset);
        let topic = context.memory.topics.describe(self.topic);
        context.sink.observe(Observation::FetchAsked(FetchAsked { seq, topic, partition, fetch_offset }));
        Ok(())
    }

    /// Partitions that are taken out of the session (v7+).
    #[inline(always)]
    fn forgotten<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if self.version < SESSIONS {
            return Ok(());
        }
        if self.state == State::Forgotten {
            self.topics = reader.count(self.flexible);
            reader.commit()?;
            self.state = State::ForgottenTopic;
        }
        loop {
            if self.state == State::ForgottenTopic {
                let Some(left) = self.topics.checked_sub(1) else { return Ok(()) };
                self.topic(reader, context)?;
                self.topics = left;
                self.state = State::ForgottenPartition;
            }
            if self.state == State::ForgottenPartition {
                while let Some(left) = self.partitions.checked_sub(1) {
                    let partition = reader.i32();
                    reader.commit()?;
                    context.memory.positions.forgotten(self.topic.index(), partition);
                    let seq = context.entry.exchange.seq;
                    let topic = context.memory.topics.describe(self.topic);
                    context.sink.observe(Observation::FetchForgotten(FetchForgotten { seq, topic, partition }));
                    self.partitions = left;
                }
                self.state = State::ForgottenEnd;
            }
            self.skip_tags(reader)?;
            self.state = State::ForgottenTopic;
        }
    }

    fn tag<S>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let (tag, size) = (reader.varint(), reader.varint());
        if tag != REPLICA_STATE_TAG || self.version < REPLICA_STATE || size < 4 {
            return reader.skip(u64::from(size));
        }
        let replica_id = reader.i32();
        if let Some(halt) = reader.failure() {
            return Err(halt);
        }
        if let Some(fetch) = &mut context.entry.exchange.fetch {
            fetch.follower = replica_id >= 0;
        }
        reader.skip(u64::from(size).saturating_sub(4))
    }

    #[inline(always)]
    fn skip_tags(&mut self, reader: &mut Reader<'_, '_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}
