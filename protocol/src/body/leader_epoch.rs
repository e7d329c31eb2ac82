//! OffsetForLeaderEpoch responses, versions 0 to 4. Source: `OffsetForLeaderEpochResponse.json`.

use crate::{
    Direction, EpochEnd, ErrorCode, Observation, Sink,
    body::{
        Context,
        tree::{At, NEVER, Then},
    },
    reader::{Read, Reader},
};

/// First version with leader epochs.
const LEADER_EPOCH: i16 = 1;
/// First version with a throttle time.
const THROTTLE: i16 = 2;

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => at.head(THROTTLE, reader, context),
        (1, 0) => at.topic(Direction::Response, NEVER, reader, context),
        (2, _) => {
            let error = ErrorCode(reader.i16());
            let partition = reader.i32();
            let leader_epoch = at.since(LEADER_EPOCH, || reader.i32());
            let end_offset = reader.i64();
            reader.commit()?;
            context.entry.failed(error);
            context.sink.observe(Observation::EpochEnd(EpochEnd {
                seq: context.seq(),
                topic: context.memory.topics.describe(at.topic),
                partition,
                error,
                leader_epoch,
                end_offset,
            }));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}
