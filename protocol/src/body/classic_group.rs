//! JoinGroup (versions 0 to 9), SyncGroup (0 to 5), Heartbeat (0 to 4) and LeaveGroup (0 to 5). Source: their schemas.
//!
//! Left out: what members subscribe to, and the assignments that a leader sends: each member's comes in its own response.

use crate::{
    AssignedTopic, Direction, ErrorCode, GroupMember, JoinGroup, JoinReason, JoinedGroup, LeaveGroup, LeavingMember,
    Membership, Observation, PartitionIds, Sink, SyncedGroup,
    body::{
        Context,
        tree::{At, Then},
    },
    reader::{Halt, Read, Reader, whole},
};

/// First version of JoinGroup with a rebalance timeout.
const REBALANCE_TIMEOUT: i16 = 1;
/// First version of JoinGroup with a throttle time.
const JOIN_THROTTLE: i16 = 2;
/// First version of JoinGroup with names of static members (KIP-345).
const JOIN_INSTANCE: i16 = 5;
/// First version of JoinGroup whose response says what the group does, and need not say how.
const JOIN_TYPE: i16 = 7;
/// First version of JoinGroup with a reason (KIP-800).
const JOIN_REASON: i16 = 8;
/// First version of JoinGroup in which the leader may be told to assign nothing.
const SKIP_ASSIGNMENT: i16 = 9;
/// First version of the others with a throttle time.
const THROTTLE: i16 = 1;
/// First version of the others with names of static members; of LeaveGroup with several members.
const INSTANCE: i16 = 3;
/// First version of SyncGroup that says what the group does, and how.
const SYNC_TYPE: i16 = 5;
/// First version of LeaveGroup with a reason (KIP-800).
const LEAVE_REASON: i16 = 5;
/// What a group of consumers does.
const CONSUMER: &[u8] = b"consumer";

pub(super) fn join_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let group = reader.string(at.flexible);
            let session_timeout_ms = reader.i32();
            let rebalance_timeout_ms = at.since(REBALANCE_TIMEOUT, || reader.i32());
            let member_id = reader.string(at.flexible);
            let instance_id = at.since(JOIN_INSTANCE, || reader.nullable_string(at.flexible)).flatten();
            let protocol_type = reader.string(at.flexible);
            let protocols = reader.count(at.flexible);
            reader.commit()?;
            context.sink.observe(Observation::JoinGroup(JoinGroup {
                seq: context.seq(),
                group,
                member_id,
                instance_id,
                protocol_type,
                session_timeout_ms,
                rebalance_timeout_ms,
            }));
            Ok(Then::Array(protocols))
        }
        (0, _) => {
            let reason = at.since(JOIN_REASON, || reader.nullable_string(at.flexible)).flatten();
            reader.commit()?;
            // Kafka's own client sends an empty one the first time.
            if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
                context.sink.observe(Observation::JoinReason(JoinReason { seq: context.seq(), reason }));
            }
            Ok(Then::End)
        }
        _ => {
            let _protocol = reader.string(at.flexible);
            skip_blob(at, reader)
        }
    }
}

pub(super) fn join_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let throttle_ms = at.since(JOIN_THROTTLE, || reader.i32());
            let error = ErrorCode(reader.i16());
            let generation = reader.i32();
            let protocol_type = at.since(JOIN_TYPE, || reader.nullable_string(at.flexible)).flatten();
            let protocol = reader.nullable_string(at.flexible);
            let leader = reader.string(at.flexible);
            at.since(SKIP_ASSIGNMENT, || reader.i8());
            let member_id = reader.string(at.flexible);
            let members = reader.count(at.flexible);
            reader.commit()?;
            context.answered(throttle_ms, error);
            context.sink.observe(Observation::JoinedGroup(JoinedGroup {
                seq: context.seq(),
                error,
                generation,
                protocol_type,
                protocol,
                leader,
                member_id,
                members,
            }));
            Ok(Then::Array(members))
        }
        (1, 0) => {
            let member_id = reader.string(at.flexible);
            let instance_id = at.since(JOIN_INSTANCE, || reader.nullable_string(at.flexible)).flatten();
            reader.commit()?;
            let member = GroupMember { seq: context.seq(), member_id, instance_id };
            context.sink.observe(Observation::GroupMember(member));
            Ok(Then::PART)
        }
        (1, _) => skip_blob(at, reader),
        _ => Ok(Then::End),
    }
}

/// Skips a byte field that may be long; the element ends with it.
fn skip_blob(at: &At, reader: &mut Reader<'_, '_>) -> Read<Then> {
    let bytes = reader.count(at.flexible);
    reader.skip(u64::from(bytes))?;
    Ok(Then::End)
}

