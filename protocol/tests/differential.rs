//! Random messages of every version that `kafka-protocol` encodes: our observations equal its fields.

mod support;

use std::collections::HashSet;

use kafka_protocol::messages::fetch_response::{AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch as FetchLeader};
use kafka_protocol::messages::produce_response::LeaderIdAndEpoch as ProduceLeader;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, MetadataResponse, ProduceRequest, ProduceResponse,
};
use kafkascope_protocol::{
    Acks, ApiVersion, BatchHead, Broker, CurrentLeader, Depth, DivergingEpoch, ErrorCode, Exchange, FetchAsked,
    FetchForgotten, FetchHead, FetchPartition, Limits, NodeIds, Observation, Outcome, PartitionBatch,
    PartitionMetadata, ProduceHead, ProducePartition, ProduceResult, RequestSeq, TopicId, TopicIndex, TopicLabel,
    TopicMetadata, TopicRef,
};
use support::feed::{BUDGET, Feed};
use support::log::{Arena, Log};
use support::messages::{self, Size};
use support::random::Random;
use support::samples;

const ROUNDS: u64 = 25;
const CLIENT: &str = "a client";
const SEQ: RequestSeq = RequestSeq(0);

#[test]
fn produce_equals_the_fields_of_kafka_protocol() {
    for version in 3..=13 {
        for seed in 0..ROUNDS {
            let mut random = Random::new(seed << 8 | version as u64);
            let acks = [0, 1, -1, 2, i16::MIN][random.below(5)];
            let (request, heads) = messages::produce_request(&mut random, version, acks, Size::SMALL);
            let response = messages::produce_response(&mut random, version, Size::SMALL);
            let arena = Arena::default();
            let request_frame =
                messages::request_frame(&mut random, ApiKey::Produce, version, 5, Some(CLIENT), &request);
            let response_frame = messages::response_frame(&mut random, ApiKey::Produce, version, 5, &response);
            let (facts, exchange) = exchange_of(&arena, &request_frame, (acks != 0).then_some(&response_frame));

            let mut expected = produce_facts(&request, version, &heads);
            if acks == 0 {
                assert_eq!((exchange.outcome, exchange.response_bytes), (Outcome::Unanswered, 0), "v{version} {seed}");
            } else {
                expected.extend(produce_results(&response, version));
                assert_answered(&exchange, &request_frame, &response_frame);
                let errors = response.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code);
                assert_eq!(exchange.error, first_error(errors), "v{version} seed {seed}");
                assert_eq!(exchange.throttle_ms, Some(response.throttle_time_ms));
            }
            assert_eq!(exchange.acks, Some(acks_of(acks)));
            assert_eq!(exchange.fetch, None);
            assert_facts(&facts, &expected, ApiKey::Produce, version, seed);
        }
    }
}

#[test]
fn fetch_equals_the_fields_of_kafka_protocol() {
    for version in 4..=18 {
        for seed in 0..ROUNDS {
            let mut random = Random::new(seed << 8 | version as u64);
            let session = if version >= 7 { [(0, -1), (0, 0)][random.below(2)] } else { (0, -1) };
            let request = messages::fetch_request(&mut random, version, session, Size::SMALL);
            let (mut response, heads) = messages::fetch_response(&mut random, version, Size::SMALL);
            if random.one_in(2) {
                answer_what_was_asked(&request, &mut response);
            }
            let arena = Arena::default();
            let request_frame = messages::request_frame(&mut random, ApiKey::Fetch, version, 5, Some(CLIENT), &request);
            let response_frame = messages::response_frame(&mut random, ApiKey::Fetch, version, 5, &response);
            let (facts, exchange) = exchange_of(&arena, &request_frame, Some(&response_frame));

            let mut expected = fetch_asked(&request, version);
            expected.extend(fetch_partitions(&request, &response, version, &heads));
            assert_facts(&facts, &expected, ApiKey::Fetch, version, seed);
            assert_answered(&exchange, &request_frame, &response_frame);
            let errors = response.responses.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            assert_eq!(
                exchange.error,
                first_error([response.error_code].into_iter().chain(errors)),
                "v{version} {seed}"
            );
            assert_eq!(exchange.throttle_ms, Some(response.throttle_time_ms));
            assert_eq!(exchange.acks, None);
            let summary = exchange.fetch.expect("a summary of a fetch");
            let follower = if version <= 14 { request.replica_id.0 } else { request.replica_state.replica_id.0 } >= 0;
            assert_eq!(summary.follower, follower, "v{version} seed {seed}");
            assert_eq!(summary.min_bytes, request.min_bytes);
            let record_bytes: usize = response.responses.iter().flat_map(|t| &t.partitions).map(records_of).sum();
            assert_eq!(summary.record_bytes, record_bytes as u64);
            assert_eq!(summary.session_epoch, session.1);
            assert_eq!(summary.session_id, response.session_id);
        }
    }
}

