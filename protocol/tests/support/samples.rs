//! Random exchanges of the APIs that are read as trees, encoded by the `kafka-protocol` crate, each with what the decoder
//! must say of it.
//!
//! Everything expected here is computed from the fields of the crate's structs, never from bytes.

mod cluster;
mod group;
mod offset;
mod share;
mod transaction;

use std::ops::RangeInclusive;

use bytes::BytesMut;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Encodable, StrBytes};
use kafkascope_protocol::Observation;

use super::expected::Expected;
use super::log::Arena;
use super::messages;
use super::random::Random;

/// A request and its response.
pub(crate) struct Sample<'a> {
    api: ApiKey,
    version: i16,
    request: Vec<u8>,
    response: Vec<u8>,
    pub(crate) expected: Expected<'a>,
}

/// Makes a sample of a version.
pub(crate) type Make = for<'a> fn(&'a Arena, &mut Random, i16) -> Sample<'a>;

/// The versions that `kafka-protocol` knows.
pub(crate) const APIS: &[(ApiKey, RangeInclusive<i16>, Make)] = &[
    (ApiKey::ListOffsets, 1..=10, offset::list_offsets),
    (ApiKey::OffsetCommit, 2..=10, offset::commit),
    (ApiKey::OffsetFetch, 1..=10, offset::fetch),
    (ApiKey::TxnOffsetCommit, 0..=5, offset::transactional_commit),
    (ApiKey::OffsetForLeaderEpoch, 2..=4, offset::leader_epoch),
    (ApiKey::FindCoordinator, 0..=6, group::find_coordinator),
    (ApiKey::JoinGroup, 0..=9, group::join),
    (ApiKey::SyncGroup, 0..=5, group::sync),
    (ApiKey::Heartbeat, 0..=4, group::heartbeat),
    (ApiKey::LeaveGroup, 0..=5, group::leave),
    (ApiKey::DeleteGroups, 0..=2, group::delete),
    (ApiKey::OffsetDelete, 0..=0, offset::delete),
    (ApiKey::ConsumerGroupHeartbeat, 0..=1, group::consumer_heartbeat),
    (ApiKey::ConsumerGroupDescribe, 0..=1, group::consumer_describe),
    (ApiKey::InitProducerId, 0..=6, transaction::init),
    (ApiKey::AddPartitionsToTxn, 0..=5, transaction::add_partitions),
    (ApiKey::AddOffsetsToTxn, 0..=4, transaction::add_offsets),
    (ApiKey::EndTxn, 0..=5, transaction::end),
    (ApiKey::CreateTopics, 2..=7, cluster::create_topics),
    (ApiKey::DeleteTopics, 1..=6, cluster::delete_topics),
    (ApiKey::DescribeCluster, 0..=2, cluster::describe),
    (ApiKey::DescribeTopicPartitions, 0..=0, cluster::describe_topics),
    (ApiKey::ShareGroupHeartbeat, 1..=1, share::heartbeat),
    (ApiKey::ShareFetch, 1..=1, share::fetch),
    (ApiKey::ShareAcknowledge, 1..=1, share::acknowledge),
];

impl<'a> Sample<'a> {
    fn new(arena: &'a Arena, api: ApiKey, version: i16) -> Self {
        Self { api, version, request: Vec::new(), response: Vec::new(), expected: Expected::new(arena) }
    }

    fn request<M: Encodable>(&mut self, message: &M) {
        self.request = encoded(message, self.version);
    }

    fn response<M: Encodable>(&mut self, message: &M) {
        self.response = encoded(message, self.version);
    }

    fn sees(&mut self, fact: Observation<'_>) {
        self.expected.sees(fact);
    }

    /// The bodies of both.
    pub(crate) fn bodies(self) -> (Vec<u8>, Vec<u8>) {
        (self.request, self.response)
    }

    /// The frames of both.
    pub(crate) fn frames(&self, random: &mut Random, correlation_id: i32, client: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        let Self { api, version, .. } = *self;
        (
            messages::request_frame_of(random, api, version, correlation_id, client, &self.request),
            messages::response_frame_of(random, api, version, correlation_id, &self.response),
        )
    }
}

/// A sample of any API and version.
pub(crate) fn any<'a>(arena: &'a Arena, random: &mut Random) -> Sample<'a> {
    let (_, versions, make) = &APIS[random.below(APIS.len())];
    let version = versions.start() + random.below((versions.end() - versions.start() + 1) as usize) as i16;
    make(arena, random, version)
}

fn encoded<M: Encodable>(message: &M, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap_or_else(|error| panic!("v{version}: {error}"));
    bytes.to_vec()
}

fn name(random: &mut Random) -> StrBytes {
    messages::text(random.name(14))
}

fn maybe_name(random: &mut Random) -> Option<StrBytes> {
    random.one_in(2).then(|| name(random))
}

fn error(random: &mut Random) -> i16 {
    if random.one_in(3) { random.i16() } else { 0 }
}

/// Up to three of something.
fn some<T>(random: &mut Random, mut make: impl FnMut(&mut Random) -> T) -> Vec<T> {
    (0..random.below(4)).map(|_| make(random)).collect()
}
