//! Fetch responses, versions 0 to 18. Source: `FetchResponse.json`.
//!
//! Left out: preferred read replicas, snapshots of followers, and the addresses of new leaders (KIP-951).

use crate::{
    Direction, DivergingEpoch, ErrorCode, FetchPartition, Observation, Sink,
    body::{
        Context,
        records::{Place, Records},
        walk::{Naming, Walk, current_leader},
    },
    reader::{Halt, Read, Reader, Tags},
    topics::Topic,
};

/// First version with a throttle time.
const THROTTLE: i16 = 1;
/// First version with the last stable offset and aborted transactions.
const TRANSACTIONS: i16 = 4;
/// First version with the start of the log.
const LOG_START: i16 = 5;
/// First version with fetch sessions (KIP-227) and an error of the whole response.
const SESSIONS: i16 = 7;
/// First version with a preferred read replica.
const READ_REPLICA: i16 = 11;
/// First version with compact lengths and tagged fields, and these two of a partition among them.
const FLEXIBLE: i16 = 12;
const DIVERGING_EPOCH_TAG: u32 = 0;
const CURRENT_LEADER_TAG: u32 = 1;
/// First version that names topics by id (KIP-516).
const TOPIC_IDS: i16 = 13;

/// Which element comes next. Lists of tagged fields, which know themselves where they are, come behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    Head,
    Topic,
    Partition,
    Aborted,
    AbortedEnd,
    Size,
    Records,
    PartitionEnd,
    TopicEnd,
}

/// The walk over a Fetch response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch {
    version: i16,
    flexible: bool,
    state: State,
    tags: Tags,
    topics: u32,
    partitions: u32,
    /// Aborted transactions that are left to read.
    aborted: u32,
    /// Whether the partition has any.
    has_aborted: bool,
    topic: Topic,
    partition: PartitionHead,
    fetch_offset: Option<i64>,
    records: Records,
}

