//! Share groups.

use bytes::Bytes;
use kafka_protocol::messages::share_acknowledge_response::{
    LeaderIdAndEpoch as AcknowledgeLeader, NodeEndpoint as AcknowledgeEndpoint, PartitionData as AcknowledgedPartition,
    ShareAcknowledgeTopicResponse,
};
use kafka_protocol::messages::share_fetch_response::{
    AcquiredRecords, LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareFetchableTopicResponse,
};
use kafka_protocol::messages::share_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ApiKey, BrokerId, GroupId, ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest,
    ShareFetchResponse, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse,
};
use kafkascope_protocol::{
    AssignedTopic, CurrentLeader, ErrorCode, GroupHeartbeat, GroupHeartbeatResult, GroupKind, Observation,
    PartitionIds, ShareAcknowledged, ShareAcquired, ShareHead, SharePartition, TopicRef,
};

use super::{Sample, error, maybe_name, name, some};
use crate::support::expected::{SEQ, bytes, identified, wire};
use crate::support::log::Arena;
use crate::support::messages::{topic_id, topic_name, unknown_tags};
use crate::support::random::Random;

pub(super) fn heartbeat<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::ShareGroupHeartbeat, version);
    let request = ShareGroupHeartbeatRequest::default()
        .with_group_id(GroupId(name(random)))
        .with_member_id(name(random))
        .with_member_epoch(random.i32())
        .with_rack_id(maybe_name(random))
        .with_subscribed_topic_names(random.one_in(2).then(|| some(random, topic_name)));
    sample.request(&request);
    sample.sees(Observation::GroupHeartbeat(GroupHeartbeat {
        seq: SEQ,
        kind: GroupKind::Share,
        group: request.group_id.as_bytes(),
        member_id: request.member_id.as_bytes(),
        member_epoch: request.member_epoch,
        instance_id: None,
    }));

    let topics = some(random, |random| {
        TopicPartitions::default()
            .with_topic_id(topic_id(random))
            .with_partitions(some(random, Random::i32))
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let assignment =
        Assignment::default().with_topic_partitions(topics).with_unknown_tagged_fields(unknown_tags(random, true));
    let response = ShareGroupHeartbeatResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_error_message(maybe_name(random))
        .with_member_id(maybe_name(random))
        .with_member_epoch(random.i32())
        .with_heartbeat_interval_ms(random.i32())
        .with_assignment(random.one_in(2).then_some(assignment))
        .with_unknown_tagged_fields(unknown_tags(random, true));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    let topics = response.assignment.as_ref().map(|assignment| &assignment.topic_partitions);
    sample.sees(Observation::GroupHeartbeatResult(GroupHeartbeatResult {
        seq: SEQ,
        kind: GroupKind::Share,
        error: ErrorCode(response.error_code),
        member_id: bytes(&response.member_id),
        member_epoch: response.member_epoch,
        interval_ms: response.heartbeat_interval_ms,
        topics: topics.map(|topics| topics.len() as u32),
    }));
    for topic in topics.into_iter().flatten() {
        sample.sees(Observation::AssignedTopic(AssignedTopic {
            seq: SEQ,
            topic: identified(topic.topic_id),
            partitions: PartitionIds::from_wire(&wire(&topic.partitions)),
        }));
    }
    sample
}

pub(super) fn fetch<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::ShareFetch, version);
    let request = ShareFetchRequest::default()
        .with_group_id(random.one_in(2).then(|| GroupId(name(random))))
        .with_member_id(maybe_name(random))
        .with_share_session_epoch(random.i32())
        .with_max_wait_ms(random.i32());
    sample.request(&request);
    sample.sees(Observation::ShareFetchHead(ShareHead {
        seq: SEQ,
        group: request.group_id.as_ref().map(|id| id.as_bytes()),
        member_id: bytes(&request.member_id),
        session_epoch: request.share_session_epoch,
    }));

    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            let length = random.below(300);
            PartitionData::default()
                .with_partition_index(random.i32())
                .with_error_code(partition_error(random))
                .with_error_message(maybe_name(random))
                .with_acknowledge_error_code(partition_error(random))
                .with_acknowledge_error_message(maybe_name(random))
                .with_current_leader(
                    LeaderIdAndEpoch::default()
                        .with_leader_id(random.i32())
                        .with_leader_epoch(random.i32())
                        .with_unknown_tagged_fields(unknown_tags(random, true)),
                )
                .with_records(random.one_in(2).then(|| Bytes::from(random.bytes(length))))
                .with_acquired_records(some(random, |random| {
                    let first = random.below(1_000_000) as i64;
                    AcquiredRecords::default()
                        .with_first_offset(first)
                        .with_last_offset(first + random.below(500) as i64)
                        .with_delivery_count(random.below(4) as i16)
                        .with_unknown_tagged_fields(unknown_tags(random, true))
                }))
                .with_unknown_tagged_fields(unknown_tags(random, true))
        });
        ShareFetchableTopicResponse::default()
            .with_topic_id(topic_id(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let endpoints = some(random, |random| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(random.i32()))
            .with_host(name(random))
            .with_rack(maybe_name(random))
    });
    let response = ShareFetchResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_error_message(maybe_name(random))
        .with_acquisition_lock_timeout_ms(random.i32())
        .with_responses(topics)
        .with_node_endpoints(endpoints)
        .with_unknown_tagged_fields(unknown_tags(random, true));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    for answer in &response.responses {
        let topic = identified(answer.topic_id);
        for it in &answer.partitions {
            let partition = it.partition_index;
            let errors = [it.error_code, it.acknowledge_error_code];
            leader(&mut sample, topic, partition, &errors, it.current_leader.leader_id, it.current_leader.leader_epoch);
            sample.expected.errors.extend([it.error_code, it.acknowledge_error_code]);
            sample.sees(Observation::SharePartition(SharePartition {
                seq: SEQ,
                topic,
                partition,
                error: ErrorCode(it.error_code),
                acknowledge_error: ErrorCode(it.acknowledge_error_code),
                record_bytes: it.records.as_ref().map_or(0, |records| records.len() as u64),
            }));
            let records = |range: &AcquiredRecords| (range.last_offset - range.first_offset + 1) as u64;
            let again = it.acquired_records.iter().filter(|range| range.delivery_count > 1);
            sample.sees(Observation::ShareAcquired(ShareAcquired {
                seq: SEQ,
                topic,
                partition,
                records: it.acquired_records.iter().map(records).sum(),
                redelivered: again.map(records).sum(),
            }));
        }
    }
    sample
}

