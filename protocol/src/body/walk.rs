//! What the streamed bodies have in common: how their walks are compiled, the head of a topic, and a partition's leader.

use crate::{
    CurrentLeader, Direction, Observation, Sink, TopicId,
    body::Context,
    reader::{Halt, Read, Reader},
    topics::{Topic, Topics},
};

/// A body of topics with partitions, walked over element by element.
pub(crate) trait Walk: Copy {
    /// The walk over a body of `version` from its start.
    fn begin(version: i16) -> Self;

    /// Whether it has compact lengths and tagged fields.
    fn flexible(&mut self) -> &mut bool;

    /// Reads as many elements as are at hand, from where the last call stopped.
    fn walk_on<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()>;

    /// The same, made fast.
    #[inline(never)]
    fn walk<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        // On a copy, which the compiler can keep in registers.
        let mut body = *self;
        let walked = body.walk_encoded(reader, context);
        *self = body;
        walked
    }

    /// The same for a body that is at hand as a whole.
    #[inline(never)]
    fn walk_whole<S: Sink>(version: i16, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        Self::begin(version).walk_encoded(reader, context)
    }

    /// Compiled once for each encoding, without the question which it is.
    #[inline(always)]
    fn walk_encoded<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        if *self.flexible() {
            *self.flexible() = true;
            reader.with_copy(|copy| self.walk_on(copy, context))
        } else {
            *self.flexible() = false;
            reader.with_copy(|copy| self.walk_on(copy, context))
        }
    }
}

/// How messages of a body name a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming {
    pub(super) direction: Direction,
    pub(super) flexible: bool,
    pub(super) by_id: bool,
}

impl Naming {
    /// Reads a topic and the number of its partitions.
    #[inline(always)]
    pub(super) fn topic(self, reader: &mut Reader<'_, '_>, topics: &mut Topics) -> Read<(Topic, u32)> {
        if self.by_id {
            let id = TopicId(reader.fixed());
            let partitions = reader.count(self.flexible);
            reader.commit()?;
            Ok((topics.with_id(id), partitions))
        } else {
            let name = reader.string(self.flexible);
            let partitions = reader.count(self.flexible);
            reader.commit()?;
            Ok((topics.named(self.direction, name), partitions))
        }
    }
}

/// A tagged field that names a partition's leader (KIP-951).
#[cold]
#[inline(never)]
pub(super) fn current_leader<S: Sink>(
    field: &[u8],
    topic: Topic,
    partition: i32,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let Some((leader, rest)) = field.split_first_chunk() else { return Err(Halt::Malformed) };
    let Some(leader_epoch) = rest.first_chunk() else { return Err(Halt::Malformed) };
    context.sink.observe(Observation::CurrentLeader(CurrentLeader {
        seq: context.seq(),
        topic: context.memory.topics.describe(topic),
        partition,
        leader: i32::from_be_bytes(*leader),
        leader_epoch: i32::from_be_bytes(*leader_epoch),
    }));
    Ok(())
}
