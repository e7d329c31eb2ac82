//! Produce responses, versions 0 to 13. Source: `ProduceResponse.json`.
//!
//! Left out: error messages, and the addresses of new leaders (KIP-951).

use crate::{
    Direction, ErrorCode, Observation, ProduceResult, Sink,
    body::{
        Context,
        walk::{Naming, Walk, current_leader},
    },
    reader::{Read, Reader, Tags},
    topics::Topic,
};

/// First version with a throttle time.
const THROTTLE: i16 = 1;
/// First version with the append time.
const APPEND_TIME: i16 = 2;
/// First version with the start of the log.
const LOG_START: i16 = 5;
/// First version with errors of single records (KIP-467).
const RECORD_ERRORS: i16 = 8;
/// First version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 9;
/// First version that names a partition's leader in a tagged field (KIP-951).
const CURRENT_LEADER: i16 = 10;
const CURRENT_LEADER_TAG: u32 = 0;
/// First version that names topics by id (KIP-516).
const TOPIC_IDS: i16 = 13;

/// Which element comes next. Lists of tagged fields, which know themselves where they are, come behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    Head,
    Topic,
    Partition,
    RecordErrors,
    RecordErrorEnd,
    PartitionEnd,
    TopicEnd,
    Throttle,
    End,
}

/// The walk over a Produce response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Produce {
    version: i16,
    flexible: bool,
    state: State,
    tags: Tags,
    topics: u32,
    partitions: u32,
    record_errors: u32,
    topic: Topic,
    partition: i32,
}

impl Walk for Produce {
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
            self.topics = reader.count(self.flexible);
            reader.commit()?;
            self.state = State::Topic;
        }
        while self.state < State::Throttle {
            if self.state == State::Topic {
                let Some(left) = self.topics.checked_sub(1) else {
                    self.state = State::Throttle;
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
                    self.state = State::RecordErrors;
                }
                if self.state != State::PartitionEnd {
                    self.record_errors(reader)?;
                    self.state = State::PartitionEnd;
                }
                self.partition_tags(reader, context)?;
                self.state = State::Partition;
            }
            self.skip_tags(reader)?;
            self.state = State::Topic;
        }
        if self.state == State::Throttle {
            if self.version >= THROTTLE {
                let throttle_ms = reader.i32();
                reader.commit()?;
                context.entry.exchange.throttle_ms = Some(throttle_ms);
            }
            self.state = State::End;
        }
        self.skip_tags(reader)
    }
}

impl Produce {
    pub(crate) fn new(version: i16) -> Self {
        Self {
            version,
            flexible: version >= FLEXIBLE,
            state: State::Head,
            tags: Tags::new(),
            topics: 0,
            partitions: 0,
            record_errors: 0,
            topic: Topic::Known(0),
            partition: 0,
        }
    }

    #[inline(always)]
    fn topic<S>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let by_id = self.version >= TOPIC_IDS;
        let naming = Naming { direction: Direction::Response, flexible: self.flexible, by_id };
        (self.topic, self.partitions) = naming.topic(reader, &mut context.memory.topics)?;
        Ok(())
    }

    #[inline(always)]
    fn partition<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let partition = reader.i32();
        let error = ErrorCode(reader.i16());
        let base_offset = reader.i64();
        if self.version >= APPEND_TIME {
            reader.i64();
        }
        let log_start_offset = if self.version >= LOG_START { Some(reader.i64()) } else { None };
        self.record_errors = if self.version >= RECORD_ERRORS { reader.count(self.flexible) } else { 0 };
        reader.commit()?;
        self.partition = partition;
        context.entry.failed(error);
        context.sink.observe(Observation::ProduceResult(ProduceResult {
            seq: context.entry.exchange.seq,
            topic: context.memory.topics.describe(self.topic),
            partition,
            error,
            base_offset,
            log_start_offset,
        }));
        Ok(())
    }

    /// Errors of single records, and the message that sums them up (v8+).
    #[inline(always)]
    fn record_errors(&mut self, reader: &mut Reader<'_, '_>) -> Read<()> {
        if self.version < RECORD_ERRORS {
            return Ok(());
        }
        loop {
            if self.state == State::RecordErrorEnd {
                self.skip_tags(reader)?;
                self.state = State::RecordErrors;
            }
            let Some(left) = self.record_errors.checked_sub(1) else { break };
            reader.i32();
            reader.nullable_string(self.flexible);
            reader.commit()?;
            self.record_errors = left;
            self.state = State::RecordErrorEnd;
        }
        reader.nullable_string(self.flexible);
        reader.commit()
    }

    #[inline(always)]
    fn partition_tags<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if self.version < CURRENT_LEADER {
            return self.skip_tags(reader);
        }
        while let Some((_, value)) = self.tags.next(reader, |tag| tag == CURRENT_LEADER_TAG)? {
            current_leader(value, self.topic, self.partition, context)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn skip_tags(&mut self, reader: &mut Reader<'_, '_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}
