//! ListOffsets, versions 0 to 11. Source: `ListOffsetsRequest.json`, `ListOffsetsResponse.json`.
//!
//! Left out: the leader epochs of requests, and all but the first offset of a v0 answer.

use crate::{
    Direction, ErrorCode, ListOffsetsHead, Observation, OffsetAsked, OffsetListed, Sink,
    body::{
        Context,
        tree::{At, NEVER, Then},
    },
    reader::{Read, Reader},
};

/// First version whose answer is one offset instead of a list.
const ONE_OFFSET: i16 = 1;
/// First version with an isolation level and a throttle time.
const ISOLATION: i16 = 2;
/// First version with leader epochs.
const LEADER_EPOCH: i16 = 4;
/// First version with a time limit.
const TIMEOUT: i16 = 10;

pub(super) fn request<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let replica_id = reader.i32();
            let read_committed = at.since(ISOLATION, || reader.i8()) == Some(1);
            let topics = reader.count(at.flexible);
            reader.commit()?;
            let head = ListOffsetsHead { seq: context.seq(), replica_id, read_committed };
            context.sink.observe(Observation::ListOffsetsHead(head));
            Ok(Then::Array(topics))
        }
        (0, _) => {
            at.since(TIMEOUT, || reader.i32());
            reader.commit()?;
            Ok(Then::End)
        }
        (1, 0) => at.topic(Direction::Request, NEVER, reader, context),
        (2, _) => {
            let partition = reader.i32();
            at.since(LEADER_EPOCH, || reader.i32());
            let timestamp = reader.i64();
            if at.version < ONE_OFFSET {
                // Most offsets wanted.
                reader.i32();
            }
            reader.commit()?;
            context.sink.observe(Observation::OffsetAsked(OffsetAsked {
                seq: context.seq(),
                topic: context.memory.topics.describe(at.topic),
                partition,
                timestamp,
            }));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => at.head(ISOLATION, reader, context),
        (1, 0) => at.topic(Direction::Response, NEVER, reader, context),
        (2, _) => {
            let partition = reader.i32();
            let error = ErrorCode(reader.i16());
            let (timestamp, offset) = if at.version >= ONE_OFFSET {
                (reader.i64(), reader.i64())
            } else {
                let count = reader.count(at.flexible) as usize;
                let offsets = reader.bytes(count.saturating_mul(8));
                (-1, offsets.first_chunk().map_or(-1, |first| i64::from_be_bytes(*first)))
            };
            let leader_epoch = at.since(LEADER_EPOCH, || reader.i32());
            reader.commit()?;
            context.entry.failed(error);
            context.sink.observe(Observation::OffsetListed(OffsetListed {
                seq: context.seq(),
                topic: context.memory.topics.describe(at.topic),
                partition,
                error,
                timestamp,
                offset,
                leader_epoch,
            }));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}
