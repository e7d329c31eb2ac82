//! The header of every API and version that `kafka-protocol` knows, whatever stands in the body.

mod support;

use kafka_protocol::messages::ApiKey;
use kafkascope_protocol::{CorrelationId, Depth, Limits, Observation, Outcome};
use support::conversation::is_read;
use support::feed::{BUDGET, Feed};
use support::log::{Arena, Log};
use support::messages;
use support::random::Random;

/// One connection carries all APIs in all versions, in header-only depth, so that bodies may be anything.
#[test]
fn headers_of_all_apis_are_read_and_their_responses_matched() {
    let mut random = Random::new(1);
    let arena = Arena::default();
    let mut feed = Feed::with(Limits::default(), Depth::Headers, BUDGET, Log::new(&arena));
    let mut expected = Vec::new();
    for api in ApiKey::iter() {
        // Its raw tokens, which follow v0, are another test's subject.
        let versions = api.valid_versions();
        for version in versions.min..=versions.max {
            for client in [Some("a client"), None, Some("")] {
                if api == ApiKey::SaslHandshake && version == 0 {
                    continue;
                }
                let correlation_id = expected.len() as i32 * 7;
                let length = random.below(60);
                // acks=0 would promise that no response comes.
                let body = [&[0, 1, 0, 1, 0, 1, 0, 1][..], &random.bytes(length)].concat();
                let request = messages::request_frame_of(&mut random, api, version, correlation_id, client, &body);
                let response = messages::response_frame_of(&mut random, api, version, correlation_id, &body);
                feed.request(&request);
                feed.response(&response);
                expected.push((api as i16, version, client, correlation_id, request.len(), response.len()));
            }
        }
    }
    feed.close();
    feed.log.assert_lawful(true);

    let mut client = None;
    let mut clients = Vec::new();
    for fact in &feed.log.facts {
        match fact {
            Observation::Client(id) => client = *id,
            Observation::RequestHead(head) => clients.push((*head, client)),
            Observation::Exchange(_) | Observation::Undecoded(_) => {}
            other => panic!("a header-only connection says {other:?}"),
        }
    }
    let exchanges = feed.log.exchanges();
    assert_eq!((clients.len(), exchanges.len()), (expected.len(), expected.len()));
    for (((head, client), exchange), (api, version, named, correlation_id, request_bytes, response_bytes)) in
        clients.iter().zip(&exchanges).zip(&expected)
    {
        assert_eq!((head.api.0, head.version.0), (*api, *version));
        assert_eq!(*client, named.map(str::as_bytes), "{api} v{version}");
        assert_eq!(head.correlation_id, CorrelationId(*correlation_id));
        assert_eq!(exchange.outcome, Outcome::Answered, "{api} v{version}");
        assert_eq!(
            (exchange.request_bytes, exchange.response_bytes),
            (*request_bytes as u64, *response_bytes as u64),
            "{api} v{version}"
        );
    }
}

/// Bodies that are not read in this build must pass silently at full depth too.
#[test]
fn bodies_that_are_not_read_are_no_failures() {
    let mut random = Random::new(2);
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    for (correlation_id, api) in ApiKey::iter().filter(|api| !is_read(*api)).enumerate() {
        let version = api.valid_versions().max;
        let body = random.bytes(100);
        feed.request(&messages::request_frame_of(&mut random, api, version, correlation_id as i32, None, &body));
        feed.response(&messages::response_frame_of(&mut random, api, version, correlation_id as i32, &body));
    }
    feed.close();
    feed.log.assert_lawful(true);
    for fact in &feed.log.facts {
        assert!(
            matches!(fact, Observation::Client(None) | Observation::RequestHead(_) | Observation::Exchange(_)),
            "{fact:?}"
        );
    }
}
