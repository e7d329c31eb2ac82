//! Groups: coordinators, members, assignments.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment as DescribedAssignment, DescribedGroup, Member, TopicPartitions as DescribedTopic,
};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedTopic;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::find_coordinator_response::Coordinator as FoundCoordinator;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ApiKey, BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, ConsumerProtocolAssignment, DeleteGroupsRequest, DeleteGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use kafkascope_protocol::{
    AssignedTopic, Coordinator, CoordinatorAsked, CoordinatorKind, ErrorCode, GroupDeleted, GroupDescribed, GroupKind,
    LeaveGroup, LeavingMember, MemberDescribed, Membership, Observation, PartitionIds, SyncedGroup,
};

use super::{Sample, error, maybe_name, name, some};
use crate::support::expected::{self, SEQ, bytes, named, wire};
use crate::support::log::Arena;
use crate::support::messages::{text, topic_id, topic_name, unknown_tags};
use crate::support::random::Random;

pub(super) fn find_coordinator<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::FindCoordinator, version);
    let flexible = version >= 3;
    let kind = if version == 0 { 0 } else { random.below(4) as i8 };
    let mut request = FindCoordinatorRequest::default().with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        request = request.with_key_type(kind);
    }
    request =
        if version >= 4 { request.with_coordinator_keys(some(random, name)) } else { request.with_key(name(random)) };
    sample.request(&request);
    let keys = if version >= 4 { request.coordinator_keys.clone() } else { vec![request.key.clone()] };
    for key in &keys {
        let kind = match kind {
            0 => CoordinatorKind::Group,
            1 => CoordinatorKind::Transaction,
            2 => CoordinatorKind::Share,
            other => CoordinatorKind::Unknown(other),
        };
        sample.sees(Observation::CoordinatorAsked(CoordinatorAsked { seq: SEQ, kind, key: key.as_bytes() }));
    }

    let mut response = FindCoordinatorResponse::default().with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        response = response.with_throttle_time_ms(random.i32());
        sample.expected.throttle_ms = Some(response.throttle_time_ms);
    }
    if version >= 4 {
        response = response.with_coordinators(some(random, |random| {
            FoundCoordinator::default()
                .with_key(name(random))
                .with_node_id(BrokerId(random.i32()))
                .with_host(name(random))
                .with_port(random.i32())
                .with_error_code(error(random))
                .with_error_message(maybe_name(random))
                .with_unknown_tagged_fields(unknown_tags(random, true))
        }));
    } else {
        response = response
            .with_error_code(error(random))
            .with_node_id(BrokerId(random.i32()))
            .with_host(name(random))
            .with_port(random.i32());
        if version >= 1 {
            response = response.with_error_message(maybe_name(random));
        }
        sample.expected.errors.push(response.error_code);
        sample.sees(Observation::Coordinator(Coordinator {
            seq: SEQ,
            error: ErrorCode(response.error_code),
            key: None,
            node: response.node_id.0,
            host: response.host.as_bytes(),
            port: response.port,
        }));
    }
    sample.response(&response);
    for found in &response.coordinators {
        sample.expected.errors.push(found.error_code);
        sample.sees(Observation::Coordinator(Coordinator {
            seq: SEQ,
            error: ErrorCode(found.error_code),
            key: Some(found.key.as_bytes()),
            node: found.node_id.0,
            host: found.host.as_bytes(),
            port: found.port,
        }));
    }
    sample
}

