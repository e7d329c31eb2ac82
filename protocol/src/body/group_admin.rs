//! Responses to DeleteGroups (versions 0 to 2), and OffsetDelete (0). Source: their schemas.
//!
//! Left out: which groups and partitions were asked for; a response names them.

use crate::{
    CommittedGroup, Direction, ErrorCode, GroupDeleted, Observation, Sink,
    body::{
        Context,
        offset_fetch::committed,
        tree::{ALWAYS, At, NEVER, Then},
    },
    reader::{Halt, Read, Reader},
};

pub(super) fn delete_groups_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => at.head(ALWAYS, reader, context),
        (1, _) => {
            let group = reader.string(at.flexible);
            let error = ErrorCode(reader.i16());
            reader.commit()?;
            context.entry.failed(error);
            context.sink.observe(Observation::GroupDeleted(GroupDeleted { seq: context.seq(), group, error }));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

/// From which alone its group is known.
pub(super) fn delete_offsets_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let group = reader.string(at.flexible);
    reader.commit()?;
    context.sink.observe(Observation::CommittedGroup(CommittedGroup { seq: context.seq(), group }));
    Err(Halt::Enough)
}

pub(super) fn delete_offsets_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let error = ErrorCode(reader.i16());
            let throttle_ms = reader.i32();
            let topics = reader.count(at.flexible);
            reader.commit()?;
            context.answered(Some(throttle_ms), error);
            Ok(Then::Array(topics))
        }
        (1, 0) => at.topic(Direction::Response, NEVER, reader, context),
        (2, _) => {
            let partition = reader.i32();
            // Nothing is committed any more.
            committed(at, partition, -1, reader, context)
        }
        _ => Ok(Then::End),
    }
}
