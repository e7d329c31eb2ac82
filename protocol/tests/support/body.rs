//! A whole body of any API, version and direction: no panic, the same in any pieces, memory bounded, and what
//! `kafka-protocol` says of it, as far as that crate reads it.

use allocation_counter::measure;
use bytes::{Buf, Bytes, BytesMut, TryGetError};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse, JoinGroupRequest,
    JoinGroupResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ProduceRequest, ProduceResponse,
};
use kafka_protocol::protocol::buf::ByteBuf;
use kafka_protocol::protocol::{Decodable, Encodable};
use kafkascope_protocol::{
    ApiInfo, ApiKey, ApiVersion, BatchHead, BatchPlan, CaptureBudget, Connection, Depth, Direction, FetchPartition,
    Limits, Observation, Sink, Timestamp,
};

use super::bodies;
use super::conversation::Turn;
use super::expected::{Expected, comparable, group, metadata, offset, records};
use super::feed::{BUDGET, Feed};
use super::log::{Arena, Log};
use super::script;
use super::wire::{header_v0, header_v1, header_v2, response_v0, response_v1};

/// The APIs whose bodies are read in one direction at least.
pub(crate) const READ: [ApiKey; 33] = [
    ApiKey::PRODUCE,
    ApiKey::FETCH,
    ApiKey::LIST_OFFSETS,
    ApiKey::METADATA,
    ApiKey::OFFSET_COMMIT,
    ApiKey::OFFSET_FETCH,
    ApiKey::FIND_COORDINATOR,
    ApiKey::JOIN_GROUP,
    ApiKey::HEARTBEAT,
    ApiKey::LEAVE_GROUP,
    ApiKey::SYNC_GROUP,
    ApiKey::SASL_HANDSHAKE,
    ApiKey::API_VERSIONS,
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::OFFSET_FOR_LEADER_EPOCH,
    ApiKey::ADD_PARTITIONS_TO_TXN,
    ApiKey::ADD_OFFSETS_TO_TXN,
    ApiKey::END_TXN,
    ApiKey::TXN_OFFSET_COMMIT,
    ApiKey::SASL_AUTHENTICATE,
    ApiKey::DELETE_GROUPS,
    ApiKey::OFFSET_DELETE,
    ApiKey::DESCRIBE_CLUSTER,
    ApiKey::CONSUMER_GROUP_HEARTBEAT,
    ApiKey::CONSUMER_GROUP_DESCRIBE,
    ApiKey::DESCRIBE_TOPIC_PARTITIONS,
    ApiKey::SHARE_GROUP_HEARTBEAT,
    ApiKey::SHARE_FETCH,
    ApiKey::SHARE_ACKNOWLEDGE,
    ApiKey::STREAMS_GROUP_HEARTBEAT,
    ApiKey::STREAMS_GROUP_DESCRIBE,
];

/// Options: it is a response.
const RESPONSE: u8 = 1;
/// Options: small limits.
const TIGHT: u8 = 2;

/// What a connection may hold after and while it reads one exchange, in bytes: so much in any case, ..
const HELD: usize = 16 << 10;
/// .. and so much for each byte that it was shown, unless its limits are small.
const HELD_PER_BYTE: usize = 64;

/// A body, and how it is shown.
#[derive(Clone, Copy)]
pub(crate) struct Whole<'a> {
    api: ApiKey,
    version: i16,
    direction: Direction,
    tight: bool,
    cuts: u8,
    body: &'a [u8],
}

impl<'a> Whole<'a> {
    /// The first bytes choose API, version, options and cuts; the rest is the body.
    fn read(input: &'a [u8]) -> Option<Self> {
        let (&[api, version, options, cuts], body) = input.split_first_chunk()?;
        let info = READ.get(usize::from(api) % READ.len())?.info()?;
        Some(Self {
            api: info.key,
            version: info.min_version + i16::from(version) % (info.max_version - info.min_version + 1),
            direction: if options & RESPONSE == 0 { Direction::Request } else { Direction::Response },
            tight: options & TIGHT != 0,
            cuts,
            body,
        })
    }

    fn info(&self) -> &'static ApiInfo {
        self.api.info().expect("a known API")
    }

    fn limits(&self) -> Limits {
        if self.tight { script::TIGHT } else { Limits::default() }
    }

    fn has_records(&self) -> bool {
        matches!(
            (self.api, self.direction),
            (ApiKey::PRODUCE, Direction::Request) | (ApiKey::FETCH, Direction::Response)
        )
    }

    /// The request, and the response if the body is one, which then answers a request that is well-formed.
    fn turns(&self) -> Vec<Turn> {
        let (key, version) = (self.api.0, self.version);
        let header = match self.info().request_header(ApiVersion(version)) {
            0 => header_v0(key, version, 0),
            1 => header_v1(key, version, 0, Some("client")),
            _ => header_v2(key, version, 0, Some("client")),
        };
        let request = |body| Turn { direction: Direction::Request, bytes: header.raw(body).frame() };
        if self.direction == Direction::Request {
            return vec![request(self.body)];
        }
        let asked = bodies::all().get(&(self.api, version)).map_or(&[][..], |bodies| &bodies.request);
        let header = match self.info().response_header(ApiVersion(version)) {
            0 => response_v0(0),
            _ => response_v1(0),
        };
        let response = Turn { direction: Direction::Response, bytes: header.raw(self.body).frame() };
        vec![request(asked), response]
    }
}