pub(super) fn join<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::JoinGroup, version);
    let flexible = version >= 6;
    let protocols = some(random, |random| {
        JoinGroupRequestProtocol::default()
            .with_name(name(random))
            .with_metadata(some_bytes(random))
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let mut request = JoinGroupRequest::default()
        .with_group_id(GroupId(name(random)))
        .with_session_timeout_ms(random.i32())
        .with_member_id(name(random))
        .with_protocol_type(name(random))
        .with_protocols(protocols)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        request = request.with_rebalance_timeout_ms(random.i32());
    }
    if version >= 5 {
        request = request.with_group_instance_id(maybe_name(random));
    }
    if version >= 8 {
        request = request.with_reason(maybe_name(random));
    }
    sample.request(&request);
    expected::group::join_request(&mut sample.expected, &request, version);

    let members = some(random, |random| {
        let member = JoinGroupResponseMember::default()
            .with_member_id(name(random))
            .with_metadata(some_bytes(random))
            .with_unknown_tagged_fields(unknown_tags(random, flexible));
        if version >= 5 { member.with_group_instance_id(maybe_name(random)) } else { member }
    });
    let mut response = JoinGroupResponse::default()
        .with_error_code(error(random))
        .with_generation_id(random.i32())
        .with_protocol_name(Some(name(random)))
        .with_leader(name(random))
        .with_member_id(name(random))
        .with_members(members)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 2 {
        response = response.with_throttle_time_ms(random.i32());
    }
    if version >= 7 {
        response = response.with_protocol_type(maybe_name(random)).with_protocol_name(maybe_name(random));
    }
    if version >= 9 {
        response = response.with_skip_assignment(random.one_in(2));
    }
    sample.response(&response);
    expected::group::join_response(&mut sample.expected, &response, version);
    sample
}

fn some_bytes(random: &mut Random) -> Bytes {
    let length = random.below(80);
    Bytes::from(random.bytes(length))
}

pub(super) fn sync<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::SyncGroup, version);
    let flexible = version >= 4;
    let assignments = some(random, |random| {
        SyncGroupRequestAssignment::default().with_member_id(name(random)).with_assignment(some_bytes(random))
    });
    let mut request = SyncGroupRequest::default()
        .with_group_id(GroupId(name(random)))
        .with_generation_id(random.i32())
        .with_member_id(name(random))
        .with_assignments(assignments);
    if version >= 3 {
        request = request.with_group_instance_id(maybe_name(random));
    }
    sample.request(&request);
    sample.sees(Observation::SyncGroup(Membership {
        seq: SEQ,
        group: request.group_id.as_bytes(),
        generation: request.generation_id,
        member_id: request.member_id.as_bytes(),
        instance_id: bytes(&request.group_instance_id),
    }));

    let topics = some(random, |random| {
        TopicPartition::default().with_topic(topic_name(random)).with_partitions(some(random, Random::i32))
    });
    let user_data = random.one_in(2).then(|| some_bytes(random));
    let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(topics).with_user_data(user_data);
    let assignment_version = random.below(4) as i16;
    let mut encoded = BytesMut::from(&assignment_version.to_be_bytes()[..]);
    assignment.encode(&mut encoded, assignment_version).expect("an assignment");
    // What other protocols send is not an assignment of consumers.
    let kind = random.below(4);
    let is_cut = kind == 0;
    if is_cut {
        encoded.truncate(random.below(encoded.len()));
    }
    let protocol_type = match kind {
        1 => Some(text("connect")),
        2 => None,
        _ => Some(text("consumer")),
    };
    let mut response = SyncGroupResponse::default()
        .with_error_code(error(random))
        .with_assignment(encoded.freeze())
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        response = response.with_throttle_time_ms(random.i32());
        sample.expected.throttle_ms = Some(response.throttle_time_ms);
    }
    if version >= 5 {
        response = response.with_protocol_type(protocol_type).with_protocol_name(maybe_name(random));
    }
    sample.response(&response);
    sample.expected.errors.push(response.error_code);
    let is_of_another = response.protocol_type.as_ref().is_some_and(|it| &**it != "consumer");
    let topics = if is_cut || is_of_another { None } else { Some(&assignment.assigned_partitions) };
    sample.sees(Observation::SyncedGroup(SyncedGroup {
        seq: SEQ,
        error: ErrorCode(response.error_code),
        protocol_type: bytes(&response.protocol_type),
        protocol: bytes(&response.protocol_name),
        topics: topics.map(|topics| topics.len() as u32),
    }));
    for topic in topics.into_iter().flatten() {
        sample.sees(Observation::AssignedTopic(AssignedTopic {
            seq: SEQ,
            topic: named(&topic.topic),
            partitions: PartitionIds::from_wire(&wire(&topic.partitions)),
        }));
    }
    sample
}

