//! Bodies, by API. Each reader of a body is a state that walks over elements as they pass (see [`crate::reader`]).
//!
//! The hot ones, Metadata, and those that a connection begins with have a walk of their own; all others are trees, and one
//! more of them is one more file and a line for each direction in [`trees`].

mod aborted;
mod api_versions;
mod classic_group;
mod consumer_describe;
mod describe_cluster;
mod describe_topics;
mod fetch_request;
mod fetch_response;
mod find_coordinator;
mod framing;
mod group_admin;
mod group_heartbeat;
mod leader_epoch;
mod list_offsets;
mod metadata_response;
mod offset_commit;
mod offset_fetch;
mod opened;
mod produce_request;
mod produce_response;
mod records;
mod sasl;
mod share;
mod streams_describe;
mod topic_admin;
mod transaction;
mod tree;
mod trees;
mod walk;

use alloc::vec::Vec;

use crate::{
    ApiKey, ApiVersion, CaptureBudget, Depth, ErrorCode, Exchange, Limits, RequestSeq, Sink,
    in_flight::Entry,
    positions::Positions,
    reader::{Halt, Read, Reader, Tags},
    sasl::Sasl,
    topics::Topics,
};
use trees::{RequestTree, ResponseTree};
use walk::Walk;

/// What a connection remembers from one message to the next, other than the requests in flight.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) topics: Topics,
    pub(crate) positions: Positions,
    pub(crate) sasl: Sasl,
}

/// What a body is read with.
pub(crate) struct Context<'c, S> {
    pub(crate) sink: &'c mut S,
    pub(crate) memory: &'c mut Memory,
    pub(crate) budget: &'c CaptureBudget,
    /// The request that is read or answered.
    pub(crate) entry: &'c mut Entry,
    pub(crate) scratch: &'c mut Scratch,
    pub(crate) limits: &'c Limits,
}

impl<S> Context<'_, S> {
    /// The request that is read or answered.
    const fn seq(&self) -> RequestSeq {
        self.entry.exchange.seq
    }

    /// What most responses begin with.
    const fn answered(&mut self, throttle_ms: Option<i32>, error: ErrorCode) {
        self.entry.exchange.throttle_ms = throttle_ms;
        self.entry.failed(error);
    }
}

/// What a body needs rarely and not for longer than its frame. It is apart from the bodies, so that these are plain values.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// A batch of which more than the head is read.
    opened: Option<opened::Opened>,
    /// Name of the topic whose partitions follow.
    topic: Vec<u8>,
    /// Aborted transactions of the partition whose batches follow.
    aborted: aborted::Aborted,
}

impl Scratch {
    pub(crate) const fn new() -> Self {
        Self { opened: None, topic: Vec::new(), aborted: aborted::Aborted::new() }
    }

    /// The frame has ended.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.opened.is_some() || self.topic.capacity() > 0 || !self.aborted.is_unused() {
            *self = Self::new();
        }
    }
}

/// A request's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestBody {
    /// It is not looked at.
    Opaque,
    Produce(produce_request::Produce),
    Fetch(fetch_request::Fetch),
    ApiVersions(api_versions::Request),
    SaslHandshake,
    SaslAuthenticate {
        flexible: bool,
    },
    Tree(RequestTree),
}

/// A response's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ResponseBody {
    /// It is not looked at.
    Opaque,
    Produce(produce_response::Produce),
    Fetch(fetch_response::Fetch),
    Metadata(metadata_response::Metadata),
    ApiVersions {
        version: i16,
    },
    SaslHandshake,
    SaslAuthenticate {
        version: i16,
    },
    Tree(ResponseTree),
}

impl RequestBody {
    /// The reader of this known version's body.
    #[inline]
    pub(crate) fn of(api: ApiKey, ApiVersion(version): ApiVersion, depth: Depth) -> Self {
        match (api, depth) {
            // Whether a response will come stands in the body.
            (ApiKey::PRODUCE, _) => Self::Produce(produce_request::Produce::new(version, depth)),
            // What follows in place of frames stands in the body.
            (ApiKey::SASL_HANDSHAKE, _) => Self::SaslHandshake,
            (_, Depth::Headers) => Self::Opaque,
            (ApiKey::FETCH, _) => Self::Fetch(fetch_request::Fetch::new(version)),
            (ApiKey::API_VERSIONS, _) if (api_versions::NAMED..=api_versions::NEWEST).contains(&version) => {
                Self::ApiVersions(api_versions::Request)
            }
            (ApiKey::SASL_AUTHENTICATE, _) => Self::SaslAuthenticate { flexible: version >= 2 },
            _ => RequestTree::of(api, ApiVersion(version)).map_or(Self::Opaque, Self::Tree),
        }
    }

