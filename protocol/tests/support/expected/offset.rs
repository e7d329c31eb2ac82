//! Offsets: commits, what was committed, what logs hold.

use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};
use kafkascope_protocol::{
    CommitHead, CommitPartition, CommitResult, CommittedGroup, CommittedOffset, ErrorCode, ListOffsetsHead,
    Observation, OffsetAsked, OffsetListed, TopicRef,
};

use super::{Expected, SEQ, bytes, named, topic};

pub(crate) fn commit_request(expected: &mut Expected<'_>, request: &OffsetCommitRequest, version: i16) {
    expected.sees(Observation::CommitHead(CommitHead {
        seq: SEQ,
        group: request.group_id.as_bytes(),
        generation: (version >= 1).then_some(request.generation_id_or_member_epoch),
        member_id: (version >= 1).then_some(request.member_id.as_bytes()),
        instance_id: bytes(&request.group_instance_id),
        transaction: None,
    }));
    for asked in &request.topics {
        let topic = topic(&asked.name, asked.topic_id, version >= 10);
        for partition in &asked.partitions {
            expected.sees(Observation::CommitPartition(CommitPartition {
                seq: SEQ,
                topic,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: (version >= 6).then_some(partition.committed_leader_epoch),
            }));
        }
    }
}

pub(crate) fn commit_response(expected: &mut Expected<'_>, response: &OffsetCommitResponse, version: i16) {
    expected.throttle_ms = (version >= 3).then_some(response.throttle_time_ms);
    for answer in &response.topics {
        let topic = topic(&answer.name, answer.topic_id, version >= 10);
        for partition in &answer.partitions {
            committed(expected, topic, partition.partition_index, partition.error_code);
        }
    }
}

/// A partition's part of the answer to a commit.
pub(crate) fn committed(expected: &mut Expected<'_>, topic: TopicRef<'_>, partition: i32, error: i16) {
    expected.errors.push(error);
    expected.sees(Observation::CommitResult(CommitResult { seq: SEQ, topic, partition, error: ErrorCode(error) }));
}

pub(crate) fn fetch_request(expected: &mut Expected<'_>, request: &OffsetFetchRequest, version: i16) {
    if version < 8 {
        expected.sees(Observation::CommittedGroup(CommittedGroup { seq: SEQ, group: request.group_id.as_bytes() }));
    }
}

pub(crate) fn fetch_response(expected: &mut Expected<'_>, response: &OffsetFetchResponse, version: i16) {
    expected.throttle_ms = (version >= 3).then_some(response.throttle_time_ms);
    if version < 8 {
        for topic in &response.topics {
            for partition in &topic.partitions {
                let (offset, error) = (partition.committed_offset, partition.error_code);
                fetched(expected, named(&topic.name), partition.partition_index, offset, error);
            }
        }
        expected.errors.push(response.error_code);
    }
    for group in &response.groups {
        expected.sees(Observation::CommittedGroup(CommittedGroup { seq: SEQ, group: group.group_id.as_bytes() }));
        for answer in &group.topics {
            let topic = topic(&answer.name, answer.topic_id, version >= 10);
            for partition in &answer.partitions {
                let (offset, error) = (partition.committed_offset, partition.error_code);
                fetched(expected, topic, partition.partition_index, offset, error);
            }
        }
        expected.errors.push(group.error_code);
    }
}

pub(crate) fn delete_response(expected: &mut Expected<'_>, response: &OffsetDeleteResponse) {
    expected.throttle_ms = Some(response.throttle_time_ms);
    expected.errors.push(response.error_code);
    for topic in &response.topics {
        for partition in &topic.partitions {
            fetched(expected, named(&topic.name), partition.partition_index, -1, partition.error_code);
        }
    }
}

fn fetched(expected: &mut Expected<'_>, topic: TopicRef<'_>, partition: i32, offset: i64, error: i16) {
    expected.errors.push(error);
    let error = ErrorCode(error);
    expected.sees(Observation::CommittedOffset(CommittedOffset { seq: SEQ, topic, partition, offset, error }));
}

pub(crate) fn list_request(expected: &mut Expected<'_>, request: &ListOffsetsRequest) {
    expected.sees(Observation::ListOffsetsHead(ListOffsetsHead {
        seq: SEQ,
        replica_id: request.replica_id.0,
        read_committed: request.isolation_level == 1,
    }));
    for topic in &request.topics {
        for partition in &topic.partitions {
            expected.sees(Observation::OffsetAsked(OffsetAsked {
                seq: SEQ,
                topic: named(&topic.name),
                partition: partition.partition_index,
                timestamp: partition.timestamp,
            }));
        }
    }
}

pub(crate) fn list_response(expected: &mut Expected<'_>, response: &ListOffsetsResponse, version: i16) {
    expected.throttle_ms = (version >= 2).then_some(response.throttle_time_ms);
    for topic in &response.topics {
        for partition in &topic.partitions {
            expected.errors.push(partition.error_code);
            expected.sees(Observation::OffsetListed(OffsetListed {
                seq: SEQ,
                topic: named(&topic.name),
                partition: partition.partition_index,
                error: ErrorCode(partition.error_code),
                timestamp: partition.timestamp,
                offset: partition.offset,
                leader_epoch: (version >= 4).then_some(partition.leader_epoch),
            }));
        }
    }
}
