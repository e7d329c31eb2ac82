//! Random messages of every version that `kafka-protocol` encodes: our observations equal its fields.

mod support;

use kafka_protocol::messages::{ApiKey, FetchRequest, FetchResponse};
use kafkascope_protocol::{ApiVersion, Depth, ErrorCode, Exchange, Limits, Observation, Outcome};
use support::expected::{self, Expected, SEQ, comparable, records};
use support::feed::{BUDGET, Feed};
use support::log::{Arena, Log};
use support::messages::{self, Size};
use support::random::Random;
use support::samples;

const ROUNDS: u64 = 25;
const CLIENT: &str = "a client";

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

            let mut expected = Expected::new(&arena);
            records::produce_request(&mut expected, &request, version, &heads);
            if acks == 0 {
                assert_eq!((exchange.outcome, exchange.response_bytes), (Outcome::Unanswered, 0), "v{version} {seed}");
            } else {
                records::produce_response(&mut expected, &response, version);
                assert_answered(&exchange, &request_frame, &response_frame);
                assert_eq!(exchange.error, expected.error(), "v{version} seed {seed}");
                assert_eq!(exchange.throttle_ms, expected.throttle_ms);
            }
            assert_eq!(exchange.acks, Some(records::acks(acks)));
            assert_eq!(exchange.fetch, None);
            assert_facts(&facts, &expected.facts, ApiKey::Produce, version, seed);
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

            let mut expected = Expected::new(&arena);
            records::fetch_request(&mut expected, &request, version);
            records::fetch_response(&mut expected, &request, &response, version, &heads);
            assert_facts(&facts, &expected.facts, ApiKey::Fetch, version, seed);
            assert_answered(&exchange, &request_frame, &response_frame);
            assert_eq!(exchange.error, expected.error(), "v{version} {seed}");
            assert_eq!(exchange.throttle_ms, expected.throttle_ms);
            assert_eq!(exchange.acks, None);
            let summary = exchange.fetch.expect("a summary of a fetch");
            let follower = if version <= 14 { request.replica_id.0 } else { request.replica_state.replica_id.0 } >= 0;
            assert_eq!(summary.follower, follower, "v{version} seed {seed}");
            assert_eq!(summary.min_bytes, request.min_bytes);
            let record_bytes: usize =
                response.responses.iter().flat_map(|t| &t.partitions).map(records::record_bytes).sum();
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

            let mut expected = Expected::new(&arena);
            expected::metadata::response(&mut expected, &response, version);
            assert_facts(&facts, &expected.facts, ApiKey::Metadata, version, seed);
            assert_answered(&exchange, &request_frame, &response_frame);
            assert_eq!(exchange.error, expected.error(), "v{version} seed {seed}");
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
                let expected = sample.expected;
                assert_facts(&facts, &expected.facts, *api, version, seed);
                assert_answered(&exchange, &request, &response);
                assert_eq!(exchange.error, expected.error(), "{api:?} v{version} seed {seed}");
                assert_eq!(exchange.throttle_ms, expected.throttle_ms, "{api:?} v{version} seed {seed}");
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