    /// Walks over a body that is at hand as a whole, behind the header's tagged fields if it is `tagged`.
    #[inline(always)]
    pub(crate) fn walk_whole<S: Sink>(
        tagged: bool,
        reader: &mut Reader<'_, '_>,
        depth: Depth,
        context: &mut Context<'_, S>,
    ) -> Read<()> {
        let Exchange { api, version, .. } = context.entry.exchange;
        match (api, depth) {
            (ApiKey::PRODUCE, Depth::Full) => {
                skip_header_tags(tagged, reader)?;
                reader.set_limit(context.limits.field);
                produce_request::Produce::walk_whole(version.0, reader, context)
            }
            (ApiKey::FETCH, Depth::Full) => {
                skip_header_tags(tagged, reader)?;
                reader.set_limit(context.limits.field);
                fetch_request::Fetch::walk_whole(version.0, reader, context)
            }
            _ => match Self::of(api, version, depth) {
                Self::Opaque => Err(Halt::Enough),
                mut body => {
                    skip_header_tags(tagged, reader)?;
                    reader.set_limit(body.limit(context.limits));
                    body.walk(reader, context)
                }
            },
        }
    }

    /// Longest element that is buffered, in bytes.
    #[inline]
    pub(crate) const fn limit(&self, limits: &Limits) -> usize {
        match self {
            Self::Opaque | Self::Produce(_) | Self::Fetch(_) | Self::Tree(_) => limits.field,
            Self::ApiVersions(_) | Self::SaslHandshake | Self::SaslAuthenticate { .. } => limits.collected,
        }
    }

    #[inline(always)]
    pub(crate) fn walk<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        match self {
            Self::Opaque => reader.skip(reader.left()),
            Self::Produce(body) => body.walk(reader, context),
            Self::Fetch(body) => body.walk(reader, context),
            Self::ApiVersions(body) => body.walk(reader, context),
            Self::SaslHandshake => sasl::handshake_request(reader, context),
            Self::SaslAuthenticate { flexible } => sasl::authenticate_request(*flexible, reader, context),
            Self::Tree(tree) => tree.walk(reader, context),
        }
    }
}

impl ResponseBody {
    /// The reader of the response to a request of this known version.
    #[inline]
    pub(crate) fn of(api: ApiKey, ApiVersion(version): ApiVersion, depth: Depth) -> Self {
        match (api, depth) {
            (ApiKey::SASL_HANDSHAKE, _) => Self::SaslHandshake,
            (_, Depth::Headers) => Self::Opaque,
            (ApiKey::PRODUCE, _) => Self::Produce(produce_response::Produce::new(version)),
            (ApiKey::FETCH, _) => Self::Fetch(fetch_response::Fetch::new(version)),
            (ApiKey::METADATA, _) => Self::Metadata(metadata_response::Metadata::new(version)),
            (ApiKey::API_VERSIONS, _) => Self::ApiVersions { version },
            (ApiKey::SASL_AUTHENTICATE, _) => Self::SaslAuthenticate { version },
            _ => ResponseTree::of(api, ApiVersion(version)).map_or(Self::Opaque, Self::Tree),
        }
    }

    /// Walks over a body that is at hand as a whole, behind the header's tagged fields if it is `tagged`.
    #[inline(always)]
    pub(crate) fn walk_whole<S: Sink>(
        tagged: bool,
        reader: &mut Reader<'_, '_>,
        depth: Depth,
        context: &mut Context<'_, S>,
    ) -> Read<()> {
        let Exchange { api, version, .. } = context.entry.exchange;
        match (api, depth) {
            (ApiKey::PRODUCE, Depth::Full) => {
                skip_header_tags(tagged, reader)?;
                reader.set_limit(context.limits.field);
                produce_response::Produce::walk_whole(version.0, reader, context)
            }
            (ApiKey::FETCH, Depth::Full) => {
                skip_header_tags(tagged, reader)?;
                reader.set_limit(context.limits.field);
                fetch_response::Fetch::walk_whole(version.0, reader, context)
            }
            _ => match Self::of(api, version, depth) {
                Self::Opaque => Err(Halt::Enough),
                mut body => {
                    skip_header_tags(tagged, reader)?;
                    reader.set_limit(body.limit(context.limits));
                    body.walk(reader, context)
                }
            },
        }
    }

    /// Longest element that is buffered, in bytes.
    #[inline]
    pub(crate) const fn limit(&self, limits: &Limits) -> usize {
        match self {
            Self::Opaque | Self::Produce(_) | Self::Fetch(_) | Self::Metadata(_) => limits.field,
            Self::Tree(tree) => tree.limit(limits),
            Self::ApiVersions { .. } | Self::SaslHandshake | Self::SaslAuthenticate { .. } => limits.collected,
        }
    }

    #[inline(always)]
    pub(crate) fn walk<S: Sink>(&mut self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        match self {
            Self::Opaque => reader.skip(reader.left()),
            Self::Produce(body) => body.walk(reader, context),
            Self::Fetch(body) => body.walk(reader, context),
            Self::Metadata(body) => body.walk(reader, context),
            Self::ApiVersions { version } => api_versions::response(*version, reader, context),
            Self::SaslHandshake => sasl::handshake_response(reader, context),
            Self::SaslAuthenticate { version } => sasl::authenticate_response(*version, reader, context),
            Self::Tree(tree) => tree.walk(reader, context),
        }
    }
}

/// Nobody looks at them before a body that is not looked at. What is before the body is no part of its first element.
#[inline(always)]
fn skip_header_tags(tagged: bool, reader: &mut Reader<'_, '_>) -> Read<()> {
    if tagged { Tags::new().skip(reader) } else { reader.commit() }
}