#[test]
fn metadata_equals_the_fields_of_kafka_protocol() {
    for version in 0..=13 {
        for seed in 0..ROUNDS {
            let mut random = Random::new(seed << 8 | version as u64);
            let request = messages::metadata_request();
            let request = if version == 0 { request.with_topics(Some(Vec::new())) } else { request };
            let response = messages::metadata_response(&mut random, version, Size::SMALL);
            let arena = Arena::default();
            let request_frame =
                messages::request_frame(&mut random, ApiKey::Metadata, version, 5, Some(CLIENT), &request);
            let response_frame = messages::response_frame(&mut random, ApiKey::Metadata, version, 5, &response);
            let (facts, exchange) = exchange_of(&arena, &request_frame, Some(&response_frame));

            assert_facts(&facts, &metadata_facts(&arena, &response, version), ApiKey::Metadata, version, seed);
            assert_answered(&exchange, &request_frame, &response_frame);
            let errors = response.topics.iter().flat_map(|topic| {
                [topic.error_code].into_iter().chain(topic.partitions.iter().map(|partition| partition.error_code))
            });
            assert_eq!(exchange.error, first_error(errors.chain([response.error_code])), "v{version} seed {seed}");
            assert_throttle(&exchange, response.throttle_time_ms, version >= 3);
        }
    }
}

#[test]
fn api_versions_equals_the_fields_of_kafka_protocol() {
    for version in 0..=4 {
        for seed in 0..ROUNDS {
            let mut random = Random::new(seed << 8 | version as u64);
            let request = messages::api_versions_request(&mut random, version);
            let response = messages::api_versions_response(&mut random, version);
            let arena = Arena::default();
            let request_frame =
                messages::request_frame(&mut random, ApiKey::ApiVersions, version, 5, Some(CLIENT), &request);
            // A broker that does not know the version answers with error 35 in the format of v0.
            let spoken = if response.error_code == 35 { 0 } else { version };
            let response_frame = messages::response_frame(&mut random, ApiKey::ApiVersions, spoken, 5, &response);
            let (facts, exchange) = exchange_of(&arena, &request_frame, Some(&response_frame));

            let software = Observation::Software {
                name: request.client_software_name.as_bytes(),
                version: request.client_software_version.as_bytes(),
            };
            let expected = if version >= 3 { vec![software] } else { Vec::new() };
            assert_facts(&facts, &expected, ApiKey::ApiVersions, version, seed);
            assert_answered(&exchange, &request_frame, &response_frame);
            assert_eq!(exchange.error, ErrorCode(response.error_code), "v{version} seed {seed}");
            assert_throttle(&exchange, response.throttle_time_ms, version >= 1);
        }
    }
}