pub(super) fn sync_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let member = membership(at, reader, context)?;
    context.sink.observe(Observation::SyncGroup(member));
    Err(Halt::Enough)
}

pub(super) fn heartbeat_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let member = membership(at, reader, context)?;
    context.sink.observe(Observation::Heartbeat(member));
    Ok(Then::End)
}

fn membership<'a, S>(at: &At, reader: &mut Reader<'a, '_>, context: &Context<'_, S>) -> Read<Membership<'a>> {
    let group = reader.string(at.flexible);
    let generation = reader.i32();
    let member_id = reader.string(at.flexible);
    let instance_id = at.since(INSTANCE, || reader.nullable_string(at.flexible)).flatten();
    reader.commit()?;
    Ok(Membership { seq: context.seq(), group, generation, member_id, instance_id })
}

pub(super) fn heartbeat_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let throttle_ms = at.since(THROTTLE, || reader.i32());
    let error = ErrorCode(reader.i16());
    reader.commit()?;
    context.answered(throttle_ms, error);
    Ok(Then::End)
}

pub(super) fn sync_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let throttle_ms = at.since(THROTTLE, || reader.i32());
    let error = ErrorCode(reader.i16());
    let protocol_type = at.since(SYNC_TYPE, || reader.nullable_string(at.flexible)).flatten();
    let protocol = at.since(SYNC_TYPE, || reader.nullable_string(at.flexible)).flatten();
    let assignment = reader.blob(at.flexible);
    reader.commit()?;
    context.answered(throttle_ms, error);
    let topics = match protocol_type {
        Some(CONSUMER) | None => assigned(assignment, |_, _| {}).ok(),
        Some(_) => None,
    };
    let seq = context.seq();
    context.sink.observe(Observation::SyncedGroup(SyncedGroup { seq, error, protocol_type, protocol, topics }));
    if topics.is_some() {
        // What could be read once can be read again.
        let _again = assigned(assignment, |name, partitions| {
            let topic = context.memory.topics.named(Direction::Response, name);
            let topic = context.memory.topics.describe(topic);
            context.sink.observe(Observation::AssignedTopic(AssignedTopic { seq, topic, partitions }));
        });
    }
    Ok(Then::End)
}

/// Reads a `ConsumerProtocolAssignment` as all its versions (0 to 3) have it: how many topics. The bytes of other protocols
/// are hardly ever one to the last byte.
fn assigned<'a>(assignment: &'a [u8], mut topic: impl FnMut(&'a [u8], PartitionIds<'a>)) -> Read<u32> {
    whole(assignment, |reader| {
        let _version = reader.i16();
        let topics = reader.count(false);
        reader.commit()?;
        for _ in 0..topics {
            let name = reader.string(false);
            let partitions = reader.ids(false);
            reader.commit()?;
            topic(name, partitions);
        }
        let _user_data = reader.blob(false);
        Ok(topics)
    })
}

pub(super) fn leave_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let seq = context.seq();
    match (at.level, at.part) {
        (0, 0) => {
            let group = reader.string(at.flexible);
            let member = (at.version < INSTANCE).then(|| reader.string(at.flexible));
            let members = at.since(INSTANCE, || reader.count(at.flexible));
            reader.commit()?;
            context.sink.observe(Observation::LeaveGroup(LeaveGroup { seq, group }));
            if let Some(member_id) = member {
                let member = LeavingMember { seq, member_id, instance_id: None, reason: None };
                context.sink.observe(Observation::LeavingMember(member));
            }
            Ok(Then::Array(members.unwrap_or(0)))
        }
        (1, _) => {
            let member_id = reader.string(at.flexible);
            let instance_id = reader.nullable_string(at.flexible);
            let reason = at.since(LEAVE_REASON, || reader.nullable_string(at.flexible)).flatten();
            reader.commit()?;
            let member = LeavingMember { seq, member_id, instance_id, reason };
            context.sink.observe(Observation::LeavingMember(member));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

pub(super) fn leave_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => {
            let throttle_ms = at.since(THROTTLE, || reader.i32());
            let error = ErrorCode(reader.i16());
            let members = at.since(INSTANCE, || reader.count(at.flexible));
            reader.commit()?;
            context.answered(throttle_ms, error);
            Ok(Then::Array(members.unwrap_or(0)))
        }
        (1, _) => {
            reader.string(at.flexible);
            reader.nullable_string(at.flexible);
            let error = ErrorCode(reader.i16());
            reader.commit()?;
            context.entry.failed(error);
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}
