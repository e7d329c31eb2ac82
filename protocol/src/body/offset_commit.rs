//! OffsetCommit (versions 0 to 10) and TxnOffsetCommit (0 to 5). Source: their schemas.
//!
//! Left out: the metadata that applications add, and how long offsets should be kept.

use crate::{
    CommitHead, CommitPartition, CommitResult, Direction, ErrorCode, Observation, Sink, Transaction,
    body::{
        Context,
        tree::{ALWAYS, At, NEVER, Then},
    },
    reader::{Read, Reader},
};

/// First version of OffsetCommit with a generation and a member; the only one with a time per partition.
const MEMBER: i16 = 1;
/// Versions of OffsetCommit with a retention time.
const RETENTION: core::ops::RangeInclusive<i16> = 2..=4;
/// First version of OffsetCommit with a throttle time.
const THROTTLE: i16 = 3;
/// First version of OffsetCommit with leader epochs.
const LEADER_EPOCH: i16 = 6;
/// First version of OffsetCommit with the name of a static member (KIP-345).
const INSTANCE: i16 = 7;
/// First version of OffsetCommit that names topics by id.
const TOPIC_IDS: i16 = 10;
/// First version of TxnOffsetCommit with leader epochs.
const TXN_LEADER_EPOCH: i16 = 2;
/// First version of TxnOffsetCommit with a generation and a member (KIP-447).
const TXN_MEMBER: i16 = 3;

pub(super) fn request<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let group = reader.string(at.flexible);
            let generation = at.since(MEMBER, || reader.i32());
            let member_id = at.since(MEMBER, || reader.string(at.flexible));
            let instance_id = at.since(INSTANCE, || reader.nullable_string(at.flexible)).flatten();
            if RETENTION.contains(&at.version) {
                reader.i64();
            }
            let topics = reader.count(at.flexible);
            reader.commit()?;
            let seq = context.seq();
            let head = CommitHead { seq, group, generation, member_id, instance_id, transaction: None };
            context.sink.observe(Observation::CommitHead(head));
            Ok(Then::Array(topics))
        }
        (1, 0) => at.topic(Direction::Request, TOPIC_IDS, reader, context),
        (2, _) => partition(at, LEADER_EPOCH, at.version == MEMBER, reader, context),
        _ => Ok(Then::End),
    }
}

pub(super) fn transactional_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let transactional_id = reader.string(at.flexible);
            let group = reader.string(at.flexible);
            let (producer_id, producer_epoch) = (reader.i64(), reader.i16());
            let generation = at.since(TXN_MEMBER, || reader.i32());
            let member_id = at.since(TXN_MEMBER, || reader.string(at.flexible));
            let instance_id = at.since(TXN_MEMBER, || reader.nullable_string(at.flexible)).flatten();
            let topics = reader.count(at.flexible);
            reader.commit()?;
            let seq = context.seq();
            let transaction = Some(Transaction { transactional_id, producer_id, producer_epoch });
            let head = CommitHead { seq, group, generation, member_id, instance_id, transaction };
            context.sink.observe(Observation::CommitHead(head));
            Ok(Then::Array(topics))
        }
        (1, 0) => at.topic(Direction::Request, NEVER, reader, context),
        (2, _) => partition(at, TXN_LEADER_EPOCH, false, reader, context),
        _ => Ok(Then::End),
    }
}

fn partition<S: Sink>(
    at: &At,
    leader_epochs: i16,
    timed: bool,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let partition = reader.i32();
    let offset = reader.i64();
    let leader_epoch = at.since(leader_epochs, || reader.i32());
    if timed {
        reader.i64();
    }
    let _metadata = reader.nullable_string(at.flexible);
    reader.commit()?;
    context.sink.observe(Observation::CommitPartition(CommitPartition {
        seq: context.seq(),
        topic: context.memory.topics.describe(at.topic),
        partition,
        offset,
        leader_epoch,
    }));
    Ok(Then::End)
}

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    results(at, THROTTLE, TOPIC_IDS, reader, context)
}

pub(super) fn transactional_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    results(at, ALWAYS, NEVER, reader, context)
}

fn results<S: Sink>(
    at: &mut At,
    throttle: i16,
    topic_ids: i16,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => at.head(throttle, reader, context),
        (1, 0) => at.topic(Direction::Response, topic_ids, reader, context),
        (2, _) => {
            let partition = reader.i32();
            let error = ErrorCode(reader.i16());
            reader.commit()?;
            context.entry.failed(error);
            context.sink.observe(Observation::CommitResult(CommitResult {
                seq: context.seq(),
                topic: context.memory.topics.describe(at.topic),
                partition,
                error,
            }));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}
