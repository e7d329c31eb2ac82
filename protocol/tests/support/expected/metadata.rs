//! Metadata: brokers, topics, partitions.

use kafka_protocol::messages::{BrokerId, MetadataResponse};
use kafkascope_protocol::{Broker, ErrorCode, NodeIds, Observation, PartitionMetadata, TopicMetadata};

use super::{Expected, SEQ, id};

pub(crate) fn response(expected: &mut Expected<'_>, response: &MetadataResponse, version: i16) {
    expected.throttle_ms = (version >= 3).then_some(response.throttle_time_ms);
    for broker in &response.brokers {
        let (id, host, port) = (broker.node_id.0, broker.host.as_bytes(), broker.port);
        expected.sees(Observation::Broker(Broker { seq: SEQ, id, host, port }));
    }
    if let Some(id) = &response.cluster_id {
        expected.sees(Observation::ClusterId(id.as_bytes()));
    }
    for topic in &response.topics {
        let name = topic.name.as_ref().map(|name| name.0.as_bytes());
        let id = (version >= 10).then(|| id(topic.topic_id));
        expected.errors.push(topic.error_code);
        let error = ErrorCode(topic.error_code);
        expected.sees(Observation::TopicMetadata(TopicMetadata { seq: SEQ, error, name, id }));
        for partition in &topic.partitions {
            expected.errors.push(partition.error_code);
            let [replicas, in_sync, offline] =
                [&partition.replica_nodes, &partition.isr_nodes, &partition.offline_replicas].map(|ids| wire(ids));
            expected.sees(Observation::PartitionMetadata(PartitionMetadata {
                seq: SEQ,
                name,
                id,
                error: ErrorCode(partition.error_code),
                partition: partition.partition_index,
                leader: partition.leader_id.0,
                leader_epoch: (version >= 7).then_some(partition.leader_epoch),
                replicas: NodeIds::from_wire(&replicas),
                in_sync: NodeIds::from_wire(&in_sync),
                offline: NodeIds::from_wire(&offline),
            }));
        }
    }
    expected.errors.push(response.error_code);
}

fn wire(ids: &[BrokerId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0.to_be_bytes()).collect()
}
