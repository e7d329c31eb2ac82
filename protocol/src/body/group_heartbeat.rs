//! ConsumerGroupHeartbeat (versions 0 and 1, KIP-848), ShareGroupHeartbeat (1, KIP-932) and StreamsGroupHeartbeat (0,
//! KIP-1071). Source: their schemas.
//!
//! Left out: what members subscribe to, and everything of streams groups but who is a member.

use crate::{
    AssignedTopic, ErrorCode, GroupHeartbeat, GroupHeartbeatResult, GroupKind, Observation, OwnedPartitions, Sink,
    TopicId,
    body::{
        Context,
        tree::{At, Then},
    },
    reader::{Halt, Read, Reader},
};

/// First version of ConsumerGroupHeartbeat with a regular expression to subscribe by.
const REGEX: i16 = 1;
/// Which part of a ConsumerGroupHeartbeat request the topics by name stand behind.
const SUBSCRIBED: u8 = 0;

pub(super) fn consumer_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let seq = context.seq();
    match (at.level, at.part) {
        (0, 0) => {
            let (group, member_id) = (reader.string(true), reader.string(true));
            let member_epoch = reader.i32();
            let instance_id = reader.nullable_string(true);
            let _rack = reader.nullable_string(true);
            let _rebalance_timeout_ms = reader.i32();
            let subscribed = reader.count(true);
            reader.commit()?;
            let kind = GroupKind::Consumer;
            let heartbeat = GroupHeartbeat { seq, kind, group, member_id, member_epoch, instance_id };
            context.sink.observe(Observation::GroupHeartbeat(heartbeat));
            Ok(Then::Array(subscribed))
        }
        (0, 1) => {
            at.since(REGEX, || reader.nullable_string(true));
            let _assignor = reader.nullable_string(true);
            let topics = reader.nullable_count(true);
            reader.commit()?;
            if let Some(topics) = topics {
                context.sink.observe(Observation::OwnedPartitions(OwnedPartitions { seq, topics }));
            }
            Ok(Then::Array(topics.unwrap_or(0)))
        }
        (1, _) if at.array == SUBSCRIBED => {
            reader.string(true);
            reader.commit()?;
            Ok(Then::ValueEnd)
        }
        (1, _) => {
            let (owned, sink) = topic(reader, context)?;
            sink.observe(Observation::OwnedTopic(owned));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

pub(super) fn share_request<S: Sink>(
    _at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let (group, member_id) = (reader.string(true), reader.string(true));
    let member_epoch = reader.i32();
    reader.commit()?;
    let (seq, kind) = (context.seq(), GroupKind::Share);
    let heartbeat = GroupHeartbeat { seq, kind, group, member_id, member_epoch, instance_id: None };
    context.sink.observe(Observation::GroupHeartbeat(heartbeat));
    Err(Halt::Enough)
}

pub(super) fn streams_request<S: Sink>(
    _at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let (group, member_id) = (reader.string(true), reader.string(true));
    let member_epoch = reader.i32();
    let _endpoints_epoch = reader.i32();
    let instance_id = reader.nullable_string(true);
    reader.commit()?;
    let (seq, kind) = (context.seq(), GroupKind::Streams);
    let heartbeat = GroupHeartbeat { seq, kind, group, member_id, member_epoch, instance_id };
    context.sink.observe(Observation::GroupHeartbeat(heartbeat));
    Err(Halt::Enough)
}

pub(super) fn consumer_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    assigned(GroupKind::Consumer, at, reader, context)
}

pub(super) fn share_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    assigned(GroupKind::Share, at, reader, context)
}

pub(super) fn streams_response<S: Sink>(
    _at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let (throttle_ms, result) = result(GroupKind::Streams, reader, context);
    reader.commit()?;
    context.answered(Some(throttle_ms), result.error);
    context.sink.observe(Observation::GroupHeartbeatResult(result));
    Err(Halt::Enough)
}

/// A response that may have an assignment.
fn assigned<S: Sink>(
    kind: GroupKind,
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let (throttle_ms, mut result) = result(kind, reader, context);
            // A struct that may be null begins with -1 or 1.
            let topics = if reader.i8() < 0 { None } else { Some(reader.count(true)) };
            reader.commit()?;
            at.present = topics.is_some();
            result.topics = topics;
            context.answered(Some(throttle_ms), result.error);
            context.sink.observe(Observation::GroupHeartbeatResult(result));
            Ok(Then::Array(topics.unwrap_or(0)))
        }
        (0, 1) if at.present => Ok(Then::StructEnd),
        (1, _) => {
            let (assigned, sink) = topic(reader, context)?;
            sink.observe(Observation::AssignedTopic(assigned));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

/// Reads what is the same in all responses: the throttle time, and a result without an assignment.
fn result<'a, S>(
    kind: GroupKind,
    reader: &mut Reader<'a, '_>,
    context: &Context<'_, S>,
) -> (i32, GroupHeartbeatResult<'a>) {
    let (throttle_ms, error) = (reader.i32(), ErrorCode(reader.i16()));
    let _message = reader.nullable_string(true);
    let member_id = reader.nullable_string(true);
    let (member_epoch, interval_ms) = (reader.i32(), reader.i32());
    let seq = context.seq();
    (throttle_ms, GroupHeartbeatResult { seq, kind, error, member_id, member_epoch, interval_ms, topics: None })
}

/// Reads partitions of a topic that is given by its id.
fn topic<'r, 'c, S>(
    reader: &mut Reader<'r, '_>,
    context: &'c mut Context<'_, S>,
) -> Read<(AssignedTopic<'c>, &'c mut S)>
where
    'r: 'c,
{
    let id = TopicId(reader.fixed());
    let partitions = reader.ids(true);
    reader.commit()?;
    let seq = context.seq();
    let topic = context.memory.topics.with_id(id);
    let topic = context.memory.topics.describe(topic);
    Ok((AssignedTopic { seq, topic, partitions }, context.sink))
}
