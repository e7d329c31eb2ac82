//! Every version of the rewritten answers, written and read by another implementation.

use std::{collections::HashMap, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiVersionsResponse, BrokerId, FindCoordinatorResponse, MetadataResponse, ResponseHeader, TopicName,
        api_versions_response::ApiVersion,
        find_coordinator_response::Coordinator,
        metadata_response::{MetadataResponseBroker, MetadataResponseTopic},
    },
    protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes},
};

use super::{
    Advertised,
    answer::{Rewritten, Shown},
};

#[test]
fn metadata_of_every_version_names_the_proxy_and_is_otherwise_the_same() {
    for version in 0..=MetadataResponse::VERSIONS.max {
        let mut answer = metadata(version, [("kafka-1.example", 9092), ("b", 9093)]);
        let rewritten = rewrite(Rewritten::Metadata, version, &answer).unwrap();
        answer = metadata(version, [("127.0.0.1", 19_001), ("127.0.0.1", 19_002)]);
        assert_eq!(rewritten, answer, "version {version}");
    }
}

#[test]
fn coordinators_of_every_version_name_the_proxy_and_none_stays_none() {
    for version in 0..=FindCoordinatorResponse::VERSIONS.max {
        let rewritten = rewrite(Rewritten::FindCoordinator, version, &coordinator(version, "b", 9093)).unwrap();
        assert_eq!(rewritten, coordinator(version, "127.0.0.1", 19_002), "version {version}");
        let none = coordinator(version, "", -1);
        assert_eq!(rewrite(Rewritten::FindCoordinator, version, &none).unwrap(), none, "version {version}");
    }
}

#[test]
fn versions_that_would_carry_addresses_are_not_offered() {
    for version in 0..=ApiVersionsResponse::VERSIONS.max {
        let offered = [(0, 3, 13), (1, 4, 17), (3, 0, 13), (60, 0, 2), (68, 0, 1)];
        let kept = [(0, 3, 9), (1, 4, 15), (3, 0, 13), (68, 0, 1)];
        let rewritten = rewrite(Rewritten::ApiVersions, version, &api_versions(version, &offered)).unwrap();
        assert_eq!(rewritten, api_versions(version, &kept), "version {version}");
    }
}

#[test]
fn a_refusal_of_an_api_versions_request_is_passed_on_as_it_is() {
    let mut body = BytesMut::new();
    let refusal = ApiVersionsResponse::default().with_error_code(35).with_api_keys(vec![version_range((18, 0, 2))]);
    refusal.encode(&mut body, 0).unwrap();
    assert_eq!(rewrite(Rewritten::ApiVersions, 4, &body), Some(body.to_vec()));
}

#[test]
fn an_answer_cut_short_is_never_passed_on() {
    for version in [1, 12] {
        let whole = metadata(version, [("kafka-1.example", 9092), ("b", 9093)]);
        let brokers = 48;
        for length in 0..brokers {
            assert_eq!(rewrite(Rewritten::Metadata, version, &whole[..length]), None, "{length} bytes, v{version}");
        }
    }
}

#[test]
fn a_broker_without_a_route_is_shown_as_it_is_and_told() {
    let mut shown = shown();
    let answer = metadata(9, [("new", 9092), ("b", 9093)]);
    let rewritten = Rewritten::Metadata.rewrite(9, &answer, &mut shown).unwrap();
    assert_eq!(rewritten, metadata(9, [("new", 9092), ("127.0.0.1", 19_002)]));
    assert_eq!(shown.unknown().collect::<Vec<_>>(), [&Advertised { host: "new".into(), port: 9092 }]);
}

fn rewrite(api: Rewritten, version: i16, body: &[u8]) -> Option<Vec<u8>> {
    api.rewrite(version, body, &mut shown())
}

fn shown() -> Shown {
    let front = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Shown::new(HashMap::from([
        (Advertised { host: "kafka-1.example".into(), port: 9092 }, front(19_001)),
        (Advertised { host: "b".into(), port: 9093 }, front(19_002)),
    ]))
}

fn metadata(version: i16, brokers: [(&'static str, i32); 2]) -> Vec<u8> {
    let brokers = brokers.into_iter().zip(1..).map(|((host, port), id)| {
        let rack = (version >= 1 && id == 1).then(|| StrBytes::from_static_str("rack"));
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_rack(rack);
        broker.with_host(StrBytes::from_static_str(host)).with_port(port)
    });
    let topic = MetadataResponseTopic::default().with_name(Some(TopicName(StrBytes::from_static_str("orders"))));
    let answer = MetadataResponse::default().with_brokers(brokers.collect()).with_topics(vec![topic]);
    encode(version, &answer)
}

fn coordinator(version: i16, host: &'static str, port: i32) -> Vec<u8> {
    let host = StrBytes::from_static_str(host);
    let mut answer = FindCoordinatorResponse::default();
    if version >= 4 {
        let key = StrBytes::from_static_str("billing");
        let coordinator =
            Coordinator::default().with_key(key).with_node_id(BrokerId(2)).with_host(host).with_port(port);
        answer.coordinators = vec![coordinator];
    } else {
        answer = answer.with_node_id(BrokerId(2)).with_host(host).with_port(port);
    }
    encode(version, &answer)
}

fn api_versions(version: i16, ranges: &[(i16, i16, i16)]) -> Vec<u8> {
    let keys = ranges.iter().copied().map(version_range).collect();
    encode(version, &ApiVersionsResponse::default().with_api_keys(keys))
}

fn version_range((key, min, max): (i16, i16, i16)) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
}

/// The frame after its correlation id.
fn encode<Answer: Encodable + Decodable + HeaderVersion>(version: i16, answer: &Answer) -> Vec<u8> {
    let mut frame = BytesMut::new();
    ResponseHeader::default().encode(&mut frame, Answer::header_version(version)).unwrap();
    answer.encode(&mut frame, version).unwrap();
    Bytes::from(frame).slice(4..).to_vec()
}
