//! Offsets: commits, what was committed, what logs hold.

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, GroupId, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProducerId, TransactionalId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafkascope_protocol::{CommitHead, CommitPartition, CommittedGroup, EpochEnd, ErrorCode, Observation, Transaction};

use super::{Sample, error, maybe_name, name, some};
use crate::support::expected::{self, SEQ, bytes, named};
use crate::support::log::Arena;
use crate::support::messages::{topic_id, topic_name, unknown_tags};
use crate::support::random::Random;
use crate::support::wire::Wire;

pub(super) fn commit<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::OffsetCommit, version);
    let flexible = version >= 8;
    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(random.i32())
                .with_committed_offset(random.i64())
                .with_committed_metadata(maybe_name(random))
                .with_unknown_tagged_fields(unknown_tags(random, flexible && version < 10));
            if version >= 6 { partition.with_committed_leader_epoch(random.i32()) } else { partition }
        });
        let topic = OffsetCommitRequestTopic::default()
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible && version < 10));
        if version >= 10 { topic.with_topic_id(topic_id(random)) } else { topic.with_name(topic_name(random)) }
    });
    let mut request = OffsetCommitRequest::default()
        .with_group_id(GroupId(name(random)))
        .with_generation_id_or_member_epoch(random.i32())
        .with_member_id(name(random))
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible && version < 10));
    if version >= 7 {
        request = request.with_group_instance_id(maybe_name(random));
    }
    if version <= 4 {
        request = request.with_retention_time_ms(random.i64());
    }
    if version >= 10 {
        // The crate does not know its schema.
        sample.request = commit_v10(&request);
    } else {
        sample.request(&request);
    }
    expected::offset::commit_request(&mut sample.expected, &request, version);

    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(random.i32())
                .with_error_code(error(random))
                .with_unknown_tagged_fields(unknown_tags(random, flexible))
        });
        let topic = OffsetCommitResponseTopic::default()
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible));
        if version >= 10 { topic.with_topic_id(topic_id(random)) } else { topic.with_name(topic_name(random)) }
    });
    let mut response =
        OffsetCommitResponse::default().with_topics(topics).with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 3 {
        response = response.with_throttle_time_ms(random.i32());
    }
    sample.response(&response);
    expected::offset::commit_response(&mut sample.expected, &response, version);
    sample
}

fn commit_v10(request: &OffsetCommitRequest) -> Vec<u8> {
    let mut wire = Wire::new()
        .compact_string(Some(&request.group_id))
        .i32(request.generation_id_or_member_epoch)
        .compact_string(Some(&request.member_id))
        .compact_string(request.group_instance_id.as_deref())
        .uvarint(request.topics.len() as u32 + 1);
    for topic in &request.topics {
        wire = wire.raw(topic.topic_id.as_bytes()).uvarint(topic.partitions.len() as u32 + 1);
        for partition in &topic.partitions {
            wire = wire
                .i32(partition.partition_index)
                .i64(partition.committed_offset)
                .i32(partition.committed_leader_epoch)
                .compact_string(partition.committed_metadata.as_deref())
                .uvarint(0);
        }
        wire = wire.uvarint(0);
    }
    wire.uvarint(0).0
}

pub(super) fn transactional_commit<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::TxnOffsetCommit, version);
    let flexible = version >= 3;
    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            let partition = TxnOffsetCommitRequestPartition::default()
                .with_partition_index(random.i32())
                .with_committed_offset(random.i64())
                .with_committed_metadata(maybe_name(random))
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 2 { partition.with_committed_leader_epoch(random.i32()) } else { partition }
        });
        TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let mut request = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(name(random)))
        .with_group_id(GroupId(name(random)))
        .with_producer_id(ProducerId(random.i64()))
        .with_producer_epoch(random.i16())
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 3 {
        request = request
            .with_generation_id(random.i32())
            .with_member_id(name(random))
            .with_group_instance_id(maybe_name(random));
    }
    sample.request(&request);
    sample.sees(Observation::CommitHead(CommitHead {
        seq: SEQ,
        group: request.group_id.as_bytes(),
        generation: (version >= 3).then_some(request.generation_id),
        member_id: (version >= 3).then_some(request.member_id.as_bytes()),
        instance_id: bytes(&request.group_instance_id),
        transaction: Some(Transaction {
            transactional_id: request.transactional_id.as_bytes(),
            producer_id: request.producer_id.0,
            producer_epoch: request.producer_epoch,
        }),
    }));
    for topic in &request.topics {
        for partition in &topic.partitions {
            sample.sees(Observation::CommitPartition(CommitPartition {
                seq: SEQ,
                topic: named(&topic.name),
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: (version >= 2).then_some(partition.committed_leader_epoch),
            }));
        }
    }

    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(random.i32())
                .with_error_code(error(random))
                .with_unknown_tagged_fields(unknown_tags(random, flexible))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic_name(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let response = TxnOffsetCommitResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.response(&response);
    for topic in &response.topics {
        for partition in &topic.partitions {
            expected::offset::committed(
                &mut sample.expected,
                named(&topic.name),
                partition.partition_index,
                partition.error_code,
            );
        }
    }
    sample
}

