//! What a client and a broker say to each other, as bytes in turns.

use std::collections::VecDeque;

use kafka_protocol::messages::ApiKey;
use kafkascope_protocol::Direction;

use super::arena::Arena;
use super::messages::{self, Size};
use super::random::Random;
use super::samples;
use super::vectors;
use super::wire::{Wire, header_v1, response_v0};

/// Bytes of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) direction: Direction,
    pub(crate) bytes: Vec<u8>,
}

/// `exchanges` random exchanges, pipelined at random, whole.
pub(crate) fn random_conversation(random: &mut Random, exchanges: usize) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
    if random.one_in(6) {
        raw_sasl(&mut turns, random);
    }
    let clients = [Some("client"), None, Some(""), Some("another client")];
    let mut client = clients[0];
    for correlation_id in 0..exchanges as i32 {
        if random.one_in(10) {
            client = clients[random.below(clients.len())];
        }
        let (request, response) = random_exchange(random, correlation_id, client);
        say(&mut turns, Direction::Request, &request);
        waiting.extend(response);
        while !waiting.is_empty() && !random.one_in(3) {
            say(&mut turns, Direction::Response, &waiting.pop_front().unwrap_or_default());
        }
    }
    for response in waiting {
        say(&mut turns, Direction::Response, &response);
    }
    turns
}

/// Appends to the last turn if it has the same direction.
pub(crate) fn say(turns: &mut Vec<Turn>, direction: Direction, bytes: &[u8]) {
    match turns.last_mut() {
        Some(turn) if turn.direction == direction => turn.bytes.extend_from_slice(bytes),
        _ => turns.push(Turn { direction, bytes: bytes.to_vec() }),
    }
}

/// SaslHandshake v0, then tokens without headers.
fn raw_sasl(turns: &mut Vec<Turn>, random: &mut Random) {
    let (mechanism, tokens) = match random.below(4) {
        0 => ("PLAIN", vec![(b"\0alice\0secret".to_vec(), Vec::new())]),
        1 => (
            "SCRAM-SHA-256",
            vec![
                (b"n,,n=bob,r=abc".to_vec(), b"r=abcd,s=c2FsdA==,i=4096".to_vec()),
                (b"c=biws".to_vec(), b"v=eA==".to_vec()),
            ],
        ),
        2 => ("OAUTHBEARER", vec![(b"n,,\x01auth=Bearer e30.eyJzdWIiOiJjYXJvbCJ9.s\x01\x01".to_vec(), Vec::new())]),
        // Their first bytes must not look like a known request.
        _ => {
            let tokens = (0..1 + random.below(4))
                .map(|_| {
                    let (length, answer) = (random.below(40), random.below(40));
                    ([b"\x60\x82".to_vec(), random.bytes(length)].concat(), random.bytes(answer))
                })
                .collect();
            ("GSSAPI", tokens)
        }
    };
    say(turns, Direction::Request, &header_v1(17, 0, 900, Some("client")).string(Some(mechanism)).frame());
    say(turns, Direction::Response, &response_v0(900).i16(0).i32(1).string(Some(mechanism)).frame());
    for (token, answer) in tokens {
        say(turns, Direction::Request, &Wire::new().raw(&token).frame());
        say(turns, Direction::Response, &Wire::new().raw(&answer).frame());
    }
}

/// A random request and its response, if it gets one.
pub(crate) fn random_exchange(
    random: &mut Random,
    correlation_id: i32,
    client: Option<&str>,
) -> (Vec<u8>, Option<Vec<u8>>) {
    let size = Size::SMALL;
    match random.below(18) {
        0..=2 => {
            let version = 3 + random.below(11) as i16;
            let acks = [0, 1, -1][random.below(3)];
            let (body, _) = messages::produce_request(random, version, acks, size);
            let request = messages::request_frame(random, ApiKey::Produce, version, correlation_id, client, &body);
            let answer = messages::produce_response(random, version, size);
            let response = messages::response_frame(random, ApiKey::Produce, version, correlation_id, &answer);
            (request, (acks != 0).then_some(response))
        }
        3..=5 => {
            let version = 4 + random.below(15) as i16;
            let session = [(0, -1), (0, 0), (3, 1), (3, -1)][random.below(4)];
            let body = messages::fetch_request(random, version, session, size);
            let request = messages::request_frame(random, ApiKey::Fetch, version, correlation_id, client, &body);
            let (answer, _) = messages::fetch_response(random, version, size);
            (request, Some(messages::response_frame(random, ApiKey::Fetch, version, correlation_id, &answer)))
        }
        6 => {
            let version = random.below(14) as i16;
            let body = messages::metadata_request();
            let body = if version == 0 { body.with_topics(Some(Vec::new())) } else { body };
            let request = messages::request_frame(random, ApiKey::Metadata, version, correlation_id, client, &body);
            let answer = messages::metadata_response(random, version, size);
            (request, Some(messages::response_frame(random, ApiKey::Metadata, version, correlation_id, &answer)))
        }
        7 => {
            let version = random.below(5) as i16;
            let body = messages::api_versions_request(random, version);
            let request = messages::request_frame(random, ApiKey::ApiVersions, version, correlation_id, client, &body);
            let answer = messages::api_versions_response(random, version);
            (request, Some(messages::response_frame(random, ApiKey::ApiVersions, version, correlation_id, &answer)))
        }
        8 => {
            let version = random.below(3) as i16;
            let body = messages::sasl_authenticate_request(random, version, b"\0alice\0secret");
            let request =
                messages::request_frame(random, ApiKey::SaslAuthenticate, version, correlation_id, client, &body);
            let answer = messages::sasl_authenticate_response(random, version, 0, b"");
            (
                request,
                Some(messages::response_frame(random, ApiKey::SaslAuthenticate, version, correlation_id, &answer)),
            )
        }
        9 => {
            let known = vectors::exchanges();
            let (request, response) = &known[random.below(known.len())];
            (vectors::renumbered(request, 8, correlation_id), Some(vectors::renumbered(response, 4, correlation_id)))
        }
        10 => {
            // An API key or version from the future, with a body that only its authors can read.
            let (api, version) = [(999, 0), (0, 99), (1, 99), (-5, 3), (3, -1)][random.below(5)];
            let length = random.below(300);
            let body = random.bytes(length);
            let request = header_v1(api, version, correlation_id, client).raw(&body).frame();
            (request, Some(response_v0(correlation_id).raw(&body).frame()))
        }
        11..=16 => {
            let arena = Arena::default();
            let sample = samples::any(&arena, random);
            let (request, response) = sample.frames(random, correlation_id, client);
            (request, Some(response))
        }
        _ => {
            let apis: Vec<ApiKey> = ApiKey::iter().filter(|api| !is_read(*api)).collect();
            let api = apis[random.below(apis.len())];
            let versions = api.valid_versions();
            let version = versions.min + random.below((versions.max - versions.min + 1) as usize) as i16;
            let length = random.below(300);
            let body = random.bytes(length);
            let request = messages::request_frame_of(random, api, version, correlation_id, client, &body);
            (request, Some(messages::response_frame_of(random, api, version, correlation_id, &body)))
        }
    }
}

/// Whether the decoder looks into the body, so that it must be a real one.
pub(crate) fn is_read(api: ApiKey) -> bool {
    let has_sample = samples::APIS.iter().any(|(sampled, ..)| *sampled == api);
    has_sample
        || matches!(
            api,
            ApiKey::Produce
                | ApiKey::Fetch
                | ApiKey::Metadata
                | ApiKey::ApiVersions
                | ApiKey::SaslHandshake
                | ApiKey::SaslAuthenticate
        )
}