#[test]
fn sasl_equals_the_fields_of_kafka_protocol() {
    for version in 0..=2 {
        for seed in 0..ROUNDS {
            let mut random = Random::new(seed << 8 | version as u64);
            let error = [0, 58, 0][random.below(3)];
            let arena = Arena::default();
            let mut feed = Feed::new(&arena);
            let name = format!("u{}", random.name(9));
            let token = [b"\0", name.as_bytes(), b"\0secret"].concat();
            let handshake = messages::sasl_handshake_request("PLAIN");
            let answer = messages::sasl_handshake_response(0, &["PLAIN", "SCRAM-SHA-256"]);
            let authenticate = messages::sasl_authenticate_request(&mut random, version, &token);
            let verdict = messages::sasl_authenticate_response(&mut random, version, error, b"");
            feed.request(&messages::request_frame(&mut random, ApiKey::SaslHandshake, 1, 1, Some(CLIENT), &handshake));
            feed.response(&messages::response_frame(&mut random, ApiKey::SaslHandshake, 1, 1, &answer));
            feed.request(&messages::request_frame(
                &mut random,
                ApiKey::SaslAuthenticate,
                version,
                2,
                Some(CLIENT),
                &authenticate,
            ));
            feed.response(&messages::response_frame(&mut random, ApiKey::SaslAuthenticate, version, 2, &verdict));
            feed.close();
            feed.log.assert_lawful(true);
            let exchanges = feed.log.exchanges();
            assert_eq!(exchanges.len(), 2);
            assert_eq!(exchanges[1].error, ErrorCode(error));
            let principal = Observation::Principal { mechanism: b"PLAIN", name: name.as_bytes() };
            let seen = feed.log.facts.contains(&principal);
            assert_eq!(seen, error == 0, "v{version} seed {seed}: {:?}", feed.log.facts);
            let undecoded = feed.log.facts.iter().any(|fact| matches!(fact, Observation::Undecoded(_)));
            assert!(!undecoded, "v{version} seed {seed}: {:?}", feed.log.facts);
        }
    }
}

#[test]
fn groups_offsets_transactions_shares_and_the_cluster_equal_the_fields_of_kafka_protocol() {
    for (api, versions, make) in samples::APIS {
        for version in versions.clone() {
            for seed in 0..ROUNDS {
                let mut random = Random::new(seed << 16 | (*api as u64) << 8 | version as u64);
                let arena = Arena::default();
                let sample = make(&arena, &mut random, version);
                let (request, response) = sample.frames(&mut random, 5, Some(CLIENT));
                let (facts, exchange) = exchange_of(&arena, &request, Some(&response));
                assert_facts(&facts, &sample.facts, *api, version, seed);
                assert_answered(&exchange, &request, &response);
                assert_eq!(exchange.error, first_error(sample.errors), "{api:?} v{version} seed {seed}");
                assert_eq!(exchange.throttle_ms, sample.throttle_ms, "{api:?} v{version} seed {seed}");
            }
        }
    }
}

/// Passes one exchange by a new connection; what it said, times left out, and how it ended.
fn exchange_of<'a>(arena: &'a Arena, request: &[u8], response: Option<&Vec<u8>>) -> (Vec<Observation<'a>>, Exchange) {
    let mut feed = Feed::with(Limits::default(), Depth::Full, BUDGET, Log::new(arena));
    feed.request(request);
    if let Some(response) = response {
        feed.response(response);
    }
    let (facts, exchanges) = feed.log.timeless();
    assert_eq!(exchanges.len(), 1, "{facts:?}");
    feed.close();
    feed.log.assert_lawful(true);
    assert_eq!(feed.log.exchanges().len(), 1);
    (facts, exchanges[0])
}

/// The first two observations are client and head; the others equal `expected` but for the numbers of topics.
fn assert_facts(facts: &[Observation<'_>], expected: &[Observation<'_>], api: ApiKey, version: i16, seed: u64) {
    assert_eq!(facts[0], Observation::Client(Some(CLIENT.as_bytes())));
    let Observation::RequestHead(head) = facts[1] else { panic!("no head: {facts:?}") };
    assert_eq!((head.seq, head.api.0, head.version), (SEQ, api as i16, ApiVersion(version)));
    assert_eq!(head.correlation_id.0, 5);
    let seen: Vec<_> = facts[2..].iter().map(|fact| comparable(*fact, version)).collect();
    let expected: Vec<_> = expected.iter().map(|fact| comparable(*fact, version)).collect();
    for (position, (seen, expected)) in seen.iter().zip(&expected).enumerate() {
        assert_eq!(seen, expected, "{api:?} v{version} seed {seed}, observation {position}");
    }
    assert_eq!(seen.len(), expected.len(), "{api:?} v{version} seed {seed}: {seen:#?} instead of {expected:#?}");
}

