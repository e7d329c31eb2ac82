//! Produce and Fetch. The batch heads of each partition are told apart: they stand in records, which the structs have as
//! bytes only.

use std::collections::HashSet;

use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch as FetchLeader, PartitionData,
};
use kafka_protocol::messages::produce_response::LeaderIdAndEpoch as ProduceLeader;
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use kafkascope_protocol::{
    Acks, BatchHead, CurrentLeader, DivergingEpoch, ErrorCode, FetchAsked, FetchForgotten, FetchHead, FetchPartition,
    Observation, PartitionBatch, ProduceHead, ProducePartition, ProduceResult, TopicRef,
};

use super::{Expected, SEQ, topic};

pub(crate) fn produce_request(
    expected: &mut Expected<'_>,
    request: &ProduceRequest,
    version: i16,
    heads: &[Vec<BatchHead>],
) {
    expected.sees(Observation::ProduceHead(ProduceHead {
        seq: SEQ,
        acks: acks(request.acks),
        timeout_ms: request.timeout_ms,
        transactional_id: request.transactional_id.as_ref().map(|id| id.0.as_bytes()),
    }));
    let mut heads = heads.iter();
    for data in &request.topic_data {
        let topic = topic(&data.name, data.topic_id, version >= 13);
        for partition in &data.partition_data {
            let record_bytes = partition.records.as_ref().map_or(0, |records| records.len() as u64);
            expected.sees(Observation::ProducePartition(ProducePartition {
                seq: SEQ,
                topic,
                partition: partition.index,
                record_bytes,
            }));
            let heads = heads.next().into_iter().flatten();
            for batch in batches(topic, partition.index, None, heads) {
                expected.sees(Observation::ProduceBatch(batch));
            }
        }
    }
}

pub(crate) fn acks(acks: i16) -> Acks {
    match acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        other => Acks::Other(other),
    }
}

pub(crate) fn produce_response(expected: &mut Expected<'_>, response: &ProduceResponse, version: i16) {
    expected.throttle_ms = Some(response.throttle_time_ms);
    for answer in &response.responses {
        let topic = topic(&answer.name, answer.topic_id, version >= 13);
        for partition in &answer.partition_responses {
            expected.errors.push(partition.error_code);
            expected.sees(Observation::ProduceResult(ProduceResult {
                seq: SEQ,
                topic,
                partition: partition.index,
                error: ErrorCode(partition.error_code),
                base_offset: partition.base_offset,
                log_start_offset: (version >= 5).then_some(partition.log_start_offset),
            }));
            let leader = &partition.current_leader;
            if *leader != ProduceLeader::default() {
                let (partition, leader, leader_epoch) = (partition.index, leader.leader_id.0, leader.leader_epoch);
                let leader = CurrentLeader { seq: SEQ, topic, partition, leader, leader_epoch };
                expected.sees(Observation::CurrentLeader(leader));
            }
        }
    }
}

pub(crate) fn fetch_request(expected: &mut Expected<'_>, request: &FetchRequest, version: i16) {
    expected.sees(Observation::FetchHead(FetchHead {
        seq: SEQ,
        replica_id: Some(request.replica_id.0),
        max_wait_ms: request.max_wait_ms,
        min_bytes: request.min_bytes,
        max_bytes: Some(request.max_bytes),
        read_committed: request.isolation_level == 1,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
    }));
    for asked in &request.topics {
        let topic = topic(&asked.topic, asked.topic_id, version >= 13);
        for partition in &asked.partitions {
            expected.sees(Observation::FetchAsked(FetchAsked {
                seq: SEQ,
                topic,
                partition: partition.partition,
                fetch_offset: partition.fetch_offset,
            }));
        }
    }
    for forgotten in &request.forgotten_topics_data {
        let topic = topic(&forgotten.topic, forgotten.topic_id, version >= 13);
        for &partition in &forgotten.partitions {
            expected.sees(Observation::FetchForgotten(FetchForgotten { seq: SEQ, topic, partition }));
        }
    }
}