/// What comes before the aborted transactions.
#[derive(Debug, Clone, Copy, Default)]
struct PartitionHead {
    index: i32,
    error: ErrorCode,
    high_watermark: i64,
    last_stable_offset: Option<i64>,
    log_start_offset: Option<i64>,
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
                    self.state = State::Aborted;
                }
                if self.state < State::Size {
                    self.aborted(reader, context)?;
                    self.state = State::Size;
                }
                if self.state == State::Size {
                    self.size(reader, context)?;
                    self.state = State::Records;
                }
                if self.state == State::Records {
                    let place = Place {
                        direction: Direction::Response,
                        topic: self.topic,
                        partition: self.partition.index,
                        fetch_offset: self.fetch_offset,
                        has_aborted: self.has_aborted,
                    };
                    self.records.walk(place, reader, context)?;
                    self.state = State::PartitionEnd;
                }
                self.partition_tags(reader, context)?;
                self.state = State::Partition;
            }
            self.skip_tags(reader)?;
            self.state = State::Topic;
        }
        self.skip_tags(reader)
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
            aborted: 0,
            has_aborted: false,
            topic: Topic::Known(0),
            partition: PartitionHead::default(),
            fetch_offset: None,
            records: Records::default(),
        }
    }

    #[inline(always)]
    fn head<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let throttle_ms = if self.version >= THROTTLE { Some(reader.i32()) } else { None };
        let (error, session_id) =
            if self.version >= SESSIONS { (ErrorCode(reader.i16()), reader.i32()) } else { (ErrorCode::NONE, 0) };
        self.topics = reader.count(self.flexible);
        reader.commit()?;
        context.answered(throttle_ms, error);
        if let Some(fetch) = &mut context.entry.exchange.fetch
            && session_id != 0
        {
            fetch.session_id = session_id;
            context.memory.positions.opened(context.entry.generation, session_id);
        }
        Ok(())
    }

    #[inline(always)]
    fn topic<S>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let by_id = self.version >= TOPIC_IDS;
        let naming = Naming { direction: Direction::Response, flexible: self.flexible, by_id };
        (self.topic, self.partitions) = naming.topic(reader, &mut context.memory.topics)?;
        Ok(())
    }

    #[inline(always)]
    fn partition<S>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let index = reader.i32();
        let error = ErrorCode(reader.i16());
        let high_watermark = reader.i64();
        let last_stable_offset = if self.version >= TRANSACTIONS { Some(reader.i64()) } else { None };
        let log_start_offset = if self.version >= LOG_START { Some(reader.i64()) } else { None };
        self.aborted = if self.version >= TRANSACTIONS { reader.count(self.flexible) } else { 0 };
        reader.commit()?;
        self.has_aborted = self.aborted > 0;
        if self.has_aborted {
            context.scratch.aborted.begin();
        }
        self.partition = PartitionHead { index, error, high_watermark, last_stable_offset, log_start_offset };
        Ok(())
    }

    #[inline(always)]
    fn aborted<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if !self.has_aborted {
            return Ok(());
        }
        let mut body = *self;
        let read = reader.with_copy(|copy| body.some_aborted(copy, context));
        *self = body;
        read
    }

    #[cold]
    #[inline(never)]
    fn some_aborted<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        loop {
            if self.state == State::AbortedEnd {
                self.skip_tags(reader)?;
                self.state = State::Aborted;
            }
            let Some(left) = self.aborted.checked_sub(1) else { break };
            let (producer_id, first_offset) = (reader.i64(), reader.i64());
            reader.commit()?;
            context.scratch.aborted.add(producer_id, first_offset, context.limits.aborted);
            self.aborted = left;
            self.state = State::AbortedEnd;
        }
        let transactions = context.scratch.aborted.end();
        if transactions > 0 {
            context.sink.observe(Observation::AbortedForgotten { transactions });
        }
        Ok(())
    }

    #[inline(always)]
    fn size<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if self.version >= READ_REPLICA {
            reader.i32();
        }
        let bytes = reader.count(self.flexible);
        reader.commit()?;
        self.records.begin(bytes);
        let PartitionHead { index, error, high_watermark, last_stable_offset, log_start_offset } = self.partition;
        let seq = context.entry.exchange.seq;
        self.fetch_offset = match &mut context.entry.exchange.fetch {
            None => None,
            Some(fetch) => {
                fetch.record_bytes = fetch.record_bytes.saturating_add(u64::from(bytes));
                let end = match last_stable_offset {
                    Some(last_stable_offset) if context.entry.read_committed => last_stable_offset,
                    _ => high_watermark,
                };
                let known_end = if error.is_none() { end } else { -1 };
                context.memory.positions.answered(context.entry.generation, seq, self.topic.index(), index, known_end)
            }
        };
        context.entry.failed(error);
        context.sink.observe(Observation::FetchPartition(FetchPartition {
            seq,
            topic: context.memory.topics.describe(self.topic),
            partition: index,
            error,
            high_watermark,
            last_stable_offset,
            log_start_offset,
            fetch_offset: self.fetch_offset,
            record_bytes: u64::from(bytes),
        }));
        Ok(())
    }

    #[inline(always)]
    fn partition_tags<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if self.flexible {
            while let Some((tag, value)) = self.tags.next(reader, |tag| tag <= CURRENT_LEADER_TAG)? {
                match tag {
                    DIVERGING_EPOCH_TAG => diverging_epoch(value, self.topic, self.partition.index, context)?,
                    _ => current_leader(value, self.topic, self.partition.index, context)?,
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn skip_tags(&mut self, reader: &mut Reader<'_, '_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}

/// A tagged field that tells where the client's log and the leader's part.
#[cold]
#[inline(never)]
fn diverging_epoch<S: Sink>(field: &[u8], topic: Topic, partition: i32, context: &mut Context<'_, S>) -> Read<()> {
    let Some((epoch, rest)) = field.split_first_chunk() else { return Err(Halt::Malformed) };
    let Some(end_offset) = rest.first_chunk() else { return Err(Halt::Malformed) };
    context.sink.observe(Observation::DivergingEpoch(DivergingEpoch {
        seq: context.entry.exchange.seq,
        topic: context.memory.topics.describe(topic),
        partition,
        epoch: i32::from_be_bytes(*epoch),
        end_offset: i64::from_be_bytes(*end_offset),
    }));
    Ok(())
}
