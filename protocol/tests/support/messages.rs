//! Random messages encoded by the `kafka-protocol` crate, each with what the decoder must say of it.
//!
//! Everything expected here is computed from the fields of the crate's structs, never from bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{
    FetchPartition as AskedPartition, FetchTopic, ForgottenTopic, ReplicaState,
};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch as FetchLeader,
    NodeEndpoint as FetchEndpoint, PartitionData,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch as ProduceLeader, NodeEndpoint as ProduceEndpoint,
    PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, ProducerId, RequestHeader, ResponseHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use kafkascope_protocol::BatchHead;
use uuid::Uuid;

use super::random::Random;

/// How much goes into a random message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) topics: usize,
    pub(crate) partitions: usize,
    pub(crate) batches: usize,
    pub(crate) records: usize,
    pub(crate) value: usize,
}

impl Size {
    pub(crate) const SMALL: Self = Self { topics: 3, partitions: 3, batches: 3, records: 4, value: 60 };
}

pub(crate) const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

pub(crate) fn text(value: impl Into<String>) -> StrBytes {
    StrBytes::from_string(value.into())
}

pub(crate) fn topic_name(random: &mut Random) -> TopicName {
    TopicName(text(format!("t{}", random.name(12))))
}

pub(crate) fn topic_id(random: &mut Random) -> Uuid {
    Uuid::from_u64_pair(random.next(), random.next())
}

/// Tagged fields that no schema knows, from number 100 on; only flexible versions have them.
pub(crate) fn unknown_tags(random: &mut Random, flexible: bool) -> std::collections::BTreeMap<i32, Bytes> {
    let count = if flexible && random.one_in(4) { 1 + random.below(2) } else { 0 };
    (0..count)
        .map(|i| {
            let length = random.below(200);
            (100 + 50 * i as i32, Bytes::from(random.bytes(length)))
        })
        .collect()
}

/// A whole request frame; the body is encoded by `kafka-protocol`.
pub(crate) fn request_frame<M: Encodable>(
    random: &mut Random,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &M,
) -> Vec<u8> {
    let mut encoded = BytesMut::new();
    body.encode(&mut encoded, version).unwrap_or_else(|error| panic!("{api:?} v{version} request: {error}"));
    request_frame_of(random, api, version, correlation_id, client_id, &encoded)
}

/// A whole request frame around any body.
pub(crate) fn request_frame_of(
    random: &mut Random,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &[u8],
) -> Vec<u8> {
    let header_version = api.request_header_version(version);
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id.map(text))
        .with_unknown_tagged_fields(unknown_tags(random, header_version >= 2));
    let mut encoded = BytesMut::new();
    header.encode(&mut encoded, header_version).expect("a request header");
    encoded.extend_from_slice(body);
    framed(&encoded)
}

/// A whole response frame; the body is encoded by `kafka-protocol`.
pub(crate) fn response_frame<M: Encodable>(
    random: &mut Random,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &M,
) -> Vec<u8> {
    let mut encoded = BytesMut::new();
    body.encode(&mut encoded, version).unwrap_or_else(|error| panic!("{api:?} v{version} response: {error}"));
    response_frame_of(random, api, version, correlation_id, &encoded)
}

