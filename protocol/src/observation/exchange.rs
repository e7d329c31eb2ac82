//! Requests and how they end.

use crate::{Acks, ApiKey, ApiVersion, CorrelationId, ErrorCode, FetchSummary, RequestSeq, Timestamp};

/// The header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    /// Which request of the connection this is.
    pub seq: RequestSeq,
    /// The API.
    pub api: ApiKey,
    /// Its version.
    pub version: ApiVersion,
    /// The client's number for it.
    pub correlation_id: CorrelationId,
    /// Frame size with the 4-byte length field, in bytes.
    pub frame_bytes: u64,
    /// When the first byte was read.
    pub first_byte: Timestamp,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its response was delivered.
    Answered,
    /// It never gets a response (Produce with acks=0).
    Unanswered,
    /// The connection ended first, or its response could not be recognised.
    Abandoned,
}

/// When the bytes of an exchange passed. In the names of the times: t0 to t5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// t0: first byte of the request was read.
    pub request_first: Timestamp,
    /// t1: its last byte was read.
    pub request_last: Timestamp,
    /// t2: its last byte was written to the broker.
    pub request_written: Timestamp,
    /// When the last byte of the response *before* this one was read. The broker serves one request per connection at a
    /// time, so this request could not be begun before; `None` for the first.
    pub previous_response_last: Option<Timestamp>,
    /// t3: first byte of the response was read.
    pub response_first: Timestamp,
    /// t4: its last byte was read.
    pub response_last: Timestamp,
    /// t5: its last byte was written to the client.
    pub response_written: Timestamp,
}

/// A request and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Which request of the connection this is.
    pub seq: RequestSeq,
    /// The API.
    pub api: ApiKey,
    /// Its version.
    pub version: ApiVersion,
    /// The client's number for it.
    pub correlation_id: CorrelationId,
    /// How it ended. Unless [`Outcome::Answered`], the times that never came are zero.
    pub outcome: Outcome,
    /// Frame size of the request with its length field, in bytes.
    pub request_bytes: u64,
    /// Frame size of the response with its length field, in bytes; 0 if there was none.
    pub response_bytes: u64,
    /// When.
    pub times: Times,
    /// First error that the decoded response carries. [`ErrorCode::NONE`] also when the response's body was not decoded.
    pub error: ErrorCode,
    /// How long the broker throttles the client (KIP-124), in milliseconds; `None` if the response was not decoded.
    pub throttle_ms: Option<i32>,
    /// Produce only: requested acknowledgement.
    pub acks: Option<Acks>,
    /// Fetch only; `None` if the request was not decoded.
    pub fetch: Option<FetchSummary>,
}
