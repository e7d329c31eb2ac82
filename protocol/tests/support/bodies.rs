//! Bodies of requests and responses without their headers: one of each API and version that anything here can make.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::BytesMut;
use kafka_protocol::messages::ApiKey as Known;
use kafka_protocol::protocol::Encodable;
use kafkascope_protocol::{ApiKey, ApiVersion};

use super::log::Arena;
use super::messages::{self, Size};
use super::random::Random;
use super::{samples, vectors};

/// Samples of which the longest is taken, as short ones have nothing in them.
const TRIES: u64 = 6;

/// Both bodies of an exchange.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bodies {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
}

/// By API and version.
pub(crate) fn all() -> &'static BTreeMap<(ApiKey, i16), Bodies> {
    static ALL: OnceLock<BTreeMap<(ApiKey, i16), Bodies>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut bodies = BTreeMap::new();
        for (request, response) in vectors::exchanges() {
            let (key, made) = of_frames(request, response);
            bodies.insert(key, made);
        }
        for (api, versions, make) in samples::APIS {
            for version in versions.clone() {
                let sample = |seed| make(&Arena::default(), &mut Random::new(seed), version).bodies();
                bodies.insert((ApiKey(*api as i16), version), longest(sample));
            }
        }
        for (api, versions) in [
            (Known::Produce, 3..=13),
            (Known::Fetch, 4..=18),
            (Known::Metadata, 0..=13),
            (Known::SaslHandshake, 0..=1),
            (Known::ApiVersions, 0..=4),
            (Known::SaslAuthenticate, 0..=2),
        ] {
            for version in versions {
                let made = longest(|seed| walked(api, version, &mut Random::new(seed)));
                bodies.insert((ApiKey(api as i16), version), made);
            }
        }
        bodies
    })
}

fn longest(make: impl Fn(u64) -> (Vec<u8>, Vec<u8>)) -> Bodies {
    let (requests, responses): (Vec<_>, Vec<_>) = (0..TRIES).map(make).unzip();
    let longest = |bodies: Vec<Vec<u8>>| bodies.into_iter().max_by_key(Vec::len).unwrap_or_default();
    Bodies { request: longest(requests), response: longest(responses) }
}

/// Those that have a walk of their own.
fn walked(api: Known, version: i16, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let size = Size::SMALL;
    match api {
        Known::Produce => (
            encoded(&messages::produce_request(random, version, -1, size).0, version),
            encoded(&messages::produce_response(random, version, size), version),
        ),
        Known::Fetch => (
            encoded(&messages::fetch_request(random, version, (0, -1), size), version),
            encoded(&messages::fetch_response(random, version, size).0, version),
        ),
        Known::Metadata => (Vec::new(), encoded(&messages::metadata_response(random, version, size), version)),
        Known::SaslHandshake => (
            encoded(&messages::sasl_handshake_request("PLAIN"), version),
            encoded(&messages::sasl_handshake_response(0, &["PLAIN", "SCRAM-SHA-256"]), version),
        ),
        Known::ApiVersions => (
            encoded(&messages::api_versions_request(random, version), version),
            encoded(&messages::api_versions_response(random, version), version),
        ),
        Known::SaslAuthenticate => (
            encoded(&messages::sasl_authenticate_request(random, version, b"\0alice\0secret"), version),
            encoded(&messages::sasl_authenticate_response(random, version, 0, b""), version),
        ),
        other => panic!("{other:?} is read as a tree"),
    }
}

fn encoded<M: Encodable>(message: &M, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap_or_else(|error| panic!("v{version}: {error}"));
    bytes.to_vec()
}

/// What stands behind the headers of frames that have no tagged fields in them.
fn of_frames(request: &[u8], response: &[u8]) -> ((ApiKey, i16), Bodies) {
    let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
    let (api, version, client) = (ApiKey(number(4)), number(6), number(12));
    let info = api.info().expect("a known API");
    let tags = |header: u8, first: u8| usize::from(header >= first);
    let client_end = 14 + usize::try_from(client).unwrap_or(0);
    let request = request[client_end + tags(info.request_header(ApiVersion(version)), 2)..].to_vec();
    let response = response[8 + tags(info.response_header(ApiVersion(version)), 1)..].to_vec();
    ((api, version), Bodies { request, response })
}