pub(super) fn heartbeat<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::Heartbeat, version);
    let flexible = version >= 4;
    let mut request = HeartbeatRequest::default()
        .with_group_id(GroupId(name(random)))
        .with_generation_id(random.i32())
        .with_member_id(name(random))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 3 {
        request = request.with_group_instance_id(maybe_name(random));
    }
    sample.request(&request);
    sample.sees(Observation::Heartbeat(Membership {
        seq: SEQ,
        group: request.group_id.as_bytes(),
        generation: request.generation_id,
        member_id: request.member_id.as_bytes(),
        instance_id: bytes(&request.group_instance_id),
    }));
    let mut response = HeartbeatResponse::default()
        .with_error_code(error(random))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        response = response.with_throttle_time_ms(random.i32());
        sample.expected.throttle_ms = Some(response.throttle_time_ms);
    }
    sample.response(&response);
    sample.expected.errors.push(response.error_code);
    sample
}

pub(super) fn delete<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::DeleteGroups, version);
    let flexible = version >= 2;
    let groups = some(random, |random| GroupId(name(random)));
    sample.request(&DeleteGroupsRequest::default().with_groups_names(groups));
    let results = some(random, |random| {
        DeletableGroupResult::default()
            .with_group_id(GroupId(name(random)))
            .with_error_code(error(random))
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let response = DeleteGroupsResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_results(results)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    for result in &response.results {
        sample.expected.errors.push(result.error_code);
        let (group, error) = (result.group_id.as_bytes(), ErrorCode(result.error_code));
        sample.sees(Observation::GroupDeleted(GroupDeleted { seq: SEQ, group, error }));
    }
    sample
}

pub(super) fn leave<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::LeaveGroup, version);
    let flexible = version >= 4;
    let mut request = LeaveGroupRequest::default()
        .with_group_id(GroupId(name(random)))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    request = if version >= 3 {
        request.with_members(some(random, |random| {
            let member = MemberIdentity::default()
                .with_member_id(name(random))
                .with_group_instance_id(maybe_name(random))
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 5 { member.with_reason(maybe_name(random)) } else { member }
        }))
    } else {
        request.with_member_id(name(random))
    };
    sample.request(&request);
    sample.sees(Observation::LeaveGroup(LeaveGroup { seq: SEQ, group: request.group_id.as_bytes() }));
    if version < 3 {
        let member_id = request.member_id.as_bytes();
        let member = LeavingMember { seq: SEQ, member_id, instance_id: None, reason: None };
        sample.sees(Observation::LeavingMember(member));
    }
    for member in &request.members {
        sample.sees(Observation::LeavingMember(LeavingMember {
            seq: SEQ,
            member_id: member.member_id.as_bytes(),
            instance_id: bytes(&member.group_instance_id),
            reason: bytes(&member.reason),
        }));
    }

    let mut response = LeaveGroupResponse::default()
        .with_error_code(error(random))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        response = response.with_throttle_time_ms(random.i32());
        sample.expected.throttle_ms = Some(response.throttle_time_ms);
    }
    if version >= 3 {
        response = response.with_members(some(random, |random| {
            MemberResponse::default()
                .with_member_id(name(random))
                .with_group_instance_id(maybe_name(random))
                .with_error_code(error(random))
                .with_unknown_tagged_fields(unknown_tags(random, flexible))
        }));
    }
    sample.response(&response);
    sample.expected.errors.push(response.error_code);
    sample.expected.errors.extend(response.members.iter().map(|member| member.error_code));
    sample
}

