//! Groups: who joins, and what members are assigned.

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
};
use kafkascope_protocol::{
    AssignedTopic, ErrorCode, GroupHeartbeat, GroupHeartbeatResult, GroupKind, GroupMember, JoinGroup, JoinReason,
    JoinedGroup, Observation, OwnedPartitions, PartitionIds,
};

use super::{Expected, SEQ, bytes, identified, wire};

pub(crate) fn join_request(expected: &mut Expected<'_>, request: &JoinGroupRequest, version: i16) {
    expected.sees(Observation::JoinGroup(JoinGroup {
        seq: SEQ,
        group: request.group_id.as_bytes(),
        member_id: request.member_id.as_bytes(),
        instance_id: bytes(&request.group_instance_id),
        protocol_type: request.protocol_type.as_bytes(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: (version >= 1).then_some(request.rebalance_timeout_ms),
    }));
    if let Some(reason) = bytes(&request.reason).filter(|reason| !reason.is_empty()) {
        expected.sees(Observation::JoinReason(JoinReason { seq: SEQ, reason }));
    }
}

pub(crate) fn join_response(expected: &mut Expected<'_>, response: &JoinGroupResponse, version: i16) {
    expected.throttle_ms = (version >= 2).then_some(response.throttle_time_ms);
    expected.errors.push(response.error_code);
    expected.sees(Observation::JoinedGroup(JoinedGroup {
        seq: SEQ,
        error: ErrorCode(response.error_code),
        generation: response.generation_id,
        protocol_type: bytes(&response.protocol_type),
        protocol: bytes(&response.protocol_name),
        leader: response.leader.as_bytes(),
        member_id: response.member_id.as_bytes(),
        members: response.members.len() as u32,
    }));
    for member in &response.members {
        expected.sees(Observation::GroupMember(GroupMember {
            seq: SEQ,
            member_id: member.member_id.as_bytes(),
            instance_id: bytes(&member.group_instance_id),
        }));
    }
}

pub(crate) fn consumer_heartbeat_request(expected: &mut Expected<'_>, request: &ConsumerGroupHeartbeatRequest) {
    expected.sees(Observation::GroupHeartbeat(GroupHeartbeat {
        seq: SEQ,
        kind: GroupKind::Consumer,
        group: request.group_id.as_bytes(),
        member_id: request.member_id.as_bytes(),
        member_epoch: request.member_epoch,
        instance_id: bytes(&request.instance_id),
    }));
    if let Some(owned) = &request.topic_partitions {
        let topics = owned.len() as u32;
        expected.sees(Observation::OwnedPartitions(OwnedPartitions { seq: SEQ, topics }));
    }
    for topic in request.topic_partitions.iter().flatten() {
        expected.sees(Observation::OwnedTopic(AssignedTopic {
            seq: SEQ,
            topic: identified(topic.topic_id),
            partitions: PartitionIds::from_wire(&wire(&topic.partitions)),
        }));
    }
}

pub(crate) fn consumer_heartbeat_response(expected: &mut Expected<'_>, response: &ConsumerGroupHeartbeatResponse) {
    expected.throttle_ms = Some(response.throttle_time_ms);
    expected.errors.push(response.error_code);
    let topics = response.assignment.as_ref().map(|assignment| &assignment.topic_partitions);
    expected.sees(Observation::GroupHeartbeatResult(GroupHeartbeatResult {
        seq: SEQ,
        kind: GroupKind::Consumer,
        error: ErrorCode(response.error_code),
        member_id: bytes(&response.member_id),
        member_epoch: response.member_epoch,
        interval_ms: response.heartbeat_interval_ms,
        topics: topics.map(|topics| topics.len() as u32),
    }));
    for topic in topics.into_iter().flatten() {
        expected.sees(Observation::AssignedTopic(AssignedTopic {
            seq: SEQ,
            topic: identified(topic.topic_id),
            partitions: PartitionIds::from_wire(&wire(&topic.partitions)),
        }));
    }
}