/// The input for [`run`] that shows `body`.
pub(crate) fn seed(api: ApiKey, version: i16, direction: Direction, body: &[u8]) -> Option<Vec<u8>> {
    let index = READ.iter().position(|read| *read == api)?;
    let options = if direction == Direction::Response { RESPONSE } else { 0 };
    Some([&[index as u8, (version - api.info()?.min_version) as u8, options, version as u8], body].concat())
}

/// One for each API, version and direction of which there is a body.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let directions = bodies::all().iter().flat_map(|((api, version), bodies)| {
        [(Direction::Request, &bodies.request), (Direction::Response, &bodies.response)]
            .map(|(direction, body)| seed(*api, *version, direction, body))
    });
    directions.flatten().collect()
}

/// Checks all that is named above. Whether `kafka-protocol` was asked, too.
pub(crate) fn run(input: &[u8]) -> bool {
    let Some(whole) = Whole::read(input) else { return false };
    let turns = whole.turns();
    script::same_in_any_pieces(&turns, whole.limits(), whole.cuts.into());
    assert_bounded(&whole, &turns);
    !whole.tight && compare(&whole, &turns)
}

/// Keeps nothing.
struct Forget;

impl Sink for Forget {
    fn observe(&mut self, _observation: Observation<'_>) {}

    fn at_batch(&mut self, _direction: Direction, head: &BatchHead) -> BatchPlan {
        script::plan(head)
    }
}

fn assert_bounded(whole: &Whole<'_>, turns: &[Turn]) {
    let shown: usize = turns.iter().map(|turn| turn.bytes.len()).sum();
    let most = HELD + if whole.tight { 0 } else { shown * HELD_PER_BYTE };
    let used = measure(|| {
        let mut connection = Connection::new(whole.limits(), Depth::Full, CaptureBudget::new(script::CAPTURED));
        for turn in turns {
            // In pieces, as what is at hand as a whole need not be held.
            for piece in turn.bytes.chunks(usize::from(whole.cuts) + 1) {
                connection.on_bytes(turn.direction, Timestamp(1), piece, &mut Forget);
            }
        }
    });
    assert!(used.bytes_max <= most as u64, "{shown} bytes make a connection hold more than {most}: {used:?}");
}

/// What is seen equals what `kafka-protocol` reads, if it can be asked.
fn compare(whole: &Whole<'_>, turns: &[Turn]) -> bool {
    let arena = Arena::default();
    let mut feed = Feed::with(whole.limits(), Depth::Full, BUDGET, Log::new(&arena));
    let mut before = 0;
    for turn in turns {
        before = feed.log.facts.len();
        feed.show(turn.direction, &turn.bytes);
    }
    let (_, seen) = feed.log.facts.split_at(before);
    let seen: Vec<_> = seen.iter().filter(|fact| is_of_body(fact)).map(|fact| figures(*fact, whole.version)).collect();
    let is_read = !feed.log.facts.iter().skip(before).any(|fact| matches!(fact, Observation::Undecoded(_)));
    // In versions that are not flexible a count has four bytes, and the crate reserves room for as many elements: it may be
    // given only what has been read before.
    if !is_read && !whole.info().is_flexible(ApiVersion(whole.version)) {
        return false;
    }
    let Some(expected) = decoded(&arena, whole) else { return false };
    let facts: Vec<_> = expected.facts.iter().map(|fact| figures(*fact, whole.version)).collect();
    let name = format!("{:?} v{} {:?}", whole.api, whole.version, whole.direction);
    if !is_read {
        // Records are bytes to the crate. What is wrong in them ends the reading.
        assert!(whole.has_records(), "{name} was not read");
        assert!(facts.starts_with(&seen), "{name}: {seen:#?} is no beginning of {facts:#?}");
        return true;
    }
    assert_eq!(seen, facts, "{name}");
    feed.write_all();
    if let (Direction::Response, [exchange]) = (whole.direction, feed.log.exchanges().as_slice()) {
        assert_eq!(
            (exchange.error, exchange.throttle_ms.unwrap_or(0)),
            (expected.error(), expected.throttle_ms.unwrap_or(0))
        );
    }
    true
}

/// Neither what frames and requests have in common, nor what stands in records.
fn is_of_body(fact: &Observation<'_>) -> bool {
    use Observation as O;
    !matches!(
        fact,
        O::Client(_)
            | O::RequestHead(_)
            | O::Undecoded(_)
            | O::ProduceBatch(_)
            | O::FetchBatch(_)
            | O::AbortedForgotten { .. }
            | O::Exchange(_)
    )
}

/// Without what depends on other messages.
fn figures(fact: Observation<'_>, version: i16) -> Observation<'_> {
    match comparable(fact, version) {
        Observation::FetchPartition(it) => Observation::FetchPartition(FetchPartition { fetch_offset: None, ..it }),
        other => other,
    }
}

/// What `kafka-protocol` reads; `None` if it does not know the version or the body is not as it would write it.
fn decoded<'a>(arena: &'a Arena, whole: &Whole<'_>) -> Option<Expected<'a>> {
    let Whole { api, version, body, .. } = *whole;
    let mut expected = Expected::new(arena);
    let it = &mut expected;
    match (api, whole.direction) {
        (ApiKey::PRODUCE, Direction::Request) => {
            records::produce_request(it, &message::<ProduceRequest>(body, version)?, version, &[]);
        }
        (ApiKey::PRODUCE, Direction::Response) => {
            records::produce_response(it, &message::<ProduceResponse>(body, version)?, version);
        }
        (ApiKey::FETCH, Direction::Request) => {
            records::fetch_request(it, &message::<FetchRequest>(body, version)?, version);
        }
        (ApiKey::FETCH, Direction::Response) => {
            let response = message::<FetchResponse>(body, version)?;
            records::fetch_response(it, &FetchRequest::default(), &response, version, &[]);
        }
        (ApiKey::METADATA, Direction::Response) => {
            metadata::response(it, &message::<MetadataResponse>(body, version)?, version);
        }
        (ApiKey::LIST_OFFSETS, Direction::Request) => {
            offset::list_request(it, &message::<ListOffsetsRequest>(body, version)?);
        }
        (ApiKey::LIST_OFFSETS, Direction::Response) => {
            offset::list_response(it, &message::<ListOffsetsResponse>(body, version)?, version);
        }
        // The crate does not know the newest schema.
        (ApiKey::OFFSET_COMMIT, Direction::Request) if version < 10 => {
            offset::commit_request(it, &message::<OffsetCommitRequest>(body, version)?, version);
        }
        (ApiKey::OFFSET_COMMIT, Direction::Response) => {
            offset::commit_response(it, &message::<OffsetCommitResponse>(body, version)?, version);
        }
        // Before that it is not read to its end, and must not be given to the crate.
        (ApiKey::OFFSET_FETCH, Direction::Request) if (6..10).contains(&version) => {
            offset::fetch_request(it, &message::<OffsetFetchRequest>(body, version)?, version);
        }
        (ApiKey::OFFSET_FETCH, Direction::Response) => {
            offset::fetch_response(it, &message::<OffsetFetchResponse>(body, version)?, version);
        }
        (ApiKey::JOIN_GROUP, Direction::Request) => {
            group::join_request(it, &message::<JoinGroupRequest>(body, version)?, version);
        }
        (ApiKey::JOIN_GROUP, Direction::Response) => {
            group::join_response(it, &message::<JoinGroupResponse>(body, version)?, version);
        }
        (ApiKey::CONSUMER_GROUP_HEARTBEAT, Direction::Request) => {
            group::consumer_heartbeat_request(it, &message::<ConsumerGroupHeartbeatRequest>(body, version)?);
        }
        (ApiKey::CONSUMER_GROUP_HEARTBEAT, Direction::Response) => {
            group::consumer_heartbeat_response(it, &message::<ConsumerGroupHeartbeatResponse>(body, version)?);
        }
        _ => return None,
    }
    Some(expected)
}

/// The message, if its encoding is `body` again: what is written in another way may be read in another way.
fn message<M: Decodable + Encodable>(body: &[u8], version: i16) -> Option<M> {
    let message = M::decode(&mut Short { rest: body, continued: 0 }, version).ok()?;
    let mut again = BytesMut::new();
    message.encode(&mut again, version).ok()?;
    (again == body).then_some(message)
}

/// Bytes without variable-length numbers of more than two bytes, for which the crate may reserve more room than there is.
struct Short<'a> {
    rest: &'a [u8],
    /// Bytes of the number that is being read.
    continued: u8,
}

impl Buf for Short<'_> {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        self.rest
    }

    fn advance(&mut self, count: usize) {
        self.rest.advance(count);
    }

    /// Only numbers of variable length are read by single bytes.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.rest.try_get_u8()?;
        self.continued = if byte < 0x80 { 0 } else { self.continued + 1 };
        if self.continued < 2 { Ok(byte) } else { Err(TryGetError { requested: 1, available: 0 }) }
    }
}

impl ByteBuf for Short<'_> {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.rest.peek_bytes(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.rest.get_bytes(size)
    }
}