fn partition_error(random: &mut Random) -> i16 {
    [0, 0, 6, 74, random.i16()][random.below(5)]
}

/// It is of interest to a client that went to the wrong broker.
fn leader(
    sample: &mut Sample<'_>,
    topic: TopicRef<'_>,
    partition: i32,
    errors: &[i16],
    leader: i32,
    leader_epoch: i32,
) {
    if leader >= 0 && errors.iter().any(|error| [6, 74].contains(error)) {
        let leader = CurrentLeader { seq: SEQ, topic, partition, leader, leader_epoch };
        sample.sees(Observation::CurrentLeader(leader));
    }
}

pub(super) fn acknowledge<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::ShareAcknowledge, version);
    let request = ShareAcknowledgeRequest::default()
        .with_group_id(random.one_in(2).then(|| GroupId(name(random))))
        .with_member_id(maybe_name(random))
        .with_share_session_epoch(random.i32());
    sample.request(&request);
    sample.sees(Observation::ShareAcknowledgeHead(ShareHead {
        seq: SEQ,
        group: request.group_id.as_ref().map(|id| id.as_bytes()),
        member_id: bytes(&request.member_id),
        session_epoch: request.share_session_epoch,
    }));

    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            AcknowledgedPartition::default()
                .with_partition_index(random.i32())
                .with_error_code(partition_error(random))
                .with_error_message(maybe_name(random))
                .with_current_leader(
                    AcknowledgeLeader::default()
                        .with_leader_id(random.i32())
                        .with_leader_epoch(random.i32())
                        .with_unknown_tagged_fields(unknown_tags(random, true)),
                )
                .with_unknown_tagged_fields(unknown_tags(random, true))
        });
        ShareAcknowledgeTopicResponse::default()
            .with_topic_id(topic_id(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let endpoints = some(random, |random| AcknowledgeEndpoint::default().with_host(name(random)));
    let response = ShareAcknowledgeResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_error_message(maybe_name(random))
        .with_responses(topics)
        .with_node_endpoints(endpoints)
        .with_unknown_tagged_fields(unknown_tags(random, true));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    for answer in &response.responses {
        let topic = identified(answer.topic_id);
        for it in &answer.partitions {
            let (partition, error) = (it.partition_index, ErrorCode(it.error_code));
            sample.expected.errors.push(it.error_code);
            sample.sees(Observation::ShareAcknowledged(ShareAcknowledged { seq: SEQ, topic, partition, error }));
            let errors = [it.error_code];
            leader(&mut sample, topic, partition, &errors, it.current_leader.leader_id, it.current_leader.leader_epoch);
        }
    }
    sample
}