pub(crate) fn fetch_response(
    expected: &mut Expected<'_>,
    request: &FetchRequest,
    response: &FetchResponse,
    version: i16,
    heads: &[Vec<BatchHead>],
) {
    expected.throttle_ms = Some(response.throttle_time_ms);
    expected.errors.push(response.error_code);
    let mut heads = heads.iter();
    for answer in &response.responses {
        let topic = topic(&answer.topic, answer.topic_id, version >= 13);
        for partition in &answer.partitions {
            let fetch_offset = request
                .topics
                .iter()
                .filter(|asked| (&asked.topic, asked.topic_id) == (&answer.topic, answer.topic_id))
                .flat_map(|asked| &asked.partitions)
                .find(|asked| asked.partition == partition.partition_index)
                .map(|asked| asked.fetch_offset);
            expected.errors.push(partition.error_code);
            expected.sees(Observation::FetchPartition(FetchPartition {
                seq: SEQ,
                topic,
                partition: partition.partition_index,
                error: ErrorCode(partition.error_code),
                high_watermark: partition.high_watermark,
                last_stable_offset: Some(partition.last_stable_offset),
                log_start_offset: (version >= 5).then_some(partition.log_start_offset),
                fetch_offset,
                record_bytes: record_bytes(partition) as u64,
            }));
            let heads = heads.next().into_iter().flatten();
            let mut of_partition = batches(topic, partition.partition_index, fetch_offset, heads);
            leave_out_aborted(&mut of_partition, partition.aborted_transactions.as_deref().unwrap_or_default());
            for batch in of_partition {
                expected.sees(Observation::FetchBatch(batch));
            }
            let (diverging, leader) = (&partition.diverging_epoch, &partition.current_leader);
            if *diverging != EpochEndOffset::default() {
                expected.sees(Observation::DivergingEpoch(DivergingEpoch {
                    seq: SEQ,
                    topic,
                    partition: partition.partition_index,
                    epoch: diverging.epoch,
                    end_offset: diverging.end_offset,
                }));
            }
            if *leader != FetchLeader::default() {
                let (partition, leader, leader_epoch) =
                    (partition.partition_index, leader.leader_id.0, leader.leader_epoch);
                let leader = CurrentLeader { seq: SEQ, topic, partition, leader, leader_epoch };
                expected.sees(Observation::CurrentLeader(leader));
            }
        }
    }
}

pub(crate) fn record_bytes(partition: &PartitionData) -> usize {
    partition.records.as_ref().map_or(0, |records| records.len())
}

fn batches<'a, 'h>(
    topic: TopicRef<'a>,
    partition: i32,
    fetch_offset: Option<i64>,
    heads: impl Iterator<Item = &'h BatchHead>,
) -> Vec<PartitionBatch<'a>> {
    heads.map(|head| PartitionBatch { seq: SEQ, topic, partition, fetch_offset, aborted: false, head: *head }).collect()
}

/// As Kafka's consumer does it, for which every control batch here is an abort marker.
fn leave_out_aborted(batches: &mut [PartitionBatch<'_>], transactions: &[AbortedTransaction]) {
    let mut transactions: Vec<_> = transactions.iter().map(|it| (it.first_offset, it.producer_id.0)).collect();
    transactions.sort_unstable();
    let mut transactions = transactions.into_iter().peekable();
    let mut aborted = HashSet::new();
    for batch in batches {
        let last = batch.head.base_offset + i64::from(batch.head.last_offset_delta);
        while let Some((_, producer_id)) = transactions.next_if(|(first, _)| *first <= last) {
            aborted.insert(producer_id);
        }
        if !batch.head.is_transactional() {
            continue;
        }
        if batch.head.is_control() {
            aborted.remove(&batch.head.producer_id);
        } else {
            batch.aborted = aborted.contains(&batch.head.producer_id);
        }
    }
}
