//! What the decoder must say of a message, computed from the fields of `kafka-protocol`'s structs, never from bytes.

pub(crate) mod group;
pub(crate) mod metadata;
pub(crate) mod offset;
pub(crate) mod records;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use kafkascope_protocol::{ErrorCode, FetchHead, Observation, RequestSeq, TopicId, TopicIndex, TopicLabel, TopicRef};
use uuid::Uuid;

use super::log::Arena;

/// The first request of a connection, which all expectations are about.
pub(crate) const SEQ: RequestSeq = RequestSeq(0);

/// What must be said of a request, a response, or both.
pub(crate) struct Expected<'a> {
    arena: &'a Arena,
    /// What must be seen, in order.
    pub(crate) facts: Vec<Observation<'a>>,
    /// Error codes of the response in order.
    pub(crate) errors: Vec<i16>,
    /// `None`: the version has none.
    pub(crate) throttle_ms: Option<i32>,
}

impl<'a> Expected<'a> {
    pub(crate) fn new(arena: &'a Arena) -> Self {
        Self { arena, facts: Vec::new(), errors: Vec::new(), throttle_ms: None }
    }

    pub(crate) fn sees(&mut self, fact: Observation<'_>) {
        self.facts.push(self.arena.keep(fact));
    }

    /// The exchange's error.
    pub(crate) fn error(&self) -> ErrorCode {
        ErrorCode(self.errors.iter().copied().find(|code| *code != 0).unwrap_or(0))
    }
}

/// Without topic numbers, which `Log::assert_lawful` checks; and without the replica id where it stands at a body's end
/// and may not be known yet.
pub(crate) fn comparable(fact: Observation<'_>, version: i16) -> Observation<'_> {
    match Arena::unnumbered(fact) {
        Observation::FetchHead(it) if version >= 15 => Observation::FetchHead(FetchHead { replica_id: None, ..it }),
        other => other,
    }
}

pub(crate) fn named(name: &TopicName) -> TopicRef<'_> {
    TopicRef::new(TopicIndex(0), TopicLabel::Name(name.0.as_bytes()))
}

pub(crate) fn identified<'a>(uuid: Uuid) -> TopicRef<'a> {
    TopicRef::new(TopicIndex(0), TopicLabel::Id(id(uuid)))
}

/// By its id or its name, as the version has it.
pub(crate) fn topic(name: &TopicName, uuid: Uuid, has_ids: bool) -> TopicRef<'_> {
    if has_ids { identified(uuid) } else { named(name) }
}

pub(crate) fn id(uuid: Uuid) -> TopicId {
    TopicId(uuid.into_bytes())
}

pub(crate) fn wire(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(crate) fn bytes(text: &Option<StrBytes>) -> Option<&[u8]> {
    text.as_ref().map(|text| text.as_bytes())
}
