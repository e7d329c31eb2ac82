//! The cluster: topics that come and go, brokers, partitions.

use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use kafkascope_protocol::{
    Broker, Controller, ErrorCode, NodeIds, Observation, PartitionMetadata, TopicCreated, TopicDeleted, TopicMetadata,
};

use super::{Sample, error, maybe_name, name, some};
use crate::support::expected::{self, SEQ};
use crate::support::log::Arena;
use crate::support::messages::{topic_id, topic_name, unknown_tags};
use crate::support::random::Random;

pub(super) fn create_topics<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::CreateTopics, version);
    sample.request(&CreateTopicsRequest::default());
    let flexible = version >= 5;
    let topics = some(random, |random| {
        let mut topic = CreatableTopicResult::default()
            .with_name(topic_name(random))
            .with_error_code(error(random))
            .with_error_message(maybe_name(random))
            .with_unknown_tagged_fields(unknown_tags(random, flexible));
        if version >= 5 {
            let configs = random.one_in(2).then(|| {
                some(random, |random| {
                    CreatableTopicConfigs::default()
                        .with_name(name(random))
                        .with_value(maybe_name(random))
                        .with_read_only(random.one_in(2))
                        .with_config_source(random.i8())
                        .with_is_sensitive(random.one_in(2))
                        .with_unknown_tagged_fields(unknown_tags(random, true))
                })
            });
            topic = topic
                .with_num_partitions(random.i32())
                .with_replication_factor(random.i16())
                .with_configs(configs)
                .with_topic_config_error_code(error(random));
        }
        if version >= 7 { topic.with_topic_id(topic_id(random)) } else { topic }
    });
    let response = CreateTopicsResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    for topic in &response.topics {
        sample.expected.errors.push(topic.error_code);
        sample.sees(Observation::TopicCreated(TopicCreated {
            seq: SEQ,
            error: ErrorCode(topic.error_code),
            name: topic.name.0.as_bytes(),
            id: (version >= 7).then(|| expected::id(topic.topic_id)),
            partitions: (version >= 5).then_some(topic.num_partitions),
        }));
    }
    sample
}

pub(super) fn delete_topics<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::DeleteTopics, version);
    sample.request(&DeleteTopicsRequest::default());
    let flexible = version >= 4;
    let topics = some(random, |random| {
        let mut topic = DeletableTopicResult::default()
            .with_name(Some(topic_name(random)))
            .with_error_code(error(random))
            .with_unknown_tagged_fields(unknown_tags(random, flexible));
        if version >= 5 {
            topic = topic.with_error_message(maybe_name(random));
        }
        if version >= 6 {
            topic = topic.with_topic_id(topic_id(random));
            if random.one_in(3) {
                topic = topic.with_name(None);
            }
        }
        topic
    });
    let response = DeleteTopicsResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_responses(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    for topic in &response.responses {
        sample.expected.errors.push(topic.error_code);
        sample.sees(Observation::TopicDeleted(TopicDeleted {
            seq: SEQ,
            error: ErrorCode(topic.error_code),
            name: topic.name.as_ref().map(|name| name.0.as_bytes()),
            id: (version >= 6).then(|| expected::id(topic.topic_id)),
        }));
    }
    sample
}

pub(super) fn describe<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::DescribeCluster, version);
    sample.request(&DescribeClusterRequest::default());
    let brokers = some(random, |random| {
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(random.i32()))
            .with_host(name(random))
            .with_port(random.i32())
            .with_rack(maybe_name(random))
            .with_unknown_tagged_fields(unknown_tags(random, true));
        if version >= 2 { broker.with_is_fenced(random.one_in(2)) } else { broker }
    });
    let mut response = DescribeClusterResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_error_message(maybe_name(random))
        .with_cluster_id(name(random))
        .with_controller_id(BrokerId(random.i32()))
        .with_brokers(brokers)
        .with_cluster_authorized_operations(random.i32())
        .with_unknown_tagged_fields(unknown_tags(random, true));
    if version >= 1 {
        response = response.with_endpoint_type(1 + random.below(2) as i8);
    }
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    let from_controller = response.endpoint_type == 2;
    if response.error_code == 0 {
        sample.sees(Observation::ClusterId(response.cluster_id.as_bytes()));
        let id = response.controller_id.0;
        sample.sees(Observation::Controller(Controller { seq: SEQ, id, from_controller }));
    }
    for broker in response.brokers.iter().filter(|_| !from_controller) {
        sample.sees(Observation::Broker(Broker {
            seq: SEQ,
            id: broker.broker_id.0,
            host: broker.host.as_bytes(),
            port: broker.port,
        }));
    }
    sample
}

pub(super) fn describe_topics<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::DescribeTopicPartitions, version);
    sample.request(&DescribeTopicPartitionsRequest::default());
    let nodes = |random: &mut Random| some(random, |random| BrokerId(random.i32()));
    let topics = some(random, |random| {
        let partitions = some(random, |random| {
            DescribeTopicPartitionsResponsePartition::default()
                .with_error_code(error(random))
                .with_partition_index(random.i32())
                .with_leader_id(BrokerId(random.i32()))
                .with_leader_epoch(random.i32())
                .with_replica_nodes(nodes(random))
                .with_isr_nodes(nodes(random))
                .with_eligible_leader_replicas(random.one_in(2).then(|| nodes(random)))
                .with_last_known_elr(random.one_in(2).then(|| nodes(random)))
                .with_offline_replicas(nodes(random))
                .with_unknown_tagged_fields(unknown_tags(random, true))
        });
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(error(random))
            .with_name((!random.one_in(4)).then(|| topic_name(random)))
            .with_topic_id(topic_id(random))
            .with_is_internal(random.one_in(2))
            .with_partitions(partitions)
            .with_topic_authorized_operations(random.i32())
            .with_unknown_tagged_fields(unknown_tags(random, true))
    });
    let cursor = Cursor::default().with_topic_name(topic_name(random)).with_partition_index(random.i32());
    let response = DescribeTopicPartitionsResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_topics(topics)
        .with_next_cursor(random.one_in(2).then_some(cursor))
        .with_unknown_tagged_fields(unknown_tags(random, true));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    for topic in &response.topics {
        let name = topic.name.as_ref().map(|name| name.0.as_bytes());
        let id = Some(expected::id(topic.topic_id));
        sample.expected.errors.push(topic.error_code);
        let error = ErrorCode(topic.error_code);
        sample.sees(Observation::TopicMetadata(TopicMetadata { seq: SEQ, error, name, id }));
        for partition in &topic.partitions {
            let wire = |ids: &[BrokerId]| -> Vec<u8> { ids.iter().flat_map(|id| id.0.to_be_bytes()).collect() };
            sample.expected.errors.push(partition.error_code);
            sample.sees(Observation::PartitionMetadata(PartitionMetadata {
                seq: SEQ,
                name,
                id,
                error: ErrorCode(partition.error_code),
                partition: partition.partition_index,
                leader: partition.leader_id.0,
                leader_epoch: Some(partition.leader_epoch),
                replicas: NodeIds::from_wire(&wire(&partition.replica_nodes)),
                in_sync: NodeIds::from_wire(&wire(&partition.isr_nodes)),
                offline: NodeIds::from_wire(&wire(&partition.offline_replicas)),
            }));
        }
    }
    sample
}
