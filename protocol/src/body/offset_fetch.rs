//! OffsetFetch, versions 0 to 10. Source: `OffsetFetchRequest.json`, `OffsetFetchResponse.json`.
//!
//! Left out: which partitions were asked for, leader epochs, and the metadata that applications add.

use crate::{
    CommittedGroup, CommittedOffset, Direction, ErrorCode, Observation, Sink,
    body::{
        Context,
        tree::{At, Then},
    },
    reader::{Halt, Read, Reader},
};

/// First version with an error of the whole response, or of a group.
const ERROR: i16 = 2;
/// First version with a throttle time.
const THROTTLE: i16 = 3;
/// First version with leader epochs.
const LEADER_EPOCH: i16 = 5;
/// First version that is about several groups (KIP-709).
const GROUPS: i16 = 8;
/// First version that names topics by id.
const TOPIC_IDS: i16 = 10;

/// The request up to v7, from which alone its group is known.
pub(super) fn request<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    if at.version < GROUPS {
        let group = reader.string(at.flexible);
        reader.commit()?;
        context.sink.observe(Observation::CommittedGroup(CommittedGroup { seq: context.seq(), group }));
    }
    Err(Halt::Enough)
}

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    // Before there were several groups, the message itself was one.
    let level = if at.version < GROUPS { at.level.saturating_add(1) } else { at.level };
    match (level, at.part) {
        (0, 0) => at.head(THROTTLE, reader, context),
        (1, 0) if at.version < GROUPS => at.head(THROTTLE, reader, context),
        (1, 0) => {
            let group = reader.string(at.flexible);
            let topics = reader.count(at.flexible);
            reader.commit()?;
            context.sink.observe(Observation::CommittedGroup(CommittedGroup { seq: context.seq(), group }));
            Ok(Then::Array(topics))
        }
        (1, _) => {
            let error = at.since(ERROR, || ErrorCode(reader.i16()));
            reader.commit()?;
            context.entry.failed(error.unwrap_or_default());
            Ok(Then::End)
        }
        (2, 0) => at.topic(Direction::Response, TOPIC_IDS, reader, context),
        (3, _) => {
            let partition = reader.i32();
            let offset = reader.i64();
            at.since(LEADER_EPOCH, || reader.i32());
            let _metadata = reader.nullable_string(at.flexible);
            committed(at, partition, offset, reader, context)
        }
        _ => Ok(Then::End),
    }
}

/// The end of a partition of a response, which is its error: tells what is committed of it.
pub(super) fn committed<S: Sink>(
    at: &At,
    partition: i32,
    offset: i64,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let error = ErrorCode(reader.i16());
    reader.commit()?;
    context.entry.failed(error);
    context.sink.observe(Observation::CommittedOffset(CommittedOffset {
        seq: context.seq(),
        topic: context.memory.topics.describe(at.topic),
        partition,
        offset,
        error,
    }));
    Ok(Then::End)
}