/// A whole response frame around any body.
pub(crate) fn response_frame_of(
    random: &mut Random,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &[u8],
) -> Vec<u8> {
    let header_version = api.response_header_version(version);
    let header = ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .with_unknown_tagged_fields(unknown_tags(random, header_version >= 1));
    let mut encoded = BytesMut::new();
    header.encode(&mut encoded, header_version).expect("a response header");
    encoded.extend_from_slice(body);
    framed(&encoded)
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut frame = (content.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(content);
    frame
}

/// Record batches of magic 2 in all codecs, and the heads that they must be seen with.
pub(crate) fn record_batches(random: &mut Random, size: Size) -> (Vec<u8>, Vec<BatchHead>) {
    let mut bytes = BytesMut::new();
    let mut heads: Vec<BatchHead> = Vec::new();
    for _ in 0..random.below(size.batches + 1) {
        let compression = CODECS[random.below(CODECS.len())];
        let idempotent = random.one_in(2);
        let first = Record {
            transactional: random.one_in(3),
            control: random.one_in(6),
            delete_horizon: random.one_in(8),
            partition_leader_epoch: random.i32(),
            producer_id: if idempotent { [77, random.i64()][random.below(2)] } else { -1 },
            producer_epoch: if idempotent { random.i16() } else { -1 },
            timestamp_type: TimestampType::Creation,
            offset: heads
                .last()
                .map_or((random.next() >> 2) as i64, |it| it.base_offset + 100 + random.below(9) as i64),
            sequence: if idempotent { random.below(1 << 20) as i32 } else { -1 },
            timestamp: random.next() as i64 >> 20,
            key: None,
            value: None,
            headers: Default::default(),
        };
        let count = 1 + random.below(size.records);
        let records: Vec<Record> = (0..count)
            .map(|i| {
                let length = random.below(size.value + 1);
                let value = if random.one_in(2) { vec![b'v'; length] } else { random.bytes(length) };
                Record {
                    offset: first.offset + i as i64,
                    // The encoder starts a new batch when offsets and sequence numbers do not run in step.
                    sequence: first.sequence.wrapping_add(i as i32),
                    timestamp: first.timestamp + random.below(1000) as i64,
                    value: Some(Bytes::from(value)),
                    ..first.clone()
                }
            })
            .collect();
        let start = bytes.len();
        RecordBatchEncoder::encode(&mut bytes, &records, &RecordEncodeOptions { version: 2, compression })
            .expect("a record batch");
        let mut attributes = compression as i16;
        attributes |= i16::from(first.transactional) << 4;
        attributes |= i16::from(first.control) << 5;
        attributes |= i16::from(first.delete_horizon) << 6;
        let timestamps = records.iter().map(|record| record.timestamp);
        heads.push(BatchHead {
            magic: 2,
            base_offset: first.offset,
            bytes: (bytes.len() - start) as u64,
            attributes,
            last_offset_delta: count as i32 - 1,
            records: Some(count as u32),
            base_timestamp: if first.delete_horizon { -1 } else { timestamps.clone().min().unwrap_or(-1) },
            max_timestamp: timestamps.max().unwrap_or(-1),
            producer_id: first.producer_id,
            producer_epoch: first.producer_epoch,
            base_sequence: first.sequence,
            partial: false,
        });
    }
    (bytes.to_vec(), heads)
}

/// A Produce request (v3-13) and the batch heads of each partition in order.
pub(crate) fn produce_request(
    random: &mut Random,
    version: i16,
    acks: i16,
    size: Size,
) -> (ProduceRequest, Vec<Vec<BatchHead>>) {
    let flexible = version >= 9;
    let mut heads = Vec::new();
    let topics = (0..random.below(size.topics + 1))
        .map(|_| {
            let partitions = (0..random.below(size.partitions + 1))
                .map(|_| {
                    let (records, of_partition) = record_batches(random, size);
                    heads.push(of_partition);
                    let records =
                        if records.is_empty() && random.one_in(2) { None } else { Some(Bytes::from(records)) };
                    PartitionProduceData::default()
                        .with_index(random.i32())
                        .with_records(records)
                        .with_unknown_tagged_fields(unknown_tags(random, flexible))
                })
                .collect();
            let topic = TopicProduceData::default()
                .with_partition_data(partitions)
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 13 { topic.with_topic_id(topic_id(random)) } else { topic.with_name(topic_name(random)) }
        })
        .collect();
    let transactional = random.one_in(3).then(|| TransactionalId(text(random.name(20))));
    let request = ProduceRequest::default()
        .with_transactional_id(transactional)
        .with_acks(acks)
        .with_timeout_ms(random.i32())
        .with_topic_data(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    (request, heads)
}

/// A Produce response (v3-13).
pub(crate) fn produce_response(random: &mut Random, version: i16, size: Size) -> ProduceResponse {
    let flexible = version >= 9;
    let topics = (0..random.below(size.topics + 1))
        .map(|_| {
            let partitions = (0..random.below(size.partitions + 1))
                .map(|_| {
                    let mut partition = PartitionProduceResponse::default()
                        .with_index(random.i32())
                        .with_error_code(if random.one_in(3) { random.i16() } else { 0 })
                        .with_base_offset(random.i64())
                        .with_log_append_time_ms(random.i64())
                        .with_unknown_tagged_fields(unknown_tags(random, flexible));
                    if version >= 5 {
                        partition = partition.with_log_start_offset(random.i64());
                    }
                    if version >= 8 && random.one_in(3) {
                        let errors = (0..random.below(3))
                            .map(|i| {
                                BatchIndexAndErrorMessage::default()
                                    .with_batch_index(i as i32)
                                    .with_batch_index_error_message(random.one_in(2).then(|| text(random.name(9))))
                                    .with_unknown_tagged_fields(unknown_tags(random, flexible))
                            })
                            .collect();
                        partition =
                            partition.with_record_errors(errors).with_error_message(Some(text(random.name(30))));
                    }
                    if version >= 10 && random.one_in(2) {
                        partition = partition.with_current_leader(
                            ProduceLeader::default()
                                .with_leader_id(BrokerId(random.i32()))
                                .with_leader_epoch(random.i32()),
                        );
                    }
                    partition
                })
                .collect();
            let topic = TopicProduceResponse::default()
                .with_partition_responses(partitions)
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 13 { topic.with_topic_id(topic_id(random)) } else { topic.with_name(topic_name(random)) }
        })
        .collect();
    let mut response = ProduceResponse::default()
        .with_responses(topics)
        .with_throttle_time_ms(random.i32())
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 10 && random.one_in(2) {
        response = response.with_node_endpoints(vec![
            ProduceEndpoint::default().with_node_id(BrokerId(random.i32())).with_host(text("host")).with_port(9092),
        ]);
    }
    response
}

/// A Fetch request (v4-18), without a session unless `session` (id, epoch) is given.
pub(crate) fn fetch_request(random: &mut Random, version: i16, session: (i32, i32), size: Size) -> FetchRequest {
    let flexible = version >= 12;
    let follower = random.one_in(4);
    let topics = (0..random.below(size.topics + 1))
        .map(|_| {
            let partitions = (0..random.below(size.partitions + 1))
                .map(|i| {
                    let mut partition = AskedPartition::default()
                        .with_partition(i as i32 * 1000 + random.below(1000) as i32)
                        .with_fetch_offset(random.i64())
                        .with_partition_max_bytes(random.i32())
                        .with_unknown_tagged_fields(unknown_tags(random, flexible));
                    if version >= 5 {
                        partition = partition.with_log_start_offset(random.i64());
                    }
                    if version >= 9 {
                        partition = partition.with_current_leader_epoch(random.i32());
                    }
                    if version >= 12 {
                        partition = partition.with_last_fetched_epoch(random.i32());
                    }
                    if version >= 17 && random.one_in(2) {
                        partition = partition.with_replica_directory_id(topic_id(random));
                    }
                    if version >= 18 && random.one_in(2) {
                        partition = partition.with_high_watermark(random.i64());
                    }
                    partition
                })
                .collect();
            let topic = FetchTopic::default()
                .with_partitions(partitions)
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 13 { topic.with_topic_id(topic_id(random)) } else { topic.with_topic(topic_name(random)) }
        })
        .collect();
    let mut request = FetchRequest::default()
        .with_max_wait_ms(random.i32())
        .with_min_bytes(random.i32())
        .with_max_bytes(random.i32())
        .with_isolation_level(random.below(2) as i8)
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version <= 14 {
        request = request.with_replica_id(BrokerId(if follower { random.below(1000) as i32 } else { -1 }));
    } else if follower {
        request = request.with_replica_state(
            ReplicaState::default()
                .with_replica_id(BrokerId(random.below(1000) as i32))
                .with_replica_epoch(random.i64()),
        );
    }
    if version >= 7 {
        request = request.with_session_id(session.0).with_session_epoch(session.1);
        if random.one_in(3) {
            let forgotten = ForgottenTopic::default()
                .with_partitions((0..random.below(4)).map(|_| random.i32()).collect())
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            request = request.with_forgotten_topics_data(vec![if version >= 13 {
                forgotten.with_topic_id(topic_id(random))
            } else {
                forgotten.with_topic(topic_name(random))
            }]);
        }
    }
    if version >= 11 {
        request = request.with_rack_id(text(random.name(8)));
    }
    if version >= 12 && random.one_in(3) {
        request = request.with_cluster_id(Some(text(random.name(22))));
    }
    request
}

/// A Fetch response (v4-18) and the batch heads of each partition in order.
pub(crate) fn fetch_response(random: &mut Random, version: i16, size: Size) -> (FetchResponse, Vec<Vec<BatchHead>>) {
    let flexible = version >= 12;
    let mut heads = Vec::new();
    let topics = (0..random.below(size.topics + 1))
        .map(|_| {
            let partitions = (0..random.below(size.partitions + 1))
                .map(|_| {
                    let (records, of_partition) = record_batches(random, size);
                    let partition = fetch_partition(random, version, records, &of_partition);
                    heads.push(of_partition);
                    partition
                })
                .collect();
            let topic = FetchableTopicResponse::default()
                .with_partitions(partitions)
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 13 { topic.with_topic_id(topic_id(random)) } else { topic.with_topic(topic_name(random)) }
        })
        .collect();
    let mut response = FetchResponse::default()
        .with_throttle_time_ms(random.i32())
        .with_responses(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 7 {
        response = response
            .with_error_code(if random.one_in(4) { random.i16() } else { 0 })
            .with_session_id(if random.one_in(2) { random.i32() } else { 0 });
    }
    if version >= 16 && random.one_in(2) {
        response = response.with_node_endpoints(vec![
            FetchEndpoint::default().with_node_id(BrokerId(random.i32())).with_host(text("host")).with_port(9092),
        ]);
    }
    (response, heads)
}

fn fetch_partition(random: &mut Random, version: i16, records: Vec<u8>, heads: &[BatchHead]) -> PartitionData {
    let flexible = version >= 12;
    let records = if records.is_empty() && random.one_in(2) { None } else { Some(Bytes::from(records)) };
    let aborted = match random.below(3) {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(
            (0..1 + random.below(3))
                .map(|_| {
                    let batch = heads.get(random.below(4));
                    let (producer_id, first_offset) =
                        batch.map_or((random.i64(), random.i64()), |it| (it.producer_id, it.base_offset));
                    AbortedTransaction::default()
                        .with_producer_id(ProducerId(producer_id))
                        .with_first_offset(first_offset)
                        .with_unknown_tagged_fields(unknown_tags(random, flexible))
                })
                .collect(),
        ),
    };
    let mut partition = PartitionData::default()
        .with_partition_index(random.i32())
        .with_error_code(if random.one_in(3) { random.i16() } else { 0 })
        .with_high_watermark(random.i64())
        .with_last_stable_offset(random.i64())
        .with_aborted_transactions(aborted)
        .with_records(records)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 5 {
        partition = partition.with_log_start_offset(random.i64());
    }
    if version >= 11 {
        partition = partition.with_preferred_read_replica(BrokerId(random.i32()));
    }
    if version >= 12 && random.one_in(3) {
        partition = partition
            .with_diverging_epoch(EpochEndOffset::default().with_epoch(random.i32()).with_end_offset(random.i64()))
            .with_current_leader(FetchLeader::default().with_leader_id(BrokerId(7)).with_leader_epoch(random.i32()));
    }
    partition
}

/// A Metadata response (v0-13).
pub(crate) fn metadata_response(random: &mut Random, version: i16, size: Size) -> MetadataResponse {
    let flexible = version >= 9;
    let brokers = (0..random.below(4))
        .map(|_| {
            let mut broker = MetadataResponseBroker::default()
                .with_node_id(BrokerId(random.i32()))
                .with_host(text(random.name(30)))
                .with_port(random.i32())
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 1 {
                broker = broker.with_rack(random.one_in(2).then(|| text(random.name(8))));
            }
            broker
        })
        .collect();
    let topics = (0..random.below(size.topics + 1))
        .map(|_| {
            let partitions = (0..random.below(size.partitions + 1))
                .map(|_| {
                    let ids = |random: &mut Random| -> Vec<BrokerId> {
                        (0..random.below(4)).map(|_| BrokerId(random.i32())).collect()
                    };
                    let mut partition = MetadataResponsePartition::default()
                        .with_error_code(if random.one_in(4) { random.i16() } else { 0 })
                        .with_partition_index(random.i32())
                        .with_leader_id(BrokerId(random.i32()))
                        .with_replica_nodes(ids(random))
                        .with_isr_nodes(ids(random))
                        .with_unknown_tagged_fields(unknown_tags(random, flexible));
                    if version >= 5 {
                        partition = partition.with_offline_replicas(ids(random));
                    }
                    if version >= 7 {
                        partition = partition.with_leader_epoch(random.i32());
                    }
                    partition
                })
                .collect();
            let nameless = version >= 12 && random.one_in(4);
            let mut topic = MetadataResponseTopic::default()
                .with_error_code(if random.one_in(4) { random.i16() } else { 0 })
                .with_name((!nameless).then(|| topic_name(random)))
                .with_partitions(partitions)
                .with_unknown_tagged_fields(unknown_tags(random, flexible));
            if version >= 1 {
                topic = topic.with_is_internal(random.one_in(2));
            }
            if version >= 8 {
                topic = topic.with_topic_authorized_operations(random.i32());
            }
            if version >= 10 {
                topic = topic.with_topic_id(topic_id(random));
            }
            topic
        })
        .collect();
    let mut response = MetadataResponse::default()
        .with_brokers(brokers)
        .with_topics(topics)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        response = response.with_controller_id(BrokerId(random.i32()));
    }
    if version >= 2 {
        response = response.with_cluster_id(random.one_in(3).then(|| text(random.name(22))));
    }
    if version >= 3 {
        response = response.with_throttle_time_ms(random.i32());
    }
    if (8..=10).contains(&version) {
        response = response.with_cluster_authorized_operations(random.i32());
    }
    if version >= 13 && random.one_in(3) {
        response = response.with_error_code(random.i16());
    }
    response
}

/// The emptiest Metadata request that a version can be.
pub(crate) fn metadata_request() -> MetadataRequest {
    MetadataRequest::default()
}

/// An ApiVersions request (v0-4).
pub(crate) fn api_versions_request(random: &mut Random, version: i16) -> ApiVersionsRequest {
    let request = ApiVersionsRequest::default().with_unknown_tagged_fields(unknown_tags(random, version >= 3));
    if version < 3 {
        return request;
    }
    request.with_client_software_name(text(random.name(20))).with_client_software_version(text(random.name(12)))
}

/// An ApiVersions response (v0-4).
pub(crate) fn api_versions_response(random: &mut Random, version: i16) -> ApiVersionsResponse {
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    let flexible = version >= 3;
    let keys = (0..random.below(80))
        .map(|key| {
            ApiVersion::default()
                .with_api_key(key as i16)
                .with_max_version(random.below(20) as i16)
                .with_unknown_tagged_fields(unknown_tags(random, flexible))
        })
        .collect();
    let mut response = ApiVersionsResponse::default()
        .with_error_code(if random.one_in(3) { random.i16() } else { 0 })
        .with_api_keys(keys)
        .with_unknown_tagged_fields(unknown_tags(random, flexible));
    if version >= 1 {
        response = response.with_throttle_time_ms(random.i32());
    }
    if version >= 3 && random.one_in(2) {
        response = response.with_finalized_features_epoch(random.i64());
    }
    response
}

/// A SaslHandshake request (v0-1).
pub(crate) fn sasl_handshake_request(mechanism: &str) -> SaslHandshakeRequest {
    SaslHandshakeRequest::default().with_mechanism(text(mechanism))
}

/// A SaslHandshake response (v0-1).
pub(crate) fn sasl_handshake_response(error: i16, mechanisms: &[&str]) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default()
        .with_error_code(error)
        .with_mechanisms(mechanisms.iter().map(|name| text(*name)).collect())
}

/// A SaslAuthenticate request (v0-2).
pub(crate) fn sasl_authenticate_request(random: &mut Random, version: i16, token: &[u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest::default()
        .with_auth_bytes(Bytes::copy_from_slice(token))
        .with_unknown_tagged_fields(unknown_tags(random, version >= 2))
}

/// A SaslAuthenticate response (v0-2).
pub(crate) fn sasl_authenticate_response(
    random: &mut Random,
    version: i16,
    error: i16,
    token: &[u8],
) -> SaslAuthenticateResponse {
    let response = SaslAuthenticateResponse::default()
        .with_error_code(error)
        .with_error_message((error != 0).then(|| text(random.name(20))))
        .with_auth_bytes(Bytes::copy_from_slice(token))
        .with_unknown_tagged_fields(unknown_tags(random, version >= 2));
    if version >= 1 { response.with_session_lifetime_ms(random.i64()) } else { response }
}