/// Without topic numbers, which `Log::assert_lawful` checks; and without the replica id where it stands at a body's end
/// and may not be known yet.
fn comparable(fact: Observation<'_>, version: i16) -> Observation<'_> {
    match Arena::unnumbered(fact) {
        Observation::FetchHead(it) if version >= 15 => Observation::FetchHead(FetchHead { replica_id: None, ..it }),
        other => other,
    }
}

fn assert_answered(exchange: &Exchange, request: &[u8], response: &[u8]) {
    assert_eq!(exchange.outcome, Outcome::Answered);
    assert_eq!((exchange.request_bytes, exchange.response_bytes), (request.len() as u64, response.len() as u64));
    assert_eq!(exchange.correlation_id.0, 5);
}

/// A version without the field may say none or zero.
fn assert_throttle(exchange: &Exchange, field: i32, has_field: bool) {
    assert_eq!(exchange.throttle_ms.unwrap_or(0), if has_field { field } else { 0 });
    assert!(exchange.throttle_ms.is_some() || !has_field);
}

fn first_error(codes: impl IntoIterator<Item = i16>) -> ErrorCode {
    ErrorCode(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
}

fn acks_of(acks: i16) -> Acks {
    match acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        other => Acks::Other(other),
    }
}

fn named(label: TopicLabel<'_>) -> TopicRef<'_> {
    TopicRef::new(TopicIndex(0), label)
}

fn produce_label(name: &str, id: uuid::Uuid, version: i16) -> TopicLabel<'_> {
    if version >= 13 { TopicLabel::Id(TopicId(id.into_bytes())) } else { TopicLabel::Name(name.as_bytes()) }
}

fn batches<'a>(
    topic: TopicRef<'a>,
    partition: i32,
    fetch_offset: Option<i64>,
    heads: &[BatchHead],
) -> Vec<PartitionBatch<'a>> {
    heads
        .iter()
        .map(|head| PartitionBatch { seq: SEQ, topic, partition, fetch_offset, aborted: false, head: *head })
        .collect()
}

fn produce_facts<'a>(request: &'a ProduceRequest, version: i16, heads: &[Vec<BatchHead>]) -> Vec<Observation<'a>> {
    let mut facts = vec![Observation::ProduceHead(ProduceHead {
        seq: SEQ,
        acks: acks_of(request.acks),
        timeout_ms: request.timeout_ms,
        transactional_id: request.transactional_id.as_ref().map(|id| id.0.as_bytes()),
    })];
    let mut heads = heads.iter();
    for data in &request.topic_data {
        let topic = named(produce_label(&data.name.0, data.topic_id, version));
        for partition in &data.partition_data {
            let record_bytes = partition.records.as_ref().map_or(0, |records| records.len() as u64);
            facts.push(Observation::ProducePartition(ProducePartition {
                seq: SEQ,
                topic,
                partition: partition.index,
                record_bytes,
            }));
            let heads = heads.next().expect("as many as partitions");
            facts.extend(batches(topic, partition.index, None, heads).into_iter().map(Observation::ProduceBatch));
        }
    }
    facts
}

fn produce_results(response: &ProduceResponse, version: i16) -> Vec<Observation<'_>> {
    let mut facts = Vec::new();
    for answer in &response.responses {
        let topic = named(produce_label(&answer.name.0, answer.topic_id, version));
        for partition in &answer.partition_responses {
            facts.push(Observation::ProduceResult(ProduceResult {
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
                facts.push(Observation::CurrentLeader(leader));
            }
        }
    }
    facts
}

fn fetch_asked(request: &FetchRequest, version: i16) -> Vec<Observation<'_>> {
    let mut facts = vec![Observation::FetchHead(FetchHead {
        seq: SEQ,
        replica_id: Some(request.replica_id.0),
        max_wait_ms: request.max_wait_ms,
        min_bytes: request.min_bytes,
        max_bytes: Some(request.max_bytes),
        read_committed: request.isolation_level == 1,
        session_id: request.session_id,
        session_epoch: request.session_epoch,
    })];
    for asked in &request.topics {
        let topic = named(produce_label(&asked.topic.0, asked.topic_id, version));
        for partition in &asked.partitions {
            facts.push(Observation::FetchAsked(FetchAsked {
                seq: SEQ,
                topic,
                partition: partition.partition,
                fetch_offset: partition.fetch_offset,
            }));
        }
    }
    for forgotten in &request.forgotten_topics_data {
        let topic = named(produce_label(&forgotten.topic.0, forgotten.topic_id, version));
        for &partition in &forgotten.partitions {
            facts.push(Observation::FetchForgotten(FetchForgotten { seq: SEQ, topic, partition }));
        }
    }
    facts
}