pub(super) fn consumer_heartbeat<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::ConsumerGroupHeartbeat, version);
    let owned = some(random, |random| {
        OwnedTopic::default()
            .with_topic_id(topic_id(random))
            .with_partitions(some(random, Random::i32))
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(name(random)))
        .with_member_id(name(random))
        .with_member_epoch(random.i32())
        .with_instance_id(maybe_name(random))
        .with_rack_id(maybe_name(random))
        .with_rebalance_timeout_ms(random.i32())
        .with_subscribed_topic_names(random.one_in(2).then(|| some(random, topic_name)))
        .with_server_assignor(maybe_name(random))
        .with_topic_partitions(random.one_in(2).then_some(owned))
        .with_unknown_tagged_fields(unknown_tags(random, true));
    if version >= 1 {
        request = request.with_subscribed_topic_regex(maybe_name(random));
    }
    sample.request(&request);
    expected::group::consumer_heartbeat_request(&mut sample.expected, &request);

    let topics = some(random, |random| {
        TopicPartitions::default()
            .with_topic_id(topic_id(random))
            .with_partitions(some(random, Random::i32))
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let assignment =
        Assignment::default().with_topic_partitions(topics).with_unknown_tagged_fields(unknown_tags(random, true));
    let response = ConsumerGroupHeartbeatResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_error_message(maybe_name(random))
        .with_member_id(maybe_name(random))
        .with_member_epoch(random.i32())
        .with_heartbeat_interval_ms(random.i32())
        .with_assignment(random.one_in(2).then_some(assignment))
        .with_unknown_tagged_fields(unknown_tags(random, true));
    sample.response(&response);
    expected::group::consumer_heartbeat_response(&mut sample.expected, &response);
    sample
}

pub(super) fn consumer_describe<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::ConsumerGroupDescribe, version);
    sample.request(&ConsumerGroupDescribeRequest::default());
    let groups = some(random, |random| {
        DescribedGroup::default()
            .with_error_code(error(random))
            .with_error_message(maybe_name(random))
            .with_group_id(GroupId(name(random)))
            .with_group_state(name(random))
            .with_group_epoch(random.i32())
            .with_assignment_epoch(random.i32())
            .with_assignor_name(name(random))
            .with_members(some(random, |random| described_member(random, version)))
            .with_authorized_operations(random.i32())
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let response = ConsumerGroupDescribeResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_groups(groups)
        .with_unknown_tagged_fields(unknown_tags(random, true));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    for group in &response.groups {
        sample.expected.errors.push(group.error_code);
        sample.sees(Observation::GroupDescribed(GroupDescribed {
            seq: SEQ,
            kind: GroupKind::Consumer,
            error: ErrorCode(group.error_code),
            group: group.group_id.as_bytes(),
            state: group.group_state.as_bytes(),
            epoch: group.group_epoch,
            assignment_epoch: group.assignment_epoch,
        }));
        for member in &group.members {
            sample.sees(Observation::MemberDescribed(MemberDescribed {
                seq: SEQ,
                member_id: member.member_id.as_bytes(),
                instance_id: bytes(&member.instance_id),
                member_epoch: member.member_epoch,
                client_id: member.client_id.as_bytes(),
                client_host: member.client_host.as_bytes(),
            }));
        }
    }
    sample
}

fn described_member(random: &mut Random, version: i16) -> Member {
    let assignment = |random: &mut Random| {
        let topics = some(random, |random| {
            DescribedTopic::default()
                .with_topic_id(topic_id(random))
                .with_topic_name(topic_name(random))
                .with_partitions(some(random, Random::i32))
                .with_unknown_tagged_fields(unknown_tags(random, true))
        });
        DescribedAssignment::default()
            .with_topic_partitions(topics)
            .with_unknown_tagged_fields(unknown_tags(random, true))
    };
    let member = Member::default()
        .with_member_id(name(random))
        .with_instance_id(maybe_name(random))
        .with_rack_id(maybe_name(random))
        .with_member_epoch(random.i32())
        .with_client_id(name(random))
        .with_client_host(StrBytes::from_static_str("/10.0.0.7"))
        .with_subscribed_topic_names(some(random, topic_name))
        .with_subscribed_topic_regex(maybe_name(random))
        .with_assignment(assignment(random))
        .with_target_assignment(assignment(random))
        .with_unknown_tagged_fields(unknown_tags(random, true));
    if version >= 1 { member.with_member_type(random.i8()) } else { member }
}
