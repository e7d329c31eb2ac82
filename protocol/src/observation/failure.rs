//! What could not be decoded.

use crate::{ApiKey, ApiVersion, Direction};

/// Why a frame's body was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UndecodedReason {
    /// An API key that this build does not know.
    UnknownApi,
    /// A version of a known API that this build does not know.
    UnknownVersion,
    /// The body contradicts its schema.
    Malformed,
    /// An element, or a collected body, is longer than [`Limits`](crate::Limits) allow.
    TooLarge,
    /// Part of it was not seen.
    Gap,
}

/// A frame whose body was not decoded. An unknown API or version is told once, for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecoded {
    /// Which way the frame went.
    pub direction: Direction,
    /// Its API; -1 if its header was not seen.
    pub api: ApiKey,
    /// Its version; -1 if its header was not seen.
    pub version: ApiVersion,
    /// Why.
    pub reason: UndecodedReason,
}

impl Undecoded {
    /// API and version of a frame whose header was not seen.
    pub(crate) const UNKNOWN: (ApiKey, ApiVersion) = (ApiKey(-1), ApiVersion(-1));
}

/// Why a direction is no longer decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostSyncReason {
    /// A negative frame length.
    NegativeLength,
    /// A frame length of 0.
    ZeroLength,
    /// A frame too short for its header.
    ShortFrame,
    /// A frame longer than [`Limits::frame`](crate::Limits::frame).
    HugeLength,
    /// The client speaks TLS: the route is plaintext.
    Tls,
    /// The upstream answered with a TLS alert: it speaks TLS, the client does not.
    TlsAlert,
    /// The client speaks HTTP.
    Http,
    /// Bytes were not seen, and no frame boundary is known behind them.
    Gap,
    /// The other direction lost sync, and without it this one has no meaning.
    OtherDirection,
}

/// A direction is no longer decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostSync {
    /// Which one.
    pub direction: Direction,
    /// Why.
    pub reason: LostSyncReason,
}
