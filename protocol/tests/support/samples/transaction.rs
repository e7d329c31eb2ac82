//! Idempotent and transactional producers.

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey,
    EndTxnRequest, EndTxnResponse, GroupId, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TransactionalId,
};
use kafkascope_protocol::{
    ErrorCode, InitProducer, Observation, ProducerIdentity, Transaction, TransactionEnd, TransactionGroup,
};

use super::{Sample, error, name, some};
use crate::support::expected::SEQ;
use crate::support::log::Arena;
use crate::support::messages::{topic_name, unknown_tags};
use crate::support::random::Random;
use crate::support::wire::Wire;

pub(super) fn init<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::InitProducerId, version);
    let flexible = version >= 2;
    let mut request = InitProducerIdRequest::default()
        .with_transactional_id(random.one_in(2).then(|| TransactionalId(name(random))))
        .with_transaction_timeout_ms(random.i32())
        .with_unknown_tagged_fields(unknown_tags(random, flexible && version < 6));
    if version >= 3 {
        request = request.with_producer_id(ProducerId(random.i64())).with_producer_epoch(random.i16());
    }
    let transactional_id = request.transactional_id.clone();
    if version >= 6 {
        // The crate does not know its schema.
        sample.request = Wire::new()
            .compact_string(transactional_id.as_ref().map(|id| &***id))
            .i32(request.transaction_timeout_ms)
            .i64(request.producer_id.0)
            .i16(request.producer_epoch)
            .i8(1)
            .i8(0)
            .uvarint(0)
            .0;
    } else {
        sample.request(&request);
    }
    sample.sees(Observation::InitProducer(InitProducer {
        seq: SEQ,
        transactional_id: transactional_id.as_ref().map(|id| id.as_bytes()),
        timeout_ms: request.transaction_timeout_ms,
    }));

    let mut response = InitProducerIdResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_producer_id(ProducerId(random.i64()))
        .with_producer_epoch(random.i16())
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 6 {
        response = response.with_ongoing_txn_producer_id(ProducerId(random.i64()));
    }
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    identity(&mut sample, response.error_code, response.producer_id, response.producer_epoch);
    sample
}

fn identity(sample: &mut Sample<'_>, error: i16, producer_id: ProducerId, producer_epoch: i16) {
    sample.sees(Observation::ProducerIdentity(ProducerIdentity {
        seq: SEQ,
        error: ErrorCode(error),
        producer_id: producer_id.0,
        producer_epoch,
    }));
}

pub(super) fn add_partitions<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::AddPartitionsToTxn, version);
    sample.request(&AddPartitionsToTxnRequest::default());
    let flexible = version >= 3;
    let topics = |random: &mut Random| {
        some(random, |random| {
            let partitions = some(random, |random| {
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(random.i32())
                    .with_partition_error_code(error(random))
                    .with_unknown_tagged_fields(unknown_tags(random, flexible))
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic_name(random))
                .with_results_by_partition(partitions)
                .with_unknown_tagged_fields(unknown_tags(random, flexible))
        })
    };
    let mut response = AddPartitionsToTxnResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    response = if version >= 4 {
        let transactions = some(random, |random| {
            AddPartitionsToTxnResult::default()
                .with_transactional_id(TransactionalId(name(random)))
                .with_topic_results(topics(random))
                .with_unknown_tagged_fields(unknown_tags(random, true))
        });
        response.with_error_code(error(random)).with_results_by_transaction(transactions)
    } else {
        response.with_results_by_topic_v3_and_below(topics(random))
    };
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    let of_transactions = response.results_by_transaction.iter().flat_map(|transaction| &transaction.topic_results);
    for topic in of_transactions.chain(&response.results_by_topic_v3_and_below) {
        sample
            .expected
            .errors
            .extend(topic.results_by_partition.iter().map(|partition| partition.partition_error_code));
    }
    sample
}

pub(super) fn add_offsets<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::AddOffsetsToTxn, version);
    let flexible = version >= 3;
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(name(random)))
        .with_producer_id(ProducerId(random.i64()))
        .with_producer_epoch(random.i16())
        .with_group_id(GroupId(name(random)))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.request(&request);
    sample.sees(Observation::TransactionGroup(TransactionGroup {
        seq: SEQ,
        transaction: Transaction {
            transactional_id: request.transactional_id.as_bytes(),
            producer_id: request.producer_id.0,
            producer_epoch: request.producer_epoch,
        },
        group: request.group_id.as_bytes(),
    }));
    let response = AddOffsetsToTxnResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    sample
}

pub(super) fn end<'a>(arena: &'a Arena, random: &mut Random, version: i16) -> Sample<'a> {
    let mut sample = Sample::new(arena, ApiKey::EndTxn, version);
    let flexible = version >= 3;
    let request = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(name(random)))
        .with_producer_id(ProducerId(random.i64()))
        .with_producer_epoch(random.i16())
        .with_committed(random.one_in(2))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    sample.request(&request);
    sample.sees(Observation::TransactionEnd(TransactionEnd {
        seq: SEQ,
        transaction: Transaction {
            transactional_id: request.transactional_id.as_bytes(),
            producer_id: request.producer_id.0,
            producer_epoch: request.producer_epoch,
        },
        committed: request.committed,
    }));
    let mut response = EndTxnResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_error_code(error(random))
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 5 {
        response = response.with_producer_id(ProducerId(random.i64())).with_producer_epoch(random.i16());
        identity(&mut sample, response.error_code, response.producer_id, response.producer_epoch);
    }
    sample.response(&response);
    sample.expected.throttle_ms = Some(response.throttle_time_ms);
    sample.expected.errors.push(response.error_code);
    sample
}