fn fetch_partitions<'a>(
    request: &FetchRequest,
    response: &'a FetchResponse,
    version: i16,
    heads: &[Vec<BatchHead>],
) -> Vec<Observation<'a>> {
    let mut facts = Vec::new();
    let mut heads = heads.iter();
    for answer in &response.responses {
        let topic = named(produce_label(&answer.topic.0, answer.topic_id, version));
        for partition in &answer.partitions {
            let fetch_offset = request
                .topics
                .iter()
                .filter(|asked| (&asked.topic, asked.topic_id) == (&answer.topic, answer.topic_id))
                .flat_map(|asked| &asked.partitions)
                .find(|asked| asked.partition == partition.partition_index)
                .map(|asked| asked.fetch_offset);
            facts.push(Observation::FetchPartition(FetchPartition {
                seq: SEQ,
                topic,
                partition: partition.partition_index,
                error: ErrorCode(partition.error_code),
                high_watermark: partition.high_watermark,
                last_stable_offset: Some(partition.last_stable_offset),
                log_start_offset: (version >= 5).then_some(partition.log_start_offset),
                fetch_offset,
                record_bytes: records_of(partition) as u64,
            }));
            let heads = heads.next().expect("as many as partitions");
            let mut of_partition = batches(topic, partition.partition_index, fetch_offset, heads);
            leave_out_aborted(&mut of_partition, partition.aborted_transactions.as_deref().unwrap_or_default());
            facts.extend(of_partition.into_iter().map(Observation::FetchBatch));
            let (diverging, leader) = (&partition.diverging_epoch, &partition.current_leader);
            if *diverging != EpochEndOffset::default() {
                facts.push(Observation::DivergingEpoch(DivergingEpoch {
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
                facts.push(Observation::CurrentLeader(leader));
            }
        }
    }
    facts
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

fn records_of(partition: &kafka_protocol::messages::fetch_response::PartitionData) -> usize {
    partition.records.as_ref().map_or(0, |records| records.len())
}

/// Gives the answer's partitions the topics and numbers that were asked for, as far as they go.
fn answer_what_was_asked(request: &FetchRequest, response: &mut FetchResponse) {
    for (asked, answer) in request.topics.iter().zip(&mut response.responses) {
        answer.topic = asked.topic.clone();
        answer.topic_id = asked.topic_id;
        for (asked, answer) in asked.partitions.iter().zip(&mut answer.partitions) {
            answer.partition_index = asked.partition;
        }
    }
}

fn metadata_facts<'a>(arena: &'a Arena, response: &'a MetadataResponse, version: i16) -> Vec<Observation<'a>> {
    let mut facts: Vec<Observation<'a>> = response
        .brokers
        .iter()
        .map(|broker| {
            Observation::Broker(Broker {
                seq: SEQ,
                id: broker.node_id.0,
                host: broker.host.as_bytes(),
                port: broker.port,
            })
        })
        .collect();
    facts.extend(response.cluster_id.as_ref().map(|id| Observation::ClusterId(id.as_bytes())));
    for topic in &response.topics {
        let name = topic.name.as_ref().map(|name| name.0.as_bytes());
        let id = (version >= 10).then(|| TopicId(topic.topic_id.into_bytes()));
        facts.push(Observation::TopicMetadata(TopicMetadata {
            seq: SEQ,
            error: ErrorCode(topic.error_code),
            name,
            id,
        }));
        for partition in &topic.partitions {
            let wire = |ids: &[kafka_protocol::messages::BrokerId]| -> Vec<u8> {
                ids.iter().flat_map(|id| id.0.to_be_bytes()).collect()
            };
            let nodes =
                [&partition.replica_nodes, &partition.isr_nodes, &partition.offline_replicas].map(|ids| wire(ids));
            facts.push(arena.keep(Observation::PartitionMetadata(PartitionMetadata {
                seq: SEQ,
                name,
                id,
                error: ErrorCode(partition.error_code),
                partition: partition.partition_index,
                leader: partition.leader_id.0,
                leader_epoch: (version >= 7).then_some(partition.leader_epoch),
                replicas: NodeIds::from_wire(&nodes[0]),
                in_sync: NodeIds::from_wire(&nodes[1]),
                offline: NodeIds::from_wire(&nodes[2]),
            })));
        }
    }
    facts
}