pub(super) fn delete<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::OffsetDelete, version);
    let topics = some(random, |random| {
        let partitions =
            some(random, |random| OffsetDeleteRequestPartition::default().with_partition_index(random.i32()));
        OffsetDeleteRequestTopic::default().with_name(topic_name(random)).with_partitions(partitions)
    });
    let request = OffsetDeleteRequest::default().with_group_id(GroupId(name(random))).with_topics(topics);
    sample.request(&request);
    let group = CommittedGroup { seq: SEQ, group: request.group_id.as_bytes() };
    sample.sees(Observation::CommittedGroup(group));
    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            OffsetDeleteResponsePartition::default().with_partition_index(random.i32()).with_error_code(error(random))
        });
        OffsetDeleteResponseTopic::default().with_name(topic_name(random)).with_partitions(partitions)
    });
    let response = OffsetDeleteResponse::default()
        .with_error_code(error(random))
        .with_throttle_time_ms(random.i32())
        .with_topics(topics);
    sample.response(&response);
    expected::offset::delete_response(&mut sample.expected, &response);
    sample
}

pub(super) fn fetch<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::OffsetFetch, version);
    let group = GroupId(name(random));
    if version >= 8 {
        let groups = vec![OffsetFetchRequestGroup::default().with_group_id(group)];
        // The crate does not know the newest schema. It is not looked at.
        sample.request = super::encoded(&OffsetFetchRequest::default().with_groups(groups), version.min(9));
        fetched_of_groups(&mut sample, random);
        return sample;
    }
    let topics = some(random, |random| {
        OffsetFetchRequestTopic::default()
            .with_name(topic_name(random))
            .with_partition_indexes(some(random, Random::i32))
    });
    let request = OffsetFetchRequest::default().with_group_id(group).with_topics(Some(topics));
    sample.request(&request);
    expected::offset::fetch_request(&mut sample.expected, &request, version);

    let flexible = version >= 6;
    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(random.i32())
                .with_committed_offset(random.i64())
                .with_metadata(maybe_name(random))
                .with_error_code(error(random))
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 5 { partition.with_committed_leader_epoch(random.i32()) } else { partition }
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic_name(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let mut response =
        OffsetFetchResponse::default().with_topics(topics).with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 2 {
        response = response.with_error_code(error(random));
    }
    if version >= 3 {
        response = response.with_throttle_time_ms(random.i32());
    }
    sample.response(&response);
    expected::offset::fetch_response(&mut sample.expected, &response, version);
    sample
}

fn fetched_of_groups(sample: &mut Sample<'_>, random: &mut Random) {
    let version = sample.version;
    let groups = some(random, |random| {
        let topics = some(random, |random| {
            let partitions = some(random, |random| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(random.i32())
                    .with_committed_offset(random.i64())
                    .with_committed_leader_epoch(random.i32())
                    .with_metadata(maybe_name(random))
                    .with_error_code(error(random))
                    .with_unknown_tagged_fields(unknown_tags(random, true))
            });
            let topic = OffsetFetchResponseTopics::default()
                .with_partitions(partitions)
                .with_unknown_tagged_fields(unknown_tags(random, true));
            if version >= 10 { topic.with_topic_id(topic_id(random)) } else { topic.with_name(topic_name(random)) }
        });
        OffsetFetchResponseGroup::default()
            .with_group_id(GroupId(name(random)))
            .with_topics(topics)
            .with_error_code(error(random))
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let response = OffsetFetchResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_groups(groups)
        .with_unknown_tagged_fields(unknown_tags(random, true));
    sample.response(&response);
    expected::offset::fetch_response(&mut sample.expected, &response, version);
}

pub(super) fn list_offsets<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::ListOffsets, version);
    let flexible = version >= 6;
    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(random.i32())
                .with_timestamp([-1, -2, random.i64()][random.below(3)])
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 4 { partition.with_current_leader_epoch(random.i32()) } else { partition }
        });
        ListOffsetsTopic::default()
            .with_name(topic_name(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let mut request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(random.i32()))
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 2 {
        request = request.with_isolation_level(random.below(2) as i8);
    }
    if version >= 10 {
        request = request.with_timeout_ms(random.i32());
    }
    sample.request(&request);
    expected::offset::list_request(&mut sample.expected, &request);

    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            let partition = ListOffsetsPartitionResponse::default()
                .with_partition_index(random.i32())
                .with_error_code(error(random))
                .with_timestamp(random.i64())
                .with_offset(random.i64())
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 4 { partition.with_leader_epoch(random.i32()) } else { partition }
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic_name(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let mut response =
        ListOffsetsResponse::default().with_topics(topics).with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 2 {
        response = response.with_throttle_time_ms(random.i32());
    }
    sample.response(&response);
    expected::offset::list_response(&mut sample.expected, &response, version);
    sample
}

pub(super) fn leader_epoch<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::OffsetForLeaderEpoch, version);
    sample.request(&OffsetForLeaderEpochRequest::default());
    let flexible = version >= 4;
    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            EpochEndOffset::default()
                .with_error_code(error(random))
                .with_partition(random.i32())
                .with_leader_epoch(random.i32())
                .with_end_offset(random.i64())
                .with_unknown_tagged_fields(unknown_tags(random, flexible))
        });
        OffsetForLeaderTopicResult::default()
            .with_topic(topic_name(random))
            .with_partitions(partitions)
            .with_unknown_tagged_fields(unknown_tags(random, flexible))
    });
    let response = OffsetForLeaderEpochResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.response(&response);
    for topic in &response.topics {
        for partition in &topic.partitions {
            sample.expected.errors.push(partition.error_code);
            sample.sees(Observation::EpochEnd(EpochEnd {
                seq: SEQ,
                topic: named(&topic.topic),
                partition: partition.partition,
                error: ErrorCode(partition.error_code),
                leader_epoch: Some(partition.leader_epoch),
                end_offset: partition.end_offset,
            }));
        }
    }
    sample
}
