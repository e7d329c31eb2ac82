//! Produce responses, versions 0 to 13. Source: `ProduceResponse.json`.
//!
//! Left out: error messages and the leaders that KIP-951 adds as tagged fields.

use crate::{
    Direction, ErrorCode, Observation, ProduceResult, Sink, TopicId,
    body::Context,
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
/// First version that names topics by id (KIP-516).
const TOPIC_IDS: i16 = 13;

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    Topic,
    Partition,
    RecordError,
    RecordErrorTags,
    ErrorMessage,
    PartitionTags,
    TopicTags,
    Throttle,
    Tags,
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
}

impl Produce {
    pub(crate) fn new(version: i16) -> Self {
        Self {
            version,
            flexible: version >= FLEXIBLE,
            state: State::Head,
            tags: Tags::Count,
            topics: 0,
            partitions: 0,
            record_errors: 0,
            topic: Topic::Known(0),
        }
    }

    pub(crate) fn walk<S: Sink>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        loop {
            self.state = match self.state {
                State::Head => {
                    self.topics = reader.count(self.flexible)?;
                    reader.commit();
                    State::Topic
                }
                State::Topic => match self.topics.checked_sub(1) {
                    Some(left) => {
                        self.topic(reader, context)?;
                        self.topics = left;
                        State::Partition
                    }
                    None => State::Throttle,
                },
                State::Partition => match self.partitions.checked_sub(1) {
                    Some(left) => {
                        self.partition(reader, context)?;
                        self.partitions = left;
                        if self.version >= RECORD_ERRORS { State::RecordError } else { State::Partition }
                    }
                    None => State::TopicTags,
                },
                State::RecordError => match self.record_errors.checked_sub(1) {
                    Some(left) => {
                        reader.i32()?;
                        reader.nullable_string(self.flexible)?;
                        reader.commit();
                        self.record_errors = left;
                        State::RecordErrorTags
                    }
                    None => State::ErrorMessage,
                },
                State::RecordErrorTags => {
                    self.skip_tags(reader)?;
                    State::RecordError
                }
                State::ErrorMessage => {
                    reader.nullable_string(self.flexible)?;
                    reader.commit();
                    State::PartitionTags
                }
                State::PartitionTags => {
                    self.skip_tags(reader)?;
                    State::Partition
                }
                State::TopicTags => {
                    self.skip_tags(reader)?;
                    State::Topic
                }
                State::Throttle => {
                    if self.version >= THROTTLE {
                        context.entry.exchange.throttle_ms = Some(reader.i32()?);
                        reader.commit();
                    }
                    State::Tags
                }
                State::Tags => return self.skip_tags(reader),
            }
        }
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
            self.topic = context.memory.topics.named(Direction::Response, name);
        }
        reader.commit();
        Ok(())
    }

    #[inline]
    fn partition<S: Sink>(&mut self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        let partition = reader.i32()?;
        let error = ErrorCode(reader.i16()?);
        let base_offset = reader.i64()?;
        if self.version >= APPEND_TIME {
            reader.i64()?;
        }
        let log_start_offset = if self.version >= LOG_START { Some(reader.i64()?) } else { None };
        self.record_errors = if self.version >= RECORD_ERRORS { reader.count(self.flexible)? } else { 0 };
        reader.commit();
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

    #[inline]
    fn skip_tags(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        if self.flexible { self.tags.skip(reader) } else { Ok(()) }
    }
}
